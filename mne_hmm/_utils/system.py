"""The versions that a report of a fault needs."""

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TextIO

import mne

PACKAGES = ("mne-hmm", "tensorflow", "keras", "pooch", "tqdm", "joblib", "mne-lsl")


def _format_versions(names: Sequence[str]) -> str:
    """Format a line for each package, with its version or that it is not there."""
    lines = []
    for name in names:
        try:
            installed = version(name)
        except PackageNotFoundError:
            installed = "not installed"
        lines.append(f"{name:<20} {installed}")
    return "\n".join(lines)


def sys_info(fid: TextIO | None = None, *, dependencies: str = "user") -> None:
    """Print the versions of everything that matters, for a report of a fault.

    These are the versions of mne-hmm and of what it computes with, and after them all that
    :func:`mne.sys_info` says of the system and of MNE-Python. Nothing is asked from the network.

    Parameters
    ----------
    fid : file-like | None
        The file to write to. None (default) is the standard output.
    dependencies : 'user' | 'developer'
        Which packages MNE-Python lists: those of users (default) or those of developers, too.

    Examples
    --------
    >>> import mne_hmm
    >>> mne_hmm.sys_info()
    mne-hmm ...
    """
    fid = sys.stdout if fid is None else fid
    print(_format_versions(PACKAGES), file=fid)
    print(file=fid)
    mne.sys_info(fid, dependencies=dependencies, check_version=False)
