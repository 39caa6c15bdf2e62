"""HDF5 files with a checksum in front, read without executing anything and trusting nothing.

HDF5 allows for 512 bytes of something else before its own content. There our files have a line
that says what they are, and the SHA-256 hash of all that follows, so that damage is found before
HDF5 sees it. h5io writes the content, but reads too much: it imports the classes that a file names
and evaluates its time zones. So this reader is our own, for numbers, text, arrays, lists and
dictionaries that lie in the file itself, and no number in it is believed.
"""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5io import write_hdf5

from .files import WAY_OUT, check_path, written_atomically

SIGNATURE = b"\x89HDF\r\n\x1a\n"
HEAD_SIZE = 512
MAGIC = b"mne-hmm file: HDF5 behind 512 bytes that hold its checksum\n"
SAVE_AGAIN = "save the model again"

# Groups in groups.
MAX_DEPTH = 40
# Numbers in one entry of a chunk may be so many times as many bytes when they are unpacked.
MAX_GAIN = 1100
# Filters that unpack them: deflate, shuffle and a checksum.
FILTERS = {1, 2, 3}
# Seconds in which any file that is whole can be looked through.
MAX_SECONDS = 120

LOOK_THROUGH = """
import contextlib, sys
import h5py

def look(name, node):
    with contextlib.suppress(Exception):
        dict(node.attrs)
        if isinstance(node, h5py.Dataset) and node.nbytes < 2**31:
            node[()]

with contextlib.suppress(Exception), h5py.File(sys.argv[1], "r") as file:
    look("", file)
    file.visititems(look)
"""
# Files that were looked through, by their hash.
_looked_through: set[str] = set()


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


def read_model_file(fname: Any, title: str, newest: int) -> dict[str, Any]:
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
    content = _read_checked(path, title)
    try:
        version = int(content["format_version"])
    except (KeyError, TypeError, ValueError) as error:
        raise OSError(f"{path} is damaged ({error!r}); {SAVE_AGAIN}") from error
    if version > newest:
        raise ValueError(
            f"{path} has format {version}, of a newer mne-hmm; this version reads up to format "
            f"{newest}: update with pip install -U mne-hmm"
        )
    return content


def _head(image: bytes) -> bytes:
    """Make what stands before the content."""
    digest = hashlib.sha256(image).hexdigest().encode()
    return (MAGIC + b"SHA-256 " + digest + b"\n").ljust(HEAD_SIZE, b"\0")


def _read_checked(path: Path, title: str) -> Any:
    """Read the content of a file that its checksum speaks for."""
    with path.open("rb") as file:
        head = file.read(HEAD_SIZE)
        image = file.read() if head.startswith(MAGIC) else b""
    if head.startswith(SIGNATURE):
        raise _not_a_model(path)
    if not head.startswith(MAGIC):
        raise OSError(
            f"{path} cannot be read: it is no HDF5 file of mne-hmm, or was cut off or damaged at "
            f"its beginning; {SAVE_AGAIN}"
        )
    if head != _head(image):
        raise OSError(f"{path} was cut off or is damaged: its checksum is wrong; {SAVE_AGAIN}")
    with h5py.File(h5py.h5f.open_file_image(image)) as opened:
        try:
            content = _read_node(_member(opened, title), title, set()) if title in opened else None
        except Exception as error:  # HDF5 raises anything where a file is damaged
            raise OSError(f"{path} is damaged ({error}); {SAVE_AGAIN}") from error
    if content is None:
        raise _not_a_model(path)
    return content


def _not_a_model(path: Path) -> ValueError:
    return ValueError(
        f"{path} is an HDF5 file, but not a model of mne-hmm; models are written by HMM.save, "
        "and one that has lost its checksum is not read"
    )


def _member(group: h5py.Group, name: str) -> Any:
    """Get a part of a group that lies in the file itself."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{group.name} has no {name} of its own")
    return group[name]


def _read_node(node: Any, where: str, seen: set[int]) -> Any:
    """Read a part of a file by the kind that its title names."""
    address = h5py.h5o.get_info(node.id).addr
    if address in seen or where.count("/") > MAX_DEPTH:
        raise ValueError(f"{where} is in the file twice, or too deep in it")
    seen.add(address)
    kind = node.attrs.get("TITLE")
    if isinstance(kind, bytes):
        kind = kind.decode()
    if isinstance(node, h5py.Group):
        return _read_group(node, kind, where, seen)
    if not isinstance(kind, str) or not isinstance(node, h5py.Dataset):
        raise ValueError(f"{where} does not say what it is")
    if kind == "None":
        return None
    if kind == "ndarray":
        return _values(node, where)
    if kind in ("unicode", "ascii", "str"):
        encoding = "utf-8" if kind == "unicode" else "ascii"
        return _values(node, where).tobytes().decode(encoding)
    to_number = _number_of(kind)
    if to_number is None:
        raise _unknown(where, kind)
    values = _values(node, where)
    if values.shape != (1,):
        raise ValueError(f"{where} must be one number, but is of shape {values.shape}")
    return to_number(values[0])


def _number_of(kind: str) -> Callable[[Any], Any] | None:
    """Find what makes a number of a kind; None if it is no kind of number."""
    if kind in ("int", "float"):
        return int if kind == "int" else float
    if not kind.startswith("np_"):
        return None
    try:
        dtype = np.dtype(kind.removeprefix("np_"))
    except TypeError:
        return None
    # Numbers of NumPy keep their type.
    if dtype.kind == "b":
        return bool
    return dtype.type if dtype.kind in "iuf" else None


def _unknown(where: str, kind: Any) -> ValueError:
    return ValueError(f"{where} is of the kind {kind!r}, which models have none of")


def _read_group(node: h5py.Group, kind: Any, where: str, seen: set[int]) -> Any:
    """Read a dictionary, list or tuple."""
    if kind == "dict":
        return {
            name.removeprefix("key_"): _read_node(_member(node, name), f"{where}/{name}", seen)
            for name in node
        }
    if kind in ("list", "tuple"):
        names = [f"idx_{i}" for i in range(len(node))]
        values = [_read_node(_member(node, name), f"{where}/{name}", seen) for name in names]
        return values if kind == "list" else tuple(values)
    raise _unknown(where, kind)


def _values(node: h5py.Dataset, where: str) -> np.ndarray:
    """Read numbers that are in the file, and no more of them than can be in it."""
    plain = node.dtype.kind in "biuf" and node.shape is not None
    if not plain or node.is_virtual or node.external:
        raise ValueError(f"{where} must hold numbers, but is {node.dtype} of shape {node.shape}")
    filters = node.id.get_create_plist()
    used = [filters.get_filter(i)[0] for i in range(filters.get_nfilters())]
    if len(set(used)) < len(used) or not set(used) <= FILTERS:
        raise ValueError(f"{where} is packed in a way that is not known here")
    if node.nbytes > MAX_GAIN * node.id.get_storage_size():
        raise ValueError(f"{where} has shape {node.shape}, but fewer numbers are there")
    return np.array(node)


def check_harmless(path: Path) -> None:
    """Look through a file without a checksum in a process of its own: HDF5 may hang or crash."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest in _looked_through:
        return
    command = [sys.executable, "-P", "-c", LOOK_THROUGH, str(path.absolute())]
    try:
        done = subprocess.run(
            command,
            timeout=MAX_SECONDS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"HDF5 finds no end in it after {MAX_SECONDS} s") from error
    if done.returncode < 0:
        raise OSError("HDF5 crashes when it is read")
    _looked_through.add(digest)
