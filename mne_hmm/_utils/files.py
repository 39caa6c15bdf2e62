"""Files that are written whole or not at all, and read with clear errors."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
from h5io import read_hdf5, write_hdf5


@contextlib.contextmanager
def written_atomically(fname: Path) -> Iterator[Path]:
    """Give a temporary file beside the target, which takes its place when all went well."""
    handle, temporary = tempfile.mkstemp(
        prefix=f".{fname.stem}-", suffix=fname.suffix, dir=fname.parent
    )
    os.close(handle)
    path = Path(temporary)
    try:
        yield path
        path.chmod(0o666 & ~_umask())
        os.replace(path, fname)
    finally:
        path.unlink(missing_ok=True)


def _umask():
    current = os.umask(0)
    os.umask(current)
    return current


def check_target(fname: Any, overwrite: bool, suffixes: tuple[str, ...]) -> Path:
    """Check that a file may be written."""
    path = Path(fname)
    if path.suffix not in suffixes:
        raise ValueError(f"fname must end in {' or '.join(suffixes)}, got {str(path)!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"fname={str(path)!r}: there is no folder {path.parent}; make it first"
        )
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"fname={str(path)!r} exists already; pass overwrite=True to replace it"
        )
    return path


def write_model_file(fname: Path, content: dict[str, Any], title: str) -> None:
    """Write a dictionary as HDF5, atomically."""
    with written_atomically(fname) as path:
        write_hdf5(path, content, overwrite=True, title=title)


def read_model_file(fname: Any, title: str, newest: int) -> dict[str, Any]:
    """Read what `write_model_file` wrote, or say why it cannot be read."""
    path = Path(fname)
    if not path.exists():
        raise FileNotFoundError(f"fname={str(path)!r}: there is no such file")
    if path.is_dir():
        raise IsADirectoryError(
            f"fname={str(path)!r} is a folder; give the name of the file. Folders of osl-dynamics' "
            "models are read by mne_hmm.read_osl_hmm"
        )
    try:
        with h5py.File(path, "r") as file:
            is_ours = title in file
    except OSError as error:
        raise OSError(
            f"{path} cannot be read: it is no HDF5 file, or it was cut off ({error}); save the "
            "model again"
        ) from error
    if not is_ours:
        raise ValueError(
            f"{path} is an HDF5 file, but not a model of mne-hmm; models are written by HMM.save"
        )
    try:
        content = read_hdf5(path, title=title)
        version = int(content["format_version"])
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise OSError(f"{path} is damaged ({error}); save the model again") from error
    if version > newest:
        raise ValueError(
            f"{path} has format {version}, of a newer mne-hmm; this version reads up to format "
            f"{newest}: update with pip install -U mne-hmm"
        )
    return content


def check_folder(value: Any, name: str) -> Path | None:
    """Return the path of a folder that is there or can be made; None as it is."""
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(
            f"{name} must be a path of a folder or None, got {value!r} of type "
            f"{type(value).__name__}"
        )
    path = Path(value)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{name}={str(value)!r} is a file; give a folder")
    return path
