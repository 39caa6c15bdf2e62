"""From source estimates to the time courses of parcels."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import mne
import numpy as np
from mne.utils import logger, verbose

from ..._utils.checks import check_option, listed, plural
from ..._utils.docs import fill_doc
from .leakage import symmetric
from .source_blocks import SourceBlocks
from .weights import METHODS, Moments, parcel_weights, sources_of

if TYPE_CHECKING:
    from .atlas_volume import Parcels

ORTHOGONALIZE = ("symmetric", "none")
# A time course that changes by less than this part of its largest value is constant.
MAX_CONSTANT = 1e-12


@verbose
@fill_doc
def parcellate(
    inst: Any,
    atlas: Any,
    *,
    src: Any = None,
    subjects_dir: Any = None,
    method: str = "spatial_basis",
    orthogonalize: str = "symmetric",
    verbose: Any = None,
) -> mne.io.RawArray:
    """Turn the source estimates of a recording into time courses of parcels.

    Parameters
    ----------
    inst : SourceEstimate | VolSourceEstimate | iterable of these
        One recording: source estimates on a surface or in a volume, plain or vector. An
        iterable has pieces of the recording that follow each other in time, as from
        :func:`mne.minimum_norm.apply_inverse_raw` with ``start`` and ``stop``. Only one
        piece at a time needs to be in memory. Lists, and other objects that can be gone
        through again, are; see Notes for iterators.
    atlas : list of Label | str | path-like | nibabel image
        For sources on a surface, labels, or the name of a parcellation of the subject, such as
        ``"aparc"``. For sources in a volume, a NIfTI file or image in MNI space, of numbered
        parcels or of one map per parcel.
    src : SourceSpaces | path-like | Forward | InverseOperator | None
        The source space. Sources in a volume need it, and so do methods that flip.
    subjects_dir : path-like | None
        The folder of FreeSurfer subjects; None takes MNE-Python's setting.
    method : str
        How the sources of a parcel become one time course:

        - ``"spatial_basis"`` (default): the first principal component of the sources
          times their weights in the parcel, over the whole recording, in the size of the
          sources themselves :footcite:`ColcloughEtAl2015`. It is positive where
          most sources of high weight are. Means are taken off.
        - ``"pca_flip"``, ``"mean_flip"``, ``"mean"``: as in
          :func:`mne.extract_label_time_course`, ``"pca_flip"`` over the whole recording.
          With weights other than 0 and 1 the means are weighted, and so are the sources
          before principal components. Those that flip turn sources around whose
          orientations oppose most others'.
    orthogonalize : str
        ``"symmetric"`` (default) takes out what parcels share without any lag, as leakage
        from one to another does: time courses become orthogonal, and are as close as
        can be to what they were :footcite:`ColcloughEtAl2015`. Means are taken off before.
        ``"none"`` leaves them.
    %(verbose)s

    Returns
    -------
    raw : RawArray
        One ``misc`` channel per parcel. Its first sample is at the first time of ``inst``.

    Raises
    ------
    TypeError
        If ``inst`` is no source estimate and no iterable of them, or is complex.
    ValueError
        If ``method`` or ``orthogonalize`` is unknown, or flips where orientations are not
        known; if ``inst`` is empty, or its pieces differ in more than their times, or do
        not follow each other; if it holds values that are not finite, or nothing
        in a parcel; or if there are more parcels than dimensions of the data to make
        orthogonal.
    OSError
        If the temporary folder is too small for what an iterator gives.

    See Also
    --------
    fit_hmm : Trains a model on the result.

    Notes
    -----
    Vector source estimates are projected on the orientation in which a source
    varies most over the recording. Its sign, which nothing tells, makes its largest
    component positive. So methods that flip are not for them.

    Principal components are found in one pass over the recording and time courses in
    another. An iterator can be gone through only once, so what it gives is kept in a
    temporary file. Sources that were computed linearly lie in no more dimensions than there
    were channels, and are kept as their coordinates in these, up to rounding. Others need
    as much space as all sources together, in the folder that the environment variable
    ``TMPDIR`` tells; to avoid that, pass an object that can be gone through twice.

    References
    ----------
    .. footbibliography::
    """
    from .atlas import find_parcels  # loads nibabel, which sets up a logger of its own

    check_option(method, "method", METHODS)
    check_option(orthogonalize, "orthogonalize", ORTHOGONALIZE)
    with SourceBlocks(inst) as sources:
        if sources.is_vector and method.endswith("_flip"):
            raise ValueError(
                f'method="{method}" needs one known orientation per source, and a vector source '
                'estimate has three; use "spatial_basis" or "mean"'
            )
        parcels = find_parcels(sources.first, atlas, src=src, subjects_dir=subjects_dir)
        _check_flips(parcels, method)
        courses = _time_courses(sources, parcels, method)
        tmin, sfreq = sources.tmin, sources.sfreq
    _check_constant(courses, parcels.names)
    if orthogonalize == "symmetric":
        courses -= courses.mean(axis=1, keepdims=True)
        courses = np.ascontiguousarray(symmetric(courses.T).T)
    logger.info(
        f"{plural(len(courses), 'parcel')}, {courses.shape[1] / sfreq:.1f} s at {sfreq:g} Hz"
    )
    info = mne.create_info(list(parcels.names), sfreq, "misc")
    return mne.io.RawArray(courses, info, first_samp=round(tmin * sfreq), verbose="WARNING")


def _check_flips(parcels: "Parcels", method: str) -> None:
    if method.endswith("_flip") and parcels.flips is None:
        raise ValueError(
            f'method="{method}" needs the orientations of sources; pass the src they were '
            'computed for, if it is of surfaces, or use "spatial_basis"'
        )


def _time_courses(sources: SourceBlocks, parcels: "Parcels", method: str) -> np.ndarray:
    """Compute the time courses of parcels, shape (n_parcels, n_times), in two passes or fewer."""
    n_parcels = len(parcels.names)
    members = [sources_of(parcels.weights, parcel) for parcel in range(n_parcels)]
    used = np.unique(np.concatenate(members))
    orientations = _orientations(sources, used) if sources.is_vector else None
    flips = None if parcels.flips is None else parcels.flips[used]
    inside = replace(parcels, weights=parcels.weights[used], flips=flips)
    moments = None
    if method in ("spatial_basis", "pca_flip"):
        moments = Moments([np.searchsorted(used, rows) for rows in members])
        for block in sources.blocks(used, "Components of parcels", last=False):
            moments.add(_projected(block, orientations))
    weights = parcel_weights(inside, method, moments).T
    mean = moments.mean[:, np.newaxis] if method == "spatial_basis" and moments else 0.0
    courses = [
        weights @ (_projected(block, orientations) - mean)
        for block in sources.blocks(used, "Time courses of parcels", last=True)
    ]
    return np.concatenate(courses, axis=1)


def _orientations(sources: SourceBlocks, used: np.ndarray) -> np.ndarray:
    """Find the orientation in which each source varies most, shape (n_sources, 3)."""
    n_times, mean, products = 0, np.zeros(()), np.zeros(())
    for block in sources.blocks(used, "Orientations", last=False):
        n_new = block.shape[-1]
        total = n_times + n_new
        block_mean = block.mean(axis=-1, dtype=float)
        centered = block - block_mean[..., np.newaxis]
        step = block_mean - mean
        products = products + centered @ centered.swapaxes(1, 2)
        products += step[:, :, np.newaxis] * step[:, np.newaxis] * (n_times * n_new / total)
        mean, n_times = mean + step * (n_new / total), total
    _, vectors = np.linalg.eigh(products)
    principal = vectors[..., -1]
    largest = np.abs(principal).argmax(axis=1)[:, np.newaxis]
    return principal * np.sign(np.take_along_axis(principal, largest, axis=1))


def _projected(block: np.ndarray, orientations: np.ndarray | None) -> np.ndarray:
    """Give sources in double precision, with one orientation each."""
    block = np.asarray(block, dtype=float)
    return block if orientations is None else np.einsum("nkt,nk->nt", block, orientations)


def _check_constant(courses: np.ndarray, names: Sequence[str]) -> None:
    """Check that every parcel changes."""
    flat = np.ptp(courses, axis=1) <= MAX_CONSTANT * np.abs(courses).max(axis=1)
    if flat.any():
        where = listed(np.array(names)[flat])
        raise ValueError(
            f"{plural(int(flat.sum()), 'parcel')} never change: {where}; look at the source "
            "estimate there, or leave them out of the atlas"
        )
