"""The part of the data that is searched: where its windows are, and whose."""

import numpy as np
import pytest
from fake_workers import together
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from mne_hmm._utils.feature_sequence import FeatureSequence  # a base to count readings
from mne_hmm.engine import Samples
from mne_hmm.engine.runtime.workers import ALONE
from mne_hmm.engine.training import subsample
from mne_hmm.engine.training.subsample import (
    MAX_PER_FEATURE,
    MAX_SHARE,
    MIN_PER_FEATURE,
    MIN_WINDOWS,
    PER_FEATURE,
    SHARE,
    WINDOW,
    Subsample,
    choose_windows,
)
from mne_hmm.engine.training.whitening import Whitening

SHORT = 20  # samples of a window in tests that have the samples


class _Unread(FeatureSequence):
    """Data that nobody may look at."""

    def __init__(self, n_features):
        self.n_features, self.lengths = n_features, []

    def __getitem__(self, index):
        raise AssertionError("the windows depend on lengths only")

    stream = __getitem__


def _numbered(lengths, n_features=2):
    """Samples that are their own numbers."""
    n_samples = sum(map(sum, lengths))
    x = np.arange(1, n_samples + 1, dtype=np.float32)[:, None] * np.arange(1, n_features + 1)
    splits = np.cumsum([sum(of_recording) for of_recording in lengths])[:-1]
    return Samples([part.astype(np.float32) for part in np.split(x, splits)], lengths)


RECORDINGS = st.lists(
    st.lists(st.one_of(st.integers(1, 5), st.integers(1, 130)), min_size=1, max_size=5),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=60)
@given(lengths=RECORDINGS, n_states=st.integers(1, 4))
def test_windows_are_whole_and_their_rows_those_of_the_data(lengths, n_states):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subsample, "WINDOW", SHORT)
        samples = _numbered(lengths)
        windows = choose_windows(samples, n_states)
        part = Subsample.of(samples, Whitening.identity(2), n_states, ALONE)
    assert len(windows) == len(lengths)
    rows = [
        samples.arrays[i_recording][start:stop]
        for i_recording, of_recording in enumerate(windows)
        for start, stop in of_recording
    ]
    assert_array_equal(part.samples.arrays[0], np.concatenate(rows))
    assert part.samples.lengths == [[len(row) for row in rows]]
    blocks = [block for batch in part.data for block in batch.blocks]
    assert_array_equal(np.concatenate(blocks), np.concatenate(rows))
    # One window is one chain, and lies in one: it begins a whole number of windows after it, and
    # goes on until the next one or the chain's end.
    assert part.data.chains == [len(row) for row in rows]
    for i_recording, of_recording in enumerate(lengths):
        possible = {
            (begin + offset, begin + min(offset + SHORT, length))
            for begin, length in zip(np.cumsum([0, *of_recording]), of_recording, strict=False)
            for offset in range(0, length, SHORT)
        }
        assert set(windows[i_recording]) <= possible
        assert windows[i_recording] == sorted(set(windows[i_recording]))
    # The share is that of the samples in it.
    n = sum(map(len, rows))
    assert part.share == n / samples.n_samples
    assert n >= min(MIN_WINDOWS * SHORT, samples.n_samples)
    assert n >= SHARE * samples.n_samples
    assert n >= min(MIN_PER_FEATURE * n_states * 2, MAX_SHARE * samples.n_samples)


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(
        st.lists(st.sampled_from([1, 300, 1999, 2000, 2001, 70_000]), min_size=1, max_size=4),
        min_size=1,
        max_size=12,
    ),
    n_states=st.integers(2, 12),
    n_features=st.sampled_from([1, 10, 80]),
)
def test_the_share_is_as_large_as_it_should_be(lengths, n_states, n_features):
    samples = Samples(_Unread(n_features), lengths)
    n, per_feature = samples.n_samples, n_states * n_features
    taken = sum(
        stop - start
        for of_recording in choose_windows(samples, n_states)
        for start, stop in of_recording
    )
    # A share of the data, or as many per state and feature as they may need; never more than
    # fits into memory, and a few windows at least.
    enough = max(MAX_SHARE * n, MIN_PER_FEATURE * per_feature)
    least = max(SHARE * n, min(PER_FEATURE * per_feature, enough))
    least = max(min(least, MAX_PER_FEATURE * per_feature), MIN_WINDOWS * WINDOW)
    assert taken >= min(least, n)
    # Windows are at whole distances, so up to twice as many, and one more.
    assert taken <= min(2 * least + WINDOW, n)


def test_a_day_of_data_does_not_fill_the_memory():
    # A thousand recordings of an hour at 250 Hz: the part is as large as that of ten such.
    n_states, n_features = 8, 80
    few, many = (Samples(_Unread(n_features), [[900_000]] * n) for n in (10, 1000))
    sizes = [
        sum(b - a for of_recording in choose_windows(samples, n_states) for a, b in of_recording)
        for samples in (few, many)
    ]
    most = MAX_PER_FEATURE * n_states * n_features
    assert sizes[0] <= 2 * most
    assert most <= sizes[1] <= 1.1 * most
    # And it comes from all over them.
    windows = choose_windows(many, n_states)
    met = [i_recording for i_recording, of_recording in enumerate(windows) if of_recording]
    assert len(met) == sizes[1] // WINDOW
    assert np.ptp(np.diff(met)) <= 1


@pytest.mark.parametrize("chains", [[[1, 9]], [[1], [9]], [[1, 20] * 10], [[1], [20]] * 10])
def test_a_first_chain_of_one_sample_is_not_all_there_is(chains):
    # Chains of one sample, which some cut leaves over, and others of thousands. Were windows
    # counted, and not their samples, every second might be one of nothing.
    lengths = [
        [length if length == 1 else 1000 * length for length in chain_lengths]
        for chain_lengths in chains
    ]
    samples = Samples(_Unread(4), lengths)
    windows = choose_windows(samples, 3)
    taken = sum(b - a for of_recording in windows for a, b in of_recording)
    assert taken >= min(MIN_WINDOWS * WINDOW, samples.n_samples - 1)


def test_few_features_do_not_make_a_part_of_one_window():
    # Forty recordings, of three features: the part is not the first of them, or two.
    windows = choose_windows(Samples(_Unread(3), [[WINDOW]] * 40), 2)
    chosen = [index for index, of_recording in enumerate(windows) if of_recording]
    assert chosen == [0, 8, 16, 24, 32]
    # What is shorter than that is the part as a whole.
    lengths = [[1500], [2500, 40], [MIN_WINDOWS * WINDOW - 4040]]
    windows = choose_windows(Samples(_Unread(3), lengths), 2)
    assert sum(b - a for of_recording in windows for a, b in of_recording) == MIN_WINDOWS * WINDOW


@pytest.mark.parametrize("size", [2, 3, 7])
def test_all_workers_have_the_part_of_one(monkeypatch, size):
    # More workers than recordings, too: some then have nothing to read.
    monkeypatch.setattr(subsample, "WINDOW", SHORT)
    samples = _numbered([[33, 90], [1], [64, 2, 300], [20]])
    whitening = Whitening(
        np.array([3.0, -1.0]), np.diag([0.5, 0.25]), np.diag([2.0, 4.0]), np.zeros((2, 2))
    )
    alone = Subsample.of(samples, whitening, 2, ALONE)
    assert 1 < len(alone.data.chains) < 20
    for part in together(lambda workers: Subsample.of(samples, whitening, 2, workers), size):
        assert part.samples.lengths == alone.samples.lengths
        # Sums of one number and zeros have no rounding.
        assert_array_equal(part.samples.arrays[0], alone.samples.arrays[0])
        assert part.share == alone.share
        # What follows is each worker's own: nothing more is added up.
        assert part.data.workers is ALONE
        assert_array_equal(part.log_power(), alone.log_power())


def test_a_subset_is_half_of_the_windows(monkeypatch):
    monkeypatch.setattr(subsample, "WINDOW", SHORT)
    part = Subsample.of(_numbered([[100], [7], [45, 300]]), Whitening.identity(2), 4, ALONE)
    chains = np.split(part.samples.arrays[0], np.cumsum(part.data.chains)[:-1])
    firsts = {float(chain[0, 0]): chain for chain in chains}
    drawn = []
    for seed in range(5):
        subset = part.draw_half(np.random.default_rng(seed))
        (array,), (lengths,) = subset.arrays, subset.lengths
        assert len(lengths) == -(-len(chains) // 2)
        rows = np.split(array, np.cumsum(lengths)[:-1])
        for chain in rows:  # whole windows, in their order, none twice
            assert_array_equal(chain, firsts[float(chain[0, 0])])
        begins = [float(chain[0, 0]) for chain in rows]
        assert begins == sorted(set(begins))
        drawn.append(tuple(begins))
    assert len(set(drawn)) > 1
    # One window is as few as there can be.
    part = Subsample.of(_numbered([[15]]), Whitening.identity(2), 4, ALONE)
    assert part.draw_half(np.random.default_rng(0)).lengths == [[15]]


def test_the_part_is_in_the_coordinates_of_training(monkeypatch):
    monkeypatch.setattr(subsample, "WINDOW", SHORT)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 3)) + 5.0
    x = x.astype(np.float32)
    samples = Samples([x], [[400]])
    whitening = Whitening.fit(samples, centered=True, covariance_type="full")
    part = Subsample.of(samples, whitening, 2, ALONE)
    rows = [x[a:b] for (of_recording,) in [choose_windows(samples, 2)] for a, b in of_recording]
    assert 1 < len(rows) < 20
    want = (np.concatenate(rows) - whitening.center) @ whitening.forward
    # Computed in float64, then rounded to single precision.
    assert_allclose(part.samples.arrays[0], want, rtol=1e-6, atol=1e-7)
