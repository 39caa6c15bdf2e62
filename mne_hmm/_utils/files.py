"""Files that are written whole or not at all."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .checks import check_option
from .typing import FileName

# What can be in the way of writing: no room, no rights, a disk that fails.
WRITE_ERRORS = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO", "ENAMETOOLONG")
    if hasattr(errno, name)
}
WAY_OUT = "make room, or see to the rights of the folder, and try again"


@contextlib.contextmanager
def written_atomically(
    fname: Path, *, overwrite: bool = True, way_out: str = WAY_OUT
) -> Iterator[Path]:
    """Give a temporary file beside the target, which takes its place when all went well."""
    # Not longer than names may be, where that of the target is almost so long.
    path = fname.with_name(f".{fname.stem[:50]}-{secrets.token_hex(4)}{fname.suffix}")
    try:
        # Opened so, it has the rights that other new files have.
        with report_write_errors(path, fname, way_out):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        with report_write_errors(path, fname, way_out):
            yield path
            _bring_to_disk(path)
            _put_in_place(path, fname, overwrite)
    finally:
        # In a folder that lets nobody write there is nothing to delete.
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def report_write_errors(path: Path, fname: Path, way_out: str = WAY_OUT) -> Iterator[None]:
    """Say of an error while a file was written which file that was, and what to do."""
    try:
        yield
    except OSError as error:
        why = error
        if isinstance(error.__cause__, OSError) and str(error).startswith(str(path)):
            why = error.__cause__  # raised here before, for a file that has another name to users
        elif error.errno not in WRITE_ERRORS or error.filename not in (None, path, str(path)):
            raise
        raise cannot_be_written(fname, why, way_out) from why


def cannot_be_written(fname: Path, error: OSError, way_out: str = WAY_OUT) -> OSError:
    """Make the error that says which file could not be written, and what to do."""
    why = error.strerror or str(error)
    return type(error)(f"{fname} cannot be written ({why}); {way_out}")


def _bring_to_disk(path: Path) -> None:
    """See that a file is on the disk; some systems find only then that there is no room."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put_in_place(path: Path, fname: Path, overwrite: bool) -> None:
    """Give a file that is whole its name."""
    if overwrite:
        os.replace(path, fname)
        return
    try:
        os.link(path, fname)  # which fails where there is one
    except FileExistsError:
        raise exists_already(fname) from None
    except OSError:  # a file system without links: an empty file keeps the place
        try:
            fname.touch(exist_ok=False)
        except FileExistsError:
            raise exists_already(fname) from None
        try:
            os.replace(path, fname)
        except OSError:
            fname.unlink()
            raise


def exists_already(path: Path) -> FileExistsError:
    """Make the error for a file that is not to be replaced."""
    return FileExistsError(f"fname={str(path)!r} exists already; pass overwrite=True to replace it")


def check_path(value: Any, name: str) -> Path:
    """Return the path of a file or folder."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, got {value!r} of type {type(value).__name__}")
    _check_no_null(value, name)
    return Path(value)


def _check_no_null(value: FileName, name: str) -> None:
    if "\0" in os.fsdecode(value):
        raise ValueError(
            f"{name} must be a path, which has no null characters in it, got {value!r}; leave "
            "them out"
        )


def check_target(fname: Any, overwrite: bool, suffixes: tuple[str, ...]) -> Path:
    """Check that a file may be written."""
    path = check_path(fname, "fname")
    check_option(overwrite, "overwrite", (True, False))
    if path.suffix not in suffixes:
        raise ValueError(f"fname must end in {' or '.join(suffixes)}, got {str(path)!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"fname={str(path)!r}: there is no folder {path.parent}; make it first"
        )
    if path.is_dir():
        raise IsADirectoryError(f"fname={str(path)!r} is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise exists_already(path)
    return path


def check_folder(value: Any, name: str) -> Path | None:
    """Return the path of a folder that is there or can be made; None as it is."""
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(
            f"{name} must be a path of a folder or None, got {value!r} of type "
            f"{type(value).__name__}"
        )
    _check_no_null(value, name)
    path = Path(value)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{name}={str(value)!r} is a file; give a folder")
    return path
