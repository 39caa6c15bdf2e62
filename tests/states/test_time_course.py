"""State time courses, and the annotations, recordings and tables made of them."""

import dataclasses
from datetime import UTC, datetime

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mne_hmm import StateTimeCourse
from mne_hmm.io.timeline import Span, Timeline, TimeMap

SFREQ = 250.0
FIRST_SAMP = 1234
DATE = datetime(2021, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
NAMES = ("state_0", "state_1", "state_2")

# Two spans of a recording of 40 samples: 3 to 14 and 20 to 35, with the states of their rows.
ROWS = np.array(list(map(int, "000112222000011122200111112")))
LABELS = np.full(40, -1)
LABELS[3:15], LABELS[20:35] = ROWS[:12], ROWS[12:]
VISITS = [
    (0, 3, 6), (1, 6, 8), (2, 8, 12), (0, 12, 15),
    (0, 20, 21), (1, 21, 24), (2, 24, 27), (0, 27, 29), (1, 29, 34), (2, 34, 35),
]  # fmt: skip


def make_states(meas_date=DATE, first_samp=FIRST_SAMP):
    """Build the states above, with probabilities of their own for every row."""
    timeline = Timeline(SFREQ, 40, first_samp, meas_date)
    time_map = TimeMap(timeline, (Span((0, 12), (0, 18), 0, 3), Span((12, 27), (18, 40), 18, 2)))
    rng = np.random.default_rng(0)
    probabilities = 0.2 * rng.dirichlet(np.ones(3), len(ROWS)) + 0.8 * np.eye(3)[ROWS]
    return StateTimeCourse.from_rows(probabilities, ROWS, time_map, NAMES), probabilities


@pytest.fixture(params=[DATE, None], ids=["date", "no_date"])
def states(request):
    return make_states(request.param)[0]


@pytest.fixture
def raw(states):
    """The recording the states belong to."""
    info = mne.create_info(2, SFREQ, "eeg")
    data = np.random.default_rng(0).standard_normal((2, 40))
    raw = mne.io.RawArray(data, info, first_samp=FIRST_SAMP, verbose="ERROR")
    return raw.set_meas_date(states.timeline.meas_date)


def samples_of(raw, annotations):
    """Samples of annotations that were read from a recording: first, and the one after last."""
    begin = annotations.onset - raw.first_time
    return [
        tuple(map(int, pair))
        for pair in zip(
            raw.time_as_index(begin, use_rounding=True),
            raw.time_as_index(begin + annotations.duration, use_rounding=True),
            strict=True,
        )
    ]


# On the recording's own grid


def test_states_lie_on_the_grid_of_the_recording():
    states, probabilities = make_states()
    assert states.n_states == 3
    assert states.probabilities.shape == (3, 40)
    assert_array_equal(states.times, np.arange(40) / SFREQ)
    assert_array_equal(states.labels, LABELS)
    assert states.spans == [(3, 15), (20, 35)]
    modeled = LABELS >= 0
    assert_array_equal(states.probabilities[:, modeled], probabilities.T)
    assert np.isnan(states.probabilities[:, ~modeled]).all()


def test_info_has_a_channel_per_state(states):
    assert states.info.ch_names == list(NAMES)
    assert set(states.info.get_channel_types()) == {"misc"}
    assert states.info["sfreq"] == SFREQ
    assert states.info["meas_date"] == states.timeline.meas_date


def test_visits_of_states(states):
    visits = states.visits
    assert list(zip(visits.states, visits.starts, visits.stops, strict=True)) == VISITS


# Annotations


def test_annotations_are_the_visits(states, raw):
    annotations = states.to_annotations()
    assert annotations.orig_time == states.timeline.meas_date
    assert list(annotations.description) == [f"hmm/state_{k}" for k, _, _ in VISITS]
    raw.set_annotations(annotations)
    assert samples_of(raw, raw.annotations) == [visit[1:] for visit in VISITS]
    # Annotations hold whole microseconds.
    assert_allclose(annotations.duration * SFREQ, [b - a for _, a, b in VISITS], rtol=0, atol=5e-4)


def test_annotations_add_to_those_of_the_recording(states, raw):
    raw.set_annotations(mne.Annotations([0.01], [0.02], ["mine"]))
    (mine,) = samples_of(raw, raw.annotations)
    if raw.info["meas_date"] is None:
        # Without a date MNE-Python shifts annotations that are set once more by first_time,
        # mne-tools/mne-python#11731, wherever they come from.
        raw.annotations.onset -= raw.first_time
    raw.set_annotations(raw.annotations + states.to_annotations())
    is_state = np.array([name.startswith("hmm/") for name in raw.annotations.description])
    assert samples_of(raw, raw.annotations[is_state]) == [visit[1:] for visit in VISITS]
    assert samples_of(raw, raw.annotations[~is_state]) == [mine]


def test_a_date_set_first_spares_the_other_annotations():
    # What the documentation of to_annotations advises where there is no date.
    info = mne.create_info(2, SFREQ, "eeg")
    raw = mne.io.RawArray(np.zeros((2, 40)), info, first_samp=FIRST_SAMP, verbose="ERROR")
    raw.set_annotations(mne.Annotations([0.01], [0.02], ["mine"]))
    onset = raw.annotations.onset[0]
    raw.set_meas_date(0)
    states, _ = make_states(raw.info["meas_date"])
    raw.set_annotations(raw.annotations + states.to_annotations())
    mine = raw.annotations[raw.annotations.description == "mine"]
    assert_array_equal(mine.onset, [onset])
    assert len(raw.annotations) == 1 + len(VISITS)


def test_annotations_of_touching_visits_do_not_overlap(states):
    annotations = states.to_annotations()
    ends = annotations.onset + annotations.duration
    # The rounding of one sum in float64.
    assert (annotations.onset[1:] - ends[:-1] > -1e-9).all()
    gap = annotations.onset[4] - ends[3]
    assert_allclose(gap, 5 / SFREQ, rtol=0, atol=2e-6)  # between the spans, in microseconds


@pytest.mark.parametrize("sfreq", [600.614990234375, 333.3333, 512.0, 1111.1])
@pytest.mark.parametrize("first_samp", [0, 1, 1237, 100_003])
@pytest.mark.parametrize("meas_date", [DATE, None], ids=["date", "no_date"])
def test_annotations_over_all_of_a_recording_stay_inside(sfreq, first_samp, meas_date):
    # MNE-Python rounds times to microseconds, and warns if an annotation then sticks out.
    for n_times in (1000, 1001, 1003, 1777):
        info = mne.create_info(1, sfreq, "eeg")
        raw = mne.io.RawArray(np.zeros((1, n_times)), info, first_samp=first_samp, verbose="ERROR")
        raw.set_meas_date(meas_date)
        labels = np.arange(n_times) // 37 % 3
        time_map = TimeMap(
            Timeline(sfreq, n_times, first_samp, raw.info["meas_date"]),
            (Span((0, n_times), (0, n_times), 0, 0),),
        )
        states = StateTimeCourse.from_rows(np.eye(3)[labels], labels, time_map, NAMES)
        raw.set_annotations(states.to_annotations())
        starts = np.arange(0, n_times, 37)
        stops = np.append(starts[1:], n_times)
        expected = list(zip(starts.tolist(), stops.tolist(), strict=True))
        assert samples_of(raw, raw.annotations) == expected


def test_annotations_follow_names_of_states():
    states, _ = make_states()
    states = dataclasses.replace(states, state_names=("rest", "alpha", "beta"))
    expected = [f"hmm/{('rest', 'alpha', 'beta')[k]}" for k, _, _ in VISITS]
    assert list(states.to_annotations().description) == expected


@pytest.mark.parametrize(
    ("min_duration", "shortest"),
    [
        (0, 1),
        (0.0039, 1),
        (0.004, 1),
        (0.0041, 2),  # a sample lasts 4 ms
        (0.008, 2),
        (0.0099, 3),
        (3 / SFREQ, 3),
        (0.0121, 4),
        (0.02, 5),
        (0.021, 6),
    ],
)
def test_short_visits_can_be_left_out(states, min_duration, shortest):
    kept = [visit for visit in VISITS if visit[2] - visit[1] >= shortest]
    annotations = states.to_annotations(min_duration=min_duration)
    assert list(annotations.description) == [f"hmm/state_{k}" for k, _, _ in kept]
    begin = 0 if states.timeline.meas_date is None else states.timeline.first_time
    # Whole microseconds.
    expected = [begin + start / SFREQ for _, start, _ in kept]
    assert_allclose(annotations.onset, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("min_duration", [-0.1, np.nan])
def test_min_duration_must_be_a_duration(states, min_duration):
    with pytest.raises(ValueError, match=f"min_duration must be .* ≥ 0, got {min_duration}"):
        states.to_annotations(min_duration=min_duration)


def test_events_and_epochs_can_be_made_of_annotations(states, raw):
    raw.set_annotations(states.to_annotations())
    events, event_id = mne.events_from_annotations(raw)
    assert event_id == {"hmm/state_0": 1, "hmm/state_1": 2, "hmm/state_2": 3}
    assert [tuple(e) for e in events[:, [2, 0]]] == [(k + 1, a + FIRST_SAMP) for k, a, _ in VISITS]
    epochs = mne.Epochs(raw, events, event_id, 0, 0.008, baseline=None, preload=True)
    assert len(epochs) == len(epochs["hmm"]) == len(VISITS)
    assert len(epochs["hmm/state_1"]) == 3
    # Not one is called bad, so that none is dropped.
    assert not any(epochs.drop_log)


def test_nothing_modeled_gives_no_annotations():
    timeline = Timeline(SFREQ, 40, 0, DATE)
    states = StateTimeCourse.from_rows(np.empty((0, 3)), [], TimeMap(timeline, ()), NAMES)
    assert len(states.to_annotations()) == 0
    assert_array_equal(states.labels, np.full(40, -1))
    assert states.probabilities.shape == (3, 40)
    assert np.isnan(states.probabilities).all()


# Raw


def test_raw_of_probabilities(states, raw):
    got = states.to_raw()
    assert got.ch_names == list(NAMES)
    assert (got.first_samp, got.n_times, got.info["sfreq"]) == (FIRST_SAMP, 40, SFREQ)
    assert got.info["meas_date"] == raw.info["meas_date"]
    assert_array_equal(got.get_data(), states.probabilities)
    # On the grid of the recording: the channels can be added to it.
    both = raw.copy().add_channels([got])
    assert both.ch_names == [*raw.ch_names, *NAMES]


def test_raw_of_probabilities_is_annotated(states):
    got = states.to_raw()
    is_bad = got.annotations.description == "BAD_hmm_not_modeled"
    assert samples_of(got, got.annotations[is_bad]) == [(0, 3), (15, 20), (35, 40)]
    assert samples_of(got, got.annotations[~is_bad]) == [visit[1:] for visit in VISITS]
    good = got.get_data(reject_by_annotation="omit")
    assert_array_equal(good, states.probabilities[:, LABELS >= 0])


def test_raw_of_probabilities_can_be_changed_without_changing_the_states(states):
    before = states.probabilities.copy()
    states.to_raw().apply_function(lambda x: 0 * x, picks="misc")
    assert_array_equal(states.probabilities, before)


def test_raw_of_a_recording_that_was_modeled_throughout():
    timeline = Timeline(SFREQ, 5, 0, None)
    time_map = TimeMap(timeline, (Span((0, 5), (0, 5), 0, 0),))
    labels = np.array([0, 0, 1, 2, 2])
    states = StateTimeCourse.from_rows(np.eye(3)[labels], labels, time_map, NAMES)
    expected = ["hmm/state_0", "hmm/state_1", "hmm/state_2"]
    assert list(states.to_raw().annotations.description) == expected


# Statistics and tables


def test_statistics_of_states(states):
    got = states.statistics()
    assert got.state_names == NAMES
    lengths = [[b - a for k, a, b in VISITS if k == state] for state in range(3)]
    occupancy = [sum(intervals) / 27 for intervals in lengths]
    assert_allclose(got.fractional_occupancy, occupancy, rtol=1e-15, atol=0)
    # The first and last visits of both spans are cut off.
    assert_allclose(got.mean_lifetime, [2 / 250, 10 / 750, 7 / 500], rtol=1e-14, atol=0)
    with_cut = [sum(intervals) / len(intervals) / SFREQ for intervals in lengths]
    seen = states.statistics(include_censored=True).mean_lifetime
    assert_allclose(seen, with_cut, rtol=1e-14, atol=0)
    assert_allclose(got.mean_interval, [(6 + 6) / 500, 5 / 250, 7 / 250], rtol=1e-14, atol=0)
    assert_allclose(got.switching_rate, np.array([2, 3, 3]) / (27 / 250), rtol=1e-14, atol=0)


def test_table_of_states(states):
    pytest.importorskip("pandas")
    table = states.to_data_frame()
    assert list(table) == ["time", "label", *NAMES]
    assert_array_equal(table["time"], states.times)
    assert_array_equal(table["label"], LABELS)
    assert_array_equal(table[list(NAMES)].to_numpy().T, states.probabilities)


def test_text_of_states(states):
    text = "<StateTimeCourse | 3 states, 40 samples at 250 Hz, 0.1 of 0.2 s modeled>"
    assert str(states) == repr(states) == text
