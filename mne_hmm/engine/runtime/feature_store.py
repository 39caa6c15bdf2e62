"""Features in files: one TFRecord file per recording, read one after another, ahead of use."""

import hashlib
import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._utils.arrays import row_blocks
from ..._utils.feature_sequence import FeatureSequence
from ._tensorflow import tf

# Bytes of a record, which holds whole rows: large enough to read at the speed of the disk.
RECORD_SIZE = 2**22
# Bytes read at once.
READ_SIZE = 2**22
# What comes after the last record.
END = -1, np.empty(0, np.float32)


@dataclass(frozen=True)
class Shard:
    """The file of one recording.

    Parameters
    ----------
    path : str
        The file.
    name : str
        What to call the recording.
    size : int
        Bytes of the file.
    n_samples : int
        Number of rows.
    rows_sha256 : str
        SHA-256 of the rows, as `rows_digest` gives it.
    """

    path: str
    name: str
    size: int
    n_samples: int
    rows_sha256: str

    def fault(self) -> str | None:
        """Say what is wrong with the file as far as its size tells, or None."""
        try:
            size = os.stat(self.path).st_size
        except OSError as error:
            return f"cannot be found ({error.strerror})"
        return None if size == self.size else f"has {size:,} bytes instead of {self.size:,}"


def rows_digest(rows: np.ndarray) -> str:
    """SHA-256 of rows of float32, as hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(rows, "<f4").data).hexdigest()


def write_shard(path: str, rows: np.ndarray) -> None:
    """Write the features of one recording.

    Shapes: ``rows`` (n_samples, n_features).
    """
    length = _record_length(rows.shape[1])
    try:
        with tf.io.TFRecordWriter(path) as writer:
            for block in row_blocks(len(rows), length):
                writer.write(np.ascontiguousarray(rows[block], "<f4").tobytes())
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def _record_length(n_features: int) -> int:
    """Rows of a record."""
    return max(RECORD_SIZE // (4 * n_features), 1)


class Shards(FeatureSequence):
    """Features of recordings that lie in files, read when they are asked for.

    Every file's rows are compared with their hash when they are read for the first time, and
    again when the file has changed since.

    Attributes
    ----------
    lengths : list of int
        Number of rows of each recording.
    n_features : int
        Number of columns.
    """

    def __init__(self, shards: Sequence[Shard], n_features: int):
        self.n_features = n_features
        self._shards = list(shards)
        self.lengths = [shard.n_samples for shard in self._shards]
        self._seen: dict[int, tuple[int, int, int]] = {}

    @property
    def digests(self) -> list[str]:
        """SHA-256 of the rows of each recording."""
        return [shard.rows_sha256 for shard in self._shards]

    def __getitem__(self, index: Any) -> Any:
        ((_, rows),) = self.stream([operator.index(index)])
        return rows

    def stream(self, order: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Read recordings in a given order; the next is read while one is worked on.

        Some three recordings are in memory at most: the one that was given out, the next,
        and what is read ahead.

        Shapes: returns ``rows`` (n_samples, n_features).
        """
        order = [range(len(self))[index] for index in order]
        if not order:
            return
        records = iter(self._records(order).as_numpy_iterator())
        for position, index in enumerate(order):
            yield index, self._read(records, position, index)

    def _records(self, order: Sequence[int]) -> "tf.data.Dataset":
        """Values of every record, with the position of its file in the order."""

        def read(position: "tf.Tensor", path: "tf.Tensor") -> "tf.data.Dataset":
            records = tf.data.TFRecordDataset(path, buffer_size=READ_SIZE)
            return records.map(lambda record: (position, tf.io.decode_raw(record, tf.float32)))

        paths = [self._shards[index].path for index in order]
        files = tf.data.Dataset.from_tensor_slices((np.arange(len(order)), paths))
        longest = max(self.lengths[index] for index in order)
        ahead = -(-longest // _record_length(self.n_features))
        return files.flat_map(read).prefetch(ahead)

    def _read(
        self, records: Iterator[tuple[int, np.ndarray]], position: int, index: int
    ) -> np.ndarray:
        """Put the rows of one recording together from its records."""
        shard = self._shards[index]
        fault = shard.fault()
        if fault:
            raise _damaged(shard, fault)
        out = np.empty((shard.n_samples, self.n_features), np.float32)
        values, row = out.reshape(-1), 0
        while row < len(values):
            try:
                place, record = next(records, END)
            except tf.errors.OpError as error:
                raise _damaged(shard, f"is damaged ({error.message})") from error
            if place != position or row + len(record) > len(values):
                raise _damaged(shard, f"does not hold {shard.n_samples:,} rows")
            values[row : row + len(record)] = record
            row += len(record)
        self._check_rows(index, out)
        return out

    def _check_rows(self, index: int, rows: np.ndarray) -> None:
        """Compare the rows of a file with their hash, unless that was done since it changed."""
        shard = self._shards[index]
        stat = os.stat(shard.path)
        now = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if self._seen.get(index) == now:
            return
        if rows_digest(rows) != shard.rows_sha256:
            raise _damaged(shard, "holds other data than were written to it")
        self._seen[index] = now


def _damaged(shard: Shard, fault: str) -> OSError:
    return OSError(
        f"{shard.path}, which holds the features of {shard.name}, {fault}; delete that file and "
        "call prepare again with the same arguments, which writes it anew"
    )
