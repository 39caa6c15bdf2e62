"""Simulated recordings."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import mne_hmm


def test_what_is_asked_for_comes_out():
    """Channels, length, rate, states, and states that have frequencies of their own."""
    raw, states = mne_hmm.simulate_raw(
        3, n_channels=12, duration=40.0, sfreq=200.0, snr=8.0, random_state=0
    )
    assert (len(raw.ch_names), raw.info["sfreq"], raw.n_times) == (12, 200.0, 8000)
    assert set(raw.get_channel_types()) == {"misc"}
    assert_array_equal(states.labels, states.probabilities.argmax(0))
    assert set(states.labels) == {0, 1, 2}
    data = raw.get_data()
    frequencies = np.fft.rfftfreq(100, 1 / 200.0)
    for state, frequency in enumerate((4.0, 7.0, 10.0)):
        inside = np.convolve(states.labels == state, np.ones(100), mode="valid")
        starts = np.flatnonzero(inside == 100)[::50]
        power = sum((np.abs(np.fft.rfft(data[:, s : s + 100])) ** 2).sum(0) for s in starts)
        peak = frequencies[1:][np.argmax(power[1:])]
        assert abs(peak - frequency) <= 2.0  # windows of half a second tell 2 Hz


def test_lifetimes_and_seeds():
    """Visits last as long as asked, on average; the seed decides all."""
    raw, states = mne_hmm.simulate_raw(
        4, n_channels=4, duration=300.0, mean_lifetime=0.1, random_state=1
    )
    lifetimes = states.statistics().mean_lifetime
    # Some 750 visits a state of 0.1 s, of which half varies: known to 3 %.
    assert np.all(np.abs(lifetimes - 0.1) < 0.01)
    again, _ = mne_hmm.simulate_raw(
        4, n_channels=4, duration=300.0, mean_lifetime=0.1, random_state=1
    )
    other, _ = mne_hmm.simulate_raw(
        4, n_channels=4, duration=300.0, mean_lifetime=0.1, random_state=2
    )
    assert_array_equal(again.get_data(), raw.get_data())
    assert not np.array_equal(other.get_data(), raw.get_data())


def test_shorter_than_a_fade():
    """A recording shorter than networks take to fade in is a recording still."""
    raw, states = mne_hmm.simulate_raw(2, n_channels=3, duration=0.05, random_state=0)
    assert raw.n_times == len(states.labels) == 12
    assert np.isfinite(raw.get_data()).all()


def test_wrong_arguments():
    """Each is named."""
    with pytest.raises(ValueError, match="n_states must be a whole number ≥ 2, got 1"):
        mne_hmm.simulate_raw(1)
    with pytest.raises(ValueError, match="duration must be a number of seconds above 0, got -1"):
        mne_hmm.simulate_raw(2, duration=-1)
    with pytest.raises(ValueError, match="snr must be a number above 0"):
        mne_hmm.simulate_raw(2, snr=0)
