"""Spectral components: known profiles come back, and conventions are those of the field."""

import dataclasses
import sys

import numpy as np
import pytest
from hand_made import FREQS, bump, noise, spectra_of, two_rhythms
from scipy.optimize import nnls

import mne_hmm
from mne_hmm import find_spectral_components


@pytest.fixture(scope="module")
def spectra():
    """Two states with a rhythm each."""
    return spectra_of(two_rhythms())


@pytest.fixture(scope="module")
def components(spectra):
    """Two components of them."""
    return find_spectral_components(spectra, random_state=0)


def correlation(profile, truth):
    return np.corrcoef(profile, truth)[0, 1]


def test_known_profiles_come_back(components):
    """Both rhythms, the slower one first, each with a maximum of 1."""
    assert components.n_components == 2
    assert components.profiles.shape == (2, len(FREQS))
    assert (components.profiles >= 0).all()
    np.testing.assert_array_equal(components.profiles.max(axis=1), 1.0)
    assert correlation(components.profiles[0], bump(10.0)) > 0.95
    assert correlation(components.profiles[1], bump(22.0)) > 0.95
    # Within one step of the frequencies, which the noise may move a peak by.
    np.testing.assert_allclose(components.peaks, [10.0, 22.0], atol=0.5)


def test_order_is_that_of_the_peaks():
    """Three rhythms, whatever their strength."""
    coherence = noise(n_states=3)
    for state, (center, strength) in enumerate([(30.0, 0.8), (6.0, 0.5), (16.0, 0.3)]):
        coherence[state, 0, 1:] += strength * bump(center)
    estimate = find_spectral_components(spectra_of(coherence), 3, random_state=0)
    np.testing.assert_allclose(estimate.peaks, [6.0, 16.0, 30.0], atol=0.5)


def test_explained_share(spectra, components):
    """As non-negative least squares has it, row by row."""
    first, second = np.triu_indices(8, 1)
    rows = spectra.coherence[:, first, second].reshape(-1, len(FREQS))
    left = sum(nnls(components.profiles.T, row)[1] ** 2 for row in rows)
    # The factorization stops before its last digits: a relative 1e-4 of what is left.
    expected = 1 - left / np.square(rows).sum()
    assert components.explained == pytest.approx(expected, abs=1e-4)
    assert 0.9 < components.explained < 1


def test_recordings_go_in_one_by_one():
    """Rhythms that recordings have are found, though all together have none."""
    slow, fast = noise(seed=1), noise(seed=2)
    slow[0, 0, 1:4] += 0.6 * bump(10.0)
    fast[1, 4, 5:] += 0.6 * bump(22.0)
    flat = 0.1 + noise(seed=3)
    together = spectra_of(flat, recordings=(spectra_of(slow), spectra_of(fast)))
    estimate = find_spectral_components(together, random_state=0)
    assert correlation(estimate.profiles[0], bump(10.0)) > 0.95
    assert correlation(estimate.profiles[1], bump(22.0)) > 0.95


def test_states_that_are_never_on_are_left_out(components):
    """They change nothing."""
    coherence = np.concatenate([two_rhythms(), np.full((1, 8, 8, len(FREQS)), np.nan)])
    estimate = find_spectral_components(spectra_of(coherence, weights=[60, 60, 0]), random_state=0)
    np.testing.assert_array_equal(estimate.profiles, components.profiles)


def test_power_and_coherence_are_weighted_means(spectra, components):
    """Of each component, over frequencies."""
    psd = 1.0 + np.random.default_rng(5).random((2, 8, len(FREQS)))
    spectra = spectra_of(two_rhythms(), psd=psd)
    power, coherence = components.power(spectra), components.coherence(spectra)
    assert power.shape == (2, 2, 8)
    assert coherence.shape == (2, 2, 8, 8)
    for i_component, profile in enumerate(components.profiles):
        expected = np.average(psd, axis=-1, weights=profile)
        np.testing.assert_allclose(power[i_component], expected, rtol=1e-12)
        expected = np.average(spectra.coherence, axis=-1, weights=profile)
        np.testing.assert_allclose(coherence[i_component], expected, rtol=0, atol=1e-12)


def test_reference_conventions(reference):
    """The mean coherence in a component, as osl-dynamics weights it, of real multitaper spectra."""
    arrays = reference("spectra")
    spectra = mne_hmm.StateSpectra(
        arrays["f"], arrays["cpsd"], spectra_of(noise(2, 4)).info, ("a", "b"), np.ones(2)
    )
    estimate = find_spectral_components(spectra, random_state=0)
    profiles = estimate.profiles
    expected = np.einsum("nf,kijf->nkij", profiles, arrays["coh"])
    expected /= profiles.sum(axis=1)[:, None, None, None]
    # The reference is in complex64.
    np.testing.assert_allclose(estimate.coherence(spectra), expected, rtol=0, atol=1e-6)


def test_same_seed_same_bits(spectra):
    """And nobody else's random numbers are touched."""
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again = (find_spectral_components(spectra, n_init=3, random_state=7) for _ in range(2))
    np.testing.assert_array_equal(first.profiles, again.profiles)
    assert first.explained == again.explained
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_one_start_needs_no_luck(spectra, components):
    """It begins at the singular vectors: every seed ends at the same profiles."""
    other = find_spectral_components(spectra, random_state=12345)
    np.testing.assert_allclose(other.profiles, components.profiles, rtol=0, atol=1e-9)


def test_more_starts_explain_no_less():
    """The best of them is kept."""
    coherence = noise(n_states=4, seed=9, size=0.5)
    explained = [
        find_spectral_components(spectra_of(coherence), 4, n_init=n, random_state=3).explained
        for n in (1, 4)
    ]
    assert explained[1] > explained[0]


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"n_components": 0}, ValueError, "n_components must be a whole number"),
        ({"n_components": 2.0}, TypeError, "n_components must be a whole number"),
        ({"n_components": 57}, ValueError, "more than 56, the smaller one of 89 frequencies and"),
        ({"n_init": 0}, ValueError, "n_init must be a whole number of starts"),
        ({"random_state": -1}, ValueError, "random_state must be"),
    ],
)
def test_wrong_arguments(spectra, kwargs, error, message):
    """Each is told what it should have been."""
    with pytest.raises(error, match=message):
        find_spectral_components(spectra, **kwargs)


def test_wrong_spectra(components):
    """What has no coherence has no components."""
    with pytest.raises(TypeError, match="spectra must be StateSpectra, got ndarray"):
        find_spectral_components(np.ones(3))
    with pytest.raises(ValueError, match="one channel only"):
        find_spectral_components(spectra_of(noise(2, 1)))
    with pytest.raises(ValueError, match="NaN for every state and pair"):
        find_spectral_components(spectra_of(np.full((2, 3, 3, len(FREQS)), np.nan)))
    with pytest.raises(ValueError, match="would hold nothing; pass fewer"):
        find_spectral_components(spectra_of(np.zeros((2, 8, 8, len(FREQS)))))
    few = noise()[..., :3]
    with pytest.raises(ValueError, match="n_components=4 is more than 3, the smaller one of 3 f"):
        find_spectral_components(spectra_of(few, freqs=FREQS[:3]), 4)
    with pytest.raises(ValueError, match=r"other frequencies \(3 from 1 to 2 Hz\) than the comp"):
        components.power(spectra_of(few, freqs=FREQS[:3]))
    with pytest.raises(ValueError, match="other frequencies"):
        components.coherence(spectra_of(noise(), freqs=FREQS + 0.25))
    with pytest.raises(TypeError, match="spectra must be StateSpectra"):
        components.weights(None)


def test_it_says_when_it_did_not_settle(spectra, monkeypatch):
    """A warning, with a way out."""
    monkeypatch.setattr("mne_hmm.spectral.components.MAX_UPDATES", 2)
    with pytest.warns(RuntimeWarning, match="had not settled after 2 updates; fewer components"):
        find_spectral_components(spectra, random_state=0)


def test_without_scikit_learn(spectra, monkeypatch):
    """The error says what to install, and what for."""
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    with pytest.raises(ImportError, match=r'find spectral components.*"mne-hmm\[analysis\]"'):
        find_spectral_components(spectra)


def test_figure_and_text(components):
    """Profiles over frequency; texts say what there is."""
    import matplotlib.pyplot as plt

    fig = components.plot(show=False)
    lines = fig.axes[0].get_lines()
    assert len(lines) == 2
    np.testing.assert_array_equal(lines[1].get_data(), [FREQS, components.profiles[1]])
    assert fig.axes[0].get_xlabel() == "Frequency (Hz)"
    figure, axes = plt.subplots()
    assert mne_hmm.viz.plot_components(components, axes=axes, show=False) is figure
    plt.close("all")
    said = dataclasses.replace(components, explained=0.9)
    assert repr(said) == (
        f"<SpectralComponents | 2 components with peaks at {said.peaks[0]:g}, {said.peaks[1]:g} "
        "Hz, 90.0 % explained>"
    )
