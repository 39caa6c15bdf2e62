"""Sources on a surface, and the parcels of labels."""

import shutil

import mne
import nibabel
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mne_hmm.io.parcellation.atlas import find_parcels

SUBJECT = "fsaverage5"


@pytest.fixture(scope="module")
def subjects_dir(test_data):
    """Folder of the subject fsaverage5."""
    return test_data / "subjects"


@pytest.fixture(scope="module")
def src(subjects_dir):
    """Its source space of 642 sources in each hemisphere."""
    fname = subjects_dir / SUBJECT / "bem" / "fsaverage5-ico3-src.fif"
    return mne.read_source_spaces(fname, verbose="ERROR")


@pytest.fixture(scope="module")
def labels(subjects_dir):
    """Its labels of 68 gyri."""
    return mne.read_labels_from_annot(SUBJECT, subjects_dir=subjects_dir, verbose="ERROR")


def surface_stc(src, every=1, cls=mne.SourceEstimate, subject=SUBJECT):
    """Noise for some sources of a surface source space."""
    vertices = [space["vertno"][::every] for space in src]
    n_sources = sum(map(len, vertices))
    shape = (n_sources, 3, 20) if cls is mne.VectorSourceEstimate else (n_sources, 20)
    data = np.random.default_rng(7).standard_normal(shape)
    return cls(data, vertices, 0.0, 0.01, subject=subject)


@pytest.mark.parametrize("every", [1, 2])
def test_as_mne_extracts_labels(src, labels, every):
    """The means of labels, plain and with flips, are MNE's, with all sources or with some."""
    stc = surface_stc(src, every)
    # Labels of both hemispheres, too, though their flips are one.
    labels = [*labels, labels[0] + labels[5]]
    labels = [label for label in labels if _n_sources(label, stc)]
    parcels = find_parcels(stc, labels, src=src)
    counts = parcels.weights.sum(axis=0)
    assert_array_equal(parcels.flips.indices, parcels.weights.indices)
    assert_array_equal(np.unique(parcels.flips.data), [-1, 1])
    for mode, mixed in (("mean", parcels.weights), ("mean_flip", parcels.flips)):
        expected = mne.extract_label_time_course(stc, labels, src, mode=mode, verbose="ERROR")
        assert_allclose((mixed.T @ stc.data) / counts[:, None], expected, rtol=0, atol=1e-12)


def _n_sources(label, stc):
    parts = [label.lh, label.rh] if label.hemi == "both" else [label]
    return sum(np.isin(stc.vertices[part.hemi == "rh"], part.vertices).sum() for part in parts)


def test_parcellation_by_name(subjects_dir, src, labels):
    """Names are those of the labels, and parcels lie where their names say."""
    parcels = find_parcels(surface_stc(src), "aparc", subjects_dir=subjects_dir)
    assert parcels.names == tuple(label.name for label in labels)
    assert len(parcels.names) == 68
    assert parcels.flips is None
    assert_array_equal(np.unique(parcels.weights.data), 1)
    assert parcels.weights.sum(axis=1).max() == 1  # no source is in two gyri
    positions = 1000 * np.concatenate([space["rr"][space["vertno"]] for space in src])
    centers = (parcels.weights.T @ positions) / parcels.weights.sum(axis=0)[:, None]
    center = dict(zip(parcels.names, centers, strict=True))
    for side, hemi in ((-1, "lh"), (1, "rh")):
        auditory = center[f"transversetemporal-{hemi}"]
        assert side * auditory[0] > 35  # lateral
        assert abs(auditory[1] + 20) < 15
        assert center[f"lateraloccipital-{hemi}"][1] < -70
        assert center[f"frontalpole-{hemi}"][1] > 50
        assert center[f"precentral-{hemi}"][1] > center[f"postcentral-{hemi}"][1]


def test_vector_estimates_and_the_subject_of_the_source_space(subjects_dir, src):
    """Vectors have the same sources; without a subject in stc, that of src counts."""
    plain = find_parcels(surface_stc(src), "aparc", src=src, subjects_dir=subjects_dir)
    vectors = surface_stc(src, cls=mne.VectorSourceEstimate, subject=None)
    other = find_parcels(vectors, "aparc", src=src, subjects_dir=subjects_dir)
    assert_array_equal(other.weights.toarray(), plain.weights.toarray())
    assert_array_equal(other.flips.toarray(), plain.flips.toarray())


def test_real_estimate_without_subject(test_data, src, labels):
    """A file of MNE does not say whose it is; labels are taken as they are."""
    fname = test_data / "source" / "fsaverage_audvis_trunc-meg"
    stc = mne.read_source_estimate(fname)
    assert stc.subject is None
    parcels = find_parcels(stc, labels)
    assert_array_equal(stc.vertices[0], src[0]["vertno"])
    assert_array_equal(
        parcels.weights.toarray(), find_parcels(stc, labels, src=src).weights.toarray()
    )
    # The sound was heard: some time after it, auditory cortex is above the mean of all parcels.
    means = (parcels.weights.T @ stc.data) / parcels.weights.sum(axis=0)[:, None]
    strength = np.abs(means).max(axis=1) / np.abs(means).max(axis=1).mean()
    assert strength[parcels.names.index("transversetemporal-lh")] > 1.5


def test_what_is_no_cortex_is_left_out(tmp_path, src, labels):
    """Only where a parcellation is read by its name."""
    folder = tmp_path / SUBJECT
    (folder / "label").mkdir(parents=True)
    (folder / "surf").mkdir()
    subset = [label for label in labels if "cuneus" in label.name]
    n_vertices = len(src[0]["rr"])
    for hemi in ("lh", "rh"):
        inside = [label for label in subset if label.hemi == hemi]
        label_ids = np.zeros(n_vertices, int)
        names = ["unknown", "Medial_wall", "corpuscallosum"]
        label_ids[:300], label_ids[300:500] = 1, 2
        for label in inside:
            label_ids[label.vertices] = len(names)
            names.append(label.name[:-3])
        table = np.array([[9 * i, 40, 200 - 5 * i, 0, 0] for i in range(len(names))])
        nibabel.freesurfer.write_annot(
            folder / "label" / f"{hemi}.few.annot", label_ids, table, names, fill_ctab=True
        )
        nibabel.freesurfer.write_geometry(
            folder / "surf" / f"{hemi}.white", 1000 * src[hemi == "rh"]["rr"], np.array([[0, 1, 2]])
        )
    everything = mne.read_labels_from_annot(SUBJECT, "few", subjects_dir=tmp_path)
    assert {label.name for label in everything} >= {"unknown-lh", "Medial_wall-rh"}
    stc = surface_stc(src)
    parcels = find_parcels(stc, "few", subjects_dir=tmp_path)
    assert parcels.names == tuple(label.name for label in subset)
    assert len(find_parcels(stc, everything).names) == len(everything)


def test_labels_without_sources(src, labels):
    """They are named."""
    small = [mne.Label([v], hemi="rh", name=f"small_{v}-rh", subject=SUBJECT) for v in (700, 800)]
    assert not np.isin([700, 800], src[1]["vertno"]).any()
    complaint = "2 empty labels of 5 that hold no source: small_700-rh, small_800-rh; leave them"
    with pytest.raises(ValueError, match=complaint):
        find_parcels(surface_stc(src), [*labels[:3], *small], src=src)


def test_whose_labels(subjects_dir, src, labels):
    """Subjects of sources, source space and labels are one."""
    stc = surface_stc(src, subject="sample")
    with pytest.raises(ValueError, match=r"'bankssts-lh' .* of subject 'fsaverage5', but the"):
        find_parcels(stc, labels)
    with pytest.raises(ValueError, match="stc is of subject 'sample', but src of 'fsaverage5'"):
        find_parcels(stc, labels, src=src)
    others = [mne.Label([0], hemi="lh", name="one-lh", subject="sample")]
    with pytest.raises(ValueError, match="subject 'sample', but the sources are of 'fsaverage5'"):
        find_parcels(surface_stc(src, subject=None), others, src=src)
    with pytest.raises(ValueError, match="the subject is not known, so atlas='aparc' cannot be"):
        find_parcels(surface_stc(src, subject=None), "aparc", subjects_dir=subjects_dir)


def test_source_space_of_other_sources(subjects_dir, src, labels):
    """Another spacing, or a volume."""
    fname = subjects_dir / SUBJECT / "bem" / "fsaverage5-oct4-src.fif"
    stc = surface_stc(src)
    with pytest.raises(ValueError, match=r"of 642 sources of stc.vertices\[0\] are not in src"):
        find_parcels(stc, labels, src=fname)
    with pytest.raises(ValueError, match="stc has 2 sets of sources on a surface, src has surf;"):
        find_parcels(stc, labels, src=src[:1])


def test_parcellations_that_are_not_there(tmp_path, monkeypatch, subjects_dir, src):
    """The error lists those that are."""
    stc = surface_stc(src)
    complaint = r"atlas='HCPMMP1': there is no file .*lh.HCPMMP1.annot; .*'fsaverage5' are aparc;"
    with pytest.raises(FileNotFoundError, match=complaint):
        find_parcels(stc, "HCPMMP1", subjects_dir=subjects_dir)
    with pytest.raises(FileNotFoundError, match="parcellations of subject 'fsaverage5' are none"):
        find_parcels(stc, "aparc", subjects_dir=tmp_path)
    (tmp_path / SUBJECT / "label").mkdir(parents=True)
    shutil.copy(subjects_dir / SUBJECT / "label" / "lh.aparc.annot", tmp_path / SUBJECT / "label")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*rh.aparc.annot"):
        find_parcels(stc, "aparc", subjects_dir=tmp_path)
    monkeypatch.delenv("SUBJECTS_DIR", raising=False)
    monkeypatch.setenv("_MNE_FAKE_HOME_DIR", str(tmp_path))
    with pytest.raises(ValueError, match="subjects_dir is needed"):
        find_parcels(stc, "aparc")


def make_stc(vertices=((0, 2), (1,))):
    """A source estimate of three sources."""
    return mne.SourceEstimate(np.zeros((3, 2)), [np.array(v) for v in vertices], 0.0, 0.1)


def test_labels_by_hand():
    """Rows are left sources, then right ones; a source may be in several labels, or in none."""
    left = mne.Label([0, 1, 2], hemi="lh", name="left")
    both = mne.Label([2], hemi="lh", name="both") + mne.Label([1, 5], hemi="rh", name="both")
    parcels = find_parcels(make_stc(), [both, left])
    assert parcels.names == (both.name, "left")
    assert_array_equal(parcels.weights.toarray(), [[0, 1], [1, 1], [1, 0]])


@pytest.mark.parametrize(
    ("atlas", "error", "complaint"),
    [
        ([], ValueError, "atlas must hold at least one label"),
        (["aparc"], TypeError, "atlas must be a list of labels, got one with 'aparc'"),
        ([mne.Label([0], hemi="lh", name="a")] * 2, ValueError, "names .* differ, .* has a rep"),
        (mne.Label([0], hemi="lh", name="a"), TypeError, "must be a list of labels or the name"),
        ("giles.nii.gz", TypeError, "got 'giles.nii.gz'; images need sources in a volume"),
        (None, TypeError, "got NoneType"),
    ],
)
def test_bad_atlases(atlas, error, complaint):
    """What is no list of labels."""
    with pytest.raises(error, match=complaint):
        find_parcels(make_stc(), atlas)


def test_what_is_no_source_estimate():
    """Arrays and mixed estimates."""
    mixed = mne.MixedSourceEstimate(np.zeros((3, 2)), [np.array([i]) for i in range(3)], 0, 1)
    for wrong in (mixed, np.zeros((3, 2))):
        with pytest.raises(TypeError, match="stc must be a source estimate on a surface or in a"):
            find_parcels(wrong, "aparc")
