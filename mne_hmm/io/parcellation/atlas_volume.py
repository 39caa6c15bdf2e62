"""Atlases that are images, and where their parcels lie among sources and voxels."""

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from ..._utils.checks import listed, plural

# What nibabel and gzip raise for files that are damaged, cut off, or no images at all.
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    nibabel.filebasedimages.ImageFileError,
    nibabel.spatialimages.HeaderDataError,
)

# Positions come with the noise of float32, about 1e-6 of a voxel. Where a position lies in the
# middle between two grid points, that noise must not choose one of them.
GRID_DECIMALS = 4


@dataclass(frozen=True)
class Parcels:
    """Weights of sources in parcels.

    Parameters
    ----------
    names : tuple of str
        Names of the parcels.
    weights : scipy.sparse.csc_array, shape (n_sources, n_parcels)
        Weight of each source in each parcel, 0 outside. The largest weight of a parcel is 1.
    flips : scipy.sparse.csc_array, shape (n_sources, n_parcels) | None
        1 or -1 for each source of a parcel, by which sources of opposite orientation do not
        cancel; None where orientations are not known.
    """

    names: tuple[str, ...]
    weights: sparse.csc_array
    flips: sparse.csc_array | None = None


def read_atlas(atlas: Any) -> Any:
    """Read an atlas, and check that it is one."""
    img, data, name = _load(atlas)
    if data.dtype.kind not in "buif":
        kind = "complex numbers" if data.dtype.kind == "c" else f"values of type {data.dtype}"
        raise ValueError(f"{name} holds {kind}; an atlas needs real numbers")
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    if data.ndim not in (3, 4):
        raise ValueError(
            f"{name} has shape {data.shape}; an atlas has three dimensions, with one whole number "
            "for each parcel, or four, with one volume for each parcel"
        )
    _check_place(img, name)
    data = data.astype(np.result_type(data, np.float32), copy=False)
    n_bad = int(np.count_nonzero(~np.isfinite(data)))
    if n_bad:
        raise ValueError(
            f"{name} has {plural(n_bad, 'value')} that are NaN or infinite; set them to 0, which "
            "means outside of the parcels"
        )
    if data.min() < 0:
        what = "label numbers" if data.ndim == 3 else "weights"
        raise ValueError(
            f"{name} has {what} down to {data.min():g}; they must not be negative: set to 0 what "
            "lies outside of the parcels"
        )
    if data.ndim == 3:
        _check_labels(data, name)
    return nibabel.Nifti1Image(data, img.affine)


def weights_at(img: Any, positions: ArrayLike) -> np.ndarray:
    """Get the weights of parcels at the grid points nearest to positions.

    Shapes: ``positions`` (n_positions, 3); returns ``weights`` (n_positions, n_parcels).
    """
    positions = np.asarray(positions, dtype=float)
    if positions.ndim != 2 or positions.shape[1] != 3 or not np.isfinite(positions).all():
        raise ValueError(
            "positions must be finite numbers of shape (n_positions, 3), in millimeters, got "
            f"shape {positions.shape}"
        )
    data = np.asanyarray(img.dataobj)
    to_grid = np.linalg.inv(img.affine)
    place = positions @ to_grid[:3, :3].T + to_grid[:3, 3]
    nearest = np.floor(np.round(place, GRID_DECIMALS) + 0.5)
    inside = ((nearest >= 0) & (nearest < data.shape[:3])).all(axis=1)
    values = data[tuple(nearest[inside].astype(int).T)]
    if data.ndim == 3:
        values = values[:, None] == _label_numbers(data)
    weights = np.zeros((len(positions), values.shape[1]))
    weights[inside] = values
    return weights


def parcels_at(img: Any, positions: ArrayLike, what: str = "source") -> Parcels:
    """Find the parcels of an atlas at positions, with the largest weight of each parcel made 1.

    Shapes: ``positions`` (n_positions, 3).
    """
    weights = weights_at(img, positions)
    n_parcels = weights.shape[1]
    width = len(str(n_parcels - 1))
    names = tuple(f"parcel_{parcel:0{width}}" for parcel in range(n_parcels))
    peaks = weights.max(axis=0, initial=0.0)
    empty = np.flatnonzero(peaks == 0)
    if len(empty) == n_parcels:
        raise ValueError(
            f"no {what} lies in any of the {plural(n_parcels, 'parcel')} of the atlas; check that "
            f"atlas and {what}s are in the same space, and the atlas' affine"
        )
    if len(empty):
        raise ValueError(
            f"{plural(len(empty), 'parcel')} of {n_parcels} hold no {what}: "
            f"{listed(names[parcel] for parcel in empty)}; check that atlas and {what}s are in "
            "the same space, or leave these parcels out of the atlas"
        )
    return Parcels(names, sparse.csc_array(weights / peaks))


def _load(atlas: Any) -> tuple[Any, np.ndarray, str]:
    """Give an image, its values, and what to call it in errors."""
    if isinstance(atlas, nibabel.spatialimages.SpatialImage):
        fname = atlas.get_filename()
        name = "the atlas" if fname is None else f"atlas {fname}"
    elif isinstance(atlas, (str, os.PathLike)):
        name = f"atlas {os.fspath(atlas)}"
        if not Path(atlas).is_file():
            raise FileNotFoundError(
                f"atlas={os.fspath(atlas)!r}: there is no such file; an atlas for volumes is a "
                "NIfTI file or a nibabel image"
            )
    else:
        raise TypeError(
            "atlas must be a NIfTI file or a nibabel image for sources in a volume, got "
            f"{type(atlas).__name__}"
        )
    try:
        if isinstance(atlas, (str, os.PathLike)):
            _check_compressed(Path(atlas))
        img: Any = nibabel.load(atlas) if isinstance(atlas, (str, os.PathLike)) else atlas
        if not isinstance(img, nibabel.spatialimages.SpatialImage):
            raise ValueError(f"it holds a {type(img).__name__}")
        data = np.asanyarray(img.dataobj)
    except UNREADABLE as error:
        why = " ".join(str(error).split())
        raise OSError(
            f"{name} cannot be read: it is no NIfTI image, or it was cut off ({why}); copy or "
            "download it again"
        ) from error
    return img, data, name


def _check_compressed(fname: Path) -> None:
    """Read a compressed file to its end, where the checksum is; nibabel stops before."""
    if fname.suffix == ".gz":
        with gzip.open(fname) as file:
            while file.read(2**20):
                pass


def _check_place(img: Any, name: str) -> None:
    """Check that an image says where it lies."""
    # Without a transform nibabel centers the grid, which looks right and is not.
    header = img.header
    is_nifti = isinstance(header, nibabel.nifti1.Nifti1Header)
    uncoded = is_nifti and header["sform_code"] == 0 and header["qform_code"] == 0
    if img.affine is None or uncoded:
        raise ValueError(
            f"{name} does not say where it lies (its sform and qform codes are 0); set its affine "
            "with nibabel, with code 4 for MNI space"
        )
    if not np.isfinite(img.affine).all() or np.linalg.matrix_rank(img.affine) < 4:
        raise ValueError(f"{name} has an affine that cannot be inverted; set the right one")


def _check_labels(data: np.ndarray, name: str) -> None:
    """Check that labels are whole numbers, two of them at least."""
    fractions = data[data != np.round(data)]
    if fractions.size:
        raise ValueError(
            f"{name} has three dimensions, so its values must be whole numbers, one for each "
            f"parcel, but {plural(fractions.size, 'value')} are not, such as {fractions[0]:g}; "
            "give weights as four dimensions, with one volume for each parcel"
        )
    labels = _label_numbers(data)
    if len(labels) < 2:
        what = f"only the label {labels[0]:g}" if len(labels) else "no label"
        raise ValueError(
            f"{name} holds {what}; an atlas needs two parcels or more, each with a number of its "
            "own and 0 outside"
        )


def _label_numbers(data: np.ndarray) -> np.ndarray:
    labels = np.unique(data)
    return labels[labels != 0]
