"""Files that hold an array of signals: .npy, .npz, .mat, .csv, .tsv and .txt."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .._utils.checks import listed

SUFFIXES = (".npy", ".npz", ".mat", ".csv", ".tsv", ".txt")

# An axis is time if it is so many times longer than the other, and at least so long.
MIN_TIMES_LONGER = 5
MIN_TIMES = 100

WAY_OUT = "load it and pass an array of shape (n_channels, n_times)"

# What MATLAB calls numbers; its logical arrays, characters, cells and structures are none.
MATLAB_NUMBERS = {
    *("double", "single", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
}


class UnclearFileError(ValueError):
    """A file that can be read, but does not say what its signals are."""


@dataclass(frozen=True)
class ArrayFile:
    """What a file of signals holds.

    Parameters
    ----------
    values : array, shape (n_channels, n_times)
        The signals; those of a ``.npy`` file are read when they are used.
    ch_names : tuple of str | None
        Names of the channels; None where the file has none.
    """

    values: np.ndarray
    ch_names: tuple[str, ...] | None = None


def is_array_file(path: Path) -> bool:
    """Tell whether a file is one of arrays, by its name."""
    suffix = path.suffix.lower()
    if suffix == ".txt" and path.is_file():
        with path.open("rb") as file:
            return b"BOXY.EXE:" not in file.read(2000)
    return suffix in SUFFIXES


def read_array_file(path: Path) -> ArrayFile:
    """Read a file of signals.

    Columns with names are channels. Otherwise time is the axis that is at least 5 times longer
    than the other and at least 100 long; where none is, nothing is guessed. Readers raise
    anything where a file is damaged.
    """
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv", ".txt"):
        return _read_text(path)
    if suffix == ".npy":
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    elif suffix == ".npz":
        values = _read_npz(path)
    else:
        values = _read_mat_hdf5(path) if h5py.is_hdf5(path) else _read_mat(path)
    return ArrayFile(_channels_first(values, path))


def _channels_first(values: np.ndarray, path: Path) -> np.ndarray:
    """Turn an array so that time is its last axis, if its shape tells which is time."""
    if values.ndim != 2:
        raise UnclearFileError(
            f"{path} holds an array of shape {values.shape}, but signals have two axes, channels "
            f"and times; {WAY_OUT}, or a list of such arrays for several recordings"
        )
    if values.size == 0:
        raise UnclearFileError(f"{path} holds an empty array, of shape {values.shape}")
    short, long = sorted(values.shape)
    if long < max(MIN_TIMES_LONGER * short, MIN_TIMES):
        raise UnclearFileError(
            f"{path} holds an array of shape {values.shape}, which does not tell which axis is "
            f"time: the longer one is taken if it is at least {MIN_TIMES_LONGER} times longer than "
            f"the other and has at least {MIN_TIMES} samples; {WAY_OUT}"
        )
    return values if values.shape[1] == long else values.T


# Files with named variables


def _signals_of(shapes: Mapping[str, Sequence[int]], path: Path) -> str:
    """Find the one variable that can be the signals; single numbers are none."""
    chosen = [name for name, shape in shapes.items() if math.prod(shape) > 1]
    if len(chosen) == 1:
        return chosen[0]
    variables = listed(f"{name} {tuple(shape)}" for name, shape in shapes.items())
    raise UnclearFileError(
        f"{path} holds {'several arrays' if chosen else 'no array'} of numbers "
        f"({variables or 'nothing'}), where there should be one; {WAY_OUT}"
    )


def _read_npz(path: Path) -> np.ndarray:
    # NumPy leaves files open that it cannot read.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
        arrays = dict(content)
    numeric = {name: x for name, x in arrays.items() if x.dtype.kind in "fiuc"}
    return numeric[_signals_of({name: x.shape for name, x in numeric.items()}, path)]


def _read_mat(path: Path) -> np.ndarray:
    """Read a file of MATLAB up to version 7."""
    from scipy.io import loadmat, whosmat

    shapes = {name: shape for name, shape, kind in whosmat(path) if kind in MATLAB_NUMBERS}
    name = _signals_of(shapes, path)
    return loadmat(path, variable_names=[name])[name]


def _read_mat_hdf5(path: Path) -> np.ndarray:
    """Read a file of MATLAB 7.3, which is HDF5 with the axes the other way round."""
    with h5py.File(path, "r") as file:
        arrays = {name: node for name, node in file.items() if _holds_numbers(node)}
        shapes = {name: array.shape[::-1] for name, array in arrays.items()}
        values = arrays[_signals_of(shapes, path)][()].T
    if values.dtype.names is not None:  # complex numbers; whoever takes the array refuses them
        values = values["real"] + 1j * values["imag"]
    return values


def _holds_numbers(variable: h5py.Dataset | h5py.Group) -> bool:
    if not isinstance(variable, h5py.Dataset) or "MATLAB_empty" in variable.attrs:
        return False
    kind = variable.attrs.get("MATLAB_class")
    if kind is None:  # written by something else
        return variable.dtype.kind in "fiuc"
    return kind.decode() in MATLAB_NUMBERS


# Tables of text


@dataclass(frozen=True)
class _Line:
    """A line of a table and its place in the file, from 1."""

    number: int
    cells: list[str]


def _read_text(path: Path) -> ArrayFile:
    """Read a table; a first row without any number has the names of the columns."""
    delimiter = _delimiter(path)
    lines = _lines(path, delimiter)
    first = next(lines, None)
    if first is None:
        raise ValueError("it is empty")
    names = None if any(map(_is_number, first.cells)) else _names(first, path)
    if names is not None and next(lines, None) is None:
        raise ValueError("it has one line, which holds no numbers")
    try:
        values = np.loadtxt(
            path,
            delimiter=delimiter,
            quotechar='"',
            skiprows=0 if names is None else first.number,
            ndmin=2,
            encoding="utf-8-sig",
        )
    except ValueError:
        _find_fault(path, delimiter, first, names)
        raise
    if not np.isfinite(values).all() or (names is not None and values.shape[1] != len(names)):
        _find_fault(path, delimiter, first, names)
    if names is not None:
        return ArrayFile(values.T, names)
    if values.shape[1] > 2 and (values[0] == np.arange(values.shape[1])).all():
        raise UnclearFileError(
            f"{path}: line {first.number} counts the columns, so it may be no sample; leave it out "
            "(in pandas, to_csv(..., header=False)), or give the columns names"
        )
    return ArrayFile(_channels_first(values, path))


def _delimiter(path: Path) -> str | None:
    """Find what stands between cells; None is any white space."""
    if path.suffix.lower() != ".txt":
        return "," if path.suffix.lower() == ".csv" else "\t"
    first = next(_lines(path, ","), None)
    return "," if first is not None and len(first.cells) > 1 else None


def _lines(path: Path, delimiter: str | None) -> Iterator[_Line]:
    """Yield the lines of a table, without comments and empty ones, as NumPy reads them."""
    with path.open(encoding="utf-8-sig", newline=None) as file:
        for i_line, text in enumerate(file, start=1):
            text = text.partition("#")[0].strip("\n")
            if not text.strip():
                continue
            if delimiter is None:
                yield _Line(i_line, [cell.strip('"') for cell in text.split()])
            else:
                cells: Any = next(csv.reader([text], delimiter=delimiter))
                yield _Line(i_line, [cell.strip() for cell in cells])


def _is_number(cell: str) -> bool:
    """Tell whether a cell holds a number, which may be missing or infinite."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _names(line: _Line, path: Path) -> tuple[str, ...]:
    """Read the names of columns, and check that they tell these apart."""
    if "" in line.cells:
        raise UnclearFileError(
            f"{path}: column {line.cells.index('') + 1} of line {line.number}, which has the "
            "names of the channels, has no name; if it holds the numbers of rows, leave them out "
            "(in pandas, to_csv(..., index=False))"
        )
    twice = sorted({name for name in line.cells if line.cells.count(name) > 1})
    if twice:
        raise UnclearFileError(
            f"{path}: line {line.number} has the names of the channels, and {listed(twice)} more "
            "than once; give each its own"
        )
    return tuple(line.cells)


def _find_fault(
    path: Path, delimiter: str | None, first: _Line, names: tuple[str, ...] | None
) -> None:
    """Say which cell of a table is at fault."""
    n_cells = len(first.cells)
    for line in _lines(path, delimiter):
        if names is not None and line.number == first.number:
            continue
        for column, cell in enumerate(line.cells[:n_cells]):
            if not (_is_number(cell) and math.isfinite(float(cell))):
                name = "" if names is None else f" ({names[column]})"
                raise UnclearFileError(
                    f"{path}: line {line.number}, column {column + 1}{name} holds {cell!r}, which "
                    "is no finite number; leave such channels or samples out, or fill them in, "
                    f"and {WAY_OUT}"
                )
        if len(line.cells) != n_cells:
            raise ValueError(
                f"line {line.number} has {len(line.cells)} cells and line {first.number} {n_cells}"
            )
