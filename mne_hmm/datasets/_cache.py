"""Where fetched files are kept, and one process at a time that fetches them."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pooch

from .._utils.files import check_folder
from .._utils.locks import lock_held
from .._utils.typing import FileName


def cache_folder(path: FileName | None = None) -> Path:
    """Find the folder that everything fetched is kept in."""
    folder = check_folder(path, "path")
    if folder is None and os.environ.get("MNE_HMM_DATA"):
        folder = check_folder(os.environ["MNE_HMM_DATA"], "MNE_HMM_DATA")
    if folder is None:
        folder = pooch.os_cache("mne-hmm")
    return folder.expanduser().absolute()


def by_hand(places: Mapping[str, Path]) -> str:
    """Say which files to put where, for whoever has no network."""
    todo = [f"  {address}\n    to {fname}" for address, fname in places.items()]
    way_out = (
        "Without a network, get these files on another machine and put them in their places, from "
        "where they are taken (path=... or the environment variable MNE_HMM_DATA give another "
        "folder):"
    )
    return "\n".join([way_out, *todo])


@contextlib.contextmanager
def one_at_a_time(fname: Path) -> Iterator[None]:
    """Let one process, or thread, at a time bring a file or folder; the others wait.

    The lock is the operating system's, which takes it back when a process ends, however it
    ends. Where a file system has none, only the work is done twice: files appear whole anyway.
    """
    fname.parent.mkdir(parents=True, exist_ok=True)
    lock = fname.with_name(f".{fname.name}.lock")
    busy = f"Another process is fetching {fname.name}"
    with lock_held(lock, busy=busy, wait=True, keep=True):
        yield
