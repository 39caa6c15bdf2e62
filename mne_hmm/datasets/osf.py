"""Data sets of projects on the Open Science Framework."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from mne.utils import logger, verbose

from .._utils.docs import fill_doc
from .._utils.files import written_atomically
from .._utils.typing import FileName, Verbose
from ._cache import by_hand, cache_folder, one_at_a_time
from ._contents import recordings_in
from ._download import N_TRIES, UnreachableError, download, is_right
from ._osf_api import DATA, Entry, find_file
from ._unzip import is_whole, unzip


@verbose
@fill_doc
def fetch_osf(
    name: str,
    *,
    project: str = "by2tc",
    path: FileName | None = None,
    force: bool = False,
    verbose: Verbose = None,
) -> Any:
    """Fetch a data set of a project on the Open Science Framework (OSF).

    The data sets of project ``by2tc`` are those of the tutorials of osl-dynamics
    :footcite:`GohilEtAl2024`. They are downloaded once.

    Parameters
    ----------
    name : str
        Name of a file in the project's folder ``data``, with or without ``.zip``, such as
        ``"notts_meguk_giles_prepared_1_subject"`` (about 21 MB). Files in other folders are found
        as well; where several have the same name, give the folder, as in
        ``"inf_params/NAME"``.
    project : str
        The project: the last part of the address of its page, https://osf.io/by2tc.
    path : path-like | None
        Cache folder, in which the data set is kept as ``osf/PROJECT/NAME``. None takes the
        environment variable ``MNE_HMM_DATA``, or where that is not set the cache folder of the
        operating system (``pooch.os_cache``, as ``~/.cache/mne-hmm``).
    force : bool
        Whether to download what is there already, as after the data set has changed.
    %(verbose)s

    Returns
    -------
    data : PreparedData | list of Raw | Path
        For `mne_hmm.fit_hmm` and `mne_hmm.prepare` as it is. Features that osl-dynamics has
        prepared (``..._prepared_...``) are PreparedData, and nothing is done to them. Parcels are
        a list of Raw, one for each recording, whose signals are read when they are used. Anything
        else is the path of a folder, or of a file that is no zip file: trained models
        (``tde_hmm_...``), several formats side by side (``example_loading_data``), and arrays
        whose sampling rate is not known.

    Raises
    ------
    ValueError
        If there is no such file or project (those that there are are listed), or several files
        are called so.
    ConnectionError
        If the data set is not there and OSF cannot be reached. It says which file to put where:
        what is put there by hand is taken.
    OSError
        If what was downloaded has another hash than OSF says, or cannot be unpacked safely.

    See Also
    --------
    fetch_atlas : Fetches the atlases that the parcels are from.

    Notes
    -----
    The hash (SHA-256) that OSF gives is checked and kept beside the data, in ``NAME.json``. With
    that, later calls need no network. Interrupted downloads go on where they stopped. Several
    processes may ask for the same data set: one downloads it, the others wait.

    The tutorials train on prepared data with means of zero. They are time-delay embedded, which
    their files do not tell, so say ``fit_hmm(data, 8, learn_means=False)`` for the same.

    The environment variable ``MNE_HMM_OSF_API`` gives another address than
    ``https://api.osf.io/v2``, as that of a mirror.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> import mne_hmm
    >>> data = mne_hmm.datasets.fetch_osf(
    ...     "notts_meguk_giles_prepared_1_subject"
    ... )  # doctest: +SKIP
    >>> hmm = mne_hmm.fit_hmm(data, 8, learn_means=False)  # doctest: +SKIP
    """
    name = _check_name(name)
    if not isinstance(project, str) or not re.fullmatch(r"[A-Za-z0-9]+", project):
        raise ValueError(
            f"project must be a project's letters, as 'by2tc' of https://osf.io/by2tc, got "
            f"{project!r}"
        )
    place = _Place(cache_folder(path) / "osf" / project, name.replace("/", "__"))
    # Most calls find all there, perhaps in a folder that they must not write to.
    if force or not place.is_whole():
        with one_at_a_time(place.folder):
            if force or not place.is_whole():
                _bring(place, project, name, force)
    return recordings_in(place.folder, name) if place.folder.is_dir() else place.folder


def _check_name(name: Any) -> str:
    """Get the shortest form of a name; it becomes one of files in the cache folder."""
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {name!r} of type {type(name).__name__}")
    short = name.removeprefix(DATA).removesuffix(".zip")
    if not all(re.fullmatch(r'[^.\\/:*?"<>|][^\\/:*?"<>|]*', part) for part in short.split("/")):
        raise ValueError(
            f"name must be the name of a file, with folders before it if need be, got {name!r}"
        )
    return short


class _Place(NamedTuple):
    """Where a data set is kept: its folder (or file), its zip file, and a record of both."""

    parent: Path
    name: str

    @property
    def folder(self) -> Path:
        """The folder, or the file that is no zip file."""
        return self.parent / self.name

    @property
    def zip_file(self) -> Path:
        """The zip file it came as."""
        return self.parent / f"{self.name}.zip"

    @property
    def record(self) -> Path:
        """The file that keeps path, hash and members."""
        return self.parent / f"{self.name}.json"

    def read_record(self) -> dict[str, Any]:
        """Read the record, empty if there is none."""
        try:
            content = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none, or damaged: all can be asked for again
            return {}
        return content if isinstance(content, dict) else {}

    def write_record(self, **content: Any) -> None:
        """Write the record."""
        with written_atomically(self.record) as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")

    def is_whole(self) -> bool:
        """Whether all that was fetched is still there."""
        record = self.read_record()
        if "members" in record:
            return is_whole(self.folder, record["members"])
        return "sha256" in record and is_right(self.folder, record["sha256"])


def _bring(place: _Place, project: str, name: str, force: bool) -> None:
    """Put a data set in its place, from what lies there or from the net."""
    present = next((fname for fname in (place.zip_file, place.folder) if fname.is_file()), None)
    record = place.read_record()
    sha256 = record.get("sha256")
    if present is not None and not force and sha256 is not None and is_right(present, sha256):
        _install(place, present, record.get("path", present.name), sha256)
        return
    try:
        # Who puts files there by hand has no network, or a slow one.
        entry = find_file(project, name, n_tries=1 if present is not None else N_TRIES)
        fname = _fetch(place, entry, force)
    except UnreachableError as error:
        if present is None or force or sha256 is not None:
            raise UnreachableError(
                _advice_without_network(place, project, name, present, error)
            ) from error
        logger.info(f"{present} is taken as it is: OSF could not be asked for its hash ({error})")
        _install(place, present, present.name, None)
        return
    _install(place, fname, entry.path, entry.source.sha256)


def _fetch(place: _Place, entry: Entry, force: bool) -> Path:
    """Download a file, unless the right one is there."""
    fname = place.zip_file if entry.path.endswith(".zip") else place.folder
    sha256 = entry.source.sha256
    if force:
        fname.unlink(missing_ok=True)
    # The hash is known from here on, whatever happens: a file put there by hand is checked.
    if sha256 is not None and not place.is_whole():
        place.write_record(path=entry.path, url=entry.source.url, sha256=sha256)
    download(entry.source, fname)
    return fname


def _install(place: _Place, fname: Path, path: str, sha256: str | None) -> None:
    """Unpack a file that is right, and record what should be there from now on."""
    content: dict[str, Any] = {"path": path, "sha256": sha256}
    if fname == place.zip_file:
        content["members"] = unzip(fname, place.folder)
    place.write_record(**content)
    place.zip_file.unlink(missing_ok=True)  # all of it is in the folder


def _advice_without_network(
    place: _Place, project: str, name: str, present: Path | None, error: UnreachableError
) -> str:
    """Say which file to put where if there is no network."""
    record = place.read_record()
    path = record.get("path", f"{DATA}{name}.zip")
    where = record.get("url", f"https://osf.io/{project}/files, {path}")
    wrong = (
        f"\n{present} is there, but has not the hash {record['sha256']} that OSF gave."
        if present is not None and "sha256" in record
        else ""
    )
    fname = place.zip_file if path.endswith(".zip") else place.folder
    return f"{error}{wrong}\n{by_hand({where: fname})}"
