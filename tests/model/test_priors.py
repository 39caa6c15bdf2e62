"""Priors: what they mean, and that they carry models that data alone cannot."""

import dataclasses
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm import Priors, fit_hmm, prepare

AS_IS = mne_hmm.Preparation.as_is()
ALL = ("initial", "transitions", "covariances", "means")
AUTO = Priors(**dict.fromkeys(ALL, "auto"))


def switching(n_samples, n_features, n_states, seed, *, mean_visit=15):
    """Samples of states with means and covariances of their own; the same states for each seed."""
    rng = np.random.default_rng(12)
    means = rng.normal(0, 0.7, (n_states, n_features))
    shape = (n_states, n_features, n_features)
    mixing = rng.normal(0, 1, shape) / np.sqrt(n_features) + np.eye(n_features)
    rng = np.random.default_rng(seed)
    visits = rng.permuted(np.arange(n_samples // mean_visit + 1) % n_states)
    states = np.repeat(visits, mean_visit)[:n_samples]
    noise = rng.standard_normal((n_samples, n_features))
    return (means[states] + np.einsum("tij,tj->ti", mixing[states], noise)).T


@pytest.fixture(scope="module")
def few():
    """Two short recordings of three channels."""
    x = switching(400, 3, 3, 0)
    return prepare([x[:, :250], x[:, 250:]], AS_IS, sfreq=10.0)


# As they are given


def test_off_by_default():
    assert Priors() == Priors(None, None, None, None)
    assert Priors().strengths(5, 100.0) == dict.fromkeys(ALL, 0.0)
    assert [field.name for field in dataclasses.fields(Priors)] == list(ALL)


def test_automatic_numbers():
    """One start, a second of steps, as many samples as features, and one sample."""
    expected = {"initial": 1.0, "transitions": 250.0, "covariances": 31.0, "means": 1.0}
    assert AUTO.strengths(31, 250.0) == expected
    for name in ALL:
        strengths = Priors(**{name: "auto"}).strengths(31, 250.0)
        assert strengths == dict.fromkeys(ALL, 0.0) | {name: expected[name]}


def test_numbers_are_taken_as_they_are():
    numbers = {"initial": 2, "transitions": 0.5, "covariances": 0, "means": np.float32(3)}
    assert Priors(**numbers).strengths(31, 250.0) == {
        "initial": 2.0,
        "transitions": 0.5,
        "covariances": 0.0,
        "means": 3.0,
    }


def test_they_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        AUTO.means = 3
    assert Priors("auto", "auto", "auto", "auto") == AUTO
    assert hash(AUTO) == hash(Priors("auto", "auto", "auto", "auto"))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1, ValueError),
        (-1e-9, ValueError),
        (np.nan, ValueError),
        (np.inf, ValueError),
        ("weak", TypeError),
        (True, TypeError),
        ([1, 2], TypeError),
        (1j, TypeError),
    ],
)
def test_wrong_numbers(name, value, error):
    parts = f'{name} must be None, "auto" or a number of samples ≥ 0, got {value!r}'
    with pytest.raises(error, match=re.escape(parts)):
        Priors(**{name: value})


# What they mean


def test_updates_are_those_of_samples_seen_before(few):
    """Where training ends, parameters are averages over samples seen and samples believed in."""
    priors = Priors(initial=2.0, covariances=40.0, means=15.0)
    hmm = fit_hmm(few, 2, priors=priors, n_init=1, refine=False, tol=0, random_state=0)
    probabilities = [course.probabilities.T for course in hmm.predict(few)]
    # Of the two chains' first samples, and of two starts in each state before them.
    starts = 2.0 + sum(rows[0] for rows in probabilities)
    # Training ends where the free energy does not change in float32, by 1e-7. It is flat there, so
    # parameters are known to the square root of that, 3e-4.
    assert_allclose(hmm.initial_probs_, starts / starts.sum(), rtol=0, atol=1e-3)
    x, gamma = np.concatenate(list(few.data)).astype(float), np.concatenate(probabilities)
    pooled_mean, pooled = x.mean(0), np.cov(x.T, ddof=0)
    for k in range(2):
        weights = gamma[:, k]
        n = weights.sum()
        mean = (weights @ x + 15.0 * pooled_mean) / (n + 15.0)
        assert_allclose(hmm.means_[k], mean, rtol=0, atol=1e-3)
        around = x - mean
        seen = (weights[:, None] * around).T @ around
        believed = 40.0 * pooled + 15.0 * np.outer(mean - pooled_mean, mean - pooled_mean)
        # A normal prior on the mean brings a half more of log determinant: one sample more.
        expected = (seen + believed) / (n + 40.0 + 1.0)
        assert_allclose(hmm.covariances_[k], expected, rtol=0, atol=1e-3)


def test_strong_beliefs_win(few):
    """With very many samples believed in, parameters are those believed in."""
    n = 1e9
    priors = Priors(initial=n, transitions=n, covariances=n, means=n)
    hmm = fit_hmm(few, 2, priors=priors, n_init=1, refine=False, random_state=0)
    x = np.concatenate(list(few.data)).astype(float)
    # The data have 400 of the 1e9 samples.
    sticky = [[0.9, 0.1], [0.1, 0.9]]
    assert_allclose(hmm.transition_matrix_, sticky, rtol=0, atol=1e-5)
    assert_allclose(hmm.initial_probs_, [0.5, 0.5], rtol=0, atol=1e-5)
    assert_allclose(hmm.means_, np.tile(x.mean(0), (2, 1)), rtol=0, atol=1e-5)
    for covariance in hmm.covariances_:
        assert_allclose(covariance, np.cov(x.T, ddof=0), rtol=0, atol=1e-5)


def test_zero_is_none(few):
    kwargs = {"n_init": 1, "refine": False, "random_state": 0}
    ours = fit_hmm(few, 2, priors=Priors(0, 0, 0, 0), **kwargs)
    theirs = fit_hmm(few, 2, **kwargs)
    assert_array_equal(ours.covariances_, theirs.covariances_)
    assert ours.free_energy_ == theirs.free_energy_


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_free_energy_never_rises(few, covariance_type):
    """Also with priors every update is exact."""
    # From given labels all updates are on all data, and in the course.
    labels = np.random.default_rng(3).integers(0, 2, few.n_samples)
    kwargs = {"priors": AUTO, "covariance_type": covariance_type, "init": labels, "tol": 0}
    hmm = fit_hmm(few, 2, **kwargs)
    course = hmm.history_["free_energy"]
    # Densities are computed in float32: 1e-7 of the value is rounding.
    assert np.diff(course).max() <= 1e-6 * np.abs(course).max()
    assert course[0] - course[-1] > 0.01


def test_means_that_are_not_learned_have_no_prior(few):
    kwargs = {"learn_means": False, "n_init": 1, "refine": False, "random_state": 0}
    ours = fit_hmm(few, 2, priors=Priors(means=50), **kwargs)
    theirs = fit_hmm(few, 2, **kwargs)
    assert_array_equal(ours.means_, 0)
    assert_array_equal(ours.covariances_, theirs.covariances_)


# What they are for


@pytest.mark.filterwarnings("ignore:state_.* lost all samples:RuntimeWarning")
@pytest.mark.parametrize("refine", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_small_data_with_many_states(refine):
    """Ten minutes of fMRI, 31 regions, 8 states: 38 volumes a state for 31-d covariances."""
    x, held_out = (switching(300, 31, 3, seed) for seed in (0, 1))
    data = prepare(x, AS_IS, sfreq=0.5)
    unseen = prepare(held_out, data.preparation, sfreq=0.5)
    kwargs = {"n_init": 1, "refine": refine, "random_state": 0}
    without = fit_hmm(data, 8, **kwargs)
    with_priors = fit_hmm(data, 8, priors=AUTO, **kwargs)
    for name in ("initial_probs_", "transition_matrix_", "means_", "covariances_"):
        assert np.isfinite(getattr(with_priors, name)).all()
    assert np.isfinite(with_priors.free_energy_)
    assert with_priors.converged_
    smallest = np.linalg.eigvalsh(np.cov(x))[0]
    # As many samples with the pooled covariance as features, and never more than all others.
    assert np.linalg.eigvalsh(with_priors.covariances_).min() > smallest * 31 / (300 + 31 + 1)
    # By one nat per sample at least: a likelihood ratio of e per volume.
    assert with_priors.score(unseen) > without.score(unseen) + 1
    # It describes what it was trained on less closely, which is the point.
    assert with_priors.score(data) < without.score(data)
