"""Epochs and files as Raw objects that hold no signals, but read them when they are asked for."""

import warnings
from pathlib import Path
from typing import Any

import mne
import numpy as np
from mne.io import BaseRaw

from .array_files import ArrayFile, is_array_file, read_array_file
from .epochs import EpochGrid

# How MNE-Python wants files of epochs to be named.
ENDINGS = ("epo.fif", "epo.fif.gz")


def is_epochs_file(path: Path) -> bool:
    """Tell from its name whether a file holds epochs."""
    return path.name.endswith(tuple(mark + ending for mark in "-_" for ending in ENDINGS))


def open_epochs(path: Path) -> mne.BaseEpochs:
    """Open a file of epochs, whose signals are read when they are used."""
    with warnings.catch_warnings():
        # Metadata are read in a way that pandas wants to give up.
        warnings.simplefilter("ignore", DeprecationWarning)
        return mne.read_epochs(path, preload=False, verbose="ERROR")


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

    def __init__(self, path: Path, info: mne.Info, n_times: int, first_samp: int = 0) -> None:
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


class EpochsRaw(BaseRaw):
    """Signals of epochs, read epoch by epoch when they are asked for.

    Bad epochs are dropped from the epochs themselves, as by anything in MNE-Python that looks
    at their data. Nothing is glued: each epoch is a segment of its own.

    Attributes
    ----------
    grid : EpochGrid
        What is known of the epochs besides their signals.
    """

    def __init__(self, epochs: mne.BaseEpochs, label: str, path: Path | None = None) -> None:
        _drop_bad(epochs, label)
        if np.iscomplexobj(_data_of(epochs, 0)):
            raise TypeError(
                f"{label}: epochs must hold real numbers, got complex ones; take their envelope "
                "(numpy.abs) or real part"
            )
        self.grid = EpochGrid.of(epochs)
        n_epochs, n_times = self.grid.shape
        super().__init__(
            epochs.info.copy(),
            preload=False,
            first_samps=[0] * n_epochs,
            last_samps=[n_times - 1] * n_epochs,
            filenames=[None] * n_epochs,
            raw_extras=[{"reader": _Reader(epochs, path)}] * n_epochs,
            verbose="ERROR",
        )

    @property
    def bounds(self) -> tuple[tuple[int, int], ...]:
        """First sample of each epoch, and the one after its last."""
        n_epochs, n_times = self.grid.shape
        return tuple((i * n_times, (i + 1) * n_times) for i in range(n_epochs))

    def _read_segment_file(
        self, data: Any, idx: Any, fi: int, start: int, stop: int, cals: Any, mult: Any
    ) -> None:
        # The signals come calibrated, and with their projections.
        data[:] = self._raw_extras[fi]["reader"].read(fi)[idx, start:stop]


class _Reader:
    """Reads one epoch after another."""

    def __init__(self, epochs: mne.BaseEpochs, path: Path | None) -> None:
        self.path = path
        self.n_epochs = len(epochs.events)
        self.epochs = epochs if path is None else None

    def read(self, index: int) -> np.ndarray:
        """Signals of an epoch, shape (n_channels, n_times)."""
        if self.epochs is None:
            assert self.path is not None
            self.epochs = open_epochs(self.path)
        data = _data_of(self.epochs, index)
        if self.path is not None and index == self.n_epochs - 1:
            self.epochs = None
        return data

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process, as open files cannot."""
        epochs = None if self.path is not None else self.epochs
        if epochs is not None and not epochs.preload:
            epochs = epochs.copy().load_data()
        return {**vars(self), "epochs": epochs}


def _drop_bad(epochs: mne.BaseEpochs, label: str) -> None:
    """Drop bad epochs, and those that stick out of their recording."""
    n_all = len(epochs.events)
    if n_all:
        epochs.drop_bad(verbose="ERROR")
        # Where nothing is to be rejected, MNE-Python 1.13 does not look at the data, and keeps
        # epochs that stick out of the recording.
        if not epochs.preload and not getattr(epochs, "reject_by_annotation", True):
            short = [i for i in range(len(epochs.events)) if not _can_be_read(epochs, i)]
            epochs.drop(short, reason="TOO_SHORT", verbose="ERROR")
    if len(epochs.events) == 0:
        raise ValueError(
            f"{label} has no good epoch{f' (all {n_all} were dropped)' if n_all else ''}; see "
            "epochs.plot_drop_log(), and choose other events or thresholds (reject, flat)"
        )


def _can_be_read(epochs: mne.BaseEpochs, index: int) -> bool:
    try:
        _data_of(epochs, index)
    except (ValueError, TypeError):
        return False
    return True


def _data_of(epochs: mne.BaseEpochs, index: int) -> np.ndarray:
    return epochs.get_data(item=int(index), copy=True, verbose="ERROR")[0]
