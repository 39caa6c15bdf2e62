"""Spectra whose coherence is known, pair by pair."""

import mne
import numpy as np

import mne_hmm

FREQS = np.arange(1.0, 45.5, 0.5)


def bump(center, width=2.0):
    """Profile with a peak of 1 at a frequency in hertz."""
    return np.exp(-0.5 * ((FREQS - center) / width) ** 2)


def spectra_of(coherence, *, phase=0.0, psd=1.0, weights=None, recordings=(), freqs=FREQS):
    """Make spectra of coherence, shape (n_states, n_channels, n_channels, n_freqs).

    Only entries above the diagonal are used; ``phase`` in radians is theirs, too.
    """
    n_states, n_channels = coherence.shape[:2]
    upper = np.triu(np.ones((n_channels, n_channels), bool), 1)[:, :, np.newaxis]
    above = np.where(upper, coherence * np.exp(1j * phase), 0)
    csd = above + above.swapaxes(1, 2).conj() + np.eye(n_channels)[:, :, np.newaxis]
    psd = np.broadcast_to(psd, (n_states, n_channels, len(freqs)))
    amplitude = np.sqrt(psd)
    return mne_hmm.StateSpectra(
        freqs,
        csd * amplitude[:, :, np.newaxis] * amplitude[:, np.newaxis],
        mne.create_info(n_channels, 250.0, "misc"),
        tuple(f"state_{state}" for state in range(n_states)),
        np.full(n_states, 60.0) if weights is None else np.array(weights, dtype=float),
        recordings=recordings,
    )


def noise(n_states=2, n_channels=8, seed=0, size=0.02):
    """Coherence that is small and everywhere."""
    shape = (n_states, n_channels, n_channels, len(FREQS))
    return size * np.random.default_rng(seed).random(shape)


# Pairs coherent at 10 Hz in state 0, and at 22 Hz in state 1.
ALPHA_PAIRS = [(0, 1), (0, 5), (2, 7), (3, 4)]
BETA_PAIRS = [(1, 6), (2, 3), (4, 7)]


def two_rhythms():
    """Coherence of two states with a rhythm each, in pairs of their own."""
    coherence = noise()
    for i_pair, (first, second) in enumerate(ALPHA_PAIRS):
        coherence[0, first, second] += (0.4 + 0.05 * i_pair) * bump(10.0)
    for i_pair, (first, second) in enumerate(BETA_PAIRS):
        coherence[1, first, second] += (0.4 + 0.05 * i_pair) * bump(22.0)
    return coherence
