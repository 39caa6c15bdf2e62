"""Whitening: training happens on whitened features, and nobody outside can tell."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from oracle import (
    draw_samples,
    draw_states,
    gaussian_log_densities,
    per_chain,
    plain_smooth,
    random_model,
)

from mne_hmm.engine import Parameters, Samples
from mne_hmm.engine.training.em import posterior
from mne_hmm.engine.training.whitening import Whitening

# A shape that tests of EM use too, so that nothing new is compiled for these.
LENGTHS, N_SAMPLES, N_FEATURES = [200, 160, 120], 480, 5

SIZES = {
    "alike": np.ones(N_FEATURES),
    "badly scaled": np.array([1e-6, 1e6, 1.0, 1e3, 1e-3]),
}


def _samples(sizes="alike", seed=0, dependent=0):
    """Correlated features with a mean; the last ones depend on the others if so asked."""
    rng = np.random.default_rng(seed)
    initial, transition, means, covariances = random_model(rng, 3, N_FEATURES - dependent)
    x = draw_samples(rng, draw_states(rng, N_SAMPLES, initial, transition), means, covariances)
    x = x + 2.0
    x = np.concatenate([x, x @ rng.normal(size=(x.shape[1], dependent))], axis=1)
    return Samples([(x * SIZES[sizes]).astype(np.float32)], [LENGTHS])


def _inner_parameters(rank, seed=1):
    """Draw parameters of states in whitening."""
    rng = np.random.default_rng(seed)
    initial, transition, means, covariances = random_model(rng, 3, rank, spread=0.5)
    return Parameters(initial, transition, means, covariances)


def _whitening(samples, centered=True, covariance_type="full"):
    return Whitening.fit(samples, centered=centered, covariance_type=covariance_type)


def _inside(samples, whitening):
    """Carry the samples over in float64."""
    return (samples.arrays[0] - whitening.center) @ whitening.forward


def _rows(data):
    return np.concatenate([block for batch in data for block in batch.blocks])


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("dependent", [0, 2])
def test_pooled_data_are_white(dependent, sizes, centered):
    samples = _samples(sizes, dependent=dependent)
    whitening = _whitening(samples, centered)
    rank = N_FEATURES - dependent
    assert whitening.rank == rank
    z = _inside(samples, whitening)
    # Float64 throughout, with eigenvalues that lie a factor of 1e3 apart at most.
    assert_allclose(z.T @ z / N_SAMPLES, np.eye(rank), rtol=0, atol=1e-11)
    if centered:
        assert_allclose(z.mean(0), 0, rtol=0, atol=1e-11)
    else:
        assert_array_equal(whitening.center, 0)
    # What is applied to the data is this map, in single precision.
    assert_allclose(_rows(whitening.apply(samples, 15)), z, rtol=1e-6, atol=1e-6 * np.abs(z).max())


@pytest.mark.parametrize("sizes", SIZES)
def test_diagonal_whitening_scales_but_does_not_mix(sizes):
    samples = _samples(sizes)
    whitening = _whitening(samples, covariance_type="diag")
    z = _inside(samples, whitening)
    assert_allclose(z.std(0), 1, rtol=1e-12, atol=0)
    assert_array_equal(whitening.forward != 0, np.eye(N_FEATURES, dtype=bool))
    assert_allclose(whitening.forward @ whitening.backward, np.eye(5), rtol=0, atol=1e-14)


@pytest.mark.parametrize("dependent", [0, 2])
@pytest.mark.parametrize("sizes", SIZES)
def test_nothing_is_lost_on_the_way_and_back(sizes, dependent):
    samples = _samples(sizes, dependent=dependent)
    whitening = _whitening(samples)
    x = samples.arrays[0]
    back = _inside(samples, whitening) @ whitening.backward + whitening.center
    # In units of each feature. What depends on the others was stored in single precision, and
    # that rounding, 1e-7 of a feature and its mean, is all that is lost.
    error = (back - x) / x.std(0)
    assert_allclose(error, 0, rtol=0, atol=1e-12 if dependent == 0 else 1e-6)
    # Parameters too, and they make the way from the features first.
    inner = _inner_parameters(whitening.rank)
    outer = whitening.unwhiten_parameters(inner)
    assert_allclose(whitening.whiten_means(outer.means), inner.means, rtol=0, atol=1e-12)
    again = whitening.whiten_covariances(outer.covariances)
    assert_allclose(again, inner.covariances, rtol=0, atol=1e-12)
    assert_array_equal(outer.initial_probs, inner.initial_probs)
    assert_array_equal(outer.transition_matrix, inner.transition_matrix)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("sizes", SIZES)
def test_densities_differ_by_the_volume(sizes, centered, covariance_type):
    samples = _samples(sizes)
    whitening = _whitening(samples, centered, covariance_type)
    inner = _inner_parameters(N_FEATURES)
    if covariance_type == "diag":
        inner = inner._replace(covariances=inner.covariances * np.eye(N_FEATURES))
    outer = whitening.unwhiten_parameters(inner)
    inside = gaussian_log_densities(_inside(samples, whitening), inner.means, inner.covariances)
    outside = gaussian_log_densities(samples.arrays[0], outer.means, outer.covariances)
    # Some 50 nats, both in float64.
    assert_allclose(inside + whitening.log_volume, outside, rtol=0, atol=1e-10)


@pytest.mark.parametrize("sizes", SIZES)
def test_densities_differ_by_the_volume_where_features_depend(sizes):
    # Off the plane in which the data lie there is only rounding to single precision, 1e-7 of a
    # feature. The states share a variance of 1e-4 of a feature's there: 1e-10 nats, some times.
    samples = _samples(sizes, dependent=2)
    whitening = _whitening(samples)
    inner = _inner_parameters(whitening.rank)
    outer = whitening.unwhiten_parameters(inner)
    inside = gaussian_log_densities(_inside(samples, whitening), inner.means, inner.covariances)
    outside = gaussian_log_densities(samples.arrays[0], outer.means, outer.covariances)
    assert_allclose(inside + whitening.log_volume, outside, rtol=0, atol=1e-8)
    # Nothing in the silent directions tells states apart.
    difference = (outside - outside[:, :1]) - (inside - inside[:, :1])
    assert_allclose(difference, 0, rtol=0, atol=1e-8)


@pytest.mark.parametrize("dependent", [0, 2])
@pytest.mark.parametrize("sizes", SIZES)
def test_evidence_is_that_of_the_parameters_carried_out(sizes, dependent):
    # The number the users see: computed inside in single precision, plus the volume, it is the
    # evidence of the model they get, which is computed here in float64 from their features.
    samples = _samples(sizes, dependent=dependent)
    whitening = _whitening(samples)
    inner = _inner_parameters(whitening.rank)
    got = posterior(whitening.apply(samples, 15), inner)
    outer = whitening.unwhiten_parameters(inner)
    log_b = gaussian_log_densities(samples.arrays[0], outer.means, outer.covariances)
    truth = per_chain(plain_smooth, log_b, LENGTHS, outer.transition_matrix, outer.initial_probs)
    volume = np.multiply(LENGTHS, whitening.log_volume)
    # Log densities of single precision err by some 1e-6 nats each, in either direction: 1e-6
    # in a posterior, and the root of 200 times that in a chain.
    assert_allclose(got.log_evidence + volume, truth.log_evidence, rtol=0, atol=2e-4)
    assert_allclose(got.probabilities, truth.probabilities, rtol=0, atol=1e-5)


def test_identity_changes_nothing():
    samples = _samples()
    whitening = Whitening.identity(N_FEATURES)
    assert whitening.log_volume == 0
    assert whitening.rank == N_FEATURES
    assert_array_equal(_rows(whitening.apply(samples, 15)), samples.arrays[0])
    inner = _inner_parameters(N_FEATURES)
    outer = whitening.unwhiten_parameters(inner)
    assert_array_equal(outer.means, inner.means)
    assert_allclose(outer.covariances, inner.covariances, rtol=1e-14, atol=1e-15)
    assert_array_equal(whitening.whiten_means(inner.means), inner.means)


def test_recordings_are_pooled():
    # Several recordings of different sizes count by their samples.
    x = _samples().arrays[0]
    whitening = _whitening(_samples())
    other = _whitening(Samples([x[:100], x[100:101], x[101:]], [[100], [1], [379]]))
    assert_allclose(other.center, whitening.center, rtol=1e-12, atol=0)
    assert_allclose(
        other.backward.T @ other.backward,
        whitening.backward.T @ whitening.backward,
        rtol=1e-11,
        atol=1e-11,
    )
