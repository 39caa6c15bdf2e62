"""State-evoked responses, and their cluster permutation tests."""

import dataclasses

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse, stats

import mne_hmm
from mne_hmm import StateTimeCourse
from mne_hmm.io.timeline import Timeline
from mne_hmm.statistics.clusters import find_clusters, largest_masses
from mne_hmm.statistics.trials import FreeOnsets

SFREQ = 50.0
FIRST_SAMP = 321
N_TIMES = 3000


def random_states(seed, n_times=N_TIMES, n_states=3, spans=None, first_samp=FIRST_SAMP):
    """States that come and go, with probabilities between 0 and 1."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((n_states, n_times + 20))
    kernel = np.hanning(20)[None]
    logits = np.array([np.convolve(row, kernel[0], "same") for row in logits])[:, 10:-10]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=0)
    labels = probabilities.argmax(axis=0)
    spans = [(0, n_times)] if spans is None else spans
    modeled = np.zeros(n_times, bool)
    for start, stop in spans:
        modeled[start:stop] = True
    probabilities[:, ~modeled] = np.nan
    labels[~modeled] = -1
    names = tuple(f"state_{k}" for k in range(n_states))
    return StateTimeCourse(
        probabilities, labels, Timeline(SFREQ, n_times, first_samp), spans, names
    )


def events_at(samples, codes=1):
    samples = np.asarray(samples, int)
    return np.c_[samples + FIRST_SAMP, np.zeros_like(samples), codes * np.ones_like(samples)]


def random_events(rng, n_events=30, n_codes=2):
    """Events in order of time, each as often as the others."""
    samples = np.sort(rng.choice(np.arange(50, N_TIMES - 70), n_events, replace=False))
    return events_at(samples, 1 + rng.permutation(np.arange(n_events) % n_codes))


@pytest.fixture(scope="module")
def states():
    return random_states(0, spans=[(7, 1200), (1300, 2993)])


@pytest.fixture(scope="module")
def events():
    return random_events(np.random.default_rng(1))


IDS = {"left": 1, "right": 2}


def mne_epochs(states, events, event_id=IDS, baseline=(None, 0), tmin=-0.5, tmax=1.0):
    """What MNE-Python cuts out of the states; it takes no baseline off misc channels."""
    raw = states.to_raw()
    epochs = mne.Epochs(
        raw,
        events,
        event_id,
        tmin,
        tmax,
        baseline=None,
        picks="misc",
        preload=True,
        verbose="ERROR",
    )
    data = epochs.get_data()
    if baseline is not None:
        mne.baseline.rescale(data, epochs.times, baseline, copy=False, verbose="ERROR")
    return epochs, data


# Responses


@pytest.mark.parametrize("baseline", [(None, 0), (-0.3, -0.1), (0.2, None), None])
def test_responses_are_those_of_mne(states, events, baseline):
    got = mne_hmm.compute_state_evoked(states, events, IDS, baseline=baseline)
    epochs, data = mne_epochs(states, events, baseline=baseline)
    assert list(got) == ["left", "right"]
    assert len(epochs) < len(events)  # some are cut by the gap
    for name, evoked in got.items():
        inside = epochs.events[:, 2] == IDS[name]
        assert evoked.nave == inside.sum()
        assert evoked.comment == name
        assert evoked.ch_names == list(states.state_names)
        assert set(evoked.get_channel_types()) == {"misc"}
        assert_array_equal(evoked.times, epochs.times)
        # Another order of sums.
        assert_allclose(evoked.data, data[inside].mean(axis=0), rtol=0, atol=1e-14)
        low, high = baseline or (None, None)
        if baseline is not None:
            assert evoked.baseline == (-0.5 if low is None else low, 1.0 if high is None else high)


def test_several_recordings(states, events):
    other = random_states(5)
    more = random_events(np.random.default_rng(6), 12)
    got = mne_hmm.compute_state_evoked([states, other], [events, more], IDS, tmin=-0.2, tmax=0.3)
    cut = [mne_epochs(*pair, tmin=-0.2, tmax=0.3) for pair in ((states, events), (other, more))]
    for name, evoked in got.items():
        data = [data[epochs.events[:, 2] == IDS[name]] for epochs, data in cut]
        assert evoked.nave == sum(map(len, data))
        expected = np.concatenate(data).mean(axis=0)
        assert_allclose(evoked.data, expected, rtol=0, atol=1e-14)


def test_all_events_where_none_are_named(states, events):
    got = mne_hmm.compute_state_evoked(states, events)
    assert list(got) == ["1", "2"]
    named = mne_hmm.compute_state_evoked(states, events, {"right": 2})
    assert list(named) == ["right"]
    assert_array_equal(named["right"].data, got["2"].data)


def test_responses_can_be_saved_and_averaged(states, events, tmp_path):
    responses = mne_hmm.compute_state_evoked(states, events, IDS)
    mne.write_evokeds(tmp_path / "states-ave.fif", list(responses.values()), verbose="ERROR")
    again = mne.read_evokeds(tmp_path / "states-ave.fif", verbose="ERROR")
    assert [evoked.comment for evoked in again] == ["left", "right"]
    # Files are in single precision.
    assert_allclose(again[1].data, responses["right"].data, rtol=0, atol=1e-7)
    grand = mne.grand_average([responses["left"], responses["right"]])
    expected = (responses["left"].data + responses["right"].data) / 2
    assert_allclose(grand.data, expected, rtol=0, atol=1e-15)


def test_epochs_bring_their_own_events(simulated, fitted):
    raw, _ = simulated
    events = mne.make_fixed_length_events(raw, id=1, start=1.0, duration=3.0)
    events[::3, 2] = 2
    epochs = mne.Epochs(
        raw, events, IDS, -0.6, 1.9, baseline=None, picks="misc", preload=True, verbose="ERROR"
    )
    states = fitted.predict(epochs, verbose="ERROR")
    got = mne_hmm.compute_state_evoked(states, baseline=(None, 0))
    assert list(got) == ["left", "right"]
    # The embedding takes seven samples off both ends of every epoch.
    assert_allclose(got["left"].times[[0, -1]], [-0.6 + 7 / 250, 1.9 - 7 / 250], rtol=0, atol=1e-9)
    codes, sizes = states.timeline.epochs.events[:, 2], {}
    data = states.probabilities[..., 7:-7].astype(float)
    data -= data[..., : got["left"].time_as_index(0)[0] + 1].mean(axis=-1, keepdims=True)
    for name, evoked in got.items():
        sizes[name] = evoked.nave
        assert_allclose(evoked.data, data[codes == IDS[name]].mean(axis=0), rtol=0, atol=1e-14)
    assert sizes == {"left": (codes == 1).sum(), "right": (codes == 2).sum()}
    part = mne_hmm.compute_state_evoked(states, event_id={"r": 2}, tmin=-0.2, tmax=0.6)
    assert list(part) == ["r"]
    assert_allclose(part["r"].times[[0, -1]], [-0.2, 0.6], rtol=0, atol=1e-9)
    test = mne_hmm.cluster_test_state_evoked(states, n_permutations=50, random_state=0)
    assert test.contrast == "left - right"
    with pytest.raises(ValueError, match="what is around epochs is not known"):
        mne_hmm.cluster_test_state_evoked(states, event_id={"right": 2})
    with pytest.raises(ValueError, match="events are known of epochs"):
        mne_hmm.compute_state_evoked(states, events)
    with pytest.raises(ValueError, match="tmin must be within the epochs, from -0"):
        mne_hmm.compute_state_evoked(states, tmin=-1.0)
    with pytest.raises(ValueError, match="all be of epochs"):
        mne_hmm.compute_state_evoked([states, fitted.predict(raw)])


def test_what_is_left_out_is_told(states):
    subset = events_at([100, 400, 700, 1000, 1250])
    with mne.utils.catch_logging() as log:
        mne_hmm.compute_state_evoked(states, subset, {"cue": 1}, verbose="INFO")
    assert "1 of 5 events left out" in log.getvalue()
    with pytest.warns(RuntimeWarning, match="3 of 5 events left out, because not all data"):
        mne_hmm.compute_state_evoked(states, events_at([3, 400, 700, 1190, 1250]), {"cue": 1})


def test_no_trial_goes_from_one_span_to_the_next():
    states = random_states(0, 200, spans=[(0, 100), (100, 200)])
    kept = mne_hmm.compute_state_evoked(
        states, events_at([40, 60, 80, 130, 150]), {"cue": 1}, tmin=-0.2, tmax=0.4
    )
    assert kept["cue"].nave == 4  # the trial from sample 70 to 100 is not among them


@pytest.mark.parametrize(
    ("kwargs", "error", "text"),
    [
        ({"events": None}, ValueError, "events must be given"),
        ({"events": [1, 2, 3]}, ValueError, r"shape \(n_events, 3\).* got shape \(3,\)"),
        ({"events": np.ones((2, 3))}, ValueError, "whole numbers .* of float64"),
        ({"event_id": 1}, TypeError, "event_id must be a dictionary"),
        ({"event_id": {"up": 9}}, ValueError, "condition 'up' has no event with modeled data"),
        ({"tmin": 0.5, "tmax": 0.2}, ValueError, "tmin must be before tmax"),
        ({"tmin": "0"}, TypeError, "tmin must be a number of seconds or None"),
        ({"baseline": (-2, 0)}, ValueError, "within the trial, from -0.5 to 1 s, got -2, 0"),
        ({"baseline": (0.2, 0.1)}, ValueError, "baseline must lie within"),
        ({"baseline": 0}, ValueError, "baseline must be two times"),
    ],
)
def test_wrong_arguments(states, events, kwargs, error, text):
    with pytest.raises(error, match=text):
        mne_hmm.compute_state_evoked(states, **{"events": events, "event_id": IDS, **kwargs})


def test_wrong_lists(states, events):
    with pytest.raises(ValueError, match=r"one array per recording \(2\), got 1"):
        mne_hmm.compute_state_evoked([states, states], [events])
    other = dataclasses.replace(states, timeline=Timeline(100.0, N_TIMES))
    with pytest.raises(ValueError, match="recording 0 has 50 Hz and recording 1 has 100 Hz"):
        mne_hmm.compute_state_evoked([states, other], [events, events])


# Clusters


def test_clusters_by_hand():
    t = np.array([[3.0, 3, 0, -4, 5, 1], [2, 1, 0, 0, 3, 3], [0, 0, 0, 0, 0, 0]])
    clusters = find_clusters(t, 1.5, 0)
    assert list(zip(*(part.tolist() for part in clusters), strict=True)) == [
        (0, 0, 2, 6.0), (0, 3, 4, -4.0), (0, 4, 5, 5.0), (1, 0, 1, 2.0), (1, 4, 6, 6.0),
    ]  # fmt: skip
    assert find_clusters(t, 1.5, 1)[0].tolist() == [0, 0, 1, 1]
    assert find_clusters(t, 1.5, -1)[3].tolist() == [-4]
    assert len(find_clusters(t, 9.0, 0)[0]) == 0
    maps = np.stack([t, t[::-1] / 2, 0 * t])
    assert_array_equal(largest_masses(maps, 1.5, 0), [6, 2.5, -1])
    assert_array_equal(largest_masses(maps, 1.5, -1), [4, 2, -1])
    # Without clusters: how far the largest t is from the threshold.
    assert_allclose(largest_masses(maps, 10, 0), [-0.5, -0.75, -1], rtol=1e-14, atol=0)
    assert_allclose(largest_masses(maps, 10, -1), [-0.6, -0.8, -1], rtol=1e-14, atol=0)


def no_neighbors(n_states, n_times):
    """Times next to each other are neighbors, states are not."""
    return mne.stats.combine_adjacency(n_times, sparse.csr_array((n_states, n_states)))


def as_table(clusters, masses):
    """State, start, stop and mass of MNE-Python's clusters over (times, states)."""
    out = []
    for (times, states), mass in zip(clusters, masses, strict=True):
        assert len(set(states.tolist())) == 1
        out.append((states[0], times.min(), times.max() + 1, mass))
    return sorted(out)


def of_test(test):
    return sorted(zip(test.states, test.starts, test.stops, test.masses, strict=True))


def in_order(clusters):
    """Order of MNE-Python's clusters by state and time."""
    return sorted(range(len(clusters)), key=lambda i: (clusters[i][1][0], clusters[i][0].min()))


@pytest.mark.parametrize("tail", [0, 1, -1])
def test_clusters_of_two_conditions_are_those_of_mne(states, tail):
    # An effect of medium size, so that there are p-values of all sizes.
    events = events_at(np.arange(60, 2900, 90))
    events[:, 2] = np.random.default_rng(2).integers(1, 3, len(events))
    states = with_response(states, events[events[:, 2] == (2 if tail == -1 else 1)], 1.0)
    test = mne_hmm.cluster_test_state_evoked(
        states, events, IDS, tail=tail, threshold=1.2, n_permutations=500, random_state=0
    )
    epochs, data = mne_epochs(states, events)
    # MNE-Python 1.13 takes the largest sum, with its sign, of each permutation: right for F and
    # the upper tail of t. For the lower one the conditions change places; both tails are compared
    # with the test that flips signs, below.
    codes, sign = ((2, 1), -1) if tail == -1 else ((1, 2), 1)
    t, clusters, p, _ = mne.stats.permutation_cluster_test(
        [data[epochs.events[:, 2] == code].transpose(0, 2, 1) for code in codes],
        threshold=1.2,
        tail=abs(tail),
        n_permutations=1 if tail == 0 else 500,
        stat_fun=lambda *x: stats.ttest_ind(*x, axis=0).statistic,
        adjacency=no_neighbors(3, len(epochs.times)),
        seed=1,
        verbose="ERROR",
    )
    assert_allclose(test.t, sign * t.T, rtol=1e-9, atol=1e-12)
    expected = as_table(clusters, [sign * t[cluster].sum() for cluster in clusters])
    assert len(expected) >= 3
    assert_allclose(of_test(test), expected, rtol=1e-9, atol=0)
    if tail == 0:
        return
    # Two shares of 500, each known to five times its error.
    order, theirs = np.lexsort((test.starts, test.states)), p[in_order(clusters)]
    assert theirs.min() < 0.5
    error = 5 * np.sqrt(2 * theirs * (1 - theirs) / 500) + 0.01
    assert (np.abs(test.p[order] - theirs) <= error).all()


@pytest.mark.parametrize(("tail", "share"), [(0, 0.025), (1, 0.05), (-1, 0.05)])
def test_threshold_is_that_of_five_percent(states, events, tail, share):
    test = mne_hmm.cluster_test_state_evoked(states, events, IDS, tail=tail, n_permutations=20)
    n_kept = sum(evoked.nave for evoked in test.evokeds.values())
    assert_allclose(stats.t.sf(test.threshold, n_kept - 2), share, rtol=1e-9, atol=0)


def test_differences_of_recordings_are_flipped_as_in_mne():
    rng = np.random.default_rng(3)
    states = [random_states(seed) for seed in range(7)]
    events = [random_events(rng) for _ in states]
    test = mne_hmm.cluster_test_state_evoked(
        states, events, IDS, tmin=-0.2, tmax=0.4, threshold=0.8
    )
    assert test.unit == "recording"
    assert len(test.null) == 127
    differences = []
    for pair in zip(states, events, strict=True):
        epochs, data = mne_epochs(*pair, tmin=-0.2, tmax=0.4)
        means = [data[epochs.events[:, 2] == code].mean(axis=0) for code in (1, 2)]
        differences.append((means[0] - means[1]).T)
    t, clusters, p, _ = mne.stats.permutation_cluster_1samp_test(
        np.array(differences),
        threshold=test.threshold,
        n_permutations="all",
        adjacency=no_neighbors(3, len(epochs.times)),
        verbose="ERROR",
    )
    assert_allclose(test.t, t.T, rtol=1e-9, atol=0)
    assert len(clusters) >= 3
    order = np.lexsort((test.starts, test.states))
    # MNE-Python lists one sign of each pair, 64, and leaves out one of them.
    counts = test.p[order] * 64 - p[in_order(clusters)] * 63
    assert (
        np.isclose(counts, 0, rtol=0, atol=1e-9) | np.isclose(counts, 1, rtol=0, atol=1e-9)
    ).all()
    left = test.evokeds["left"].data - test.evokeds["right"].data
    assert_allclose(left, np.mean(differences, axis=0).T, rtol=0, atol=1e-14)


def test_table_of_clusters(states, events):
    pytest.importorskip("pandas")
    test = mne_hmm.cluster_test_state_evoked(
        states, events, IDS, threshold=1.2, n_permutations=99, random_state=0
    )
    table = test.to_data_frame()
    assert list(table.columns) == ["state", "start", "stop", "mass", "p"]
    assert len(table) == len(test.p)
    assert table["p"].is_monotonic_increasing
    row, cluster = table.iloc[0], np.abs(test.masses).argmax()
    assert row["state"] == states.state_names[test.states[cluster]]
    inside = (test.times >= row["start"] - 1e-9) & (test.times <= row["stop"] + 1e-9)
    assert_allclose(test.t[test.states[cluster], inside].sum(), row["mass"], rtol=1e-12)
    assert (np.abs(test.t[test.states[cluster], inside]) > test.threshold).all()
    assert row["p"] == test.p_value
    none = mne_hmm.cluster_test_state_evoked(states, events, IDS, threshold=9, n_permutations=99)
    assert len(none.to_data_frame()) == 0
    assert 1 / 100 < none.p_value < 1  # that of the largest t
    assert f"smallest p {test.p_value:.4f} of 99 permutations" in str(test)


def with_response(states, events, size=3.0):
    """The same states, but that the first comes more often after events."""
    logits = np.log(states.probabilities)
    for sample in events[:, 0] - FIRST_SAMP:
        logits[0, max(sample + 10, 0) : max(sample + 25, 0)] += size
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=0)
    return dataclasses.replace(states, probabilities=probabilities)


@pytest.mark.parametrize("unit", ["epoch", "recording"])
def test_a_response_is_found(unit):
    rng = np.random.default_rng(8)
    events = [events_at(np.arange(60, 2900, 120)) for _ in range(4)]
    states = [with_response(random_states(seed), cues) for seed, cues in enumerate(events)]
    test = mne_hmm.cluster_test_state_evoked(
        states, events, {"cue": 1}, unit=unit, n_permutations=199, random_state=rng
    )
    assert test.contrast == "cue - random events"
    best = test.masses.argmax()  # where one comes more often, others come less often
    assert test.p_value == 1 / 200
    assert test.p[best] <= 0.02
    assert test.states[best] == 0
    assert test.masses[best] > 0
    # From 0.2 to 0.5 s, give or take what states last.
    start, stop = test.times[[test.starts[best], test.stops[best] - 1]]
    assert 0.05 <= start <= 0.25
    assert 0.45 <= stop <= 0.65


@pytest.mark.parametrize("baseline", [(None, 0), None])
def test_statistics_of_one_condition(states, events, baseline):
    test = mne_hmm.cluster_test_state_evoked(
        states, events, {"cue": 1}, baseline=baseline, n_permutations=20, random_state=0
    )
    _, data = mne_epochs(states, events, {"cue": 1}, baseline=baseline)
    if baseline is None:  # what is tested is the difference from the recording's mean
        data -= np.nanmean(states.probabilities, axis=1)[:, None]
    expected = stats.ttest_1samp(data, 0).statistic
    # Little varies near the end of the baseline, where digits cancel.
    assert_allclose(test.t, expected, rtol=1e-8, atol=1e-8)


def test_same_seed_same_test(states, events):
    first, second = (
        mne_hmm.cluster_test_state_evoked(
            states, events, {"cue": 1}, n_permutations=20, random_state=4
        )
        for _ in range(2)
    )
    assert_array_equal(first.null, second.null)


# Are the p-values right?


def p_of_shuffled(draw, n_shuffles=200, **kwargs):
    """p-values of tests of events that have nothing to do with the states."""
    rng = np.random.default_rng(12)
    p = np.empty(n_shuffles)
    for i in range(n_shuffles):
        states, events, event_id = draw(rng, i)
        test = mne_hmm.cluster_test_state_evoked(
            states, events, event_id, random_state=rng, verbose="ERROR", **kwargs
        )
        p[i] = test.p_value
    return p


def test_shuffled_labels_give_uniform_p_values(states):
    samples = np.arange(60, 2900, 90)
    labels = np.arange(len(samples)) % 2 + 1

    def draw(rng, i):
        return states, events_at(samples, rng.permutation(labels)), IDS

    p = p_of_shuffled(draw, n_permutations=199)
    assert stats.kstest(p, "uniform").pvalue > 0.01


@pytest.mark.filterwarnings("ignore:.*left out")
# They overlap a little, and much.
@pytest.mark.parametrize(
    ("n_events", "n_permutations"), [(12, 39), pytest.param(40, 79, marks=pytest.mark.slow)]
)
def test_random_events_give_uniform_p_values(n_events, n_permutations):
    several = [random_states(seed, spans=[(7, 1200), (1300, 2993)]) for seed in range(20)]

    def draw(rng, i):
        samples = rng.integers(0, N_TIMES, n_events)
        return several[i % 20], events_at(np.sort(samples)), {"cue": 1}

    p = p_of_shuffled(draw, n_permutations=n_permutations, tmin=-0.2, tmax=0.6)
    assert stats.kstest(p, "uniform").pvalue > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["epoch", "recording"])
def test_regular_events_give_uniform_p_values(unit):
    """Trials one after another that begin at any time, in three recordings of their own."""

    def draw(rng, i):
        states = [random_states(1000 + 3 * i + j) for j in range(3)]
        events = [events_at(40 + rng.integers(0, 100) + np.arange(20) * 140) for _ in states]
        return states, events, {"cue": 1}

    p = p_of_shuffled(draw, n_permutations=199, unit=unit)
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_free_onsets():
    free = FreeOnsets.of([(10, 20), (20, 22), (30, 40)], -2, 3)
    # An event at sample 12 has a trial from 10 to 15.
    assert_array_equal(free.starts, [12, 32])
    assert_array_equal(free.stops, [17, 37])
    samples = np.array([11, 12, 16, 17, 31, 32, 36, 37, -5])
    assert_array_equal(free.ranks(samples), [-1, 0, 4, -1, -1, 5, 9, -1, -1])
    assert_array_equal(free.samples(np.arange(10)), [12, 13, 14, 15, 16, 32, 33, 34, 35, 36])
    assert free.edges[-1] == 10
    assert_array_equal(FreeOnsets.of([(0, 4)], -2, 3).ranks(np.array([2])), [-1])


# What cannot be tested


def test_few_permutations_are_told(states, events):
    with pytest.warns(RuntimeWarning, match="only 3 permutations, so no p-value is below 0.5"):
        mne_hmm.cluster_test_state_evoked([states] * 2, [events] * 2, IDS)


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        (
            {"event_id": {"a": 1, "b": 2, "c": 3}},
            "one condition or of two, but there are 3: a, b, c",
        ),
        ({"unit": "trial"}, "unit must be one of 'auto', 'epoch', 'recording'"),
        ({"unit": "recording"}, "at least two recordings, got 1"),
        ({"threshold": 0}, "threshold must be a value of t above 0, got 0"),
        ({"n_permutations": 0}, "n_permutations must be a whole number"),
        ({"tail": 3}, "tail must be one of"),
        ({"n_events": 1, "event_id": {"a": 1}}, "at least two epochs with events, got 1"),
        ({"n_events": 3, "event_id": {"a": 1, "b": 2}}, "at least four events, got 2"),
    ],
)
def test_wrong_tests(states, kwargs, text):
    n_events = kwargs.pop("n_events", 12)
    events = events_at(np.arange(100, 100 + 60 * n_events, 60)[:n_events])
    events[:, 2] = np.arange(n_events) % 3 + 1
    with pytest.raises(ValueError, match=text):
        mne_hmm.cluster_test_state_evoked(states, events, **{"event_id": IDS, **kwargs})


def test_labels_that_cannot_be_shuffled(states):
    events = [events_at([100, 300, 500], code) for code in (1, 2)]
    with pytest.raises(ValueError, match="none has both conditions"):
        mne_hmm.cluster_test_state_evoked([states, states], events, IDS, unit="epoch")
    with pytest.raises(ValueError, match="recording 0 has no event of condition 'right'"):
        mne_hmm.cluster_test_state_evoked([states, states], events, IDS)
