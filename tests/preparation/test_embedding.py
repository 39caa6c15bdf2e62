"""Time-delay embedding and PCA: the numbers of osl-dynamics, without its memory."""

import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mne_hmm.preparation import embedding
from mne_hmm.preparation.embedding import (
    embed,
    lagged_products,
    principal_components,
    project,
)
from mne_hmm.preparation.signals import standardize

N_LAGS, N_COMPONENTS = 15, 20


def noise(n_samples, n_channels, seed=0):
    """Noise that hangs together over time and channels, as signals do."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n_samples, n_channels)).cumsum(0) * 0.1
    return (x + rng.standard_normal(x.shape) @ rng.standard_normal((n_channels,) * 2)).astype("f4")


@pytest.fixture(scope="module")
def published(reference):
    return reference("embedding")


@pytest.fixture(scope="module")
def signals(published):
    """The two recordings, standardized as they are before embedding."""
    out = []
    for i in range(2):
        spans = [published[f"x_{i}"]]
        standardize(spans, True)
        out += spans
    return out


@pytest.fixture(scope="module")
def components(signals):
    """Eigenvalues and components of both recordings together."""
    values, vectors = principal_components(sum(lagged_products(x, N_LAGS) for x in signals))
    return values[:N_COMPONENTS], vectors[:, :N_COMPONENTS]


def assert_close(got, expected):
    # The tolerance the reference names for float32 code, relative to the largest entry.
    assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_order_of_columns(published):
    assert_array_equal(embed(published["order_input"], N_LAGS), published["order_output"])


def test_embedded_rows(published, signals):
    assert_close(embed(signals[0], N_LAGS)[:30], published["embedded_0_first_rows"])


def test_components(published, components):
    assert_close(components[1], published["pca_components"])


def test_whitened_components(published, components):
    values, vectors = components
    assert_close(vectors / np.sqrt(values), published["pca_components_whitened"])


@pytest.mark.parametrize("i", [0, 1])
def test_projection_and_features(published, signals, components, i):
    projected = [project(signals[i], components[1], N_LAGS)]
    assert projected[0].dtype == np.float32
    assert_close(projected[0], published[f"projected_{i}"])
    standardize(projected, True)
    assert_close(projected[0], published[f"standardized_{i}"])


# Rows that fit a block of 64 several times, exactly, not quite, and not at all; spans that
# are shorter than twice the lags, where the ends overlap; a span of one row.
LENGTHS = [15, 16, 17, 28, 29, 63, 64, 77, 78, 79, 92, 141, 142, 143, 333]


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(embedding, "EMBEDDED_BLOCK_LENGTH", 64)


@pytest.mark.parametrize("n_samples", LENGTHS)
@pytest.mark.usefixtures("small_blocks")
def test_lagged_products_are_those_of_the_embedded_matrix(n_samples):
    x = noise(n_samples, 3)
    embedded = embed(x.astype(float), N_LAGS)
    expected = embedded.T @ embedded
    # Float64 throughout; sums of differences, so relative to the largest entry.
    atol = 1e-12 * np.abs(expected).max()
    assert_allclose(lagged_products(x, N_LAGS), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("n_samples", LENGTHS)
@pytest.mark.usefixtures("small_blocks")
def test_projection_is_that_of_the_embedded_matrix(n_samples):
    x = noise(n_samples, 3)
    components = np.random.default_rng(1).standard_normal((3 * N_LAGS, 7))
    expected = embed(x.astype(float), N_LAGS) @ components
    # Sums of 45 products in float32.
    atol = 1e-5 * np.abs(expected).max()
    assert_allclose(project(x, components, N_LAGS), expected, rtol=0, atol=atol)


def test_blocks_of_their_real_length():
    x = noise(embedding.EMBEDDED_BLOCK_LENGTH + 101, 2)
    embedded = embed(x.astype(float), 5)
    expected = embedded.T @ embedded
    atol = 1e-12 * np.abs(expected).max()  # as above
    assert_allclose(lagged_products(x, 5), expected, rtol=0, atol=atol)
    projected = project(x, np.eye(10), 5)
    assert_array_equal(projected, embed(x, 5))  # nothing to round


def test_one_lag_is_no_embedding():
    x = noise(200, 4)
    assert_array_equal(embed(x, 1), x)
    components = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    # Products in float32.
    assert_allclose(project(x, components, 1), x @ components, rtol=1e-4, atol=1e-5)
    expected = x.astype(float).T @ x.astype(float)
    assert_allclose(lagged_products(x, 1), expected, rtol=1e-12, atol=0)


def test_components_are_ordered_and_their_signs_defined():
    vectors = np.linalg.qr(np.random.default_rng(3).standard_normal((6, 6)))[0]
    true_values = np.array([3.0, 40.0, 1.0, 7.0, 200.0, 20.0])
    values, columns = principal_components(vectors * true_values @ vectors.T)
    assert_allclose(values, [200, 40, 20, 7, 3, 1], rtol=1e-12, atol=0)
    for column, state in zip(columns.T, [4, 1, 5, 3, 0, 2], strict=True):
        assert column[np.abs(column).argmax()] > 0
        assert_allclose(abs(column @ vectors[:, state]), 1, rtol=1e-12, atol=0)


def test_components_end_where_the_data_do():
    x = np.random.default_rng(0).standard_normal((300, 4)) @ np.diag([1.0, 2.0, 3.0, 0.0])
    values, vectors = principal_components(x.T @ x)
    assert values.shape == (3,)
    assert vectors.shape == (4, 3)


def test_the_embedded_matrix_is_never_formed():
    n_samples, n_channels, n_components = 60_000, 8, 10
    x = noise(n_samples, n_channels)
    embedded_bytes = n_samples * n_channels * N_LAGS * 4
    components = np.zeros((n_channels * N_LAGS, n_components), np.float32)
    for run, result_bytes in (
        (lambda: lagged_products(x, N_LAGS), 0),
        (lambda: project(x, components, N_LAGS), n_samples * n_components * 4),
    ):
        tracemalloc.start()
        run()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # One block and the products of lags, however long the recording is.
        assert peak - result_bytes < 0.1 * embedded_bytes
