"""Simulated recordings."""

import hashlib

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm.simulation.presets import PARCELS, PRESETS
from mne_hmm.simulation.state_sequences import (
    jump_matrix,
    markov_labels,
    markov_statistics,
)


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


def test_lifetimes_and_occupancies_of_each_state():
    """States last, and are on, as long as asked."""
    occupancy, lifetimes = np.array([0.55, 0.3, 0.1, 0.05]), np.array([0.5, 0.2, 0.1, 0.3])
    _, states = mne_hmm.simulate_raw(
        n_channels=2,
        occupancy=occupancy,
        mean_lifetime=lifetimes,
        duration=3000.0,
        sfreq=100.0,
        random_state=0,
    )
    statistics = states.statistics()
    # The rarest state has 500 visits, half of a lifetime by chance: known to 2 %, and to 5 % in
    # their number.
    assert_allclose(statistics.mean_lifetime, lifetimes, rtol=0.07)
    assert_allclose(statistics.fractional_occupancy, occupancy, rtol=0.15)
    # Lifetimes alone: all states are entered as often.
    _, states = mne_hmm.simulate_raw(
        n_channels=2, mean_lifetime=[0.2, 0.4], duration=600.0, sfreq=100.0, random_state=0
    )
    assert_allclose(states.statistics().fractional_occupancy, [1 / 3, 2 / 3], rtol=0.1)


def test_jumps_by_linear_algebra():
    """The states of the jumps have the shares of visits that were asked for, and never stay."""
    occupancy, lifetimes = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.3, 0.2, 0.1, 0.1])
    jumps = jump_matrix(occupancy, lifetimes)
    entered = occupancy / lifetimes
    assert_allclose(entered @ jumps, entered, rtol=1e-9)
    assert_allclose(jumps.sum(1), 1, rtol=1e-12)
    assert_array_equal(np.diag(jumps), 0)
    # Equal shares: any of the others.
    assert_allclose(jump_matrix(np.ones(4) / 4, np.ones(4)), (1 - np.eye(4)) / 3, rtol=1e-9)
    # As much as can be: every other visit is to state 0.
    jumps = jump_matrix(np.array([0.5, 0.3, 0.2]), np.ones(3))
    assert_allclose(jumps, [[0, 0.6, 0.4], [1, 0, 0], [1, 0, 0]], atol=1e-3)


CHAIN = np.array([[0.95, 0.04, 0.01], [0.02, 0.9, 0.08], [0.1, 0.05, 0.85]])


def test_transitions():
    """Steps have the probabilities of the matrix."""
    _, states = mne_hmm.simulate_raw(
        n_channels=2, transition_matrix=CHAIN, duration=2000.0, sfreq=50.0, random_state=0
    )
    steps = np.zeros((3, 3))
    np.add.at(steps, (states.labels[:-1], states.labels[1:]), 1)
    # Some 30,000 steps from each state: known to 0.002.
    assert_allclose(steps / steps.sum(1, keepdims=True), CHAIN, atol=0.007)


def test_chains_side_by_side():
    """Counts of many chains are those of samples drawn one by one."""
    n_times, n_chains = 80, 8000
    counts = markov_statistics(CHAIN, n_times, n_chains, np.random.default_rng(0))
    assert_array_equal(counts.occupied.sum(1), n_times)
    rng = np.random.default_rng(1)
    several = [markov_labels(CHAIN, n_times, rng) for _ in range(1500)]
    names = ("a", "b", "c")
    expected = [
        mne_hmm.states.visits.compute_statistics(labels, [(0, n_times)], 1.0, names)
        for labels in several
    ]
    whole = np.array([statistics.n_visits - statistics.n_censored for statistics in expected])
    # So short that visits which are cut off count: a third of all. Means over 8000 and 1500
    # chains; the standard error of the latter is some 3 to 4 %.
    occupancy = np.mean([statistics.fractional_occupancy for statistics in expected], axis=0)
    assert_allclose(counts.occupied.mean(0) / n_times, occupancy, rtol=0.12)
    assert_allclose(counts.n_whole.mean(0), whole.mean(0), rtol=0.12)
    lifetimes = [
        np.nansum(statistics.mean_lifetime * w)
        for statistics, w in zip(expected, whole, strict=True)
    ]
    assert counts.whole_samples.sum() / n_chains == pytest.approx(np.mean(lifetimes), rel=0.1)
    # In the long run: what the stationary distribution says.
    stationary = np.linalg.matrix_power(CHAIN, 1000)[0]
    assert_allclose(counts.occupied.mean(0) / n_times, stationary, rtol=0.05)


def test_a_state_that_is_never_left():
    labels = markov_labels(np.array([[1.0, 0.0], [0.5, 0.5]]), 50, np.random.default_rng(0))
    assert_array_equal(labels, 0)
    counts = markov_statistics(np.eye(2), 50, 8, np.random.default_rng(0))
    assert_array_equal(np.sort(counts.occupied, axis=1), [[0, 50]] * 8)
    assert not counts.n_whole.any()


def test_frequencies_and_patterns():
    """Each state oscillates where and how fast it was asked to."""
    patterns = np.array([[1.0, 1.0, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 0]])
    raw, states = mne_hmm.simulate_raw(
        frequencies=[9.0, 21.0, 5.0],
        patterns=patterns,
        mean_lifetime=1.0,
        snr=50.0,
        duration=200.0,
        sfreq=100.0,
        random_state=0,
    )
    data = raw.get_data()
    inside = [np.convolve(states.labels == k, np.ones(60), mode="same") == 60 for k in range(3)]
    variance = np.array([data[:, rows].var(axis=1) for rows in inside])
    shares = variance / variance.sum(axis=0)
    # Snr is high, and noise the same in all.
    assert (shares[0, :2] > 0.8).all()
    assert shares[1, 2] > 0.8
    assert variance[1, 2] / variance[0, 0] == pytest.approx(4, rel=0.35)  # of few cycles
    for state, channel, frequency in ((0, 0, 9.0), (1, 2, 21.0)):
        power, freqs = mne.time_frequency.psd_array_welch(
            data[channel] * inside[state], 100.0, fmin=2.0, n_fft=200, verbose="ERROR"
        )
        assert abs(freqs[power.argmax()] - frequency) <= 1.0
    three = mne_hmm.simulate_raw(patterns=np.ones((2, 3, 5)), duration=5.0, random_state=0)[0]
    assert len(three.ch_names) == 5


@pytest.mark.parametrize("preset", list(PRESETS))
def test_presets(preset):
    """Names, channels, shares of time and places are those that are documented."""
    chosen = PRESETS[preset]
    raw, states = mne_hmm.simulate_raw(preset=preset, duration=240.0, random_state=0)
    assert states.state_names == tuple(network.name for network in chosen.networks)
    assert tuple(raw.ch_names) == chosen.channels
    assert sum(network.occupancy for network in chosen.networks) == pytest.approx(1)
    statistics = states.statistics()
    # Some 100 visits and more to each.
    assert_allclose(statistics.mean_lifetime, [n.mean_lifetime for n in chosen.networks], rtol=0.2)
    assert_allclose(
        statistics.fractional_occupancy, [n.occupancy for n in chosen.networks], rtol=0.35
    )
    assert f'"{preset}"' in mne_hmm.simulate_raw.__doc__
    assert raw.get_data().std() == pytest.approx(chosen.scale)


def test_places_of_presets():
    """Alpha of the EEG is strongest at the back, visual states of MEG in visual parcels."""
    raw, states = mne_hmm.simulate_raw(
        preset="resting-eeg", duration=120.0, snr=5.0, random_state=0
    )
    assert set(raw.get_channel_types()) == {"eeg"}
    assert raw.info.get_montage() is not None
    on = states.labels == states.state_names.index("posterior_alpha")
    ratio = raw.get_data()[:, on].var(1) / raw.get_data()[:, ~on].var(1)
    assert set(np.array(raw.ch_names)[ratio.argsort()[-4:]]) <= {
        "O1", "Oz", "O2", "PO9", "PO10", "Pz", "P3", "P4"
    }  # fmt: skip
    assert len(PARCELS) == len(set(PARCELS)) == 68
    for preset in ("resting-meg", "sensorimotor-meg"):
        networks = PRESETS[preset].networks
        for network, pattern in zip(networks, PRESETS[preset].patterns(networks), strict=True):
            inside = np.array(PARCELS)[pattern.any(axis=0)]
            expected = [
                p for p in PARCELS if {p, p.removesuffix("-lh"), p.removesuffix("-rh")}
                & set(network.members)
            ]  # fmt: skip
            assert inside.tolist() == expected


def test_parcels_are_those_of_the_atlas(test_data):
    """Names are those that MNE-Python gives the labels of aparc, in its order."""
    labels = mne.read_labels_from_annot(
        "fsaverage5", "aparc", subjects_dir=test_data / "subjects", verbose="ERROR"
    )
    assert [label.name for label in labels if "unknown" not in label.name] == list(PARCELS)


def test_presets_can_be_changed():
    """Lifetimes, transitions and rates of a preset are for the user to choose."""
    raw, states = mne_hmm.simulate_raw(
        preset="resting-eeg", sfreq=100.0, mean_lifetime=0.5, duration=400.0, random_state=0
    )
    assert raw.info["sfreq"] == 100.0
    assert_allclose(states.statistics().mean_lifetime, 0.5, rtol=0.2)
    stay = np.full((5, 5), 0.01) + 0.95 * np.eye(5)
    _, states = mne_hmm.simulate_raw(
        preset="resting-eeg", transition_matrix=stay, sfreq=100.0, duration=300.0, random_state=0
    )
    assert_allclose(states.statistics().mean_lifetime, 0.25, rtol=0.2)


def test_defaults_have_not_changed():
    """What was simulated before comes out again, to the bit of the states."""
    _, states = mne_hmm.simulate_raw(3, n_channels=2, duration=20.0, random_state=0)
    digest = hashlib.sha256(states.labels.astype("<i4").tobytes()).hexdigest()
    assert digest[:16] == "d14f76c0c07f1fc3"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"occupancy": [0.8, 0.1, 0.1]}, "state 0 would be entered more .* at least 0.8 s"),
        ({"occupancy": [0.5, 0.5], "mean_lifetime": [0.2, 0.3]}, "make its mean_lifetime 0.3 s"),
        ({"occupancy": [0.5, 0.6]}, "occupancy must hold a share .* which sum to 1, got 0.5, 0.6"),
        ({"n_states": 3, "frequencies": [4, 5]}, "n_states for 3, frequencies for 2; make them"),
        ({"frequencies": [4.0]}, "frequencies must be for 2 states or more, got 1 state"),
        ({"frequencies": [4, 130]}, r"below half the sampling rate \(125 Hz\), got 4.0, 130.0"),
        ({"patterns": np.zeros((2, 4))}, "patterns must be of shape .* and not all 0"),
        ({"patterns": np.ones((2, 4)), "n_channels": 5}, "n_channels=5, but patterns have 4 chan"),
        ({"mean_lifetime": [0.1, -0.1]}, "mean_lifetime must be seconds above 0, or a number"),
        ({"transition_matrix": np.ones((2, 2))}, r"probabilities that sum to 1 per row, got sh"),
        ({"transition_matrix": np.eye(2), "occupancy": [0.5, 0.5]}, "occupancy cannot be given"),
        ({"occupancy": "half"}, "occupancy must hold finite numbers, .* got 'half'"),
        ({"preset": "rest"}, "preset must be one of 'resting-meg', .*, got 'rest'"),
        ({"preset": "resting-eeg", "n_states": 5}, "n_states cannot be given with preset="),
        ({"preset": "resting-eeg", "occupancy": [0.5, 0.5]}, "preset for 5, occupancy for 2"),
    ],
)
def test_what_does_not_go_together(arguments, message):
    """Each is named, with the way out."""
    with pytest.raises(ValueError, match=message):
        mne_hmm.simulate_raw(**{"duration": 5.0, **arguments})


def test_wrong_arguments():
    """Each is named."""
    with pytest.raises(ValueError, match="n_states must be a whole number ≥ 2, got 1"):
        mne_hmm.simulate_raw(1)
    with pytest.raises(ValueError, match="duration must be a number of seconds above 0, got -1"):
        mne_hmm.simulate_raw(2, duration=-1)
    with pytest.raises(ValueError, match="snr must be a number above 0"):
        mne_hmm.simulate_raw(2, snr=0)
