"""When states are visited, for how long and how often."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from mne_hmm.states.visits import compute_statistics, find_visits

NAMES = ("a", "b", "c")
SPREADS = ("mean_lifetime", "std_lifetime", "mean_interval", "std_interval")


def statistics_of(labels, spans=None, sfreq=10.0, n_states=3, **kwargs):
    labels = np.asarray(labels)
    spans = [(0, len(labels))] if spans is None else spans
    names = tuple(f"state_{k}" for k in range(n_states))
    return compute_statistics(labels, spans, sfreq, names, **kwargs)


# Published numbers


@pytest.fixture(scope="module")
def published(reference):
    return reference("statistics")


@pytest.mark.parametrize("recording", [0, 1])
def test_published_statistics(published, recording):
    got = statistics_of(
        published[f"labels_{recording}"],
        sfreq=float(published["sfreq"]),
        n_states=4,
        include_censored=True,
    )
    for name in ("fractional_occupancy", *SPREADS, "switching_rate"):
        expected, value = published[name][recording], getattr(got, name)
        # The reference has 0 where there is nothing to average, and we have NaN.
        undefined = np.isnan(value)
        assert_array_equal(expected[undefined], 0)
        # Means of whole numbers of samples, in another order of operations: 3e-16 were seen.
        assert_allclose(value[~undefined], expected[~undefined], rtol=1e-14, atol=1e-14)
    for name in SPREADS:
        n_undefined = np.isnan(getattr(got, name)).sum()
        assert n_undefined == (0, 2 if "interval" in name else 1)[recording]


# Small examples that can be counted by hand: ten samples are a second.


def test_visits():
    #                  0  1  2  3  4  5  6  7   8  9 10 11 12
    labels = np.array([0, 0, 1, 1, 1, 0, 2, 2, -1, 1, 1, 0, 0])
    visits = find_visits(labels, [(0, 8), (9, 13)])
    assert_array_equal(visits.states, [0, 1, 0, 2, 1, 0])
    assert_array_equal(visits.starts, [0, 2, 5, 6, 9, 11])
    assert_array_equal(visits.stops, [2, 5, 6, 8, 11, 13])
    assert_array_equal(visits.censored, [True, False, False, True, True, True])
    assert_array_equal(visits.spans, [0, 0, 0, 0, 1, 1])


def test_spans_that_touch_are_two_all_the_same():
    labels = np.array([1, 1, 1, 1, 1])
    visits = find_visits(labels, [(0, 2), (2, 5)])
    assert_array_equal(visits.starts, [0, 2])
    assert_array_equal(visits.stops, [2, 5])
    assert visits.censored.all()


def test_statistics_by_hand():
    got = statistics_of([0, 0, 1, 1, 1, 0, 2, 1, 1, 0, 0, 0, 2, 2, 0])
    # State 0 is on at both ends; what is seen of those visits is no lifetime.
    assert_allclose(got.fractional_occupancy, np.array([7, 5, 3]) / 15, rtol=1e-15, atol=0)
    assert_allclose(
        got.mean_lifetime, [(1 + 3) / 20, (3 + 2) / 20, (1 + 2) / 20], rtol=1e-15, atol=0
    )
    assert_allclose(got.mean_interval, [(3 + 3 + 2) / 30, 0.2, 0.5], rtol=1e-14, atol=0)
    # One visit or two, 0.1 s apart from their mean at most; state 0 has gaps of 3, 3 and 2.
    assert_allclose(got.std_lifetime, [0.1, 0.05, 0.05], rtol=1e-14, atol=0)
    assert_allclose(got.std_interval, [np.std([0.3, 0.3, 0.2]), 0, 0], rtol=1e-14, atol=1e-17)
    # The visit that is on at the start does not begin there.
    assert_allclose(got.switching_rate, np.array([3, 2, 2]) / 1.5, rtol=1e-15, atol=0)
    assert_array_equal(got.n_visits, [4, 2, 2])
    assert_array_equal(got.n_censored, [2, 0, 0])


def test_censored_visits_count_if_wanted():
    labels = [0, 0, 1, 1, 1, 0, 2, 1, 1, 0, 0, 0, 2, 2, 0]
    got = statistics_of(labels, include_censored=True)
    assert_allclose(got.mean_lifetime, [(2 + 1 + 3 + 1) / 40, 0.25, 0.15], rtol=1e-14, atol=0)
    without = statistics_of(labels)
    for name in ("fractional_occupancy", "mean_interval", "switching_rate", "n_visits"):
        assert_array_equal(getattr(got, name), getattr(without, name))


def test_nothing_goes_on_from_one_span_to_the_next():
    #         0  1  2  3   4   5  6  7  8  9
    labels = [0, 1, 1, 0, -1, -1, 0, 1, 0, 1]
    got = statistics_of(labels, [(0, 4), (6, 10)], n_states=2)
    # State 0: 0.2 s apart in the first span, 0.1 s in the second, and not 0.2 s between.
    assert_allclose(got.mean_interval, [0.15, 0.1], rtol=1e-14, atol=0)
    assert_allclose(got.mean_lifetime, [0.1, 0.15], rtol=1e-14, atol=0)
    assert_allclose(got.fractional_occupancy, [0.5, 0.5], rtol=1e-15, atol=0)
    assert_allclose(got.switching_rate, [2 / 0.8, 3 / 0.8], rtol=1e-15, atol=0)
    assert_array_equal(got.n_visits, [4, 3])
    assert_array_equal(got.n_censored, [3, 1])


def test_what_is_undefined_is_nan():
    # State 1 is visited once, so has no interval; state 2 never; all of 0 is cut.
    got = statistics_of([0, 0, 1, 0])
    assert_array_equal(np.isnan(got.mean_lifetime), [True, False, True])
    assert_array_equal(np.isnan(got.mean_interval), [False, True, True])
    assert_array_equal(got.fractional_occupancy, [0.75, 0.25, 0])
    assert_array_equal(got.n_visits, [2, 1, 0])


def test_one_state_all_the_time():
    got = statistics_of([1, 1, 1, 1], n_states=2)
    assert np.isnan(got.mean_lifetime).all()
    assert_array_equal(got.switching_rate, [0, 0])
    assert statistics_of([1, 1, 1, 1], n_states=2, include_censored=True).mean_lifetime[1] == 0.4


def test_nothing_modeled():
    got = statistics_of([-1, -1], spans=[])
    for name in ("fractional_occupancy", "mean_lifetime", "mean_interval", "switching_rate"):
        assert_array_equal(getattr(got, name), np.full(3, np.nan))
    assert_array_equal(got.n_visits, [0, 0, 0])


def test_states_are_told_apart_in_any_order():
    labels = np.array([0, 0, 1, 1, 1, 0, 2, 1, 1, 0, 0, 0, 2, 2, 0])
    order = np.array([1, 2, 0])  # state k becomes state order[k]
    got, turned = statistics_of(labels), statistics_of(order[labels])
    for name in ("fractional_occupancy", "mean_lifetime", "mean_interval", "switching_rate"):
        assert_array_equal(getattr(turned, name)[order], getattr(got, name))


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=30), min_size=1, max_size=4))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_visits_add_up(chains):
    labels, spans = [], []
    for chain in chains:
        spans.append((len(labels) + 1, len(labels) + 1 + len(chain)))
        labels += [-1, *chain]
    labels = np.array(labels)
    visits = find_visits(labels, spans)
    again = np.full(len(labels), -1)
    for state, start, stop in zip(*visits[:3], strict=True):
        assert (again[start:stop] == -1).all()
        again[start:stop] = state
    assert_array_equal(again, labels)
    # No visit could be longer: neighbors of one span are in different states.
    same = (np.diff(visits.states) == 0) & (np.diff(visits.spans) == 0)
    assert not same.any()
    got = compute_statistics(labels, spans, 10.0, NAMES, include_censored=True)
    assert_allclose(got.fractional_occupancy.sum(), 1, rtol=1e-14, atol=0)
    seconds = np.nansum(got.mean_lifetime * got.n_visits)
    assert_allclose(seconds, sum(map(len, chains)) / 10, rtol=1e-13, atol=0)


# How they are shown


def test_table():
    pytest.importorskip("pandas")
    got = statistics_of([0, 0, 1, 1, 1, 0, 2, 1, 1, 0])
    table = got.to_data_frame()
    assert list(table["state"]) == ["state_0", "state_1", "state_2"]
    for name in ("fractional_occupancy", "mean_lifetime", "mean_interval", "n_censored"):
        assert_array_equal(table[name].to_numpy(), getattr(got, name))


def test_text():
    lines = str(statistics_of([0, 0, 1, 1, 1, 0, 2, 1, 1, 0])).splitlines()
    assert lines[0].split()[:3] == ["state", "occupancy", "lifetime"]
    assert lines[2].split() == ["state_1", "0.500", "250.0", "200.0", "2.00"]
    assert lines[3].split() == ["state_2", "0.100", "100.0", "nan", "1.00"]
