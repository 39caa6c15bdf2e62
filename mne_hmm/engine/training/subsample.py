"""A subsample of the data, small enough to search for the best optimum on."""

from dataclasses import dataclass

import numpy as np

from ..inference.samples import Data, Samples
from ..runtime.workers import Workers
from .initialization import POWER_WINDOWS, log_power
from .whitening import Whitening

# The subsample is windows of so many samples at even distances ...
WINDOW = 2000
# ... that hold this share of the data, or more: as many samples per state and feature.
SHARE = 0.15
PER_FEATURE = 40
# But no more than that share where it is still as many samples per state and feature as these,
MAX_SHARE = 0.3
MIN_PER_FEATURE = 20
# and never more samples per state and feature than would fit into memory for any data.
MAX_PER_FEATURE = 100
# Nor less than so many windows: one or two are not like the rest, and few features cost little.
MIN_WINDOWS = 5


@dataclass(frozen=True)
class Subsample:
    """Windows of the data, in memory and whitened.

    Parameters
    ----------
    samples : Samples
        The windows.
    data : Data
        The same, ready for passes.
    share : float
        Share of all data that they hold.
    """

    samples: Samples
    data: Data
    share: float

    @classmethod
    def of(
        cls, samples: Samples, whitening: Whitening, n_states: int, workers: Workers
    ) -> "Subsample":
        """Take windows at even distances out of all chains of all workers.

        Every worker has the same subsample, and it does not depend on the number of workers.
        """
        windows = choose_windows(samples, n_states)
        lengths = [stop - start for of_recording in windows for start, stop in of_recording]
        offsets = np.cumsum([0, *(sum(b - a for a, b in of_recording) for of_recording in windows)])
        with_windows = [i for i in workers.share(samples.sizes) if windows[i]]
        # Filled by each worker where its recordings are, and put together by adding up.
        rows = np.zeros((sum(lengths), samples.n_features), np.float32)
        for i, array in samples.stream(with_windows):
            taken = np.concatenate([array[start:stop] for start, stop in windows[i]])
            rows[offsets[i] : offsets[i + 1]] = taken
        if workers.size > 1:
            rows = workers.total([rows])[0].astype(np.float32)
        return cls.in_memory(Samples([rows], [lengths]), whitening, n_states, samples.n_samples)

    @classmethod
    def in_memory(
        cls, samples: Samples, whitening: Whitening, n_states: int, n_samples: int
    ) -> "Subsample":
        """Make a subsample of samples in memory, out of so many."""
        data = whitening.apply(samples, n_states * samples.n_features)
        whitened = [block.numpy() for batch in data for block in batch.blocks]
        samples = Samples([np.concatenate(whitened)], samples.lengths)
        return cls(samples, data, samples.n_samples / n_samples)

    def log_power(self) -> np.ndarray:
        """Logarithm of smoothed power at every fifth sample, shape (n, n_features)."""
        return log_power(self.samples.arrays, self.samples.lengths, POWER_WINDOWS[0])

    def draw_half(self, rng: np.random.Generator) -> Samples:
        """Draw half of the windows, at least one."""
        (array,), (lengths,) = self.samples.arrays, self.samples.lengths
        n = -(-len(lengths) // 2)
        chosen = np.sort(rng.choice(len(lengths), n, replace=False))
        stops = np.cumsum(lengths)
        rows = [array[stops[i] - lengths[i] : stops[i]] for i in chosen]
        return Samples([np.concatenate(rows)], [[lengths[i] for i in chosen]])


def choose_windows(samples: Samples, n_states: int) -> list[list[tuple[int, int]]]:
    """Choose windows at even distances: first and last row + 1 of each, per recording."""
    per_feature = n_states * samples.n_features
    n_samples = samples.n_samples
    most = max(MAX_SHARE * n_samples, MIN_PER_FEATURE * per_feature)
    wanted = max(SHARE * n_samples, min(PER_FEATURE * per_feature, most))
    wanted = max(min(wanted, MAX_PER_FEATURE * per_feature), MIN_WINDOWS * WINDOW)
    every = max(int(n_samples / wanted), 1)
    windows: list[list[tuple[int, int]]] = []
    met = taken = 0
    for lengths in samples.lengths:
        windows.append([])
        begin = 0
        for length in lengths:
            for start in range(begin, begin + length, WINDOW):
                stop = min(start + WINDOW, begin + length)
                met += stop - start
                # By samples, not by windows: some chains are no longer than a sample.
                if every * taken < met:
                    windows[-1].append((start, stop))
                    taken += stop - start
            begin += length
    return windows
