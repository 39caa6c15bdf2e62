"""Tables over recordings: statistics, visits, and occupancy over time."""

import dataclasses

import mne
import numpy as np
import pytest
from helpers import states_of
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm.io.epochs import EpochGrid
from mne_hmm.io.timeline import Timeline

pytest.importorskip("pandas")

NAMES = ("rest", "left", "right")


def from_text(text):
    """States of a recording in letters: a digit per sample, a dot where nothing is modeled."""
    labels = [-1 if letter == "." else int(letter) for letter in text]
    return states_of(labels, 3, sfreq=10.0, names=NAMES)


def states_of_epochs(*texts):
    """States of epochs, from 0.2 s before the event on."""
    n_times = len(texts[0])
    events = np.c_[
        100 * np.arange(len(texts)), np.zeros(len(texts), int), 1 + np.arange(len(texts))
    ]
    info = mne.create_info(1, 10.0, "eeg")
    data = np.zeros((len(texts), 1, n_times))
    ids = {f"cue_{i}": i + 1 for i in range(len(texts))}
    epochs = mne.EpochsArray(data, info, events, tmin=-0.2, event_id=ids, verbose="ERROR")
    states, grid = from_text("".join(texts)), EpochGrid.of(epochs)
    n_epochs = len(texts)
    return dataclasses.replace(
        states,
        probabilities=np.moveaxis(states.probabilities.reshape(3, n_epochs, n_times), 0, 1),
        labels=states.labels.reshape(n_epochs, n_times),
        timeline=Timeline(10.0, n_epochs * n_times, epochs=grid),
        spans=[(i * n_times, (i + 1) * n_times) for i in range(n_epochs)],
    )


FIRST = from_text("001110211000220")
SECOND = from_text("0110..0101")


def test_statistics_of_recordings():
    table = mne_hmm.summarize_states([FIRST, SECOND], names=["a", "b"])
    assert table["recording"].tolist() == ["a"] * 3 + ["b"] * 3
    assert table["state"].tolist() == list(NAMES) * 2
    for name, states in (("a", FIRST), ("b", SECOND)):
        recording_rows = table[table["recording"] == name]
        for column in recording_rows.columns[2:]:
            assert_array_equal(recording_rows[column], getattr(states.statistics(), column))
    with_cut = mne_hmm.summarize_states(FIRST, include_censored=True)
    assert with_cut["recording"].tolist() == [0, 0, 0]
    assert_allclose(with_cut["mean_lifetime"][0], 0.175, rtol=1e-14, atol=0)


def test_entropies_of_recordings():
    even = from_text("000111222")
    table = mne_hmm.summarize_recordings([even, from_text("1111"), SECOND, from_text("..")])
    # Three states equally long; one all the time; two half of the time each; nothing known.
    assert_allclose(table["occupancy_entropy"], [np.log2(3), 0, 1, np.nan], rtol=1e-14, atol=0)
    assert not np.signbit(table["occupancy_entropy"][1])
    assert_array_equal(table["posterior_entropy"], [0, 0, 0, np.nan])
    assert_allclose(table["duration"], [0.9, 0.4, 0.8, 0], rtol=1e-14, atol=0)
    assert_array_equal(table["n_visits"], [3, 1, 7, 0])
    assert_allclose(table["switching_rate"], [2 / 0.9, 0, 5 / 0.8, np.nan], rtol=1e-14, atol=0)
    uncertain = np.array([[0.5, 0.25, np.nan], [0.5, 0.25, np.nan], [0, 0.5, np.nan]])
    half = dataclasses.replace(from_text("01."), probabilities=uncertain)
    assert mne_hmm.summarize_recordings(half)["posterior_entropy"][0] == 1.25


def test_every_visit():
    table = mne_hmm.list_visits([FIRST, SECOND])
    second = table[table["recording"] == 1]
    assert second["state"].tolist() == ["rest", "left", "rest", "rest", "left", "rest", "left"]
    assert_allclose(second["onset"], [0, 0.1, 0.3, 0.6, 0.7, 0.8, 0.9], rtol=1e-14, atol=0)
    assert_allclose(second["duration"], [0.1, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1], rtol=1e-14, atol=0)
    nan = np.nan  # nothing goes on from one span to the next
    assert_allclose(second["interval"], [nan, nan, 0.2, nan, nan, 0.1, 0.1], rtol=1e-14, atol=0)
    assert second["censored"].tolist() == [True, False, True, True, False, False, True]
    # The means of the table of statistics are those of these visits.
    statistics = FIRST.statistics()
    first = table[table["recording"] == 0]
    for state, name in enumerate(NAMES):
        visits = first[first["state"] == name]
        whole = visits[~visits["censored"]]
        assert_allclose(whole["duration"].mean(), statistics.mean_lifetime[state], rtol=1e-13)
        assert_allclose(visits["interval"].mean(), statistics.mean_interval[state], rtol=1e-13)


def test_visits_of_epochs():
    table = mne_hmm.list_visits(states_of_epochs("0011", "1110"))
    assert table["epoch"].tolist() == [0, 0, 1, 1]
    assert table["condition"].tolist() == ["cue_0", "cue_0", "cue_1", "cue_1"]
    assert_allclose(table["onset"], [-0.2, 0, -0.2, 0.1], rtol=0, atol=1e-12)
    assert table["interval"].isna().all()


def test_occupancy_in_windows():
    table = mne_hmm.compute_occupancy_over_time(SECOND, 0.4, 0.2)
    wide = table.pivot(index="time", columns="state", values="occupancy")[list(NAMES)]
    # Samples 0 to 3, 2 to 5, 4 to 7 and 6 to 9: the means of their times.
    assert_allclose(wide.index, [0.15, 0.35, 0.55, 0.75], rtol=1e-12, atol=0)
    expected = [[0.5, 0.5, 0], [0.5, 0.5, 0], [0.5, 0.5, 0], [0.5, 0.5, 0]]
    assert_array_equal(wide, expected)
    table = mne_hmm.compute_occupancy_over_time([FIRST, SECOND], 0.3)
    assert table.groupby("recording").size().tolist() == [15, 9]
    first = table[(table["recording"] == 0) & (table["state"] == "rest")]
    assert_allclose(first["occupancy"], [2 / 3, 1 / 3, 0, 1, 1 / 3], rtol=1e-14, atol=0)
    unknown = mne_hmm.compute_occupancy_over_time(SECOND, 0.2)["occupancy"].to_numpy()
    assert_array_equal(np.isnan(unknown).reshape(5, 3).all(axis=1), [0, 0, 1, 0, 0])


def test_windows_do_not_drift():
    states = states_of([0] * 1000, 3, names=NAMES)
    table = mne_hmm.compute_occupancy_over_time(states, 0.1, 0.015)
    times = table.loc[table["state"] == "rest", "time"].to_numpy()
    assert len(times) == 661  # from 0 s to 9.9 s
    # Windows begin at the sample nearest to their time.
    assert_allclose(times - 0.045, 0.015 * np.arange(661), rtol=0, atol=0.005 + 1e-9)


def test_windows_in_epochs():
    table = mne_hmm.compute_occupancy_over_time(states_of_epochs("0011", "1112"), 0.2)
    assert table["epoch"].tolist() == [0] * 6 + [1] * 6
    assert_allclose(table["time"].unique(), [-0.15, 0.05], rtol=0, atol=1e-12)
    expected = [1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0.5, 0.5]
    assert_array_equal(table["occupancy"], expected)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: mne_hmm.summarize_states("x"), TypeError, "as hmm.predict.* gives, got str"),
        (lambda: mne_hmm.summarize_states([]), ValueError, "at least one recording"),
        (
            lambda: mne_hmm.list_visits(
                [FIRST, dataclasses.replace(SECOND, state_names=tuple("abc"))]
            ),
            ValueError,
            "of one model, but state_names are rest, left, right in recording 0 and a, b, c in",
        ),
        (lambda: mne_hmm.list_visits(FIRST, names="ab"), TypeError, "a name per recording"),
        (lambda: mne_hmm.list_visits(FIRST, names=["a", "b"]), ValueError, r"recordings \(1\)"),
        (lambda: mne_hmm.list_visits([FIRST, SECOND], names=["a", "a"]), ValueError, "different"),
        (
            lambda: mne_hmm.compute_occupancy_over_time([FIRST, SECOND], 1.2),
            ValueError,
            r"no longer than recording 1 \(1 s\), got 1.2",
        ),
        (lambda: mne_hmm.compute_occupancy_over_time(FIRST, -1), ValueError, "window must be"),
        (
            lambda: mne_hmm.compute_occupancy_over_time(FIRST, 0.5, 0.01),
            ValueError,
            "step must be at least a sample, 0.1 s, got 0.01",
        ),
    ],
)
def test_wrong_arguments(call, error, text):
    with pytest.raises(error, match=text):
        call()
