"""Spectra of states: against osl-dynamics, scipy, known variances, and real EEG."""

import sys
from dataclasses import replace

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import welch

import mne_hmm
from mne_hmm.io.timeline import Timeline
from mne_hmm.simulation.networks import FREQUENCIES
from mne_hmm.spectral.multitaper import CrossSpectra, Windows


def course(weights, sfreq, spans=None, ch_names=()):
    """States with given probabilities, shape (n_states, n_times)."""
    weights = np.array(weights, float)
    n_states, n_times = weights.shape
    spans = [(0, n_times)] if spans is None else spans
    decoded = np.zeros(n_times, bool)
    for start, stop in spans:
        decoded[start:stop] = True
    weights[:, ~decoded] = np.nan
    labels = np.where(decoded, np.nan_to_num(weights).argmax(0), -1)
    names = tuple(f"state_{k}" for k in range(n_states))
    return mne_hmm.StateTimeCourse(
        weights, labels, Timeline(sfreq, n_times), spans, names, ch_names
    )


def raw_of(x, sfreq, kind="eeg"):
    names = [f"ch{i}" for i in range(len(x))]
    return mne.io.RawArray(x, mne.create_info(names, sfreq, kind), verbose="ERROR")


def switching(n_times, length, n_states=2):
    """Weights of 0 and 1 that take turns."""
    return np.equal(np.arange(n_times) // length % n_states, np.arange(n_states)[:, None])


@pytest.fixture(scope="module")
def truth(simulated):
    """Spectra of the simulated recording in its true states."""
    return mne_hmm.compute_state_spectra(*simulated)


# Agreement with others


@pytest.fixture(scope="module")
def osl(reference):
    """Reference arrays, and what we make of their data."""
    theirs = reference("spectra")
    x, gamma = theirs["x"].T.astype(float), theirs["gamma"].T.astype(float)
    options = {"edges": "osl", "standardize": True, "sfreq": 250.0}
    ours = mne_hmm.compute_state_spectra(x, course(gamma, 250.0), **options)
    static = mne_hmm.compute_state_spectra(x, course(np.ones((1, x.shape[1])), 250.0), **options)
    return theirs, ours, static


def test_agrees_with_osl_dynamics(osl):
    """Their numbers are complex64: a tenth of the tolerance for single precision."""
    theirs, ours, static = osl
    assert_allclose(ours.freqs, theirs["f"], rtol=1e-12)
    scale = np.abs(theirs["cpsd"]).max()
    assert_allclose(ours.csd, theirs["cpsd"], rtol=0, atol=1e-6 * scale)
    assert_allclose(ours.psd, theirs["psd"], rtol=2e-6)
    assert_allclose(ours.coherence, theirs["coh"], rtol=0, atol=2e-6)
    assert_allclose(static.psd[0], theirs["static_psd"], rtol=2e-6)
    assert_allclose(static.coherence[0], theirs["static_coh"], rtol=0, atol=2e-6)


def test_bands_agree_with_osl_dynamics(osl):
    """Both ends of a band are in it."""
    theirs, ours, _ = osl
    for i_band, band in enumerate(theirs["bands"]):
        mean, integral = (ours.power(*band, mode=mode) for mode in ("mean", "integral"))
        assert_allclose(mean, theirs["band_power_mean"][i_band], rtol=2e-6)
        assert_allclose(integral, theirs["band_power_integral"][i_band], rtol=2e-6)
        coherence = ours.coherence[..., ours.band(*band)].mean(-1)
        assert_allclose(coherence, theirs["band_coherence"][i_band], rtol=0, atol=2e-6)


def test_welch_of_one_state_is_scipys():
    """Always on and of whole windows, it is Welch's estimate as everybody computes it."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 2000))
    states = course(np.ones((1, 2000)), 100.0)
    options = {"method": "welch", "fmin": 0, "fmax": 50, "window": 2.0, "sfreq": 100.0}
    spectra = mne_hmm.compute_state_spectra(x, states, **options)
    freqs, theirs = welch(x - x.mean(1, keepdims=True), 100.0, nperseg=200, detrend=False)
    assert_allclose(spectra.freqs, freqs, rtol=1e-12)
    assert_allclose(spectra.psd[0], theirs, rtol=1e-10)


def test_connectivity_agrees_with_mne_connectivity(simulated):
    """One state, and epochs that are windows; they weigh tapers by eigenvalues, from 1 to 0.94."""
    import mne_connectivity

    raw, _ = simulated
    epochs = mne.make_fixed_length_epochs(raw, 2.0, preload=True, verbose="ERROR")
    options = {"method": ["coh", "imcoh"], "mode": "multitaper", "mt_bandwidth": 4.0}
    theirs = mne_connectivity.spectral_connectivity_epochs(
        epochs, fmin=2, fmax=44.9, verbose="ERROR", **options
    )
    states = course(np.ones((1, raw.n_times)), 250.0, ch_names=tuple(raw.ch_names))
    ours = mne_hmm.compute_state_spectra(raw, states, fmin=2, fmax=44.5)
    for kind, other in zip(("coherence", "imaginary"), theirs, strict=True):
        mine = ours.to_connectivity("state_0", kind)
        assert isinstance(mine, mne_connectivity.SpectralConnectivity)
        assert mine.names == raw.ch_names
        assert_allclose(mine.freqs, other.freqs, rtol=1e-12)
        rows, columns = np.tril_indices(8, -1)
        dense = [spectrum.get_data("dense")[rows, columns] for spectrum in (mine, other)]
        # Other weights of tapers, and means of epochs: little beside values up to 0.9.
        assert_allclose(*dense, rtol=0, atol=0.04)
        assert np.corrcoef(*map(np.ravel, dense))[0, 1] > 0.995


# Nothing is lost, nothing leaks


@pytest.mark.parametrize("method", ["multitaper", "welch"])
@pytest.mark.parametrize("n_times", [40, 50, 73, 100, 131])
def test_white_noise_is_unbiased(method, n_times):
    """Unit impulses at all samples add up to white noise: its density is flat, exactly."""
    rng = np.random.default_rng(n_times)
    weights = rng.random((2, n_times))
    windows = Windows.of(25.0, method=method, fmin=0, fmax=12.5, window=2.0)
    sums = CrossSpectra(windows, 2, n_times)
    sums.add(np.eye(n_times), weights)
    density = np.einsum("kccf->kf", sums.density().real)
    expected = np.full(26, 2 / 25)
    expected[[0, -1]] = 1 / 25  # no negative frequencies to add
    assert_allclose(density, np.tile(expected, (2, 1)), rtol=1e-10)


def test_windows_cover_each_span():
    """They lie inside of it, from its first sample to its last."""
    windows = Windows.of(25.0, fmin=0, fmax=12.5)
    assert_array_equal(windows.starts(100), [0, 50])
    assert_array_equal(windows.starts(131), [0, 40, 81])
    assert_array_equal(windows.starts(40), [-5])
    welch_windows = Windows.of(25.0, method="welch", fmin=0, fmax=12.5)
    assert_array_equal(welch_windows.starts(100), [0, 25, 50])
    osl = Windows.of(25.0, fmin=0, fmax=12.5, edges="osl")
    assert_array_equal(osl.starts(131), [-25, 25])


@pytest.mark.parametrize("method", ["multitaper", "welch"])
def test_spectra_integrate_to_the_variance(method):
    """Piecewise stationary signals: each state has a variance of its own, and all is found."""
    rng = np.random.default_rng(1)
    n_times, sfreq = 30_000, 100.0
    on = switching(n_times, 25)
    t = np.arange(n_times) / sfreq
    phases = np.repeat(rng.uniform(0, 2 * np.pi, n_times // 25), 25)
    amplitudes = np.where(on[0], 1.0, 3.0)
    x = 1e-5 * amplitudes * np.sin(2 * np.pi * np.where(on[0], 10, 21) * t + phases)
    x = x + 1e-6 * rng.standard_normal(n_times)
    spectra = mne_hmm.compute_state_spectra(
        raw_of(x[np.newaxis], sfreq), course(on, sfreq), method=method, fmin=0, fmax=50
    )
    variances = [np.mean(x[state] ** 2) for state in on]
    assert_allclose(spectra.power(mode="integral")[:, 0], variances, rtol=0.02)
    assert_allclose(spectra.freqs[spectra.psd[:, 0].argmax(-1)], [10, 21], atol=0.5)
    assert_allclose(spectra.weights, on.sum(1) / sfreq, rtol=1e-12)


def test_simulated_states_peak_where_they_should(truth):
    """Over what goes on in all states, each state rises at the frequency of its network."""
    excess = (truth.psd / truth.psd.mean(axis=0)).mean(axis=1)
    assert_allclose(truth.freqs[excess.argmax(-1)], FREQUENCIES[:3], atol=2.0)


def test_simulated_states_peak_within_half_a_hertz():
    """Oscillations of the simulation's frequencies without the noise that goes on meanwhile."""
    rng = np.random.default_rng(2)
    sfreq, n_times, length = 250.0, 150_000, 250
    on = switching(n_times, length, len(FREQUENCIES))
    t = np.arange(n_times) / sfreq
    phases = np.repeat(rng.uniform(0, 2 * np.pi, n_times // length), length)
    x = np.sin(2 * np.pi * (np.array(FREQUENCIES) @ on) * t + phases)
    x = x + 0.3 * rng.standard_normal((2, n_times))
    spectra = mne_hmm.compute_state_spectra(x, course(on, sfreq), sfreq=sfreq)
    peaks = spectra.freqs[spectra.psd.mean(1).argmax(-1)]
    assert_allclose(peaks, FREQUENCIES, atol=0.5)


def test_an_offset_does_not_leak():
    """A constant changes nothing, be it a thousand times the signal and another in each span."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, 2000))
    states = course(switching(2000, 20), 100.0, [(0, 900), (1000, 2000)])
    offset = x + np.where(np.arange(2000) < 950, 1000.0, -500.0)
    plain, shifted = (
        mne_hmm.compute_state_spectra(signal, states, sfreq=100.0) for signal in (x, offset)
    )
    # Rounding: 16 digits less the 3 of the offset, squared into the smallest of the values.
    assert_allclose(shifted.csd, plain.csd, rtol=0, atol=1e-9 * np.abs(plain.csd).max())


def test_nothing_crosses_a_span():
    """Spans one by one add up to all of them, and what lies between them is not looked at."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 1500))
    weights, spans = rng.random((2, 1500)), [(0, 400), (600, 1100), (1100, 1250)]
    options = {"sfreq": 100.0, "window": 1.0}
    spectra = mne_hmm.compute_state_spectra(x, course(weights, 100.0, spans), **options)
    total, covered = 0, 0
    for start, stop in spans:
        windows = Windows.of(100.0, window=1.0)
        sums = CrossSpectra(windows, 2, 2)
        part = x[:, start:stop]
        sums.add(part - part.mean(1, keepdims=True), weights[:, start:stop])
        total = total + sums.density() * sums.covered[:, None, None, None]
        covered = covered + sums.covered
    assert_allclose(spectra.csd, total / covered[:, None, None, None], rtol=1e-10)
    other = x.copy()
    other[:, 400:600] = np.nan
    again = mne_hmm.compute_state_spectra(
        raw_of(other, 100.0), course(weights, 100.0, spans), window=1.0
    )
    assert_array_equal(again.csd, spectra.csd)


def test_standardized_is_scaled(simulated, truth):
    """Channels divided by their standard deviations, before or after."""
    raw, states = simulated
    scaled = mne_hmm.compute_state_spectra(raw, states, standardize=True)
    x = raw.get_data()
    z = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    expected = mne_hmm.compute_state_spectra(z, states, sfreq=250.0)
    assert_allclose(scaled.psd, expected.psd, rtol=1e-9)
    assert_allclose(scaled.coherence, truth.coherence, rtol=1e-9, atol=1e-12)
    assert scaled.standardized
    assert not truth.standardized


# Whatever recordings come as


def test_model_and_its_states_give_the_same(simulated, fitted):
    """The model finds the states itself; samples it does not model are left out."""
    raw, _ = simulated
    states = fitted.predict(raw)
    assert states.spans[0][0] > 0
    direct, by_states = (mne_hmm.compute_state_spectra(raw, s) for s in (fitted, states))
    assert_array_equal(direct.csd, by_states.csd)
    assert direct.state_names == fitted.state_names
    assert direct.ch_names == raw.ch_names
    assert_allclose(direct.weights.sum(), (raw.n_times - 14) / 250.0, rtol=1e-9)


def test_channels_are_those_of_the_states(simulated, truth):
    """In their order, whatever else the recording holds."""
    raw, states = simulated
    mixed = raw.copy().reorder_channels(raw.ch_names[::-1])
    mixed.add_channels([raw.copy().pick([0]).rename_channels({"parcel_00": "extra"})])
    spectra = mne_hmm.compute_state_spectra(mixed, states)
    assert spectra.ch_names == raw.ch_names
    assert_array_equal(spectra.csd, truth.csd)


def test_epochs(simulated, fitted):
    """Each epoch is a span of its own."""
    raw, _ = simulated
    epochs = mne.make_fixed_length_epochs(raw, 5.0, preload=True, verbose="ERROR")
    states = fitted.predict(epochs)
    spectra = mne_hmm.compute_state_spectra(epochs, states)
    assert_array_equal(spectra.csd, mne_hmm.compute_state_spectra(epochs, fitted).csd)
    ends = np.concatenate(list(epochs.get_data()), axis=1)
    gamma = np.concatenate(list(states.probabilities), axis=1)
    flat = course(gamma, 250.0, states.spans)
    by_array = mne_hmm.compute_state_spectra(ends, flat, sfreq=250.0)
    assert_allclose(spectra.csd, by_array.csd, rtol=1e-10, atol=1e-14)
    with pytest.raises(ValueError, match=r"window=6 seconds is longer than every span.*4\.944"):
        mne_hmm.compute_state_spectra(epochs, states, window=6.0)


def test_bad_spans_are_left_out(simulated):
    """What was annotated as bad since the states were found does not count either."""
    raw, states = simulated
    marked = raw.copy()
    marked.set_annotations(mne.Annotations([10.0], [20.0], ["BAD_jump"]))
    marked._data[:, 2500:7500] *= 1000.0
    spectra = mne_hmm.compute_state_spectra(marked, states)
    spans = [(0, 2500), (7500, 15_000)]
    expected = mne_hmm.compute_state_spectra(raw, replace(states, spans=spans))
    assert_array_equal(spectra.csd, expected.csd)
    everything = mne_hmm.compute_state_spectra(marked, states, reject_by_annotation=False)
    assert (everything.psd / spectra.psd).min() > 1000
    marked.set_annotations(mne.Annotations([0.0], [60.0], ["BAD_all"]))
    with pytest.raises(ValueError, match="no good sample whose states are known"):
        mne_hmm.compute_state_spectra(marked, states)


@pytest.fixture(scope="module")
def three(simulated):
    """Three recordings of different lengths, with their states."""
    raw, states = simulated
    raws, courses = [], []
    for start, stop in ((0, 3000), (3000, 8000), (8000, 15_000)):
        raws.append(raw.copy().crop(start / 250, (stop - 1) / 250))
        weights = states.probabilities[:, start:stop]
        courses.append(course(weights, 250.0, ch_names=states.ch_names))
    return raws, courses


def test_average_over_recordings(three):
    """Weighted by the time in good data."""
    raws, courses = three
    spectra = mne_hmm.compute_state_spectra(raws, courses)
    single = [mne_hmm.compute_state_spectra(r, c) for r, c in zip(raws, courses, strict=True)]
    expected = np.average([alone.csd for alone in single], axis=0, weights=[3, 5, 7])
    assert_allclose(spectra.csd, expected, rtol=1e-10)
    assert_allclose(
        spectra.weights, np.sum([alone.weights for alone in single], axis=0), rtol=1e-12
    )
    assert len(spectra.recordings) == 3
    for mine, recording in zip(spectra.recordings, single, strict=True):
        assert mine.csd.dtype == np.complex64
        assert_allclose(mine.csd, recording.csd, rtol=1e-6)
        assert mine.recordings == ()
    joined = mne_hmm.average_state_spectra(single)
    assert_array_equal(joined.csd, spectra.csd)
    alone = mne_hmm.compute_state_spectra(raws, courses, keep_recordings=False)
    assert alone.recordings == ()
    assert_array_equal(alone.csd, spectra.csd)
    recording = mne_hmm.compute_state_spectra(raws[:1], courses[:1])
    assert_array_equal(recording.csd, single[0].csd)
    assert recording.recordings == ()


def test_jobs_give_the_same(three):
    """Other processes have other numbers of threads, which may round otherwise."""
    serial, parallel = (mne_hmm.compute_state_spectra(*three, n_jobs=n) for n in (1, 2))
    assert_allclose(parallel.csd, serial.csd, rtol=1e-9, atol=1e-12)
    assert_allclose(parallel.recordings[2].csd, serial.recordings[2].csd, rtol=1e-5, atol=1e-8)


def test_a_model_goes_through_a_list(simulated, fitted):
    """It finds the states of one recording after another; arrays are fine, too."""
    raws = [simulated[0].copy().crop(start, start + 10.0) for start in (0.0, 30.0)]
    spectra = mne_hmm.compute_state_spectra(raws, fitted)
    by_states = mne_hmm.compute_state_spectra(raws, fitted.predict(raws))
    # Features are in single precision.
    assert_allclose(spectra.csd, by_states.csd, rtol=1e-6, atol=1e-9)
    arrays = [raw.get_data() for raw in raws]
    by_arrays = mne_hmm.compute_state_spectra(arrays, fitted, sfreq=250.0)
    assert_allclose(by_arrays.csd, spectra.csd, rtol=1e-6, atol=1e-9)


def test_states_that_are_never_on(three):
    """Unknown where they are not on, and left out of the mean there."""
    raws, courses = three
    weights = courses[0].probabilities.copy()
    weights[0] += weights[1]
    weights[1] = 0
    changed = [course(weights, 250.0, ch_names=courses[0].ch_names), courses[1]]
    spectra = mne_hmm.compute_state_spectra(raws[:2], changed)
    assert spectra.never_on == ()
    assert spectra.recordings[0].never_on == ("state_1",)
    assert np.isnan(spectra.recordings[0].coherence[1]).all()
    other = mne_hmm.compute_state_spectra(raws[1], courses[1])
    assert_allclose(spectra.csd[1], other.csd[1], rtol=1e-12)
    with pytest.warns(RuntimeWarning, match=r"never on have no spectra \(NaN\): state_1"):
        alone = mne_hmm.compute_state_spectra(raws[0], changed[0])
    assert np.isnan(alone.psd[1]).all()
    assert np.isfinite(alone.psd[[0, 2]]).all()
    weights[1] = 1e-5  # a twentieth of a sample in all
    with pytest.warns(RuntimeWarning, match="never on"):
        mne_hmm.compute_state_spectra(raws[0], course(weights, 250.0, ch_names=courses[0].ch_names))


def test_rates_may_differ_where_frequencies_do_not(three):
    """Windows of two seconds have the same frequencies at 250 and 200 Hz."""
    raws, courses = three
    rng = np.random.default_rng(0)
    slow = mne.io.RawArray(
        rng.standard_normal((8, 1000)), mne.create_info(raws[0].ch_names, 200.0, "misc")
    )
    weights = course(rng.dirichlet(np.ones(3), 1000).T, 200.0, ch_names=courses[0].ch_names)
    spectra = mne_hmm.compute_state_spectra([raws[0], slow], [courses[0], weights])
    assert_allclose(spectra.freqs, np.arange(1, 45.5, 0.5), rtol=1e-12)
    with pytest.raises(ValueError, match="recordings of a list must have the same frequencies"):
        mne_hmm.compute_state_spectra(
            [raws[0], slow], [courses[0], weights], window=1.234, fmin=2, fmax=40
        )


# What becomes of them


def test_spectrum(simulated):
    """Power in the channels' own units, by the number or the name of the state."""
    raw, states = simulated
    eeg = raw.copy().apply_function(lambda x: 1e-5 * x, picks="all")
    eeg.set_channel_types(dict.fromkeys(raw.ch_names, "eeg"), on_unit_change="ignore")
    spectra = mne_hmm.compute_state_spectra(eeg, states)
    spectrum = spectra.to_spectrum("state_1")
    assert isinstance(spectrum, mne.time_frequency.SpectrumArray)
    assert_array_equal(spectrum.get_data(), spectra.psd[1])
    assert_array_equal(spectrum.freqs, spectra.freqs)
    assert spectrum.ch_names == raw.ch_names
    assert_array_equal(spectra.to_spectrum(1).get_data(), spectrum.get_data())
    of_parcels = mne_hmm.compute_state_spectra(raw, states).to_spectrum(1)
    assert_allclose(of_parcels.get_data(), 1e10 * spectrum.get_data(), rtol=1e-9)
    assert of_parcels.ch_names == raw.ch_names
    assert of_parcels.get_channel_types(unique=True) == ["seeg"]
    with pytest.raises(ValueError, match="state='rest' is none of the states; they are state_0"):
        spectra.to_spectrum("rest")
    with pytest.raises(ValueError, match="number, from 0 to 2, got 3"):
        spectra.to_spectrum(3)


def test_connectivity_without_the_package(truth, monkeypatch):
    monkeypatch.setitem(sys.modules, "mne_connectivity", None)
    with pytest.raises(ImportError, match=r'\(.coherence and .*pip install "mne-hmm\[analysis\]"'):
        truth.to_connectivity(0)


def test_figures(truth):
    """One line per state, in its color; the mean over channels, or pairs of them."""
    import matplotlib.pyplot as plt

    from mne_hmm.viz._drawing import state_colors  # has no public name

    fig = truth.plot(show=False)
    axes = fig.axes[0]
    for k, line in enumerate(axes.lines):
        assert_allclose(line.get_ydata(), truth.psd[k].mean(0), rtol=1e-12)
        assert_array_equal(line.get_color(), state_colors(3)[k])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(truth.state_names)
    _, axes = plt.subplots()
    assert truth.plot_coherence(picks=[1, 2], axes=axes, show=False) is axes.figure
    assert_allclose(axes.lines[2].get_ydata(), truth.coherence[2, 1, 2], rtol=1e-12)
    imaginary = truth.plot_coherence(kind="imaginary", picks=[2, 1], show=False).axes[0]
    expected = np.abs(truth.imaginary_coherence[0, 1, 2])
    assert_allclose(imaginary.lines[0].get_ydata(), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="at least 2 channels, whose coherence is shown, got 1"):
        truth.plot_coherence(picks=[1], show=False)
    plt.close("all")


def test_figure_of_mixed_channels():
    """Volts and teslas have no mean."""
    import matplotlib.pyplot as plt

    rng = np.random.default_rng(0)
    raw = raw_of(1e-6 * rng.standard_normal((2, 1000)), 100.0, ["eeg", "mag"])
    states = course(np.ones((1, 1000)), 100.0)
    spectra = mne_hmm.compute_state_spectra(raw, states)
    with pytest.raises(ValueError, match=r"different units \(types eeg, mag.*picks='eeg'"):
        spectra.plot(show=False)
    axes = spectra.plot(picks="eeg", show=False).axes[0]
    assert axes.get_ylabel() == "Power (µV²/Hz)"
    assert_allclose(axes.lines[0].get_ydata(), 1e12 * spectra.psd[0, 0], rtol=1e-12)
    scaled = mne_hmm.compute_state_spectra(raw, states, standardize=True)
    assert scaled.plot(show=False).axes[0].get_ylabel() == "Power (1/Hz)"
    plt.close("all")


# What is wrong is said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fmax": 126}, r"fmax=126 is above half the sampling rate of 250 Hz.*fmax≤125"),
        ({"fmin": 20, "fmax": 10}, "fmin=20 is above fmax=10"),
        ({"fmin": 10.1, "fmax": 10.2}, "in steps of 0.5 Hz, of which none lies between"),
        ({"fmin": -1}, "fmin must be a frequency in hertz ≥ 0, got -1"),
        ({"window": 0}, "window must be a number of seconds above 0, got 0"),
        ({"window": 100}, "window=100 seconds is longer than every span"),
        ({"bandwidth": 0.5}, "too narrow for window=2 seconds.*bandwidth≥1 or window≥4"),
        ({"window": 0.02, "fmax": 100}, "has 5 samples, too few for 7 tapers"),
        ({"method": "welch", "window": 0.008, "fmax": 125}, "has 2 samples, too few for a taper"),
        ({"method": "fourier"}, "method must be one of 'multitaper', 'welch', got 'fourier'"),
        ({"method": "welch", "bandwidth": 4}, "bandwidth=4 is for method='multitaper'"),
        ({"method": "welch", "edges": "osl"}, "edges='osl' tells how osl-dynamics"),
        ({"edges": "soft"}, "edges must be one of 'exact', 'osl', got 'soft'"),
    ],
)
def test_wrong_arguments(simulated, options, message):
    with pytest.raises(ValueError, match=message):
        mne_hmm.compute_state_spectra(*simulated, **options)


def test_wrong_states(simulated, fitted, three):
    """States of another recording, too few of them, or something else."""
    raw, states = simulated
    raws, courses = three
    with pytest.raises(ValueError, match=r"has 3000 samples at 250 Hz and its states 15000 at"):
        mne_hmm.compute_state_spectra(raws[0], states)
    with pytest.raises(ValueError, match="one entry per recording, got 1 for 3 recordings"):
        mne_hmm.compute_state_spectra(raws, courses[0])
    with pytest.raises(TypeError, match=r"or a list of them, as hmm.predict.*got ndarray"):
        mne_hmm.compute_state_spectra(raw, states.probabilities)
    renamed = replace(courses[1], state_names=("a", "b", "c"))
    with pytest.raises(ValueError, match="one model, but state_names are state_0"):
        mne_hmm.compute_state_spectra(raws[:2], [courses[0], renamed])
    with pytest.raises(ValueError, match="lacks parcel_03, which"):
        mne_hmm.compute_state_spectra(raw.copy().drop_channels("parcel_03"), states)
    holes = states.probabilities.copy()
    holes[:, 700] = np.nan
    with pytest.raises(ValueError, match=r"hold NaN within states\.spans"):
        mne_hmm.compute_state_spectra(raw, replace(states, probabilities=holes))


def test_wrong_signals(simulated, fitted):
    """Features have no signals; NaN and flat channels have no spectra."""
    raw, states = simulated
    prepared = mne_hmm.prepare(raw, fitted.preparation_, verbose="ERROR")
    with pytest.raises(TypeError, match="PreparedData, whose signals are features already"):
        mne_hmm.compute_state_spectra(prepared, fitted)
    broken = raw.copy()
    broken._data[2, 500] = np.inf
    with pytest.raises(ValueError, match=r"NaN or infinite values.* in parcel_02; annotate"):
        mne_hmm.compute_state_spectra(broken, states)
    broken._data[2] = 1.0
    with pytest.raises(ValueError, match="parcel_02 of the recording never moved"):
        mne_hmm.compute_state_spectra(broken, states, standardize=True)


def test_average_of_what_differs(truth, simulated):
    """Only the same states, channels, units and frequencies have a mean."""
    with pytest.raises(ValueError, match="spectra is empty"):
        mne_hmm.average_state_spectra([])
    with pytest.raises(ValueError, match="agree in standardized, but number 0 has False"):
        mne_hmm.average_state_spectra([truth, replace(truth, standardized=True)])
    narrow = mne_hmm.compute_state_spectra(*simulated, fmax=30)
    with pytest.raises(ValueError, match="agree in freqs, but number 0 has 89 from 1 to 45 Hz"):
        mne_hmm.average_state_spectra([truth, narrow])
