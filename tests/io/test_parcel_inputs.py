"""Source estimates and brain images as inputs: they become parcels on the way."""

import mne
import nibabel
import numpy as np
import pytest
from mne.minimum_norm import apply_inverse_raw, make_inverse_operator
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm.io.parcel_inputs import AtlasArguments, with_parcels

QUICK = {"n_init": 1, "refine": False, "random_state": 0}
# Ten parcels, eight of eight voxels each and two of four, on a grid of 2 mm.
LABELS = np.repeat(np.arange(9), 8).reshape(6, 4, 3).astype(np.int16)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


@pytest.fixture
def atlas():
    return nibabel.Nifti1Image(LABELS, AFFINE)


@pytest.fixture
def scan():
    """Brain images in which the parcels' variances change together."""
    rng = np.random.default_rng(0)
    on = np.repeat(rng.integers(0, 2, 30), 10)
    values = rng.standard_normal((*LABELS.shape, 300)) * np.where(on, 3.0, 1.0)
    img = nibabel.Nifti1Image(values.astype(np.float32), AFFINE)
    img.header.set_zooms((2.0, 2.0, 2.0, 0.8))
    img.header.set_xyzt_units("mm", "sec")
    return img


def test_images_go_all_the_way(scan, atlas, tmp_path):
    """From an image, in memory or in a file, to states on the grid of its volumes."""
    settings = {"preparation": mne_hmm.Preparation.standardized(), **QUICK}
    hmm = mne_hmm.fit_hmm(scan, 2, atlas=atlas, **settings)
    raw = mne_hmm.parcellate_nifti(scan, atlas)
    assert_array_equal(mne_hmm.fit_hmm(raw, 2, **settings).covariances_, hmm.covariances_)
    states = hmm.predict(scan)
    assert_allclose(states.times, np.arange(300) * 0.8, rtol=1e-6)
    for run in (10, 9):
        nibabel.save(scan, tmp_path / f"run-{run}.nii.gz")
    nibabel.save(atlas, tmp_path / "atlas.nii")
    from_files = hmm.predict(str(tmp_path / "run-*.nii.gz"))
    assert len(from_files) == 2
    for course in from_files:
        assert_allclose(course.probabilities, states.probabilities, rtol=0, atol=1e-5)
    prepared = mne_hmm.prepare(
        str(tmp_path / "run-*.nii.gz"), settings["preparation"], atlas=tmp_path / "atlas.nii"
    )
    assert len(prepared) == 2


def test_models_of_folds_know_the_atlas(scan, atlas):
    """Those of cross_validate take brain images, too."""
    settings = {"preparation": mne_hmm.Preparation.standardized(), **QUICK}
    validation = mne_hmm.cross_validate(scan, 2, n_folds=2, atlas=atlas, **settings)
    parcels = mne_hmm.parcellate_nifti(scan, atlas)
    for hmm in validation.hmms:
        assert_array_equal(hmm.predict(scan).labels, hmm.predict(parcels).labels)


def test_side_by_side(scan, atlas, tmp_path):
    """With jobs each recording of a list gets its own parcels."""
    nibabel.save(scan, tmp_path / "run.nii")
    scans = [
        nibabel.Nifti1Image(factor * scan.get_fdata(), AFFINE, scan.header) for factor in (1, 2)
    ]
    entries = [*scans, tmp_path / "run.nii"]
    alone = with_parcels(entries, AtlasArguments(atlas))
    together = with_parcels(entries, AtlasArguments(atlas), n_jobs=2)
    assert len(together) == 3
    for a, b in zip(alone, together, strict=True):
        # Only rounding differs: other processes have other numbers of threads.
        assert_allclose(b.get_data(), a.get_data(), rtol=1e-10)
        assert a.info["sfreq"] == b.info["sfreq"]
    assert not np.allclose(alone[0].get_data(), alone[1].get_data())


def test_pieces_stay_in_this_process(test_data):
    """An iterator cannot be sent to another process, whatever the number of jobs."""
    subjects_dir = test_data / "subjects"
    labels = mne.read_labels_from_annot("fsaverage5", "aparc", subjects_dir=subjects_dir)[:2]
    vertices = [labels[0].vertices[:20], labels[1].vertices[:20]]
    data = np.random.default_rng(0).standard_normal((40, 50))

    def pieces():
        for start in (0, 25):
            part = data[:, start : start + 25]
            yield mne.SourceEstimate(part, vertices, start / 100, 0.01, subject="fsaverage5")

    arguments = AtlasArguments(labels, None, subjects_dir)
    both = with_parcels([pieces(), pieces()], arguments, n_jobs=2)
    assert_array_equal(both[1].get_data(), with_parcels(pieces(), arguments).get_data())


def test_what_needs_no_atlas_stays_as_it_is(simulated):
    raw, _ = simulated
    entries = [raw, raw]
    assert with_parcels(entries, AtlasArguments()) is entries
    assert with_parcels(raw, AtlasArguments("aparc"), remembered=True) is raw


def test_an_atlas_for_nothing(simulated):
    with pytest.raises(ValueError, match=r"atlas is for source estimates .*1 recording.*leave it"):
        mne_hmm.fit_hmm(simulated[0], 2, atlas="aparc")
    with pytest.raises(ValueError, match="subjects_dir is for source estimates"):
        mne_hmm.prepare(simulated[0], subjects_dir="subjects")


def test_no_atlas(scan, fitted, tmp_path):
    with pytest.raises(ValueError, match=r"a brain image, which needs an atlas; pass atlas="):
        mne_hmm.fit_hmm(scan, 2)
    nibabel.save(scan, tmp_path / "run.nii")
    with pytest.raises(ValueError, match=r"a brain image \(run.nii\), which needs an atlas"):
        mne_hmm.prepare(tmp_path / "run.nii")
    stc = mne.SourceEstimate(np.zeros((2, 10)), [[0], [1]], 0.0, 0.01)
    with pytest.raises(ValueError, match=r"a source estimate.*this model does not know one"):
        fitted.predict(stc)


def test_prepared_data_take_no_atlas(fitted, simulated):
    prepared = mne_hmm.prepare(simulated[0], fitted.preparation_)
    with pytest.raises(ValueError, match="atlas cannot be given with PreparedData"):
        mne_hmm.fit_hmm(prepared, 2, atlas="aparc")


def test_a_damaged_source_estimate(tmp_path):
    path = tmp_path / "broken-lh.stc"
    path.write_bytes(b"1234")
    with pytest.raises(OSError, match=r"broken-lh.stc cannot be read as a source estimate"):
        mne_hmm.fit_hmm(path, 2, atlas="aparc")


# Real EEG

# What MNE-Python 1.13 calls it otherwise older versions do not know.
OLD_NAME = pytest.mark.filterwarnings("ignore:Montage name:FutureWarning")
# These files end in zeros, and two parcellations may differ in signs.
PADDING = pytest.mark.filterwarnings("ignore:.*(without any signal|signs of):RuntimeWarning")


@pytest.fixture(scope="module")
def inverse_of(test_data, eegbci):
    """Make minimum-norm source estimates of runs of the first person."""

    def read(run):
        (raw,) = eegbci(run, preload=True)
        mne.datasets.eegbci.standardize(raw)
        raw.set_montage("standard_1005")
        return raw.set_eeg_reference(projection=True)

    def estimate(src, runs, **kwargs):
        raws = [read(run) for run in runs]
        sphere = mne.make_sphere_model(
            r0=(0.0013, 0.0007, 0.0461), head_radius=0.108, info=raws[0].info
        )
        trans = test_data / "source" / "fsaverage-trans.fif"
        forward = mne.make_forward_solution(raws[0].info, trans, src, sphere, meg=False)
        inverse = make_inverse_operator(
            raws[0].info, forward, mne.make_ad_hoc_cov(raws[0].info), depth=None, **kwargs
        )
        ori = None if "loose" in kwargs else "normal"
        stcs = [apply_inverse_raw(raw, inverse, 1 / 9, "MNE", pick_ori=ori) for raw in raws]
        return stcs, inverse["src"]

    return estimate


def occupancies(states):
    return np.array([course.statistics().fractional_occupancy for course in states])


@pytest.mark.slow
@OLD_NAME
@PADDING
# The eyes are closed in one of three recordings, and what they do is told.
@pytest.mark.filterwarnings("ignore:States may be recordings")
def test_surface(inverse_of, test_data):
    """The eyes-closed states of one person, on the cortex, are shared by no open run."""
    src = mne.read_source_spaces(
        test_data / "subjects" / "fsaverage5" / "bem" / "fsaverage5-oct4-src.fif"
    )
    stcs, src = inverse_of(src, (1, 2, 3))
    assert stcs[0].data.shape == (489, 9760)
    raws = [
        mne_hmm.parcellate(
            stc,
            "aparc",
            src=src,
            subjects_dir=test_data / "subjects",
            method="mean_flip",
            orthogonalize="none",
        )
        for stc in stcs
    ]
    assert len(raws[0].ch_names) == 68
    hmm = mne_hmm.fit_hmm(raws, 4, **QUICK)
    states = hmm.predict(raws)
    assert_allclose(states[0].times, stcs[0].times, rtol=0, atol=1e-9)
    opened, closed, task = occupancies(states)
    assert (closed > 2 * np.maximum(opened, task)).any()
    # The open runs share a state: what tells states apart is not the recording.
    assert (np.minimum(opened, task) > 0.1).any()


@OLD_NAME
@PADDING
@pytest.mark.slow
def test_volume(inverse_of, test_data):
    """The same in a volume, in one call, with the signs of parcels aligned or not."""
    src = mne.read_source_spaces(test_data / "source" / "fsaverage-vol7-nointerp-src.fif.gz")
    stcs, src = inverse_of(src, (1, 2), loose=1.0)
    atlas = test_data / "parcellation" / "atlas-Giles_nparc-38_space-MNI_res-8x8x8.nii.gz"
    where = {"src": src, "subjects_dir": test_data / "subjects"}
    hmm = mne_hmm.fit_hmm(stcs, 6, atlas=atlas, **where, **QUICK)
    states = hmm.predict(stcs)
    assert_allclose(states[0].times, stcs[0].times, rtol=0, atol=1e-9)
    opened, closed = occupancies(states)
    assert (closed > 2 * opened).any()
    raws = [mne_hmm.parcellate(stc, atlas, **where) for stc in stcs]
    assert_array_equal(hmm.predict(raws)[0].labels, states[0].labels)
