"""Maps of states: their values, and where they go."""

import sys
from types import SimpleNamespace

import mne
import nibabel
import numpy as np
import pytest
from mne.io.constants import FIFF
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm import HMM, DualEstimate, Preparation, StateMaps, StateSpectra
from mne_hmm._utils.mne_private import topomap_places  # rows of pairs, which no figure shows
from mne_hmm.model.file import Learned

AFFINE = np.array([[-8.0, 0, 0, 24], [0, 8, 0, -16], [0, 0, 8, -16], [0, 0, 0, 1]])


def maps_of(values, info=None, names=None, ch_type="misc"):
    """Maps with values."""
    values = np.asarray(values, float)
    if info is None:
        names = names or [f"parcel_{i:02d}" for i in range(values.shape[1])]
        info = mne.create_info(names, 250.0, ch_type)
    states = tuple(f"state_{k}" for k in range(len(values)))
    return StateMaps(values, info, states, "Power, change from mean (%)")


def spectra_of(power, weights, standardized=True, ch_type="misc"):
    """Spectra that have one power up to 10 Hz, and ten times as much above."""
    power = np.asarray(power, float)
    freqs = np.arange(1.0, 21.0)
    psd = power[:, :, np.newaxis] * np.where(freqs > 10, 10, 1)
    csd = np.einsum("kcf,cd->kcdf", psd, np.eye(power.shape[1])).astype(complex)
    csd[np.isnan(power).any(axis=1)] = np.nan
    info = mne.create_info(power.shape[1], 250.0, ch_type)
    names = tuple(f"state_{k}" for k in range(len(power)))
    return StateSpectra(freqs, csd, info, names, np.array(weights), standardized)


# Values


def test_power_maps():
    """Power of a band, its difference from the mean over time, and in percent of that."""
    power = [[1.0, 8.0], [5.0, 4.0], [np.nan, np.nan]]
    spectra = spectra_of(power, [30.0, 10.0, 0.0])
    mean = np.array([2.0, 7.0])  # three parts of one, one of the other
    maps = mne_hmm.power_maps(spectra, 2, 10, mode="power")
    assert_allclose(maps.values, power)
    assert maps.label == "Power (1/Hz)"
    maps = mne_hmm.power_maps(spectra, 11, 20, mode="difference")
    assert_allclose(maps.values, 10 * (np.array(power) - mean))
    assert maps.label == "Power, difference from mean (1/Hz)"
    maps = mne_hmm.power_maps(spectra)
    assert_allclose(maps.values, 100 * (np.array(power) / mean - 1))
    assert str(maps) == "<StateMaps | 3 states, 2 channels, Power, change from mean (%)>"
    assert maps.state_names == spectra.state_names
    assert maps.ch_names == spectra.ch_names


@pytest.mark.parametrize(
    ("ch_type", "unit"), [("eeg", "V²/Hz"), ("mag", "T²/Hz"), ("misc", "squared units/Hz")]
)
def test_units(ch_type, unit):
    """Those of the channels, where they were left as they are."""
    spectra = spectra_of([[1.0, 2.0]], [1.0], standardized=False, ch_type=ch_type)
    assert mne_hmm.power_maps(spectra, mode="power").label == f"Power ({unit})"


@pytest.mark.parametrize("n_components", [None, 4])
def test_means_are_those_of_the_channels(simulated, n_components):
    """Components and their scales are undone."""
    raw = simulated[0].copy().pick(range(4))
    preparation = Preparation(l_freq=None, h_freq=None, n_embeddings=1, n_components=n_components)
    prepared = mne_hmm.prepare(raw, preparation, verbose="ERROR")
    halves = np.array_split(prepared.data[0].astype(float), 2)
    n = prepared.n_features
    hmm = HMM(
        [0.5, 0.5],
        np.full((2, 2), 0.5),
        [half.mean(axis=0) for half in halves],
        [np.eye(n), np.eye(n)],
        prepared.preparation,
        learned=Learned(True),
    )
    x = raw.get_data()
    x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    expected = [half.mean(axis=1) for half in np.array_split(x, 2, axis=1)]
    maps = mne_hmm.mean_maps(hmm)
    assert_allclose(maps.values, expected, rtol=0, atol=1e-5)  # features are in float32
    assert maps.label == "Mean (standard deviations)"
    assert maps.ch_names == raw.ch_names
    dual = DualEstimate(2 * hmm.means_, hmm.covariances_, np.ones(2), hmm.state_names)
    assert_allclose(mne_hmm.mean_maps(hmm, dual=dual).values, 2 * maps.values)


def test_what_has_no_maps(fitted):
    """No spectra, no means, no such mode, no such band."""
    with pytest.raises(TypeError, match="spectra must be StateSpectra, got HMM; make them with"):
        mne_hmm.power_maps(fitted)
    spectra = spectra_of([[1.0, 2.0]], [1.0])
    with pytest.raises(ValueError, match="mode must be one of 'relative', 'difference', 'power'"):
        mne_hmm.power_maps(spectra, mode="ratio")
    with pytest.raises(ValueError, match="no frequency lies between fmin=30"):
        mne_hmm.power_maps(spectra, 30, 40)
    with pytest.raises(ValueError, match=r"means of zero; fit it with learn_means=True, or"):
        mne_hmm.mean_maps(fitted)


# Brain images


def small_atlas():
    """Weights of three parcels with peaks other than 1; the first two overlap in one voxel."""
    data = np.zeros((6, 5, 4, 3), np.float32)
    data[2, 3, 2, 0], data[3, 3, 2, 0] = 4.0, 1.0
    data[3, 3, 2, 1], data[1, 1, 1, 2] = 0.5, 7.0
    return nibabel.Nifti1Image(data, AFFINE)


def test_image_of_weights():
    """Weighted means where parcels overlap, 0 outside."""
    img = maps_of([[8.0, -3.0, 3.0], [0.0, 1.0, 0.0]]).to_nifti(small_atlas())
    data = img.get_fdata()
    assert data.shape == (6, 5, 4, 2)
    assert_array_equal(img.affine, AFFINE)
    # Parcel 0 has a quarter of its peak there, parcel 1 its peak.
    assert_allclose(data[3, 3, 2], [(0.25 * 8 - 3) / 1.25, 1 / 1.25], rtol=1e-6)
    assert_allclose(data[2, 3, 2], [8, 0])
    assert_allclose(data[1, 1, 1], [3, 0])
    assert np.count_nonzero(data) == 4


def test_image_of_labels(tmp_path):
    """Each voxel has the value of its label, in the order of their numbers."""
    labels = np.zeros((6, 5, 4), np.int16)
    labels[1, 1:3, 1], labels[2:4, 3, 2], labels[4, 4, 3] = 7, 2, 40
    nibabel.save(nibabel.Nifti1Image(labels, AFFINE), tmp_path / "atlas.nii.gz")
    values = [[1.5, 2.5, 3.5], [-1.0, 4.0, 9.0]]
    data = maps_of(values).to_nifti(tmp_path / "atlas.nii.gz").get_fdata()
    for label, *expected in ((2, 1.5, -1), (7, 2.5, 4), (40, 3.5, 9), (0, 0, 0)):
        assert_array_equal(data[labels == label], np.tile(expected, (np.sum(labels == label), 1)))


def test_image_of_the_atlas_of_38_parcels(test_data):
    """A real atlas, whose parcels overlap: within the range of the values, all of the brain."""
    fname = test_data / "parcellation" / "atlas-Giles_nparc-38_space-MNI_res-8x8x8.nii.gz"
    atlas = nibabel.load(fname).get_fdata()
    values = np.stack([np.ones(38), np.arange(38.0) + 1])
    data = maps_of(values).to_nifti(fname).get_fdata()
    inside = atlas.any(axis=-1)
    assert_allclose(data[..., 0], inside, atol=1e-6)
    assert data[inside, 1].min() >= 1
    assert data[..., 1].max() <= 38
    for parcel in range(38):
        voxel = np.unravel_index(atlas[..., parcel].argmax(), inside.shape)
        weights = atlas[voxel] / atlas.max(axis=(0, 1, 2))
        expected = weights @ values[1] / weights.sum()
        assert_allclose(data[voxel][1], expected, rtol=1e-6)  # float32


def test_wrong_number_of_parcels():
    """Both numbers are told."""
    with pytest.raises(ValueError, match=r"it has 3 parcels and the maps have 5 channels; pass"):
        maps_of(np.ones((2, 5))).to_nifti(small_atlas())


# Sources


@pytest.fixture(scope="module")
def surface(test_data):
    """Source space of fsaverage5, its labels, and the folder."""
    folder = test_data / "subjects"
    fname = folder / "fsaverage5" / "bem" / "fsaverage5-ico3-src.fif"
    labels = mne.read_labels_from_annot("fsaverage5", subjects_dir=folder, verbose="ERROR")
    return fname, labels, folder


@pytest.mark.parametrize("by_name", [False, True])
def test_on_a_surface(surface, by_name):
    """Vertices have the values of their labels, others 0; states take the place of time."""
    fname, labels, folder = surface
    names = [label.name for label in labels]
    values = np.random.default_rng(0).standard_normal((3, len(labels)))
    # Channels that have the names of the labels may come in any order.
    order = np.roll(np.arange(len(labels)), 5)
    maps = maps_of(values[:, order], names=[names[i] for i in order])
    atlas = "aparc" if by_name else labels
    stc = maps.to_stc(
        fname if by_name else mne.read_source_spaces(fname), atlas, subjects_dir=folder
    )
    assert isinstance(stc, mne.SourceEstimate)
    assert stc.subject == "fsaverage5"
    assert_array_equal(stc.times, [0, 1, 2])
    for value, label in zip(values.T, labels, strict=True):
        inside = stc.in_label(label).data
        assert_allclose(inside, np.tile(value, (len(inside), 1)), rtol=1e-12)
    labeled = sum(len(stc.in_label(label).data) for label in labels)
    assert np.count_nonzero(stc.data.any(axis=1)) == labeled < len(stc.data)


def test_in_a_volume(test_data):
    """Sources of overlapping parcels have weighted means."""
    fname = test_data / "source" / "fsaverage-vol7-nointerp-src.fif.gz"
    atlas = test_data / "parcellation" / "atlas-Giles_nparc-38_space-MNI_res-8x8x8.nii.gz"
    src = mne.read_source_spaces(fname, verbose="ERROR")
    values = np.random.default_rng(0).standard_normal((2, 38))
    stc = maps_of(values).to_stc({"src": src}, atlas)  # as a forward solution has it
    assert isinstance(stc, mne.VolSourceEstimate)
    parcels = mne_hmm.io.parcellation.atlas.find_parcels(stc, atlas, src=src)
    weights = parcels.weights.toarray()
    inside = weights.any(axis=1)
    expected = weights[inside] @ values.T / weights[inside].sum(axis=1, keepdims=True)
    assert_allclose(stc.data[inside], expected, rtol=1e-10, atol=1e-12)
    assert not stc.data[~inside].any()


def test_wrong_source_spaces(surface, tmp_path):
    """None, a file that is not there, and an atlas with other parcels."""
    fname, labels, folder = surface
    maps = maps_of(np.ones((2, 5)))
    with pytest.raises(
        TypeError, match=r"src must be a source space, the path of one.*got NoneType"
    ):
        maps.to_stc(None, labels)
    with pytest.raises(FileNotFoundError, match=r"none-src.fif'.*no such file"):
        maps.to_stc(tmp_path / "none-src.fif", labels)
    with pytest.raises(ValueError, match="it has 68 parcels and the maps have 5 channels"):
        maps.to_stc(fname, labels, subjects_dir=folder)


# Figures


@pytest.fixture
def figures():
    """Close the figures of a test at its end."""
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def eeg_info():
    """Fourteen electrodes with places."""
    montage = mne.channels.make_standard_montage("biosemi64")
    names = ["Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "Fz", "Cz", "Pz", "Oz"]
    info = mne.create_info(names, 250.0, "eeg")
    return info.set_montage(montage)


def meg_info():
    """Three places of a Neuromag device, each with two gradiometers and a magnetometer."""
    places = ((-0.05, 0.08, 0.03), (0.05, 0.08, 0.03), (0.0, -0.08, 0.05), (0.0, 0.02, 0.11))
    coils = (FIFF.FIFFV_COIL_VV_PLANAR_T1, FIFF.FIFFV_COIL_VV_PLANAR_T1, FIFF.FIFFV_COIL_VV_MAG_T3)
    names = [f"MEG 0{n + 1}1{kind}" for n in range(len(places)) for kind in (2, 3, 1)]
    info = mne.create_info(names, 250.0, ["grad", "grad", "mag"] * len(places))
    for index, ch in enumerate(info["chs"]):
        ch["coil_type"] = coils[index % 3]
        ch["loc"][:3] = places[index // 3]
        ch["loc"][3:12] = np.eye(3).ravel()
    info["dev_head_t"] = mne.Transform("meg", "head", np.eye(4))
    return info


def test_map_of_electrodes(figures):
    """One map for each state, the same limits about zero, the maximum where it is."""
    info = eeg_info()
    values = np.zeros((3, 14))
    values[0, 13], values[1, :2] = 50, -20
    values[2] = np.nan
    fig = maps_of(values, info).plot_topomap(show=False)
    *heads, bar = fig.axes
    assert [ax.get_title() for ax in heads] == ["state_0", "state_1", "state_2"]
    first, second = (ax.images[0] for ax in heads[:2])
    assert first.get_clim() == second.get_clim() == (-50, 50)
    assert np.unravel_index(first.get_array().argmax(), first.get_array().shape)[0] < 20  # behind
    assert np.unravel_index(second.get_array().argmin(), second.get_array().shape)[0] > 44  # front
    assert heads[2].texts[0].get_text() == "never on"
    assert bar.get_ylabel() == "Power\nchange from mean (%)"


def test_map_of_positive_values(figures):
    """From 0 on, in other colors, in axes of one's own."""
    values = np.ones((1, 14))
    values[0, 3] = 4
    _, axes = figures.subplots()
    fig = mne_hmm.viz.plot_topomap(maps_of(values, eeg_info()), axes=axes, show=False)
    assert fig is axes.figure
    image = axes.images[0]
    assert image.get_clim() == (0, 4)
    assert image.get_cmap().name == "Reds"


def test_map_of_gradiometers(figures):
    """Pairs are shown as their mean, signs and all; magnetometers are shown by themselves."""
    info = meg_info()
    grads = [i for i, kind in enumerate(info.get_channel_types()) if kind == "grad"]
    places, rows = topomap_places(info, grads)
    assert_array_equal(rows, [[0, 1], [3, 4], [6, 7], [9, 10]])
    assert places.shape == (4, 2)
    assert places[0, 0] < 0 < places[1, 0]
    values = np.zeros((2, 12))
    values[0, [0, 1]], values[1, [6, 7]] = (-30, -10), (1, 3)
    values[:, 2] = 77
    maps = maps_of(values, info)
    fig = maps.plot_topomap(ch_type="grad", show=False)
    assert fig.axes[0].images[0].get_clim() == (-20, 20)
    assert fig.axes[0].images[0].get_array().min() < -15
    fig = maps.plot_topomap(show=False)
    assert fig.axes[0].images[0].get_clim() == (0, 77)


def test_maps_without_places(figures):
    """Parcels have no place on the head; types that are not there; too few axes."""
    with pytest.raises(ValueError, match=r"positions are needed.*parcel_00, parcel_01.*montage"):
        maps_of(np.ones((2, 2))).plot_topomap()
    maps = maps_of(np.ones((2, 14)), eeg_info())
    with pytest.raises(
        ValueError, match=r"ch_type='mag': the maps have no such channels, only .*eeg"
    ):
        maps.plot_topomap(ch_type="mag")
    with pytest.raises(ValueError, match="axes must be 2, got 1; None makes a new"):
        maps.plot_topomap(axes=[SimpleNamespace(figure=None)])


def test_glass_brain(figures):
    """One brain for each state, all with the same limits."""
    maps = maps_of([[8.0, -2.0, 3.0], [np.nan] * 3])
    fig = maps.plot_glass_brain(small_atlas(), show=False)
    titles = [ax.get_title() for ax in fig.axes]
    assert titles[:2] == ["state_0", "state_1"]
    images = [image for ax in fig.axes for image in ax.images]
    assert len(images) == 4  # from left, behind, right and above
    assert {image.get_clim() for image in images} == {(-8.0, 8.0)}
    assert any(text.get_text() == "never on" for ax in fig.axes for text in ax.texts)


def test_glass_brain_needs_nilearn(monkeypatch):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "nilearn.plotting", None)
    with pytest.raises(ImportError, match=r"pip install \"mne-hmm\[viz\]\""):
        maps_of(np.ones((2, 3))).plot_glass_brain(small_atlas())


# Real recordings


@pytest.mark.slow
def test_alpha_of_closed_eyes(eegbci, figures):
    """The state of closed eyes has a peak of alpha, and most of it at the back of the head."""
    runs = eegbci(1, 2, preload=True)
    # The name has changed in MNE-Python 1.13.
    new, old = "colin27_1005", "standard_1005"
    montage = new if new in mne.channels.get_builtin_montages() else old
    for raw in runs:
        mne.datasets.eegbci.standardize(raw)
        raw.set_montage(montage)
    with pytest.warns(RuntimeWarning, match="without any signal"):  # files end in zeros
        hmm = mne_hmm.fit_hmm(runs, 4, n_init=1, refine=False, random_state=0)
    with pytest.warns(RuntimeWarning, match="without any signal"):
        states = hmm.predict(runs)
    opened, closed = (course.statistics().fractional_occupancy for course in states)
    state = int(np.argmax(closed - opened))
    spectra = mne_hmm.compute_model_spectra(hmm, info=runs[0].info)
    maps = mne_hmm.power_maps(spectra, 8, 13)
    back = [name for name in maps.ch_names if name.startswith(("O", "PO", "P", "Iz"))]
    highest = np.array(maps.ch_names)[np.argsort(maps.values[state])[::-1]]
    assert set(highest[:6]) <= set(back)
    occipital = [maps.ch_names.index(name) for name in ("O1", "Oz", "O2", "POz")]
    density = spectra.psd[state, occipital].mean(axis=0)
    above = spectra.freqs >= 5
    assert 8 <= spectra.freqs[above][density[above].argmax()] <= 13
    fig = maps.plot_topomap(show=False)
    assert len(fig.axes) == 5
