"""The few names of MNE-Python that are not public, all in one place."""

import contextlib
from functools import partial
from pathlib import Path

import mne
import numpy as np
from mne._fiff.pick import _picks_to_idx as picks_to_idx
from mne.channels.layout import _find_topomap_coords, _pair_grad_sensors
from mne.defaults import DEFAULTS
from mne.io._read_raw import _get_supported, split_name_ext
from mne.io.constants import FIFF
from mne.utils import ProgressBar
from mne.utils import _check_pandas_installed as check_pandas
from mne.utils import warn as _mne_warn
from numpy.typing import ArrayLike

__all__ = [
    "check_pandas",
    "picks_to_idx",
    "place_in_raw",
    "progress_note",
    "raw_suffix",
    "topomap_places",
    "unit_of",
    "warn",
]

# Coils of planar gradiometers that come in pairs.
PLANAR = (
    FIFF.FIFFV_COIL_VV_PLANAR_T1,
    FIFF.FIFFV_COIL_VV_PLANAR_T2,
    FIFF.FIFFV_COIL_VV_PLANAR_T3,
    FIFF.FIFFV_COIL_NM_122,
)

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


def place_in_raw(epochs: mne.BaseEpochs) -> tuple[float, float]:
    """Get the seconds from an event to the first sample of its epoch, and the rate of the Raw."""
    offset = float(epochs._raw_times[epochs._decim_slice][0])
    return offset, float(np.ravel(epochs._raw_sfreq)[0])


def topomap_places(info: mne.Info, picks: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Find where channels of one type lie on a map of the head.

    Shapes: ``picks`` (n_picks,); returns ``places`` (n_places, 2), ``rows`` (n_places,
    n_at_a_place).
    """
    picks = np.asarray(picks)
    # Maps show what is there, also channels that are marked as bad.
    if info["chs"][picks[0]]["coil_type"] in PLANAR:
        chosen = mne.pick_info(info, picks)
        pairs = _pair_grad_sensors(chosen, topomap_coords=False, exclude=[], raise_error=False)
        rows = picks[np.reshape(pairs, (-1, 2))]
    else:
        rows = picks[:, np.newaxis]
    return _find_topomap_coords(info, rows[:, 0].tolist()), rows
