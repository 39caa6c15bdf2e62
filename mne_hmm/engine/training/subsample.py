"""A part of the data, small enough to search for the best optimum on."""

from dataclasses import dataclass

import numpy as np

from ..inference.samples import Data, Samples
from ..runtime.workers import Workers
from .initialization import POWER_WINDOWS, log_power
from .whitening import Coordinates

# The part is windows of so many samples at even distances ...
WINDOW = 2000
# ... that hold this share of the data, or more: as many samples per state and feature.
SHARE = 0.15
PER_FEATURE = 40
# But no more than that share where it is still as many samples per state and feature as these,
LARGEST_SHARE = 0.3
LEAST_PER_FEATURE = 20
# and never more samples per state and feature than would fit into memory for any data.
MOST_PER_FEATURE = 100
# Nor less than so many windows: one or two are not like the rest, and few features cost little.
LEAST_WINDOWS = 5


@dataclass(frozen=True)
class Part:
    """Windows of the data, in memory and in the engine's coordinates.

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
        cls, samples: Samples, coordinates: Coordinates, n_states: int, workers: Workers
    ) -> "Part":
        """Take windows at even distances out of all chains of all workers.

        Every worker has the same part, and it does not depend on the number of workers.
        """
        windows = _chosen_windows(samples, n_states)
        lengths = [stop - start for of_recording in windows for start, stop in of_recording]
        offsets = np.cumsum([0, *(sum(b - a for a, b in some) for some in windows)])
        own = [number for number in workers.share(samples.sizes) if windows[number]]
        # Filled by each worker where its recordings are, and put together by adding up.
        rows = np.zeros((sum(lengths), samples.n_features), np.float32)
        for number, array in samples.stream(own):
            taken = np.concatenate([array[start:stop] for start, stop in windows[number]])
            rows[offsets[number] : offsets[number + 1]] = taken
        if workers.size > 1:
            rows = workers.total([rows])[0].astype(np.float32)
        return cls.in_memory(Samples([rows], [lengths]), coordinates, n_states, samples.n_samples)

    @classmethod
    def in_memory(cls, samples, coordinates, n_states, n_samples):
        """Make a part of samples in memory, out of so many."""
        data = coordinates.apply(samples, n_states * samples.n_features)
        inner = [block.numpy() for batch in data for block in batch.blocks]
        samples = Samples([np.concatenate(inner)], samples.lengths)
        return cls(samples, data, samples.n_samples / n_samples)

    def log_power(self) -> np.ndarray:
        """Logarithm of smoothed power at every fifth sample, shape (n, n_features)."""
        return log_power(self.samples.arrays, self.samples.lengths, POWER_WINDOWS[0])

    def subset(self, rng: np.random.Generator) -> Samples:
        """Draw half of the windows, at least one."""
        (array,), (lengths,) = self.samples.arrays, self.samples.lengths
        n = -(-len(lengths) // 2)
        chosen = np.sort(rng.choice(len(lengths), n, replace=False))
        stops = np.cumsum(lengths)
        rows = [array[stops[i] - lengths[i] : stops[i]] for i in chosen]
        return Samples([np.concatenate(rows)], [[lengths[i] for i in chosen]])


def _chosen_windows(samples, n_states):
    """First row and the one after the last of every window, per recording."""
    per_feature = n_states * samples.n_features
    n_samples = samples.n_samples
    most = max(LARGEST_SHARE * n_samples, LEAST_PER_FEATURE * per_feature)
    wanted = max(SHARE * n_samples, min(PER_FEATURE * per_feature, most))
    wanted = max(min(wanted, MOST_PER_FEATURE * per_feature), LEAST_WINDOWS * WINDOW)
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
