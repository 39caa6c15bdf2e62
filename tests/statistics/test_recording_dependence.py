"""Are states recordings: the share that recording explains, and what is told of it."""

import numpy as np
import pytest
from helpers import states_of
from numpy.testing import assert_allclose

import mne_hmm
from mne_hmm.report import find_cautions
from mne_hmm.statistics.recording_dependence import count_blocks, dependence_of


def visits(rng, occupancy, n_times=6000, lifetime=20):
    """Draw a state for one visit after another."""
    n_visits = n_times // lifetime
    return np.repeat(rng.choice(len(occupancy), n_visits, p=occupancy), lifetime)


def dependence(labels, n_states):
    """Put labels of recordings together."""
    counts = [count_blocks(np.asarray(sequence), n_states) for sequence in labels]
    names = [f"state_{k}" for k in range(n_states)]
    return dependence_of(counts, names, range(len(labels)))


def test_no_more_than_chance_where_recordings_do_not_differ():
    """On average nothing is left, where without a correction for chance something would be."""
    rng = np.random.default_rng(0)
    occupancy = np.array([0.4, 0.3, 0.2, 0.1])
    shares, uncorrected = [], []
    for _ in range(50):
        labels = [visits(rng, occupancy, 2000) for _ in range(8)]
        estimate = dependence(labels, 4)
        shares.append(estimate.explained)
        between = estimate.occupancy.var(axis=0).sum()
        uncorrected.append(between / (np.square(estimate.occupancy).sum(axis=1).mean() * 7 / 8))
    # Cut at 0 it is a little above it on average.
    assert np.mean(shares) < 0.01
    assert np.mean(uncorrected) > 0.015
    assert max(shares) < 0.05


@pytest.mark.parametrize("n_own", [1, 2, 3])
def test_all_where_each_recording_has_states_of_its_own(n_own):
    """However many, and however fast they change."""
    rng = np.random.default_rng(1)
    probabilities = np.full(n_own, 1 / n_own)
    labels = [
        i_recording * n_own + visits(rng, probabilities, lifetime=5) for i_recording in range(4)
    ]
    assert_allclose(dependence(labels, 4 * n_own).explained, 1, rtol=0, atol=1e-12)


def test_all_where_each_recording_has_one_state():
    """Also where there are fewer states than recordings, and recordings are not equally long."""
    labels = [
        np.full(length, k) for length, k in zip((100, 900, 400, 50), (0, 1, 0, 2), strict=True)
    ]
    assert_allclose(dependence(labels, 3).explained, 1, rtol=0, atol=1e-12)


def test_in_between_it_is_what_the_definition_says():
    """Two recordings that differ, in so many samples that chance is nothing."""
    rng = np.random.default_rng(2)
    first, other = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])
    labels = [visits(rng, p, 400_000, 5) for p in (first, other)]
    between = np.square(first - other).sum() / 4
    largest = min(
        (np.square(first).sum() + np.square(other).sum()) / 4,
        1 - np.square((first + other) / 2).sum(),
    )
    assert_allclose(dependence(labels, 3).explained, between / largest, rtol=0.05)
    # The more they differ, the more it is.
    shares = []
    for part in (0.0, 0.2, 0.5, 0.8, 1.0):
        pair = [(1 - part) * 0.5 * np.ones(4) + part * p for p in np.eye(2).repeat(2, axis=1)]
        pair = [p / p.sum() for p in pair]
        shares.append(dependence([visits(rng, p, 40_000, 5) for p in pair], 4).explained)
    assert (np.diff(shares) > 0.01).all()


def test_longer_recordings_count_more():
    """By hand: recordings of 400 and 1200 samples whose blocks are all alike, so without chance."""
    labels = np.tile([0, 0, 0, 1], 100), np.tile([0, 1, 1, 1], 300)
    estimate = dependence(labels, 2)
    # Overall 3 of 8 samples are in the first state. Between recordings the variance is
    # 1/4 * 2 * (3/8)^2 + 3/4 * 2 * (1/8)^2, and at most 2 * 3/16 * (9/16 + 1/16).
    assert_allclose(estimate.explained, (3 / 32) / (15 / 64), rtol=1e-12)


def test_chance_is_taken_off_once():
    """Short recordings that do differ have on average the share that long ones have."""
    rng = np.random.default_rng(4)
    kinds = np.array([0.5, 0.3, 0.2]), np.array([0.35, 0.3, 0.35])
    truth = dependence([visits(rng, p, 400_000, 5) for p in kinds * 4], 3).explained
    shares = [
        dependence([visits(rng, p, 2000) for p in kinds * 4], 3).explained for _ in range(200)
    ]
    # Its standard error is some 3 % of it; with chance left in it would be half as much again.
    assert_allclose(np.mean(shares), truth, rtol=0.12)


def test_it_does_not_depend_on_how_fast_states_change():
    """As the variance of occupancies in windows would."""
    rng = np.random.default_rng(3)
    pair = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])
    fast, slow = (
        dependence([visits(rng, p, 200_000, lifetime) for p in pair], 3).explained
        for lifetime in (2, 50)
    )
    assert_allclose(fast, slow, rtol=0, atol=0.03)


def test_where_states_live():
    """In one recording: by more than 90 %, and by more than twice what would be expected."""
    labels = [[0] * 91 + [1] * 100, [0] * 9 + [1] * 100, [1] * 100, [2] * 0 + [1] * 50]
    estimate = dependence(labels, 3)
    assert estimate.in_one == {"state_0": "0"}
    assert_allclose(estimate.shares[:, 0], [0.91, 0.09, 0, 0])
    assert np.isnan(estimate.shares[:, 2]).all()
    assert estimate.are_recordings
    assert "state_0 has 91 % of its samples in 0" in estimate.advice(None)
    assert "state_0 lives in 0" in str(estimate)
    # With 90 % to the digit it is not so, nor where the recording has most of all data.
    labels[0][0], labels[1][-1] = 1, 0
    assert dependence(labels, 3).in_one == {}
    assert dependence([[0] * 91 + [1] * 900, [0] * 9 + [1] * 100], 2).in_one == {}
    # Two conditions are no group.
    assert not dependence([[0] * 100, [1] * 100], 2).are_recordings
    # One recording is none of several.
    single = dependence([[0] * 100], 1)
    assert np.isnan(single.explained)
    assert single.in_one == {}
    assert "unknown of the variance" in str(single)


def test_one_state_for_all_explains_nothing():
    """There is no variance to explain."""
    assert dependence([[0] * 10, [0] * 30], 1).explained == 0
    assert dependence([[0, 1], [1, 0], [0]], 2).explained == pytest.approx(0, abs=0.5)


def test_remedies_differ():
    """Where recordings are aligned already, it is something else."""
    estimate = dependence([[0] * 100, [1] * 100, [2] * 100], 3)
    assert 'Preparation(align="euclidean")' in estimate.advice(None)
    assert 'Preparation(align="euclidean")' in estimate.advice("signs")
    assert "aligned already" in estimate.advice("riemannian")
    assert "100 % of the variance of state occupancy is explained by recording" in estimate.advice(
        None
    )


def test_states_and_tables():
    """Of states of recordings; what was not modeled does not count."""
    courses = [states_of([0] * 50 + [-1] * 100, 2), states_of([1] * 50, 2), states_of([1] * 50, 2)]
    estimate = mne_hmm.compute_recording_dependence(courses, names=["a", "b", "c"])
    assert estimate.explained == 1
    assert estimate.n_samples.tolist() == [50, 50, 50]
    table = estimate.to_data_frame()
    assert table.shape == (6, 4)
    assert table.query("recording == 'a' and state == 'state_0'").share.item() == 1
    with pytest.raises(ValueError, match="one entry for each of 3 recordings, got 2"):
        mne_hmm.compute_recording_dependence(courses, names=["a", "b"])
    with pytest.raises(ValueError, match="recording 1 have no modeled sample; leave"):
        mne_hmm.compute_recording_dependence([courses[0], states_of([-1] * 9, 2)])


def test_cautions_have_the_remedy(fitted):
    """After the states that live in one recording."""
    courses = [states_of([k] * 300 + [(k + 1) % 3] * 2, 3) for k in range(3)]
    *lives, last = find_cautions(fitted, courses, names=["a", "b", "c"])
    assert [line.split()[0] for line in lives] == ["state_0", "state_1", "state_2"]
    assert last.startswith("States may be recordings: 99 % of the variance")
    assert 'Preparation(align="euclidean")' in last
