"""Dictionaries in HDF5, read without executing anything and without trusting any number in it.

h5io, which writes these files, imports the classes that a file names when it reads it, and
evaluates its time zones. So only numbers, text, arrays, lists and dictionaries are read here, and
only those that lie in the file itself.
"""

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np

# Groups in groups.
DEEPEST = 40
# Numbers in one entry of a chunk may be so many times as many bytes when they are unpacked.
LARGEST_GAIN = 1100
# Filters that unpack them: deflate, shuffle and a checksum.
FILTERS = {1, 2, 3}
# Seconds in which any file that is whole can be looked through.
PATIENCE = 120

LOOK = """
import contextlib, sys
import h5py

def look(name, one):
    with contextlib.suppress(Exception):
        dict(one.attrs)
        if isinstance(one, h5py.Dataset) and one.nbytes < 2**31:
            one[()]

with contextlib.suppress(Exception), h5py.File(sys.argv[1], "r") as file:
    look("", file)
    file.visititems(look)
"""
# Files that were looked through, by their hash.
_looked_through: set[str] = set()


def check_harmless(path: Path) -> None:
    """Look through a file in a process of its own: HDF5 may hang or crash where it is damaged."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest in _looked_through:
        return
    command = [sys.executable, "-P", "-c", LOOK, str(path.absolute())]
    try:
        done = subprocess.run(
            command,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"HDF5 finds no end in it after {PATIENCE} s") from error
    if done.returncode < 0:
        raise OSError("HDF5 crashes when it is read")
    _looked_through.add(digest)


def read_plain(file: h5py.File, title: str) -> Any:
    """Read what h5io's `write_hdf5` wrote."""
    return _read(_member(file, title), title, set())


def _member(group, name):
    """Get a part of a group that lies in the file itself."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{group.name} has no {name} of its own")
    return group[name]


def _read(node, where, seen):
    address = h5py.h5o.get_info(node.id).addr
    if address in seen or where.count("/") > DEEPEST:
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


def _number_of(kind):
    """Find what makes a number of a kind; None if it is no kind of number."""
    if kind in ("int", "float"):
        return {"int": int, "float": float}[kind]
    if not kind.startswith("np_"):
        return None
    try:
        dtype = np.dtype(kind.removeprefix("np_"))
    except TypeError:
        return None
    # Numbers of NumPy keep their type.
    return {"b": bool, **dict.fromkeys("iuf", dtype.type)}.get(dtype.kind)


def _unknown(where, kind):
    return ValueError(f"{where} is of the kind {kind!r}, which models have none of")


def _read_group(node, kind, where, seen):
    if kind == "dict":
        return {
            name.removeprefix("key_"): _read(_member(node, name), f"{where}/{name}", seen)
            for name in node
        }
    if kind in ("list", "tuple"):
        names = [f"idx_{i}" for i in range(len(node))]
        values = [_read(_member(node, name), f"{where}/{name}", seen) for name in names]
        return values if kind == "list" else tuple(values)
    raise _unknown(where, kind)


def _values(node, where):
    """Read numbers that are in the file, and no more of them than can be in it."""
    plain = node.dtype.kind in "biuf" and node.shape is not None
    if not plain or node.is_virtual or node.external:
        raise ValueError(f"{where} must hold numbers, but is {node.dtype} of shape {node.shape}")
    filters = node.id.get_create_plist()
    used = [filters.get_filter(i)[0] for i in range(filters.get_nfilters())]
    if len(set(used)) < len(used) or not set(used) <= FILTERS:
        raise ValueError(f"{where} is packed in a way that is not known here")
    if node.nbytes > LARGEST_GAIN * node.id.get_storage_size():
        raise ValueError(f"{where} has shape {node.shape}, but fewer numbers are there")
    return np.array(node)
