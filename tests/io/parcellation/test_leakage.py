"""Orthogonal time courses: the numbers of osl-dynamics, and what is closest."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mne_hmm.io.parcellation import leakage
from mne_hmm.io.parcellation.leakage import symmetric


@pytest.fixture
def parcels():
    """Four correlated time courses of different sizes."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 4)) @ rng.normal(0, 1, (4, 4)) * [1.0, 5.0, 0.3, 2.0]
    return x - x.mean(0)


@pytest.mark.parametrize("name", ["maps", "labels"])
def test_reference(reference, name):
    """Its README gives 1e-10 of the largest entry, as rounding."""
    arrays = reference("parcellation")
    parcels = arrays[f"{name}_parcels"]
    for key, iterate in (("symmetric", False), ("closest_orthogonal", True)):
        expected = arrays[f"{name}_{key}"]
        corrected = symmetric(parcels, iterate=iterate)
        assert_allclose(corrected, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_nothing_is_correlated(parcels):
    before = np.corrcoef(parcels.T) - np.eye(4)
    assert np.abs(before).max() > 0.3
    for iterate in (True, False):
        after = np.corrcoef(symmetric(parcels, iterate=iterate).T)
        assert_allclose(after, np.eye(4), rtol=0, atol=1e-12)  # rounding


def orthonormal(x):
    q, r = np.linalg.qr(x)
    return q * np.sign(np.diag(r))


def test_it_is_the_closest(parcels):
    """Any small rotation, and any other sizes, lead away from the parcels."""
    corrected = symmetric(parcels)
    sizes = np.linalg.norm(corrected, axis=0)
    directions = corrected / sizes
    distance = np.linalg.norm(corrected - parcels)
    assert distance < np.linalg.norm(symmetric(parcels, iterate=False) - parcels)
    rng = np.random.default_rng(1)
    for step in (1e-3, 1e-2, 0.1):
        for _ in range(20):
            turned = orthonormal(directions + step / 20 * rng.normal(size=(400, 4)))
            assert np.linalg.norm(turned * sizes - parcels) > distance
            other = sizes * (1 + step * rng.normal(size=4))
            assert np.linalg.norm(directions * other - parcels) > distance
        skew = rng.normal(size=(4, 4)) * step
        turned = directions @ orthonormal(np.eye(4) + skew - skew.T)
        assert np.linalg.norm(turned * sizes - parcels) > distance


def test_closed_form_of_two():
    """Two of equal norm turn away from each other by the same angle, and shrink."""
    angle = np.deg2rad(70)
    plane = np.linalg.qr(np.random.default_rng(2).normal(size=(50, 2)))[0]
    parcels = plane @ np.array([[1, np.cos(angle)], [0, np.sin(angle)]]) * 3
    away = (np.pi / 2 - angle) / 2
    directions = [[np.cos(-away), np.cos(angle + away)], [np.sin(-away), np.sin(angle + away)]]
    expected = plane @ np.array(directions)
    assert_allclose(symmetric(parcels), 3 * np.cos(away) * expected, atol=1e-12)
    assert_allclose(symmetric(parcels, iterate=False), 3 * expected, atol=1e-12)


def test_orthogonal_ones_stay():
    parcels = np.linalg.qr(np.random.default_rng(3).normal(size=(50, 3)))[0] * [1.0, 1e-3, 4.0]
    assert_allclose(symmetric(parcels), parcels, rtol=0, atol=1e-13)


def test_order_and_size_do_not_matter(parcels):
    """All are treated alike."""
    order, scale = [2, 0, 3, 1], 1e-9
    assert_allclose(
        symmetric(parcels[:, order] * scale),
        symmetric(parcels)[:, order] * scale,
        atol=1e-9 * scale,
    )


def test_the_argument_is_not_changed(parcels):
    before = parcels.copy()
    symmetric(parcels)
    np.testing.assert_array_equal(parcels, before)


@pytest.mark.parametrize(("dtype", "scales"), [(float, 1.0), (np.float32, 1.0), (float, 1e-8)])
def test_too_few_dimensions(dtype, scales):
    """Also where rounding of single precision hides it, and sizes differ."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((500, 6)) @ rng.standard_normal((6, 8))
    x[:, 0] *= scales
    with pytest.raises(ValueError, match=r"8 parcels.*only 6 dimensions.*orthogonalize=\"none\""):
        symmetric(x.astype(dtype).astype(float))


def test_small_ones_count():
    """A small parcel is a dimension like any other."""
    x = np.random.default_rng(5).standard_normal((500, 3)) * [1.0, 1.0, 1e-9]
    assert_allclose(np.corrcoef(symmetric(x - x.mean(0)).T), np.eye(3), atol=1e-10)


def test_too_few_times():
    with pytest.raises(ValueError, match=r"3 parcels.*only 2 dimensions"):
        symmetric(np.random.default_rng(6).standard_normal((2, 3)))


def test_what_does_not_settle_is_said(parcels, monkeypatch):
    monkeypatch.setattr(leakage, "MAX_ITERATIONS", 2)
    with pytest.warns(RuntimeWarning, match="not settled in 2 steps"):
        symmetric(parcels)
