"""Files that can only be loaded whole, as Raw objects that hold no signals."""

from pathlib import Path
from typing import Any

import mne
from mne.io import BaseRaw

from .array_files import ArrayFile, is_array_file, read_array_file


def open_file(path: Path) -> BaseRaw | ArrayFile:
    """Open a file of signals, whatever kind it is of."""
    if is_array_file(path):
        return read_array_file(path)
    return mne.io.read_raw(path, verbose="ERROR")


class FileRaw(BaseRaw):
    """Signals of a file, loaded anew whenever they are asked for.

    For files of arrays, and for formats whose readers load everything at once: a list of
    such files would otherwise be in memory all together. It has no annotations: good spans
    are found when a file is opened.
    """

    def __init__(self, path: Path, info: mne.Info, n_times: int, first_samp: int = 0):
        super().__init__(
            info,
            preload=False,
            first_samps=[first_samp],
            last_samps=[first_samp + n_times - 1],
            filenames=[path],
            verbose="ERROR",
        )

    def _read_segment_file(
        self, data: Any, idx: Any, fi: int, start: int, stop: int, cals: Any, mult: Any
    ) -> None:
        # The signals come calibrated, and with the file's projections, as they are loaded.
        opened = open_file(Path(self.filenames[0]))
        if isinstance(opened, ArrayFile):
            data[:] = opened.values[idx, start:stop]
        else:
            first = opened.first_samp
            data[:] = opened.get_data(start=start - first, stop=stop - first)[idx]
