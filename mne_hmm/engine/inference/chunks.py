"""Chains of samples cut into chunks of equal length, which recursions work on side by side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..runtime._tensorflow import tf
from .compilation import group_sizes

# Lengths that a chunk may have, in samples.
CHUNK_LENGTHS = (8, 32, 128, 256)


@dataclass(frozen=True)
class ChunkLayout:
    """Where the samples of each chain lie among the chunks.

    Parameters
    ----------
    lengths : tuple of int
        Number of samples of each chain.
    chunk_length : int
        Number of samples in a chunk. The last chunk of a chain is padded.
    """

    lengths: tuple[int, ...]
    chunk_length: int

    @classmethod
    def for_lengths(cls, lengths: Iterable[int], chunk_length: int | None = None) -> "ChunkLayout":
        """Choose a chunk length, unless it is given."""
        lengths = tuple(int(n) for n in lengths)
        return cls(lengths, chunk_length or best_chunk_length(lengths))

    @property
    def chunks_per_chain(self) -> np.ndarray:
        """Number of chunks of each chain, shape (n_chains,)."""
        return -(-np.array(self.lengths) // self.chunk_length)

    @cached_property
    def groups(self) -> list[int]:
        """Number of chunks of each group, those included that only pad."""
        return group_sizes(int(self.chunks_per_chain.sum()))

    @property
    def n_chunks(self) -> int:
        """Number of chunks, those included that only pad."""
        return sum(self.groups)

    @property
    def first_chunks(self) -> np.ndarray:
        """The chunk each chain begins with, shape (n_chains,)."""
        return np.concatenate([[0], np.cumsum(self.chunks_per_chain)[:-1]]).astype(int)

    def flags(self) -> tuple[np.ndarray, np.ndarray]:
        """Get the number of samples in each chunk, and whether a chain begins with it."""
        n_valid = np.zeros(self.n_chunks, np.int32)
        is_first = np.ones(self.n_chunks, bool)  # chunks that only pad are chains of nothing
        per_chain = self.chunks_per_chain
        used = int(per_chain.sum())
        n_valid[:used] = self.chunk_length
        is_first[:used] = False
        last = np.cumsum(per_chain) - 1
        n_valid[last] = np.array(self.lengths) - (per_chain - 1) * self.chunk_length
        is_first[self.first_chunks] = True
        return n_valid, is_first

    @cached_property
    def _slots(self) -> np.ndarray | None:
        """Place of each sample among the chunks' samples; None if it is its own."""
        if len(self.lengths) == 1:
            return None
        starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        shift = self.first_chunks * self.chunk_length - starts
        return np.arange(sum(self.lengths)) + np.repeat(shift, self.lengths)

    @cached_property
    def _rows(self) -> np.ndarray:
        """Sample at each place in the chunks of several chains; anyone where there is none."""
        assert self._slots is not None
        rows = np.zeros(self.n_chunks * self.chunk_length, np.int32)
        rows[self._slots] = np.arange(len(self._slots))
        return rows

    def scatter(self, rows: "tf.Tensor") -> "tf.Tensor":
        """Lay rows out as chunks: (n_samples, n) to (n_chunks, chunk_length, n)."""
        if self._slots is None:
            rows = tf.pad(rows, [[0, self.n_chunks * self.chunk_length - len(rows)], [0, 0]])
        else:
            rows = tf.gather(rows, self._rows)
        return tf.reshape(rows, (self.n_chunks, self.chunk_length, rows.shape[-1]))

    def gather(self, chunks: "tf.Tensor") -> "tf.Tensor":
        """Undo `scatter`: (n_chunks, chunk_length, n) to (n_samples, n)."""
        flat = tf.reshape(chunks, (self.n_chunks * self.chunk_length, chunks.shape[-1]))
        return flat[: self.lengths[0]] if self._slots is None else tf.gather(flat, self._slots)

    def sum_per_chain(self, per_chunk: np.ndarray) -> np.ndarray:
        """Sum values of chunks over each chain."""
        return np.add.reduceat(per_chunk, self.first_chunks)


def best_chunk_length(lengths: Sequence[int]) -> int:
    """Choose the chunk length that leaves few chunks to walk and little padding."""
    typical = int(np.median(lengths))
    fitting = [n for n in CHUNK_LENGTHS if n * n <= 4 * typical * len(lengths) and n <= 2 * typical]
    return max(fitting, default=CHUNK_LENGTHS[0])
