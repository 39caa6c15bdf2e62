"""Files of arrays: which array, which axis is time, what the channels are called."""

import h5py
import numpy as np
import pytest
from helpers import raises
from numpy.testing import assert_array_equal
from scipy.io import savemat

import mne_hmm
from mne_hmm import Preparation, fit_hmm, prepare
from mne_hmm.io.array_files import read_array_file
from mne_hmm.io.inputs import to_recordings

SFREQ = 100.0
AS_IS = Preparation.as_is()


@pytest.fixture
def x():
    """Signals of three channels; whole numbers, so that text and single precision keep them."""
    return np.random.default_rng(0).integers(-999, 999, (3, 500)).astype(float)


def refuse(error, parts, inst, **kwargs):
    """Expect an error whose message has all parts, in this order."""
    with raises(error, parts):
        to_recordings(inst, **({"sfreq": SFREQ} | kwargs))


def write_mat73(fname, **variables):
    """Write arrays as MATLAB 7.3 does: HDF5 behind 512 bytes of its own, axes turned round."""
    with h5py.File(fname, "w", userblock_size=512) as file:
        for name, value in variables.items():
            value = np.asarray(value)
            kind = {"U": "char", "b": "logical", "f": "double"}.get(value.dtype.kind, "double")
            if kind == "char":
                value = np.frombuffer(str(value).encode("utf-16-le"), np.uint16)[None]
            dataset = file.create_dataset(name, data=np.atleast_2d(value).T)
            dataset.attrs["MATLAB_class"] = np.bytes_(kind)
    with fname.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def write(fname, x):
    """Write an array in the way its suffix tells."""
    if fname.suffix == ".npy":
        np.save(fname, x)
    elif fname.suffix == ".npz":
        np.savez_compressed(fname, signals=x, sfreq=SFREQ, names=np.array(["a", "b"]))
    elif fname.name == "v7.3.mat":
        write_mat73(fname, X=x, fs=SFREQ, note="from a scanner", good=True)
    elif fname.suffix == ".mat":
        content = {"X": x, "fs": SFREQ, "note": "from a scanner", "good": True, "cells": [[]]}
        savemat(fname, content, do_compression=fname.stem == "compressed")
    else:
        delimiter = {".csv": ",", ".tsv": "\t"}.get(fname.suffix, fname.stem[-1])
        np.savetxt(fname, x, fmt="%.17g", delimiter=delimiter)


NAMES = [
    *("x.npy", "x.npz", "v5.mat", "compressed.mat", "v7.3.mat"),
    *("x.csv", "x.tsv", "comma,.txt", "blank .txt", "tab\t.txt", "X.CSV", "X.Npy"),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("turned", [False, True])
def test_the_longer_axis_is_time(tmp_path, x, name, turned):
    fname = tmp_path / name
    if name == "X.Npy":
        with fname.open("wb") as file:
            np.save(file, x.T if turned else x)
    elif name == "X.CSV":
        np.savetxt(fname, x.T if turned else x, delimiter=",")
    else:
        write(fname, x.T if turned else x)
    (recording,) = to_recordings(fname, sfreq=SFREQ)
    assert not recording.named
    assert not recording.raw.preload
    assert recording.timeline.n_times == 500
    assert_array_equal(recording.read(10, 300), x[:, 10:300])
    assert_array_equal(prepare(str(fname), AS_IS, sfreq=SFREQ).data[0], x.T)


@pytest.mark.parametrize(
    ("shape", "clear"),
    [
        ((20, 100), True),
        ((20, 99), False),
        ((19, 99), False),  # long enough against the other, but not long
        ((1, 100), True),
        ((21, 104), False),
        ((21, 105), True),
        ((100, 100), False),
        ((1, 99), False),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_limits_of_what_is_clear(tmp_path, shape, clear, turned):
    fname = tmp_path / "x.npy"
    np.save(fname, np.ones(shape[::-1] if turned else shape))
    if clear:
        assert read_array_file(fname).values.shape == shape
    else:
        shape_text = str(shape[::-1] if turned else shape)
        way_out = "load it and pass an array of shape (n_channels, n_times)"
        refuse(ValueError, ["(x.npy)", str(fname), shape_text, "5 times", "100", way_out], fname)


def test_arrays_in_memory_are_never_turned():
    (recording,) = to_recordings(np.random.default_rng(0).random((500, 3)), sfreq=SFREQ)
    assert recording.timeline.n_times == 3


def test_files_of_a_list_are_not_kept(tmp_path, x):
    fnames = [tmp_path / f"{i}.npz" for i in range(3)]
    for i, fname in enumerate(fnames):
        np.savez(fname, x + i)
    recordings = to_recordings(fnames, sfreq=SFREQ)
    for i, recording in enumerate(recordings):
        assert not recording.raw.preload
        assert_array_equal(recording.read(0, 500), x + i)


@pytest.mark.parametrize("shape", [(500,), (2, 3, 400), ()])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_other_shapes(tmp_path, shape, suffix):
    if suffix == "npz" and shape == ():
        return  # a single number is not looked at, see below
    fname = tmp_path / f"x.{suffix}"
    (np.save if suffix == "npy" else np.savez)(fname, np.ones(shape))
    refuse(ValueError, [str(fname), str(shape), "two axes", "load it and pass"], fname)


def test_empty_arrays(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((3, 0)))
    refuse(ValueError, ["x.npy", "empty", "(3, 0)"], tmp_path / "x.npy")


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "v5.mat", "v7.3.mat"])
def test_complex_numbers(tmp_path, x, name):
    write(tmp_path / name, x + 1j)
    refuse(TypeError, ["real numbers", "complex128", "numpy.abs"], tmp_path / name)


def test_files_need_a_rate(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    parts = ["(x.npy)", "is an array and sfreq is None", "sfreq=..."]
    refuse(ValueError, parts, tmp_path / "x.npy", sfreq=None)


# Several variables


@pytest.mark.parametrize("suffix", ["npz", "v5.mat", "v7.3.mat"])
@pytest.mark.parametrize(
    "others",
    [
        {"data": np.ones((500, 4))},
        # Lengths of segments, which would be glued together without a word.
        {"T": np.array([[200, 300.0]])},
    ],
)
def test_several_variables(tmp_path, x, suffix, others):
    fname = tmp_path / f"x.{suffix}"
    writer = {"npz": np.savez, "v5.mat": lambda f, **v: savemat(f, v), "v7.3.mat": write_mat73}
    writer[suffix](fname, X=x, fs=SFREQ, **others)
    name, value = next(iter(others.items()))
    words = ["several arrays", "X (3, 500)", f"{name} {value.shape}", "load it and pass"]
    if suffix == "v7.3.mat":  # these are in alphabetical order
        words[1:3] = ["X (3, 500)"]
        refuse(ValueError, [f"{name} {value.shape}"], fname)
    refuse(ValueError, words, fname)


@pytest.mark.parametrize("suffix", ["npz", "v5.mat", "v7.3.mat"])
def test_no_variable(tmp_path, suffix):
    fname = tmp_path / f"x.{suffix}"
    writer = {"npz": np.savez, "v5.mat": lambda f, **v: savemat(f, v), "v7.3.mat": write_mat73}
    writer[suffix](fname, note="nothing here")
    refuse(ValueError, [str(fname), "holds no array of numbers", "load it and pass"], fname)


def test_structures_of_matlab(tmp_path, x):
    savemat(tmp_path / "x.mat", {"data": {"trial": x, "label": "abc"}})
    refuse(ValueError, ["x.mat", "holds no array of numbers"], tmp_path / "x.mat")


# Tables


def test_names_of_columns(tmp_path, x):
    fname = tmp_path / "x.csv"
    rows = [",".join(f"{value:g}" for value in row) for row in x.T]
    fname.write_text("# made by hand\n\n" + "\n".join(['"C3","left, back",Cz', *rows]) + "\n\n")
    (recording,) = to_recordings(fname, sfreq=SFREQ)
    assert recording.named
    assert recording.ch_names == ("C3", "left, back", "Cz")
    assert_array_equal(recording.read(0, 500), x)
    (picked,) = to_recordings(fname, sfreq=SFREQ, picks=["Cz", "C3"])
    assert_array_equal(picked.read(0, 500), x[[2, 0]])
    # Written on Windows, by a program that leaves a mark at the start.
    fname.write_bytes(b"\xef\xbb\xbf" + fname.read_text().replace("\n", "\r\n").encode())
    assert_array_equal(read_array_file(fname).values, x)


@pytest.mark.parametrize(("name", "delimiter"), [("x.tsv", "\t"), ("x.txt", " "), ("y.txt", ",")])
def test_names_in_other_tables(tmp_path, x, name, delimiter):
    np.savetxt(tmp_path / name, x.T, header=delimiter.join("abc"), delimiter=delimiter, comments="")
    array_file = read_array_file(tmp_path / name)
    assert array_file.ch_names == ("a", "b", "c")
    assert_array_equal(array_file.values, x)


def test_names_settle_which_axis_is_time(tmp_path, x):
    np.savetxt(tmp_path / "x.csv", x[:, :2].T, header="a,b,c", delimiter=",", comments="")
    assert_array_equal(read_array_file(tmp_path / "x.csv").values, x[:, :2])


def test_tables_with_names_are_matched_by_name(tmp_path, x):
    for name, order in (("one.csv", [0, 1, 2]), ("two.csv", [2, 0, 1])):
        header = ",".join("abc"[i] for i in order)
        np.savetxt(tmp_path / name, x[order].T, header=header, delimiter=",", comments="")
    fnames = [tmp_path / "one.csv", tmp_path / "two.csv"]
    prepared = prepare(fnames, AS_IS, sfreq=SFREQ)
    assert prepared.ch_names == ["a", "b", "c"]
    assert_array_equal(prepared.data[1], prepared.data[0])
    np.save(tmp_path / "three.npy", x)
    for turned in (False, True):
        several = [fnames[0], tmp_path / "three.npy"][:: -1 if turned else 1]
        parts = [f"recording {int(turned)} (one.csv) has names", f"recording {1 - turned} (three"]
        refuse(ValueError, parts, several)


@pytest.mark.parametrize("cell", ["NaN", "", "n/a", "inf", "-", "1,5e"])
def test_cells_that_are_no_numbers(tmp_path, x, cell):
    rows = [[f"{value:g}" for value in row] for row in x.T]
    rows[7][1] = f'"{cell}"' if "," in cell else cell
    fname = tmp_path / "x.csv"
    fname.write_text("\n".join(map(",".join, [["a", "b", "c"], *rows])))
    parts = [str(fname), "line 9, column 2 (b)", f"holds {cell!r}", "no finite number", "pass an"]
    refuse(ValueError, parts, fname)
    fname.write_text("\n".join(map(",".join, rows)))
    refuse(ValueError, ["line 8, column 2 holds"], fname)


def test_first_rows_with_some_numbers_have_no_names(tmp_path, x):
    rows = [",".join(f"{value:g}" for value in row) for row in x.T]
    (tmp_path / "x.csv").write_text("\n".join(["1,b,3", *rows]))
    refuse(ValueError, ["line 1, column 2 holds 'b'"], tmp_path / "x.csv")


def test_what_pandas_writes_without_being_told(tmp_path, x):
    pandas = pytest.importorskip("pandas")
    frame, fname = pandas.DataFrame(x.T), tmp_path / "x.csv"
    frame.to_csv(fname)
    refuse(ValueError, ["line 1, column 1 holds ''"], fname)
    frame.to_csv(fname, index=False)
    refuse(ValueError, ["line 1 counts the columns", "header=False"], fname)
    frame.to_csv(fname, index=False, header=False)
    assert_array_equal(read_array_file(fname).values, x)
    frame.columns = ["a", "b", "c"]
    frame.to_csv(fname)
    refuse(ValueError, ["column 1 of line 1", "has no name", "index=False"], fname)
    frame.to_csv(fname, index=False)
    assert_array_equal(read_array_file(fname).values, x)


def test_names_that_are_not_different(tmp_path):
    (tmp_path / "x.csv").write_text("a,b,a\n1,2,3\n")
    refuse(ValueError, ["line 1", "a more than once"], tmp_path / "x.csv")


# Damage


@pytest.mark.parametrize("name", NAMES[:-2])
@pytest.mark.parametrize("damage", ["cut", "empty", "other", "text"])
def test_damaged_files(tmp_path, x, name, damage):
    fname = tmp_path / name
    write(fname, x.T)
    content = fname.read_bytes()
    if damage == "cut":
        is_text = fname.suffix in (".csv", ".tsv", ".txt")
        content = content.rsplit(b"\n", 2)[0] + b"\n12" if is_text else content[: len(content) // 2]
    elif damage == "empty":
        content = b""
    elif damage == "other":
        content = bytes(range(256)) * 20
    else:
        content = b"no recording"
    fname.write_bytes(content)
    refuse(OSError, [f"({name})", str(fname), "cannot be read", "complete", ".npz"], fname)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_pickles_are_never_loaded(tmp_path, suffix):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("it was loaded",))

    fname = tmp_path / f"x.{suffix}"
    array = np.array([[Trap()] * 200], dtype=object)
    (np.save if suffix == "npy" else np.savez)(fname, array, allow_pickle=True)
    why = "Python objects" if suffix == "npy" else "allow_pickle=False"
    refuse(OSError, [str(fname), "cannot be read", why], fname)


# fMRI, as it often comes


def test_real_fmri_in_a_table(test_data):
    fname = test_data / "fmri" / "fmri_timeseries.csv"
    hmm = fit_hmm(
        fname,
        3,
        sfreq=1 / 1.89,
        preparation=Preparation.standardized(n_components=10),
        refine=False,
        random_state=0,
    )
    expected = np.loadtxt(fname, delimiter=",", skiprows=1)
    assert hmm.preparation_.ch_names_[:4] == ("WM", "Vent", "Brain", "LCau")
    prepared = prepare(fname, Preparation.standardized(), sfreq=1 / 1.89)
    z = (expected - expected.mean(0)) / expected.std(0)
    # Single precision of values up to some standard deviations.
    np.testing.assert_allclose(prepared.data[0], z, rtol=0, atol=1e-5)
    states = hmm.predict(fname, sfreq=1 / 1.89)
    assert isinstance(states, mne_hmm.StateTimeCourse)
    assert states.probabilities.shape == (3, 250)
    # Rounding to the half of a nanosecond.
    np.testing.assert_allclose(states.times, 1.89 * np.arange(250), rtol=0, atol=1e-9)
    assert (states.labels >= 0).all()
    (annotations,) = hmm.annotations_
    assert annotations.duration.sum() == pytest.approx(250 * 1.89)
