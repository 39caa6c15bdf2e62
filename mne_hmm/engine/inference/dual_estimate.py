"""Means and covariances of one recording, given its states: the second half of dual estimation."""

from typing import NamedTuple

import numpy as np

from ..._utils.arrays import row_blocks
from ..runtime._tensorflow import tf

# Rows worked on at once: the temporaries, in float64, stay a few MB.
ROWS_PER_BLOCK = 4096

# A state whose probabilities sum to less, in samples, is never on.
MIN_WEIGHT = 1e-3


class Estimate(NamedTuple):
    """Weighted means and covariances, in float64; NaN for states that are never on."""

    weights: np.ndarray
    """Sum of each state's probabilities, shape (n_states,)."""
    means: np.ndarray
    """Shape (n_states, n_features)."""
    covariances: np.ndarray
    """Shape (n_states, n_features, n_features)."""


def estimate(
    features: np.ndarray,
    probabilities: np.ndarray,
    *,
    means: np.ndarray | None = None,
    covariance_type: str = "full",
) -> Estimate:
    """Estimate the states' means and covariances, weighting samples by their probabilities.

    It is done once, not pass after pass, so all of it is in float64, where rounding needs no care.

    Shapes: ``features`` (n_samples, n_features), ``probabilities`` (n_samples, n_states),
    ``means`` (n_states, n_features).
    """
    n_states, n_features = probabilities.shape[1], features.shape[1]
    sums = np.zeros((n_states, n_features))
    products = np.zeros((n_states, n_features, n_features))
    for rows in row_blocks(len(features), ROWS_PER_BLOCK):
        x = tf.constant(features[rows], tf.float64)
        weights = tf.constant(probabilities[rows], tf.float64)
        sums += tf.matmul(weights, x, transpose_a=True).numpy()
        for k in range(n_states):
            weighted = x * weights[:, k : k + 1]
            products[k] += tf.matmul(weighted, x, transpose_a=True).numpy()
    total = probabilities.sum(0, dtype=float)
    weight = np.where(total < MIN_WEIGHT, np.nan, total)[:, None]
    averages = sums / weight
    kept = averages if means is None else np.asarray(means, float)
    cross = kept[:, :, None] * averages[:, None, :]
    covariances = products / weight[:, :, None] + kept[:, :, None] * kept[:, None, :]
    covariances -= cross + cross.transpose(0, 2, 1)
    covariances = (covariances + covariances.transpose(0, 2, 1)) / 2  # to the last bit
    if covariance_type == "diag":
        covariances = np.where(np.eye(n_features, dtype=bool), covariances, 0.0 * covariances)
    return Estimate(total, kept, covariances)
