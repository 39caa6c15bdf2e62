"""Files that commands take: which recordings they are, what to call them, what they hold."""

import glob
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mne

from .._utils.mne_private import raw_suffix
from ..io.array_files import is_array_file
from ..io.bids import find_bids_recordings, import_mne_bids, sidecars_of
from ..io.file_search import IMAGE_SUFFIXES, READ_WITH, expanded, is_prepared_folder
from ..io.lazy_raw import is_epochs_file
from ..preparation.cache import read_prepared
from ..preparation.prepared_data import PreparedData

if TYPE_CHECKING:
    from mne_bids import BIDSPath

LONG_SUFFIXES = (".fif.gz", ".nii.gz")


@dataclass(frozen=True)
class Inputs:
    """Recordings of a command.

    Parameters
    ----------
    paths : list of Path
        One path per recording, or the folder of prepared data alone.
    names : list of str
        What to call the recordings, and their output files.
    prepared : PreparedData | None
        The features, where the input is a folder of prepared data.
    bids : list of mne_bids.BIDSPath | None
        The recordings, where they are of a BIDS data set.
    """

    paths: list[Path]
    names: list[str]
    prepared: PreparedData | None = None
    bids: "list[BIDSPath] | None" = None

    @property
    def inst(self) -> Any:
        """The recordings, as public functions take them."""
        alternatives = (self.prepared, self.bids, self.paths)
        return next(inst for inst in alternatives if inst is not None)

    def content(self) -> list[dict[str, Any]]:
        """List the files that each path stands for, with sizes and hashes."""
        if self.bids is None:
            return [{"path": str(path.absolute()), "files": digests(path)} for path in self.paths]
        return [
            {
                "path": str(path.absolute()),
                "bids": _arguments_of(bids_path),
                "files": [*digests(path), *map(digest, sidecars_of(bids_path))],
            }
            for path, bids_path in zip(self.paths, self.bids, strict=True)
        ]


def find_inputs(entries: Sequence[str]) -> Inputs:
    """Find the recordings that paths, folders and patterns stand for."""
    folders = [entry for entry in entries if is_prepared_folder(Path(entry))]
    if folders:
        if len(entries) > 1:
            raise ValueError(
                f"{folders[0]} is a folder of prepared data, which cannot be given with other "
                "files; prepare all recordings in one folder"
            )
        prepared = read_prepared(folders[0])
        within = [re.sub(r"^.*\((.*)\)$", r"\1", name) for name in prepared.names]
        return Inputs([Path(folders[0])], names_of([Path(name) for name in within]), prepared)
    paths = [Path(path) for entry in entries for path in expanded(entry)]
    for path in paths:
        if not path.exists() and not list(path.parent.glob(f"{glob.escape(path.name)}-??.stc")):
            raise FileNotFoundError(
                f"there is no file {path}; check the path (the working folder is {Path.cwd()})"
            )
    twice = {str(path) for path in paths if paths.count(path) > 1}
    if twice:
        raise ValueError(f"{', '.join(sorted(twice))} is given more than once")
    return Inputs(paths, names_of(paths))


def find_bids_inputs(root: str, choices: Mapping[str, Any]) -> Inputs:
    """Find recordings of a BIDS data set."""
    return _bids_inputs(find_bids_recordings(root, **choices))


def inputs_of(run: Mapping[str, Any]) -> Inputs:
    """Get the recordings that a run began with, called as they were."""
    inputs = run["inputs"]
    if is_of_bids(run):
        bids_path = import_mne_bids().BIDSPath
        recordings = _bids_inputs([bids_path(**entry["bids"], check=False) for entry in inputs])
    else:
        recordings = find_inputs([entry["path"] for entry in inputs])
    return replace(recordings, names=run["names"])


def is_of_bids(run: Mapping[str, Any]) -> bool:
    """Say whether a run began with recordings of a BIDS data set."""
    return any("bids" in entry for entry in run["inputs"])


def _bids_inputs(bids_paths: list["BIDSPath"]) -> Inputs:
    paths = [Path(bids_path.fpath) for bids_path in bids_paths]
    return Inputs(paths, names_of(paths), bids=bids_paths)


def _arguments_of(bids_path: "BIDSPath") -> dict[str, Any]:
    """List all that a BIDSPath is made of."""
    names = ("datatype", "suffix", "extension")
    parts = {**bids_path.entities, **{name: getattr(bids_path, name) for name in names}}
    root = str(Path(bids_path.root).absolute())
    return {"root": root, **{name: part for name, part in parts.items() if part is not None}}


def names_of(paths: Sequence[Path]) -> list[str]:
    """Name recordings by their files, with as many folders as tell them apart."""
    parts = [(*path.absolute().parts[1:-1], _stem(path)) for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["_".join(of_path[-depth:]) for of_path in parts]
        if len({name.lower() for name in names}) == len(names):
            return names
    return [f"{name}_{i}" for i, name in enumerate(names)]


def _stem(path: Path) -> str:
    name = path.name
    long = (suffix for suffix in LONG_SUFFIXES if name.lower().endswith(suffix))
    return name[: len(name) - len(next(long, path.suffix))] or name


def digests(path: Path) -> list[dict[str, Any]]:
    """List the files a path stands for, with sizes and SHA-256 hashes."""
    return [digest(file) for file in _files_of(path.absolute())]


def digest(path: Path) -> dict[str, Any]:
    """Get the absolute path, the size in bytes and the SHA-256 hash of a file."""
    with path.open("rb") as file:
        value = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": str(path.absolute()), "size": path.stat().st_size, "sha256": value}


def _files_of(path: Path) -> list[Path]:
    """List the files a path stands for."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    if path.suffix == ".stc" or not path.exists():  # both hemispheres
        stem = re.sub(r"-[lr]h$", "", path.name.removesuffix(".stc"))
        hemispheres = set(path.parent.glob(f"{glob.escape(stem)}-??.stc"))
        return sorted(hemispheres | ({path} if path.exists() else set()))
    files = {path, *_split_files(path)}
    suffix = path.suffix.lower()
    for other in path.parent.iterdir():
        if other.stem == path.stem and suffix in READ_WITH.get(other.suffix.lower(), ()):
            files.add(other)
    return sorted(files)


def _split_files(path: Path) -> list[Path]:
    """List the files that MNE-Python reads when it reads a path."""
    if path.name.lower().endswith(IMAGE_SUFFIXES) or is_array_file(path):
        return []
    try:
        if is_epochs_file(path):
            stem = path.name.removesuffix(".gz").removesuffix(".fif")
            return [*path.parent.glob(f"{glob.escape(stem)}-[0-9]*.fif*")]
        if raw_suffix(path) is None:
            return []
        names = mne.io.read_raw(path, verbose="ERROR").filenames
    except Exception:  # it is raised when the file is read in earnest
        return []
    return [Path(name).absolute() for name in names if name is not None and Path(name).is_file()]
