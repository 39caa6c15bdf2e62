"""Arithmetic of alignment: recordings whose channels have one covariance at zero lag.

The signals of a group have covariance ``C``, and the mean of all groups is ``M``. The signals
become ``M^(1/2) Q C^(-1/2) x``, and their covariance is ``M``. Where all channels are independent
``Q`` is the identity. Otherwise powers are taken within the dimensions that there are, and ``Q``
is the rotation that carries those of the group to those of the mean, the closest to the identity
that there is: dimensions of an average reference, say, are others after every z-score.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .._utils.arrays import row_blocks
from .embedding import EMBEDDED_BLOCK_LENGTH, RANK_TOLERANCE

# A mean was put together in a basis of its own, so what is no dimension of it is smaller still.
MEAN_TOLERANCE = 1e-3 * RANK_TOLERANCE


@dataclass(frozen=True, eq=False)
class Alignment:
    """How the channels of one recording are aligned with those of the others, and the way back.

    In ``prepared.alignments``, ``hmm.alignments_`` and ``dual.alignment``.

    Parameters
    ----------
    to_mean : array, shape (n_channels, n_channels)
        What the recording's channels are multiplied by, after they were standardized.
    from_mean : array, shape (n_channels, n_channels)
        What aligned channels are in those of the recording. The inverse of ``to_mean``, or the
        best there is where channels depend on each other.
    """

    to_mean: np.ndarray = field(repr=False)
    from_mean: np.ndarray = field(repr=False)

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Align signals.

        Parameters
        ----------
        x : array, shape (n_samples, n_channels)
            Standardized signals of the recording.

        Returns
        -------
        aligned : array, shape (n_samples, n_channels)
            The same in the channels of the mean, in float32.
        """
        out = np.empty(x.shape, np.float32)
        # In double precision, since weak dimensions may be made much stronger.
        for rows in row_blocks(len(x), EMBEDDED_BLOCK_LENGTH):
            out[rows] = x[rows] @ self.to_mean.T
        return out

    def content(self) -> np.ndarray:
        """Get both matrices as one array, for files.

        Returns
        -------
        content : array, shape (2, n_channels, n_channels)
            The matrices.
        """
        return np.stack([self.to_mean, self.from_mean])

    @classmethod
    def from_content(cls, content: Any) -> "Alignment":
        """Make an alignment of what was in a file.

        Parameters
        ----------
        content : array, shape (2, n_channels, n_channels)
            What :meth:`content` gave.

        Returns
        -------
        alignment : Alignment
            The alignment.
        """
        to_mean, from_mean = np.asarray(content, float)
        return cls(to_mean, from_mean)


class Scatter(NamedTuple):
    """What signals tell of the covariance of their channels at one time."""

    n_samples: int
    values: np.ndarray
    """Sum of outer products about the mean of each recording, shape (n_channels, n_channels)."""

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the channels, shape (n_channels, n_channels)."""
        return self.values / max(self.n_samples, 1)


def scatter_of(spans: Sequence[np.ndarray]) -> Scatter:
    """Sum outer products of the samples of one recording about their mean.

    Shapes: ``spans`` (n_samples, n_channels).
    """
    n_samples, n_channels = sum(map(len, spans)), spans[0].shape[1]
    mean = sum(x.sum(axis=0, dtype=float) for x in spans) / max(n_samples, 1)
    values = np.zeros((n_channels, n_channels))
    for x in spans:
        for rows in row_blocks(len(x), EMBEDDED_BLOCK_LENGTH):
            block = x[rows] - mean
            values += block.T @ block
    return Scatter(n_samples, values)


def pooled(scatters: Sequence[Scatter]) -> Scatter:
    """Add up what several recordings tell, each about its own mean."""
    return Scatter(
        sum(scatter.n_samples for scatter in scatters),
        np.sum([scatter.values for scatter in scatters], axis=0),
    )


def rank_of(covariance: np.ndarray, *, of_mean: bool = False) -> int:
    """Count the dimensions that a covariance has, but for rounding.

    Shapes: ``covariance`` (n_channels, n_channels).
    """
    return len(_eigen(covariance, MEAN_TOLERANCE if of_mean else RANK_TOLERANCE)[0])


def mean_covariance(covariances: Sequence[np.ndarray], rank: int, kind: str) -> np.ndarray:
    """Average covariances.

    Shapes: ``covariances`` (n_channels, n_channels); returns ``mean`` (n_channels,
    n_channels).
    """
    _, vectors = np.linalg.eigh(np.mean(covariances, axis=0))
    basis = vectors[:, -rank:]
    rotated = [_rotated_into(covariance, basis) for covariance in covariances]
    if kind == "euclidean":
        mean = np.mean(rotated, axis=0)
    else:
        logarithms = [_of_eigenvalues(covariance, np.log) for covariance in rotated]
        mean = _of_eigenvalues(np.mean(logarithms, axis=0), np.exp)
    mean = basis @ mean @ basis.T
    return (mean + mean.T) / 2


def alignment_to(mean: np.ndarray, covariance: np.ndarray) -> Alignment:
    """Find the map that gives signals the covariance of the mean.

    Shapes: ``mean`` (n_channels, n_channels), ``covariance`` (n_channels, n_channels).
    """
    mean_values, basis = _eigen(mean, MEAN_TOLERANCE)
    values, vectors = _eigen(covariance, RANK_TOLERANCE)
    rotation = _closest_rotation(basis, vectors)
    return Alignment(
        (basis * np.sqrt(mean_values)) @ rotation @ (vectors / np.sqrt(values)).T,
        (vectors * np.sqrt(values)) @ rotation.T @ (basis / np.sqrt(mean_values)).T,
    )


def _eigen(covariance: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors that are more than rounding.

    Shapes: returns ``values`` (rank,), ``vectors`` (n_channels, rank).
    """
    values, vectors = np.linalg.eigh(covariance)
    significant = values > tolerance * values[-1]
    return values[significant], vectors[:, significant]


def _closest_rotation(basis: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Find the map from coordinates in one basis to those in another that turns least."""
    left, _, right = np.linalg.svd(basis.T @ vectors, full_matrices=False)
    return left @ right


def _rotated_into(covariance: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Turn a covariance into the dimensions of a basis, in coordinates of these."""
    values, vectors = _eigen(covariance, RANK_TOLERANCE)
    rotation = _closest_rotation(basis, vectors)
    rotated = (rotation * values) @ rotation.T
    return (rotated + rotated.T) / 2


def _of_eigenvalues(matrix: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Apply a function to the eigenvalues of a symmetric matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * function(values)) @ vectors.T
