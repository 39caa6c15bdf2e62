"""Sources in a volume, and the parcels of an image in MNI space."""

import mne
import nibabel
import numpy as np
import pytest
from mne.transforms import apply_trans
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import map_coordinates

from mne_hmm.io.parcellation.atlas import find_parcels

SUBJECT = "sub-01"
FREESURFER_XFM = """MNI Transform File
% made for a test

Transform_Type = Linear;
Linear_Transform =
{};
"""


def volume_stc(src, subject=None, every=1, cls=mne.VolSourceEstimate):
    """A source estimate of some sources of a volume source space."""
    vertices = [space["vertno"][::every] for space in src]
    shape = (sum(map(len, vertices)), 3) if cls is mne.VolVectorSourceEstimate else None
    shape = (*shape, 1) if shape else (sum(map(len, vertices)), 1)
    return cls(np.zeros(shape), vertices, 0.0, 1.0, subject=subject)


@pytest.fixture(autouse=True)
def no_subjects_dir(monkeypatch, tmp_path):
    """Leave aside whatever subjects there are on this machine."""
    monkeypatch.delenv("SUBJECTS_DIR", raising=False)
    monkeypatch.setenv("_MNE_FAKE_HOME_DIR", str(tmp_path))


@pytest.fixture(scope="module")
def template_src(test_data):
    """Volume source space of fsaverage, 7 mm."""
    fname = test_data / "source" / "fsaverage-vol7-nointerp-src.fif.gz"
    return mne.read_source_spaces(fname, verbose="ERROR")


@pytest.fixture(scope="module")
def giles(test_data):
    """The atlas of 38 parcels that overlap."""
    return test_data / "parcellation" / "atlas-Giles_nparc-38_space-MNI_res-8x8x8.nii.gz"


def grid_src(subject=SUBJECT):
    """A small volume source space without a subject's files: a grid of 10 mm in a sphere."""
    sphere = mne.make_sphere_model((0.0, 0.0, 0.0), 0.06, verbose="ERROR")
    src = mne.setup_volume_source_space(None, pos=10.0, sphere=sphere, verbose="ERROR")
    src[0]["subject_his_id"] = subject
    return src


def halves(affine=None):
    """An atlas of eight parcels, the octants around the origin, with 2 mm voxels."""
    if affine is None:
        affine = np.diag([2.0, 2.0, 2.0, 1.0])
        affine[:3, 3] = -99.0
    data = np.zeros((100, 100, 100), np.uint8)
    side = np.arange(100) >= 50
    data += side[:, None, None] * np.uint8(1)
    data += side[None, :, None] * np.uint8(2)
    data += side[None, None, :] * np.uint8(4)
    return nibabel.Nifti1Image(data + np.uint8(1), affine)


def octants(positions):
    """Number of the octant in which positions lie."""
    return (np.asarray(positions) > 0) @ [1, 2, 4]


def write_subject(folder, matrix, mri_ras):
    """Write what MNE needs to bring a subject to MNI space."""
    transforms = folder / SUBJECT / "mri" / "transforms"
    transforms.mkdir(parents=True)
    rows = "\n".join(" ".join(map(str, row)) for row in matrix[:3])
    (transforms / "talairach.xfm").write_text(FREESURFER_XFM.format(rows))
    affine = np.array([[-1.0, 0, 0, 128], [0, 0, 1, -128], [0, -1, 0, 128], [0, 0, 0, 1]])
    affine[:3, 3] += mri_ras
    orig = nibabel.MGHImage(np.zeros((256, 256, 256), np.uint8), affine)
    nibabel.save(orig, folder / SUBJECT / "mri" / "orig.mgz")


def test_giles_parcels(template_src, giles):
    """The weights are those of the nearest voxels, and every parcel holds many sources."""
    stc = volume_stc(template_src, "fsaverage")
    parcels = find_parcels(stc, giles, src=template_src)
    assert parcels.names == tuple(f"parcel_{i_parcel:02d}" for i_parcel in range(38))
    assert parcels.flips is None
    weights = parcels.weights.toarray()
    assert weights.shape == (6379, 38)
    img = nibabel.load(giles)
    positions = 1000 * template_src[0]["rr"][template_src[0]["vertno"]]
    # One source in six lies in the middle between voxels, but for the noise of its position.
    place = np.round(apply_trans(np.linalg.inv(img.affine), positions), 4).T
    for i_parcel in range(38):
        parcel_map = map_coordinates(
            img.get_fdata()[..., i_parcel], place, order=0, mode="grid-constant"
        )
        assert_allclose(weights[:, i_parcel], parcel_map / parcel_map.max(), rtol=1e-12, atol=0)
    assert_array_equal(weights.max(axis=0), 1)
    assert np.count_nonzero(weights, axis=0).min() >= 70
    # Parcels of the left and of the right have their weight there.
    centers = (weights / weights.sum(axis=0)).T @ positions
    volume = np.moveaxis(img.get_fdata(), 3, 0).reshape(38, -1)
    voxels = apply_trans(img.affine, np.argwhere(np.ones(img.shape[:3])))
    true_centers = (volume @ voxels) / volume.sum(axis=1, keepdims=True)
    assert np.linalg.norm(centers - true_centers, axis=1).max() < 8  # a voxel


def test_all_atlases_have_sources(test_data, template_src):
    """Each of twelve atlases finds sources for all of its parcels."""
    stc = volume_stc(template_src, "fsaverage")
    fnames = sorted((test_data / "parcellation").glob("atlas-*.nii.gz"))
    assert len(fnames) == 12
    for fname in fnames:
        parcels = find_parcels(stc, fname, src=template_src)
        n_parcels = int(fname.name.split("nparc-")[1].split("_")[0])
        assert len(parcels.names) == parcels.weights.shape[1] == n_parcels
        assert_array_equal(parcels.weights.max(axis=0).toarray(), 1)


def test_forward_solutions_keep_the_grid(test_data, template_src, giles):
    """In head coordinates, with fewer sources: rows are those of the source space itself."""
    places = {"Fz": [0, 0.08, 0.08], "Cz": [0, 0, 0.12], "Oz": [0, -0.09, 0.05]}
    info = mne.create_info(list(places), 100.0, "eeg")
    info.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"))
    trans = test_data / "source" / "fsaverage-trans.fif"
    sphere = mne.make_sphere_model((0.0013, 0.0007, 0.0461), 0.108, verbose="ERROR")
    forward = mne.make_forward_solution(info, trans, template_src, sphere, verbose="ERROR")
    src = forward["src"]
    assert src[0]["coord_frame"] != template_src[0]["coord_frame"]
    stc = volume_stc(src, "fsaverage")
    assert len(stc.data) == 5060
    in_mri = find_parcels(stc, giles, src=template_src).weights.toarray()
    assert_array_equal(find_parcels(stc, giles, src=src).weights.toarray(), in_mri)
    assert_array_equal(find_parcels(stc, giles, src=forward).weights.toarray(), in_mri)
    whole = find_parcels(volume_stc(template_src), giles, src=template_src).weights.toarray()
    kept = np.isin(template_src[0]["vertno"], src[0]["vertno"])
    assert_allclose(in_mri * whole[kept].max(axis=0), whole[kept], rtol=1e-12, atol=0)
    # A grid that is not known leaves no way back.
    for space in src:
        del space["src_mri_t"]
    with pytest.raises(ValueError, match="src is in head coordinates and holds no grid"):
        find_parcels(stc, giles, src=src)


def test_source_space_from_a_file(tmp_path, template_src, giles):
    """A path is read."""
    stc = volume_stc(template_src)
    fname = tmp_path / "template-src.fif"
    template_src.save(fname, verbose="ERROR")
    weights = find_parcels(stc, giles, src=fname).weights.toarray()
    assert_array_equal(weights, find_parcels(stc, giles, src=template_src).weights.toarray())
    with pytest.raises(FileNotFoundError, match=r"src='.*none-src.fif': there is no such file"):
        find_parcels(stc, giles, src=str(tmp_path / "none-src.fif"))


def test_to_mni_by_the_transform_of_the_subject(tmp_path):
    """Turned, scaled and moved: octants are those of the positions in MNI space."""
    matrix = np.array([[0, 1.1, 0, 4.5], [-0.9, 0, 0.1, -7], [0, 0.05, 1.2, 12], [0, 0, 0, 1]])
    mri_ras = np.array([3.0, -2.0, 6.0])
    write_subject(tmp_path, matrix, mri_ras)
    src = grid_src()
    positions = 1000 * src[0]["rr"][src[0]["vertno"]]
    expected = octants(apply_trans(matrix, positions + mri_ras))
    for cls in (mne.VolSourceEstimate, mne.VolVectorSourceEstimate):
        parcels = find_parcels(volume_stc(src, cls=cls), halves(), src=src, subjects_dir=tmp_path)
        assert_array_equal(parcels.weights.toarray(), np.eye(8)[expected])
    assert np.any(expected != octants(positions))


def test_the_file_of_fsaverage_goes_first(tmp_path):
    """Its transform is taken where it is there; else its space is MNI space."""
    src = grid_src("fsaverage")
    positions = 1000 * src[0]["rr"][src[0]["vertno"]] + 1e-3
    src[0]["rr"] += 1e-6  # no source between octants
    stc = volume_stc(src)
    bare = find_parcels(stc, halves(), src=src).weights.toarray()
    assert_array_equal(bare, np.eye(8)[octants(positions)])
    empty = find_parcels(stc, halves(), src=src, subjects_dir=tmp_path).weights.toarray()
    assert_array_equal(empty, bare)
    turn = np.diag([-1.0, 1, 1, 1])
    write_subject(tmp_path, turn, np.zeros(3))
    (tmp_path / SUBJECT).rename(tmp_path / "fsaverage")
    turned = find_parcels(stc, halves(), src=src, subjects_dir=tmp_path).weights.toarray()
    assert_array_equal(turned, np.eye(8)[octants(positions * [-1, 1, 1])])


def test_several_volumes():
    """Source spaces of several structures follow each other, as in stc.data."""
    src = grid_src("fsaverage")
    src[0]["rr"] += 1e-6
    first, second = src[0].copy(), src[0].copy()
    first["vertno"], second["vertno"] = src[0]["vertno"][200:], src[0]["vertno"][:200]
    both = mne.SourceSpaces([first, second])
    parcels = find_parcels(volume_stc(both), halves(), src=both)
    positions = src[0]["rr"][np.r_[first["vertno"], second["vertno"]]]
    assert_array_equal(parcels.weights.toarray(), np.eye(8)[octants(positions)])


def test_places_that_cannot_be_known(tmp_path):
    """No source space, no subject, no transform, or a broken one."""
    src = grid_src()
    stc = volume_stc(src)
    with pytest.raises(ValueError, match="src is needed for sources in a volume"):
        find_parcels(stc, halves())
    with pytest.raises(ValueError, match=r"'sub-01' cannot .* MNI space: subjects_dir is not set"):
        find_parcels(stc, halves(), src=src)
    with pytest.raises(ValueError, match=r"there is no file .*sub-01.*talairach.xfm; pass the"):
        find_parcels(stc, halves(), src=src, subjects_dir=tmp_path)
    write_subject(tmp_path, np.eye(4), np.zeros(3))
    (tmp_path / SUBJECT / "mri" / "orig.mgz").unlink()
    with pytest.raises(ValueError, match=r"talairach.xfm cannot be used .*orig.mgz or mri/T1.mgz"):
        find_parcels(stc, halves(), src=src, subjects_dir=tmp_path)
    (tmp_path / SUBJECT / "mri" / "transforms" / "talairach.xfm").write_text("cut")
    with pytest.raises(ValueError, match=r"talairach.xfm cannot be used"):
        find_parcels(stc, halves(), src=src, subjects_dir=tmp_path)
    nobody = grid_src(None)
    with pytest.raises(ValueError, match="the subject of src is not known"):
        find_parcels(volume_stc(nobody), halves(), src=nobody, subjects_dir=tmp_path)


def test_wrong_affine(template_src, giles):
    """An atlas that lies elsewhere holds no sources, in all or in some of its parcels."""
    stc = volume_stc(template_src)
    img = nibabel.load(giles)
    away = img.affine.copy()
    away[:3, 3] += 1000
    wrong = nibabel.Nifti1Image(img.get_fdata(dtype=np.float32), away)
    with pytest.raises(ValueError, match=r"no source lies in any of the 38 parcels .* same space"):
        find_parcels(stc, wrong, src=template_src)
    away = img.affine.copy()
    away[:3, 3] += [0, 60, 0]
    wrong = nibabel.Nifti1Image(img.get_fdata(dtype=np.float32), away)
    with pytest.raises(ValueError, match=r"parcels of 38 hold no source: parcel_\d\d, .* more; ch"):
        find_parcels(stc, wrong, src=template_src)


def test_what_does_not_belong_together():
    """Source spaces of another kind, grid, number or subject; labels."""
    src = grid_src("fsaverage")
    stc = volume_stc(src)
    with pytest.raises(TypeError, match=r"src must be a source space, .* got list"):
        find_parcels(stc, halves(), src=[1])
    with pytest.raises(TypeError, match=r"src must be a source space, .* got NoneType"):
        find_parcels(stc, halves(), src={"sol": 1})
    with pytest.raises(ValueError, match="in a volume, src has discrete, discrete; pass"):
        find_parcels(stc, halves(), src=src + src)
    surface = src.copy()
    surface[0]["type"] = "surf"
    with pytest.raises(ValueError, match="in a volume, src has surf; pass the source space"):
        find_parcels(stc, halves(), src=surface)
    fewer = src.copy()
    fewer[0]["vertno"] = src[0]["vertno"][5:]
    with pytest.raises(ValueError, match=r"5 of \d+ sources of stc.vertices\[0\] are not in src"):
        find_parcels(stc, halves(), src=fewer)
    with pytest.raises(ValueError, match="stc is of subject 'sub-02', but src of 'fsaverage'"):
        find_parcels(volume_stc(src, "sub-02"), halves(), src=src)
    for atlas in ("aparc", [mne.Label([1], hemi="lh", subject="fsaverage")]):
        with pytest.raises(TypeError, match="labels and names of parcellations need sources on"):
            find_parcels(stc, atlas, src=src)
    with pytest.raises(FileNotFoundError, match=r"atlas='none.nii.gz': there is no such file"):
        find_parcels(stc, "none.nii.gz", src=src)
