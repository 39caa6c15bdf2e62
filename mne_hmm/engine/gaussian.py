"""Gaussian emissions: log densities and weighted moments, as matrix products.

The log density of every sample under every state is one product with all states'
whitening matrices side by side, then squares and sums; the weighted second moments are
one product of the weighted samples with the samples. Products run in float32, block by
block; blocks are added up in float64. That is for training, in coordinates in which the data
are of unit covariance. What a model says of recordings in the end is computed in float64, in
the features as they are: one such pass costs little, and needs no well-conditioned covariances.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import NamedTuple

import numpy as np

from ._tensorflow import tf
from .linalg import factors_of, inverse_of_lower, refined_factors_of
from .samples import Batch, Data

FULL, DIAGONAL = "full", "diag"

# A state with fewer samples per feature than this may hardly vary in some directions. Its
# moments are added up in float64: rounding in float32 is a share of the largest variance, and
# would drown the smallest.
FEW = 10

# Where most weights of a state are smaller than this share of their mean, only the others are
# looked at. Together they weigh less than this share of all, which is less than rounding in
# float32. At nearly every sample one state explains the data far better than any other.
NEGLIGIBLE = 1e-8


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
    """Put states in another order; ``order[i]`` is the present number of what becomes i."""
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


# One state after another inside one call, rather than all at once: the temporaries are then
# a few MB, which the memory allocator keeps, and not tens of MB, which it gives back to the
# system and asks for anew in every call.


def _of_shape(function, n_states, *shapes, dtype=None):
    """Trace a function for a number of states, and any number of samples.

    Samples come in float32 always, and the rest in `dtype`, which is float32 unless it is given.
    """
    dtypes = [tf.float32] + [dtype or tf.float32] * (len(shapes) - 1)
    specs = [tf.TensorSpec(*spec) for spec in zip(shapes, dtypes, strict=True)]
    return tf.function(partial(function, n_states), autograph=False).get_concrete_function(*specs)


@lru_cache(maxsize=64)
def _log_density_function(n_states, n_features, covariance_type, zero_mean, precise):
    """Log density of each sample under each state, but for each state's constant."""

    def full(n_states, x, whiteners, shifts):
        out = []
        for k in range(n_states):
            z = x @ whiteners[k]
            out.append(squares_of(z if zero_mean else z - shifts[k]))
        return halved(out)

    def diagonal(n_states, x, scales, shifts):
        return halved([squares_of(x * scales[k] - shifts[k]) for k in range(n_states)])

    # Means are taken off first, which leaves all digits of what remains, however large they are.
    def precise_full(n_states, x, whiteners, means):
        x = tf.cast(x, tf.float64)
        return halved([squares_of((x - means[k]) @ whiteners[k]) for k in range(n_states)])

    def precise_diagonal(n_states, x, scales, means):
        x = tf.cast(x, tf.float64)
        return halved([squares_of((x - means[k]) * scales[k]) for k in range(n_states)])

    def squares_of(z):
        return tf.reduce_sum(tf.square(z), -1)

    def halved(squares):
        return -0.5 * tf.cast(tf.stack(squares, 1), tf.float64)

    samples, states = (None, n_features), (n_states, n_features)
    dtype = tf.float64 if precise else tf.float32
    if covariance_type == DIAGONAL:
        function = precise_diagonal if precise else diagonal
        return _of_shape(function, n_states, samples, states, states, dtype=dtype)
    function = precise_full if precise else full
    return _of_shape(function, n_states, samples, (*states, n_features), states, dtype=dtype)


@lru_cache(maxsize=64)
def _moment_function(n_states, n_features, covariance_type, with_sums):
    """Weighted products (or squares) and sums of samples."""

    def full(n_states, x, weights):
        products = [products_of_one(x, weights[:, k]) for k in range(n_states)]
        return tf.stack(products), sums(x, weights)

    def products_of_one(x, weights):
        some = tf.where(weights > NEGLIGIBLE * tf.reduce_mean(weights))[:, 0]

        def of_some():
            return weighted(tf.gather(x, some), tf.gather(weights, some))

        def of_all():
            return weighted(x, weights)

        return tf.cond(2 * tf.size(some) < tf.size(weights), of_some, of_all)

    def weighted(x, weights):
        return tf.matmul(x * weights[:, None], x, transpose_a=True)

    def diagonal(_, x, weights):
        return tf.matmul(weights, x * x, transpose_a=True), sums(x, weights)

    def sums(x, weights):
        if not with_sums:
            return tf.zeros((n_states, n_features))
        return tf.matmul(weights, x, transpose_a=True)

    function = diagonal if covariance_type == DIAGONAL else full
    return _of_shape(function, n_states, (None, n_features), (None, n_states))


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
        n_states, n_features = self.means.shape
        function = _log_density_function(
            n_states, n_features, self.covariance_type, not self.means.any(), self.precise
        )
        whiteners, shifts, _ = self._whitening
        rows = [function(block, whiteners, shifts) for block in batch.blocks]
        return rows[0] if len(rows) == 1 else tf.concat(rows, 0)

    @property
    def constants(self) -> np.ndarray:
        """What is the same for all samples of a state, shape (n_states,)."""
        return -0.5 * (self._whitening[2] + self.means.shape[1] * np.log(2 * np.pi))

    @cached_property
    def _whitening(self):
        """Find what makes each state's samples white, means for that, and log determinants."""
        if self.covariance_type == DIAGONAL:
            variances = np.einsum("kii->ki", self.covariances)
            whiteners = variances**-0.5
            shifts, log_det = self.means * whiteners, np.log(variances).sum(1)
        else:
            factors = (refined_factors_of if self.precise else factors_of)(self.covariances)
            inverses = inverse_of_lower(factors)
            shifts = np.einsum("kij,kj->ki", inverses, self.means)
            log_det = 2 * np.log(np.einsum("kii->ki", factors)).sum(1)
            whiteners = inverses.transpose(0, 2, 1)
        if self.precise:
            return tf.constant(whiteners), tf.constant(self.means), log_det
        whiteners, shifts = (tf.constant(v.astype(np.float32)) for v in (whiteners, shifts))
        return whiteners, shifts, log_det


def batch_moments(
    batch: Batch,
    weights: "tf.Tensor",
    covariance_type: str = FULL,
    *,
    with_sums: bool = True,
    precise: Collection[int] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Add up weighted samples and their products over a batch.

    Parameters
    ----------
    batch : Batch
        The samples.
    weights : tensor, shape (n_samples, n_states)
        Weight of each sample in each state, usually its posterior probability.
    covariance_type : "full" | "diag"
        Whether to form outer products or squares.
    with_sums : bool
        Whether to form the sums of the samples; they stay 0 otherwise. States with zero
        means do not need them.
    precise : collection of int
        States whose sums are formed in float64.

    Returns
    -------
    sums : array, shape (n_states, n_features)
        Weighted sums of the samples, in float64.
    products : array, shape (n_states, n_features, n_features)
        Weighted sums of their products; of their squares, shape (n_states, n_features),
        for diagonal covariances.
    """
    blocks = list(batch.blocks)
    n_states, n_features = weights.shape[1], blocks[0].shape[1]
    function = _moment_function(n_states, n_features, covariance_type, with_sums)
    sums = np.zeros((n_states, n_features))
    second = (n_features,) if covariance_type == DIAGONAL else (n_features, n_features)
    products = np.zeros((n_states, *second))
    lengths = [len(block) for block in blocks]
    parts = tf.split(tf.cast(weights, tf.float32), lengths)
    for x, of_block in zip(blocks, parts, strict=True):
        new_products, new_sums = function(x, of_block)
        products += new_products.numpy()
        sums += new_sums.numpy()
    for k in precise:
        of_state = tf.split(weights[:, k], lengths)
        precise_sums, products[k] = _precise_moments(blocks, of_state, covariance_type)
        sums[k] = precise_sums if with_sums else 0.0
    return sums, products


def _precise_moments(blocks, weights, covariance_type):
    """Weighted sums and products (or squares) for one state, in float64."""
    sums = products = 0.0
    for x, of_block in zip(blocks, weights, strict=True):
        some = tf.where(of_block > np.finfo(float).eps)[:, 0]
        chosen = tf.cast(tf.gather(x, some), tf.float64)
        weighted = chosen * tf.cast(tf.gather(of_block, some), tf.float64)[:, None]
        sums += tf.reduce_sum(weighted, 0).numpy()
        if covariance_type == DIAGONAL:
            products += tf.reduce_sum(weighted * chosen, 0).numpy()
        else:
            products += tf.matmul(weighted, chosen, transpose_a=True).numpy()
    return sums, products


def weighted_moments(
    data: Data, weights: np.ndarray, covariance_type: str = FULL, *, with_sums: bool = True
) -> Moments:
    """Add up what an update needs over all data, with given weights.

    Parameters
    ----------
    data : Data
        The data.
    weights : array, shape (n_samples, n_states)
        Weight of each of this worker's samples in each state.
    covariance_type : "full" | "diag"
        Whether to form outer products or squares.
    with_sums : bool
        Whether to form the sums of the samples.

    Returns
    -------
    moments : Moments
        The sums over the data of all workers, in float64.
    """
    (total,) = data.workers.total([weights.sum(0, dtype=float)])
    precise = states_with_few(total, data.n_features)
    one = (weights.shape[1], data.n_features)
    # Zeros, for a worker may have no recording.
    empty = np.zeros(one if covariance_type == DIAGONAL else (*one, data.n_features))
    start, parts = 0, [(np.zeros(one), empty)]
    for batch in data:
        rows = tf.constant(weights[start : start + batch.n_samples])
        start += batch.n_samples
        parts.append(
            batch_moments(batch, rows, covariance_type, with_sums=with_sums, precise=precise)
        )
    own = [np.sum(values, 0) for values in zip(*parts, strict=True)]
    sums, products = data.workers.total(own)
    return Moments(total, sums, products)


def states_with_few(weights: np.ndarray, n_features: int) -> set[int]:
    """States with so few samples that their moments need float64."""
    return set(np.flatnonzero(weights < FEW * n_features).tolist())
