"""Gaussian emissions: log densities and weighted moments, as matrix products.

The log density of every sample under every state is one product with all states'
whitening matrices side by side, then squares and sums; the weighted second moments are
one product of the weighted samples with the samples. Products run in float32, block by
block; blocks are added up in float64.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from ._tensorflow import tf
from .linalg import cholesky, inverse_of_lower
from .samples import Blocks

FULL, DIAGONAL = "full", "diag"

# A state with fewer samples per feature than this may hardly vary in some directions. Its
# moments are added up in float64: rounding in float32 is a share of the largest variance, and
# would drown the smallest.
FEW = 10


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


def _of_shape(function, n_states, *shapes):
    """Trace a function for a number of states, and any number of samples."""
    specs = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    return tf.function(partial(function, n_states)).get_concrete_function(*specs)


@lru_cache(maxsize=64)
def _log_density_function(n_states, n_features, covariance_type, zero_mean):
    """Squared whitened length of each sample under each state."""

    def full(n_states, x, whiteners, shifts):
        out = []
        for k in range(n_states):
            z = x @ whiteners[k]
            out.append(tf.reduce_sum(tf.square(z if zero_mean else z - shifts[k]), -1))
        return tf.stack(out, 1)

    def diagonal(n_states, x, scales, shifts):
        squares = [tf.square(x * scales[k] - shifts[k]) for k in range(n_states)]
        return tf.stack([tf.reduce_sum(s, -1) for s in squares], 1)

    if covariance_type == DIAGONAL:
        return _of_shape(
            diagonal,
            n_states,
            (None, n_features),
            (n_states, n_features),
            (n_states, n_features),
        )
    return _of_shape(
        full,
        n_states,
        (None, n_features),
        (n_states, n_features, n_features),
        (n_states, n_features),
    )


@lru_cache(maxsize=64)
def _moment_function(n_states, n_features, covariance_type, with_sums):
    """Weighted products (or squares) and sums of samples."""

    def full(n_states, x, weights):
        products = [
            tf.matmul(x * weights[:, k : k + 1], x, transpose_a=True) for k in range(n_states)
        ]
        return tf.stack(products), sums(x, weights)

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
    """

    means: np.ndarray
    covariances: np.ndarray
    covariance_type: str = FULL

    def log_densities(self, blocks: Blocks) -> np.ndarray:
        """Log density of each sample under each state, shape (n_samples, n_states)."""
        n_states, n_features = self.means.shape
        whiteners, shifts, log_det = self._whitening()
        squares = _log_density_function(
            n_states, n_features, self.covariance_type, not self.means.any()
        )
        whiteners, shifts = (tf.constant(v.astype(np.float32)) for v in (whiteners, shifts))
        out = np.empty((blocks.n_samples, n_states))
        for rows, x in blocks:
            np.multiply(squares(x, whiteners, shifts).numpy(), -0.5, out=out[rows], dtype=float)
        out -= 0.5 * (log_det + n_features * np.log(2 * np.pi))
        return out

    def _whitening(self):
        """Find what makes each state's samples white, the whitened means, and log determinants."""
        if self.covariance_type == DIAGONAL:
            variances = np.einsum("kii->ki", self.covariances)
            scales = variances**-0.5
            return scales, self.means * scales, np.log(variances).sum(1)
        factors = cholesky(self.covariances)
        if factors is None:
            raise np.linalg.LinAlgError("a state's covariance is not positive definite")
        inverses = inverse_of_lower(factors)
        whitened_means = np.einsum("kij,kj->ki", inverses, self.means)
        log_det = 2 * np.log(np.einsum("kii->ki", factors)).sum(1)
        return inverses.transpose(0, 2, 1), whitened_means, log_det


def weighted_moments(
    blocks: Blocks,
    weights: np.ndarray,
    covariance_type: str = FULL,
    *,
    with_sums: bool = True,
) -> Moments:
    """Add up what the M-step needs.

    Parameters
    ----------
    blocks : Blocks
        The data.
    weights : array, shape (n_samples, n_states)
        Weight of each sample in each state, usually its posterior probability.
    covariance_type : "full" | "diag"
        Whether to form outer products or squares.
    with_sums : bool
        Whether to form the sums of the samples; they stay 0 otherwise. States with zero
        means do not need them.

    Returns
    -------
    moments : Moments
        The sums, in float64.
    """
    n_states, n_features = weights.shape[1], blocks.n_features
    function = _moment_function(n_states, n_features, covariance_type, with_sums)
    products: np.ndarray | float = 0.0
    sums: np.ndarray | float = 0.0
    for rows, x in blocks:
        new = function(x, tf.convert_to_tensor(weights[rows].astype(np.float32)))
        products, sums = products + new[0].numpy().astype(float), sums + new[1].numpy()
    moments = Moments(weights.sum(0, dtype=float), np.asarray(sums, float), np.asarray(products))
    for k in np.flatnonzero(moments.weights < FEW * n_features):
        precise = _moments_of_few(blocks, weights[:, k].astype(float), covariance_type)
        moments.products[k] = precise[0]
        moments.sums[k] = precise[1] if with_sums else 0.0
    return moments


def _moments_of_few(blocks, weights, covariance_type):
    """Weighted products (or squares) and sums for one state with few samples, in float64."""
    products: np.ndarray | float = 0.0
    sums: np.ndarray | float = 0.0
    for rows, x in blocks:
        some = np.flatnonzero(weights[rows] > np.finfo(float).eps)
        x = tf.cast(tf.gather(x, some), tf.float64)
        weighted = x * weights[rows][some, None]
        if covariance_type == DIAGONAL:
            products += tf.reduce_sum(weighted * x, 0).numpy()
        else:
            products += tf.matmul(weighted, x, transpose_a=True).numpy()
        sums += tf.reduce_sum(weighted, 0).numpy()
    return products, sums
