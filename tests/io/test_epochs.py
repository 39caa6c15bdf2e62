"""Epochs as recordings: chains of their own, and states with an axis for the epochs."""

import warnings

import mne
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm import Preparation, StateTimeCourse, fit_hmm, prepare, read_prepared
from mne_hmm.io.inputs import to_recordings
from mne_hmm.io.lazy_raw import open_epochs

SFREQ = 250.0
SETTINGS = Preparation(l_freq=None, h_freq=None, n_embeddings=5, n_components=6)
QUICK = {"n_init": 1, "refine": False, "max_iter": 5, "random_state": 0, "verbose": "ERROR"}


@pytest.fixture(scope="module")
def raw():
    """Forty seconds of two states, which begin late in the acquisition."""
    simulated = mne_hmm.simulate_raw(2, n_channels=4, duration=40.0, random_state=0)[0]
    raw = mne.io.RawArray(
        simulated.get_data(), simulated.info, first_samp=1234, verbose="ERROR"
    ).set_meas_date(1_600_000_000.25)
    return raw


def make_epochs(raw, *, preload=False, tmin=-0.2, tmax=0.996, **kwargs):
    """Epochs of two conditions every two seconds, with metadata; the last is out of reach."""
    samples = raw.first_samp + 100 + 500 * np.arange(21)
    samples[-1] = raw.last_samp - 3
    events = np.stack([samples, 0 * samples, 1 + np.arange(21) % 2], 1)
    metadata = pd.DataFrame({"trial": np.arange(21) * 10, "word": list("abcdefghijklmnopqrstu")})
    return mne.Epochs(
        raw, events, {"go": 1, "stay": 2}, tmin, tmax, baseline=None, metadata=metadata,
        preload=preload, verbose="ERROR", **kwargs,
    )  # fmt: skip


@pytest.fixture
def epochs(raw):
    return make_epochs(raw)


@pytest.fixture(scope="module")
def hmm(raw):
    """A model of the epochs. Copy before you change it."""
    return fit_hmm(make_epochs(raw), 2, preparation=SETTINGS, **QUICK)


# Chains of their own


def test_each_epoch_is_a_chain(raw, epochs):
    recording = to_recordings(epochs)[0]
    assert (
        recording.spans == recording.segments == tuple((i * 300, (i + 1) * 300) for i in range(20))
    )
    prepared = prepare(epochs, SETTINGS)
    assert prepared.spans == [[(i * 296, (i + 1) * 296) for i in range(20)]]
    assert_allclose(prepared.seconds_left_out, [20 * 4 / SFREQ], rtol=1e-12)
    data = epochs.get_data()
    assert_array_equal(recording.read(300 * 7 + 10, 300 * 9 + 20), np.hstack(data[7:10])[:, 10:620])


@pytest.mark.parametrize("target", [None, 100.0])
@pytest.mark.parametrize("l_freq", [None, 20.0])
def test_nothing_crosses_from_one_epoch_to_the_next(epochs, l_freq, target):
    """Filters, resampling and embedding see one epoch only."""
    settings = Preparation(
        l_freq=l_freq, h_freq=None, sfreq=target, n_embeddings=5, n_components=None,
        standardize=False,
    )  # fmt: skip
    epochs.load_data()
    before = prepare(epochs, settings)
    other = epochs.copy()
    other._data[3] += 100 * np.random.default_rng(0).standard_normal(other._data[3].shape)
    after = prepare(other, settings)
    for i_span, (start, stop) in enumerate(before.spans[0]):
        same = np.array_equal(before.data[0][start:stop], after.data[0][start:stop])
        assert same == (i_span != 3)


def test_bad_epochs_are_dropped_as_mne_does(raw):
    loud = raw.copy()
    loud._data[:, 1600:1650] += 100
    loud.set_channel_types(dict.fromkeys(loud.ch_names, "eeg"), verbose="ERROR")
    reject = {"eeg": np.ptp(raw.get_data(), axis=1).max() + 1}
    lazy, loaded = (make_epochs(loud, preload=p, reject=reject) for p in (False, True))
    assert len(loaded) == 19
    a, b = prepare(lazy, SETTINGS), prepare(loaded, SETTINGS)
    assert_array_equal(a.data[0], b.data[0])
    # The epochs line up with what is said of them.
    assert len(lazy) == 19
    assert_array_equal(lazy.selection, loaded.selection)
    assert not lazy.preload


def test_lists_files_and_channels(tmp_path, raw, hmm):
    epochs = make_epochs(raw, preload=True)
    fnames = [tmp_path / f"{i}-epo.fif" for i in range(2)]
    halves = [epochs[:10], epochs[10:].reorder_channels(epochs.ch_names[::-1])]
    for half, fname in zip(halves, fnames, strict=True):
        half.save(fname, fmt="double", verbose="ERROR")
    for inst in (fnames, [str(fnames[0]), halves[1]]):
        states = hmm.predict(inst)
        assert [s.labels.shape for s in states] == [(10, 300), (10, 300)]
        for course, half in zip(states, halves, strict=True):
            assert_allclose(
                course.probabilities, hmm.predict(half).probabilities, rtol=1e-6, atol=1e-9
            )
    both = hmm.predict([raw, epochs])
    assert [s.labels.shape for s in both] == [(10_000,), (20, 300)]


def test_files_are_open_only_while_they_are_read(tmp_path, raw):
    fname = tmp_path / "x-epo.fif"
    make_epochs(raw, preload=True).save(fname, fmt="double", verbose="ERROR")
    recording = to_recordings(fname)[0]
    reader = recording.raw._raw_extras[0]["reader"]
    assert reader.epochs is None
    recording.read(0, 10)
    assert reader.epochs is not None
    recording.read(300 * 20 - 10, 300 * 20)
    assert reader.epochs is None


def test_reject_by_annotation_is_without_effect(raw):
    annotated = raw.copy().set_annotations(
        mne.Annotations([6.0], [3.0], ["BAD_x"], orig_time=raw.info["meas_date"])
    )
    for preload in (False, True):
        epochs = make_epochs(annotated, reject_by_annotation=False, preload=preload)
        assert prepare(epochs, SETTINGS).n_samples == 20 * 296
        assert len(epochs) == 20
        assert epochs.drop_log[-1] == ("TOO_SHORT",)
        rejected = make_epochs(annotated, preload=preload)
        assert prepare(rejected, SETTINGS, reject_by_annotation=False).n_samples == 18 * 296


# Filters on short epochs


def test_one_warning_of_filters_that_are_longer_than_epochs(epochs, hmm):
    default = Preparation(n_embeddings=5, n_components=6)
    with pytest.warns(RuntimeWarning, match="longer|shorter") as caught:
        prepare([epochs, epochs.copy()], default)
    (warning,) = caught
    message = str(warning.message)
    for part in (
        "epochs of recording 0 are 1.20 s long, shorter than the filter (3.30 s",
        "Filter the Raw before it is cut into epochs",
        "preparation=Preparation(l_freq=None, h_freq=None)",
    ):
        assert part in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepare(epochs, Preparation(l_freq=20.0, h_freq=None, n_embeddings=5, n_components=6))
        hmm.predict(epochs)


@pytest.mark.parametrize("n_times", [1, 2, 6, 30])
def test_tiny_epochs_are_filtered_all_the_same(n_times):
    """With all that MNE-Python has to say of it, no crash."""
    data = np.random.default_rng(0).standard_normal((50, 3, n_times))
    epochs = mne.EpochsArray(data, mne.create_info(3, SFREQ, "eeg"), verbose="ERROR")
    settings = Preparation(n_embeddings=1, n_components=None)
    with pytest.warns(RuntimeWarning, match="shorter than the filter"):
        prepared = prepare(epochs, settings)
    assert prepared.n_samples == 50 * n_times
    assert np.isfinite(prepared.data[0]).all()


# What states of epochs are


def test_states_have_an_axis_for_the_epochs(epochs, hmm):
    states = hmm.predict(epochs)
    assert states.probabilities.shape == (20, 2, 300)
    assert states.labels.shape == (20, 300)
    assert_array_equal(states.times, epochs.times)
    assert_array_equal(states.labels[:, 2:-2], states.probabilities[:, :, 2:-2].argmax(1))
    for ends in (slice(0, 2), slice(-2, None)):
        assert (states.labels[:, ends] == -1).all()
        assert np.isnan(states.probabilities[..., ends]).all()
    text = (
        "<StateTimeCourse | 2 states, 20 epochs of 300 samples at 250 Hz, 23.7 of 24.0 s modeled>"
    )
    assert repr(states) == text
    viterbi = hmm.predict(epochs, method="viterbi")
    assert_array_equal(np.nansum(viterbi.probabilities, axis=1), viterbi.labels >= 0)


def test_an_epoch_has_the_states_it_has_alone(raw, hmm):
    """Without z-scores over all epochs each of them can be taken by itself."""
    settings = Preparation.as_is()
    epochs = make_epochs(raw, preload=True)
    of_epochs = fit_hmm(epochs, 2, preparation=settings, **QUICK)
    together = of_epochs.predict(epochs)
    for i_epoch in (0, 7, 19):
        alone = of_epochs.predict(epochs[[i_epoch]])
        assert_allclose(together.probabilities[i_epoch], alone.probabilities[0], atol=1e-6)
    evidence = [of_epochs.score(epochs[[i_epoch]]) for i_epoch in range(20)]
    assert_allclose(of_epochs.score(epochs), np.mean(evidence), rtol=1e-6)


def test_to_epochs(epochs, hmm):
    states = hmm.predict(epochs)
    made = states.to_epochs()
    assert type(made) is mne.EpochsArray
    assert_array_equal(made.get_data(), states.probabilities)
    assert made.ch_names == ["state_0", "state_1"]
    assert set(made.get_channel_types()) == {"misc"}
    assert_array_equal(made.events, epochs.events)
    assert made.event_id == epochs.event_id
    assert_array_equal(made.times, epochs.times)
    assert made.tmin == epochs.tmin
    assert made.baseline is None
    assert made.info["meas_date"] == epochs.info["meas_date"]
    assert_array_equal(made.selection, epochs.selection)
    assert made.drop_log == epochs.drop_log
    pd.testing.assert_frame_equal(made.metadata, epochs.metadata)
    assert_array_equal(made["go"].get_data(), states.probabilities[::2])
    assert made["word == 'c'"].metadata["trial"].tolist() == [20]
    made._data[:] = 0
    made.events[:] = 0
    assert np.nanmax(states.probabilities) > 0
    assert_array_equal(states.to_epochs().events, epochs.events)


def test_to_epochs_of_what_was_selected(raw, hmm):
    """Repeated, unordered, of one condition, without metadata: MNE-Python makes all of these."""
    epochs = make_epochs(raw, preload=True)
    chosen = epochs[[5, 2, 2, 9]]
    made = hmm.predict(chosen).to_epochs()
    assert_array_equal(made.events, chosen.events)
    assert made.metadata["word"].tolist() == ["f", "c", "c", "j"]
    chosen = epochs["stay"]
    chosen.metadata = None
    made = hmm.predict(chosen).to_epochs()
    assert made.metadata is None
    assert made.event_id == {"stay": 2}
    assert_array_equal(made.selection, chosen.selection)


def test_decimated_epochs_keep_their_times(raw, hmm):
    for preload in (False, True):
        epochs = make_epochs(raw, decim=2, preload=preload, tmin=-0.1, tmax=1.0)
        states = hmm.predict(epochs)
        made = states.to_epochs()
        assert_array_equal(states.times, epochs.times)
        assert_allclose(made.times, epochs.times, rtol=0, atol=1e-12)
        assert made.info["sfreq"] == 125.0
        # Made epochs know the rate in which their events count.
        assert made._raw_sfreq == epochs._raw_sfreq == SFREQ


def test_what_the_other_kind_has(raw, epochs, hmm):
    with pytest.raises(ValueError, match=r"states of epochs, which are no Raw; use to_epochs"):
        hmm.predict(epochs).to_raw()
    with pytest.raises(ValueError, match=r"without epochs; cut mne\.Epochs\(raw, events\) out of"):
        hmm.predict(raw).to_epochs()


def test_a_visit_never_goes_on_in_the_next_epoch(epochs, hmm):
    states = hmm.predict(epochs)
    visits = states.visits
    assert_array_equal(visits.starts // 300, (visits.stops - 1) // 300)
    assert_array_equal(np.unique(visits.spans), np.arange(20))
    # Of each epoch by itself, and added up.
    n_visits = sum(1 + np.count_nonzero(np.diff(labels[2:-2])) for labels in states.labels)
    statistics = states.statistics()
    assert statistics.n_visits.sum() == n_visits == len(visits.states)
    at_ends = visits.censored.sum()
    one_visit = sum(len(np.unique(labels[2:-2])) == 1 for labels in states.labels)
    assert at_ends == 40 - one_visit == statistics.n_censored.sum()
    counts = np.bincount(states.labels[states.labels >= 0], minlength=2)
    assert_allclose(statistics.fractional_occupancy, counts / (20 * 296), rtol=1e-12)


def test_to_data_frame(epochs, hmm):
    states = hmm.predict(epochs[3:])
    table = states.to_data_frame()
    assert list(table) == ["time", "condition", "epoch", "label", "state_0", "state_1"]
    theirs = states.to_epochs().to_data_frame(scalings={"misc": 1})
    for column in ("time", "condition", "epoch", "state_0", "state_1"):
        assert_array_equal(table[column], theirs[column])
    assert_array_equal(table["label"], states.labels.ravel())
    assert table["epoch"].unique().tolist() == list(range(3, 20))


def test_plot_lays_epochs_end_to_end(epochs, hmm):
    states = hmm.predict(epochs)
    import matplotlib.pyplot as plt

    fig = states.plot(start=1.0, duration=2.0, show=False)
    (axes,) = fig.axes
    assert axes.get_xlabel() == "Time (s), epochs end to end"
    assert axes.get_xlim() == (1.0, 3.0)
    fig = states.plot(duration=100.0, show=False)
    assert fig.axes[0].get_xlim() == (0.0, 24.0)
    plt.close("all")


# Annotations


def test_annotations_of_a_model_lie_on_the_raw(raw, epochs, hmm):
    """They are those of predicted states, in the samples of the Raw."""
    (annotations,) = hmm.annotations_
    states = hmm.predict(epochs)
    assert annotations == states.to_annotations()
    annotated = raw.copy().set_annotations(raw.annotations + annotations)
    onsets = annotated.annotations.onset - annotated.first_time
    starts = annotated.time_as_index(onsets, use_rounding=True)
    stops = annotated.time_as_index(onsets + annotated.annotations.duration, use_rounding=True)
    written = np.full(raw.n_times, -1)
    for start, stop, name in zip(starts, stops, annotated.annotations.description, strict=True):
        written[start:stop] = int(name.removeprefix("hmm/state_"))
    first = epochs.events[:, :1] - raw.first_samp - 50
    assert_array_equal(written[first + np.arange(300)], states.labels)
    assert (written >= 0).sum() == (states.labels >= 0).sum()
    # MNE-Python places them in epochs likewise, those of the states included.
    made = states.to_epochs()
    made.set_annotations(annotated.annotations)
    per_epoch = made.get_annotations_per_epoch()
    assert_array_equal(
        [len(annotations) for annotations in per_epoch], np.bincount(states.visits.spans)
    )
    assert_allclose(
        [annotations[0][0] for annotations in per_epoch], epochs.times[2], rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("made_up", [False, True])
def test_overlapping_epochs(tmp_path, raw, hmm, made_up):
    if made_up:
        epochs = mne.EpochsArray(make_epochs(raw).get_data(), raw.info, verbose="ERROR")
    else:
        events = mne.make_fixed_length_events(raw, duration=0.7)[:20]
        epochs = mne.Epochs(raw, events, tmin=0, tmax=1, baseline=None, verbose="ERROR")
    states = hmm.predict(epochs)
    message = r"epochs 0 and 1 overlap in the recording.*axis for the epochs, or to_epochs\(\)"
    with pytest.raises(ValueError, match=message):
        states.to_annotations()
    assert len(states.to_epochs()) == len(epochs)
    assert states.statistics().n_visits.sum() == len(states.visits.states)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = fit_hmm(
            [make_epochs(raw), epochs], 2, preparation=SETTINGS, **{**QUICK, "verbose": None}
        )
    (message,) = [str(warning.message) for warning in caught if "overlap" in str(warning.message)]
    assert "annotations_ are left empty for recording 1;" in message
    assert [len(annotations) > 0 for annotations in model.annotations_] == [True, False]
    assert model.annotations_[1].orig_time == epochs.info["meas_date"]
    renamed = model.rename_states(["a", "b"])
    renamed.save(tmp_path / "x.h5")
    assert mne_hmm.read_hmm(tmp_path / "x.h5").annotations_ == renamed.annotations_


def test_epochs_that_meet_where_nothing_is_modeled_do_not_overlap(raw, hmm):
    """Four samples that the embedding takes off in any case may be shared."""
    for shared, overlap in ((4, False), (5, True)):
        samples = raw.first_samp + (300 - shared) * np.arange(5)
        events = np.stack([samples, 0 * samples, 1 + 0 * samples], 1)[[0, 3, 1, 2, 4]]
        epochs = mne.Epochs(
            raw, events, tmin=0, tmax=1.196, baseline=None, preload=True, verbose="ERROR"
        )
        states = hmm.predict(epochs)
        if overlap:
            with pytest.raises(ValueError, match="epochs 0 and 2 overlap"):
                states.to_annotations()
        else:
            raw.copy().set_annotations(states.to_annotations())


# In a folder


@pytest.mark.parametrize("kind", ["lazy", "loaded", "file", "lazy_file"])
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_in_a_folder(tmp_path, raw, kind, n_jobs):
    epochs = make_epochs(raw, preload=kind != "lazy")
    inst = epochs
    if "file" in kind:
        inst = tmp_path / "x-epo.fif"
        epochs.save(inst, fmt="double", verbose="ERROR")
        if kind == "lazy_file":
            inst = open_epochs(inst)
    folder = tmp_path / "prepared"
    prepared = prepare([inst, raw], SETTINGS, cache_dir=folder, n_jobs=n_jobs)
    assert_array_equal(prepared.data[0], prepare([inst, raw], SETTINGS).data[0])
    again = prepare([inst, raw], SETTINGS, cache_dir=folder)
    for data in (prepared, again, read_prepared(folder)):
        of_epochs, of_raw = data.time_maps
        labels = np.arange(of_epochs.n_rows) // 50 % 2
        states = StateTimeCourse.from_labels(labels, of_epochs, ("a", "b"))
        assert_array_equal(states.labels[3, 2:-2], labels[3 * 296 : 4 * 296])
        made = states.to_epochs()
        assert_array_equal(made.events, epochs.events)
        assert made.event_id == epochs.event_id
        assert_allclose(made.times, epochs.times, rtol=0, atol=1e-12)
        pd.testing.assert_frame_equal(made.metadata, epochs.metadata, check_names=False)
        assert made.drop_log == epochs.drop_log
        direct = StateTimeCourse.from_labels(
            labels, prepare(epochs, SETTINGS).time_maps[0], ("a", "b")
        )
        assert states.to_annotations() == direct.to_annotations()
        assert of_raw.timeline.epochs is None


def test_folders_of_other_epochs_are_not_mixed(tmp_path, raw):
    folder = tmp_path / "prepared"
    prepare(make_epochs(raw), SETTINGS, cache_dir=folder)
    other = make_epochs(raw, preload=True)
    other.metadata["trial"] += 1
    with pytest.raises(ValueError, match=r"another call.*the recording: epochs \(their events"):
        prepare(other, SETTINGS, cache_dir=folder)
    with pytest.raises(ValueError, match=r"another call.*signals"):
        prepare(make_epochs(raw)[3:], SETTINGS, cache_dir=folder)
    prepare(make_epochs(raw), SETTINGS, cache_dir=folder)
