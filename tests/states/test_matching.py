"""Which state is which: distances against formulas and other packages, and orders both ways."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import block_diag, eigvalsh, sqrtm

import mne_hmm
from mne_hmm.model.file import Learned
from mne_hmm.states.matching import best_match, compare_states, correlations

# 0 → 1 → 2 → 0: unlike a swap it is not its own inverse.
CYCLE = [1, 2, 0]


def covariances(n_states, n_features=4, seed=0):
    """Covariances far from each other."""
    factors = np.random.default_rng(seed).standard_normal((n_states, n_features, 2 * n_features))
    return factors @ factors.swapaxes(1, 2) / n_features


def model(covs, means=None):
    """A model of states in channels as they are."""
    n_states, n_features = len(covs), covs.shape[1]
    names = tuple(f"c{i}" for i in range(n_features))
    preparation = mne_hmm.FittedPreparation(
        **mne_hmm.Preparation.as_is().settings, ch_names_=names, rank_=n_features, sfreq_=100.0
    )
    stay = np.full((n_states, n_states), 0.05 / max(n_states - 1, 1))
    np.fill_diagonal(stay, 0.95)
    return mne_hmm.HMM(
        np.full(n_states, 1 / n_states),
        stay,
        np.zeros((n_states, n_features)) if means is None else means,
        covs,
        preparation,
        learned=Learned(means is not None),
    )


# Against osl-dynamics


@pytest.mark.parametrize("metric", ["rv_coefficient", "correlation", "frobenius"])
def test_as_osl_dynamics(reference, metric):
    """Values and orders are those of osl-dynamics, where the obvious match is not the best."""
    arrays = reference("alignment")
    values = compare_states(arrays["covariances_0"], arrays["covariances_1"], metric)
    assert_allclose(values, arrays[metric], rtol=0, atol=1e-11)
    order = arrays[f"{metric}_order"]
    assert_array_equal(best_match(values, smallest=metric == "frobenius"), order)
    hmm, other = model(arrays["covariances_0"]), model(arrays["covariances_1"])
    assert_array_equal(mne_hmm.match_states(other, hmm, metric=metric), order)


def test_time_courses_as_osl_dynamics(reference):
    """The longer one cut, as osl-dynamics does; a state that never changes comes last."""
    arrays = reference("alignment")
    values = correlations([(arrays["gamma_0"].T, arrays["gamma_1"][:1500].T)])
    # A constant column is where both have NaN.
    assert_array_equal(np.isnan(values), np.isnan(arrays["gamma_correlation"]))
    assert np.isnan(values[:, 2]).all()
    assert_allclose(values, arrays["gamma_correlation"], rtol=0, atol=1e-11)
    assert_array_equal(best_match(values), arrays["gamma_order"])
    parts = [(x[:, a:b], y[:, a:b]) for x, y in [(arrays["gamma_0"].T, arrays["gamma_1"].T)]
             for a, b in ((0, 400), (400, 1500))]  # fmt: skip
    assert_allclose(correlations(parts), values, rtol=0, atol=1e-12)  # of two recordings


# Against formulas


def test_riemannian():
    """The root of the sum of squared logarithms of generalized eigenvalues."""
    first, second = covariances(3), covariances(2, seed=1)
    expected = [[np.sqrt(np.square(np.log(eigvalsh(a, b))).sum()) for b in second] for a in first]
    assert_allclose(compare_states(first, second, "riemannian"), expected, rtol=1e-10)


def test_riemannian_with_means():
    """Means are one more row and column; mixing and shifting the features changes nothing."""
    rng = np.random.default_rng(2)
    first, second = covariances(3), covariances(2, seed=1)
    means = rng.standard_normal((3, 4)), rng.standard_normal((2, 4))

    def embedded(covariance, mean):
        return block_diag(covariance, 0) + np.outer(np.append(mean, 1), np.append(mean, 1))

    expected = [
        [
            np.sqrt(np.square(np.log(eigvalsh(embedded(a, m), embedded(b, n)))).sum())
            for b, n in zip(second, means[1], strict=True)
        ]
        for a, m in zip(first, means[0], strict=True)
    ]
    distances = compare_states(first, second, "riemannian", *means)
    assert_allclose(distances, expected, rtol=1e-10)
    mixing, shift = rng.standard_normal((4, 4)), rng.standard_normal(4)
    mixed = [mixing @ x @ mixing.T for x in (first, second)]
    moved = [x @ mixing.T + shift for x in means]
    assert_allclose(compare_states(*mixed, "riemannian", *moved), distances, rtol=1e-8)


def test_riemannian_without_full_rank():
    """Directions in which the data do not vary say nothing, whatever the units."""
    first, second = covariances(3), covariances(2, seed=1)
    # Of rank 4: the fifth is the sum of the others, the sixth is nothing.
    more = np.diag([1e-6, 1.0, 1e3, 1.0, 1.0, 1.0]) @ np.vstack(
        [np.eye(4), np.ones(4), np.zeros(4)]
    )
    distances = compare_states(more @ first @ more.T, more @ second @ more.T, "riemannian")
    assert_allclose(distances, compare_states(first, second, "riemannian"), rtol=1e-5)


def test_wasserstein():
    """The formula of Gaussians, by matrix square roots; and of one feature, by hand."""
    rng = np.random.default_rng(2)
    first, second = covariances(3), covariances(2, seed=1)
    means = rng.standard_normal((3, 4)), rng.standard_normal((2, 4))
    expected = [
        [
            np.sqrt(
                np.square(m - n).sum() + np.trace(a + b - 2 * sqrtm(sqrtm(a) @ b @ sqrtm(a)).real)
            )
            for b, n in zip(second, means[1], strict=True)
        ]
        for a, m in zip(first, means[0], strict=True)
    ]
    assert_allclose(compare_states(first, second, "wasserstein", *means), expected, rtol=1e-8)
    narrow, four = np.array([[[1.0]]]), np.array([[[4.0]]])
    distances = compare_states(narrow, four, "wasserstein", np.array([[0.0]]), np.array([[3.0]]))
    assert distances.item() == pytest.approx(np.hypot(2 - 1, 3))


@pytest.mark.parametrize("metric", ["riemannian", "wasserstein", "frobenius"])
def test_distance_of_a_state_to_itself(metric):
    covs = covariances(3)
    distances = compare_states(covs, covs, metric)
    assert_allclose(np.diag(distances), 0, atol=1e-6)  # roots of rounding errors
    assert (distances[~np.eye(3, dtype=bool)] > 0.1).all()


# Orders


METRICS = ["riemannian", "wasserstein", "frobenius", "correlation", "rv_coefficient"]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("cycle", [CYCLE, [2, 0, 1]])
def test_order_undoes_a_cycle(fitted, metric, cycle):
    """What was reordered lines up again, the right way round."""
    order = mne_hmm.match_states(fitted.reorder_states(cycle), fitted, metric=metric)
    assert_array_equal(order, np.argsort(cycle))
    again = fitted.reorder_states(cycle).reorder_states(order)
    assert_array_equal(again.covariances_, fitted.covariances_)
    assert_array_equal(again.transition_matrix_, fitted.transition_matrix_)


def test_order_by_time_courses(fitted, simulated):
    """The same by what the states do, against a model and against the truth."""
    raw, truth = simulated
    shuffled = fitted.reorder_states(CYCLE)
    order = mne_hmm.match_states(shuffled, fitted, metric="time_courses", inst=raw)
    assert_array_equal(order, np.argsort(CYCLE))
    order = mne_hmm.match_states(shuffled, truth, metric="time_courses", inst=raw)
    labels = shuffled.reorder_states(order).predict(raw).labels
    decoded = labels >= 0
    assert np.mean(labels[decoded] == truth.labels[decoded]) > 0.8


def test_means_tell_states_apart():
    """States of equal covariances are told apart by their means."""
    covs = np.tile(np.eye(2), (3, 1, 1))
    hmm = model(covs, np.array([[0.0, 0], [5, 0], [0, 5]]))
    for metric in ("riemannian", "wasserstein"):
        order = mne_hmm.match_states(hmm.reorder_states(CYCLE), hmm, metric=metric)
        assert_array_equal(order, np.argsort(CYCLE))


def test_states_that_are_left_over():
    """They come last, in their own order."""
    covs = covariances(5)
    assert_array_equal(mne_hmm.match_states(model(covs), model(covs[[4, 1, 3]])), [4, 1, 3, 0, 2])


def test_fewer_states():
    """No order of three states lines up with five."""
    covs = covariances(5)
    with pytest.raises(ValueError, match=r"3 states and reference 5.*exchange the two"):
        mne_hmm.match_states(model(covs[:3]), model(covs))
    assert_array_equal(best_match(np.eye(3)[:, :2]), [0, 1, -1])


def test_nothing_is_known():
    """States of which nothing is known are matched last."""
    values = np.array([[np.nan, 0.1], [np.nan, 0.9]])
    assert_array_equal(best_match(values), [0, 1])
    assert_array_equal(best_match(values[::-1]), [1, 0])
    assert_array_equal(best_match(values[:, ::-1] * -1, smallest=True), [1, 0])
    # Whatever the sign of what is known.
    values = np.array([[np.nan, 5.0], [2.0, 3.0]])
    assert_array_equal(best_match(values, smallest=True), [1, 0])
    assert_array_equal(best_match(-values), [1, 0])


# Errors


def test_errors(fitted, simulated):
    raw, truth = simulated
    other = model(covariances(3))
    with pytest.raises(ValueError, match="metric must be one of 'riemannian'"):
        mne_hmm.match_states(fitted, fitted, metric="euclidean")
    with pytest.raises(TypeError, match=r"hmm must be a model, .* got RawArray"):
        mne_hmm.match_states(raw, fitted)
    with pytest.raises(TypeError, match=r"reference must be a model.*time_courses.*StateTimeCou"):
        mne_hmm.match_states(fitted, truth)
    with pytest.raises(TypeError, match=r"reference must be a model, .* or states, got RawArray"):
        mne_hmm.match_states(fitted, raw, metric="time_courses", inst=raw)
    with pytest.raises(ValueError, match=r"other features \(.*time_courses"):
        mne_hmm.match_states(fitted, other)
    with pytest.raises(ValueError, match='"time_courses" needs inst'):
        mne_hmm.match_states(fitted, fitted, metric="time_courses")
    with pytest.raises(ValueError, match=r"inst and sfreq are for .*; metric='riemannian'"):
        mne_hmm.match_states(fitted, fitted, inst=raw)
    with pytest.raises(ValueError, match="same recordings, but there are those of 2 and of 1"):
        mne_hmm.match_states(fitted, [truth, truth], metric="time_courses", inst=raw)
    short = raw.copy().crop(0, 20)
    with pytest.raises(ValueError, match=r"same time grid, but those of recording 0.*\(15000,\)"):
        mne_hmm.match_states(fitted, truth, metric="time_courses", inst=short)
