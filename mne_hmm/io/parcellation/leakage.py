"""Removal of zero-lag correlations between parcels, which leakage alone could explain."""

import numpy as np
from scipy.linalg import qr, svd

from ..._utils.checks import plural
from ..._utils.mne_private import warn

# Directions in which parcels, scaled alike, vary this much less than along the largest are
# rounding of files in single precision, not signals.
RANK_TOLERANCE = 1e-6
# The magnitudes have converged when none changes by more than this part of the largest.
MAX_CHANGE = 1e-13
MAX_ITERATIONS = 10_000


def symmetric(parcels: np.ndarray, *, iterate: bool = True) -> np.ndarray:
    """Make parcels orthogonal, all alike, and as close to what they were as can be.

    Shapes: ``parcels`` (n_times, n_parcels); returns ``orthogonal`` (n_times, n_parcels).

    .. footbibliography::
    """
    norms = np.linalg.norm(parcels, axis=0)
    # All that follows depends on the triangular factor alone, which is small.
    basis, factor = qr(parcels, mode="economic")
    _check_rank(factor, norms)
    lengths = norms
    directions = _closest_orthonormal(factor * lengths)
    if iterate:
        for _ in range(MAX_ITERATIONS):
            # The best lengths for these directions, then the best directions for those.
            previous, lengths = lengths, np.sum(directions * factor, axis=0)
            if np.abs(lengths - previous).max() < MAX_CHANGE * lengths.max():
                break
            directions = _closest_orthonormal(factor * lengths)
        else:
            warn(
                f"the magnitudes of orthogonal parcels have not settled in {MAX_ITERATIONS} "
                "steps; some parcels are hardly more than mixtures of others: use fewer parcels"
            )
    return basis @ (directions * lengths)


def _closest_orthonormal(matrix: np.ndarray) -> np.ndarray:
    """Find the orthonormal columns that are closest to those of a matrix."""
    left, _, right = svd(matrix, full_matrices=False)
    return left @ right


def _check_rank(factor: np.ndarray, norms: np.ndarray) -> None:
    """Check that parcels have as many dimensions as there are."""
    n_parcels = len(norms)
    values = svd(factor / np.where(norms > 0, norms, 1), compute_uv=False)
    rank = int(np.sum(values > RANK_TOLERANCE * values[0]))
    if rank < n_parcels:
        raise ValueError(
            f"{plural(n_parcels, 'parcel')} cannot be made orthogonal, as the data have only "
            f"{plural(rank, 'dimension')} (sources have no more than there were channels, less "
            "what was projected out); use an atlas of fewer parcels, or pass "
            'orthogonalize="none"'
        )
