"""Edges of networks: what matrices are networks, and which edges are the strongest."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._utils.checks import import_extra, plural


def check_networks(values: Any, state_names: Sequence[str], ch_names: Sequence[str]) -> np.ndarray:
    """Check that matrices are networks without direction.

    Shapes: ``values`` (n_states, n_channels, n_channels); returns ``values`` (n_states,
    n_channels, n_channels).
    """
    values = np.asarray(values)
    if values.dtype.kind not in "buif":
        raise TypeError(
            f"values must be real numbers, got {values.dtype}; of complex ones take the "
            "absolute value or the imaginary part"
        )
    if len(ch_names) < 2:
        raise ValueError(f"info has {plural(len(ch_names), 'channel')}; a network needs 2 or more")
    shape = (len(state_names), len(ch_names), len(ch_names))
    if values.shape != shape:
        raise ValueError(
            f"values must have the shape (n_states, n_channels, n_channels), which is {shape} for "
            f"these names of states and channels, got {values.shape}"
        )
    values = values.astype(float)
    if np.isinf(values).any():
        raise ValueError("values must be finite, or NaN where nothing is known, got infinite ones")
    mirrored = values.swapaxes(1, 2)
    # Symmetric but for the rounding of float32.
    scale = np.max(np.abs(values), initial=0.0, where=np.isfinite(values))
    if not np.allclose(values, mirrored, rtol=0, atol=1e-5 * scale, equal_nan=True):
        raise ValueError(
            "values must be symmetric, as edges have no direction; pass the mean of the values and "
            "of values.swapaxes(1, 2), or the absolute values where these are of opposite sign"
        )
    values = (values + mirrored) / 2
    diagonal = np.arange(len(ch_names))
    values[:, diagonal, diagonal] = 0.0
    return values


def mixture_cut(edges: np.ndarray, seed: int) -> float:
    """Tell where the upper one of two groups of edges begins.

    Shapes: ``edges`` (n_edges,).
    """
    mixture = import_extra("sklearn.mixture", "analysis", "for networks cut by a mixture model")
    edges = np.sort(edges)
    spread = edges.std()
    if len(edges) < 3 or spread <= 1e-12 * np.abs(edges).max():
        return np.inf
    # scikit-learn adds 1e-6 to variances, which is much or little depending on the scale.
    scaled = ((edges - edges.mean()) / spread)[:, np.newaxis]
    one, two = (
        mixture.GaussianMixture(number, n_init=10, max_iter=5000, random_state=seed).fit(scaled)
        for number in (1, 2)
    )
    if one.bic(scaled) <= two.bic(scaled):
        return np.inf
    lower, upper = np.argsort(two.means_.ravel())
    low, high = two.means_.ravel()[[lower, upper]]
    # Else they are one group whose tails are heavier than those of a normal distribution.
    if high - low < np.sqrt(two.covariances_.ravel()[lower]):
        return np.inf
    likely = two.predict_proba(scaled)
    # A wide upper distribution is the more likely one far below the lower one, too.
    in_upper = (likely[:, upper] > likely[:, lower]) & (scaled[:, 0] > low)
    if not in_upper.any():
        return np.inf
    # Halfway between the last edge that goes and the first that stays, clear of rounding.
    first = int(np.argmax(in_upper))
    return float(edges[first - 1 : first + 1].mean())
