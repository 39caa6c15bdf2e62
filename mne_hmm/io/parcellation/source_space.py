"""The source space in whatever holds one."""

import os
from pathlib import Path
from typing import Any

import mne


def read_source_space(src: Any) -> mne.SourceSpaces:
    """Give a source space, or that of a file, a forward solution or an inverse operator."""
    if isinstance(src, (str, os.PathLike)):
        if not Path(src).is_file():
            raise FileNotFoundError(f"src={os.fspath(src)!r}: there is no such file")
        src = mne.read_source_spaces(src)
    elif isinstance(src, dict):  # a forward solution or an inverse operator
        src = src.get("src")
    if not isinstance(src, mne.SourceSpaces):
        raise TypeError(
            "src must be a source space, the path of one, a forward solution or an inverse "
            f"operator, got {type(src).__name__}"
        )
    return src
