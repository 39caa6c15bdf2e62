"""Figures of networks: what they show, and what they refuse."""

import sys

import matplotlib.pyplot as plt
import mne
import nibabel
import numpy as np
import pytest
from matplotlib.patches import PathPatch

import mne_hmm
from mne_hmm import StateNetworks

NAMES = ("rest", "move", "never")


@pytest.fixture(scope="module")
def eeg():
    """Networks of ten electrodes with positions; nothing is known of the third state."""
    info = mne.create_info(
        ["T8", "Cz", "Fz", "O1", "F8", "T7", "Oz", "F7", "O2", "P4"], 250.0, "eeg"
    )
    info.set_montage("biosemi64")
    values = np.random.default_rng(0).random((3, 10, 10))
    values[2] = np.nan
    return StateNetworks(values + values.swapaxes(1, 2), info, NAMES, "Coherence, 8 to 13 Hz")


@pytest.fixture(scope="module")
def canonical(test_data):
    """Networks of the canonical model of 38 parcels and 8 states."""
    folder = test_data / "Canonical-HMM-Networks/models/Giles38/08_states"
    if not folder.is_dir():
        pytest.skip("the canonical models are not among the test data")
    info = mne.create_info([f"parcel_{i_parcel:02}" for i_parcel in range(38)], 250.0, "misc")
    names = tuple(f"state_{state}" for state in range(8))
    return StateNetworks(np.load(folder / "coh_nets.npy"), info, names, "Coherence")


@pytest.fixture(scope="module")
def atlas(test_data):
    """The atlas of these parcels."""
    return test_data / "parcellation/atlas-Giles_nparc-38_space-MNI_res-8x8x8.nii.gz"


@pytest.fixture(autouse=True)
def close_figures():
    """Close what a test has drawn."""
    yield
    plt.close("all")


def drawn_edges(fig):
    """Edges of a circle."""
    return [patch for patch in fig.axes[0].patches if isinstance(patch, PathPatch)]


def places_on_circle(fig, names):
    """Angle of each channel's name, in degrees from the right, counter-clockwise."""
    texts = {text.get_text(): text.get_position()[0] for text in fig.axes[0].texts}
    return {name: np.rad2deg(texts[name]) % 360 for name in names}


def test_matrices(eeg):
    """One for each state, on one scale, gray where nothing is known."""
    fig = eeg.plot_matrix(show=False)
    images = [axes.images[0] for axes in fig.axes if axes.images]
    assert [axes.get_title() for axes in fig.axes[:3]] == list(NAMES)
    assert len(images) == 3
    off = ~np.eye(10, dtype=bool)
    for image, values in zip(images, eeg.values, strict=True):
        shown = np.ma.filled(image.get_array(), np.nan)
        np.testing.assert_array_equal(shown[off], values[off])
        assert np.isnan(shown[~off]).all()
        assert image.get_clim() == (0, np.nanmax(eeg.values))
    assert fig.axes[-1].get_ylabel() == "Coherence, 8 to 13 Hz"
    most = np.nanmax(np.abs(eeg.relative().values))
    fig = eeg.relative().plot_matrix(show=False)
    assert fig.axes[0].images[0].get_clim() == (-most, most)


def test_matrices_in_given_axes(eeg):
    """One for each state."""
    fig, axes = plt.subplots(1, 3)
    assert mne_hmm.viz.plot_network_matrix(eeg, axes=axes, show=False) is fig
    assert all(ax.images for ax in axes)
    with pytest.raises(ValueError, match="axes must be 3, got 2"):
        eeg.plot_matrix(axes=axes[:2], show=False)


def test_circle_has_the_edges_that_are_kept(eeg):
    """By number and by name; all of them, or the strongest."""
    kept = eeg.threshold(percentile=80)
    fig = kept.plot_circle("move", show=False)
    assert len(drawn_edges(fig)) == 9
    assert fig.axes[0].get_title() == "move"
    assert fig.axes[1].get_ylabel() == "Coherence, 8 to 13 Hz"
    low, high = fig.axes[1].get_ylim()
    edges = kept.values[1][kept.values[1] != 0]
    np.testing.assert_allclose([low, high], [edges.min(), edges.max()], rtol=1e-9)
    assert len(drawn_edges(kept.plot_circle(1, n_lines=4, show=False))) == 4
    assert len(drawn_edges(kept.threshold(percentile=100).plot_circle(0, show=False))) == 0


def test_circle_draws_each_edge_between_its_channels(eeg):
    """A single edge ends at the two channels it belongs to."""
    values = np.zeros((1, 10, 10))
    values[0, 0, 3] = values[0, 3, 0] = 0.5
    fig = StateNetworks(values, eeg.info, ("only",)).plot_circle(0, show=False)
    (edge,) = drawn_edges(fig)
    ends = np.rad2deg(edge.get_path().vertices[[0, -1], 0]) % 360
    angles = places_on_circle(fig, ["T8", "O1"])
    np.testing.assert_allclose(sorted(ends), sorted(angles.values()), atol=1e-6)


def test_electrodes_lie_around_the_head(eeg):
    """Nose on top, left is left."""
    angles = places_on_circle(eeg.plot_circle(0, show=False), eeg.ch_names)
    front_to_back = {"left": ["F7", "T7", "O1"], "right": ["O2", "T8", "F8"]}
    assert [name for name in sorted(angles, key=angles.get) if name in front_to_back["left"]] == (
        front_to_back["left"]
    )
    x = {name: np.cos(np.deg2rad(angle)) for name, angle in angles.items()}
    y = {name: np.sin(np.deg2rad(angle)) for name, angle in angles.items()}
    assert max(x[name] for name in front_to_back["left"]) < -0.2
    assert min(x[name] for name in front_to_back["right"]) > 0.2
    assert y["Fz"] > 0.8
    assert y["Oz"] < -0.8
    # All have a place of their own.
    np.testing.assert_allclose(np.diff(sorted(angles.values())), 36.0, rtol=1e-9)


def test_channels_without_positions_go_clockwise(canonical):
    """From the top on."""
    fig = canonical.threshold().plot_circle(0, show=False)
    angles = list(places_on_circle(fig, canonical.ch_names).values())
    np.testing.assert_allclose(angles[0], 90 - 180 / 38, rtol=1e-9)
    np.testing.assert_allclose(np.mod(np.diff(angles), 360), 360 - 360 / 38, rtol=1e-9)


def test_connectome_of_the_canonical_model(canonical, atlas):
    """The strongest 3 of 100 edges, between parcels that lie where the atlas has them."""
    kept = canonical.threshold()
    first, second = np.triu_indices(38, 1)
    for full, strongest in zip(canonical.values, kept.values, strict=True):
        assert np.count_nonzero(strongest[first, second]) == 22
        assert strongest[strongest > 0].min() > np.sort(full[first, second])[-23]
    fig = kept.plot_connectome(atlas, "state_1", show=False)
    titles = [axes.get_title() for axes in fig.axes]
    assert "state_1" in titles
    assert "Coherence" in [axes.get_ylabel() for axes in fig.axes]
    # Both hemispheres: as many parcels on the left as on the right, but for the midline.
    seen_from_above = fig.axes[-1] if fig.axes[-1].collections else fig.axes[-2]
    dots = seen_from_above.collections[-1].get_offsets()
    assert len(dots) == 38
    assert abs((dots[:, 0] < -4).sum() - (dots[:, 0] > 4).sum()) <= 1


def test_connectome_at_given_positions(eeg):
    """Positions in millimeters, or an atlas with numbers for parcels."""
    positions = np.random.default_rng(0).uniform(-60, 60, (10, 3))
    fig, axes = plt.subplots()
    figure = mne_hmm.viz.plot_connectome(eeg.threshold(), positions, "rest", axes=axes, show=False)
    assert figure is fig
    labels = np.zeros((12, 4, 4), np.int16)
    for i_parcel in range(10):
        labels[i_parcel, 1:3, 1:3] = i_parcel + 1
    img = nibabel.Nifti1Image(labels, np.diag([8.0, 8, 8, 1]))
    img.header.set_sform(img.affine, 4)
    fig = eeg.relative().threshold(absolute=True).plot_connectome(img, 0, show=False)
    assert fig.axes
    # Without any edge there are dots only.
    assert eeg.threshold(percentile=100).plot_connectome(positions, 0, show=False).axes


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (3, ValueError, "state must be the name of a state or its number, from 0 to 2, got 3"),
        (-1, ValueError, "from 0 to 2, got -1"),
        (1.0, TypeError, "from 0 to 2, got 1.0"),
        ("sleep", ValueError, "state='sleep' is none of the states; they are rest, move, never"),
        ("never", ValueError, "nothing is known of never: its values are NaN"),
    ],
)
def test_wrong_states(eeg, state, error, message):
    """No figure of what is not there."""
    with pytest.raises(error, match=message):
        eeg.plot_circle(state, show=False)
    with pytest.raises(error, match=message):
        eeg.plot_connectome(np.zeros((10, 3)), state, show=False)


def test_wrong_places(eeg, canonical, atlas):
    """Positions must be those of the channels, and axes must fit."""
    with pytest.raises(ValueError, match="there are 38 parcels of the atlas but 10 channels"):
        eeg.plot_connectome(atlas, 0, show=False)
    with pytest.raises(ValueError, match="there are 10 positions but 38 channels"):
        canonical.plot_connectome(np.zeros((10, 3)), 0, show=False)
    for positions in (np.zeros((10, 2)), np.full((10, 3), np.nan)):
        with pytest.raises(ValueError, match=r"finite positions of shape \(n_channels, 3\)"):
            eeg.plot_connectome(positions, 0, show=False)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        eeg.plot_connectome("no.nii.gz", 0, show=False)
    with pytest.raises(ValueError, match="axes must be polar"):
        eeg.plot_circle(0, axes=plt.subplots()[1], show=False)
    for n_lines, error in ((0, ValueError), (2.5, TypeError)):
        with pytest.raises(error, match="n_lines must be a whole number of edges"):
            eeg.plot_circle(0, n_lines=n_lines, show=False)


def test_without_optional_packages(eeg, monkeypatch):
    """Errors say what to install, and what for; matrices need nothing."""
    monkeypatch.setitem(sys.modules, "mne_connectivity.viz", None)
    monkeypatch.setitem(sys.modules, "nilearn.plotting", None)
    eeg.plot_matrix(show=False)
    with pytest.raises(ImportError, match=r'networks on a circle.*"mne-hmm\[analysis\]"'):
        eeg.plot_circle(0, show=False)
    with pytest.raises(ImportError, match=r'in a glass brain.*"mne-hmm\[viz\]"'):
        eeg.plot_connectome(np.zeros((10, 3)), 0, show=False)
