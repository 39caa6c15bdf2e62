"""Files of public repositories, at one commit, whose hashes come with the package."""

import functools
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from mne.utils import verbose

from .._utils.typing import FileName, Verbose
from ._cache import by_hand, cache_folder, one_at_a_time
from ._download import Source, UnreachableError, download, is_right

# Where a registry's files are, below the site of GitHub's files: repository and commit.
PLACES = {
    "canonical-hmm": (
        "OHBA-analysis/Canonical-HMM-Networks/370ecd745dc6a492f1cf808180d57a495a489725"
    ),
    "parcellation": "OHBA-analysis/osl-dynamics/e0f4b6aa9562fafc8397b6bfccd3943bbd30ceef",
}
SITE = "https://raw.githubusercontent.com"


@functools.cache
def read_registry(registry: str) -> Mapping[str, str]:
    """Read the names of a registry's files, and the SHA-256 of each."""
    text = (files(__package__) / "registry" / f"{registry}.txt").read_text(encoding="utf-8")
    entries = (line.split() for line in text.splitlines() if line)
    return MappingProxyType({name: sha256.removeprefix("sha256:") for name, sha256 in entries})


@verbose
def fetch_registered(
    registry: str, fnames: Sequence[str], path: FileName | None = None, verbose: Verbose = None
) -> list[Path]:
    """Fetch files of a registry, or find them where they were fetched before."""
    hashes = read_registry(registry)
    folder = cache_folder(path) / registry
    sources = {
        folder.joinpath(*fname.split("/")): Source(address(registry, fname), hashes[fname])
        for fname in fnames
    }
    # Most calls find all files, perhaps in a folder that they must not write to.
    missing = _missing(sources)
    if missing:
        with one_at_a_time(folder):
            for fname, source in missing.items():
                try:
                    download(source, fname)
                except UnreachableError as error:
                    places = {source.url: fname for fname, source in _missing(sources).items()}
                    raise UnreachableError(f"{error}\n{by_hand(places)}") from error
    return list(sources)


def address(registry: str, fname: str) -> str:
    """Get the address of a file of a registry."""
    site = os.environ.get("MNE_HMM_GITHUB", SITE).rstrip("/")
    return f"{site}/{PLACES[registry]}/{fname}"


def _missing(sources: dict[Path, Source]) -> dict[Path, Source]:
    """Files that are not there, or not as they should be."""
    return {
        fname: source for fname, source in sources.items() if not is_right(fname, source.sha256)
    }
