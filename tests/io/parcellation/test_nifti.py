"""Brain images become the time courses of parcels, on the scanner's own clock."""

import nibabel
import numpy as np
import pytest
from helpers import raises
from numpy.testing import assert_allclose

from mne_hmm import Preparation, fit_hmm, parcellate_nifti, prepare
from mne_hmm.io.parcellation import nifti as nifti_module

SHAPE = (6, 7, 5)
N_VOLUMES = 120
TR = 1.89
# Oblique, and to the left as scanners do.
AFFINE = nibabel.affines.from_matvec([[-3, 0.5, 0], [0.4, 3, 0.2], [0, -0.3, 4]], [9, -8, 7])


def make_labels(n_parcels=4):
    """Blocks of voxels, with numbers that leave gaps; the rest is outside."""
    numbers = np.zeros(SHAPE, np.int16)
    for k in range(n_parcels):
        numbers[:, k, 1:4] = 3 * k + 2
    return nibabel.Nifti1Image(numbers, AFFINE)


def make_image(data, *, tr=TR, unit="sec", affine=AFFINE, dtype=None):
    """Make an image with the time from volume to volume in its header."""
    img = nibabel.Nifti1Image(np.asarray(data, dtype), affine)
    img.header.set_xyzt_units("mm", unit)
    img.header.set_zooms((*img.header.get_zooms()[:3], tr))
    return img


def random_data(seed=0):
    """Noise about a large mean, as in fMRI, in single precision."""
    rng = np.random.default_rng(seed)
    return (100 + rng.standard_normal((*SHAPE, N_VOLUMES))).astype(np.float32)


def refuse(error, parts, img, atlas=None, **kwargs):
    """Expect an error whose message has all parts, in this order."""
    with raises(error, parts):
        parcellate_nifti(img, make_labels() if atlas is None else atlas, **kwargs)


# Time courses


@pytest.mark.parametrize("suffix", [None, "nii", "nii.gz"])
@pytest.mark.parametrize("method", ["mean", "pca"])
def test_signals_of_regions_come_back(tmp_path, suffix, method):
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((4, N_VOLUMES))
    truth -= truth.mean(1, keepdims=True)
    numbers = np.asarray(make_labels().dataobj)
    data = 500 + 0.01 * rng.standard_normal((*SHAPE, N_VOLUMES))
    for k, signal in enumerate(truth):
        data[numbers == 3 * k + 2] += signal
    img = make_image(data)
    if suffix is not None:
        nibabel.save(img, tmp_path / f"bold.{suffix}")
        img = str(tmp_path / f"bold.{suffix}")
    raw = parcellate_nifti(img, make_labels(), method=method)
    assert raw.ch_names == ["parcel_00", "parcel_01", "parcel_02", "parcel_03"]
    assert set(raw.get_channel_types()) == {"misc"}
    assert raw.info["sfreq"] == 1 / TR
    got = raw.get_data()
    # 18 voxels a parcel: the noise of a mean is 0.01 / sqrt(18), six times that at most.
    assert_allclose(got - got.mean(1, keepdims=True), truth, rtol=0, atol=6 * 0.01 / np.sqrt(18))
    if method == "mean":
        assert_allclose(got.mean(1), 500, rtol=0, atol=0.01)


def test_means_are_those_of_a_sum_in_one_line():
    weights = np.random.default_rng(2).random((*SHAPE, 3)) ** 3
    weights[weights < 0.2] = 0
    data = random_data()
    raw = parcellate_nifti(make_image(data), nibabel.Nifti1Image(weights, AFFINE))
    expected = np.einsum("xyzp,xyzt->pt", weights / weights.sum((0, 1, 2)), data.astype(float))
    # A mean of values of about 100; only the order of additions differs.
    assert_allclose(raw.get_data(), expected, rtol=1e-12)


def test_components_are_those_of_a_singular_value_decomposition():
    weights = np.random.default_rng(2).random((*SHAPE, 2)) ** 3
    weights[weights < 0.3] = 0
    for n_volumes in (N_VOLUMES, 20):  # fewer than voxels, and more
        data = random_data()[..., :n_volumes]
        data[..., :] -= np.sin(np.arange(n_volumes))  # so that there is one, of negative sign
        img = make_image(data)
        raw = parcellate_nifti(img, nibabel.Nifti1Image(weights, AFFINE), method="pca")
        for parcel in range(2):
            inside = weights[..., parcel] > 0
            w = weights[inside, parcel] / weights[inside, parcel].sum()
            x = data[inside].astype(float)
            x -= x.mean(1, keepdims=True)
            u, _, vt = np.linalg.svd(np.sqrt(w)[:, None] * x, full_matrices=False)
            expected = vt[0] * np.sign(u[:, 0].sum()) / vt[0].std() * (w @ x.std(1))
            # Squares lose half of the digits of double precision.
            assert_allclose(raw.get_data()[parcel], expected, rtol=0, atol=1e-7)


def test_agreement_with_nilearn():
    maskers = pytest.importorskip("nilearn.maskers")
    img, labels = make_image(random_data()), make_labels()
    masker = maskers.NiftiLabelsMasker(labels, resampling_target=None, standardize=None)
    expected = masker.fit_transform(img)
    # Nilearn computes in single precision.
    assert_allclose(parcellate_nifti(img, labels).get_data(), expected.T, rtol=1e-5)


def test_images_of_another_grid_meet_in_space():
    # The same brain on a grid that is twice as fine, turned round, and shifted.
    labels = make_labels()
    fine = np.diag([-0.5, 0.5, 0.5, 1.0])
    fine[:3, 3] = [SHAPE[0] - 0.75, -0.25, -0.25]
    data = random_data()
    twice = data[::-1].repeat(2, 0).repeat(2, 1).repeat(2, 2)
    raw = parcellate_nifti(make_image(twice, affine=AFFINE @ fine), labels)
    assert_allclose(
        raw.get_data(), parcellate_nifti(make_image(data), labels).get_data(), rtol=1e-12
    )


@pytest.mark.parametrize("size", [1, 3 * np.prod(SHAPE)])
def test_blocks_change_nothing(tmp_path, monkeypatch, size):
    nibabel.save(make_image(random_data()), tmp_path / "bold.nii.gz")
    expected = parcellate_nifti(tmp_path / "bold.nii.gz", make_labels()).get_data()
    monkeypatch.setattr(nifti_module, "BLOCK_SIZE", int(size))
    monkeypatch.setattr(nifti_module, "N_POSITIONS", 17)
    got = parcellate_nifti(tmp_path / "bold.nii.gz", make_labels()).get_data()
    np.testing.assert_array_equal(got, expected)


def test_the_image_is_read_in_blocks(monkeypatch):
    asked = []

    class Watched(np.ndarray):
        def __getitem__(self, index):
            out = super().__getitem__(index)
            asked.append(np.shape(out))
            return np.asarray(out)

    img = make_image(random_data())
    img._dataobj = img.get_fdata().view(Watched)
    monkeypatch.setattr(nifti_module, "BLOCK_SIZE", 50 * int(np.prod(SHAPE)))
    parcellate_nifti(img, make_labels())
    assert asked == [(*SHAPE, 50), (*SHAPE, 50), (*SHAPE, 20)]


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float64])
def test_scaled_and_other_types(tmp_path, dtype):
    data = np.random.default_rng(0).integers(0, 200, (*SHAPE, N_VOLUMES)).astype(dtype)
    img = make_image(data)
    img.header.set_slope_inter(0.5, 3)
    nibabel.save(img, tmp_path / "bold.nii")
    raw = parcellate_nifti(tmp_path / "bold.nii", make_labels())
    stored = nibabel.load(tmp_path / "bold.nii").get_fdata()
    expected = stored[make_labels().get_fdata() == 2].mean(0)
    # Values are kept in single precision.
    assert_allclose(raw.get_data()[0], expected, rtol=1e-6)


def test_voxels_without_numbers_belong_to_no_parcel():
    data = random_data()
    expected = data[:, 0, 1:4].reshape(-1, N_VOLUMES)[1:].mean(0, dtype=float)
    data[0, 0, 1, 17] = np.nan
    data[5, 6, 4] = np.nan  # outside of all parcels
    raw = parcellate_nifti(make_image(data), make_labels())
    assert_allclose(raw.get_data()[0], expected, rtol=1e-12)


# Time


@pytest.mark.parametrize(
    ("tr", "unit"), [(1.89, "sec"), (1890.0, "msec"), (1_890_000.0, "usec"), (1.89, "unknown")]
)
def test_time_from_volume_to_volume(tr, unit):
    raw = parcellate_nifti(make_image(random_data(), tr=tr, unit=unit), make_labels())
    assert raw.info["sfreq"] == 1 / TR


@pytest.mark.parametrize(
    ("tr", "unit"),
    [(0.0, "sec"), (0.0, "unknown"), (2000.0, "unknown"), (2000.0, "sec"), (2.0, "hz")],
)
def test_times_that_cannot_be(tr, unit):
    img = make_image(random_data(), tr=tr, unit=unit)
    refuse(ValueError, [f"gives {tr:g}", f"{unit!r}", "pass sfreq=1 / TR"], img)
    assert parcellate_nifti(img, make_labels(), sfreq=0.5).info["sfreq"] == 0.5
    refuse(ValueError, ["sfreq must be a rate above 0 Hz"], img, sfreq=0)


def test_different_times_in_a_list():
    raws = [
        parcellate_nifti(make_image(random_data(i), tr=tr), make_labels())
        for i, tr in enumerate((2.0, 1.89, 2.0))
    ]
    match = r"recording 0 has 0.5 Hz and recording 1 0.529101 Hz.*Preparation\(sfreq=0.5\)"
    with pytest.raises(ValueError, match=match):
        prepare(raws, Preparation.standardized())
    assert len(prepare(raws[::2], Preparation.standardized())) == 2


# What is refused


def test_one_volume():
    for shape in (SHAPE, (*SHAPE, 1), (*SHAPE, 1, 9)):
        img = nibabel.Nifti1Image(np.ones(shape), AFFINE)
        refuse(ValueError, ["img has shape", str(shape), "four dimensions", "two volumes"], img)


def test_complex_images():
    refuse(TypeError, ["real numbers", "complex64", "numpy.abs"], make_image(random_data() + 1j))


def test_parcels_without_voxels():
    # The image lies elsewhere, in part or as a whole.
    shift = np.eye(4)
    shift[1, 3] = 2
    parts = ["img", "no voxel", "2 parcels of 4: parcel_00, parcel_01", "same space", "affine"]
    refuse(ValueError, parts, make_image(random_data(), affine=AFFINE @ shift))
    shift[1, 3] = 200
    refuse(ValueError, ["4 parcels of 4"], make_image(random_data(), affine=AFFINE @ shift))
    data = random_data()
    data[:, 2] = np.nan
    refuse(ValueError, ["1 parcel of 4: parcel_02"], make_image(data))


@pytest.mark.parametrize("what", [3, None, np.ones((*SHAPE, 9))])
def test_what_is_no_image(what):
    refuse(TypeError, ["img must be a path or an image", type(what).__name__], what)


def test_method():
    refuse(
        ValueError, ["method must be one of", "got 'max'"], make_image(random_data()), method="max"
    )


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
@pytest.mark.parametrize("damage", ["cut", "other", "missing"])
def test_damaged_images(tmp_path, suffix, damage):
    fname = tmp_path / f"bold.{suffix}"
    parts = [str(fname), "cannot be read", "complete"]
    if damage == "missing":
        refuse(FileNotFoundError, [f"img={str(fname)!r}", "no such file"], fname)
        return
    nibabel.save(make_image(random_data()), fname)
    content = fname.read_bytes()
    fname.write_bytes(content[: len(content) // 2] if damage == "cut" else b"no image" * 100)
    refuse(OSError, parts, fname)


# All the way


def test_from_images_to_states():
    rng = np.random.default_rng(5)
    states = np.repeat(rng.integers(0, 2, 12), 10)
    courses = rng.standard_normal((4, N_VOLUMES)) * np.array([[0.5, 3.0]] * 4)[:, states]
    data = random_data()
    for k, course in enumerate(courses):
        data[:, k, 1:4] += course
    raw = parcellate_nifti(make_image(data), make_labels())
    settings = {"preparation": Preparation.standardized(), "learn_means": False}
    hmm = fit_hmm(raw, 2, random_state=0, **settings)
    got = hmm.predict(raw)
    assert_allclose(got.times, TR * np.arange(N_VOLUMES), rtol=0, atol=1e-9)
    agreement = (got.labels == states).mean()
    assert max(agreement, 1 - agreement) > 0.9
