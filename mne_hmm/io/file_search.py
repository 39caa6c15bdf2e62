"""Folders and patterns become the files they stand for, in natural order."""

import glob
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mne

from .._utils.checks import plural
from .._utils.mne_private import raw_suffix
from .array_files import SUFFIXES as ARRAY_SUFFIXES

# What needs an atlas to become signals.
NIFTI_SUFFIXES = (".nii", ".nii.gz")
IMAGE_SUFFIXES = (".stc", *NIFTI_SUFFIXES)

# Files that MNE-Python reads with another of the same name, by the suffix of that one.
READ_WITH = {
    ".eeg": (".vhdr", ".ahdr"),
    ".dat": (".vhdr", ".ahdr", ".lay", ".dap"),
    ".vmrk": (".vhdr",),
    ".amrk": (".ahdr",),
    ".rs3": (".dap",),
    ".cdt.dpa": (".cdt",),
    ".cdt.cef": (".cdt",),
}

# By what is in it a folder of prepared data is recognized, whose content is preparation's affair.
PREPARED_INDEX = "index.json"
PREPARED_FORMAT = "mne_hmm prepared data"


def stands_for_several(entry: Any) -> bool:
    """Tell whether an input is a folder or a pattern, which stand for any number of files."""
    if not isinstance(entry, (str, Path)):
        return False
    path = Path(entry)
    if path.exists():
        return path.is_dir() and raw_suffix(path) is None
    return glob.has_magic(str(entry))


def expanded(entry: Any) -> list[Any]:
    """Put the files of a folder or a pattern in its place."""
    if not stands_for_several(entry):
        return [entry]
    path = Path(entry)
    if path.is_dir():
        if is_prepared_folder(path):
            raise ValueError(
                f"inst: {path} is a folder of prepared data; pass what "
                f"mne_hmm.read_prepared({str(path)!r}) gives"
            )
        paths, where, pattern = list(path.iterdir()), f"the folder {path}", path / "*"
    else:
        paths = [Path(name) for name in glob.glob(str(entry), recursive=True)]
        where, pattern = f"the pattern {str(entry)!r}", path
    kinds = {path: kind for path in paths if (kind := _kind(path)) is not None}
    there = {str(path).lower() for path in kinds}
    kinds = {path: kind for path, kind in kinds.items() if not _is_read_with(path, kind, there)}
    if not kinds:
        others = f", only {plural(len(paths), 'other')}" if paths else ""
        raise FileNotFoundError(
            f"inst: {where} stands for no file that can be read{others}; check it (the working "
            f"folder is {Path.cwd()}; files in folders below are found by a pattern with **, as "
            "in 'data/**/*.fif')"
        )
    counts = Counter(kinds.values())
    if len(counts) > 1:
        of_each_kind = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()))
        example = pattern.with_name("*" + counts.most_common(1)[0][0])
        raise ValueError(
            f"inst: {where} stands for files of several kinds ({of_each_kind}); choose one with a "
            f"pattern, as in {str(example)!r}"
        )
    return _without_parts(sorted(kinds, key=natural))


def needs_atlas(path: Path) -> bool:
    """Tell whether a path is of a source estimate or a brain image."""
    if path.exists():
        return path.name.lower().endswith(IMAGE_SUFFIXES)
    return any(path.with_name(path.name + end).exists() for end in ("-lh.stc", "-vl.stc"))


def is_prepared_folder(path: Path) -> bool:
    """Tell whether a path is a folder that `prepare` filled."""
    index = path / PREPARED_INDEX
    return index.is_file() and PREPARED_FORMAT in index.read_text(errors="replace")[:1000]


def _kind(path: Path) -> str | None:
    """Get the suffix of a file that can be read; None for any other."""
    if path.name.startswith("."):  # hidden, as those that macOS leaves beside others
        return None
    suffix = raw_suffix(path)
    if suffix is not None:
        return ".fif" if suffix == ".fif.gz" else suffix
    if path.is_dir():
        return None
    suffixes = (*ARRAY_SUFFIXES, *IMAGE_SUFFIXES)
    return next((suffix for suffix in suffixes if path.name.lower().endswith(suffix)), None)


def _is_read_with(path: Path, kind: str, there: set[str]) -> bool:
    """Tell whether a file is read with another one that is there."""
    stem = str(path).lower().removesuffix(kind)
    if kind == ".stc":
        return stem.endswith("-rh") and f"{stem.removesuffix('-rh')}-lh.stc" in there
    return any(stem + main in there for main in READ_WITH.get(kind, ()))


def natural(path: Path) -> list[list[tuple[int, str]]]:
    """Key by which 2 comes before 10, folder by folder."""
    return [
        [(int(part), part) if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
        for name in (*path.parent.parts, path.stem, path.suffix)
    ]


def _without_parts(paths: Sequence[Path]) -> list[Any]:
    """Leave out later parts of split FIF files, which are read with the first."""
    there = {os.path.realpath(path) for path in paths}
    parts: set[str] = set()
    for path in paths:
        if not _may_be_split(path, there):
            continue
        try:
            filenames = mne.io.read_raw(path, verbose="ERROR").filenames
        except Exception:  # an error is raised when the file is read
            continue
        parts.update(os.path.realpath(name) for name in filenames[1:])
    return [path for path in paths if os.path.realpath(path) not in parts]


def _may_be_split(path: Path, there: set[str]) -> bool:
    """Tell whether there is a file that has the name of a FIF file's second part."""
    name = path.name
    if "_split-01" in name:
        second = name.replace("_split-01", "_split-02")
    else:
        second = re.sub(r"(\.fif(\.gz)?)$", r"-1\1", name)
    return second != name and os.path.realpath(path.with_name(second)) in there
