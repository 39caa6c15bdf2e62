"""Which sources lie in which parcel of an atlas."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mne
import numpy as np
from mne.io.constants import FIFF
from mne.transforms import apply_trans
from mne.utils import get_subjects_dir
from numpy.typing import ArrayLike
from scipy import sparse

from ..._utils.checks import listed, plural
from ..._utils.typing import FileName
from .atlas_volume import Parcels, parcels_at, read_atlas
from .source_space import read_source_space

# What common parcellations call the part of the surface that is no cortex.
NO_CORTEX = ("unknown", "corpuscallosum", "medial_wall", "???", "background+")


def find_parcels(
    stc: Any, atlas: Any, *, src: Any = None, subjects_dir: FileName | None = None
) -> Parcels:
    """Find the sources of each parcel.

    Positions of sources in a volume go to MNI space by the subject's
    ``mri/transforms/talairach.xfm`` (:func:`mne.read_talxfm`). Where fsaverage has no such file
    they are taken as they are, because fsaverage is in MNI space. That space is MNI305. Most
    volume atlases are in MNI152, which differs by some 2 mm; nothing is done about that, as it
    is less than the spacing of sources.
    """
    on_surface = isinstance(stc, (mne.SourceEstimate, mne.VectorSourceEstimate))
    if not on_surface and not isinstance(stc, (mne.VolSourceEstimate, mne.VolVectorSourceEstimate)):
        raise TypeError(
            "stc must be a source estimate on a surface or in a volume, got "
            f"{type(stc).__name__}; split mixed ones with stc.surface() and stc.volume()"
        )
    src = _check_src(src, stc, on_surface)
    subject = _subject_of(stc, src)
    if on_surface:
        labels = _check_labels(atlas, subject, subjects_dir)
        return _surface_parcels(stc.vertices, labels, src)
    img = read_atlas(_check_no_labels(atlas))
    if src is None:
        raise ValueError(
            "src is needed for sources in a volume, to know where they lie; pass the source "
            "space that the forward solution was made with"
        )
    positions = _positions(stc.vertices, src)
    return parcels_at(img, _to_mni(positions, subject, subjects_dir))


def _check_src(src: Any, stc: Any, on_surface: bool) -> mne.SourceSpaces | None:
    """Give the source space if it is that of the source estimate."""
    if src is None:
        return None
    src = read_source_space(src)
    kinds = ("surf",) if on_surface else ("vol", "discrete")
    place = "on a surface" if on_surface else "in a volume"
    if any(space["type"] not in kinds for space in src) or len(src) != len(stc.vertices):
        raise ValueError(
            f"src does not match stc: stc has {plural(len(stc.vertices), 'set')} of sources "
            f"{place}, src has {listed(space['type'] for space in src)}; pass the source space "
            "that the sources come from"
        )
    for i_space, (space, vertices) in enumerate(zip(src, stc.vertices, strict=True)):
        n_missing = np.count_nonzero(~np.isin(vertices, space["vertno"]))
        if n_missing:
            raise ValueError(
                f"src does not match stc: {n_missing} of {plural(len(vertices), 'source')} of "
                f"stc.vertices[{i_space}] are not in src[{i_space}]; pass the source space that "
                "the sources come from"
            )
    return src


def _subject_of(stc: Any, src: mne.SourceSpaces | None) -> str | None:
    """Get the name of the subject; None where it is not known."""
    of_src = None if src is None else src[0].get("subject_his_id") or None
    if stc.subject and of_src and stc.subject != of_src:
        raise ValueError(
            f"stc is of subject {stc.subject!r}, but src of {of_src!r}; pass the source space "
            "that the sources come from (after morphing, that of the target)"
        )
    return stc.subject or of_src


def _check_labels(
    atlas: Any, subject: str | None, subjects_dir: FileName | None
) -> list[mne.Label]:
    """Give the labels of an atlas for surfaces."""
    if isinstance(atlas, (list, tuple)):
        wrong = [label for label in atlas if not isinstance(label, (mne.Label, mne.BiHemiLabel))]
        if wrong:
            raise TypeError(f"atlas must be a list of labels, got one with {wrong[0]!r}")
        labels = list(atlas)
    elif isinstance(atlas, str) and not atlas.endswith((".nii", ".nii.gz")):
        labels = _read_labels(atlas, subject, subjects_dir)
    else:
        shown = repr(atlas) if isinstance(atlas, (str, os.PathLike)) else type(atlas).__name__
        raise TypeError(
            "atlas must be a list of labels or the name of a parcellation such as 'aparc' for "
            f"sources on a surface, got {shown}; images need sources in a volume"
        )
    if not labels:
        raise ValueError("atlas must hold at least one label, got an empty list")
    names = [label.name for label in labels]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"names of labels must differ, but atlas has {listed(twice)} repeatedly")
    for label in labels:
        if label.subject and subject and label.subject != subject:
            raise ValueError(
                f"label {label.name!r} of the atlas is of subject {label.subject!r}, but the "
                f"sources are of {subject!r}; pass labels of that subject, for which "
                "mne.morph_labels can help"
            )
    return labels


def _read_labels(name: str, subject: str | None, subjects_dir: FileName | None) -> list[mne.Label]:
    """Read the labels of a parcellation by its name, less those of what is no cortex."""
    if subject is None:
        raise ValueError(
            f"the subject is not known, so atlas={name!r} cannot be read; set stc.subject, or "
            "pass src"
        )
    folder = _labels_folder(subject, subjects_dir)
    missing = [
        fname for hemi in ("lh", "rh") if not (fname := folder / f"{hemi}.{name}.annot").is_file()
    ]
    if missing:
        there = sorted(
            fname.name.removeprefix("lh.").removesuffix(".annot")
            for fname in folder.glob("lh.*.annot")
        )
        raise FileNotFoundError(
            f"atlas={name!r}: there is no file {missing[0]}; parcellations of subject "
            f"{subject!r} are {listed(there) or 'none'}; an image needs sources in a volume"
        )
    labels = mne.read_labels_from_annot(subject, name, subjects_dir=folder.parents[1])
    return [label for label in labels if not label.name.lower().startswith(NO_CORTEX)]


def _labels_folder(subject: str, subjects_dir: FileName | None) -> Path:
    subjects = get_subjects_dir(subjects_dir)
    if subjects is None:
        raise ValueError(
            "subjects_dir is needed to read a parcellation by its name; pass it, or set "
            "SUBJECTS_DIR with mne.set_config"
        )
    return Path(subjects) / subject / "label"


def _surface_parcels(
    vertices: Sequence[np.ndarray], labels: list[mne.Label], src: mne.SourceSpaces | None
) -> Parcels:
    """Find the parcels of labels."""
    rows = [_rows_of(label, vertices) for label in labels]
    empty = [label.name for label, inside in zip(labels, rows, strict=True) if not len(inside)]
    if empty:
        raise ValueError(
            f"{plural(len(empty), 'empty label')} of {len(labels)} that hold no source: "
            f"{listed(empty)}; leave them out of the atlas, or take a denser source space"
        )
    names = tuple(label.name for label in labels)
    shape = (sum(map(len, vertices)), len(labels))
    starts = np.cumsum([0, *map(len, rows)])

    def by_label(values: np.ndarray) -> sparse.csc_array:
        return sparse.csc_array((values, np.concatenate(rows), starts), shape=shape)

    weights = by_label(np.ones(starts[-1]))
    if src is None:
        return Parcels(names, weights)
    # MNE looks for normals at the sources there are, which can be fewer than those of src.
    hemis = [{"vertno": used, "nn": space["nn"]} for used, space in zip(vertices, src, strict=True)]
    flips = [mne.label_sign_flip(label, hemis) for label in labels]
    return Parcels(names, weights, by_label(np.concatenate(flips)))


def _rows_of(label: mne.Label, vertices: Sequence[np.ndarray]) -> np.ndarray:
    """Find the rows of the sources in a label, in MNE's order: left, then right, ascending."""
    left = np.flatnonzero(np.isin(vertices[0], _vertices_of(label, "lh")))
    right = np.flatnonzero(np.isin(vertices[1], _vertices_of(label, "rh")))
    return np.concatenate([left, len(vertices[0]) + right])


def _vertices_of(label: mne.Label, hemi: str) -> ArrayLike:
    if label.hemi == "both":
        label = getattr(label, hemi)
    return label.vertices if label.hemi == hemi else []


def _check_no_labels(atlas: Any) -> Any:
    """Refuse what belongs to surfaces."""
    is_name = isinstance(atlas, str) and not Path(atlas).suffix and not Path(atlas).exists()
    if isinstance(atlas, (list, tuple, mne.Label, mne.BiHemiLabel)) or is_name:
        shown = repr(atlas) if is_name else "labels"
        raise TypeError(
            "atlas must be a NIfTI file or a nibabel image for sources in a volume, got "
            f"{shown}; labels and names of parcellations need sources on a surface"
        )
    return atlas


def _positions(vertices: Sequence[np.ndarray], src: mne.SourceSpaces) -> np.ndarray:
    """Get the positions of the sources in the subject's MRI (surface RAS), in meters."""
    positions = []
    for space, used in zip(src, vertices, strict=True):
        if space["coord_frame"] == FIFF.FIFFV_COORD_MRI:
            positions.append(space["rr"][used])
        elif "src_mri_t" in space and "shape" in space:
            # Forward solutions turn rr to the head, but the grid stays where it was.
            grid = np.unravel_index(used, space["shape"], order="F")
            positions.append(apply_trans(space["src_mri_t"], np.column_stack(grid)))
        else:
            raise ValueError(
                "src is in head coordinates and holds no grid, so where its sources lie in the "
                "MRI is not known; pass the source space as it was before the forward solution"
            )
    return np.concatenate(positions)


def _to_mni(
    positions: np.ndarray, subject: str | None, subjects_dir: FileName | None
) -> np.ndarray:
    """Carry positions from the subject's MRI in meters to MNI space in millimeters."""
    if subject is None:
        raise ValueError(
            "the subject of src is not known, so its sources have no place in MNI space; set "
            "stc.subject, and see that the subject's mri/transforms/talairach.xfm is in "
            "subjects_dir"
        )
    folder = get_subjects_dir(subjects_dir)
    fname = None
    if folder is not None:
        fname = Path(folder) / subject / "mri" / "transforms" / "talairach.xfm"
    if fname is not None and fname.is_file():
        try:
            transform = mne.read_talxfm(subject, folder)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{fname} cannot be used ({error}); it needs mri/orig.mgz or mri/T1.mgz beside it"
            ) from error
        positions = apply_trans(transform, positions)
    elif subject != "fsaverage":
        why = "subjects_dir is not set" if fname is None else f"there is no file {fname}"
        raise ValueError(
            f"sources of subject {subject!r} cannot be brought to MNI space: {why}; pass the "
            "subjects_dir that has SUBJECT/mri/transforms/talairach.xfm, or morph the sources to "
            "fsaverage with mne.compute_source_morph"
        )
    return 1000 * positions
