"""Real EEG in epochs: one person, two runs of moving hands."""

import mne
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import mne_hmm

# The filters of the default reach over three seconds, so epochs of four are filtered.
PREPARATION = mne_hmm.Preparation(n_components=12)
QUICK = {"n_init": 1, "refine": False, "max_iter": 5, "random_state": 0, "verbose": "ERROR"}
CHANNELS = ["C3..", "Cz..", "C4..", "Fz..", "Pz..", "O1..", "O2..", "Fcz."]


@pytest.fixture(scope="module")
def raws(eegbci):
    """Most of a minute of two runs with events, some channels; one begins late."""
    raws = [raw.pick(CHANNELS).crop(tmax=52.0) for raw in eegbci(3, 7, preload=True)]
    raws[1].crop(tmin=1.0)
    assert raws[1].first_samp == 160
    return raws


def cut(raw):
    """Epochs of four seconds after the cues, with metadata."""
    pd = pytest.importorskip("pandas")
    events, event_id = mne.events_from_annotations(raw, verbose="ERROR")
    metadata = pd.DataFrame({"trial": np.arange(len(events))})
    return mne.Epochs(
        raw, events, event_id, 0, 4 - 1 / 160, baseline=None, metadata=metadata, verbose="ERROR"
    )


@pytest.fixture(scope="module")
def epochs(raws):
    # Cropping has left less than four seconds of the first rest.
    return [cut(raw)[1:] for raw in raws]


@pytest.fixture(scope="module")
def hmm(epochs):
    return mne_hmm.fit_hmm(epochs, 3, preparation=PREPARATION, **QUICK)


def labels_of(raw, annotations):
    """State of each sample by the recording's own annotations."""
    annotated = raw.copy().set_annotations(raw.annotations + annotations).annotations
    labels = np.full(raw.n_times, -1)
    for annotation in annotated:
        if annotation["description"].startswith("hmm/"):
            onset = annotation["onset"] - raw.first_time
            start, stop = raw.time_as_index(
                [onset, onset + annotation["duration"]], use_rounding=True
            )
            assert (labels[start:stop] == -1).all()
            labels[start:stop] = int(annotation["description"].removeprefix("hmm/state_"))
    return labels


def test_states_of_trials(raws, epochs, hmm):
    """Events and metadata stay with the states, and annotations go onto the runs."""
    for raw, run_epochs, states, annotations in zip(
        raws, epochs, hmm.predict(epochs, verbose="ERROR"), hmm.annotations_, strict=True
    ):
        made = states.to_epochs()
        assert len(made) >= 11
        assert states.labels.shape == (len(run_epochs), 640)
        assert_array_equal(made.events, run_epochs.events)
        assert made.event_id == run_epochs.event_id
        assert set(made.event_id) == {"T0", "T1", "T2"}
        assert_array_equal(made.metadata, run_epochs.metadata)
        assert len(made["T1"]) + len(made["T2"]) + len(made["T0"]) == len(run_epochs)
        expected = np.full(raw.n_times, -1)
        for start, labels in zip(
            run_epochs.events[:, 0] - raw.first_samp, states.labels, strict=True
        ):
            expected[start : start + 640] = labels
        assert_array_equal(labels_of(raw, annotations), expected)
        assert_array_equal(labels_of(raw, states.to_annotations()), expected)


@pytest.mark.parametrize(
    "preparation",
    [mne_hmm.Preparation.standardized(), PREPARATION],
    ids=["standardized", "embedded"],
)
def test_tiles_are_a_raw_that_is_cut(raws, preparation):
    """Epochs that cover a Raw say, bit for bit, what the Raw says if it jumps where they end."""
    raw = raws[1].copy().set_annotations(None)
    n_tiles = raw.n_times // 640
    raw.crop(0, (n_tiles * 640 - 1) / 160)
    events = mne.make_fixed_length_events(raw, duration=4.0)
    tiles = mne.Epochs(raw, events, tmin=0, tmax=4 - 1 / 160, baseline=None, verbose="ERROR")
    jumping = raw.copy()
    onsets = 4.0 * np.arange(1, n_tiles)
    jumping.set_annotations(mne.Annotations(onsets, 0 * onsets, ["EDGE boundary"] * len(onsets)))
    of_tiles, of_raw = (
        mne_hmm.fit_hmm(inst, 3, preparation=preparation, **QUICK) for inst in (tiles, jumping)
    )
    assert len(tiles) == n_tiles
    assert_array_equal(of_tiles.covariances_, of_raw.covariances_)
    states, expected = (of_tiles.predict(inst, verbose="ERROR") for inst in (tiles, jumping))
    assert_array_equal(states.labels.ravel(), expected.labels)
    assert_array_equal(np.hstack(states.probabilities), expected.probabilities)
    assert vars(states.statistics()).keys() == vars(expected.statistics()).keys()
    assert str(states.statistics()) == str(expected.statistics())
    assert_array_equal(labels_of(raw, of_tiles.annotations_[0]), expected.labels)
    assert_array_equal(labels_of(raw, of_raw.annotations_[0]), expected.labels)
