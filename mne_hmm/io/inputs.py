"""Any input becomes recordings: Raw, Epochs, arrays, files, folders and patterns."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mne
import numpy as np
from mne.io import BaseRaw

from .._utils.checks import check_number
from .array_files import ArrayFile, UnclearFileError, is_array_file
from .bids import is_bids_path, read_bids_recording
from .channels import ModelChannels, matching_picks, model_picks, picks_of
from .file_search import expanded, stands_for_several
from .lazy_raw import EpochsRaw, FileRaw, is_epochs_file, open_epochs, open_file
from .recording import Recording, segments_and_spans


def as_list(inst: Any) -> list[Any]:
    """Put one input or several into a list."""
    if isinstance(inst, (list, tuple)):
        if len(inst) == 0:
            raise ValueError(
                "inst is an empty list; pass at least one recording (did a search for files "
                "find none?)"
            )
        return list(inst)
    return [inst]


def is_several(inst: Any) -> bool:
    """Tell whether an input stands for a list of recordings, be it of one."""
    return isinstance(inst, (list, tuple)) or stands_for_several(inst)


def to_recordings(
    inst: Any,
    *,
    picks: Any = None,
    ch_names: Sequence[str] | None = None,
    channels_from: str = "",
    reject_by_annotation: bool = True,
    sfreq: float | None = None,
) -> list[Recording]:
    """Turn any input into recordings with the same channels in the same order."""
    entries = [part for entry in as_list(inst) for part in expanded(entry)]
    labels = [_label(entry, i, len(entries)) for i, entry in enumerate(entries)]
    _check_one_kind(entries)
    wanted = None if ch_names is None else ModelChannels(tuple(ch_names), channels_from)
    recordings: list[Recording] = []
    for entry, label in zip(entries, labels, strict=True):
        recordings.append(
            _to_recording(entry, label, recordings, picks, wanted, reject_by_annotation, sfreq)
        )
    return recordings


def _check_one_kind(entries: Sequence[Any]) -> None:
    """Check that a list holds no arrays beside what has named channels, before files are opened."""
    kinds: dict[bool, str] = {}
    for i, entry in enumerate(entries):
        if isinstance(entry, (BaseRaw, mne.BaseEpochs, np.ndarray)):
            kinds.setdefault(isinstance(entry, np.ndarray), f"{type(entry).__name__} ({i})")
        elif isinstance(entry, (str, Path)) and Path(entry).exists():
            path = Path(entry)
            kinds.setdefault(is_array_file(path), f"{path.suffix} file ({i})")
    if len(kinds) > 1:
        raise TypeError(
            f"inst must be a list of one kind, got {', '.join(kinds.values())}; turn arrays into "
            "Raw with mne.io.RawArray, or pass them separately"
        )


def _to_recording(
    entry: Any,
    label: str,
    others: Sequence[Recording],
    picks: Any,
    wanted: ModelChannels | None,
    reject_by_annotation: bool,
    sfreq: float | None,
) -> Recording:
    """Turn one input into a recording with the channels of the others before it.

    What a reader had to load of a file is given free on return, before the next is opened.
    """
    path = Path(entry) if isinstance(entry, (str, Path)) else None
    loaded = _load(entry, label)
    is_raw = isinstance(loaded, BaseRaw)
    if is_raw and sfreq is not None:
        what = (
            "Epochs, which know their"
            if isinstance(loaded, EpochsRaw)
            else "a Raw, which knows its"
        )
        raise ValueError(
            f"sfreq={sfreq} is the sampling rate of arrays, but inst is {what} own; "
            "leave sfreq out (to resample, use preparation=Preparation(sfreq=...))"
        )
    named = is_raw or (isinstance(loaded, ArrayFile) and loaded.ch_names is not None)
    raw = loaded if isinstance(loaded, BaseRaw) else _raw_from_array(loaded, sfreq, label, path)
    if others and named != others[0].named:
        have, lack = (label, others[0].label) if named else (others[0].label, label)
        raise ValueError(
            f"{have} has names of channels and {lack} has none; give all recordings of a list "
            "names, or none"
        )
    if wanted is not None:
        chosen = model_picks(raw, wanted, label, named)
    elif others and named:
        chosen = matching_picks(raw, picks, others[0], label)
    else:
        chosen = picks_of(raw, picks, label)
        if others and len(chosen) != len(others[0].picks):
            raise ValueError(
                f"{label} has {len(chosen)} channels and {others[0].label} "
                f"{len(others[0].picks)}; arrays of one list must have the same channels"
            )
    segments, spans = segments_and_spans(raw, chosen, reject_by_annotation)
    if path is not None and raw.preload:
        raw = FileRaw(path, raw.info, raw.n_times, raw.first_samp)
    return Recording(raw, chosen, spans, segments, label, named)


def _label(entry: Any, index: int, n_entries: int) -> str:
    """Say what a recording is called in messages."""
    name = ""
    if isinstance(entry, (str, Path)):
        name = Path(entry).name
    elif is_bids_path(entry):
        name = entry.basename
    elif isinstance(entry, mne.BaseEpochs) and entry.filename is not None:
        name = Path(entry.filename).name
    elif isinstance(entry, BaseRaw) and entry.filenames and entry.filenames[0] is not None:
        name = Path(entry.filenames[0]).name
    if n_entries == 1:
        return f"the recording{f' ({name})' if name else ''}"
    return f"recording {index}{f' ({name})' if name else ''}"


def _load(entry: Any, label: str) -> BaseRaw | ArrayFile | np.ndarray:
    """Take Raw objects and arrays as they are, files as what they hold."""
    path = Path(entry) if isinstance(entry, (str, Path)) else None
    if path is not None:
        if not path.exists():
            raise FileNotFoundError(
                f"{label}: inst names a file that does not exist, {path}; check the path (the "
                f"working folder is {Path.cwd()})"
            )
        entry = _read(path, label)
    elif is_bids_path(entry):
        path = Path(entry.fpath)
        entry = _read(path, label, entry)
    if isinstance(entry, mne.BaseEpochs):
        return EpochsRaw(entry, label, path)
    if isinstance(entry, BaseRaw):
        return entry
    if isinstance(entry, ArrayFile):
        _check_real(entry.values, label)
        return entry
    if isinstance(entry, np.ndarray):
        if entry.ndim != 2:
            raise ValueError(
                f"{label}: an array must be of shape (n_channels, n_times), got "
                f"{entry.shape}; pass several recordings as a list of such arrays"
            )
        _check_real(entry, label)
        return entry
    if isinstance(entry, mne.Evoked):
        raise TypeError(
            f"{label}: inst is an Evoked, an average in which the states of the epochs are lost; "
            "pass the Epochs it was made of"
        )
    raise TypeError(
        f"{label}: inst must be a Raw, Epochs, an array of shape (n_channels, n_times), a path, "
        f"PreparedData or a list of these, got {type(entry).__module__}.{type(entry).__name__}"
    )


def _check_real(array: np.ndarray, label: str) -> None:
    """Check that an array holds real numbers, none of which is masked."""
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ValueError(
            f"{label}: an array must have no masked values, got {np.ma.count_masked(array)}; fill "
            "them in, as in array.filled(...), or pass a Raw with such spans annotated as bad"
        )
    if array.dtype.kind not in "fiu":
        way_out = (
            "take their envelope, numpy.abs(array), or real part, array.real"
            if array.dtype.kind == "c"
            else "convert it, as in array.astype(float)"
        )
        raise TypeError(f"{label}: an array must hold real numbers, got {array.dtype}; {way_out}")


def _read(path: Path, label: str, bids_path: Any = None) -> BaseRaw | mne.BaseEpochs | ArrayFile:
    """Read a file, whatever kind it is of; of BIDS data sets with what lies beside it."""
    try:
        if bids_path is not None:
            return read_bids_recording(bids_path)
        return open_epochs(path) if is_epochs_file(path) else open_file(path)
    except UnclearFileError as error:
        raise ValueError(f"{label}: {error}") from None
    except Exception as error:  # readers raise anything when a file is damaged
        raise OSError(
            f"{label}: {path} cannot be read ({error}); is it complete, and of a kind that "
            "mne.io.read_raw or mne.read_epochs reads (or, for arrays, .npy, .npz, .mat, .csv, "
            ".tsv or .txt)?"
        ) from error


def _raw_from_array(
    loaded: ArrayFile | np.ndarray, sfreq: float | None, label: str, path: Path | None = None
) -> BaseRaw:
    """Make a Raw of an array, or of the file that holds it."""
    file = loaded if isinstance(loaded, ArrayFile) else ArrayFile(loaded)
    array = file.values
    if sfreq is None:
        raise ValueError(
            f"{label} is an array and sfreq is None; pass its sampling rate in hertz, sfreq=..."
        )
    sfreq = check_number(sfreq, "sfreq", rule="a rate above 0 Hz", above=0)
    if 0 in array.shape:
        raise ValueError(f"{label}: an array must not be empty, got shape {array.shape}")
    names = file.ch_names or [f"channel_{i}" for i in range(len(array))]
    info = mne.create_info(list(names), sfreq, "misc")
    if path is not None:
        return FileRaw(path, info, array.shape[1])
    return mne.io.RawArray(np.asarray(array, float), info, copy="auto", verbose="ERROR")
