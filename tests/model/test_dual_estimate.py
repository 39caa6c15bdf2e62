"""Means and covariances of single recordings, given a model of many."""

import subprocess
import sys
import weakref
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from oracle import gaussian_log_densities, per_chain, plain_smooth

import mne_hmm
from mne_hmm.engine import estimate
from mne_hmm.engine.inference.dual_estimate import ROWS_PER_BLOCK


def posterior(hmm, x, lengths):
    """Textbook recursions in float64: probabilities of the states."""
    densities = gaussian_log_densities(x, hmm.means_, hmm.covariances_)
    truth = per_chain(plain_smooth, densities, lengths, hmm.transition_matrix_, hmm.initial_probs_)
    return truth.probabilities


def weighted_average(x, gamma, means=None):
    """Means and covariances as the definition has them: the samples less the mean, squared."""
    x = np.asarray(x, float)
    moments = []
    for k, weights in enumerate(gamma.T):
        mean = np.average(x, axis=0, weights=weights) if means is None else means[k]
        deviations = x - mean
        moments.append((mean, (deviations * weights[:, None]).T @ deviations / weights.sum()))
    return [np.array(part) for part in zip(*moments, strict=True)]


def span_lengths(prepared, index):
    return [stop - start for start, stop in prepared.spans[index]]


def changed(hmm, **learned):
    """Copy a model, with other parameters learned."""
    out = hmm.copy()
    out.learned = replace(hmm.learned, **learned)
    return out


@pytest.fixture
def with_means(fitted):
    """Make a model whose states have means of their own."""
    hmm = changed(fitted, means=True)
    hmm.means_ = np.random.default_rng(0).normal(scale=0.3, size=hmm.means_.shape)
    return hmm


@pytest.fixture(scope="module")
def prepared(simulated, fitted):
    """Features of two recordings, of one and of two spans."""
    import mne

    first = simulated[0].copy().crop(0, 4.5)
    second = simulated[0].copy().crop(8, 14)
    second.set_annotations(mne.Annotations([2.5], [1.0], ["BAD_movement"]))
    return mne_hmm.prepare([first, second], fitted.preparation_)


# The arithmetic


@pytest.mark.parametrize("prefix", ["eps_0_", "zero_mean_", "diagonal_", ""])
def test_reference(reference, prefix):
    """Numbers of osl-dynamics, from its state probabilities."""
    arrays = reference("dual_estimation")
    for i in range(2):
        gamma = arrays[f"gamma_{i}"]
        zero = np.zeros((3, 4)) if prefix == "zero_mean_" else None
        kind = "diag" if prefix == "diagonal_" else "full"
        dual = estimate(arrays[f"x_{i}"], gamma, means=zero, covariance_type=kind)
        # osl-dynamics adds something to the diagonal; we do not.
        eps = 0.0 if prefix == "eps_0_" else 1e-5
        expected = arrays[f"{prefix}covariances"][i] - eps * np.eye(4)
        # The tolerance the arrays come with, for float64.
        atol = 1e-11 * np.abs(expected).max()
        assert_allclose(dual.covariances, expected, rtol=0, atol=atol)
        assert_allclose(dual.means, arrays[f"{prefix}means"][i], rtol=0, atol=1e-11)
        assert_allclose(dual.weights, gamma.sum(0), rtol=1e-13)
        if kind == "diag":
            assert not dual.covariances[:, ~np.eye(4, dtype=bool)].any()


@pytest.mark.parametrize(
    "n_samples", [1, ROWS_PER_BLOCK - 1, ROWS_PER_BLOCK, ROWS_PER_BLOCK + 1, 2 * ROWS_PER_BLOCK + 7]
)
def test_blocks_cover_every_sample(n_samples):
    """Once, with the last block as long as it is; in float32 memory of any layout."""
    rng = np.random.default_rng(n_samples)
    x = np.asfortranarray(rng.normal(3.0, 1.0, size=(n_samples, 5)).astype(np.float32))
    gamma = rng.dirichlet(np.ones(3), n_samples)
    dual = estimate(x, gamma)
    means, covariances = weighted_average(x, gamma)
    # Float64 with a mean of three standard deviations: a few digits above 1e-16.
    assert_allclose(dual.means, means, rtol=1e-12)
    assert_allclose(dual.covariances, covariances, rtol=0, atol=1e-12)
    assert_array_equal(dual.covariances, dual.covariances.transpose(0, 2, 1))


# The method


@pytest.mark.parametrize("learn_means", [False, True])
def test_against_plain_float64(fitted, with_means, prepared, learn_means):
    """Textbook posterior, then the definition, for one span and for two."""
    hmm = with_means if learn_means else fitted
    assert [len(spans) for spans in prepared.spans] == [1, 2]
    estimates = hmm.dual_estimate(prepared)
    assert len(estimates) == 2
    for i, dual in enumerate(estimates):
        x = prepared.data[i]
        gamma = posterior(hmm, x, span_lengths(prepared, i))
        means, covariances = weighted_average(x, gamma, None if learn_means else hmm.means_)
        # Probabilities are rounded to float32, 6e-8 each; features have variance 1.
        assert_allclose(dual.means, means, rtol=0, atol=1e-6)
        assert_allclose(dual.covariances, covariances, rtol=0, atol=1e-6 * covariances.max())
        assert_allclose(dual.weights, gamma.sum(0) / 250, rtol=1e-6)
        assert_allclose(dual.weights.sum(), len(x) / 250, rtol=6e-8)
        assert dual.state_names == hmm.state_names
        assert dual.never_on == ()


def test_recordings_differ_from_the_group(fitted, prepared):
    """And weighted by time they average to what one more update of the group would give."""
    x = np.concatenate(prepared.data)
    gamma = np.concatenate(
        [posterior(fitted, x, span_lengths(prepared, i)) for i, x in enumerate(prepared.data)]
    )
    _, expected = weighted_average(x, gamma, fitted.means_)
    estimates = fitted.dual_estimate(prepared)
    weights = np.array([dual.weights for dual in estimates])
    covariances = np.array([dual.covariances for dual in estimates])
    average = np.einsum("rk,rkij->kij", weights / weights.sum(0), covariances)
    assert_allclose(average, expected, rtol=0, atol=1e-5 * expected.max())
    assert np.abs(covariances[0] - covariances[1]).max() > 0.1 * expected.max()


def test_known_change_is_found():
    """A state twice as strong in the second recording is so in its estimate."""
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.permutation(np.arange(120) % 3), 50)
    factors = np.array([np.diag(np.roll([3.0, 1.0, 0.3], k)) for k in range(3)])
    x = np.einsum("tij,tj->ti", factors[labels], rng.normal(size=(6000, 3)))
    louder = x * np.where(labels == 1, 1.4, 1.0)[:, None]
    prep = mne_hmm.Preparation.as_is()
    hmm = mne_hmm.fit_hmm(
        x.T, 3, sfreq=100.0, preparation=prep, learn_means=False, init=labels, n_init=1
    )
    quiet, loud = hmm.dual_estimate([x.T, louder.T], sfreq=100.0)
    ratio = np.einsum("kii->ki", loud.covariances) / np.einsum("kii->ki", quiet.covariances)
    # The states overlap a little, and a few samples change sides.
    assert_allclose(ratio[[0, 2]], 1.0, rtol=0.1)
    assert_allclose(ratio[1], 1.4**2, rtol=0.1)
    assert_allclose(quiet.weights, [20.0, 20.0, 20.0], rtol=0.05)


def test_what_was_not_learned_stays(fitted, with_means, prepared):
    """Means, covariances, or both; and it is no window into the model."""
    dual = changed(with_means, means=False).dual_estimate(prepared)[0]
    assert_array_equal(dual.means, with_means.means_)
    x = prepared.data[0]
    gamma = posterior(with_means, x, span_lengths(prepared, 0))
    _, about_given = weighted_average(x, gamma, with_means.means_)
    assert_allclose(dual.covariances, about_given, rtol=0, atol=1e-5 * about_given.max())

    dual = changed(with_means, covariances=False).dual_estimate(prepared)[0]
    assert_array_equal(dual.covariances, with_means.covariances_)
    assert np.abs(dual.means - with_means.means_).max() > 0.01

    hmm = fitted.copy()
    dual = hmm.dual_estimate(prepared)[0]
    dual.means[:] = dual.covariances[:] = 7
    assert_array_equal(hmm.means_, fitted.means_)
    assert_array_equal(hmm.covariances_, fitted.covariances_)


def test_diagonal_covariances(fitted, prepared):
    """Zero beside the diagonal, and the posterior is that of the diagonals."""
    hmm = changed(fitted, covariance_type="diag")
    hmm.covariances_ = hmm.covariances_ * np.eye(hmm.n_features)
    dual = hmm.dual_estimate(prepared)[0]
    x = prepared.data[0]
    _, covariances = weighted_average(x, posterior(hmm, x, span_lengths(prepared, 0)), hmm.means_)
    expected = covariances * np.eye(hmm.n_features)
    assert_allclose(dual.covariances, expected, rtol=0, atol=1e-5 * expected.max())


def test_state_that_is_never_on(with_means, prepared):
    """NaN, with a warning that names it and where; the others are as they were."""
    hmm = with_means
    hmm.means_[1] += 1e3
    hmm = hmm.rename_states({"state_1": "nowhere"})
    with pytest.warns(RuntimeWarning, match=r"never on .*nowhere in .*nowhere in ") as caught:
        estimates = hmm.dual_estimate(prepared)
    assert len(caught) == 1
    for dual in estimates:
        assert dual.never_on == ("nowhere",)
        assert np.isnan(dual.means[1]).all()
        assert np.isnan(dual.covariances[1]).all()
        assert np.isfinite(dual.means[[0, 2]]).all()
        assert np.isfinite(dual.covariances[[0, 2]]).all()
        assert dual.weights[1] == pytest.approx(0.0, abs=1e-6)
    fixed = changed(hmm, means=False, covariance_type="diag")
    with pytest.warns(RuntimeWarning, match="never on"):
        dual = fixed.dual_estimate(prepared)[0]
    assert_array_equal(dual.means, hmm.means_)
    assert np.isnan(dual.covariances[1]).all()
    assert np.isfinite(dual.covariances[[0, 2]]).all()


def test_one_or_a_list(simulated, fitted, prepared):
    """One estimate for one recording, a list for a list and for prepared data."""
    raw = simulated[0].copy().crop(0, 4.5)
    dual = fitted.dual_estimate(raw)
    assert isinstance(dual, mne_hmm.DualEstimate)
    (listed,) = fitted.dual_estimate([raw])
    first = fitted.dual_estimate(prepared)[0]
    for other in (listed, first):
        for name in ("means", "covariances", "weights"):
            assert_array_equal(getattr(dual, name), getattr(other, name))
    array = fitted.dual_estimate(raw.get_data(), sfreq=raw.info["sfreq"])
    assert_allclose(array.covariances, dual.covariances, rtol=0, atol=1e-5)
    k, d = fitted.n_states, fitted.n_features
    assert (dual.means.shape, dual.covariances.shape) == ((k, d), (k, d, d))
    assert "3 states" in str(dual)
    assert f"{dual.weights.sum():.1f} s" in str(dual)


def test_prepared_otherwise_is_refused(simulated, fitted):
    """As in `predict`."""
    other = mne_hmm.prepare(simulated[0], mne_hmm.Preparation(n_components=5))
    with pytest.raises(ValueError, match="prepared otherwise"):
        fitted.dual_estimate(other)


class Lazy(Sequence):
    """Arrays that are made when asked for; no two may be there at once."""

    def __init__(self, arrays):
        self.arrays = arrays
        self.last = lambda: None
        self.n_made = 0

    def __len__(self):
        return len(self.arrays)

    def __getitem__(self, index):
        assert self.last() is None, "the array before is still held"
        array = self.arrays[index].copy()
        self.last = weakref.ref(array)
        self.n_made += 1
        return array


def test_one_recording_in_memory_at_a_time(fitted, prepared, monkeypatch):
    """And each is read once."""
    lazy = replace(prepared, data=Lazy(prepared.data))
    monkeypatch.setattr("mne_hmm.model.inference_methods.features_for", lambda *_: lazy)
    estimates = fitted.dual_estimate(lazy)
    assert len(estimates) == lazy.data.n_made == 2


# Memory

# Says how much memory the most needed was above what there was before, in kB.
MEASURED = """
import re, sys
import numpy as np
import mne_hmm
from mne_hmm.model.file import Learned

def status(name):
    return int(re.search(name + r":\\s+(\\d+) kB", open("/proc/self/status").read())[1])

n_states = 6
x = np.load(sys.argv[1])
AS_IS = mne_hmm.Preparation.as_is()
prepared = mne_hmm.prepare(x.T, AS_IS, sfreq=250.0, verbose="ERROR")
assert np.shares_memory(prepared.data[0], x) or prepared.data[0].nbytes == x.nbytes
del x
stay = 0.98
hmm = mne_hmm.HMM(
    np.full(n_states, 1 / n_states),
    np.full((n_states, n_states), (1 - stay) / (n_states - 1))
    + (stay - (1 - stay) / (n_states - 1)) * np.eye(n_states),
    np.zeros((n_states, 80)),
    np.array([np.cov(part.T) for part in np.array_split(prepared.data[0], n_states)]),
    prepared.preparation,
    learned=Learned(means=eval(sys.argv[2])),
)
from mne_hmm.engine import estimate

estimate(np.ones((2, 2), np.float32), np.ones((2, 1)))  # TensorFlow is there
# What was needed at most before counts no more.
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
assert status("VmHWM") < before + 1000
found = hmm.dual_estimate(prepared)
assert np.isfinite(found[0].covariances).all()
print(status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("learn_means", [False, True])
def test_memory(tmp_path, learn_means):
    """75,000 samples of 80 features take less than 200 MB, in which T x D x D would be 3.8 GB."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((6, 80, 80)) / 9
    x = np.empty((75_000, 80), np.float32)
    for start in range(0, len(x), 500):
        x[start : start + 500] = rng.standard_normal((500, 80)) @ mixing[rng.integers(6)]
    np.save(tmp_path / "x.npy", x)
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURED, tmp_path / "x.npy", repr(learn_means)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 200_000, result.stdout


# Real EEG


def test_real_eeg(eegbci):
    """One model of eyes open and closed; each recording's own covariances, and power."""
    runs = [raw.crop(0, 10) for raw in eegbci(1, 2, preload=True)]
    prepared = mne_hmm.prepare(runs, mne_hmm.Preparation(n_components=12))
    hmm = mne_hmm.fit_hmm(prepared, 3, n_init=1, refine=False, random_state=0)
    estimates = hmm.dual_estimate(prepared)
    for i, dual in enumerate(estimates):
        x = prepared.data[i]
        gamma = posterior(hmm, x, span_lengths(prepared, i))
        _, covariances = weighted_average(x, gamma, hmm.means_)
        assert_allclose(dual.covariances, covariances, rtol=0, atol=1e-5 * covariances.max())
        assert_allclose(dual.weights, gamma.sum(0) / prepared.sfreq, rtol=1e-5)
        np.linalg.cholesky(dual.covariances)
    # The model is where training has settled, so its covariances are these, averaged.
    weights = np.array([dual.weights for dual in estimates])
    covariances = np.array([dual.covariances for dual in estimates])
    average = np.einsum("rk,rkij->kij", weights / weights.sum(0), covariances)
    assert hmm.converged_
    # An update at the end of training moves covariances by less than a thousandth.
    assert_allclose(average, hmm.covariances_, rtol=0, atol=0.01 * hmm.covariances_.max())
    assert np.abs(covariances[0] - covariances[1]).max() > 0.1 * hmm.covariances_.max()
