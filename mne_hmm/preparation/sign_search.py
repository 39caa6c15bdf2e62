"""The arithmetic of sign flips: lagged covariances, how alike they are, and the best signs.

Recordings are compared by the covariance of their embedded channels: every column standardized,
the Pearson correlation of the entries on and above the diagonal ``n_lags``. Those are all lags of
all pairs of different channels, save half of the lags of channels that are neighbors.

A flip changes the sign of all entries of a channel with others, so neither their squares nor their
products with a template need to be summed again. With ``p[i, j]`` the sum of the products of the
entries of channels i and j with the template's (less their mean), ``m[i, j]`` the sum of those
entries, ``a`` the sum of the squares of all M entries and ``b`` that of the template's (less their
mean), the correlation for the signs ``s`` is::

    sum_ij(s_i s_j p_ij) / sqrt(b * (a - sum_ij(s_i s_j m_ij)**2 / M))

so the search works on two matrices of the size of the channels, whatever the number of lags.
Conventions are those of osl-dynamics 3.7.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .embedding import lagged_products

# A start must be better by this much to replace one before it: what is less is rounding.
MIN_GAIN = 1e-10

# Starts of the search for the signs of a recording that is matched to a model's template.
N_TEMPLATE_STARTS = 20


class CovarianceEntries(NamedTuple):
    """Entries of a covariance of embedded channels that are compared."""

    rows: np.ndarray
    columns: np.ndarray
    cells: np.ndarray
    """For each entry its pair of channels, as ``first * n_channels + second``."""
    n_channels: int

    def of(self, covariance: np.ndarray) -> np.ndarray:
        """Take them out of a covariance, shape (n_entries,)."""
        return covariance[self.rows, self.columns]


def entries_between(
    rows: np.ndarray, columns: np.ndarray, n_channels: int, n_lags: int
) -> CovarianceEntries:
    """Entries of different channels, the first above the second."""
    return CovarianceEntries(
        rows, columns, rows // n_lags * n_channels + columns // n_lags, n_channels
    )


def compared_entries(n_channels: int, n_lags: int) -> CovarianceEntries:
    """All entries on and above the diagonal ``n_lags``."""
    rows, columns = np.triu_indices(n_channels * n_lags, k=n_lags)
    return entries_between(rows, columns, n_channels, n_lags)


def lagged_covariance(spans: Sequence[np.ndarray], n_lags: int) -> np.ndarray:
    """Covariance of the embedded channels, every column standardized.

    Shapes: ``spans`` (n_samples, n_channels); returns ``covariance`` (n_channels * n_lags,
    n_channels * n_lags).
    """
    n_samples = sum(len(x) - n_lags + 1 for x in spans)
    # Products of numbers far from 0 would lose digits; columns are centered below anyway.
    center = sum(x.sum(0) for x in spans) / sum(map(len, spans))
    products = np.zeros((spans[0].shape[1] * n_lags,) * 2)
    sums = np.zeros(len(products))
    for x in spans:
        x = x - center
        n_rows = len(x) - n_lags + 1
        products += lagged_products(x, n_lags)
        lags = [x[n_lags - 1 - lag :][:n_rows].sum(0) for lag in range(n_lags)]
        sums += np.stack(lags, axis=1).ravel()
    covariance = products / n_samples - np.outer(sums, sums) / n_samples**2
    spread = np.sqrt(np.diag(covariance))
    return covariance / np.outer(spread, spread) * (n_samples / (n_samples - 1))


def median_recording(values: np.ndarray) -> int:
    """Which recording is in the middle, by how alike it is to all others whatever the signs.

    Shapes: ``values`` (n_recordings, n_entries).
    """
    similarity = np.corrcoef(np.abs(values))
    np.fill_diagonal(similarity, 0)
    return int(np.argsort(similarity.sum(0), kind="stable")[len(values) // 2])


class Similarity:
    """How alike a recording is to a template, for any signs of its channels.

    Shapes: ``values`` (n_entries,), ``template`` (n_entries,).
    """

    def __init__(self, values: np.ndarray, template: np.ndarray, entries: CovarianceEntries):
        centered = template - template.mean()
        self._products = self._by_pair(values * centered / np.linalg.norm(centered), entries)
        self._sums = self._by_pair(values, entries)
        self._squares = float(values @ values)
        self._n_entries = len(values)

    @staticmethod
    def _by_pair(values: np.ndarray, entries: CovarianceEntries) -> np.ndarray:
        """Sum over the lags of each pair of channels: a symmetric matrix, 0 on its diagonal."""
        n = entries.n_channels
        out = np.bincount(entries.cells, values, minlength=n * n).reshape(n, n)
        return out + out.T

    def of(self, flips: np.ndarray) -> np.ndarray:
        """Similarity for signs of the channels.

        Shapes: ``flips`` (..., n_channels); returns ``similarity`` (...).
        """
        products, sums = (
            np.sum(flips * (flips @ matrix), axis=-1) / 2 for matrix in (self._products, self._sums)
        )
        return self._correlation(products, sums)

    def after_each_flip(self, flips: np.ndarray) -> np.ndarray:
        """Similarity if one channel more were flipped, for each channel.

        Shapes: ``flips`` (..., n_channels); returns ``similarity`` (..., n_channels).
        """
        products, sums = (
            np.sum(terms, axis=-1, keepdims=True) / 2 - 2 * terms
            for terms in (flips * (flips @ matrix) for matrix in (self._products, self._sums))
        )
        return self._correlation(products, sums)

    def leading_signs(self) -> np.ndarray:
        """Signs of the leading eigenvector of the products with the template, as a start.

        If channels of the recording are flipped, these flip with them. A search from here so ends
        at the same signals whatever the signs of the recording were.
        """
        vector = np.linalg.eigh(self._products)[1][:, -1]
        return np.where(vector < 0, -1, 1)

    def _correlation(self, products: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """Correlation from the sums of products and of entries under some signs."""
        variation = self._squares - sums**2 / self._n_entries
        # All entries may be alike for some signs, and vary by no more than rounding.
        return products / np.sqrt(np.maximum(variation, 1e-15 * self._squares))


def best_flips(similarity: Similarity, starts: np.ndarray) -> np.ndarray:
    """Search for the signs with the highest similarity.

    From each start, the channel is flipped that brings most, until none brings anything.

    Shapes: ``starts`` (n_starts, n_channels); returns ``flips`` (n_channels,).
    """
    flips = starts.astype(float)
    moving = np.arange(len(flips))
    while len(moving):
        current, after_flip = (
            similarity.of(flips[moving]),
            similarity.after_each_flip(flips[moving]),
        )
        channel = after_flip.argmax(-1)
        gains = after_flip.max(-1) > current + MIN_GAIN
        moving, channel = moving[gains], channel[gains]
        flips[moving, channel] *= -1
    reached = similarity.of(flips)
    best = flips[np.argmax(reached > reached.max() - MIN_GAIN)].astype(int)
    total = best.sum()
    return best * int(np.sign(total) if total else best[0])


def flips_to_template(
    spans: Sequence[np.ndarray], template: np.ndarray, n_lags: int
) -> tuple[np.ndarray, float, float]:
    """Find the signs with which a recording is most similar to a template.

    The result does not depend on the signs the recording has, but for those of all channels
    together.

    Shapes: ``spans`` (n_samples, n_channels), ``template`` (n_channels * n_lags, n_channels
    * n_lags); returns ``flips`` (n_channels,).
    """
    n_channels = spans[0].shape[1]
    entries = compared_entries(n_channels, n_lags)
    values = entries.of(lagged_covariance(spans, n_lags))
    similarity = Similarity(values, entries.of(template.astype(float)), entries)
    starts = starts_of_search(N_TEMPLATE_STARTS, n_channels, np.random.default_rng(0))
    flips = best_flips(similarity, starts * similarity.leading_signs())
    before, after = similarity.of(np.array([np.ones(n_channels), flips]))
    return flips, float(before), float(after)


def starts_of_search(n_starts: int, n_channels: int, rng: np.random.Generator) -> np.ndarray:
    """Signs to start from: as they are, and then at random, shape (n_starts, n_channels)."""
    starts = rng.choice([-1, 1], (n_starts, n_channels))
    starts[0] = 1
    return starts
