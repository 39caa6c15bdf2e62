"""The data as the engine sees them: rows of features, in chains, worked on in batches.

A batch is some whole chains in memory, laid out for the recursions and cut into blocks for
the matrix products. A pass over the data meets one batch after another and needs the memory
of one; whether batches stay in memory or are read anew in every pass is decided here.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._utils.feature_sequence import FeatureSequence, n_features_of, stream_features
from ..runtime._tensorflow import tf
from ..runtime.workers import ALONE, Workers
from .chunks import ChunkLayout, best_chunk_length

# Numbers in the temporaries of a block, all states together: 4 MB in float32. Larger ones leave
# the processor's cache, and for smaller ones products are slower.
BLOCK_SIZE = 2**20
# Rows in a block at most, for few columns.
BLOCK_LENGTH = 2**16
# Recordings are put together into batches of at least so many rows: a batch costs a few
# milliseconds, however small.
BATCH_LENGTH = 2**15


@dataclass(frozen=True)
class Samples:
    """Rows of features, in chains that do not know each other.

    Parameters
    ----------
    arrays : sequence of array, shape (n_samples, n_features)
        The features in float32, one array per recording. A `FeatureSequence` is read anew in
        every pass; anything else is kept in memory.
    lengths : list of list of int
        Number of samples of each chain, per recording. They sum to the recording's
        samples.
    """

    arrays: Sequence[np.ndarray]
    lengths: Sequence[Sequence[int]]

    @property
    def n_samples(self) -> int:
        """Number of rows in all recordings."""
        return sum(self.chains)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return n_features_of(self.arrays)

    @property
    def sizes(self) -> list[int]:
        """Number of rows of each recording."""
        return [sum(lengths) for lengths in self.lengths]

    @property
    def chains(self) -> list[int]:
        """Lengths of the chains of all recordings, one after another."""
        return [length for lengths in self.lengths for length in lengths]

    @property
    def streamed(self) -> bool:
        """Whether the rows are read anew in every pass."""
        return isinstance(self.arrays, FeatureSequence)

    def stream(self, recordings: Sequence[int] | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Yield recordings, all or the given ones, with their indices."""
        recordings = range(len(self.lengths)) if recordings is None else recordings
        yield from stream_features(self.arrays, list(recordings))


@dataclass(frozen=True)
class Batch:
    """Some whole chains in memory.

    Parameters
    ----------
    recordings : list of int
        Indices of the recordings they are from.
    blocks : iterable of tensor, shape (n_rows, n_features)
        Their rows. Where there is one pass only they can be met once.
    layout : ChunkLayout
        Where the chains lie among the rows.
    device : str
        Where the blocks are.
    """

    recordings: Sequence[int]
    blocks: Iterable["tf.Tensor"]
    layout: ChunkLayout
    device: str = ""

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return sum(self.layout.lengths)


class Data:
    """What one worker trains on, ready for one pass after another.

    Attributes
    ----------
    n_samples, n_features : int
        Rows of all workers, and columns.
    recordings, chains : list of int
        Indices of this worker's recordings, and lengths of their chains.
    """

    def __init__(
        self,
        samples: Samples,
        n_columns: int,
        *,
        transform: "Callable[[tf.Tensor], tf.Tensor] | None" = None,
        workers: Workers = ALONE,
        once: bool = False,
    ):
        self.samples, self.workers = samples, workers
        self.n_samples = samples.n_samples
        self._transform, self._once = transform, once
        self._length = block_length(n_columns)
        self.chunk_length = best_chunk_length(samples.chains)
        self.recordings = workers.share(samples.sizes)
        self.chains = [n for i in self.recordings for n in samples.lengths[i]]
        row = tf.zeros((1, samples.n_features), tf.float64)
        self.n_features = int(row.shape[1] if transform is None else transform(row).shape[1])
        self._kept = None if once or samples.streamed else list(self._load())

    def __iter__(self) -> Iterator[Batch]:
        return self._load() if self._kept is None else iter(self._kept)

    def each(
        self, function: Callable[[Batch], Any], batches: Iterable[Batch] | None = None
    ) -> Iterator[Any]:
        """Yield what a function makes of batches, of all by default, with all devices at work.

        Results come in the order of batches, so that sums of them do not depend on the
        number of devices.
        """
        n_devices = len(self.workers.devices)
        batches = self if batches is None else batches
        if n_devices < 2:
            yield from map(function, batches)
            return
        with ThreadPoolExecutor(n_devices) as pool:
            under_way: deque[Future[Any]] = deque()
            for batch in batches:
                under_way.append(pool.submit(function, batch))
                if len(under_way) > n_devices:  # no more batches in memory than are worked on
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()

    def _load(self) -> Iterator[Batch]:
        devices = self.workers.devices or ("",)
        packs = list(_packed(self.recordings, self.samples.sizes))
        stream = self.samples.stream(self.recordings)
        for count, pack in enumerate(packs):
            device = devices[count % len(devices)]
            blocks: Iterable[tf.Tensor] = (
                block for _ in pack for block in self.blocks(next(stream)[1])
            )
            if not self._once:
                with tf.device(device or None):
                    blocks = list(blocks)
            lengths = tuple(n for i in pack for n in self.samples.lengths[i])
            yield Batch(pack, blocks, ChunkLayout(lengths, self.chunk_length), device)

    def blocks(self, array: np.ndarray) -> Iterator["tf.Tensor"]:
        """Yield rows as blocks, transformed where training does so."""
        for start in range(0, len(array), self._length):
            block = tf.convert_to_tensor(array[start : start + self._length])
            if self._transform is not None:
                block = self._transform(tf.cast(block, tf.float64))
            yield tf.cast(block, tf.float32)


def block_length(n_columns: int) -> int:
    """Rows of a block, of which the largest temporary has so many columns."""
    return int(np.clip(BLOCK_SIZE // n_columns, 256, BLOCK_LENGTH))


def _packed(recordings: Sequence[int], sizes: Sequence[int]) -> Iterator[list[int]]:
    """Put consecutive recordings together until there are enough rows."""
    pack: list[int] = []
    n_rows = 0
    for i_recording in recordings:
        pack.append(i_recording)
        n_rows += sizes[i_recording]
        if n_rows >= BATCH_LENGTH:
            yield pack
            pack, n_rows = [], 0
    if pack:
        yield pack
