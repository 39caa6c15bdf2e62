"""Signals of a model."""

import numpy as np
import pytest

import mne_hmm
from mne_hmm.simulation.autoregression import (
    Autoregression,
    autocovariances,
    fit_autoregression,
    simulate_switching,
)


def companion_radius(model):
    """Radius of the slowest mode of an autoregression."""
    order, n = model.coefficients.shape[:2]
    companion = np.eye(order * n, k=-n)
    companion[:n] = np.concatenate(model.coefficients, axis=1)
    return np.abs(np.linalg.eigvals(companion)).max()


def some_autoregression(rng, order=3, n=2):
    coefficients = 0.2 * rng.standard_normal((order, n, n))
    factor = np.tril(rng.standard_normal((n, n))) + 2 * np.eye(n)
    return Autoregression(coefficients, factor)


def test_blocks_are_as_sample_after_sample():
    """Signals are those of the recursion itself, for visits shorter and longer than a block."""
    rng = np.random.default_rng(0)
    states = [some_autoregression(rng) for _ in range(3)]
    labels = np.repeat([0, 1, 2, 0, 2, 1], [7, 1, 3, 2, 11, 4])
    signals = simulate_switching(states, labels, np.random.default_rng(1))
    noise = np.random.default_rng(1).standard_normal((len(labels), 2))
    expected = np.zeros((3 + len(labels), 2))
    for t, label in enumerate(labels):
        coefficients, factor = states[label]
        expected[t + 3] = factor @ noise[t]
        for lag in range(3):
            expected[t + 3] += coefficients[lag] @ expected[t + 2 - lag]
    np.testing.assert_allclose(signals, expected[3:], rtol=1e-12, atol=1e-12)


def test_the_autoregression_has_the_covariances(monkeypatch):
    """That of a known process is found again from its covariances."""
    monkeypatch.setattr("mne_hmm.simulation.autoregression.RIDGE", 0.0)
    rng = np.random.default_rng(2)
    true = some_autoregression(rng)
    order, n = true.coefficients.shape[:2]
    # The state-space form gives the covariances by summing up responses.
    companion = np.eye(order * n, k=-n)
    companion[:n] = np.concatenate(true.coefficients, axis=1)
    drive = np.zeros((order * n, n))
    drive[:n] = true.factor
    stationary, power = np.zeros((order * n,) * 2), np.eye(order * n)
    for _ in range(2000):
        stationary += power @ drive @ drive.T @ power.T
        power = companion @ power
    covariances = [stationary[:n, lag * n : (lag + 1) * n] for lag in range(order)]
    covariances.append((companion @ stationary[:, -n:])[:n])
    estimate = fit_autoregression(np.array(covariances))
    np.testing.assert_allclose(estimate.coefficients, true.coefficients, atol=1e-8)
    np.testing.assert_allclose(estimate.factor, true.factor, atol=1e-8)


def test_every_state_is_stable(fitted):
    """No state runs away, however long it is on."""
    for autocovariance in autocovariances(fitted):
        assert companion_radius(fit_autoregression(autocovariance)) < 1


def test_covariances_of_the_signals(fitted):
    """Signals have the covariances over lags that the model has for its states."""
    hmm = fitted.copy()
    hmm.transition_matrix_ = np.full((3, 3), 0.0005) + 0.9985 * np.eye(3)  # visits of 4 s
    raw, states = mne_hmm.simulate_raw(model=hmm, duration=600.0, random_state=0)
    assert raw.info["sfreq"] == 250
    assert tuple(raw.ch_names) == hmm.preparation_.ch_names_
    x = raw.get_data()
    for state, wanted in enumerate(autocovariances(hmm)):
        on = np.flatnonzero(states.labels[14:] == state) + 14
        for lag in (0, 1, 5):
            covariance = x[:, on] @ x[:, on - lag].T / len(on)
            expected = wanted[lag] + (lag == 0) * 0.01 * np.trace(wanted[0]) / 8 * np.eye(8)
            # Some 150 s for each state, of signals that are alike for a tenth of a second.
            np.testing.assert_allclose(covariance, expected, atol=0.15 * np.trace(wanted[0]) / 8)


def test_same_seed(fitted):
    """The same seed gives the same signals, another seed others."""
    first, second, other = (
        mne_hmm.simulate_raw(model=fitted, duration=2.0, random_state=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first[0].get_data(), second[0].get_data())
    np.testing.assert_array_equal(first[1].labels, second[1].labels)
    assert not np.array_equal(first[0].get_data(), other[0].get_data())
    assert first[1].state_names == fitted.state_names
    assert first[0].n_times == 500


def test_states_are_the_models(fitted):
    """The model finds its own states in what it makes."""
    raw, states = mne_hmm.simulate_raw(model=fitted, duration=60.0, random_state=0)
    decoded = fitted.predict(raw).labels
    assert np.mean(decoded[7:-7] == states.labels[7:-7]) > 0.8


def test_errors(fitted):
    """What a model has is not given again, and not every model will do."""
    with pytest.raises(ValueError, match=r"n_channels cannot be given with model"):
        mne_hmm.simulate_raw(model=fitted, n_channels=8)
    with pytest.raises(ValueError, match=r"sfreq, snr cannot"):
        mne_hmm.simulate_raw(model=fitted, sfreq=250.0, snr=1.0)
    with pytest.raises(ValueError, match=r"preset, occupancy cannot be given with model"):
        mne_hmm.simulate_raw(model=fitted, preset="resting-eeg", occupancy=[0.5, 0.5])
    with pytest.raises(TypeError, match="model must be an HMM or None, got str"):
        mne_hmm.simulate_raw(model="model.h5")
    with_means = fitted.copy()
    with_means.means_ = with_means.means_ + 1
    with pytest.raises(ValueError, match="without means"):
        mne_hmm.simulate_raw(model=with_means)
