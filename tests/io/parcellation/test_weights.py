"""Weights of sources from streamed sums: the numbers of osl-dynamics and of MNE-Python."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csc_array

from mne_hmm.io.parcellation.atlas_volume import Parcels
from mne_hmm.io.parcellation.weights import Moments, parcel_weights, sources_of


def made_parcels(weights, flips=None):
    """Parcels of an array of weights."""
    weights = np.asarray(weights, dtype=float)
    names = tuple(f"parcel {i_parcel}" for i_parcel in range(weights.shape[1]))
    return Parcels(names, csc_array(weights), None if flips is None else csc_array(flips))


def moments_of(x, parcels, cuts=()):
    """Sums over blocks of x (n_sources, n_times)."""
    members = [sources_of(parcels.weights, i_parcel) for i_parcel in range(len(parcels.names))]
    used = np.unique(np.concatenate(members))
    assert len(used) == len(x)
    moments = Moments(members)
    for block in np.split(x, cuts, axis=1):
        moments.add(block)
    return moments


@pytest.mark.parametrize("name", ["maps", "labels"])
@pytest.mark.parametrize("cuts", [(), (1, 2, 200, 420)])
def test_reference(reference, name, cuts):
    """Its README gives 1e-10 of the largest entry, as rounding."""
    arrays = reference("parcellation")
    sampled = arrays[f"{name}_sampled"].astype(float)
    used = np.flatnonzero(sampled.any(axis=1))
    parcels = made_parcels((sampled / sampled.max(axis=0))[used])
    x = arrays["x"].astype(float).T[used]
    moments = moments_of(x, parcels, cuts)
    weights = parcel_weights(parcels, "spatial_basis", moments)
    expected = arrays[f"{name}_weights"]
    assert not expected[np.setdiff1d(np.arange(len(expected)), used)].any()
    atol = 1e-10 * np.abs(expected).max()
    assert_allclose(weights.toarray(), expected[used], rtol=0, atol=atol)
    expected = arrays[f"{name}_parcels"]
    time_courses = (x - moments.mean[:, np.newaxis]).T @ weights.toarray()
    assert_allclose(time_courses, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("overlap", [False, True])
def test_moments(overlap):
    """As numpy's, with large offsets, in any blocks, within parcels apart or together."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((9, 300)) * 2 + 1e4 * np.arange(9)[:, np.newaxis]
    weights = np.zeros((9, 3))
    weights[:4, 0] = weights[4:9, 1] = weights[5:, 2] = 1
    if overlap:
        weights[:, :2] = 1
    moments = moments_of(x, made_parcels(weights), (1, 5, 130))
    assert moments.together is overlap
    assert_allclose(moments.mean, x.mean(axis=1), rtol=1e-14)
    for parcel in range(3):
        on = np.flatnonzero(weights[:, parcel])
        # Offsets take five of sixteen digits at most.
        assert_allclose(moments.covariance(parcel), np.cov(x[on], ddof=0), rtol=0, atol=1e-10)


def test_constant_sources_have_no_variance():
    """Not even as rounding, so they do not count as data."""
    x = np.random.default_rng(1).standard_normal((3, 1000))
    x[1] = 0.1
    moments = moments_of(x, made_parcels(np.ones((3, 1))), (37, 500))
    assert_array_equal(moments.covariance(0)[1], np.zeros(3))


def svd_flip(x, inside, flip):
    """MNE-Python's own way, with weights."""
    u, s, vt = np.linalg.svd(x * inside[:, np.newaxis], full_matrices=False)
    return np.sign(u[:, 0] @ flip) * np.linalg.norm(s) / np.linalg.norm(inside) * vt[0]


def test_plain_weights():
    """What each method means, for weights other than 0 and 1."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((5, 200)) + rng.standard_normal(200) + 0.3
    inside = np.array([1.0, 0.25, 0.5, 0.75, 0.1])
    flip = np.array([1.0, -1.0, -1.0, 1.0, -1.0])
    x *= flip[:, np.newaxis]
    parcels = made_parcels(inside[:, np.newaxis], flip[:, np.newaxis])
    moments = moments_of(x, parcels, (20, 30))
    expected = {
        "mean": np.average(x, axis=0, weights=inside),
        "mean_flip": np.average(x * flip[:, np.newaxis], axis=0, weights=inside),
        "pca_flip": svd_flip(x, inside, flip),
    }
    for method, course in expected.items():
        weights = parcel_weights(parcels, method, moments)
        assert_allclose((weights.T @ x)[0], course, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", ["pca_flip", "spatial_basis"])
def test_equal_sources(method):
    """A parcel of equal sources has their time course, whatever the weights."""
    course = np.sin(np.arange(400) * 0.1 * np.pi)  # whole periods, so its mean is 0
    inside = np.array([1.0, 0.6, 0.3])[:, np.newaxis]
    parcels = made_parcels(inside, np.ones((3, 1)))
    x = np.tile(course, (3, 1))
    weights = parcel_weights(parcels, method, moments_of(x, parcels))
    assert_allclose((weights.T @ x)[0], course, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", ["pca_flip", "spatial_basis"])
def test_no_data(method):
    parcels = made_parcels(np.ones((2, 1)), np.ones((2, 1)))
    weights = parcel_weights(parcels, method, moments_of(np.zeros((2, 50)), parcels))
    assert_array_equal(weights.toarray(), np.zeros((2, 1)))


def test_one_source():
    x = np.random.default_rng(3).standard_normal((1, 50))
    parcels = made_parcels([[1.0]])
    weights = parcel_weights(parcels, "spatial_basis", moments_of(x, parcels))
    assert_allclose(weights.toarray(), [[1.0]], rtol=1e-12)


def test_sources_of_a_parcel():
    """In order, and without weights of 0 that are stored."""
    stored = csc_array((np.array([1.0, 0.0, 0.5]), np.array([2, 1, 0]), np.array([0, 3])), (4, 1))
    assert_array_equal(sources_of(stored, 0), [0, 2])
