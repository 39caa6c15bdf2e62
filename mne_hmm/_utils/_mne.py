"""The few names of MNE-Python that are not public, all in one place."""

import contextlib
from functools import partial
from pathlib import Path

import numpy as np
from mne._fiff.pick import _picks_to_idx as picks_to_idx
from mne.defaults import DEFAULTS
from mne.io._read_raw import _get_supported, split_name_ext
from mne.utils import ProgressBar
from mne.utils import _check_pandas_installed as check_pandas
from mne.utils import warn as _mne_warn

__all__ = [
    "check_pandas",
    "picks_to_idx",
    "place_in_raw",
    "progress_note",
    "raw_suffix",
    "unit_of",
    "warn",
]

# Warnings point at the user's line, not at ours.
warn = partial(_mne_warn, module="mne_hmm", ignore_namespaces=("mne", "mne_hmm"))


def progress_note(progress: ProgressBar, note: str) -> None:
    """Show a note at the end of a progress bar, where its backend can."""
    with contextlib.suppress(AttributeError):
        progress._tqdm.set_postfix_str(note, refresh=False)


def raw_suffix(path: Path) -> str | None:
    """Suffix by which MNE-Python's readers know a file, or a folder that is one recording."""
    suffix = split_name_ext(path)[1]
    return suffix if suffix in _get_supported() else None


def unit_of(kind: str) -> tuple[float, str]:
    """Get the factor and the unit that channels of a type are shown in."""
    return DEFAULTS["scalings"].get(kind, 1.0), DEFAULTS["units"].get(kind, "AU")


def place_in_raw(epochs):
    """Find where epochs lie in the Raw they were cut out of.

    Parameters
    ----------
    epochs : mne.BaseEpochs
        The epochs.

    Returns
    -------
    offset : float
        Seconds from the event to the first sample. Unlike ``epochs.times[0]`` it does not
        change when times are shifted, which moves no data.
    raw_sfreq : float
        Sampling rate of the Raw, in which events are counted.
    """
    offset = float(epochs._raw_times[epochs._decim_slice][0])
    return offset, float(np.ravel(epochs._raw_sfreq)[0])
