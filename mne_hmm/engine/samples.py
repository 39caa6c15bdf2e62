"""The data as the engine sees them: rows of features, in chains, worked on in blocks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ._tensorflow import tf

# Numbers in the largest temporary of a block: 32 MB in float32. Every call into TensorFlow
# wakes its threads, so fewer and larger blocks are faster, up to about this size.
BLOCK_SIZE = 2**22
# Rows in a block at most, for few columns.
BLOCK_LENGTH = 2**16


@dataclass(frozen=True)
class Samples:
    """Rows of features, in chains that do not know each other.

    Parameters
    ----------
    arrays : list of array, shape (n_samples, n_features)
        The features in float32, one array per recording.
    lengths : list of list of int
        Number of samples of each chain, per recording. They sum to the recording's
        samples.
    """

    arrays: Sequence[np.ndarray]
    lengths: Sequence[Sequence[int]]

    @property
    def n_samples(self) -> int:
        """Number of rows in all recordings."""
        return sum(len(array) for array in self.arrays)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.arrays[0].shape[1]

    @property
    def chains(self) -> list[int]:
        """Lengths of the chains of all recordings, one after another."""
        return [length for lengths in self.lengths for length in lengths]

    def blocked(self, n_columns: int, dtype=np.float32, transform=None) -> "Blocks":
        """Copy the rows into TensorFlow's memory, block by block.

        Parameters
        ----------
        n_columns : int
            Columns of the largest temporary that will be made of a block.
        dtype : dtype
            Type of the copy.
        transform : callable | None
            What is done to the rows of a block before.
        """
        blocks = []
        for rows, block in self.blocks(n_columns):
            block = block if transform is None else transform(block)
            blocks.append((rows, tf.convert_to_tensor(np.ascontiguousarray(block, dtype))))
        return Blocks(blocks, self.chains)

    def blocks(self, n_columns: int) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield every block with its rows' place among all rows.

        Parameters
        ----------
        n_columns : int
            Columns of the largest temporary that will be made of a block.
        """
        length = int(np.clip(BLOCK_SIZE // n_columns, 256, BLOCK_LENGTH))
        offset = 0
        for array in self.arrays:
            for start in range(0, len(array), length):
                block = array[start : start + length]
                yield slice(offset + start, offset + start + len(block)), block
            offset += len(array)


@dataclass(frozen=True)
class Blocks:
    """All rows as TensorFlow tensors, ready for one pass after another.

    Parameters
    ----------
    blocks : list of (slice, tensor)
        Rows of features, and their place among all rows.
    chains : list of int
        Lengths of the chains.
    """

    blocks: Sequence[tuple[slice, "tf.Tensor"]]
    chains: Sequence[int]

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return sum(self.chains)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.blocks[0][1].shape[1]

    def __iter__(self):
        return iter(self.blocks)
