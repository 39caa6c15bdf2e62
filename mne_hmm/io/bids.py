"""Recordings of BIDS data sets, raw or derivatives: which there are, and reading them."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mne
from mne.utils import logger

from .._utils.checks import import_extra, listed, plural
from .._utils.files import check_path
from .file_search import natural
from .lazy_raw import open_epochs

if TYPE_CHECKING:
    from mne_bids import BIDSPath

# How files of recordings end. Raw data are named by their data type, derivatives often as
# MNE-Python names files: MNE-BIDS-Pipeline writes proc-clean_raw.fif and proc-clean_epo.fif.
DATATYPES = ("meg", "eeg", "ieeg", "nirs")
MNE_SUFFIXES = ("raw", "epo")
SUFFIXES = (*DATATYPES, *MNE_SUFFIXES)
EXTENSIONS = (".fif", ".ds", ".con", ".sqd", ".vhdr", ".edf", ".EDF", ".bdf", ".set", ".snirf")
# Files that describe a recording: channels, events, places of electrodes.
SIDECARS = (
    ("channels", ".tsv"),
    ("events", ".tsv"),
    ("events", ".json"),
    ("electrodes", ".tsv"),
    ("coordsystem", ".json"),
)
# What distinguishes files of one recording, and what may be chosen among recordings.
VERSIONS = ("processing", "description", "space", "datatype", "suffix", "extension")
CHOICES = ("subject", "session", "task", "run", *VERSIONS)


def import_mne_bids() -> Any:
    """Import MNE-BIDS, or say how to install it."""
    return import_extra("mne_bids", "bids", "for BIDS data sets")


def is_bids_path(entry: Any) -> bool:
    """Tell whether an input is a BIDSPath, without importing MNE-BIDS."""
    mne_bids = sys.modules.get("mne_bids")
    return mne_bids is not None and isinstance(entry, mne_bids.BIDSPath)


def find_bids_recordings(
    root: Any,
    *,
    subject: str | Sequence[str] | None = None,
    session: str | Sequence[str] | None = None,
    task: str | Sequence[str] | None = None,
    run: str | int | Sequence[str | int] | None = None,
    processing: str | Sequence[str] | None = None,
    description: str | Sequence[str] | None = None,
    datatype: str | Sequence[str] | None = None,
    suffix: str | Sequence[str] | None = None,
    extension: str | Sequence[str] | None = None,
) -> list[Any]:
    """Find the recordings of a BIDS data set, raw or derivatives.

    Needs MNE-BIDS (``pip install "mne-hmm[bids]"``).

    Parameters
    ----------
    root : path-like
        Folder of the data set, or of derivatives.
    subject, session, task : str | sequence of str | None
        Take only these, named without ``sub-`` and so on. None takes all.
    run : str | int | sequence of these | None
        Take only these runs; 1 and ``"01"`` are the same.
    processing, description : str | sequence of str | None
        Take only what has this ``proc-`` or ``desc-``, such as ``"clean"``.
    datatype : str | sequence of str | None
        Take only ``"meg"``, ``"eeg"``, ``"ieeg"`` or ``"nirs"``.
    suffix : str | sequence of str | None
        Take only what is named so at the end: a data type or, among derivatives, ``"raw"`` or
        ``"epo"`` (epochs).
    extension : str | sequence of str | None
        Take only these formats, such as ``".fif"``.

    Returns
    -------
    bids_paths : list of mne_bids.BIDSPath
        One per recording, in natural order: run 2 comes before run 10. `fit_hmm` and all that
        takes recordings take the list as it is.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no such recording in it.
    ImportError
        If MNE-BIDS is not installed.
    ValueError
        If several files are of the same recording.

    See Also
    --------
    read_bids_recording : Reads one of them.
    write_bids_derivatives : Writes what a model says of them.

    Notes
    -----
    Recordings of the empty room (subject ``emptyroom``, or task ``noise``) are left out unless
    they are asked for by ``subject`` or ``task``. Files that follow a first one
    (``split-02``) are read with it. Folders of BTi systems and MEF3 are not searched for.
    """
    mne_bids = import_mne_bids()
    root = check_path(root, "root")
    if not root.is_dir():
        raise FileNotFoundError(
            f"root={str(root)!r} is no folder; pass the folder that holds sub-... (the working "
            f"folder is {Path.cwd()})"
        )
    asked: dict[str, Any] = {
        "subject": subject,
        "session": session,
        "task": task,
        "run": run,
        "processing": processing,
        "description": description,
        "datatype": datatype,
        "suffix": suffix,
        "extension": extension,
    }
    wanted = {name: _as_strings(value) for name, value in asked.items() if value is not None}
    paths = mne_bids.find_matching_paths(
        root, suffixes=list(SUFFIXES), extensions=list(EXTENSIONS), ignore_nosub=True
    )
    paths = [path for path in paths if _is_recording(path)]
    if not paths:
        raise FileNotFoundError(
            f"root={str(root)!r} holds no recording of a BIDS data set, such as "
            "sub-01/eeg/sub-01_task-rest_eeg.edf; pass the folder that holds sub-..."
        )
    chosen = [path for path in paths if _matches(path, wanted)]
    if "subject" not in wanted and "task" not in wanted:
        chosen = [path for path in chosen if not _is_empty_room(path)]
    if not chosen:
        raise FileNotFoundError(
            f"root={str(root)!r} holds {plural(len(paths), 'recording')}, but none with "
            f"{_wanted_in_words(wanted) or 'a person in it'}; there are: "
            f"{_choices_in_words(paths, CHOICES)}"
        )
    _check_one_version(chosen)
    chosen.sort(key=lambda path: natural(path.fpath))
    logger.info(f"Found {plural(len(chosen), 'recording')} in {root}")
    return chosen


def read_bids_recording(bids_path: Any) -> Any:
    """Read a recording of a BIDS data set, raw or derivatives.

    Needs MNE-BIDS (``pip install "mne-hmm[bids]"``).

    Parameters
    ----------
    bids_path : mne_bids.BIDSPath
        The recording, as `find_bids_recordings` gives it.

    Returns
    -------
    inst : Raw | Epochs
        The recording; data are not loaded where they need not be.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If MNE-BIDS is not installed.
    TypeError
        If it is no BIDSPath.

    Notes
    -----
    Raw data are read by ``mne_bids.read_raw_bids``: bad channels come from
    ``channels.tsv``, annotations from ``events.tsv``. FIF files of derivatives say both
    themselves, and are read as they are. Other derivatives are read with the
    ``channels.tsv`` and ``events.tsv`` that lie beside them, if there are any.
    """
    mne_bids = import_mne_bids()
    if not isinstance(bids_path, mne_bids.BIDSPath):
        raise TypeError(
            f"bids_path must be an mne_bids.BIDSPath, got {type(bids_path).__name__}; "
            "find_bids_recordings(root) gives them, mne_bids.get_bids_path_from_fname makes one of "
            "a file's name"
        )
    path = Path(bids_path.fpath)
    if not path.exists():
        raise FileNotFoundError(
            f"bids_path names a file that does not exist, {path}; find_bids_recordings(root) gives "
            "those that do"
        )
    if bids_path.suffix == "epo":
        return open_epochs(path)
    if not _is_derivative(bids_path):
        return mne_bids.read_raw_bids(bids_path, verbose="WARNING")
    beside = bids_path.find_matching_sidecar("channels", ".tsv", on_error="ignore")
    if path.suffix == ".fif" or beside is None:
        return mne.io.read_raw(path, verbose="ERROR")
    # It misses files that derivatives need not have.
    return mne_bids.read_raw_bids(bids_path, verbose="ERROR")


def sidecars_of(bids_path: Any) -> list[Path]:
    """List the files that `read_bids_recording` reads besides the recording itself."""
    description = Path(bids_path.root) / "dataset_description.json"
    out = [description] if description.is_file() else []
    if _is_derivative(bids_path) and Path(bids_path.fpath).suffix == ".fif":
        return out
    wanted = [(bids_path.suffix, ".json"), *SIDECARS]
    sidecars = [bids_path.find_matching_sidecar(*kind, on_error="ignore") for kind in wanted]
    # It has the date of the recording.
    scans = import_mne_bids().BIDSPath(
        subject=bids_path.subject,
        session=bids_path.session,
        suffix="scans",
        extension=".tsv",
        root=bids_path.root,
    )
    there = [Path(sidecar) for sidecar in sidecars if sidecar is not None]
    return out + there + [path for path in [Path(scans.fpath)] if path.is_file()]


def describe_data_set(root: Path) -> dict[str, Any]:
    """Read the dataset_description.json of a data set; empty where there is none."""
    path = root / "dataset_description.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_derivative(bids_path: "BIDSPath") -> bool:
    if bids_path.suffix in MNE_SUFFIXES:
        return True
    return describe_data_set(bids_path.root).get("DatasetType") == "derivative"


def _as_strings(value: str | int | Sequence[str | int]) -> list[str]:
    values = [value] if isinstance(value, (str, int)) else value
    return list(map(str, values))


def _is_recording(bids_path: "BIDSPath") -> bool:
    """Tell whether a file is the first of a recording, and not one that recordings need."""
    needed = bids_path.task is None and bids_path.acquisition in ("calibration", "crosstalk")
    return not needed and bids_path.split in (None, "1", "01", "001")


def _is_empty_room(bids_path: "BIDSPath") -> bool:
    return bids_path.subject == "emptyroom" or bids_path.task == "noise"


def _matches(bids_path: "BIDSPath", wanted: Mapping[str, list[str]]) -> bool:
    for name, values in wanted.items():
        entity = getattr(bids_path, name)
        if name == "run" and entity is not None:
            entity, values = entity.lstrip("0"), [run.lstrip("0") for run in values]
        if entity not in values:
            return False
    return True


def _wanted_in_words(wanted: Mapping[str, list[str]]) -> str:
    """Say what was asked for."""
    return ", ".join(f"{name}={listed(values)}" for name, values in wanted.items())


def _choices_in_words(bids_paths: Iterable["BIDSPath"], names: Iterable[str]) -> str:
    """Say what there is to choose from."""
    parts = []
    for name in names:
        values = {getattr(path, name) for path in bids_paths} - {None}
        if values:
            parts.append(f"{name} {listed(sorted(values), 30)}")
    return "; ".join(parts)


def _check_one_version(chosen: Sequence["BIDSPath"]) -> None:
    """Check that no two files are of the same recording, as before and after cleaning."""
    recordings: dict[Any, list[Any]] = {}
    for path in chosen:
        entities = {k: v for k, v in path.entities.items() if k not in (*VERSIONS, "split")}
        recordings.setdefault(tuple(entities.items()), []).append(path)
    kinds = {path.suffix == "epo" for path in chosen}
    same = next((group for group in recordings.values() if len(group) > 1), None)
    if same is None and len(kinds) == 1:
        return
    # Epochs of all runs may be in one file, which then bears no run.
    group = same or [next(p for p in chosen if (p.suffix == "epo") is kind) for kind in kinds]
    differ = [name for name in VERSIONS if len({getattr(path, name) for path in group}) > 1]
    options = [f"{name} ({_options(chosen, name)})" for name in differ]
    raise ValueError(
        "root holds several files of the same recordings, such as "
        f"{listed(path.basename for path in group)}; choose by {' or '.join(options)}"
    )


def _options(chosen: Iterable["BIDSPath"], name: str) -> str:
    return listed(sorted({str(getattr(path, name)) for path in chosen}), 30)
