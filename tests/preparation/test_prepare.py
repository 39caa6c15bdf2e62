"""From recordings to features: each step, their order, and what new recordings get."""

import dataclasses
import tracemalloc

import mne
import numpy as np
import pytest
from helpers import annotate
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import hilbert

from mne_hmm import FittedPreparation, Preparation, prepare
from mne_hmm.preparation.embedding import embed

SFREQ = 250.0
# Keeps signals as they are, so that single steps can be switched on.
AS_IS = Preparation.as_is()


def step(**changes):
    """Only what is named, and nothing else."""
    return dataclasses.replace(AS_IS, **changes)


def noise_raw(n_times=5000, n_channels=4, sfreq=SFREQ, seed=0, **kwargs):
    """Correlated noise with power at all frequencies, of a size as in EEG."""
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((n_channels, n_times)).cumsum(1) * 0.05
    data += rng.standard_normal((n_channels, n_channels)) @ rng.standard_normal(data.shape)
    info = mne.create_info(n_channels, sfreq, "eeg")
    return mne.io.RawArray(1e-5 * data, info, verbose="ERROR", **kwargs)


def zscore(x):
    """Z-score of each column, in float64."""
    return (x - x.mean(0)) / x.std(0)


def assert_float32_close(got, expected):
    # Results are stored in float32, which rounds by 6e-8; a few roundings add up.
    expected = np.asarray(expected)
    assert_allclose(got, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def assert_features_close(got, expected):
    # As above, for features, which are sums of many products in float32.
    expected = np.asarray(expected)
    assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


# The settings


def test_named_preparations():
    default = Preparation()
    assert (default.l_freq, default.h_freq, default.sfreq) == (1.0, 45.0, 250.0)
    assert (default.n_embeddings, default.n_components, default.n_lost) == (15, "auto", 7)
    assert default.standardize
    assert not default.whiten
    assert not default.envelope
    assert Preparation.time_delay_embedded(n_components=3) == Preparation(n_components=3)
    assert Preparation.amplitude_envelope(h_freq=30) == Preparation(
        envelope=True, n_embeddings=1, h_freq=30
    )
    nothing = {
        "l_freq": None, "h_freq": None, "sfreq": None, "n_components": None, "n_embeddings": 1,
    }  # fmt: skip
    assert Preparation.standardized(l_freq=0.01) == Preparation(**{**nothing, "l_freq": 0.01})
    assert Preparation.as_is() == Preparation(**nothing, standardize=False)


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Preparation().l_freq = 3.0


# Single steps


@pytest.mark.parametrize(("l_freq", "h_freq"), [(1.0, 45.0), (2.0, None), (None, 30.0)])
def test_filter_is_that_of_mne(l_freq, h_freq):
    raw = noise_raw()
    expected = raw.copy().filter(l_freq, h_freq).get_data().T
    got = prepare(raw, step(l_freq=l_freq, h_freq=h_freq))
    assert_float32_close(got.data[0], expected)


def test_bad_spans_are_filtered_across_but_not_modeled():
    raw = annotate(noise_raw(), (2000, 2050, "BAD_jump"))
    raw._data[:, 2000:2050] += 1e-3  # rings into the good samples around
    whole = raw.copy().filter(1, 45).get_data().T
    expected = np.concatenate([whole[:2000], whole[2050:]])
    got = prepare(raw, step(l_freq=1, h_freq=45))
    assert got.spans == [[(0, 2000), (2000, 4950)]]
    assert_float32_close(got.data[0], expected)


def test_edges_are_not_filtered_across():
    first, second = noise_raw(2000), noise_raw(3001, seed=1)
    second._data += 1e-3  # a jump that would ring into both
    raw = mne.concatenate_raws([first.copy(), second.copy()])
    parts = [raw.copy().filter(1, 45).get_data().T for raw in (first, second)]
    got = prepare(raw, step(l_freq=1, h_freq=45))
    assert got.spans == [[(0, 2000), (2000, 5001)]]
    assert_float32_close(got.data[0], np.concatenate(parts))
    # And that is what MNE makes of the whole.
    assert_float32_close(got.data[0], raw.filter(1, 45).get_data().T)


def test_a_bad_span_without_numbers_is_not_filtered_across():
    raw = annotate(noise_raw(), (2000, 2050, "BAD_nan"))
    parts = [raw.copy().crop(tmax=1999 / SFREQ), raw.copy().crop(tmin=2050 / SFREQ)]
    expected = [segment.filter(1, 45).get_data().T for segment in parts]
    raw._data[0, 2010:2020] = np.nan
    got = prepare(raw, step(l_freq=1, h_freq=45))
    assert_float32_close(got.data[0], np.concatenate(expected))


def test_envelope_is_that_of_the_filtered_signal():
    raw = noise_raw(5001)
    filtered = raw.copy().filter(8, 13).get_data()
    got = prepare(raw, step(l_freq=8, h_freq=13, envelope=True)).data[0]
    # Some 100 samples from the ends the Hilbert transform depends on how it is padded.
    away = slice(250, -250)
    expected = np.abs(hilbert(filtered, axis=1)).T
    assert_allclose(got[away], expected[away], rtol=0, atol=1e-3 * expected.max())


def test_standardization_is_over_the_good_samples_of_each_recording():
    raws = [annotate(noise_raw(seed=i), (1000, 3000, "BAD_x")) for i in range(2)]
    raws[0]._data[:, 1000:3000] *= 100
    raws[1]._data = 7 * raws[1]._data + 1e-3
    got = prepare(raws, step(standardize=True))
    for raw, x in zip(raws, got.data, strict=True):
        good = raw.get_data(reject_by_annotation="omit").T
        assert x.shape == (3000, 4)
        assert_float32_close(x, zscore(good))


# Resampling


@pytest.mark.parametrize("sfreq", [160.0, 512.0, 600.614990234375, 1000.0, 250.0])
@pytest.mark.parametrize("target", [250.0, 100.0])
def test_resampled_signals_lie_at_the_times_they_are_said_to(sfreq, target):
    def signal(times):
        # Known phase; dies away towards both ends, which no resampling does well.
        window = np.exp(-(((times - 15) / 3.5) ** 2))
        return window * np.sin(2 * np.pi * 7.3 * times + 0.4)

    n_times = int(30 * sfreq) + 3
    got = prepare(signal(np.arange(n_times) / sfreq)[None], step(sfreq=target), sfreq=sfreq)
    (times,) = got.times
    # The far ends of the padding differ, which shows a little. A shift by a hundredth of a
    # sample would give 2e-3.
    assert_allclose(got.data[0][:, 0], signal(times), rtol=0, atol=2e-5)
    assert got.sfreq == target
    # The rate is what was asked for, and no sample is missing.
    assert_allclose(np.diff(times), 1 / target, rtol=1e-8, atol=0)
    assert times[0] == 0
    last = (n_times - 1) / sfreq
    assert last - 1 / target < times[-1] <= last


def test_resampling_starts_anew_behind_an_edge():
    first, second = noise_raw(1501), noise_raw(2003, seed=1)
    raw = mne.concatenate_raws([first.copy(), second.copy()])
    got = prepare(raw, step(sfreq=100.0))
    alone = [prepare(recording, step(sfreq=100.0)) for recording in (first, second)]
    assert_array_equal(got.data[0], np.concatenate([prepared.data[0] for prepared in alone]))
    behind = got.spans[0][1][0]
    assert got.times[0][behind] == 1501 / SFREQ


def test_no_rate_keeps_that_of_the_recording():
    got = prepare(noise_raw(), AS_IS)
    assert got.sfreq == SFREQ
    assert_array_equal(got.times[0], np.arange(5000) / SFREQ)


# All steps in order


def by_hand(raws, n_lags, n_components, whiten=False):
    """Filter, z-score, embed, project on components of all recordings, z-score again."""
    embedded = []
    for raw in raws:
        x = raw.copy().filter(1, 45).get_data(reject_by_annotation="omit").T
        embedded.append(embed(zscore(x), n_lags))
    values, vectors = np.linalg.eigh(sum(e.T @ e for e in embedded))
    values, vectors = values[::-1][:n_components], vectors[:, ::-1][:, :n_components]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(n_components)])
    if whiten:
        vectors = vectors / np.sqrt(values)
    return [zscore(e @ vectors) for e in embedded], vectors, values


@pytest.mark.parametrize("whiten", [False, True])
def test_all_steps_are_those_made_by_hand(whiten):
    raws = [noise_raw(4001), noise_raw(2500, seed=1)]
    settings = Preparation(sfreq=None, n_embeddings=9, n_components=6, whiten=whiten)
    got = prepare(raws, settings)
    features, components, values = by_hand(raws, 9, 6, whiten)
    assert [x.shape for x in got.data] == [(3993, 6), (2492, 6)]
    for x, expected in zip(got.data, features, strict=True):
        assert x.dtype == np.float32
        assert_features_close(x, expected)
    assert_features_close(got.preparation.components_, components)
    assert_allclose(got.preparation.eigenvalues_, values, rtol=1e-5, atol=0)  # of float32 data


def test_published_features(reference):
    published = reference("embedding")
    recordings = [published[f"x_{i}"].T for i in range(2)]
    settings = step(n_embeddings=15, n_components=20, standardize=True)
    got = prepare(recordings, settings, sfreq=SFREQ)
    for i in range(2):
        assert_features_close(got.data[i], published[f"standardized_{i}"])
    assert_features_close(got.preparation.components_, published["pca_components"])
    share = float(published["explained_variance"])
    # The published share was computed in float32.
    assert_allclose(got.preparation.explained_variance_, share, rtol=1e-6, atol=0)


def test_embedding_does_not_cross_a_cut():
    raw = annotate(noise_raw(), (2000, 2001, "BAD_x"), (3000, 3000, "EDGE boundary"))
    x = raw.get_data().T.astype(np.float32)
    got = prepare(raw, step(n_embeddings=5))
    parts = [embed(x[a:b], 5) for a, b in ((0, 2000), (2001, 3000), (3000, 5000))]
    assert got.spans == [[(0, 1996), (1996, 2991), (2991, 4987)]]
    assert_array_equal(got.data[0], np.concatenate(parts))


def test_components_are_of_all_recordings_together():
    raws = [noise_raw(4000), noise_raw(3000, seed=1)]
    settings = Preparation(n_embeddings=5, n_components=4)
    together = prepare(raws, settings).preparation.components_
    for raw in raws:
        alone = prepare(raw, settings).preparation.components_
        assert np.abs(alone - together).max() > 0.01


# What is fitted, and what new recordings get


def test_a_fitted_preparation_gives_its_own_recordings_the_same_features():
    raws = [noise_raw(4000), noise_raw(3000, seed=1)]
    fitted = prepare(raws, Preparation(n_embeddings=5, n_components=6))
    again = prepare(raws, fitted.preparation)
    for x, y in zip(again.data, fitted.data, strict=True):
        assert_array_equal(x, y)
    assert again.preparation is fitted.preparation
    assert again.spans == fitted.spans


def test_a_fitted_preparation_is_applied_not_fitted_anew():
    raw, new = noise_raw(4000), noise_raw(3000, seed=1)
    fitted = prepare(raw, Preparation(sfreq=None, n_embeddings=5, n_components=6)).preparation
    x = new.copy().filter(1, 45).get_data().T
    expected = zscore(embed(zscore(x), 5) @ fitted.components_)
    assert_features_close(prepare(new, fitted).data[0], expected)


def test_a_fitted_preparation_takes_recordings_at_any_rate():
    # The same three sinusoids at three rates; in the middle their features are the same.
    def raw_at(sfreq):
        times = np.arange(int(40 * sfreq)) / sfreq
        rates, phases = [[5.0], [7.0], [11.0]], [[0.1], [1.2], [2.3]]
        data = np.sin(2 * np.pi * np.array(rates) * times + phases)
        return mne.io.RawArray(data, mne.create_info(3, sfreq, "eeg"), verbose="ERROR")

    fitted = prepare(raw_at(250.0), Preparation(n_embeddings=5, n_components=3))
    expected = fitted.data[0][2500:7500]
    for sfreq in (500.0, 1000.0):
        got = prepare(raw_at(sfreq), fitted.preparation)
        start = np.argmin(np.abs(got.times[0] - fitted.times[0][2500]))
        # Standardized over the whole, ends included, where filters see different things.
        assert_allclose(got.data[0][start : start + 5000], expected, rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("n_components", "expected"),
    [("auto", 20), (7, 7), (np.int64(7), 7), (1.0, 20), (1, 1), (None, 20)],
)
def test_number_of_features(n_components, expected):
    got = prepare(noise_raw(), Preparation(n_embeddings=5, n_components=n_components))
    assert got.n_features == got.preparation.n_features_ == got.data[0].shape[1] == expected


def test_auto_is_eighty_components_at_most():
    assert prepare(noise_raw(n_channels=6)).n_features == 80


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_share_of_the_variance_is_reached_but_not_exceeded(share):
    raw = noise_raw()
    got = prepare(raw, Preparation(n_embeddings=5, n_components=share)).preparation
    all_of_them = prepare(raw, Preparation(n_embeddings=5)).preparation
    shares = np.cumsum(all_of_them.eigenvalues_) / all_of_them.eigenvalues_.sum()
    n = got.n_features_
    assert shares[n - 1] >= share
    assert n == 1 or shares[n - 2] < share
    assert_allclose(got.explained_variance_, shares[n - 1], rtol=1e-12, atol=0)


def test_what_a_fitted_preparation_tells():
    raw = noise_raw().rename_channels(dict(zip("0123", "wxyz", strict=True)))
    settings = Preparation(sfreq=100, n_embeddings=3, n_components=5)
    got = prepare(raw, settings)
    assert isinstance(got.preparation, FittedPreparation)
    assert got.preparation.settings == settings.settings
    assert got.preparation.ch_names_ == ("w", "x", "y", "z")
    assert got.ch_names == ["w", "x", "y", "z"]
    assert (got.preparation.sfreq_, got.sfreq) == (100, 100)
    assert got.preparation.rank_ == 4
    assert got.preparation.components_.shape == (12, 5)


def test_dependent_channels_are_told_of():
    raw = noise_raw()
    raw._data -= raw._data.mean(0)
    with pytest.warns(RuntimeWarning, match="4 channels have rank 3"):
        got = prepare(raw, Preparation(n_embeddings=5))
    assert got.preparation.rank_ == 3
    assert got.n_features == 15  # three channels times five lags


# What is left out


def test_short_spans_are_left_out_and_counted():
    # Good: 15 samples, which are one row; 14 and 3, which are none; and two long ones.
    bad = [(1000, 1002), (1017, 1020), (1034, 1040), (1043, 1044)]
    raw = annotate(noise_raw(), *((a, b, "BAD_x") for a, b in bad))
    with pytest.warns(RuntimeWarning, match="2 good spans shorter than the 15 samples"):
        got = prepare(raw, Preparation(sfreq=None, n_components=5))
    assert got.spans == [[(0, 986), (986, 987), (987, 987 + 5000 - 1044 - 14)]]
    modeled = [(7, 993), (1009, 1010), (1051, 4993)]
    assert got.time_maps[0].modeled() == modeled
    seconds = (5000 - sum(b - a for a, b in modeled)) / SFREQ
    assert_allclose(got.seconds_left_out, [seconds], rtol=1e-12, atol=0)


def test_short_pieces_are_not_filtered_in_vain():
    # MNE-Python warns of filters longer than the signal, here for nothing.
    raw = mne.concatenate_raws([noise_raw(), noise_raw(10, seed=1)])
    with pytest.warns(RuntimeWarning) as warned:
        got = prepare(raw, Preparation(n_components=5))
    assert [str(warning.message)[:11] for warning in warned] == ["1 good span"]
    assert got.spans == [[(0, 4986)]]


def test_few_samples_that_lie_close_together():
    """In a handful it is chance, and nothing to refuse; in more it is no signal."""
    close = 99.7 + 2e-5 * np.random.default_rng(0).random((1, 10))
    as_is = Preparation.as_is()
    features = prepare(close[:, :9], as_is, sfreq=100.0).data[0]
    assert_array_equal(features, close[:, :9].T.astype(np.float32))
    with pytest.raises(ValueError, match="varies too little in channel_0"):
        prepare(close, as_is, sfreq=100.0)


def test_padding_is_left_out_with_a_warning():
    raw = noise_raw()
    raw._data[:, 4000:] = np.array([[1.0], [2.0], [0.0], [-3.0]])
    with pytest.warns(RuntimeWarning, match=r"4.00 s without any signal .* the recording"):
        got = prepare(raw, step(l_freq=1, h_freq=45))
    assert got.time_maps[0].modeled() == [(0, 4000)]
    # Filtered by itself: the jump into silence does not ring.
    alone = raw.copy().crop(tmax=3999 / SFREQ).filter(1, 45).get_data().T
    assert_float32_close(got.data[0], alone)


def test_padding_that_is_a_piece_of_its_own_is_left_out_too():
    silence = noise_raw(500)
    silence._data[:] = 0
    raw = mne.concatenate_raws([noise_raw(2000), silence, noise_raw(2000, seed=1)])
    with pytest.warns(RuntimeWarning, match="2.00 s without any signal"):
        got = prepare(raw, AS_IS)
    assert got.time_maps[0].modeled() == [(0, 2000), (2500, 4500)]


def test_padding_that_is_annotated_needs_no_warning():
    raw = annotate(noise_raw(), (2000, 2400, "BAD_padding"))
    raw._data[:, 2100:2300] = 0
    assert prepare(raw, AS_IS).time_maps[0].modeled() == [(0, 2000), (2400, 5000)]


@pytest.mark.parametrize(("n_still", "cut_out"), [(25, True), (24, False)])
def test_a_moment_of_rest_is_no_padding(n_still, cut_out):
    # A tenth of a second and longer counts, in all channels at once.
    raw = noise_raw()
    raw._data[:, 2000 : 2000 + n_still] = 1e-5
    raw._data[1, 3000:3500] = 1e-5
    if not cut_out:
        assert prepare(raw, AS_IS).time_maps[0].modeled() == [(0, 5000)]
        return
    with pytest.warns(RuntimeWarning, match="0.10 s without any signal"):
        got = prepare(raw, AS_IS)
    assert got.time_maps[0].modeled() == [(0, 2000), (2000 + n_still, 5000)]


# Size, and what prepared data look like


def test_the_embedded_matrix_is_never_formed():
    n_times, n_channels, n_lags, n_components = 60_000, 8, 35, 10
    x = noise_raw(n_times, n_channels).get_data()
    settings = step(n_embeddings=n_lags, n_components=n_components, standardize=True)
    tracemalloc.start()
    prepare(x, settings, sfreq=SFREQ)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.4 * n_times * n_channels * n_lags * 4


def test_prepared_data_describe_themselves():
    raws = [annotate(noise_raw(), (1000, 2000, "BAD_x")), noise_raw(seed=1)]
    got = prepare(raws, Preparation(n_embeddings=5, n_components=6))
    assert len(got) == 2
    assert got.n_samples == 996 + 2996 + 4996
    assert [len(times) for times in got.times] == [996 + 2996, 4996]
    assert_allclose(got.seconds_left_out, [1008 / SFREQ, 4 / SFREQ], rtol=1e-12, atol=0)
    text = str(got)
    assert "2 recordings in 3 spans" in text
    assert "channels   4 (0, 1, 2, 3)" in text
    assert "features   6" in text
    assert "8,988 at 250 Hz (36.0 s)" in text


def test_real_recording(eegbci):
    raw = eegbci(2)[0]
    with pytest.warns(RuntimeWarning, match="0.80 s without any signal"):
        got = prepare(raw, Preparation(sfreq=None, n_embeddings=5, n_components=12))
    # The file has 61 s, of which the last are padding.
    n_good = 9632
    assert got.time_maps[0].modeled() == [(2, n_good - 2)]
    (expected,), components, _ = by_hand([raw.load_data().crop(tmax=(n_good - 1) / 160)], 5, 12)
    assert_features_close(got.preparation.components_, components)
    assert_features_close(got.data[0], expected)
