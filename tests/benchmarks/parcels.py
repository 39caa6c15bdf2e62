"""Simulated parcels that the benchmarks share: known networks, and their embedding."""

import numpy as np
from scipy.signal import lfilter

N_CHANNELS, SFREQ, N_LAGS, N_COMPONENTS = 38, 250.0, 15, 80
# What each network oscillates at, in hertz.
FREQUENCIES = (4, 7, 10, 13, 20, 28)
N_SOURCES = 5
# Rows of the embedding that are in memory at a time.
BLOCK = 20_000


def visits(n_samples, n_states, rng):
    """Draw a state time course; visits last 30 samples on average and at least 6.

    Parameters
    ----------
    n_samples : int
        Number of samples.
    n_states : int
        Number of states.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    states : array of int, shape (n_samples,)
        The states.
    """
    leave = np.ones((n_states, n_states))
    np.fill_diagonal(leave, 0)
    leave /= leave.sum(1, keepdims=True)
    states = np.empty(n_samples, int)
    start = state = 0
    while start < n_samples:
        stop = start + 5 + rng.geometric(1 / 25)
        states[start:stop] = state
        start, state = stop, rng.choice(n_states, p=leave[state])
    return states


def parcels(n_samples, seed=0):
    """Simulate parcels in which six oscillating networks take turns over pink noise.

    Parameters
    ----------
    n_samples : int
        Number of samples, at 250 Hz.
    seed : int
        Seed.

    Returns
    -------
    signals : array, shape (n_samples, 38)
        Standardized signals in float32.
    states : array of int, shape (n_samples,)
        Which network is on.
    """
    rng = np.random.default_rng(seed)
    states = visits(n_samples, len(FREQUENCIES), rng)
    x = np.zeros((n_samples, N_CHANNELS), np.float32)
    for network, frequency in enumerate(FREQUENCIES):
        sources = _resonant(rng.standard_normal((n_samples, N_SOURCES)), frequency)
        weights = rng.standard_normal((N_SOURCES, N_CHANNELS))
        weights *= rng.random(weights.shape) < 0.4
        x += (sources * (states == network)[:, None]) @ weights
    pink = lfilter([1], [1, -0.95], rng.standard_normal(x.shape), axis=0)
    mixing = np.eye(N_CHANNELS) + 0.1 * rng.standard_normal((N_CHANNELS, N_CHANNELS))
    x += 0.7 * pink / pink.std(0) @ mixing
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32), states


def _resonant(noise, frequency, radius=0.95):
    angle = 2 * np.pi * frequency / SFREQ
    x = lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], noise, axis=0)
    return x / x.std(0)


def embedded(signals):
    """Embed with 15 lags, project on 80 principal components, standardize.

    Parameters
    ----------
    signals : array, shape (n_samples, 38)
        The parcels.

    Returns
    -------
    features : array, shape (n_samples - 14, 80)
        Features in float32. Row t belongs to sample t + 7.
    """
    windows = np.lib.stride_tricks.sliding_window_view(signals, N_LAGS, axis=0)

    def blocks():
        for start in range(0, len(windows), BLOCK):
            block = windows[start : start + BLOCK]
            yield block.reshape(len(block), -1)

    products = sum(block.T @ block for block in (b.astype(float) for b in blocks()))
    components = np.linalg.eigh(products)[1][:, ::-1][:, :N_COMPONENTS].astype(np.float32)
    y = np.concatenate([block @ components for block in blocks()])
    return ((y - y.mean(0)) / y.std(0)).astype(np.float32)
