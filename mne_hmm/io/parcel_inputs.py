"""Source estimates and brain images among the inputs: what needs an atlas becomes parcels."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mne
from mne.utils import logger

from .._utils.checks import plural
from .._utils.parallel import side_by_side, warn_again, with_warnings
from .file_search import NIFTI_SUFFIXES, expanded, needs_atlas
from .inputs import as_list, is_several
from .parcellation.source_blocks import KINDS, VECTOR_KINDS

SOURCE_ESTIMATES = (
    *KINDS,
    *VECTOR_KINDS,
    mne.MixedSourceEstimate,
    mne.MixedVectorSourceEstimate,
)


class AtlasArguments(NamedTuple):
    """What turns source estimates and brain images into parcels, as the user gave it."""

    atlas: Any = None
    src: Any = None
    subjects_dir: Any = None


def with_parcels(
    inst: Any, arguments: AtlasArguments, *, remembered: bool = False, n_jobs: int | None = None
) -> Any:
    """Replace source estimates and brain images by their parcels."""
    entries = [part for entry in as_list(inst) for part in expanded(entry)]
    kinds = [_kind(entry) for entry in entries]
    if not any(kinds):
        unused = [name for name, value in arguments._asdict().items() if value is not None]
        if unused and not remembered and all(map(_is_there, entries)):
            raise ValueError(
                f"{unused[0]} is for source estimates and brain images, but inst holds none "
                f"({plural(len(entries), 'recording')}); leave it out"
            )
        return inst
    if arguments.atlas is None:
        entry, kind = next(pair for pair in zip(entries, kinds, strict=True) if pair[1])
        name = f" ({Path(entry).name})" if isinstance(entry, (str, Path)) else ""
        way_out = (
            "this model does not know one: make parcels as for its training, with "
            "mne_hmm.parcellate or mne_hmm.parcellate_nifti, and pass those"
            if remembered
            else "pass atlas=... (and src=... for sources in a volume)"
        )
        raise ValueError(f"inst has {kind}{name}, which needs an atlas; {way_out}")
    converted = _converted(entries, kinds, arguments, n_jobs)
    return converted if is_several(inst) else converted[0]


def _converted(
    entries: Sequence[Any], kinds: Sequence[str], arguments: AtlasArguments, n_jobs: int | None
) -> list[Any]:
    """Turn what needs it into parcels, one after another or as many at once as jobs."""
    converted = list(entries)
    todo = [i for i, kind in enumerate(kinds) if kind]
    # Iterators give their pieces in the process they live in.
    movable = [i for i in todo if not isinstance(entries[i], Iterator)]
    parallel, run, n_at_once = side_by_side(with_warnings, n_jobs, max_jobs=len(movable))
    if n_at_once == 1:
        movable = []
    for start in range(0, len(movable), n_at_once):
        group = movable[start : start + n_at_once]
        results = parallel(run(_parcels_of, entries[i], kinds[i], arguments) for i in group)
        for i in group:
            converted[i] = warn_again(*results.pop(0))
        logger.info(f"Parcels of {start + len(group)} of {plural(len(movable), 'recording')}")
    for i in sorted(set(todo) - set(movable)):
        converted[i] = _parcels_of(entries[i], kinds[i], arguments)
    return converted


def _is_there(entry: Any) -> bool:
    """Tell whether an input is anything but the path of a file that is not there."""
    return not isinstance(entry, (str, Path)) or Path(entry).exists()


def _kind(entry: Any) -> str:
    """Name what needs an atlas; nothing for anything else."""
    # Epochs are iterators of arrays.
    is_pieces = isinstance(entry, Iterator) and not isinstance(entry, mne.BaseEpochs)
    if is_pieces or isinstance(entry, SOURCE_ESTIMATES):
        return "a source estimate"
    if isinstance(entry, (str, Path)):
        if not needs_atlas(Path(entry)):
            return ""
        is_image = Path(entry).name.lower().endswith(NIFTI_SUFFIXES)
        return "a brain image" if is_image else "a source estimate"
    is_image = hasattr(entry, "dataobj") and hasattr(entry, "affine")
    return "a brain image" if is_image else ""


def _parcels_of(entry: Any, kind: str, arguments: AtlasArguments) -> mne.io.RawArray:
    """Make parcels of a source estimate or a brain image."""
    atlas, src, subjects_dir = arguments
    if kind == "a brain image":
        from .parcellation.nifti import parcellate_nifti

        return parcellate_nifti(entry, atlas)
    from .parcellation.parcellate import parcellate

    if isinstance(entry, (str, Path)):
        entry = _read(Path(entry))
    return parcellate(entry, atlas, src=src, subjects_dir=subjects_dir)


def _read(path: Path) -> Any:
    try:
        return mne.read_source_estimate(path)
    except Exception as error:  # the reader raises anything when a file is damaged
        raise OSError(
            f"{path} cannot be read as a source estimate ({error}); is it complete?"
        ) from error
