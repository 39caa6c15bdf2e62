"""Time-delay embedding and PCA, without ever forming the embedded matrix.

Column ``c * n_lags + j`` of the embedded matrix is channel ``c`` at sample
``t + n_lags - 1 - j`` for row ``t``: channels outside, the latest lag first. Its products
are sums of lagged products of the signals, and its projection on components is a temporal
convolution. Order, centering and signs are those of osl-dynamics 3.7.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .._utils.arrays import row_blocks

# Rows that go through a product at once.
EMBEDDED_BLOCK_LENGTH = 2**14

# Directions with a smaller share of the largest eigenvalue are rounding, not data.
RANK_TOLERANCE = 1e-10


class LaggedMoments(NamedTuple):
    """All that products of embedded signals are made of, in a fraction of their size."""

    latest: np.ndarray
    """Sum of products of the latest lag with each, shape (n_lags, n_channels, n_channels)."""
    heads: np.ndarray
    """First samples of each span, shape (n_spans, n_lags - 1, n_channels)."""
    tails: np.ndarray
    """Last samples of each span, shape (n_spans, n_lags - 1, n_channels)."""

    def mapped(self, mapping: np.ndarray) -> "LaggedMoments":
        """Get the moments of signals that were mapped, without the signals.

        Shapes: ``mapping`` (n_channels, n_channels).
        """
        return LaggedMoments(
            mapping @ self.latest @ mapping.T, self.heads @ mapping.T, self.tails @ mapping.T
        )

    def products(self) -> np.ndarray:
        """Put the products of the embedded matrix with itself together.

        Shapes: returns ``products`` (n_channels * n_lags, n_channels * n_lags).
        """
        n_lags, n_channels = self.latest.shape[:2]
        out = np.zeros((n_lags, n_lags, n_channels, n_channels))
        out[0] = self.latest
        # One lag earlier is one row more at the start and one less at the end.
        for j in range(n_lags - 1):
            for k in range(j, n_lags - 1):
                a, b = n_lags - 2 - j, n_lags - 2 - k
                gained = self.heads[:, a].T @ self.heads[:, b]
                lost = self.tails[:, a].T @ self.tails[:, b]
                out[j + 1, k + 1] = out[j, k] + gained - lost
        for j in range(n_lags):
            for k in range(j):
                out[j, k] = out[k, j].T
        return out.transpose(2, 0, 3, 1).reshape(n_channels * n_lags, n_channels * n_lags)


def lagged_moments(spans: Sequence[np.ndarray], n_lags: int) -> LaggedMoments:
    """Sum what products of the embedded signals are made of.

    Shapes: ``spans`` (n_samples, n_channels).
    """
    n_channels = spans[0].shape[1]
    latest = np.zeros((n_channels, n_lags * n_channels))
    for x in spans:
        for rows in row_blocks(len(x) - n_lags + 1, EMBEDDED_BLOCK_LENGTH):
            block = x[rows.start : rows.stop + n_lags - 1].astype(float, order="C")
            for windows in _phases(block, n_lags):
                latest += windows[:, -n_channels:].T @ windows
    by_lag = latest.reshape(n_channels, n_lags, n_channels)[:, ::-1].transpose(1, 0, 2)
    return LaggedMoments(
        np.ascontiguousarray(by_lag),
        np.array([x[: n_lags - 1] for x in spans], float),
        np.array([x[len(x) - n_lags + 1 :] for x in spans], float),
    )


def lagged_products(x: np.ndarray, n_lags: int) -> np.ndarray:
    """Products of the embedded matrix with itself.

    Shapes: ``x`` (n_samples, n_channels); returns ``products`` (n_channels * n_lags,
    n_channels * n_lags).
    """
    return lagged_moments([x], n_lags).products()


def project(x: np.ndarray, components: np.ndarray, n_lags: int) -> np.ndarray:
    """Project the embedded matrix on components.

    Shapes: ``x`` (n_samples, n_channels), ``components`` (n_channels * n_lags,
    n_components); returns ``projected`` (n_samples - n_lags + 1, n_components).
    """
    n_rows = len(x) - n_lags + 1
    # Within a window the earliest sample comes first.
    kernels = components.reshape(x.shape[1], n_lags, -1)[:, ::-1].transpose(1, 0, 2)
    kernels = np.ascontiguousarray(kernels, np.float32).reshape(len(components), -1)
    out = np.empty((n_rows, components.shape[1]), np.float32)
    for rows in row_blocks(n_rows, EMBEDDED_BLOCK_LENGTH):
        block = np.ascontiguousarray(x[rows.start : rows.stop + n_lags - 1])
        for phase, windows in enumerate(_phases(block, n_lags)):
            out[rows][phase::n_lags] = windows @ kernels
    return out


def _phases(x: np.ndarray, n_lags: int) -> Iterator[np.ndarray]:
    """Yield the windows that begin at every n-th sample, from the first, the second and so on.

    They follow each other in memory, so each of these matrices is a view, and together they are
    the embedded matrix without a copy.
    """
    for phase in range(n_lags):
        n = (len(x) - phase) // n_lags
        yield x[phase : phase + n * n_lags].reshape(n, n_lags * x.shape[1])


def embed(x: np.ndarray, n_lags: int) -> np.ndarray:
    """Form the embedded matrix itself, where there is no projection.

    Shapes: ``x`` (n_samples, n_channels); returns ``embedded`` (n_samples - n_lags + 1,
    n_channels * n_lags).
    """
    windows = np.lib.stride_tricks.sliding_window_view(x, n_lags, axis=0)[:, :, ::-1]
    return np.ascontiguousarray(windows).reshape(len(windows), -1)


def principal_components(products: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal components from a matrix of products, as far as there are any.

    Shapes: ``products`` (n, n); returns ``values`` (rank,), ``vectors`` (n, rank).
    """
    values, vectors = np.linalg.eigh(products)
    rank = int(np.sum(values > RANK_TOLERANCE * values[-1]))
    values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
    lead = vectors[np.abs(vectors).argmax(0), np.arange(rank)]
    return values, vectors * np.sign(lead)
