"""Spectra and autocovariances of states from a model alone."""

from dataclasses import replace

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.signal import csd, lfilter

import mne_hmm
from mne_hmm import HMM, DualEstimate, FittedPreparation, Preparation
from mne_hmm.model.file import Learned
from mne_hmm.preparation.patterns import (
    by_lag,
    embedded_covariances,
    feature_patterns,
    input_filters,
    zero_lag,
)


@pytest.fixture(scope="module")
def rich(simulated):
    """A model of the simulated minute with nearly all that the lags hold."""
    raw, _ = simulated
    return mne_hmm.fit_hmm(raw, 3, n_init=1, refine=False, random_state=3)


def one_state(raw, **changes):
    """A model of one state, whose covariance is that of all features."""
    prepared = mne_hmm.prepare(raw, Preparation(**changes), verbose="ERROR")
    x = np.concatenate(prepared.data).astype(float)
    covariance = x.T @ x / len(x)
    return HMM(
        [1.0],
        [[1.0]],
        np.zeros((1, x.shape[1])),
        covariance[np.newaxis],
        prepared.preparation,
        learned=Learned(False),
    )


def near(a, b, tolerance):
    """Compare relative to the largest entry."""
    assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


# Arithmetic


def test_as_the_reference(reference):
    """Embedded, zero lag and by lag: the numbers of osl-dynamics."""
    arrays = reference("tde_covariance")
    patterns = arrays["pca_components"].astype(float)
    embedded = embedded_covariances(arrays["covariances"], patterns)
    near(embedded, arrays["embedded_covariances"], 1e-12)
    near(zero_lag(embedded, 15), arrays["raw_covariances_zero_lag"], 1e-12)
    near(by_lag(embedded, 15), arrays["autocovariance"], 1e-12)


def test_result_as_the_reference(reference):
    """The same through a model whose features were not standardized."""
    arrays = reference("tde_covariance")
    preparation = FittedPreparation(
        standardize=False,
        ch_names_=tuple("abcd"),
        components_=arrays["pca_components"],
        sfreq_=250.0,
    )
    n = len(arrays["covariances"])
    hmm = HMM(
        np.full(n, 1 / n),
        np.full((n, n), 1 / n),
        np.zeros((n, 20)),
        arrays["covariances"],
        preparation,
        learned=Learned(False),
    )
    model = mne_hmm.model_autocovariance(hmm)
    assert_allclose(model.lags, arrays["tau"], rtol=0, atol=1e-15)
    # Components are made to have norm 1 in float64; in float32 they have it to 1e-7.
    near(model.values, arrays["autocovariance"], 1e-6)
    near(model.power, arrays["channel_power"], 1e-6)
    assert str(model) == "<ModelAutocovariance | 2 states, 4 channels, lags up to ±56 ms>"


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("standardize", [False, True])
def test_preparation_is_undone(simulated, whiten, standardize):
    """Covariances of features become those of the embedded channels."""
    raw, _ = simulated
    changes = {"whiten": whiten, "standardize": standardize}
    hmm = one_state(raw, n_components=80, **changes)
    direct = one_state(raw, n_components=None, standardize=standardize)
    patterns = feature_patterns(hmm.preparation_)
    # Channels are standardized over the whole recording, but embedded without its ends, and 80
    # components hold all but 1e-7 of the variance.
    near(embedded_covariances(hmm.covariances_, patterns), direct.covariances_, 5e-3)
    # Filters and patterns are each other's inverse. Components are in float32, and scales of
    # features differ by a factor of 1000.
    unit = input_filters(hmm.preparation_).T @ patterns
    assert_allclose(unit, np.eye(80), rtol=0, atol=1e-4)


def test_no_components(simulated):
    """Without components the features are the embedded channels."""
    hmm = one_state(simulated[0], n_components=None)
    model = mne_hmm.model_autocovariance(hmm)
    assert_allclose(model.power, 1, rtol=0, atol=1e-6)  # standardized
    x = mne_hmm.prepare(simulated[0], Preparation(n_embeddings=1, n_components=None)).data[0]
    later = x[3:, 0] @ x[:-3, 1] / len(x)
    assert_allclose(model.values[0, 0, 1, 14 + 3], later, rtol=0, atol=5e-3)  # as above


def test_scales_without_eigenvalues(simulated):
    """Variances of components are found again, as far as channels tell them."""
    hmm = one_state(simulated[0], n_components=12)
    from_eigenvalues = feature_patterns(hmm.preparation_)
    from_components = feature_patterns(replace(hmm.preparation_, eigenvalues_=None))
    variances = [(p**2).sum(axis=0) for p in (from_eigenvalues, from_components)]
    assert np.corrcoef(np.log(variances))[0, 1] > 0.9
    assert_allclose((from_components**2).sum(axis=1).mean(), 1, rtol=0, atol=0.1)
    # Whitened components have lengths that tell them.
    whitened = one_state(simulated[0], n_components=12, whiten=True).preparation_
    assert_allclose(
        feature_patterns(replace(whitened, eigenvalues_=None)),
        feature_patterns(whitened),
        rtol=1e-5,  # components are in float32
    )


# Autocovariance and spectra of states


def test_power_is_that_of_the_recording(simulated, rich):
    """Variances of the model are those of the signals while a state is on."""
    raw, _ = simulated
    x = raw.copy().filter(1, 45, picks="all", verbose="ERROR").get_data()
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    gamma = np.nan_to_num(rich.predict(raw).probabilities)
    expected = gamma @ (x**2).T / gamma.sum(axis=1, keepdims=True)
    # Nothing is left out; features have their own standard deviations, which differ by 1e-3.
    assert_allclose(mne_hmm.model_autocovariance(rich).power, expected, rtol=0.02)


def test_spectra_peak_where_states_do(simulated, rich):
    """Peaks at 4, 7 and 10 Hz, and spectra like those of the recording."""
    raw, truth = simulated
    spectra = mne_hmm.compute_model_spectra(rich)
    assert_allclose(spectra.freqs, np.arange(1, 45.5, 0.5), rtol=1e-12)
    probabilities = np.nan_to_num(rich.predict(raw).probabilities)
    order = (probabilities @ truth.probabilities.T).argmax(axis=1)
    assert sorted(order) == [0, 1, 2]
    peaks = spectra.freqs[spectra.psd.mean(axis=1).argmax(axis=1)]
    # The lags are 60 ms long, a quarter of a cycle of the lowest.
    assert_allclose(peaks, np.array([4.0, 7.0, 10.0])[order], rtol=0, atol=0.5)
    x = raw.copy().filter(1, 45, picks="all", verbose="ERROR").get_data()
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    for psd, gamma in zip(spectra.psd, probabilities, strict=True):
        windows = (x * gamma).reshape(8, 30, 500).swapaxes(0, 1)
        density, _ = mne.time_frequency.psd_array_multitaper(
            windows, 250.0, fmin=1, fmax=45, bandwidth=4, normalization="full", verbose="ERROR"
        )
        expected = density.mean(axis=0) * gamma.size / (gamma**2).sum()
        assert np.corrcoef(psd.ravel(), expected.ravel())[0, 1] > 0.9
        # Fading in and out moves some power below 1 Hz, and resolution moves some more.
        assert_allclose(psd.sum(), expected.sum(), rtol=0.2)


def test_phase_and_coherence():
    """A channel that lags by three samples has the phase that scipy finds."""
    rng = np.random.default_rng(0)
    source = lfilter([1], [1, -1.6, 0.8], rng.standard_normal(50_000))
    noise = rng.standard_normal((3, 50_000))
    data = np.stack([source, np.roll(source, 3), np.zeros(50_000)]) + noise
    raw = mne.io.RawArray(data, mne.create_info(3, 250.0, "misc"), verbose="ERROR")
    hmm = one_state(raw, n_components=None)
    spectra = mne_hmm.compute_model_spectra(hmm)
    freqs, expected = csd(data[0], data[1], fs=250.0, nperseg=500)
    inside = (freqs >= 10) & (freqs <= 30)
    cross_spectrum = spectra.csd[0, 0, 1][spectra.band(10, 30)]
    # 20,000 samples are 40 windows or more of each frequency: 0.1 is three standard errors.
    assert_allclose(np.angle(cross_spectrum * expected[inside].conj()), 0, atol=0.1)
    assert_allclose(np.angle(cross_spectrum), -2 * np.pi * freqs[inside] * 3 / 250, atol=0.15)
    assert spectra.coherence[0, 0, 1][spectra.band(10, 30)].mean() > 0.7
    assert spectra.coherence[0, 0, 2].mean() < 0.1
    assert np.all(spectra.coherence <= 1 + 1e-9)
    near(spectra.csd[0], spectra.csd[0].conj().swapaxes(0, 1), 1e-9)


def test_units_do_not_matter(simulated):
    """Microvolts or volts: the same spectra, in their units."""
    raw, _ = simulated
    in_volts = raw.copy().apply_function(lambda x: 1e-6 * x, picks="all")
    spectra, small = (
        mne_hmm.compute_model_spectra(one_state(recording, n_components=40, standardize=False))
        for recording in (raw, in_volts)
    )
    assert not spectra.standardized
    near(1e12 * small.csd, spectra.csd, 1e-3)  # features are in float32
    x = raw.copy().filter(1, 45, picks="all", verbose="ERROR").get_data()
    total = (spectra.psd[0] * 0.5).sum(axis=1)
    assert_allclose(total, x.var(axis=1), rtol=0.2)  # less what is below 1 Hz


def test_frequencies(rich):
    """Those asked for, less those that were filtered away; between them, densities too."""
    coarse = mne_hmm.compute_model_spectra(rich, fmin=4, fmax=12, resolution=2)
    fine = mne_hmm.compute_model_spectra(rich, fmin=4, fmax=12, resolution=0.25)
    assert_allclose(coarse.freqs, [4, 6, 8, 10, 12], rtol=1e-12)
    assert len(fine.freqs) == 33
    assert_allclose(fine.csd[..., ::8], coarse.csd, rtol=1e-12)
    halfway = (fine.csd[..., 0] + fine.csd[..., 2]) / 2
    assert_allclose(fine.csd[..., 1], halfway, rtol=1e-12)
    wide = mne_hmm.compute_model_spectra(rich, fmin=1, fmax=120, resolution=1)
    assert wide.freqs[-1] == 50  # half amplitude of the filter is at 50.6 Hz


def test_weights_are_times(fitted, simulated):
    """The model's own share of time, in seconds of training; of a recording, its own."""
    raw, _ = simulated
    occupancy = fitted.predict(raw).statistics().fractional_occupancy
    spectra = mne_hmm.compute_model_spectra(fitted)
    assert_allclose(spectra.weights, occupancy * 59.9, rtol=0.1)
    dual = fitted.dual_estimate(raw)
    individual = mne_hmm.compute_model_spectra(fitted, dual=dual)
    assert_allclose(individual.weights, dual.weights)
    # The model was trained on this recording.
    near(individual.csd, spectra.csd, 0.02)
    assert spectra.ch_names == raw.ch_names
    assert spectra.state_names == fitted.state_names


def test_estimate_of_a_recording(fitted):
    """Other covariances give other spectra, and a state that is never on has none."""
    covariances = fitted.covariances_.copy()
    covariances[1] *= 2
    covariances[2] = np.nan
    dual = DualEstimate(fitted.means_, covariances, np.array([2.0, 3.0, 0.0]), fitted.state_names)
    spectra = mne_hmm.compute_model_spectra(fitted)
    individual = mne_hmm.compute_model_spectra(fitted, dual=dual)
    assert_allclose(individual.csd[0], spectra.csd[0], rtol=1e-6)
    # More power, but the few steps end before it has grown everywhere.
    assert 1.2 < individual.psd[1].sum() / spectra.psd[1].sum() < 2
    assert np.isnan(individual.csd[2]).all()
    assert np.isnan(mne_hmm.model_autocovariance(fitted, dual=dual).power[2]).all()


def test_channels_get_their_places(fitted):
    """Channels of the model are picked by name, in its order."""
    names = [*reversed(fitted.preparation_.ch_names_), "other"]
    info = mne.create_info(names, 100.0, "eeg")
    spectra = mne_hmm.compute_model_spectra(fitted, info=info)
    assert spectra.ch_names == list(fitted.preparation_.ch_names_)
    assert set(spectra.info.get_channel_types()) == {"eeg"}


@pytest.mark.slow
def test_canonical_models(test_data):
    """Published covariances alone give the spectra that were published with them."""
    folder = test_data / "Canonical-HMM-Networks" / "models" / "Giles38"
    covariances, published, freqs, transitions = (
        np.load(folder / "08_states" / f"{name}.npy").astype(float)
        for name in ("covs", "psds", "f", "trans_prob")
    )
    preparation = FittedPreparation(
        n_components=80,
        ch_names_=tuple(f"parcel_{c:02d}" for c in range(38)),
        components_=np.load(folder / "pca_components.npy"),
        rank_=38,
        sfreq_=250.0,
    )
    hmm = HMM(
        np.full(8, 1 / 8),
        transitions,
        np.zeros((8, 80)),
        covariances,
        preparation,
        learned=Learned(False),
    )
    spectra = mne_hmm.compute_model_spectra(hmm, fmin=3, fmax=40)
    published = published[..., (freqs >= 3) & (freqs <= 40)]
    assert spectra.psd.shape == published.shape == (8, 38, 75)
    for psd, expected in zip(spectra.psd, published, strict=True):
        # Over channels and frequencies, and of the mean over channels.
        assert np.corrcoef(psd.ravel(), expected.ravel())[0, 1] >= 0.9
        assert np.corrcoef(psd.mean(0), expected.mean(0))[0, 1] >= 0.95  # 0.975 and more
    # Where channels have their power, state by state against the mean of states.
    power, expected = (
        psd.sum(axis=2) - psd.sum(axis=2).mean(0) for psd in (spectra.psd, published)
    )
    assert np.corrcoef(power.ravel(), expected.ravel())[0, 1] > 0.9


# Wrong inputs


def test_wrong_frequencies(fitted):
    """A band that was filtered away, one the wrong way round, and steps that are none."""
    with pytest.raises(ValueError, match=r"fmin=60 and fmax=80 Hz.*lets pass 0.5 to 50.5 Hz"):
        mne_hmm.compute_model_spectra(fitted, fmin=60, fmax=80)
    with pytest.raises(ValueError, match="no frequency is left between fmin=12 and fmax=8"):
        mne_hmm.compute_model_spectra(fitted, fmin=12, fmax=8)
    with pytest.raises(ValueError, match="resolution must be a frequency in hertz above 0, got 0"):
        mne_hmm.compute_model_spectra(fitted, resolution=0)


def test_models_without_lags(fitted):
    """Envelopes, and signals that were not embedded, have no spectra."""
    hmm = fitted.copy()
    hmm.preparation_ = replace(fitted.preparation_, n_embeddings=1)
    with pytest.raises(ValueError, match=r"hmm must be .* got one without lags; compute spectra"):
        mne_hmm.compute_model_spectra(hmm)
    hmm.preparation_ = replace(fitted.preparation_, envelope=True)
    with pytest.raises(ValueError, match="got one of envelopes"):
        mne_hmm.compute_model_spectra(hmm)


def test_wrong_estimates(fitted, rich, simulated):
    """A list of estimates, or one of another model."""
    dual = fitted.dual_estimate(simulated[0])
    with pytest.raises(TypeError, match="dual must be a DualEstimate of one recording, got list"):
        mne_hmm.compute_model_spectra(fitted, dual=[dual])
    with pytest.raises(ValueError, match=r"estimate of this model.*\(3, 12, 12\); use hmm.dual"):
        mne_hmm.model_autocovariance(rich, dual=dual)


def test_wrong_channels(fitted):
    """What is no info, and one that lacks channels."""
    with pytest.raises(TypeError, match=r"info must be an mne.Info or None, got list.*raw.info"):
        mne_hmm.compute_model_spectra(fitted, info=["parcel_00"])
    info = mne.create_info(["parcel_00", "parcel_02"], 250.0, "eeg")
    with pytest.raises(ValueError, match="lacks parcel_01, parcel_03"):
        mne_hmm.compute_model_spectra(fitted, info=info)
