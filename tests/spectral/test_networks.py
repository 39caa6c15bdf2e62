"""Networks of states: known edges, the conventions of the field, and wrong inputs."""

import sys

import mne
import numpy as np
import pytest
from hand_made import ALPHA_PAIRS, BETA_PAIRS, FREQS, noise, spectra_of, two_rhythms

import mne_hmm
from mne_hmm import StateNetworks, coherence_networks, find_spectral_components


@pytest.fixture(scope="module")
def spectra():
    """Two states with a rhythm each, in pairs of their own."""
    return spectra_of(two_rhythms())


@pytest.fixture(scope="module")
def components(spectra):
    """The two rhythms."""
    return find_spectral_components(spectra, random_state=0)


def networks_of(values, **kwargs):
    """Networks of matrices of which only entries above the diagonal are used."""
    values = np.triu(np.asarray(values, dtype=float), 1)
    values = values + values.swapaxes(1, 2)
    names = tuple(f"state_{state}" for state in range(len(values)))
    return StateNetworks(values, mne.create_info(values.shape[1], 250.0, "misc"), names, **kwargs)


def random_networks(n_states=3, n_channels=12, seed=0, **kwargs):
    values = np.random.default_rng(seed).standard_normal((n_states, n_channels, n_channels))
    return networks_of(values, **kwargs)


def edges_of(networks, state):
    """Pairs of channels with an edge."""
    return set(zip(*map(list, np.nonzero(np.triu(networks.values[state], 1))), strict=True))


def test_reference_bands(reference):
    """The mean coherence in bands, both ends in it, as osl-dynamics has it."""
    arrays = reference("spectra")
    info = mne.create_info(4, 250.0, "misc")
    spectra = mne_hmm.StateSpectra(arrays["f"], arrays["cpsd"], info, ("a", "b"), np.ones(2))
    off = ~np.eye(4, dtype=bool)
    for (fmin, fmax), expected in zip(arrays["bands"], arrays["band_coherence"], strict=True):
        networks = coherence_networks(spectra, fmin, fmax)
        # The reference is in complex64.
        np.testing.assert_allclose(
            networks.values[:, off], expected[:, off], rtol=0, atol=1e-6, err_msg=f"{fmin} Hz"
        )
        assert (networks.values[:, ~off] == 0).all()


@pytest.mark.parametrize("method", ["percentile", "mixture"])
def test_right_edges_of_components(spectra, components, method):
    """Each rhythm has its pairs, in its state."""
    # 28 pairs: the strongest 4 are above percentile 87, the strongest 3 above 91.
    for component, (state, pairs, percentile) in enumerate(
        [(0, ALPHA_PAIRS, 87), (1, BETA_PAIRS, 91)]
    ):
        networks = coherence_networks(spectra, components=components, component=component)
        np.testing.assert_allclose(
            networks.values[0, 0, 1], components.coherence(spectra)[component, 0, 0, 1], rtol=1e-12
        )
        kept = networks.threshold(method, percentile=percentile, random_state=0)
        assert edges_of(kept, state) == set(pairs)


def test_right_edges_of_bands(spectra):
    """The same with bands."""
    kept = coherence_networks(spectra, 8, 12).threshold("mixture", random_state=0)
    assert [edges_of(kept, state) for state in (0, 1)] == [set(ALPHA_PAIRS), set()]
    kept = coherence_networks(spectra, 19, 25).threshold("mixture", random_state=0)
    assert [edges_of(kept, state) for state in (0, 1)] == [set(), set(BETA_PAIRS)]


def test_imaginary_coherence():
    """The magnitude of what is out of phase, whoever leads."""
    coherence = 0.5 * np.ones((1, 3, 3, len(FREQS)))
    lag = np.array([[0, 0.0, 0.3], [0, 0, -1.2], [0, 0, 0]])[:, :, None]
    networks = coherence_networks(spectra_of(coherence, phase=lag), kind="imaginary")
    expected = 0.5 * np.abs(np.sin([0.0, 0.3, -1.2]))
    first, second = [0, 0, 1], [1, 2, 2]
    np.testing.assert_allclose(networks.values[0, first, second], expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(networks.values[0, second, first], expected, rtol=0, atol=1e-12)
    assert networks.label == "Imaginary coherence, 1 to 45 Hz"


def test_reference_is_the_mean_by_time():
    """States weigh by the time they are on; one that is never on is none."""
    coherence = 0.3 + noise(4, seed=4, size=0.4)
    coherence[2] = np.nan
    spectra = spectra_of(coherence, weights=[10, 30, 0, 60])
    plain = coherence_networks(spectra, 4, 9)
    relative = coherence_networks(spectra, 4, 9, reference="mean")
    mean = 0.1 * plain.values[0] + 0.3 * plain.values[1] + 0.6 * plain.values[3]
    for state in (0, 1, 3):
        np.testing.assert_allclose(
            relative.values[state], plain.values[state] - mean, rtol=0, atol=1e-12
        )
    off = ~np.eye(8, dtype=bool)
    assert np.isnan(relative.values[2, off]).all()
    assert relative.label == "Coherence, 4 to 9 Hz, less the mean over states"
    # Where no time is known, all states weigh the same.
    equal = StateNetworks(plain.values, plain.info, plain.state_names).relative()
    mean = plain.values[[0, 1, 3]].mean(axis=0)
    np.testing.assert_allclose(equal.values[0], plain.values[0] - mean, rtol=0, atol=1e-12)
    assert equal.label == "Values, less the mean over states"


@pytest.mark.parametrize("absolute", [False, True])
def test_percentile_counts_edges(absolute):
    """Of 66 edges, 10 are above percentile 85, and they are the largest."""
    networks = random_networks()
    before = networks.values.copy()
    kept = networks.threshold(percentile=85, absolute=absolute)
    first, second = np.triu_indices(12, 1)
    for state in range(3):
        edges = networks.values[state, first, second]
        size = np.abs(edges) if absolute else edges
        largest = set(np.argsort(size)[-10:].tolist())
        kept_edges = kept.values[state, first, second]
        assert set(np.flatnonzero(kept_edges).tolist()) == largest
        assert (kept_edges < 0).any() == absolute
        np.testing.assert_array_equal(kept_edges[list(largest)], edges[list(largest)])
        np.testing.assert_array_equal(kept.values[state], kept.values[state].T)
    np.testing.assert_array_equal(networks.values, before)
    assert kept.label == networks.label


def test_percentile_is_strict():
    """What equals the percentile goes, as in osl-dynamics."""
    values = np.zeros((1, 4, 4))
    first, second = np.triu_indices(4, 1)
    values[0, first, second] = [1, 2, 3, 4, 5, 6]
    # Six edges: percentile 60 is the fourth of them.
    kept = networks_of(values).threshold(percentile=60)
    assert sorted(kept.values[0, first, second]) == [0, 0, 0, 0, 5, 6]
    assert not networks_of(values).threshold(percentile=100).values.any()


def with_edges(edges):
    """One network of 40 channels (780 edges)."""
    values = np.zeros((1, 40, 40))
    values[0][np.triu_indices(40, 1)] = edges
    return networks_of(values)


def two_groups():
    """Edges about 0.1, and 30 about 0.2."""
    rng = np.random.default_rng(0)
    edges = 0.1 + 0.01 * rng.standard_normal(780)
    edges[:30] = 0.2 + 0.01 * rng.standard_normal(30)
    return edges


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e3])
def test_mixture_finds_the_upper_group(scale):
    """Exactly, in whatever units."""
    kept = with_edges(scale * two_groups()).threshold("mixture", random_state=0)
    kept_edges = kept.values[0][np.triu_indices(40, 1)]
    np.testing.assert_array_equal(np.flatnonzero(kept_edges), np.arange(30))


def test_mixture_is_cut_between_the_groups():
    """A wide upper group does not claim the weakest edges."""
    rng = np.random.default_rng(1)
    edges = 0.1 + 0.01 * rng.standard_normal(780)
    edges[:100] = 0.25 + 0.08 * rng.standard_normal(100)
    kept = with_edges(edges).threshold("mixture", random_state=0)
    kept_edges = kept.values[0][np.triu_indices(40, 1)]
    assert kept_edges[kept_edges != 0].min() > edges[kept_edges == 0].max()
    assert 0.11 < kept_edges[kept_edges != 0].min() < 0.2


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "equal", "zero"])
def test_mixture_keeps_none_of_one_group(kind):
    """One normal distribution, one with heavy tails, and edges that are all the same."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        edges = {
            "normal": 0.1 + 0.01 * rng.standard_normal(780),
            "heavy tails": 0.01 * rng.standard_t(3, 780),
            "equal": np.full(780, 0.1),
            "zero": np.zeros(780),
        }[kind]
        kept = with_edges(edges).threshold("mixture", random_state=0)
        assert not kept.values.any()


def test_mixture_of_absolute_values():
    """Strong negative edges are found only where they are asked for."""
    edges = two_groups() - 0.1
    edges[:15] *= -1
    edges[30:] = np.abs(edges[30:])
    kept = with_edges(edges).threshold("mixture", absolute=True, random_state=0)
    kept_edges = kept.values[0][np.triu_indices(40, 1)]
    assert (kept_edges[:15] < 0).all()
    assert (kept_edges[15:30] > 0).all()
    kept = with_edges(edges).threshold("mixture", random_state=0)
    assert not (kept.values < 0).any()


def test_same_seed_same_bits():
    """And nobody else's random numbers are touched."""
    networks = random_networks(n_channels=30, seed=3)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again = (networks.threshold("mixture", random_state=5) for _ in range(2))
    np.testing.assert_array_equal(first.values, again.values)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("method", ["percentile", "mixture"])
def test_unknown_stays_unknown(method):
    """A state that is never on is NaN all the way, and the others are as without it."""
    coherence = np.concatenate([two_rhythms(), np.full((1, 8, 8, len(FREQS)), np.nan)])
    networks = coherence_networks(spectra_of(coherence, weights=[60, 60, 0]), 8, 12)
    kept = networks.threshold(method, percentile=87, random_state=0)
    assert edges_of(kept, 0) == set(ALPHA_PAIRS)
    off = ~np.eye(8, dtype=bool)
    assert np.isnan(kept.values[2, off]).all()
    assert np.isnan(kept.strength[2]).all()
    assert np.isfinite(kept.strength[:2]).all()
    # A channel without power is not known in any state, and the rest is.
    psd = np.ones((2, 8, len(FREQS)))
    psd[:, 6] = 0
    networks = coherence_networks(spectra_of(two_rhythms(), psd=psd), 8, 12)
    kept = networks.threshold(method, percentile=80, random_state=0)
    assert np.isnan(kept.values[:, 6, :6]).all()
    without_flat = np.delete(np.delete(kept.values, 6, 1), 6, 2)
    # No pair of channel 6 has the rhythm: 4 of 21 edges, above percentile 80.
    assert np.count_nonzero(without_flat[0]) == 2 * len(ALPHA_PAIRS)


def test_table_and_strength():
    """One row per edge that is there; strength sums them."""
    values = np.zeros((2, 3, 3))
    values[0, 0, 2], values[1, 0, 1], values[1, 1, 2] = 0.5, -0.25, np.nan
    networks = networks_of(values)
    table = networks.to_data_frame()
    assert list(table.columns) == ["state", "channel_1", "channel_2", "value"]
    rows = [tuple(row) for row in table.itertuples(index=False)]
    assert rows[:2] == [("state_0", "0", "2", 0.5), ("state_1", "0", "1", -0.25)]
    assert rows[2][:3] == ("state_1", "1", "2")
    assert np.isnan(rows[2][3])
    assert len(rows) == 3
    np.testing.assert_array_equal(networks.strength, [[0.5, 0, 0.5], [-0.25, np.nan, np.nan]])


def test_text():
    """It says what there is."""
    assert repr(networks_of(np.ones((2, 3, 3)), label="Coherence")) == (
        "<StateNetworks | Coherence | 2 states, 3 channels, 6 edges in all>"
    )
    assert str(networks_of(np.ones((1, 2, 2)))) == (
        "<StateNetworks | 1 state, 2 channels, 1 edge in all>"
    )


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"fmin": 8.1, "fmax": 8.3}, ValueError, "no frequency lies between fmin=8.1 and"),
        ({"fmin": "8"}, TypeError, "fmin must be a frequency in hertz"),
        ({"kind": "complex"}, ValueError, "kind must be one of 'coherence', 'imaginary'"),
        ({"reference": "median"}, ValueError, "reference must be one of 'mean', None"),
        ({"component": 0}, TypeError, "components must be SpectralComponents where component"),
        ({"components": "both", "component": 2}, ValueError, "from 0 to 1, got 2"),
        ({"components": "both", "component": -1}, ValueError, "from 0 to 1, got -1"),
        ({"components": "both"}, TypeError, "component must be the number of one of the comp"),
        (
            {"components": "both", "component": 0, "fmin": 8},
            ValueError,
            "either of a band or of a component, got fmin=8",
        ),
    ],
)
def test_wrong_bands_and_components(spectra, components, kwargs, error, message):
    """Each is told what it should have been."""
    if "components" in kwargs:
        kwargs = {**kwargs, "components": components}
    with pytest.raises(error, match=message):
        coherence_networks(spectra, **kwargs)


def test_wrong_spectra(spectra, components):
    """Spectra must be spectra, with the frequencies of the components."""
    with pytest.raises(TypeError, match="spectra must be StateSpectra, got NoneType"):
        coherence_networks(None)
    other = spectra_of(noise()[..., :40], freqs=FREQS[:40])
    with pytest.raises(ValueError, match="other frequencies"):
        coherence_networks(other, components=components, component=0)
    never = spectra_of(np.full((2, 3, 3, len(FREQS)), np.nan), weights=[0, 0])
    with pytest.raises(ValueError, match="NaN for every state that is on"):
        coherence_networks(never, reference="mean")


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"method": "median"}, ValueError, "method must be one of 'percentile', 'mixture'"),
        ({"percentile": 100.5}, ValueError, "percentile must be a number from 0 to 100, got 100.5"),
        ({"percentile": -1}, ValueError, "percentile must be a number from 0 to 100, got -1"),
        ({"percentile": np.nan}, ValueError, "percentile must be a number from 0 to 100"),
        ({"percentile": "97"}, TypeError, "percentile must be a number from 0 to 100"),
        ({"absolute": 1}, TypeError, "absolute must be True or False, got 1"),
        ({"random_state": 0.5}, ValueError, "random_state must be"),
    ],
)
def test_wrong_thresholds(kwargs, error, message):
    """Each is told what it should have been."""
    with pytest.raises(error, match=message):
        random_networks().threshold(**kwargs)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.ones((2, 3, 3), complex), TypeError, "values must be real numbers, got complex128"),
        (np.ones((2, 3, 4)), ValueError, r"which is \(2, 3, 3\) for these names"),
        (np.ones((3, 3)), ValueError, r"got \(3, 3\)"),
        (np.full((2, 3, 3), np.inf), ValueError, "finite, or NaN where nothing is known"),
        (np.triu(np.ones((2, 3, 3))), ValueError, "values must be symmetric, as edges have no"),
        (np.triu(np.full((2, 3, 3), np.nan)), ValueError, "values must be symmetric"),
    ],
)
def test_wrong_values(values, error, message):
    """Networks are real and symmetric, one for each state."""
    with pytest.raises(error, match=message):
        StateNetworks(values, mne.create_info(3, 250.0, "misc"), ("a", "b"))


def test_wrong_channels_and_weights():
    """A network needs two channels, and a time for each state."""
    with pytest.raises(ValueError, match="info has 1 channel; a network needs 2 or more"):
        StateNetworks(np.ones((2, 1, 1)), mne.create_info(1, 250.0, "misc"), ("a", "b"))
    for weights in ([1.0], [1.0, -1.0], [1.0, np.nan]):
        with pytest.raises(ValueError, match="weights must be 2 seconds ≥ 0"):
            networks_of(np.ones((2, 3, 3)), weights=weights)


def test_without_scikit_learn(monkeypatch):
    """Percentiles need nothing; the mixture says what to install."""
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    random_networks().threshold()
    with pytest.raises(ImportError, match=r'sklearn is needed for.*"mne-hmm\[analysis\]"'):
        random_networks().threshold("mixture")
