"""Folds of recordings and of blocks: nothing is glued, nothing is on both sides."""

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm.validation.folds import RecordingSegments, make_folds, select_rows, split_halves

LAGS = 5
SETTINGS = mne_hmm.Preparation(
    l_freq=None, h_freq=None, sfreq=40.0, n_embeddings=LAGS, n_components=4
)


def recordings(lengths, seed=0):
    """Recordings at 100 Hz with a bad span each, so many seconds long."""
    rng = np.random.default_rng(seed)
    out = []
    for seconds in lengths:
        info = mne.create_info(["a", "b"], 100.0, "misc")
        raw = mne.io.RawArray(rng.standard_normal((2, 100 * seconds)), info, verbose=False)
        out.append(raw.set_annotations(mne.Annotations(seconds / 3, 0.7, "BAD_x")))
    return out


@pytest.fixture(scope="module")
def single():
    """One recording in two spans."""
    return mne_hmm.prepare(recordings([30]), SETTINGS)


@pytest.fixture(scope="module")
def three():
    """Three recordings of different lengths."""
    return mne_hmm.prepare(recordings([30, 11, 20]), SETTINGS)


def rows_of(parts):
    """Rows by recording, as a set."""
    return {(p.recording, row) for p in parts for run in p.segments for row in range(*run)}


def everything(prepared):
    return {(i, row) for i, m in enumerate(prepared.time_maps) for row in range(m.n_rows)}


def test_folds_of_recordings():
    """Each recording is held out once, whole; folds are of about the same length."""
    lengths = [30, 11, 20, 9, 12, 41]
    prepared = mne_hmm.prepare(recordings(lengths), SETTINGS)
    folds = make_folds(prepared, 3, gap=100.0)  # between recordings no gap is needed
    held_out = [[part.recording for part in fold.held_out] for fold in folds]
    assert held_out == [[5], [0, 1], [2, 3, 4]]  # 41 s each
    for fold in folds:
        assert rows_of(fold.held_out) | rows_of(fold.training) == everything(prepared)
        assert not rows_of(fold.held_out) & rows_of(fold.training)


@pytest.mark.parametrize("gap", [0.0, 1.0, 1.01])
def test_blocks_of_one_recording(single, gap):
    """Each row is held out once; what is near to it is not trained on."""
    folds = make_folds(single, 4, gap)
    # The embedding reaches 4 rows, at 40 Hz; a gap is not shorter than was asked for.
    n_gap = {0.0: LAGS - 1, 1.0: 40, 1.01: 41}[gap]
    seen = [row for fold in folds for row in sorted(rows_of(fold.held_out))]
    assert seen == sorted(everything(single))
    for fold in folds:
        held_out = np.array([row for _, row in sorted(rows_of(fold.held_out))])
        training = np.array([row for _, row in sorted(rows_of(fold.training))])
        assert_array_equal(np.diff(held_out), 1)
        distance = np.abs(held_out[:, np.newaxis] - training).min(axis=0)
        assert distance.min() == n_gap + 1
        edges = int(held_out[0] > 0) + int(held_out[-1] < len(single.data[0]) - 1)
        assert len(training) == len(single.data[0]) - len(held_out) - edges * n_gap


def test_no_signal_on_both_sides(single):
    """With the shortest gap, no sample of the resampled signal is in rows of both sides."""
    for fold in make_folds(single, 3, 0.0):
        inside, outside = (
            {row + lag for _, row in rows_of(parts) for lag in range(-2, 3)}
            for parts in (fold.held_out, fold.training)
        )
        assert not inside & outside


def test_blocks_of_few_recordings(three):
    """More folds than recordings: blocks of all laid end to end; others have no gap."""
    folds = make_folds(three, 5, 1.0)
    sizes = [sum(part.n_rows for part in fold.held_out) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    assert sorted(row for fold in folds for row in rows_of(fold.held_out)) == sorted(
        everything(three)
    )
    for fold in folds:
        touched = {part.recording for part in fold.held_out}
        whole = {row for row in everything(three) if row[0] not in touched}
        assert whole <= rows_of(fold.training)
        assert not rows_of(fold.held_out) & rows_of(fold.training)


def test_halves(single):
    """The two halves have a gap between them, and nothing in common."""
    first, second = (rows_of(half) for half in split_halves(single, 1.0))
    n = len(single.data[0])
    assert {min(first), max(second)} | {min(second), max(first)} == {
        (0, 0), (0, n // 2 - 41), (0, n // 2 + 40), (0, n - 1)
    }  # fmt: skip
    assert not first & second
    assert len(first) + len(second) == n - 80


# What is taken


def test_features_times_and_chains(single):
    """Rows keep their features and times, and every run is a chain of its own."""
    (first, last) = single.spans[0]
    runs = ((10, 20), (first[1] - 5, first[1] + 7))  # the second one crosses the bad span
    taken = select_rows(single, [RecordingSegments(0, runs)])
    rows = [*range(*runs[0]), *range(*runs[1])]
    assert_array_equal(taken.data[0], single.data[0][rows])
    assert_array_equal(taken.times[0], single.times[0][rows])
    assert taken.spans == [[(0, 10), (10, 15), (15, 22)]]
    assert last[0] == first[1]
    # What ends with a span has no part of the next one.
    assert select_rows(single, [RecordingSegments(0, ((first[1] - 5, first[1]),))]).spans == [
        [(0, 5)]
    ]
    assert isinstance(taken.data, list)
    assert np.shares_memory(
        select_rows(single, [RecordingSegments(0, ((10, 20),))]).data[0], single.data[0]
    )


def test_back_to_their_place(single):
    """Some rows go back to the samples of the recording that they go to among all rows."""
    rows = np.arange(len(single.data[0]))
    every = single.time_maps[0].spread(rows, -1)
    kept = np.r_[100:300, 600:800]
    taken = select_rows(single, [RecordingSegments(0, ((100, 300), (600, 800)))])
    places = taken.time_maps[0].spread(kept, -1)
    taken_samples = places >= 0
    # 40 of 100 Hz: each row speaks for 2.5 samples, so of a run one more or less.
    assert 996 <= taken_samples.sum() <= 1004
    # A sample halfway between two rows may be without the one it goes to.
    assert np.abs(places[taken_samples] - every[taken_samples]).max() <= 1
    assert np.mean(places[taken_samples] == every[taken_samples]) > 0.99
    assert_array_equal(np.unique(places[taken_samples]), kept)
    assert taken.time_maps[0].modeled() == [(a, b) for a, b in _runs(taken_samples)]


def _runs(mask):
    return np.flatnonzero(np.diff(np.concatenate([[0], mask, [0]]))).reshape(-1, 2).tolist()


@pytest.mark.slow
def test_chains_are_not_glued(single):
    """The log evidence of runs is the sum of that of each by itself."""
    hmm = mne_hmm.HMM(
        [0.9, 0.1],
        [[0.99, 0.01], [0.02, 0.98]],
        np.zeros((2, 4)),
        np.array([np.eye(4), 2 * np.eye(4)]),
        single.preparation,
        learned=mne_hmm.model.file.Learned(False),
    )
    runs = (100, 300), (500, 650)
    together = hmm.score(select_rows(single, [RecordingSegments(0, runs)])) * 350
    alone = [
        hmm.score(select_rows(single, [RecordingSegments(0, (run,))])) * (run[1] - run[0])
        for run in runs
    ]
    assert together == pytest.approx(sum(alone), rel=1e-9)


def test_from_a_folder(three, tmp_path):
    """Features in a folder are read when they are asked for, and are the same."""
    mne_hmm.prepare(recordings([30, 11, 20]), SETTINGS, cache_dir=tmp_path / "prepared")
    stored = mne_hmm.read_prepared(tmp_path / "prepared")
    for fold in (make_folds(three, 2, 1.0)[0], make_folds(three, 5, 1.0)[1]):
        memory, folder = select_rows(three, fold.training), select_rows(stored, fold.training)
        assert not isinstance(folder.data, list)
        assert (folder.n_samples, folder.n_features) == (memory.n_samples, memory.n_features)
        assert folder.spans == memory.spans
        for i, features in folder.data.stream(range(len(folder) - 1, -1, -1)):
            assert_array_equal(features, folder.data[i])
            # Products that say what the components are depend on rounding.
            assert_allclose(features, memory.data[i], rtol=0, atol=1e-4)


def test_one_recording_of_a_folder(three, tmp_path):
    """Parts of one recording that was taken out of a folder are read ahead as well."""
    mne_hmm.prepare(recordings([30, 11, 20]), SETTINGS, cache_dir=tmp_path / "prepared")
    second = mne_hmm.read_prepared(tmp_path / "prepared")[1]
    folder = select_rows(second, [RecordingSegments(0, ((100, 200), (300, 450)))])
    ((index, features),) = folder.data.stream([0])
    assert index == 0
    whole = second.data[0]
    assert_array_equal(features, np.concatenate([whole[100:200], whole[300:450]]))


def test_too_little(single):
    with pytest.raises(ValueError, match=r"cannot be cut into 3 blocks with gaps of 30.00 s; use"):
        make_folds(single, 3, 30.0)
    tiny = select_rows(single, [RecordingSegments(0, ((0, 3),))])
    with pytest.raises(ValueError, match="cannot be cut into 4 blocks"):
        make_folds(tiny, 4, 0.0)
