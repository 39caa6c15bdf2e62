"""Folders and patterns stand for files of one kind, each one recording."""

import re
import shutil
from functools import partial

import helpers
import mne
import numpy as np
import pytest
from helpers import raises
from numpy.testing import assert_array_equal

from mne_hmm import Preparation, StateTimeCourse, fit_hmm, prepare
from mne_hmm.io.file_search import expanded, stands_for_several
from mne_hmm.io.inputs import to_recordings

SFREQ = 100.0
TWENTY = [f"c{i}" for i in range(20)]
make_raw = partial(helpers.make_raw, n_times=600, ch_names="abc", sfreq=SFREQ)
AS_IS = Preparation.as_is()
X = np.random.default_rng(0).standard_normal((3, 600))
X[:, 300:] *= 3  # two states that training finds at once


def names(entry):
    """Names of the files that an entry stands for."""
    return [path.name for path in expanded(entry)]


def touch(folder, *fnames):
    """Make empty files."""
    for fname in fnames:
        (folder / fname).parent.mkdir(parents=True, exist_ok=True)
        (folder / fname).touch()


def refuse(error, parts, inst, **kwargs):
    """Expect an error whose message has all parts, in this order."""
    with raises(error, parts):
        to_recordings(inst, **kwargs)


# What is found


@pytest.mark.parametrize("as_type", [str, lambda path: path])
def test_natural_order(tmp_path, as_type):
    touch(tmp_path, *(f"sub-{i}_run{j}.npy" for i in (10, 9, 100, 1) for j in (11, 2)))
    expected = [f"sub-{i}_run{j}.npy" for i in (1, 9, 10, 100) for j in (2, 11)]
    assert names(as_type(tmp_path)) == expected
    assert names(as_type(tmp_path / "*.npy")) == expected
    assert names(as_type(tmp_path / "sub-1*_run2.npy")) == [expected[i] for i in (0, 4, 6)]


def test_folders_below(tmp_path):
    touch(tmp_path, "sub-10/a.npy", "sub-2/b.npy", "sub-2/a.npy", "c.npy", "x")
    assert names(tmp_path) == ["c.npy"]
    paths = expanded(f"{tmp_path}/**/*.npy")
    expected = ["c.npy", "sub-2/a.npy", "sub-2/b.npy", "sub-10/a.npy"]
    assert sorted(path.relative_to(tmp_path).as_posix() for path in paths) == sorted(expected)
    in_folders = expanded(str(tmp_path / "sub-*" / "*.npy"))
    assert [path.relative_to(tmp_path).as_posix() for path in in_folders] == expected[1:]


def test_hidden_and_other_files_are_passed_over(tmp_path):
    touch(tmp_path, "1.npy", "._1.npy", ".DS_Store", "notes.md", "dataset.json", "sub.npz/x")
    assert names(tmp_path) == ["1.npy"]
    assert names(f"{tmp_path}/*") == ["1.npy"]


def test_a_file_with_brackets_is_a_file(tmp_path):
    fname = tmp_path / "x[1].npy"
    np.save(fname, X)
    assert not stands_for_several(fname)
    assert_array_equal(prepare(fname, AS_IS, sfreq=SFREQ).data[0], X.T.astype(np.float32))


def test_other_inputs_stand_for_themselves():
    for entry in (X, make_raw(), None, 3):
        assert not stands_for_several(entry)
        assert expanded(entry) == [entry] or expanded(entry)[0] is entry


# What comes of it


def test_a_folder_is_the_list_of_its_files(tmp_path):
    for i in (0, 2, 10):
        np.save(tmp_path / f"{i}.npy", X + i)
    got = prepare(tmp_path, AS_IS, sfreq=SFREQ)
    assert got.names == [f"recording {k} ({i}.npy)" for k, i in enumerate((0, 2, 10))]
    for data, i in zip(got.data, (0, 2, 10), strict=True):
        assert_array_equal(data, (X + i).T.astype(np.float32))
    # Also in a list, beside a file.
    got = prepare([tmp_path / "10.npy", str(tmp_path / "[02].npy")], AS_IS, sfreq=SFREQ)
    assert [name.split()[-1] for name in got.names] == ["(10.npy)", "(0.npy)", "(2.npy)"]


def test_models_take_folders_and_give_lists(tmp_path):
    np.save(tmp_path / "0.npy", X)
    settings = {"preparation": AS_IS, "n_init": 1, "refine": False, "random_state": 0}
    hmm = fit_hmm(tmp_path, 2, sfreq=SFREQ, **settings)
    assert len(hmm.annotations_) == 1
    for inst in (tmp_path, f"{tmp_path}/*.npy", [tmp_path / "0.npy"]):
        (states,) = hmm.predict(inst, sfreq=SFREQ)
        assert states.labels.shape == (600,)
        assert isinstance(hmm.dual_estimate(inst, sfreq=SFREQ), list)
    assert isinstance(hmm.predict(tmp_path / "0.npy", sfreq=SFREQ), StateTimeCourse)


# What is refused


def test_several_kinds(tmp_path):
    touch(tmp_path, "a.npy", "b.npy", "c.csv", "d_raw.fif")
    parts = [str(tmp_path), "several kinds (1 .csv, 1 .fif, 2 .npy)", f"{tmp_path / '*.npy'}'"]
    refuse(ValueError, parts, tmp_path)
    refuse(ValueError, ["several kinds", "*.npy"], f"{tmp_path}/*")
    assert names(tmp_path / "*.csv") == ["c.csv"]


@pytest.mark.parametrize("pattern", ["", "*", "*.npy"])
def test_nothing_to_read(tmp_path, pattern):
    parts = [str(tmp_path), "stands for no file that can be read; check", "working folder"]
    refuse(FileNotFoundError, parts, str(tmp_path / pattern))
    touch(tmp_path, "readme.md", "sub-01/x.npy")
    if pattern != "*.npy":
        refuse(FileNotFoundError, ["only 2 others", "**"], tmp_path / pattern)


def test_folders_of_prepared_data(tmp_path):
    prepare(make_raw(), AS_IS, cache_dir=tmp_path)
    refuse(ValueError, [str(tmp_path), "prepared data", "mne_hmm.read_prepared("], tmp_path)


@pytest.mark.parametrize("name", ["x-lh.stc", "x-vl.stc", "x", "bold.nii", "bold.nii.gz"])
def test_what_needs_an_atlas(tmp_path, name):
    touch(tmp_path, "x-lh.stc", "x-rh.stc", "x-vl.stc", "bold.nii", "bold.nii.gz")
    with pytest.raises(ValueError, match=rf"\({re.escape(name)}\), which needs an atlas"):
        prepare(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"nothing\.nii"):
        prepare(tmp_path / "nothing.nii", atlas="atlas.nii")
    assert names(tmp_path / "x-?h.stc") == ["x-lh.stc"]


# Recordings of several files


@pytest.mark.parametrize("naming", ["neuromag", "bids"])
def test_parts_of_split_files_are_taken_once(tmp_path, naming):
    raw = make_raw(n_times=60_000, ch_names=TWENTY, sfreq=1000.0)
    raw.save(tmp_path / "sub-1_raw.fif", split_size="2MB", split_naming=naming, fmt="single")
    other = make_raw(ch_names=TWENTY, sfreq=1000.0)
    other.save(tmp_path / "sub-2_raw.fif")
    # Its name is that of a part of the recording before, but it is none.
    other.save(tmp_path / "sub-2_raw-1.fif", verbose="ERROR")
    assert len(list(tmp_path.iterdir())) >= 5
    first = "sub-1_raw.fif" if naming == "neuromag" else "sub-1_split-01_raw.fif"
    assert names(tmp_path) == [first, "sub-2_raw.fif", "sub-2_raw-1.fif"]
    prepared = prepare(tmp_path / "sub-*raw*.fif", AS_IS)
    assert [len(x) for x in prepared.data] == [60_000, 600, 600]


def test_numbers_at_the_end_are_no_parts(tmp_path):
    for i in (1, 2):
        make_raw().save(tmp_path / f"run_raw-{i}.fif", verbose="ERROR")
    assert names(tmp_path) == ["run_raw-1.fif", "run_raw-2.fif"]


def test_files_of_brainvision(tmp_path):
    touch(tmp_path, "a.vhdr", "a.vmrk", "a.eeg", "b.vhdr", "b.vmrk", "b.eeg")
    assert names(tmp_path) == ["a.vhdr", "b.vhdr"]
    touch(tmp_path, "c.eeg")  # of another maker
    refuse(ValueError, ["several kinds (1 .eeg, 2 .vhdr)"], tmp_path)


@pytest.mark.parametrize("suffix", [".ds", ".mff"])
def test_folders_that_are_recordings(tmp_path, suffix, monkeypatch):
    for i in (10, 9):
        touch(tmp_path, f"sub-{i}{suffix}/signals.bin")
    assert not stands_for_several(tmp_path / f"sub-9{suffix}")
    assert names(tmp_path) == [f"sub-9{suffix}", f"sub-10{suffix}"]
    # MNE-Python gets the folder.
    monkeypatch.setattr(
        mne.io, "read_raw", lambda fname, **kwargs: make_raw(n_times=int(fname.stem[4:]))
    )
    assert [r.timeline.n_times for r in to_recordings(tmp_path)] == [9, 10]
    monkeypatch.undo()
    refuse(OSError, [f"(sub-9{suffix})", "cannot be read"], tmp_path / f"sub-9{suffix}")


# Damage


@pytest.mark.parametrize("name", ["x_raw.fif", "x.edf", "x.vhdr"])
def test_damaged_recordings(tmp_path, name, request):
    fname = tmp_path / name
    if name == "x_raw.fif":
        make_raw().save(fname)
    elif name == "x.edf":
        source = next(request.getfixturevalue("test_data").glob("MNE-eegbci-data/**/S001R01.edf"))
        shutil.copy(source, fname)
    else:
        fname.write_text("Brain Vision Data Exchange Header File Version 1.0\n[Common")
    fname.write_bytes(fname.read_bytes()[:200])
    for inst in (fname, tmp_path):
        refuse(OSError, [f"({name})", str(fname), "cannot be read", "complete"], inst)


# Side by side


@pytest.mark.parametrize("kind", ["fif", "npy", "csv", "array"])
def test_jobs_change_no_bit(tmp_path, kind):
    inst = [X, X[:, 100:], X[:, :-50]]
    for i, x in enumerate(inst):
        if kind == "fif":
            info = mne.create_info(3, SFREQ, "eeg")
            mne.io.RawArray(x, info, verbose="ERROR").save(tmp_path / f"{i}_raw.fif")
        elif kind == "npy":
            np.save(tmp_path / f"{i}.npy", x)
        elif kind == "csv":
            np.savetxt(tmp_path / f"{i}.csv", x, delimiter=",")
    inst = inst if kind == "array" else tmp_path
    settings = Preparation(n_components=5, sfreq=50.0, h_freq=20.0)
    sfreq = None if kind == "fif" else SFREQ
    serial, parallel = (prepare(inst, settings, sfreq=sfreq, n_jobs=n_jobs) for n_jobs in (1, 2))
    assert len(serial.data) == 3
    for x, y in zip(serial.data, parallel.data, strict=True):
        assert_array_equal(x, y)
    assert serial.spans == parallel.spans


def test_several_recordings_are_filtered_in_other_processes(monkeypatch):
    seen = []
    original = mne.parallel.parallel_func

    def watched(func, n_jobs, **kwargs):
        out = original(func, n_jobs, **kwargs)
        seen.append((func.__name__, out[2]))
        return out

    monkeypatch.setattr("mne_hmm._utils.parallel.parallel_func", watched)
    prepare([X, X], AS_IS, sfreq=SFREQ, n_jobs=2)
    assert seen == [("with_warnings", 2)]
