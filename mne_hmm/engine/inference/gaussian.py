"""Gaussian emissions: log densities and weighted moments, as matrix products.

The log density of every sample under every state is one product with all states'
whitening matrices side by side, then squares and sums; the weighted second moments are
one product of the weighted samples with the samples. Products run in float32, block by
block; blocks are added up in float64. That is for training, in coordinates in which the data
are of unit covariance. What a model says of recordings in the end is computed in float64, in
the features as they are: one such pass costs little, and needs no well-conditioned covariances.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np

from ..runtime._tensorflow import tf
from .compilation import by_calls, cache_traced, map_blocks
from .linalg import (
    cholesky_factors,
    invert_lower,
    log_determinants_of_factors,
    refined_cholesky_factors,
)
from .samples import Batch, Data

Tensor: TypeAlias = "tf.Tensor"
# Squares of white samples from samples, whitening matrices and what is taken off.
SquaresFunction: TypeAlias = "Callable[[Tensor, list[Tensor], list[Tensor]], Tensor]"
_WhiteningArrays: TypeAlias = (
    "tuple[SquaresFunction, list[np.ndarray], list[np.ndarray], np.ndarray]"
)

FULL, DIAGONAL = "full", "diag"

# A state with fewer samples per feature than this may hardly vary in some directions. Its
# moments are added up in float64: rounding in float32 is a share of the largest variance, and
# would drown the smallest. Whoever has few samples in all has few in every batch, so that each
# batch can say so for itself. Only those few are looked at, so float64 costs next to nothing.
MIN_SAMPLES_PER_FEATURE = 10

# Weights smaller than this share of the mean of their state's are left out of moments. What is left
# out of a state is then less than this share of it, which is less than rounding. At nearly every
# sample one state explains the data far better than any other, so few weights are left.
NEGLIGIBLE = {tf.float32: 1e-8, tf.float64: 1e-16}


class Parameters(NamedTuple):
    """Parameters of a hidden Markov model with Gaussian states, in float64."""

    initial_probs: np.ndarray
    """Probability of each state at the first sample of a chain, shape (n_states,)."""
    transition_matrix: np.ndarray
    """Probability of a step from state i to state j, shape (n_states, n_states)."""
    means: np.ndarray
    """Mean of each state, shape (n_states, n_features)."""
    covariances: np.ndarray
    """Covariance of each state, shape (n_states, n_features, n_features)."""


def reordered(parameters: Parameters, order: np.ndarray) -> Parameters:
    """Put states in another order; ``order[i]`` is the present index of what becomes i."""
    return Parameters(
        parameters.initial_probs[order],
        parameters.transition_matrix[np.ix_(order, order)],
        parameters.means[order],
        parameters.covariances[order],
    )


class Moments(NamedTuple):
    """Weighted sums over samples, per state."""

    weights: np.ndarray
    """Sum of the weights, shape (n_states,)."""
    sums: np.ndarray
    """Weighted sum of the samples, shape (n_states, n_features)."""
    products: np.ndarray
    """Weighted sum of their outer products, shape (n_states, n_features, n_features).

    For diagonal covariances the sum of their squares, shape (n_states, n_features).
    """


# Whitening matrices are taken in parts of their columns: they are upper triangular, so that the
# first columns need the first features only. Single precision gains nothing by more than two.
N_PARTS, N_PRECISE_PARTS = 2, 4
# Of fewer features, one product is faster than products of its parts.
FEW_FEATURES = 32

# How samples become white under all states: what takes samples, whitening matrices and what is
# taken off, and gives the squares of white samples, summed, of shape (n_samples, n_states).


def _squares_by_parts(x: Tensor, whiteners: list[Tensor], shifts: list[Tensor]) -> Tensor:
    """Squares from parts of the columns of all states' matrices, shape (n_rows, n_states, n)."""
    squares = []
    for i_part, whitener in enumerate(whiteners):
        n_rows, n_columns = whitener.shape[0], whitener.shape[2]
        z = x[:, :n_rows] @ tf.reshape(whitener, (n_rows, -1))
        if shifts:
            z -= tf.reshape(shifts[i_part], (-1,))
        z = tf.reshape(z, (-1, tf.shape(whitener)[1], n_columns))
        squares.append(tf.reduce_sum(tf.square(z), -1))
    return tf.add_n(squares)


def _squares_means_first(x: Tensor, whiteners: list[Tensor], means: list[Tensor]) -> Tensor:
    """Squares where means are taken off before the product, which leaves all digits of the rest."""
    z = tf.matmul(x - means[0][:, None], whiteners[0])
    return tf.transpose(tf.reduce_sum(tf.square(z), -1))


def _squares_scaled(x: Tensor, scales: list[Tensor], shifts: list[Tensor]) -> Tensor:
    """Squares for diagonal covariances."""
    return tf.reduce_sum(tf.square(x[:, None] * scales[0] - shifts[0]), -1)


def _squares_scaled_means_first(x: Tensor, scales: list[Tensor], means: list[Tensor]) -> Tensor:
    """Squares for diagonal covariances where means are taken off before scaling."""
    return tf.reduce_sum(tf.square((x[:, None] - means[0]) * scales[0]), -1)


class _Whiteners(NamedTuple):
    """What makes samples white under all states."""

    squares: SquaresFunction
    whiteners: list[Tensor]
    shifts: list[Tensor]
    log_det: np.ndarray
    """Log determinant of each state's covariance."""


@cache_traced
def _log_density_function(
    squares: SquaresFunction, dtype: "tf.DType", n_features: int, n_shifts: int, n_blocks: int
) -> Callable[..., Tensor]:
    """Trace log densities of samples of some blocks, but for each state's constant.

    That serves any number of samples and of states.
    """

    def log_densities(
        whiteners: list[Tensor], shifts: list[Tensor], blocks: list[Tensor]
    ) -> Tensor:
        def of_block(x: Tensor) -> Tensor:
            return -0.5 * tf.cast(squares(tf.cast(x, dtype), whiteners, shifts), tf.float64)

        rows = map_blocks(of_block, blocks)
        return rows[0] if len(rows) == 1 else tf.concat(rows, 0)

    if squares is _squares_by_parts:
        parts = _column_parts(n_features, dtype)
        whiteners = [tf.TensorSpec((last, None, last - first), dtype) for first, last in parts]
        shifts = [tf.TensorSpec((None, last - first), dtype) for first, last in parts][:n_shifts]
    else:
        shifts = [tf.TensorSpec((None, n_features), dtype)]
        whiteners = shifts
        if squares is _squares_means_first:
            whiteners = [tf.TensorSpec((None, n_features, n_features), dtype)]
    blocks = [tf.TensorSpec((None, n_features), tf.float32)] * n_blocks
    function = tf.function(log_densities, autograph=False)
    return function.get_concrete_function(whiteners, shifts, blocks)


def _column_parts(n_features: int, dtype: "tf.DType") -> list[tuple[int, int]]:
    """Cut the columns into parts: the first of each, and the one after the last."""
    n_parts = N_PRECISE_PARTS if dtype == tf.float64 else N_PARTS
    ends = np.linspace(0, n_features, 1 + (n_parts if n_features >= FEW_FEATURES else 1))
    return list(pairwise(ends.astype(int).tolist()))


@cache_traced
def _moment_function(
    n_states: int,
    n_features: int,
    covariance_type: str,
    with_sums: bool,
    dtype: "tf.DType",
    n_blocks: int,
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Trace weighted products (or squares) and sums of samples of some blocks, in float64.

    Weights count where they are above their state's threshold. Products run in `dtype`.
    """
    in_block = tf.TensorSpec((None, n_features)), tf.TensorSpec((None, n_states), dtype)
    of_states = tf.TensorSpec((n_states,), dtype)

    def of_block(x: Tensor, weights: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
        weights = tf.where(weights > thresholds, weights, tf.zeros((), dtype))
        sums = tf.zeros((n_states, n_features), dtype)
        if with_sums:
            sums = tf.matmul(weights, tf.cast(x, dtype), transpose_a=True)
        if covariance_type == DIAGONAL:
            products = tf.matmul(weights, tf.square(tf.cast(x, dtype)), transpose_a=True)
        else:
            products = products_of(x, weights)
        return tf.cast(products, tf.float64), tf.cast(sums, tf.float64)

    def products_of(x: Tensor, weights: Tensor) -> Tensor:
        by_state = tf.transpose(weights)
        heavy = by_state > 0
        n_heavy = tf.reduce_sum(tf.cast(heavy, tf.int32), 1)

        def of_heavy() -> Tensor:
            places = tf.where(heavy)
            chosen = tf.cast(tf.gather(x, places[:, 1]), dtype)
            weighted = chosen * tf.gather_nd(by_state, places)[:, None]
            weighted, chosen = (tf.split(v, n_heavy, num=n_states) for v in (weighted, chosen))
            pairs = zip(weighted, chosen, strict=True)
            return tf.stack([tf.matmul(a, b, transpose_a=True) for a, b in pairs])

        def of_all() -> Tensor:
            rows = tf.cast(x, dtype)
            weighted = tf.reshape(rows[:, None] * weights[:, :, None], (-1, n_states * n_features))
            products = tf.matmul(weighted, rows, transpose_a=True)
            return tf.reshape(products, (n_states, n_features, n_features))

        return tf.cond(2 * tf.reduce_sum(n_heavy) < tf.size(weights), of_heavy, of_all)

    of_one = tf.function(of_block, autograph=False, input_signature=(*in_block, of_states))

    def moments(
        blocks: list[Tensor], weights: list[Tensor], thresholds: Tensor
    ) -> tuple[Tensor, Tensor]:
        of_blocks = map_blocks(lambda *block: of_one(*block, thresholds), blocks, weights)
        products, sums = zip(*of_blocks, strict=True)
        return tf.add_n(products), tf.add_n(sums)

    lists = [[spec] * n_blocks for spec in in_block]
    return tf.function(moments, autograph=False).get_concrete_function(*lists, of_states)


@dataclass(frozen=True)
class Emission:
    """Gaussian densities of all states, ready to be applied to blocks of samples.

    Parameters
    ----------
    means : array, shape (n_states, n_features)
        Means of the states.
    covariances : array, shape (n_states, n_features, n_features)
        Covariances of the states, positive definite.
    covariance_type : "full" | "diag"
        Whether to use the whole covariances or their diagonals only.
    precise : bool
        Whether products run in float64, as covariances of any condition need.
    """

    means: np.ndarray
    covariances: np.ndarray
    covariance_type: str = FULL
    precise: bool = False

    def log_densities(self, data: Data) -> np.ndarray:
        """Log density of each sample under each state, shape (n_samples, n_states)."""
        return np.concatenate([self.rows(batch).numpy() for batch in data]) + self.constants

    def rows(self, batch: Batch) -> "tf.Tensor":
        """Log densities without `constants`, in float64, shape (n_samples, n_states)."""
        squares, whiteners, shifts, _ = self._whiteners
        kind = squares, whiteners[0].dtype, self.means.shape[1], len(shifts)
        rows = [
            _log_density_function(*kind, len(blocks))(whiteners, shifts, blocks)
            for (blocks,) in by_calls(batch.blocks)
        ]
        return rows[0] if len(rows) == 1 else tf.concat(rows, 0)

    @property
    def constants(self) -> np.ndarray:
        """What is the same for all samples of a state, shape (n_states,)."""
        return -0.5 * (self._whiteners.log_det + self.means.shape[1] * np.log(2 * np.pi))

    @cached_property
    def _whiteners(self) -> _Whiteners:
        """What makes samples white under all states."""
        is_diagonal = self.covariance_type == DIAGONAL
        whiten = self._whiten_each if is_diagonal else self._whiten_together
        squares, *arrays, log_det = whiten()
        whiteners, shifts = (
            [tf.constant(values, self._dtype) for values in of_kind] for of_kind in arrays
        )
        return _Whiteners(squares, whiteners, shifts, log_det)

    @property
    def _dtype(self) -> "tf.DType":
        """What products run in."""
        return tf.float64 if self.precise else tf.float32

    def _whiten_each(self) -> _WhiteningArrays:
        """Whiten one feature at a time, as diagonal covariances do."""
        variances = np.einsum("kii->ki", self.covariances)
        scales, log_det = variances**-0.5, np.log(variances).sum(1)
        if self.precise:
            return _squares_scaled_means_first, [scales], [self.means], log_det
        return _squares_scaled, [scales], [self.means * scales], log_det

    def _whiten_together(self) -> _WhiteningArrays:
        """Whiten all features by inverses of the triangular factors of the covariances."""
        factors = (refined_cholesky_factors if self.precise else cholesky_factors)(self.covariances)
        log_det = log_determinants_of_factors(factors)
        inverses = invert_lower(factors)
        with_means = self.means.any()
        if self.precise and with_means:
            return _squares_means_first, [inverses.transpose(0, 2, 1)], [self.means], log_det
        by_row = inverses.transpose(2, 0, 1)
        parts = _column_parts(self.means.shape[1], self._dtype)
        whiteners = [by_row[:last, :, first:last] for first, last in parts]
        if not with_means:
            return _squares_by_parts, whiteners, [], log_det
        shifts = np.einsum("kij,kj->ki", inverses, self.means)
        return (
            _squares_by_parts,
            whiteners,
            [shifts[:, first:last] for first, last in parts],
            log_det,
        )


def batch_moments(
    batch: Batch,
    weights: "tf.Tensor",
    covariance_type: str = FULL,
    *,
    with_sums: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Add up weighted samples and their products over a batch.

    Shapes: ``weights`` (n_samples, n_states); returns ``sums`` (n_states, n_features),
    ``products`` (n_states, n_features, n_features).
    """
    blocks = list(batch.blocks)
    n_states, n_features = weights.shape[1], blocks[0].shape[1]
    kind = n_states, n_features, covariance_type, with_sums
    sums = np.zeros((n_states, n_features))
    second = (n_features,) if covariance_type == DIAGONAL else (n_features, n_features)
    products = np.zeros((n_states, *second))
    by_block = tf.split(weights, [len(block) for block in blocks])
    totals = tf.reduce_sum(weights, 0).numpy()
    is_small = totals < MIN_SAMPLES_PER_FEATURE * n_features
    for dtype, states in ((tf.float32, ~is_small), (tf.float64, is_small)):
        if not states.any():
            continue
        # No weight of the other states is above.
        thresholds = np.where(states, NEGLIGIBLE[dtype] * totals / len(weights), np.inf)
        thresholds = tf.constant(thresholds, dtype)
        in_dtype = (tf.cast(of_block, dtype) for of_block in by_block)
        for called in by_calls(blocks, in_dtype):
            function = _moment_function(*kind, dtype, len(called[0]))
            new_products, new_sums = function(*called, thresholds)
            products += new_products.numpy()
            sums += new_sums.numpy()
    return sums, products


def weighted_moments(
    data: Data, weights: np.ndarray, covariance_type: str = FULL, *, with_sums: bool = True
) -> Moments:
    """Add up what an update needs over all data, with given weights.

    Shapes: ``weights`` (n_samples, n_states).
    """
    (total,) = data.workers.total([weights.sum(0, dtype=float)])
    of_sums = (weights.shape[1], data.n_features)
    # Zeros, for a worker may have no recording.
    empty = np.zeros(of_sums if covariance_type == DIAGONAL else (*of_sums, data.n_features))
    start, parts = 0, [(np.zeros(of_sums), empty)]
    for batch in data:
        rows = tf.constant(weights[start : start + batch.n_samples])
        start += batch.n_samples
        parts.append(batch_moments(batch, rows, covariance_type, with_sums=with_sums))
    of_worker = [np.sum(values, 0) for values in zip(*parts, strict=True)]
    sums, products = data.workers.total(of_worker)
    return Moments(total, sums, products)
