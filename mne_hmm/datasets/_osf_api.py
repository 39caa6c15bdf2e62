"""Which files a project on the Open Science Framework (OSF) has, by version 2 of its API."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from .._utils.checks import listed
from ._download import N_TRIES, Source, UnreachableError, read_json

SITE = "https://api.osf.io/v2"
# The folder in which a project's data sets are looked for first.
DATA = "data/"


class Entry(NamedTuple):
    """A file of a project."""

    path: str
    """Its folders and name in the project."""
    source: Source


def find_file(project: str, name: str, *, n_tries: int = N_TRIES) -> Entry:
    """Find a file of a project by its name."""
    site = os.environ.get("MNE_HMM_OSF_API", SITE).rstrip("/")
    try:
        top = list(_entries(f"{site}/nodes/{project}/files/osfstorage/", "", n_tries))
    except UnreachableError as error:
        if error.status in (401, 403, 404, 410):
            raise ValueError(
                f"project={project!r} is none that OSF shows to everybody ({error}); it is the "
                "five letters in the address of the project's page, as in https://osf.io/by2tc"
            ) from error
        raise
    # The other folders are looked into only where data has no such name.
    files: dict[str, Source] = {}
    for entries in (
        [entry for entry in top if entry[0] == DATA],
        [entry for entry in top if entry[0] != DATA],
    ):
        files |= _files(entries, n_tries)
        for path in (f"{DATA}{name}.zip", f"{DATA}{name}", f"{name}.zip", name):
            if path in files:
                return Entry(path, files[path])
    same = [path for path in files if path.rpartition("/")[2] in (name, f"{name}.zip")]
    if len(same) == 1:
        return Entry(same[0], files[same[0]])
    if same:
        raise ValueError(
            f"name={name!r} is the name of several files of project {project!r}; say which: "
            f"{listed(map(short_name, sorted(same)), 30)}"
        )
    raise ValueError(
        f"name={name!r} is no file of project {project!r}; there are "
        f"{listed(map(short_name, sorted(files, key=_data_first)), 60) or 'none'}"
    )


def short_name(path: str) -> str:
    """Get the shortest name of a file that `find_file` takes for sure."""
    return path.removeprefix(DATA).removesuffix(".zip")


def _data_first(path: str) -> tuple[bool, str]:
    """Sorting key that puts the folder of data sets first."""
    return (not path.startswith(DATA), path)


def _files(entries: list[tuple[str, str, Any]], n_tries: int) -> dict[str, Source]:
    """All files among entries, and in the folders among them; each folder is opened once."""
    out: dict[str, Source] = {}
    todo, seen = list(entries), set()
    while todo:
        path, url, sha256 = todo.pop()
        if not path.endswith("/"):
            out[path] = Source(url, sha256)
        elif url not in seen:
            seen.add(url)
            todo.extend(_entries(url, path, n_tries))
    return out


def _entries(url: str, folder: str, n_tries: int) -> Iterator[tuple[str, str, Any]]:
    """Yield path, address and hash of what a folder holds, page by page.

    Paths of folders end in a slash, and their address is that of the list of what they hold.
    """
    page: str | None = url
    seen: set[str] = set()
    while page and page not in seen:
        seen.add(page)
        answer = read_json(page, n_tries=n_tries)
        try:
            for entry in answer["data"]:
                about = entry["attributes"]
                path = f"{folder}{about['name']}"
                if about["kind"] == "folder":
                    href = entry["relationships"]["files"]["links"]["related"]["href"]
                    yield f"{path}/", href, None
                else:
                    hashes = (about.get("extra") or {}).get("hashes") or {}
                    yield path, entry["links"]["download"], hashes.get("sha256")
            page = (answer.get("links") or {}).get("next")
        except (KeyError, TypeError, AttributeError) as error:
            raise UnreachableError(
                f"{page} does not answer as OSF does ({error!r}); is something in between, as the "
                "sign-in page of a network?"
            ) from error
