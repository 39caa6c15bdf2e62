"""Atlases that are images: what is read, what is refused, and weights at positions."""

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.ndimage import map_coordinates

from mne_hmm.io.parcellation.atlas_volume import parcels_at, read_atlas, weights_at

AFFINE = np.array([[-8.0, 0, 0, 24], [0, 8, 0, -16], [0, 0, 8, -16], [0, 0, 0, 1]])


def image(data, affine=AFFINE):
    """A NIfTI image in memory."""
    return nibabel.Nifti1Image(data, affine)


def labels(dtype=np.int16):
    """Three parcels on a small grid."""
    data = np.zeros((6, 5, 4), dtype)
    data[1, 1:3, 1], data[2:4, 3, 2], data[4, 4, 3] = 7, 2, 40
    return data


def maps():
    """The same parcels as weights, with peaks other than 1, that overlap."""
    data = np.stack([labels() == label for label in (2, 7, 40)], axis=-1).astype(np.float32)
    data[2, 3, 2] = [3.5, 0.25, 0]
    return data


@pytest.mark.parametrize("kind", ["maps", "labels"])
def test_weights_are_those_of_the_reference(reference, kind):
    """Nearest grid point, 0 outside of the grid: the same as osl-dynamics, to the bit."""
    arrays = reference("parcellation")
    img = read_atlas(image(arrays[kind], arrays["affine"]))
    assert_array_equal(weights_at(img, arrays["coords"]), arrays[f"{kind}_sampled"])


@pytest.mark.parametrize("data", [labels(), labels(np.float64), labels()[..., None], maps()])
def test_files_and_images_are_the_same(tmp_path, data):
    """A file, compressed or not, and an image in memory."""
    positions = np.argwhere(np.ones(data.shape[:3])) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    expected = weights_at(read_atlas(image(data)), positions)
    assert expected.shape == (120, 3)
    for name in ("atlas.nii", "atlas.nii.gz"):
        nibabel.save(image(data), tmp_path / name)
        for atlas in (tmp_path / name, str(tmp_path / name), nibabel.load(tmp_path / name)):
            assert_array_equal(weights_at(read_atlas(atlas), positions), expected)


def test_labels_in_ascending_order():
    """Columns are labels 2, 7 and 40, at the grid points where they were put."""
    places = np.array([[2, 3, 2], [1, 2, 1], [4, 4, 3], [0, 0, 0]])
    positions = places @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    weights = weights_at(read_atlas(image(labels())), positions)
    assert_array_equal(weights, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(*[st.floats(-40, 40)] * 3), min_size=1, max_size=30),
    st.floats(-1, 1),
)
def test_weights_by_scipy(positions, angle):
    """Any affine, any position: as scipy samples the grid."""
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    affine = turn @ AFFINE
    place = np.asarray(positions) @ np.linalg.inv(affine)[:3, :3].T + np.linalg.inv(affine)[:3, 3]
    between = np.abs(place - np.floor(place) - 0.5).min(axis=1) < 1e-3  # either side is right
    weights = weights_at(image(maps(), affine), positions)
    for i_map, column in enumerate(weights.T):
        parcel_map = maps()[..., i_map]
        expected = map_coordinates(parcel_map, place.T, order=0, mode="grid-constant", cval=0.0)
        assert_array_equal(column[~between], expected[~between])


def test_noise_does_not_choose_between_grid_points():
    """A position in the middle of two grid points goes to one of them, whatever its last bit."""
    data = np.zeros((4, 1, 1, 2), np.float32)
    data[:2, ..., 0], data[2:, ..., 1] = 1, 1
    middle = np.array([1.5, 0.0, 0.0])
    noise = np.random.default_rng(0).uniform(-2e-5, 2e-5, (100, 3))
    weights = weights_at(image(data, np.eye(4)), middle + noise)
    assert_array_equal(weights, np.tile([0, 1], (100, 1)))


def test_parcels_have_largest_weight_one():
    """Scaled by what is sampled, not by the image's own largest value."""
    places = np.array([[3, 3, 2], [1, 1, 1], [2, 3, 2], [4, 4, 3]])
    positions = places @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    parcels = parcels_at(read_atlas(image(maps())), positions)
    assert parcels.names == ("parcel_0", "parcel_1", "parcel_2")
    assert parcels.flips is None
    expected = [[1 / 3.5, 0, 0], [0, 1, 0], [1, 0.25, 0], [0, 0, 1]]
    assert_array_equal(parcels.weights.toarray(), np.array(expected))
    # Without the voxel of weight 3.5, the largest that is left counts.
    parcels = parcels_at(read_atlas(image(maps())), positions[[0, 1, 3]])
    assert_array_equal(parcels.weights.toarray(), np.eye(3))


def test_names_are_padded():
    """They sort as they are numbered."""
    data = np.eye(11, dtype=np.float32).reshape(11, 1, 1, 11)
    positions = np.column_stack([np.arange(11), np.zeros((11, 2))])
    names = parcels_at(image(data, np.eye(4)), positions).names
    assert names[0] == "parcel_00"
    assert names[-1] == "parcel_10"
    assert list(names) == sorted(names)


def with_values(data, *values):
    """Copy of data that begins with some values."""
    data = data.astype(np.result_type(data, np.float32))
    data.flat[: len(values)] = values
    return data


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (labels()[0], r"shape \(5, 4\); an atlas has three dimensions"),
        (maps()[..., None], r"shape \(6, 5, 4, 3, 1\); an atlas has three"),
        (maps().astype(np.complex64), "holds complex numbers"),
        (np.zeros((6, 5, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "holds values of type"),
        (with_values(labels(), np.nan), "1 value that are NaN or infinite; set them to 0"),
        (with_values(maps(), np.nan, np.inf), "2 values that are NaN or infinite"),
        (with_values(labels(), -3), "label numbers down to -3; they must not be negative"),
        (with_values(maps(), -0.5), "weights down to -0.5; they must not be negative"),
        (with_values(labels(), 0.25, 1.5), "whole numbers.* 2 values are not, such as 0.25"),
        ((labels() == 7).astype(np.uint8), "holds only the label 1; an atlas needs two"),
        (maps()[..., :1] == 1, None),
        (np.zeros((6, 5, 4), np.int16), "holds no label; an atlas needs two"),
    ],
)
def test_what_is_no_atlas(tmp_path, data, complaint):
    """Every fault has its own words, for images and for files, which are named."""
    if complaint is None:  # one volume of weights is one label
        data, complaint = data.astype(np.uint8), "holds only the label 1"
    with pytest.raises(ValueError, match=f"the atlas .*{complaint}"):
        read_atlas(image(data))
    nibabel.save(image(data), tmp_path / "wrong.nii.gz")
    with pytest.raises(ValueError, match=f"wrong.nii.gz .*{complaint}"):
        read_atlas(tmp_path / "wrong.nii.gz")


def test_files_that_cannot_be_read(tmp_path):
    """Missing, cut off anywhere, or of another kind."""
    with pytest.raises(FileNotFoundError, match=r"atlas='.*none.nii': there is no such file"):
        read_atlas(str(tmp_path / "none.nii"))
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_atlas(tmp_path)
    noise = np.random.default_rng(0).integers(0, 9, (20, 20, 20)).astype(np.int16)
    for suffix in (".nii", ".nii.gz"):
        nibabel.save(image(noise), tmp_path / f"whole{suffix}")
        content = (tmp_path / f"whole{suffix}").read_bytes()
        cut = tmp_path / f"cut{suffix}"
        for length in (0, 5, 100, 400, len(content) // 2, len(content) - 9):
            cut.write_bytes(content[:length])
            with pytest.raises(OSError, match=rf"cut{suffix} cannot be read: .* download it again"):
                read_atlas(cut)
    (tmp_path / "text.nii.gz").write_text("This is no image.")
    with pytest.raises(OSError, match=r"text.nii.gz cannot be read: it is no NIfTI image"):
        read_atlas(tmp_path / "text.nii.gz")
    damaged = bytearray(content)
    damaged[-1000] ^= 1  # one bit, which only the checksum tells
    (tmp_path / "damaged.nii.gz").write_bytes(damaged)
    with pytest.raises(OSError, match=r"damaged.nii.gz cannot be read"):
        read_atlas(tmp_path / "damaged.nii.gz")


@pytest.mark.parametrize("wrong", [None, 3, labels(), ["a.nii"]])
def test_what_is_no_image(wrong):
    """Arrays do not say where they lie."""
    with pytest.raises(TypeError, match="atlas must be a NIfTI file or a nibabel image"):
        read_atlas(wrong)


def test_images_must_say_where_they_lie(tmp_path):
    """Without codes nibabel makes up an affine; one without an inverse has no grid."""
    nowhere = nibabel.Nifti1Image(labels(), None)
    with pytest.raises(ValueError, match="does not say where it lies"):
        read_atlas(nowhere)
    nibabel.save(nowhere, tmp_path / "nowhere.nii")
    with pytest.raises(ValueError, match=r"nowhere.nii does not say where it lies"):
        read_atlas(tmp_path / "nowhere.nii")
    flat = AFFINE.copy()
    flat[0] = 0
    for affine in (flat, AFFINE * np.nan):
        img = image(labels())
        img._affine = affine
        with pytest.raises(ValueError, match="affine that cannot be inverted"):
            read_atlas(img)


@pytest.mark.parametrize("positions", [np.zeros(3), np.zeros((4, 2)), [[0, np.nan, 0]]])
def test_bad_positions(positions):
    """Three finite columns."""
    with pytest.raises(ValueError, match=r"positions must be finite numbers of shape"):
        weights_at(image(labels()), positions)


def test_parcels_that_hold_nothing():
    """All of them, or some, which are named."""
    img = read_atlas(image(labels()))
    with pytest.raises(ValueError, match="no voxel lies in any of the 3 parcels of the atlas"):
        parcels_at(img, [[500.0, 0, 0]], what="voxel")
    with pytest.raises(ValueError, match="no source lies in any"):
        parcels_at(img, np.zeros((0, 3)))
    places = np.array([[1, 1, 1], [0, 0, 0]])
    with pytest.raises(ValueError, match="2 parcels of 3 hold no source: parcel_0, parcel_2;"):
        parcels_at(img, places @ AFFINE[:3, :3].T + AFFINE[:3, 3])
