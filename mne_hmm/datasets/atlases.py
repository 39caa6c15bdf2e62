"""Atlases in MNI space."""

import re
from pathlib import Path

from mne.utils import verbose

from .._utils.checks import listed
from .._utils.docs import fill_doc
from .._utils.typing import FileName, Verbose
from ._registry import fetch_registered, read_registry

SUFFIX = ".nii.gz"


@verbose
@fill_doc
def fetch_atlas(name: str, *, path: FileName | None = None, verbose: Verbose = None) -> Path:
    """Fetch an atlas of the brain, or the brain itself, in MNI space.

    The atlases are those that osl-dynamics :footcite:`GohilEtAl2024` brings along. Each is
    downloaded once.

    Parameters
    ----------
    name : str
        Short name: ``"AAL24"``, ``"AAL78"``, ``"AAL116"``, ``"DK54"``, ``"DK68"``, ``"Giles38"``,
        ``"Giles39"``, ``"Giles42"``, ``"Glasser50"``, ``"Glasser52"``, ``"Schaefer100-5mm"`` or
        ``"Schaefer100-8mm"``; or the whole name of the file, with or without ``.nii.gz``. The
        brain is ``"MNI152_T1_8mm_brain"``, also at 1, 2 and 5 mm.
    path : path-like | None
        Cache folder; the file is kept below it as ``parcellation/...``. None takes the
        environment variable ``MNE_HMM_DATA``, or where that is not set the cache folder of the
        operating system.
    %(verbose)s

    Returns
    -------
    fname : Path
        The NIfTI file, for ``atlas=`` of `mne_hmm.parcellate`, `mne_hmm.parcellate_nifti`
        and `mne_hmm.fit_hmm`.

    Raises
    ------
    ValueError
        If there is no atlas of that name; those that there are are listed.
    ConnectionError
        If the file is not there and cannot be downloaded; it says which file to put where.
    OSError
        If what was downloaded is not the file it should be.

    See Also
    --------
    fetch_osf : Fetches data sets.

    Notes
    -----
    Files come from github.com/OHBA-analysis/osl-dynamics (Apache-2.0) at a fixed commit, and
    their hashes are part of this package. The environment variable ``MNE_HMM_GITHUB`` gives
    another address than ``https://raw.githubusercontent.com``, as that of a mirror.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> import mne_hmm
    >>> atlas = mne_hmm.datasets.fetch_atlas("Giles38")  # doctest: +SKIP
    >>> raw = mne_hmm.parcellate(stc, atlas, src=src)  # doctest: +SKIP
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {name!r} of type {type(name).__name__}")
    atlases = _atlases()
    wanted = name.removesuffix(SUFFIX).lower()
    for short, fname in atlases.items():
        if wanted in (short.lower(), _stem(fname).lower()):
            return fetch_registered("parcellation", [fname], path)[0]
    raise ValueError(
        f"name={name!r} is none of the atlases; they are {listed(atlases, len(atlases))}"
    )


def _atlases() -> dict[str, str]:
    """Names in the registry, by short names that differ."""
    stems = {fname: _stem(fname) for fname in read_registry("parcellation")}
    plain = {fname: _short(stem) for fname, stem in stems.items()}
    return {
        short if list(plain.values()).count(short) == 1 else _short(stems[fname], size=True): fname
        for fname, short in plain.items()
    }


def _stem(fname: str) -> str:
    """Name of a file without its folders and ending."""
    return fname.rpartition("/")[2].removesuffix(SUFFIX)


def _short(stem: str, *, size: bool = False) -> str:
    """Family and number of parcels, and the size of voxels where that is needed."""
    match = re.fullmatch(r"atlas-(\w+)_nparc-(\d+)_space-MNI_res-(\d+)x\d+x\d+", stem)
    if match is None:
        return stem
    family, n_parcels, voxel = match.groups()
    return f"{family}{n_parcels}-{voxel}mm" if size else f"{family}{n_parcels}"
