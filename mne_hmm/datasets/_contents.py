"""What a fetched folder holds, as something that `prepare` and `fit_hmm` take."""

import glob
from pathlib import Path
from typing import Any

import mne
import numpy as np

from ..io.array_files import MIN_TIMES, MIN_TIMES_LONGER
from ..io.file_search import expanded
from ..io.lazy_raw import FileRaw
from ..preparation.prepare import prepare
from ..preparation.settings import Preparation

# Sampling rates in hertz of data sets whose files do not tell, by how their names begin.
RATES = {"notts_": 250.0}
# What the name of a data set has in it whose arrays are features already.
PREPARED = "_prepared"


def recordings_in(folder: Path, name: str) -> Any:
    """Open the recordings in a folder, or give the folder where it holds something else."""
    folder = _unwrapped(folder)
    raws = _matching(folder, "**", "*raw.fif")
    if raws:
        return [mne.io.read_raw_fif(fname) for fname in raws]
    rate = next((rate for start, rate in RATES.items() if name.startswith(start)), None)
    arrays = _matching(folder, "*.npy")
    if rate is None or not arrays or any(map(Path.is_dir, _visible(folder))):
        return folder
    shapes = [shape for shape in map(_shape, arrays) if shape is not None]
    if len(shapes) < len(arrays) or len({shape[1] for shape in shapes}) > 1:
        return folder
    if PREPARED in name:
        return prepare(arrays, Preparation.as_is(), sfreq=rate)
    return [_parcels(fname, shape, rate) for fname, shape in zip(arrays, shapes, strict=True)]


def _visible(folder: Path) -> list[Path]:
    """List what a folder holds, but for hidden files."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _unwrapped(folder: Path) -> Path:
    """Enter folders as long as they are all that another holds."""
    inside = _visible(folder)
    while len(inside) == 1 and inside[0].is_dir():
        folder = inside[0]
        inside = _visible(folder)
    return folder


def _matching(folder: Path, *pattern: str) -> list[Path]:
    """Files that match, in natural order."""
    try:
        return expanded(str(Path(glob.escape(str(folder)), *pattern)))
    except FileNotFoundError:
        return []


def _shape(fname: Path) -> tuple[int, int] | None:
    """Shape of an array of signals, samples first; None of any other."""
    try:
        array = np.load(fname, mmap_mode="r", allow_pickle=False)
    except ValueError:  # objects, which are not to be trusted, or nothing of NumPy's
        return None
    if array.ndim != 2 or array.dtype.kind != "f":
        return None
    return array.shape if len(array) >= max(MIN_TIMES_LONGER * array.shape[1], MIN_TIMES) else None


def _parcels(fname: Path, shape: tuple[int, int], rate: float) -> mne.io.BaseRaw:
    """Parcel time courses that are read when they are used."""
    n_times, n_parcels = shape
    names = [f"parcel_{i_parcel}" for i_parcel in range(n_parcels)]
    return FileRaw(fname, mne.create_info(names, rate, "misc"), n_times)
