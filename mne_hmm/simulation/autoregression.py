"""Signals of a model of embedded data: a vector autoregression that switches with the states.

The covariances of a state over lags tell an autoregression by the block Yule-Walker equations: one
that is driven by noise and has these covariances. When the state changes its coefficients do, and
the signals go on from where they are.

Signals are made in blocks of a few samples of one state. In a block they are linear in the
samples before it and in its noise::

    [x_1 ... x_B] = F_k [samples before] + G_k [e_1 ... e_B]

With ``F_k`` and ``G_k`` of each state made once, ``G_k`` is applied to the noise of all blocks
together, and ``F_k`` to one block after another.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import cholesky, solve

from .._utils.typing import GaussianHMM
from ..preparation.patterns import embedded_covariances, input_patterns, spatial_patterns

# Noise that is added to each signal, as a share of the mean variance: what the components leave
# out has none, and the equations would have no unique solution.
RIDGE = 0.01
# Seconds that are made first and thrown away, after which signals do not remember how they began.
BURN_IN = 2.0


class Autoregression(NamedTuple):
    """The dynamics of one state: ``x_t = sum_l coefficients[l] x_(t - l - 1) + factor e_t``."""

    coefficients: np.ndarray
    """Shape (order, n_signals, n_signals)."""
    factor: np.ndarray
    """Cholesky factor of the covariance of the noise, shape (n_signals, n_signals)."""


def simulate_channels(
    hmm: GaussianHMM, n_times: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Simulate signals of a model's channels, and the states they were made with.

    Shapes: returns ``signals`` (n_times, n_channels), ``labels`` (n_times,).
    """
    from ..engine import sample_states

    preparation = hmm.preparation_
    if preparation.n_embeddings == 1 or preparation.envelope or hmm.means_.any():
        raise ValueError(
            "model must be of time-delay embedded signals and without means, such as fit_hmm makes "
            "by default; of features of any model, hmm.sample(n_samples) draws samples"
        )
    autoregressions = [fit_autoregression(of_state) for of_state in autocovariances(hmm)]
    n_before = round(BURN_IN * preparation.sfreq_)
    labels = sample_states(n_before + n_times, hmm.initial_probs_, hmm.transition_matrix_, rng)
    signals = simulate_switching(autoregressions, labels, rng)[n_before:]
    if preparation.spatial_components_ is not None:
        signals = signals @ spatial_patterns(preparation).T
    return signals, labels[n_before:]


def autocovariances(hmm: GaussianHMM) -> np.ndarray:
    """Get covariances over lags of what a model embeds.

    Shapes: returns ``autocovariances`` (n_states, n_lags, n_signals, n_signals).
    """
    preparation = hmm.preparation_
    n_lags, n = preparation.n_embeddings, preparation.n_inputs_
    patterns = input_patterns(preparation)
    out = np.empty((hmm.n_states, n_lags, n, n))
    for state, covariance in enumerate(hmm.covariances_):
        blocks = embedded_covariances(covariance, patterns).reshape(n, n_lags, n, n_lags)
        for lag in range(n_lags):
            # Column j of a channel is a sample later than its column j + 1.
            out[state, lag] = np.diagonal(blocks, lag, axis1=1, axis2=3).sum(axis=-1) / n_lags
    return out


def fit_autoregression(autocovariance: np.ndarray) -> Autoregression:
    """Find the autoregression that has given covariances.

    Shapes: ``autocovariance`` (n_lags, n_signals, n_signals).
    """
    n_signals = autocovariance.shape[1]
    noisy = autocovariance.copy()
    noisy[0] += RIDGE * np.trace(noisy[0]) / n_signals * np.eye(n_signals)
    past = _block_toeplitz(noisy[:-1])
    with_past = np.concatenate(noisy[1:], axis=1)
    coefficients = solve(past, with_past.T, assume_a="pos").T
    noise = noisy[0] - coefficients @ with_past.T
    factor = cholesky((noise + noise.T) / 2, lower=True)
    by_lag = coefficients.reshape(n_signals, -1, n_signals).swapaxes(0, 1)
    return Autoregression(np.ascontiguousarray(by_lag), factor)


def _block_toeplitz(autocovariance: np.ndarray) -> np.ndarray:
    """Covariance of successive samples, the latest first."""
    n_lags, n = autocovariance.shape[:2]
    out = np.empty((n_lags, n, n_lags, n))
    for i in range(n_lags):
        for j in range(n_lags):
            out[i, :, j] = autocovariance[j - i] if j >= i else autocovariance[i - j].T
    return out.reshape(n_lags * n, n_lags * n)


def simulate_switching(
    autoregressions: Sequence[Autoregression], labels: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Simulate signals that switch with states, from silence on.

    Shapes: ``labels`` (n_times,); returns ``signals`` (n_times, n_signals).
    """
    order, n = autoregressions[0].coefficients.shape[:2]
    noise = rng.standard_normal((len(labels), n))
    starts, states = _blocks(labels, order)
    stops = np.append(starts[1:], len(labels))
    from_past, from_noise = zip(*map(_block_response, autoregressions), strict=True)
    signals = np.zeros((order + len(labels), n))
    driven = signals[order:]
    for state in np.unique(states):
        for length in np.unique((stops - starts)[states == state]):
            chosen = starts[(states == state) & (stops - starts == length)]
            rows = chosen[:, np.newaxis] + np.arange(length)
            size = length * n
            made = noise[rows].reshape(len(chosen), size) @ from_noise[state][:size, :size].T
            driven[rows] = made.reshape(len(chosen), length, n)
    for start, stop, state in zip(starts.tolist(), stops.tolist(), states.tolist(), strict=True):
        past = signals[start : start + order].ravel()
        size = (stop - start) * n
        driven[start:stop] += (from_past[state][:size] @ past).reshape(stop - start, n)
    return driven


def _blocks(labels: np.ndarray, max_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut into blocks of one state and at most ``max_length`` samples: their starts and states."""
    changes = np.flatnonzero(np.diff(labels)) + 1
    begins = np.concatenate([[0], changes])
    lengths = np.diff(np.append(begins, len(labels)))
    n_blocks = -(-lengths // max_length)
    first = np.repeat(np.cumsum(n_blocks) - n_blocks, n_blocks)
    starts = np.repeat(begins, n_blocks) + max_length * (np.arange(n_blocks.sum()) - first)
    return starts, labels[starts]


def _block_response(autoregression: Autoregression) -> tuple[np.ndarray, np.ndarray]:
    """How a block depends on the samples before it, the earliest first, and on its noise."""
    coefficients, factor = autoregression
    order, n = coefficients.shape[:2]
    # Rows: samples of the block. Columns: samples before it, then noise of the block.
    past = np.zeros((order, n, order, n))
    noise = np.zeros((order, n, order, n))
    for row in range(order):
        noise[row, :, row] = factor
        for lag in range(order):
            source = row - lag - 1
            if source >= 0:
                past[row] += np.tensordot(coefficients[lag], past[source], 1)
                noise[row] += np.tensordot(coefficients[lag], noise[source], 1)
            else:
                past[row, :, source] += coefficients[lag]
    return past.reshape(order * n, order * n), noise.reshape(order * n, order * n)
