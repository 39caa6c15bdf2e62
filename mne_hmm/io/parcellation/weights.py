"""How the sources of a parcel become one time course: weights from sums over times."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh
from scipy.sparse import csc_array

if TYPE_CHECKING:
    from .atlas_volume import Parcels

METHODS = ("spatial_basis", "pca_flip", "mean_flip", "mean")


class Moments:
    """Means and products of sources, summed over blocks of times.

    Only products within parcels are kept. Where parcels overlap so much that they would be
    more than those of all sources, there are those. So memory is at most that of a square
    of the number of sources in parcels: 200 MB for 5000.
    """

    def __init__(self, members: Sequence[np.ndarray]) -> None:
        self.members = members
        n_sources = len(np.unique(np.concatenate(members)))
        self.together = sum(len(rows) ** 2 for rows in members) > n_sources**2
        self.groups = [np.unique(np.concatenate(members))] if self.together else members
        self.products = [np.zeros((len(rows), len(rows))) for rows in self.groups]
        self.n_times = 0

    def add(self, block: np.ndarray) -> None:
        """Add a block of times.

        Shapes: ``block`` (n_sources, n_times).
        """
        if self.n_times == 0:
            # Relative to the first sample, so that a source that never changes has
            # a variance of exactly 0, and large offsets cost no digits.
            self.origin = block[:, 0].astype(float)
            self.offset = np.zeros(len(block))
        n_new = block.shape[1]
        total = self.n_times + n_new
        centered = block - self.origin[:, np.newaxis]
        mean = centered.mean(axis=1)
        centered -= mean[:, np.newaxis]
        step = mean - self.offset
        for products, group in zip(self.products, self.groups, strict=True):
            rows = centered[group]
            products += rows @ rows.T
            products += np.outer(step[group], step[group]) * (self.n_times * n_new / total)
        self.offset += step * (n_new / total)
        self.n_times = total

    @property
    def mean(self) -> np.ndarray:
        """Mean of each source, shape (n_sources,)."""
        return self.origin + self.offset

    def covariance(self, parcel: int) -> np.ndarray:
        """Covariance of the sources of a parcel, divided by the number of times."""
        if not self.together:
            return self.products[parcel] / self.n_times
        where = np.searchsorted(self.groups[0], self.members[parcel])
        return self.products[0][np.ix_(where, where)] / self.n_times


def parcel_weights(parcels: "Parcels", method: str, moments: Moments | None = None) -> csc_array:
    """Find the weights of the sources, by which they add up to the time courses of parcels.

    Shapes: returns ``weights`` (n_sources, n_parcels).
    """
    membership = csc_array(parcels.weights, dtype=float)
    values, rows, columns = [], [], []
    for parcel in range(membership.shape[1]):
        on = sources_of(membership, parcel)
        inside = membership[:, [parcel]].toarray()[on, 0]
        flip = np.ones(len(on))
        if method in ("mean_flip", "pca_flip"):
            assert parcels.flips is not None
            flip = parcels.flips[:, [parcel]].toarray()[on, 0]
        if method in ("mean", "mean_flip"):
            weights = flip * inside / inside.sum()
        else:
            assert moments is not None
            covariance = moments.covariance(parcel)
            if method == "pca_flip":
                weights = _pca_flip(covariance, moments.mean[on], inside, flip)
            else:
                weights = _spatial_basis(covariance, inside)
        values.append(weights)
        rows.append(on)
        columns.append(np.full(len(on), parcel))
    entries = (np.concatenate(rows), np.concatenate(columns))
    return csc_array((np.concatenate(values), entries), shape=membership.shape)


def sources_of(membership: csc_array, parcel: int) -> np.ndarray:
    """Find the rows of the sources of a parcel, ascending."""
    start, stop = membership.indptr[parcel : parcel + 2]
    rows = membership.indices[start:stop]
    return np.sort(rows[membership.data[start:stop] != 0])


def _first_component(covariance: np.ndarray) -> tuple[float, np.ndarray]:
    """Find the largest eigenvalue, not below 0, and its eigenvector."""
    last = len(covariance) - 1
    values, vectors = eigh(covariance, subset_by_index=[last, last])
    return max(values[0], 0.0), vectors[:, 0]


def _spatial_basis(covariance: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Weigh by the first component of the weighted sources, with the sources' own size and sign."""
    std = np.sqrt(np.diag(covariance))
    variance, loadings = _first_component(covariance * np.outer(inside, inside))
    if variance == 0:
        return np.zeros(len(inside))
    leading = (inside > 0.5) & (std > 0)
    if not loadings[leading].any():  # where those of high weight have no data, the others lead
        leading = std > 0
    high = loadings[leading]
    size = np.abs(high) @ std[leading] / np.abs(high).sum()
    sign = 1 if high.sum() >= 0 else -1
    return sign * size / np.sqrt(variance) * loadings * inside


def _pca_flip(
    covariance: np.ndarray, mean: np.ndarray, inside: np.ndarray, flip: np.ndarray
) -> np.ndarray:
    """Weigh by the first component as in MNE-Python: about 0, of the sources' root mean square."""
    products = (covariance + np.outer(mean, mean)) * np.outer(inside, inside)
    power, loadings = _first_component(products)
    if power == 0:
        return np.zeros(len(inside))
    size = np.sqrt(np.trace(products) / np.sum(inside**2))
    sign = 1 if loadings @ flip >= 0 else -1
    return sign * size / np.sqrt(power) * loadings * inside
