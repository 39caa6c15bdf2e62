"""From brain images to the time courses of parcels."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import mne
import numpy as np
from mne.utils import logger, verbose
from scipy import linalg, sparse

from ..._utils.arrays import row_blocks
from ..._utils.checks import check_number, check_option, listed, plural
from ..._utils.docs import fill_doc

# Values that are read at once: 256 MB in float64.
BLOCK_SIZE = 2**25

# Positions for which the dense weights of all parcels are in memory at once.
N_POSITIONS = 2**16

# Seconds from one volume to the next that some scanner may have.
MIN_TR, MAX_TR = 0.01, 60.0

SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6, "unknown": 1.0}


@verbose
@fill_doc
def parcellate_nifti(
    img: Any,
    atlas: Any,
    *,
    method: str = "mean",
    sfreq: float | None = None,
    verbose: Any = None,
) -> mne.io.RawArray:
    """Turn a time series of brain images into the time courses of parcels.

    Parameters
    ----------
    img : path-like | nibabel image
        A NIfTI image with four dimensions, the last of which is time. It must be in the space
        of the atlas.
    atlas : path-like | nibabel image
        The parcels, as labels in three dimensions or weights in four, one volume a parcel.
    method : "mean" | "pca"
        ``"mean"`` takes the weighted mean of a parcel's voxels. ``"pca"`` takes their weighted
        first principal component, with the sign by which its loadings add up to more than zero,
        and with the weighted mean of the voxels' standard deviations.
    sfreq : float | None
        Volumes per second in hertz, 1 / TR. None (default) takes it from the image's header.
    %(verbose)s

    Returns
    -------
    raw : mne.io.RawArray
        The time courses, in ``misc`` channels ``parcel_00`` and so on.

    Raises
    ------
    TypeError
        If the image is none, or its values are no real numbers.
    ValueError
        If there are fewer than two volumes, the time from one to the next is not known, or a
        parcel holds no voxel.
    OSError
        If a file is not there or cannot be read.

    See Also
    --------
    mne_hmm.fit_hmm : Takes the time courses, best with ``Preparation.standardized()``.

    Notes
    -----
    Each voxel has the weights of the atlas' grid point that is nearest to it. Voxels with values
    that are not finite, as some programs write outside of the brain, belong to no parcel.
    """
    from .atlas_volume import read_atlas, weights_at

    check_option(method, "method", ("mean", "pca"))
    img, label = _opened(img)
    _check_volumes(img, label)
    sfreq = _sfreq(img, sfreq, label)
    weights = _voxel_weights(img, read_atlas(atlas), weights_at)
    n_parcels = weights.shape[1]
    width = max(2, len(str(n_parcels - 1)))
    names = [f"parcel_{i:0{width}}" for i in range(n_parcels)]
    voxels = np.flatnonzero(weights.count_nonzero(axis=1))
    values = _values(img, voxels, label)
    finite = np.isfinite(values).all(1)
    weights = weights[voxels[finite]].tocsc()
    _check_voxels(weights, names, label)
    logger.info(
        f"{label}: {plural(img.shape[3], 'volume')} at {sfreq:g} Hz, {plural(n_parcels, 'parcel')} "
        f"with {plural(int(finite.sum()), 'voxel')}"
    )
    rows = np.flatnonzero(finite)
    signals = np.empty((n_parcels, img.shape[3]))
    for parcel in range(n_parcels):
        inside = slice(*weights.indptr[parcel : parcel + 2])
        share = weights.data[inside] / weights.data[inside].sum()
        x = values[rows[weights.indices[inside]]].astype(float)
        signals[parcel] = share @ x if method == "mean" else _component(x, share)
    info = mne.create_info(names, sfreq, "misc")
    return mne.io.RawArray(signals, info, verbose="ERROR")


def _opened(img: Any) -> tuple[Any, str]:
    """Give an image, and what to call it."""
    import nibabel  # which sets up a logger of its own, so only when it is needed

    if isinstance(img, (str, os.PathLike)):
        path = Path(img)
        if not path.exists():
            raise FileNotFoundError(f"img={str(path)!r}: there is no such file")
        try:
            img = nibabel.load(path, keep_file_open=True)  # its blocks are read one after another
        except Exception as error:  # readers raise anything when a file is damaged
            raise _unreadable(path, error) from error
        label = str(path)
    else:
        fname = img.get_filename() if hasattr(img, "get_filename") else None
        label = "img" if fname is None else str(fname)
    if not isinstance(img, nibabel.spatialimages.SpatialImage):
        raise TypeError(
            f"img must be a path or an image of nibabel with voxels, got {type(img).__module__}."
            f"{type(img).__name__}; of surfaces and CIFTI files, pass the time courses as an array"
        )
    return img, label


def _unreadable(label: str | Path, error: Exception) -> OSError:
    return OSError(f"{label} cannot be read ({error}); is it complete, and a NIfTI image?")


def _check_volumes(img: Any, label: str) -> None:
    """Check that an image is a time series of real numbers."""
    if len(img.shape) != 4 or img.shape[3] < 2:
        raise ValueError(
            f"{label} has shape {img.shape}, but a time series of images has four dimensions, and "
            "two volumes or more in the last"
        )
    dtype = img.get_data_dtype()
    if dtype.kind not in "fiu":
        raise TypeError(
            f"{label} must hold real numbers, got {dtype}; of complex images take the magnitude, "
            "numpy.abs"
        )


def _sfreq(img: Any, sfreq: float | None, label: str) -> float:
    """Get the volumes per second, of the header where they are not passed."""
    if sfreq is not None:
        return check_number(sfreq, "sfreq", rule="a rate above 0 Hz", above=0)
    header = img.header
    if not hasattr(header, "get_xyzt_units"):
        raise ValueError(f"{label} has no header of NIfTI, which tells the TR; pass sfreq=1 / TR")
    value, unit = float(header.get_zooms()[3]), header.get_xyzt_units()[1]
    tr = value * SECONDS.get(unit, np.nan)
    if not MIN_TR <= tr <= MAX_TR:
        raise ValueError(
            f"{label}: the header gives {value:g} as the time from volume to volume, in the unit "
            f"{unit!r}, which cannot be its TR; pass sfreq=1 / TR with the TR in seconds"
        )
    # The header has single precision: 1.89 s must be the same rate as 1890 ms.
    return 1 / float(f"{tr:.6g}")


def _voxel_weights(
    img: Any, atlas: Any, weights_at: Callable[[Any, np.ndarray], np.ndarray]
) -> sparse.csr_array:
    """Get the weights of voxels in parcels, sparse, shape (n_voxels, n_parcels)."""
    shape = img.shape[:3]
    n_voxels = int(np.prod(shape))
    parts = []
    for rows in row_blocks(n_voxels, N_POSITIONS):
        voxels = np.arange(rows.start, rows.stop)
        places = np.stack(np.unravel_index(voxels, shape, order="F"), axis=1)
        positions = places @ img.affine[:3, :3].T + img.affine[:3, 3]
        parts.append(sparse.csr_array(weights_at(atlas, positions)))
    return sparse.vstack(parts, format="csr")


def _blocks(img: Any, label: str) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield which volumes are in a block, and the block."""
    n_volumes = img.shape[3]
    length = max(1, BLOCK_SIZE // int(np.prod(img.shape[:3])))
    for volumes in row_blocks(n_volumes, length):
        try:
            block = np.asanyarray(img.dataobj[..., volumes])
        except Exception as error:  # as above
            raise _unreadable(label, error) from error
        yield volumes, block


def _values(img: Any, voxels: np.ndarray, label: str) -> np.ndarray:
    """Read the time series of voxels in float32, shape (n_voxels, n_volumes).

    They are a part of the image; it is never in memory as a whole in double precision.
    """
    values = np.empty((len(voxels), img.shape[3]), np.float32)
    for volumes, block in _blocks(img, label):
        by_voxel = block.reshape(-1, block.shape[3], order="F")
        values[:, volumes] = by_voxel[voxels]
    return values


def _check_voxels(weights: sparse.csc_array, names: Sequence[str], label: str) -> None:
    empty = [name for name, n in zip(names, np.diff(weights.indptr), strict=True) if n == 0]
    if empty:
        raise ValueError(
            f"{label} has no voxel with values in {plural(len(empty), 'parcel')} of {len(names)}: "
            f"{listed(empty)}; are image and atlas in the same space, or is an affine wrong?"
        )


def _component(x: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Find the first principal component of voxels by their weights, signed and scaled."""
    x = x - x.mean(1, keepdims=True)
    spread = share @ x.std(1)
    root = np.sqrt(share)
    y = root[:, None] * x
    if len(y) <= y.shape[1]:
        last = len(y) - 1
        loadings = linalg.eigh(y @ y.T, subset_by_index=[last, last])[1][:, 0]
        course = loadings @ y
    else:
        last = y.shape[1] - 1
        course = linalg.eigh(y.T @ y, subset_by_index=[last, last])[1][:, 0]
        loadings = y @ course
    if loadings.sum() < 0:
        course = -course
    return course * (spread / course.std()) if spread > 0 else course
