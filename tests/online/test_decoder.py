"""States of a stream, against what plain NumPy and SciPy make of the whole of it."""

from dataclasses import replace

import mne
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import oaconvolve
from scipy.stats import multivariate_normal

import mne_hmm
from mne_hmm.model.file import Learned
from mne_hmm.online.causal_filter import design_filter
from mne_hmm.online.stream_statistics import statistics_from_calibration
from mne_hmm.preparation.sign_search import lagged_covariance

N_SECONDS = 4


def causal_reference(hmm, x, info, calibration, lag, phase, to_mean=None):
    """Filter, embed, project and smooth a whole signal, step by step as the page says.

    Coefficients of the filter and means and standard deviations have tests of their own.
    """
    preparation, sfreq = hmm.preparation_, info["sfreq"]
    design = design_filter(sfreq, preparation, preparation.sfreq_, phase)
    statistics = statistics_from_calibration(preparation, calibration, info, True)
    # The stream stood at its first value before, for as long as the filter remembers.
    up = design.up
    n_before = len(design.coefficients) // up + 1
    spread = np.zeros((len(x), (n_before + x.shape[1]) * up))
    spread[:, ::up] = np.concatenate([np.repeat(x[:, :1], n_before, axis=1), x], axis=1)
    fine = oaconvolve(spread, design.coefficients[np.newaxis], axes=1)[:, : spread.shape[1]]
    rows = fine[:, n_before * up + design.n_ahead :: design.down].T
    z = (rows - statistics.channels.mean) / statistics.channels.spread
    if to_mean is not None:
        z = z @ to_mean.T
    half = preparation.n_embeddings // 2
    embedded = np.array(
        [
            [z[t + half - j, c] for c in range(z.shape[1]) for j in range(2 * half + 1)]
            for t in range(half, len(z) - half)
        ]
    )
    features = embedded @ preparation.components_.astype(float)
    features = (features - statistics.features.mean) / statistics.features.spread
    densities = np.stack(
        [
            multivariate_normal.logpdf(features, mean, covariance)
            for mean, covariance in zip(hmm.means_, hmm.covariances_, strict=True)
        ],
        axis=1,
    )
    transition, n_lag = hmm.transition_matrix_, round(lag * preparation.sfreq_)
    likelihoods = np.exp(densities - densities.max(1, keepdims=True))
    forward = [hmm.initial_probs_ * likelihoods[0]]
    for b in likelihoods[1:]:
        forward.append((forward[-1] / forward[-1].sum()) @ transition * b)
    out = []
    for t, alpha in enumerate(forward):
        beta = np.ones(len(alpha))
        for b in likelihoods[t + 1 : t + 1 + n_lag][::-1]:
            beta = transition @ (b * beta)
            beta /= beta.sum()
        out.append(alpha * beta / (alpha @ beta))
    times = (half + np.arange(len(out))) / preparation.sfreq_ - design.shift
    return np.array(out).T, times


def in_blocks(decoder, x, sizes):
    """Process a signal in blocks, the rest at once; all probabilities and times."""
    parts, begin = [], 0
    for size in sizes:
        parts.append(decoder.process(x[:, begin : begin + size]))
        begin += size
    parts += [decoder.process(x[:, begin:]), decoder.finish()]
    return (
        np.concatenate([part.probabilities for part in parts], axis=1),
        np.concatenate([part.times for part in parts]),
    )


CASES = {
    "same rate": (250, 0.04, "minimum"),
    "filter only": (250, 0.0, "minimum"),
    "decimated": (500, 0.1, "minimum"),
    "upsampled": (160, 0.02, "minimum"),
    "offline's filter": (250, 0.3, "zero"),
    "offline's filter, resampled": (160, 0.1, "zero"),
}


class Cases(dict):
    """What fits in a line of a report on a failure."""

    def __repr__(self):
        return f"<{len(self)} cases>"


@pytest.fixture(scope="module")
def cases(simulated, fitted):
    """Decoders, signals that are far from 0, and what should come out."""
    out = Cases()
    for name, (sfreq, lag, phase) in CASES.items():
        raw = simulated[0].copy()
        if sfreq != 250:
            raw.resample(sfreq, verbose="ERROR")
        x = raw.get_data(stop=N_SECONDS * sfreq) + 50.0
        decoder = fitted.online(raw.info, calibration=simulated[0], lag=lag, phase=phase)
        expected = causal_reference(fitted, x, raw.info, simulated[0], lag, phase)
        out[name] = decoder, x, *expected
    return out


@pytest.mark.parametrize("name", CASES)
@settings(deadline=None, max_examples=8)
@given(
    sizes=st.one_of(
        st.lists(st.integers(0, 9), max_size=60),
        st.lists(st.integers(0, 700), max_size=8),
        st.just([1] * 500),
        st.just([]),
    )
)
def test_blocks(cases, name, sizes):
    """Probabilities are those of the whole signal, and so are times, whatever the blocks."""
    decoder, x, probabilities, times = cases[name]
    online, found_times = in_blocks(decoder, x, sizes)
    decoder.reset(time=0.0)
    assert online.shape == probabilities.shape
    assert_allclose(online, probabilities, rtol=0, atol=1e-6)
    assert_allclose(found_times, times, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_delay_is_exact(cases, name):
    """With samples one by one, states come out so long after the time they are for."""
    decoder, x, _, _ = cases[name]
    sfreq, waits = decoder.info["sfreq"], []
    for sample in range(x.shape[1]):
        states = decoder.process(x[:, sample : sample + 1])
        waits += (sample / sfreq - states.times).tolist()
    decoder.reset(time=0.0)
    assert len(waits) > 400
    # To the sample; exactly where no state lies between samples.
    assert_allclose(waits, decoder.delay, rtol=0, atol=1e-9 if sfreq != 160 else 1 / sfreq)
    assert max(waits) <= decoder.delay + 1e-9
    assert decoder.delay == sum(decoder.delays.values())


def test_offline_states(simulated, fitted):
    """With offline's filter and a lag they are those of `predict`, which knows the future too."""
    raw = simulated[0]
    states = fitted.predict(raw)
    decoder = fitted.online(raw.info, calibration=raw, lag=1.0, phase="zero")
    online = decoder.process(raw.get_data())
    samples = np.round(online.times * 250).astype(int)
    assert_allclose(samples / 250, online.times, atol=1e-9)
    # The ends of the recording are filtered otherwise.
    inside = (samples > 1000) & (samples < raw.n_times - 1000)
    # Features are in single precision offline.
    assert_allclose(
        online.probabilities[:, inside], states.probabilities[:, samples[inside]], rtol=0, atol=1e-4
    )
    assert inside.sum() > 12_000


@pytest.mark.parametrize("phase", ["zero", "minimum"])
def test_changes_of_state_are_on_time(simulated, fitted, phase):
    """Times agree with the truth best as they are, not earlier nor later."""
    raw, truth = simulated
    states = fitted.online(raw.info, calibration=raw, lag=0.1, phase=phase)
    states = states.process(raw.get_data())
    order = mne_hmm.compute_agreement(fitted.predict(raw), truth).order
    right = []
    shifts = np.arange(-10, 11)
    for shift in shifts:
        samples = np.round(states.times * 250).astype(int) + shift
        inside = (samples > 500) & (samples < raw.n_times - 500)
        true_labels = np.argsort(order)[truth.labels[samples[inside]]]
        right.append((true_labels == states.labels[inside]).mean())
    assert max(right) > 0.9
    # The filter of minimum phase delays the rhythms of the states by more or less than its median.
    assert abs(shifts[np.argmax(right)]) <= (1 if phase == "zero" else 2)


def test_statistics_are_those_of_the_calibration(simulated, fitted):
    """Means and standard deviations are taken as the definition says, bad spans left out."""
    raw = simulated[0].copy()
    raw.set_annotations(mne.Annotations(40.0, 19.996, "BAD"))
    statistics = statistics_from_calibration(fitted.preparation_, raw, raw.info, True)
    x = mne.filter.filter_data(raw.get_data(), 250, 1, 45, verbose="ERROR")[:, :10_000]
    assert_allclose(statistics.channels.mean, x.mean(1), rtol=1e-9, atol=1e-9)
    assert_allclose(statistics.channels.spread, x.std(1), rtol=1e-9)
    z = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    windows = np.lib.stride_tricks.sliding_window_view(z, 15, axis=1)[:, :, ::-1]
    features = np.einsum("ctl,clk->tk", windows, fitted.preparation_.components_.reshape(8, 15, -1))
    # Features are in single precision there.
    assert_allclose(statistics.features.spread, features.std(0), rtol=1e-5)
    assert_allclose(statistics.features.mean, features.mean(0), rtol=0, atol=1e-5)
    with_all = statistics_from_calibration(fitted.preparation_, raw, raw.info, False)
    assert np.abs(with_all.channels.spread - statistics.channels.spread).max() > 1e-4


def test_channels_go_by_name(simulated, fitted):
    """Their order does not matter, nor do others beside them, nor the type of the numbers."""
    raw = simulated[0].copy().crop(0, 8)
    other = raw.copy().pick(raw.ch_names[:1]).rename_channels(lambda _: "other")
    more = raw.copy().add_channels([other]).reorder_channels([*raw.ch_names[::-1], "other"])
    decoder = fitted.online(more.info, calibration=simulated[0])
    expected = fitted.online(raw.info, calibration=simulated[0]).process(raw.get_data())
    online = decoder.process(more.get_data())
    assert decoder.ch_names == tuple(raw.ch_names)
    assert_allclose(online.probabilities, expected.probabilities, rtol=0, atol=1e-12)
    whole = np.round(1000 * more.get_data())
    decoder = fitted.online(more.info, calibration=whole)
    expected = decoder.process(whole)
    for kind in (">f8", "<i4", "float32"):
        decoder.reset(time=0.0)
        block = np.asfortranarray(whole.astype(kind))
        block.setflags(write=False)
        assert_allclose(
            decoder.process(block).probabilities, expected.probabilities, rtol=0, atol=1e-9
        )


def test_chains_begin_anew(simulated, fitted):
    """After a reset and after the end nothing is left of what was before."""
    raw = simulated[0]
    decoder = fitted.online(raw.info, calibration=raw, lag=0.04)
    expected = decoder.process(raw.get_data(stop=700))
    decoder.process(raw.get_data(start=900, stop=1000))
    decoder.reset(time=3.0)
    online = decoder.process(raw.get_data(stop=700))
    assert_array_equal(online.probabilities, expected.probabilities)
    assert_allclose(online.times, expected.times + 3.0, rtol=0, atol=1e-9)
    assert len(decoder.finish()) == 10
    online = decoder.process(raw.get_data(stop=700))
    assert_array_equal(online.probabilities, expected.probabilities)
    # Time went on.
    assert_allclose(online.times, expected.times + 3.0 + 2.8, rtol=0, atol=1e-9)


def test_times_of_the_stream(simulated, fitted):
    """States lie at the stream's own times, drift of its clock included."""
    raw = simulated[0]
    decoder = fitted.online(raw.info, calibration=raw, lag=0.0)
    x = raw.get_data(stop=2000)
    stamps = 1000 + 1.001 * np.arange(2000) / 250
    states = [decoder.process(x[:, a : a + 37], stamps[a : a + 37]) for a in range(0, 2000, 37)]
    times = np.concatenate([block.times for block in states])
    shift = decoder.delays["filter"]
    assert_allclose(times, stamps[7 : 2000 - 7] - shift, rtol=0, atol=1e-9)
    # Blocks without times go on from there.
    later = decoder.process(raw.get_data(start=2000, stop=2009)).times
    onward = np.r_[stamps[-7:], stamps[-1] + np.array([1, 2]) / 250]
    assert_allclose(later, onward - shift, rtol=0, atol=1e-9)
    jump = stamps[-1] + 10 / 250 + np.array([0.004, 0.3])
    with pytest.raises(ValueError, match=r"times jump from 1008.\d* to .* before sample 1 of"):
        decoder.process(x[:, :2], jump)
    back = stamps[-1] + 10 / 250 - np.array([0.3, 0.296])
    with pytest.raises(ValueError, match=r"times jump from 1008.\d* to .* before sample 0 of"):
        decoder.process(x[:, :2], back)
    with pytest.raises(ValueError, match="times must be a finite number for each of the 2 samples"):
        decoder.process(x[:, :2], jump[:1])


def test_errors_leave_the_stream_as_it_is(simulated, fitted):
    """What is wrong is named, and the next good block goes on where the last one ended."""
    raw = simulated[0]
    x = raw.get_data(stop=1500)
    expected = fitted.online(raw.info, calibration=raw).process(x)
    decoder = fitted.online(raw.info, calibration=raw)
    first = decoder.process(x[:, :800])
    broken = x[:, 800:810].copy()
    broken[3, 4] = np.nan
    broken[5, 7] = np.inf
    with pytest.raises(
        ValueError, match=r"NaN.*in parcel_03, parcel_05, first at its sample 4; .*finish"
    ):
        decoder.process(broken)
    with pytest.raises(ValueError, match=r"with the 8 channels of info \(parcel_00, .*\(7, 5\)"):
        decoder.process(x[:7, :5])
    with pytest.raises(ValueError, match=r"got \(20, 8\); pass block.T"):
        decoder.process(x[:, :20].T)
    with pytest.raises(TypeError, match="block must hold real numbers, got complex128"):
        decoder.process(1j * x)
    second = decoder.process(x[:, 800:])
    online = np.concatenate([first.probabilities, second.probabilities], axis=1)
    assert_allclose(online, expected.probabilities, rtol=0, atol=1e-9)
    assert_allclose(np.r_[first.times, second.times], expected.times, rtol=0, atol=1e-9)


def test_other_units(simulated, fitted):
    """Signals a million times larger than the calibration are told of, once."""
    raw = simulated[0]
    decoder = fitted.online(raw.info, calibration=raw)
    with pytest.warns(RuntimeWarning, match=r"first 2 s are .*e[+]05 times those of the calib"):
        decoder.process(1e6 * raw.get_data(stop=700))
    decoder.process(1e6 * raw.get_data(start=700, stop=1400))


def test_wrong_arguments(simulated, fitted):
    """Each is named with the way out."""
    raw = simulated[0]
    info = raw.info
    with pytest.raises(TypeError, match=r"info must be the mne.Info of the stream, .*got <Raw"):
        fitted.online(raw)
    with pytest.raises(ValueError, match=r"calibration is None.*calibration=raw.*record_stream"):
        fitted.online(info)
    with pytest.raises(ValueError, match="lag must be a number of seconds ≥ 0, got -1"):
        fitted.online(info, calibration=raw, lag=-1)
    with pytest.raises(ValueError, match="phase must be one of 'minimum', 'zero'"):
        fitted.online(info, calibration=raw, phase="linear")
    with pytest.raises(ValueError, match="info lacks parcel_07, which the model was trained on"):
        fitted.online(raw.copy().drop_channels("parcel_07").info, calibration=raw)
    bad = raw.copy()
    bad.info["bads"] = ["parcel_02"]
    with pytest.raises(ValueError, match="info has parcel_02 marked as bad"):
        fitted.online(bad.info, calibration=raw)
    with pytest.raises(ValueError, match=r"the 8 channels of info, got the shape \(7, 100\)"):
        fitted.online(info, calibration=np.ones((7, 100)))
    with pytest.raises(ValueError, match="calibration must be one recording, got 2"):
        fitted.online(info, calibration=[raw, raw])
    with pytest.raises(ValueError, match="the calibration is flat in parcel_00, parcel_01"):
        fitted.online(info, calibration=np.ones((8, 1000)))
    slow = mne.create_info(raw.ch_names, 60.0, "misc")
    with pytest.raises(ValueError, match="too low for h_freq=45"):
        fitted.online(slow, calibration=raw)
    irregular = mne.create_info(raw.ch_names, 60.0, "misc")
    with irregular._unlock():
        irregular["sfreq"] = 0.0
    with pytest.raises(ValueError, match="0 Hz, so the stream comes at no regular rate"):
        fitted.online(irregular, calibration=raw)


def model(preparation, n_features, rng, covariance_type="full"):
    """Make a model of three states for a preparation."""
    factors = rng.normal(size=(3, n_features, 2 * n_features)) * rng.uniform(0.5, 2, (3, 1, 1))
    return mne_hmm.HMM(
        np.full(3, 1 / 3),
        0.95 * np.eye(3) + 0.05 / 3,
        0.1 * rng.normal(size=(3, n_features)),
        factors @ factors.transpose(0, 2, 1) / (2 * n_features),
        preparation,
        learned=Learned(means=True, covariance_type=covariance_type),
    )


def test_preparations_that_cannot_be_online(simulated):
    """Envelopes need the future; data that were not resampled need their rate."""
    raw, rng = simulated[0], np.random.default_rng(0)
    preparation = mne_hmm.prepare(raw, mne_hmm.Preparation.amplitude_envelope()).preparation
    with pytest.raises(ValueError, match="amplitude envelopes"):
        model(preparation, 8, rng).online(raw.info, calibration=raw)
    preparation = mne_hmm.prepare(raw, mne_hmm.Preparation.standardized()).preparation
    with pytest.raises(ValueError, match=r"500 Hz, but .*at 250 Hz that were not resampled"):
        model(preparation, 8, rng).online(raw.copy().resample(500).info, calibration=raw)
    with pytest.raises(ValueError, match="the rate of calibration is 500 Hz"):
        model(preparation, 8, rng).online(raw.info, calibration=raw.copy().resample(500))


@pytest.mark.parametrize(
    "kind", ["as is", "standardized", "no components", "signs", "spatial", "diagonal"]
)
def test_other_preparations(simulated, kind):
    """Each gives the states of `predict`, but for those near the ends."""
    raw, rng = simulated[0].copy(), np.random.default_rng(1)
    plain = mne_hmm.Preparation(l_freq=None, h_freq=None, n_components=None, n_embeddings=3)
    chosen = {
        "as is": mne_hmm.Preparation.as_is(),
        "standardized": mne_hmm.Preparation.standardized(),
    }.get(kind, plain)
    prepared = mne_hmm.prepare(raw, chosen)
    preparation = prepared.preparation
    if kind == "signs":
        z = (raw.get_data() / raw.get_data().std(1, keepdims=True)).T
        preparation = replace(preparation, align="signs", template_=lagged_covariance([z], 3))
        raw.apply_function(np.negative, picks=["parcel_01", "parcel_06"])
    if kind == "spatial":
        spatial = np.linalg.qr(rng.normal(size=(8, 5)))[0]
        components = np.linalg.qr(rng.normal(size=(15, 6)))[0]
        preparation = replace(
            preparation, spatial_components_=spatial, components_=components.astype(np.float32)
        )
    covariance_type = "diag" if kind == "diagonal" else "full"
    hmm = model(preparation, preparation.n_features_, rng, covariance_type)
    calibration = None if kind == "as is" else raw
    decoder = hmm.online(raw.info, calibration=calibration, lag=0.4)
    states = decoder.process(raw.get_data(stop=5000))
    assert decoder.delays["filter"] == decoder.delays["resampling"] == 0
    expected = hmm.predict(raw).probabilities
    samples = np.round(states.times * 250).astype(int)
    # Features are in single precision offline.
    assert_allclose(states.probabilities, expected[:, samples], rtol=0, atol=1e-4)
    assert samples[0] == (0 if kind in ("as is", "standardized") else 1)
    assert np.ptp(states.probabilities) > 0.9
    if kind == "as is":
        with pytest.raises(ValueError, match="calibration is of no use here"):
            hmm.online(raw.info, calibration=raw)


def mixed(raw, seed):
    """As of another head: the same sources in other proportions."""
    mixing = np.eye(8) + 0.4 * np.random.default_rng(seed).normal(size=(8, 8))
    return mne.io.RawArray(mixing @ raw.get_data(), raw.info, verbose="ERROR")


@pytest.mark.parametrize("kind", ["euclidean", "riemannian"])
def test_aligned(simulated, kind):
    """The stream goes through the map that `prepare` finds when it aligns on the calibration."""
    raws = [mixed(simulated[0], seed) for seed in range(3)]
    chosen = mne_hmm.Preparation(n_components=12, align=kind)
    preparation = mne_hmm.prepare(raws[:2], chosen).preparation
    hmm = model(preparation, 12, np.random.default_rng(0))
    calibration, rest = raws[2].copy().crop(0, 30), raws[2].copy().crop(31)
    (alignment,) = mne_hmm.prepare(rest, preparation, align_on=calibration).alignments
    assert np.abs(alignment.to_mean - np.eye(8)).max() > 0.1
    x = rest.get_data(stop=1000)
    decoder = hmm.online(rest.info, calibration=calibration, lag=0.1)
    expected, times = causal_reference(
        hmm, x, rest.info, calibration, 0.1, "minimum", alignment.to_mean
    )
    online, found_times = in_blocks(decoder, x, [7, 300, 1])
    assert_allclose(online, expected, rtol=0, atol=1e-6)
    assert_allclose(found_times, times, rtol=0, atol=1e-9)
    # With offline's filter and all samples, states are offline's.
    decoder = hmm.online(raws[2].info, calibration=raws[2], lag=1.0, phase="zero")
    states = decoder.process(raws[2].get_data())
    samples = np.round(states.times * 250).astype(int)
    inside = (samples > 1000) & (samples < raws[2].n_times - 1000)
    expected = hmm.predict(raws[2]).probabilities[:, samples[inside]]
    assert_allclose(states.probabilities[:, inside], expected, rtol=0, atol=1e-4)


def test_calibrations_that_say_nothing_of_an_alignment(simulated):
    """One that is missing, and one that is too short."""
    raws = [mixed(simulated[0], seed) for seed in range(2)]
    chosen = mne_hmm.Preparation.standardized(align="euclidean", standardize=False)
    preparation = mne_hmm.prepare(raws, chosen).preparation
    hmm = model(preparation, 8, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"calibration is None, but .* aligns each recording"):
        hmm.online(raws[0].info)
    with pytest.raises(
        ValueError, match=r"the calibration is too short to be aligned: .* Record a longer one"
    ):
        hmm.online(raws[0].info, calibration=raws[0].get_data(stop=15))
    decoder = hmm.online(raws[0].info, calibration=raws[0])
    assert len(decoder.process(raws[0].get_data(stop=100))) > 0


def test_slow_streams():
    """Volumes of a scanner come more slowly than times of an amplifier may jump."""
    x = np.random.default_rng(2).standard_normal((3, 60))
    prepared = mne_hmm.prepare(x, mne_hmm.Preparation.as_is(), sfreq=0.5, verbose="ERROR")
    hmm = model(prepared.preparation, 3, np.random.default_rng(0))
    decoder = hmm.online(mne.create_info(list(prepared.preparation.ch_names_), 0.5, "misc"), lag=0)
    times = 1000 + 2 * np.arange(60.0)
    states = [decoder.process(x[:, a : a + 7], times[a : a + 7]) for a in range(0, 60, 7)]
    assert_allclose(np.concatenate([block.times for block in states]), times, rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match=r"times jump from 1118\.000 to 1122\.000 s"):
        decoder.process(x[:, :1], times[-1:] + 4)


def test_what_is_printed(simulated, fitted):
    """Decoders tell their delay, states their times."""
    decoder = fitted.online(simulated[0].info, calibration=simulated[0], lag=0.08)
    assert "filter 17.3" in str(decoder)
    assert "embedding 28.0, lag 80.0" in repr(decoder)
    assert str(decoder.process(np.empty((8, 0)))) == "OnlineStates: no samples"
    states = decoder.process(simulated[0].get_data(stop=100))
    assert str(states).startswith("OnlineStates: 66 samples from 0.0")
    assert_array_equal(states.labels, states.probabilities.argmax(0))
