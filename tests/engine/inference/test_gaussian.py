"""Gaussian emissions: log densities and moments against float64."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from oracle import draw_samples, draw_states, gaussian_log_densities, random_model
from scipy.stats import multivariate_normal

from mne_hmm.engine import Data, Emission, Samples
from mne_hmm.engine.inference import samples as samples_module
from mne_hmm.engine.inference.gaussian import (
    MIN_SAMPLES_PER_FEATURE,
    # How often a function is traced, only the caches know.
    _log_density_function,
    _moment_function,
    weighted_moments,
)
from mne_hmm.engine.inference.linalg import cholesky, invert_lower, invert_lower_in_blocks

N_STATES, N_SAMPLES = 3, 1000


@pytest.fixture(scope="module", params=[2, 10, 40], ids="{} features".format)
def case(request):
    """Samples in two recordings and three chains, drawn from states that differ."""
    rng = np.random.default_rng(request.param)
    initial, transition, means, covariances = random_model(rng, N_STATES, request.param)
    states = draw_states(rng, N_SAMPLES, initial, transition)
    x = draw_samples(rng, states, means, covariances).astype(np.float32)
    samples = Samples([x[:700], x[700:]], [[699, 1], [300]])
    return samples, x, means, covariances


def _data(samples):
    return Data(samples, N_STATES * samples.n_features)


def _weights(n_samples=N_SAMPLES):
    return np.random.default_rng(9).dirichlet(np.ones(N_STATES), n_samples)


# Log densities. Products of single precision carry 24 bits. A squared whitened length is a sum
# of up to 40 squares of sums of 40 products: its relative error is some ten times 6e-8, and
# near a state's mean, where the length is small, some ten times 6e-8 of the 50 nats around it.
DENSITY = {"rtol": 1e-6, "atol": 5e-5}


@pytest.mark.parametrize("which", ["means", "zero", "one zero"])
@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_log_densities(case, covariance_type, which):
    samples, x, means, covariances = case
    means = means * {"means": [[1], [1], [1]], "zero": [[0]], "one zero": [[1], [0], [1]]}[which]
    used = covariances if covariance_type == "full" else covariances * np.eye(samples.n_features)
    truth = [
        multivariate_normal(mean, covariance).logpdf(x.astype(float))
        for mean, covariance in zip(means, used, strict=True)
    ]
    got = Emission(means, covariances, covariance_type).log_densities(_data(samples))
    assert got.dtype == np.float64
    assert_allclose(got, np.transpose(truth), **DENSITY)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_precise_log_densities_keep_their_digits_far_from_zero(covariance_type):
    # Means ten million times the standard deviation: a product with the samples as they are has
    # lost seven digits when the means are taken off after it.
    rng = np.random.default_rng(0)
    *_, means, covariances = random_model(rng, N_STATES, 5)
    means, covariances = 1e6 + 0.1 * means, 0.01 * covariances
    if covariance_type == "diag":
        covariances = covariances * np.eye(5)
    x = (means[rng.integers(0, N_STATES, 300)] + 0.1 * rng.normal(size=(300, 5))).astype(np.float32)
    emission = Emission(means, covariances, covariance_type, precise=True)
    got = emission.log_densities(_data(Samples([x], [[300]])))
    # Densities of some hundred nats in float64; taken off late, means cost 1e-8 of them.
    truth = gaussian_log_densities(x, means, covariances)
    assert_allclose(got, truth, rtol=1e-12, atol=1e-10)


def test_the_oracle_agrees_with_scipy(case):
    # Other tests rely on it, because it also takes features of very different sizes.
    _, x, means, covariances = case
    truth = [
        multivariate_normal(mean, covariance).logpdf(x.astype(float))
        for mean, covariance in zip(means, covariances, strict=True)
    ]
    assert_allclose(
        gaussian_log_densities(x, means, covariances), np.transpose(truth), rtol=1e-11, atol=1e-10
    )


def test_diagonal_densities_ignore_what_is_off_the_diagonal(case):
    samples, _, means, covariances = case
    data = _data(samples)
    densities = Emission(means, covariances, "diag").log_densities(data)
    other = Emission(means, covariances * np.eye(samples.n_features), "diag").log_densities(data)
    assert_array_equal(densities, other)


def test_a_covariance_that_is_none_is_an_error(case):
    samples, _, means, covariances = case
    indefinite = covariances.copy()
    indefinite[1, 0, 0] = -1.0
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        Emission(means, indefinite).log_densities(_data(samples))


# Moments


def _float64_moments(x, weights):
    x = x.astype(float)
    return weights.T @ x, np.einsum("tk,ti,tj->kij", weights, x, x, optimize=True)


def _sizes(x, weights):
    """Return the sums of absolute values, of which rounding is a share."""
    return _float64_moments(np.abs(x), weights)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_moments(case, covariance_type):
    samples, x, _, _ = case
    weights = _weights()
    got = weighted_moments(_data(samples), weights, covariance_type)
    sums, products = _float64_moments(x, weights)
    sums_size, products_size = _sizes(x, weights)
    if covariance_type == "diag":
        products, products_size = (np.einsum("kii->ki", m) for m in (products, products_size))
    # Weights and products are rounded to 6e-8 each, and so is every partial sum: over up to 700
    # of them that walks off by some sqrt(700) times as much, of the sum of absolute values.
    assert_allclose(got.weights, weights.sum(0), rtol=1e-14, atol=0)
    assert_allclose(got.sums / sums_size, sums / sums_size, rtol=0, atol=2e-6)
    assert_allclose(got.products / products_size, products / products_size, rtol=0, atol=2e-6)


@pytest.mark.parametrize("n_heavy", [N_SAMPLES // 4, 3 * N_SAMPLES // 4])
def test_small_weights_count_unless_they_are_negligible(n_heavy):
    # Most weights of a state are as good as 0, or few are; both have samples that are large.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N_SAMPLES, 3)).astype(np.float32)
    weights = np.full((N_SAMPLES, N_STATES), 1e-20, np.float32)
    weights[:n_heavy] = rng.random((n_heavy, N_STATES)) + 0.1
    weights[5], x[5] = 1e-6, 1e3  # as much as a sample of usual size and weight
    weights[-5:], x[-5:] = 1e-12, 1e3  # a millionth of that
    order = rng.permutation(N_SAMPLES)
    x, weights = x[order], weights[order]
    got = weighted_moments(Data(Samples([x], [[N_SAMPLES]]), 9), weights)
    size = _sizes(x, weights)[1]
    # Rounding of float32 in sums of up to 750 products, as above.
    assert_allclose(got.products / size, _float64_moments(x, weights)[1] / size, atol=2e-6)
    assert_allclose(got.weights, weights.sum(0, dtype=float), rtol=1e-14, atol=0)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_moments_of_states_with_few_samples_are_exact(case, covariance_type):
    # Of three states in one proportion, the second has too few samples to be summed in float32.
    samples, x, _, _ = case
    share = 0.5 * MIN_SAMPLES_PER_FEATURE * samples.n_features / N_SAMPLES
    weights = _weights() * [1.0, share / 3, 1.0]
    weights[10:20, 1] = 1e-25  # next to nothing may be left out
    got = weighted_moments(_data(samples), weights, covariance_type)
    sums, products = (moment[1] for moment in _float64_moments(x, weights))
    size = _sizes(x, weights)[1][1]
    got_products = got.products[1]
    if covariance_type == "diag":
        products, size = np.diagonal(products), np.diagonal(size)
    # All in float64; 1e-12 is rounding of a thousand sums.
    assert_allclose(got_products / size, products / size, rtol=0, atol=1e-12)
    assert_allclose(got.sums[1], sums, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_few_samples_in_all_are_few_in_every_batch(monkeypatch, covariance_type):
    # Recordings that are batches of their own: in one of them the second state has many samples,
    # in the other it is far from all others, and has next to none.
    monkeypatch.setattr(samples_module, "BATCH_LENGTH", 1)
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2 * N_SAMPLES, 2)).astype(np.float32)
    x[-3:] += 1e4
    weights = np.zeros((2 * N_SAMPLES, 2), np.float32)
    weights[:, 0] = 1.0
    weights[-3:] = [0.0, 1.0]
    weights[: N_SAMPLES // 2] = [0.0, 1.0]
    samples = Samples(np.split(x, 2), [[N_SAMPLES]] * 2)
    for n_many in (N_SAMPLES // 2, 0):
        weights[: N_SAMPLES // 2] = [n_many == 0, n_many > 0]
        got = weighted_moments(_data(samples), weights, covariance_type)
        products = _float64_moments(x, weights)[1]
        if covariance_type == "diag":
            products = np.einsum("kii->ki", products)
        # The few are summed in float64 in either case, and dwarf the others.
        assert_allclose(got.products[1], products[1], rtol=1e-9 if n_many else 1e-13)


@pytest.mark.parametrize("n_samples", [20, N_SAMPLES])
def test_sums_are_left_out_on_request(n_samples):
    x = np.random.default_rng(0).normal(size=(n_samples, 4)).astype(np.float32)
    data = Data(Samples([x], [[n_samples]]), 12)
    weights = _weights(n_samples)
    with_sums = weighted_moments(data, weights)
    without = weighted_moments(data, weights, with_sums=False)
    assert_array_equal(without.sums, np.zeros((N_STATES, 4)))
    assert with_sums.sums.all()
    assert_array_equal(without.products, with_sums.products)


# Blocks


# Of two features or ten, there is one kind of product: each has functions to trace.
@pytest.mark.parametrize("case", [10, 40], indirect=True, ids="{} features".format)
@pytest.mark.parametrize("covariance_type", ["full", "diag"])
@pytest.mark.parametrize("weight", [1.0, 1e-3], ids=["many samples", "few samples"])
def test_results_do_not_depend_on_the_blocks(case, monkeypatch, covariance_type, weight):
    samples, _, means, covariances = case
    emission = Emission(means, covariances, covariance_type)
    weights = _weights() * weight
    results = []
    for size, length, batch, n_blocks in (
        (2**22, 2**16, 2**15, [2]),
        (1, 2**16, 2**15, [5]),
        (2**22, 97, 2**15, [12]),
        (2**22, 97, 1, [8, 4]),
    ):
        monkeypatch.setattr(samples_module, "BLOCK_SIZE", size)
        monkeypatch.setattr(samples_module, "BLOCK_LENGTH", length)
        monkeypatch.setattr(samples_module, "BATCH_LENGTH", batch)
        data = _data(samples)
        assert [len(batch.blocks) for batch in data] == n_blocks
        assert data.chains == [699, 1, 300]
        densities = emission.log_densities(data)
        results.append((densities, *weighted_moments(data, weights, covariance_type)))
    for other in results[1:]:
        # Another order of the same sums of single precision.
        assert_allclose(other[0], results[0][0], **DENSITY)
        assert_array_equal(other[1], results[0][1])
        size = np.abs(results[0][3]).max()
        assert_allclose(other[2], results[0][2], rtol=0, atol=1e-6 * size)
        assert_allclose(other[3], results[0][3], rtol=0, atol=1e-6 * size)


def test_weights_find_their_rows_in_every_batch(monkeypatch):
    # Each recording is a batch of its own, and has rows and weights like no other.
    monkeypatch.setattr(samples_module, "BATCH_LENGTH", 1)
    lengths = [70, 31, 50, 9]
    x = np.random.default_rng(0).normal(size=(sum(lengths), 3)).astype(np.float32)
    parts = np.split(x, np.cumsum(lengths)[:-1])
    data = Data(Samples(parts, [[length] for length in lengths]), 9)
    assert [batch.n_samples for batch in data] == lengths
    weights = _weights(len(x))
    got = weighted_moments(data, weights)
    sums, products = _float64_moments(x, weights)
    assert_allclose(got.sums, sums, rtol=0, atol=1e-4)
    assert_allclose(got.products, products, rtol=0, atol=1e-4)


def test_traces_are_as_few_as_the_kinds_of_work(monkeypatch):
    # Whatever the number of rows and of passes: a function is traced once for each form, number of
    # features, and number of blocks in a call, of which there are few; that of densities serves
    # any number of states. TensorFlow would trace anew for every shape and warn only after the
    # fifth. No other test has 29 features.
    monkeypatch.setattr(samples_module, "BLOCK_SIZE", 1)  # blocks of 256 rows
    rng = np.random.default_rng(0)
    functions = _log_density_function, _moment_function
    before = [function.cache_info().misses for function in functions]
    for n in (1, 2, 17, 2300, 4400, 255):  # 1 block, 8 + 1 and 8 + 8 + 2 blocks
        data = Data(Samples([rng.normal(size=(n, 29)).astype(np.float32)], [[n]]), 29)
        weights = _weights(n)
        for covariance_type in ("full", "diag"):
            for n_states in (3, 4):
                covariances = np.tile(np.eye(29), (n_states, 1, 1))
                emission = Emission(np.ones((n_states, 29)), covariances, covariance_type)
                assert emission.log_densities(data).shape == (n, n_states)
            weighted_moments(data, weights, covariance_type)
    after = [function.cache_info().misses for function in functions]
    # 1, 2 and 8 blocks for each form; and moments of few samples, which are one block.
    assert np.subtract(after, before).tolist() == [6, 6 + 2]


# Factorizations


def test_factors(case):
    covariances = case[3]
    factors = cholesky(covariances)
    assert_allclose(factors, np.linalg.cholesky(covariances), rtol=1e-10, atol=1e-12)
    eye = np.tile(np.eye(factors.shape[1]), (N_STATES, 1, 1))
    assert_allclose(invert_lower(factors) @ factors, eye, rtol=0, atol=1e-11)
    assert cholesky(-covariances) is None


@pytest.mark.parametrize("n_rows", [1, 7, 10, 11, 40, 81])
def test_inverses_in_blocks(n_rows):
    rng = np.random.default_rng(n_rows)
    x = rng.standard_normal((3, n_rows, 2 * n_rows))
    factors = np.linalg.cholesky(x @ x.transpose(0, 2, 1))
    inverses = invert_lower_in_blocks(factors)
    # A condition of some hundred.
    assert_allclose(inverses, np.linalg.inv(factors), rtol=0, atol=1e-13)
    assert_array_equal(inverses, np.tril(inverses))
