"""HDF5 files with a checksum in front: damage is found before HDF5 sees it.

HDF5 allows for 512 bytes of something else before its own content. There the file has a line that
says what it is, and the SHA-256 hash of all that follows.
"""

import hashlib
from pathlib import Path
from typing import Any

import h5py
from h5io import write_hdf5

from .files import WAY_OUT, check_path, written_atomically
from .plain_hdf5 import check_harmless, read_plain

SIGNATURE = b"\x89HDF\r\n\x1a\n"
HEAD_SIZE = 512
MAGIC = b"mne-hmm file: HDF5 behind 512 bytes that hold its checksum\n"
SAVE_AGAIN = "save the model again"


def write_model_file(
    fname: Path,
    content: dict[str, Any],
    title: str,
    *,
    overwrite: bool = True,
    way_out: str = WAY_OUT,
) -> None:
    """Write a dictionary as HDF5, atomically."""
    # In memory, for HDF5 does not always survive a disk that is full.
    with h5py.File("model", "w", driver="core", backing_store=False) as file:
        try:
            write_hdf5(file, content, title=title)
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{error.object!r} cannot be written to {fname}: {error.reason}; give channels and "
                "states names of characters that Unicode has"
            ) from error
        file.flush()
        image = file.id.get_file_image()
    with written_atomically(fname, overwrite=overwrite, way_out=way_out) as path:
        path.write_bytes(_head(image) + image)


def read_model_file(fname: Any, title: str, newest: int, unchecked: int) -> dict[str, Any]:
    """Read what `write_model_file` wrote, or say why it cannot be read."""
    path = check_path(fname, "fname")
    if not path.exists():
        raise FileNotFoundError(f"fname={str(path)!r}: there is no such file")
    if path.is_dir():
        raise IsADirectoryError(
            f"fname={str(path)!r} is a folder; give the name of the file. Folders of osl-dynamics' "
            "models are read by mne_hmm.read_osl_hmm"
        )
    if not path.is_file():
        raise OSError(f"fname={str(path)!r} is no file that can be read to its end")
    is_checked, content = _read(path, title)
    try:
        version = int(content["format_version"])
    except (KeyError, TypeError, ValueError) as error:
        raise OSError(f"{path} is damaged ({error!r}); {SAVE_AGAIN}") from error
    if version > newest:
        raise ValueError(
            f"{path} has format {version}, of a newer mne-hmm; this version reads up to format "
            f"{newest}: update with pip install -U mne-hmm"
        )
    if version > unchecked and not is_checked:
        raise OSError(f"{path} has lost its checksum and may be damaged; {SAVE_AGAIN}")
    return content


def _head(image):
    """Make what stands before the content."""
    digest = hashlib.sha256(image).hexdigest().encode()
    return (MAGIC + b"SHA-256 " + digest + b"\n").ljust(HEAD_SIZE, b"\0")


def _read(path, title):
    """Read the content of a file, and tell whether its checksum speaks for it."""
    with path.open("rb") as file:
        head = file.read(HEAD_SIZE)
        image = file.read() if head.startswith(MAGIC) else b""
    if head.startswith(MAGIC):
        if head != _head(image):
            raise OSError(f"{path} was cut off or is damaged: its checksum is wrong; {SAVE_AGAIN}")
        opened = h5py.File(h5py.h5f.open_file_image(image))
    elif head.startswith(SIGNATURE):  # of an earlier version, or of something else
        opened = _open_unchecked(path)
    else:
        raise OSError(
            f"{path} cannot be read: it is no HDF5 file of mne-hmm, or was cut off or damaged at "
            f"its beginning; {SAVE_AGAIN}"
        )
    with opened as file:
        try:
            content = read_plain(file, title) if title in file else None
        except Exception as error:  # HDF5 raises anything where a file is damaged
            raise OSError(f"{path} is damaged ({error}); {SAVE_AGAIN}") from error
    if content is None:
        raise ValueError(
            f"{path} is an HDF5 file, but not a model of mne-hmm; models are written by HMM.save"
        )
    return head.startswith(MAGIC), content


def _open_unchecked(path):
    try:
        check_harmless(path)
        return h5py.File(path, "r")
    except OSError as error:
        raise OSError(
            f"{path} cannot be read: it was cut off or is damaged ({error}); {SAVE_AGAIN}"
        ) from error
