"""The data as short windows, each as the sums that say all about it under any state.

States last longer than a few samples, so that nearly all windows of a few samples are of one state.
What a window is worth under a state depends on its number of samples, their sum and the sum of
their products only. With these, an update of a mixture of states is two products of much smaller
matrices than a pass over all samples, and many models are updated in one.

They are NumPy's products, not TensorFlow's: for some hundred states at once these are as fast, and
for the few windows of small data calling an operation of TensorFlow costs more than what it does.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..._utils.arrays import row_blocks
from ..inference.gaussian import DIAGONAL, Moments
from ..inference.linalg import invert_lower_in_blocks, log_determinants_of_factors
from ..inference.samples import Samples
from ..runtime._tensorflow import tf
from ..runtime.workers import ALONE, Workers
from .em import VARIANCE_FLOOR
from .prior import NO_PRIOR, Prior
from .update_rule import UpdateRule
from .whitening import Whitening

# Samples of a window: one of these, of those that leave each state so many windows.
LENGTHS, WINDOWS_PER_STATE = (20, 10, 5), 50
# Windows are chosen at even distances where there are more than so many, or more than have so many
# numbers together: 64 MB.
MAX_WINDOWS, MAX_NUMBERS = 10_000, 2**24
# Shares of the pooled variance that are added where rounding in float32 leaves no variance.
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2)
# Numbers in the temporaries of a block of windows.
BLOCK_SIZE = 2**20
# Numbers in the matrices of so many states as are worked on at once.
CACHED_SIZE = 2**17
# Numbers that workers put together at once.
SHARED_SIZE = 2**22


@dataclass(frozen=True)
class WindowSums:
    """Number of samples, sums and products of windows of the data, whitened.

    Parameters
    ----------
    values : array of float32, shape (n_windows, n_numbers)
        Of each window the number of its samples, where means are learned their sum, and the sum of
        their products: the lower triangle row by row, or for diagonal covariances the squares.
    recordings : array of int, shape (n_windows,)
        The recording each window is of. Windows are in the order of time.
    labels : array of int, shape (n_windows,) | None
        The state of each window, where windows end where states change.
    n_features : int
        Number of features.
    rule : UpdateRule
        What is learned.
    length : int
        Samples of a window at most.
    share : float
        Share of all samples that are in the windows.
    """

    values: np.ndarray
    recordings: np.ndarray
    labels: np.ndarray | None
    n_features: int
    rule: UpdateRule
    length: int
    share: float

    @classmethod
    def of(
        cls,
        samples: Samples,
        whitening: Whitening,
        rule: UpdateRule,
        *,
        length: int = 20,
        labels: dict[int, np.ndarray] | None = None,
        workers: Workers = ALONE,
    ) -> "WindowSums":
        """Cut all chains of all workers into windows, and sum them up.

        Every worker has the same windows, and they do not depend on the number of workers. With
        the states of all samples of a worker's recordings, windows end where states change.
        """
        mine = workers.share(samples.sizes)
        of_mine = {
            i: window_starts(samples.lengths[i], length, None if labels is None else labels[i])
            for i in mine
        }
        counts = np.zeros(len(samples.lengths))
        counts[mine] = [len(starts) for starts in of_mine.values()]
        counts = workers.total([counts])[0].astype(int)
        n_windows, ends = int(counts.sum()), np.cumsum(counts)
        form = cls(np.zeros((0, 0)), np.zeros(0, int), None, whitening.rank, rule, length, 0.0)
        n_chosen = min(n_windows, MAX_WINDOWS, max(MAX_NUMBERS // form.n_numbers, 1))
        chosen = np.arange(n_chosen) * n_windows // n_chosen
        recordings = np.searchsorted(ends, chosen, side="right")
        # Filled by each worker where its recordings are, and put together by adding up.
        values = np.zeros((n_chosen, form.n_numbers), np.float32)
        states = np.zeros(n_chosen)
        for i, array in samples.stream([i for i in mine if (recordings == i).any()]):
            of_recording = np.flatnonzero(recordings == i)
            at = chosen[of_recording] - (ends[i] - counts[i])
            starts, stops = of_mine[i][at], np.append(of_mine[i], len(array))[at + 1]
            if labels is not None:
                states[of_recording] = labels[i][starts]
            for rows, sums in form._sums(array, starts, stops, whitening):
                values[of_recording[rows]] = sums
        if workers.size > 1:
            (states,) = workers.total([states])
            for rows in row_blocks(n_chosen, max(SHARED_SIZE // form.n_numbers, 1)):
                values[rows] = workers.total([values[rows]])[0]
        return replace(
            form,
            values=values,
            recordings=recordings,
            labels=None if labels is None else states.astype(int),
            share=float(values[:, 0].sum(dtype=float) / samples.n_samples),
        )

    @property
    def n_numbers(self) -> int:
        """How many numbers each window has."""
        n = self.n_features
        of_sums = n if self.rule.learn_means else 0
        return 1 + of_sums + (n if self.is_diagonal else n * (n + 1) // 2)

    @property
    def is_diagonal(self) -> bool:
        """Whether covariances are diagonal."""
        return self.rule.covariance_type == DIAGONAL

    @property
    def n_samples(self) -> np.ndarray:
        """Samples of each window, shape (n_windows,)."""
        return self.values[:, 0].astype(float)

    @property
    def power(self) -> np.ndarray:
        """Sums of squares of each feature, shape (n_windows, n_features)."""
        products = self.values[:, self._of_products]
        if self.is_diagonal:
            return products
        return products[:, np.cumsum(np.arange(1, self.n_features + 1)) - 1]

    @property
    def sums(self) -> np.ndarray:
        """Sums of each feature where means are learned, shape (n_windows, n_features)."""
        return self.values[:, 1 : self._of_products.start]

    def take(self, rows: np.ndarray) -> "WindowSums":
        """Take some of the windows."""
        labels = None if self.labels is None else self.labels[rows]
        return replace(
            self, values=self.values[rows], recordings=self.recordings[rows], labels=labels
        )

    def totals(self, weights: np.ndarray) -> np.ndarray:
        """Add up weighted windows.

        Shapes: ``weights`` (n, n_windows); returns ``totals`` (n, n_numbers).
        """
        return (weights.astype(np.float32, copy=False) @ self.values).astype(float)

    def log_densities(self, coefficients: np.ndarray) -> np.ndarray:
        """Log density of every window under every state, float32, shape (n_states, n_windows)."""
        return coefficients.astype(np.float32) @ self.values.T

    def moments(self, totals: np.ndarray) -> Moments:
        """Get what an update needs of totals, shape (n, n_numbers)."""
        n = self.n_features
        sums = np.zeros((len(totals), n))
        if self.rule.learn_means:
            sums = totals[:, 1 : n + 1]
        products = totals[:, self._of_products]
        if not self.is_diagonal:
            products = products[:, self._places]
        return Moments(totals[:, 0], sums, products)

    @property
    def _of_products(self) -> slice:
        return slice(1 + (self.n_features if self.rule.learn_means else 0), None)

    @property
    def _is_square(self) -> np.ndarray:
        """Whether each product is of a feature with itself."""
        return np.ones(self.n_features) if self.is_diagonal else self._rows == self._columns

    @cached_property
    def _rows(self) -> np.ndarray:
        return np.tril_indices(self.n_features)[0]

    @cached_property
    def _columns(self) -> np.ndarray:
        return np.tril_indices(self.n_features)[1]

    @cached_property
    def _places(self) -> np.ndarray:
        """Where each product is among those of the lower triangle, shape (n, n)."""
        rows, columns = self._rows, self._columns
        places = np.empty((self.n_features, self.n_features), int)
        places[rows, columns] = places[columns, rows] = np.arange(len(rows))
        return places

    def coefficients(self, totals: np.ndarray, prior: Prior = NO_PRIOR) -> np.ndarray:
        """Get how windows are valued by the states that fit totals best.

        The numbers of a window, multiplied by these and added up, are its log density.
        Shapes: ``totals`` and what is returned (n_states, n_numbers).
        """
        # So few states at a time that all their matrices stay in the processor's cache.
        step = max(CACHED_SIZE // self.n_features**2, 1)
        parts = [self._coefficients(totals[i], prior) for i in row_blocks(len(totals), step)]
        return np.concatenate(parts)

    def _coefficients(self, totals: np.ndarray, prior: Prior) -> np.ndarray:
        means, covariances = self._means_and_covariances(totals, prior)
        n = self.n_features
        if self.is_diagonal:
            log_det = np.log(covariances).sum(1)
            of_products, of_sums = 1 / covariances, means / covariances
        else:
            factors = _factors(covariances[:, self._places])
            log_det = log_determinants_of_factors(factors)
            # What is multiplied by them is in single precision, too.
            whiteners = invert_lower_in_blocks(factors).astype(np.float32)
            inverses = whiteners.transpose(0, 2, 1) @ whiteners
            packed = inverses[:, self._rows, self._columns]
            of_products = np.where(self._is_square, packed, 2 * packed).astype(float)
            of_sums = (inverses @ means[:, :, None])[:, :, 0]
        constant = log_det + n * np.log(2 * np.pi) + (of_sums * means).sum(1)
        parts = [constant[:, None], of_products]
        if self.rule.learn_means:
            parts.insert(1, -2 * of_sums)
        return -0.5 * np.concatenate(parts, axis=1)

    def log_determinants(self, totals: np.ndarray, prior: Prior = NO_PRIOR) -> np.ndarray:
        """Get those of the covariances of the states that fit totals best, shape (n_states,)."""
        _, covariances = self._means_and_covariances(totals, prior)
        if self.is_diagonal:
            return np.log(covariances).sum(1)
        return log_determinants_of_factors(_factors(covariances[:, self._places]))

    def _means_and_covariances(
        self, totals: np.ndarray, prior: Prior
    ) -> tuple[np.ndarray, np.ndarray]:
        """Get the states that fit totals best, covariances as products are; without samples 1."""
        n = self.n_features
        weights = np.maximum(totals[:, :1], 1.0)
        products = totals[:, self._of_products]
        means = np.zeros((len(totals), n))
        n_means = prior.means if self.rule.learn_means else 0.0
        if self.rule.learn_means:
            means = totals[:, 1 : n + 1] / (weights + n_means)
            outer = means**2 if self.is_diagonal else means[:, self._rows] * means[:, self._columns]
            products = products - (weights + n_means) * outer
        products = products + prior.covariances * self._is_square
        covariances = products / (weights + prior.covariances + (n_means > 0))
        # Not the nearest covariances without a variance below the floor, but near enough.
        covariances += np.where(totals[:, :1] > 0, VARIANCE_FLOOR, 1.0) * self._is_square
        return means, np.maximum(covariances, VARIANCE_FLOOR) if self.is_diagonal else covariances

    def _sums(
        self, array: np.ndarray, starts: np.ndarray, stops: np.ndarray, whitening: Whitening
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the values of windows of a recording, and which windows they are of."""
        n = self.n_features
        center, forward = tf.constant(whitening.center), tf.constant(whitening.forward)
        step = max(BLOCK_SIZE // (self.length * array.shape[1] + n * n), 1)
        for rows in row_blocks(len(starts), step):
            at = starts[rows, None] + np.arange(self.length)
            inside = at < stops[rows, None]
            x = tf.constant(array[np.minimum(at, len(array) - 1)], tf.float64)
            x = tf.cast(tf.tensordot(x - center, forward, 1) * inside[:, :, None], tf.float32)
            parts = [inside.sum(1, keepdims=True)]
            if self.rule.learn_means:
                parts.append(tf.reduce_sum(x, 1).numpy())
            if self.is_diagonal:
                parts.append(tf.reduce_sum(tf.square(x), 1).numpy())
            else:
                parts.append(
                    tf.matmul(x, x, transpose_a=True).numpy()[:, self._rows, self._columns]
                )
            yield rows, np.concatenate(parts, axis=1, dtype=np.float32)


def _factors(covariances: np.ndarray) -> np.ndarray:
    """Get Cholesky factors, of slightly larger covariances where rounding needs that."""
    for more in (0.0, *RIDGES):
        with contextlib.suppress(np.linalg.LinAlgError):
            factors = np.linalg.cholesky(covariances + more * np.eye(covariances.shape[-1]))
            if np.isfinite(factors).all():
                return factors
    raise np.linalg.LinAlgError("the sums of windows are not of samples")


def window_lengths(n_samples: int, n_states: int) -> list[int]:
    """Get how many samples a window may have at most, the largest number first."""
    most = n_samples / (WINDOWS_PER_STATE * n_states)
    return [length for length in LENGTHS if length <= max(most, LENGTHS[-1])]


def window_starts(
    lengths: Sequence[int], length: int, labels: np.ndarray | None = None
) -> np.ndarray:
    """Get where windows of a recording start, none of two chains or two labels."""
    ends = np.cumsum(lengths)
    firsts = ends - lengths
    if labels is not None:
        firsts = np.union1d(firsts, np.flatnonzero(np.diff(labels)) + 1)
    counts = -(-np.diff(np.append(firsts, ends[-1])) // length)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(firsts, counts) + length * within
