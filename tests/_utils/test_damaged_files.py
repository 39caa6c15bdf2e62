"""Files that are damaged, foreign or made to do harm: a clear error, and nothing else."""

import functools
import os
import pickle
import re
import shutil
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from made_models import small_model

import mne_hmm
from mne_hmm._utils import hdf5
from mne_hmm._utils.hdf5 import HEAD_SIZE, _head, write_model_file  # what `save` never writes
from mne_hmm.model.file import _to_content  # what `save` writes, to be changed
from mne_hmm.preparation import cache

CLEAR = (OSError, ValueError)
OSL_FOLDER = Path(__file__).parents[1] / "data" / "osl_model"


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def content(model, tmp_path_factory):
    """The bytes of a model's file."""
    fname = tmp_path_factory.mktemp("model") / "model.h5"
    model.save(fname)
    return fname.read_bytes()


def refused(fname, content, error=CLEAR, match="again|newer|is an HDF5 file, but not"):
    """Expect an error that names the file and what to do."""
    fname.write_bytes(content)
    with pytest.raises(error, match=match) as caught:
        mne_hmm.read_hmm(fname)
    assert str(fname) in str(caught.value)


def read_or_refused(read, path, way_out=""):
    """What was read; None if that was refused with an error that names the path."""
    message = ""
    try:
        return read()
    except CLEAR as error:
        message = str(error)
    assert str(path) in message
    assert re.search(way_out, message)
    return None


def flipped(content, place, bit=None):
    """Content with one byte, or one bit, that is another."""
    out = bytearray(content)
    out[place] ^= 0xFF if bit is None else 1 << bit
    return bytes(out)


# Models


@pytest.mark.parametrize(
    "n_places", [500, pytest.param(None, marks=pytest.mark.slow)], ids=["some", "every byte"]
)
def test_no_byte_of_a_model_changes_unnoticed(tmp_path, content, n_places):
    rng = np.random.default_rng(0)
    places = range(len(content)) if n_places is None else rng.integers(len(content), size=n_places)
    for place in [*range(0, HEAD_SIZE, 3), *places]:
        refused(tmp_path / "model.h5", flipped(content, place, rng.integers(8)), OSError)


def test_models_that_were_cut_off(tmp_path, content):
    lengths = [0, 1, 7, 8, 100, *range(HEAD_SIZE - 2, len(content), 211), len(content) - 1]
    for length in lengths:
        refused(tmp_path / "model.h5", content[:length], OSError)


def test_models_with_blocks_lost_or_added(tmp_path, content):
    fname, half = tmp_path / "model.h5", len(content) // 2
    refused(fname, content + b"\0", OSError, "checksum is wrong")
    refused(fname, content[:half] + bytes(len(content) - half), OSError, "checksum is wrong")
    refused(fname, content[:4096] + content[8192:], OSError, "checksum is wrong")
    refused(fname, content + content, OSError, "checksum is wrong")
    # Without what stands in front it is taken for no model, and HDF5 does not see it.
    refused(fname, content[HEAD_SIZE:], ValueError, "has lost its checksum")


def test_other_programs_read_models(tmp_path, content, model):
    """The content is HDF5 as any other."""
    (tmp_path / "model.h5").write_bytes(content)
    with h5py.File(tmp_path / "model.h5", "r") as file:
        assert file.userblock_size == HEAD_SIZE
        means = file["mne_hmm/key_parameters/key_means"][()]
        assert file["mne_hmm/key_format_version"][()] == 1
    np.testing.assert_array_equal(means, model.means_)


def changed(content, **parameters):
    return content | {"parameters": content["parameters"] | parameters}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: [1, 2], "TypeError"),
        (lambda c: {"format_version": 1}, "KeyError"),
        (lambda c: c | {"format_version": "two"}, "two"),
        (lambda c: c | {"format_version": [1]}, "int"),
        (lambda c: c | {"preparation": None}, "NoneType"),
        (lambda c: c | {"history": 3}, "int"),
        (lambda c: changed(c, means=np.zeros((2, 4))), r"means must be an array of shape \(2, 3\)"),
        (lambda c: changed(c, means="zero"), "means must be an array"),
        (
            lambda c: changed(c, covariances=np.full((2, 3, 3), np.nan)),
            "covariances must be finite",
        ),
        (lambda c: changed(c, initial_probs=np.ones(2)), "initial_probs must be probabilities"),
        (lambda c: changed(c, transition_matrix=-np.eye(2)), "transition_matrix must be prob"),
        (
            lambda c: changed(c, transition_matrix=np.array([[1.5, -0.5], [0.0, 1.0]])),
            "transition_matrix must be prob",
        ),
        (lambda c: c | {"state_names": ["a"]}, "must be an array of shape"),
    ],
)
def test_models_that_hold_something_else(tmp_path, model, change, says):
    """Whole files, with a right checksum, that somebody changed."""
    fname = tmp_path / "model.h5"
    write_model_file(fname, change(_to_content(model)), "mne_hmm")
    refused(fname, fname.read_bytes(), OSError, f"is damaged .*{says}.*save the model again")


def hdf5_bytes(tmp_path, write, **kwargs):
    """Bytes of an HDF5 file."""
    with h5py.File(tmp_path / "made.h5", "w", **kwargs) as file:
        write(file)
    return (tmp_path / "made.h5").read_bytes()


def test_files_of_other_kinds(tmp_path):
    arrays = tmp_path / "x.npz"
    np.savez(arrays, x=np.arange(3))
    other = hdf5_bytes(tmp_path, lambda file: file.create_dataset("x", data=[1.0]))
    matlab = hdf5_bytes(
        tmp_path, lambda file: file.create_dataset("x", data=[1.0]), userblock_size=512
    )
    fname = tmp_path / "model.h5"
    for foreign in (
        b"",
        b"\0" * 5000,
        b"words " * 500,
        arrays.read_bytes(),
        pickle.dumps({}),
        matlab,
    ):
        refused(fname, foreign, OSError, "cannot be read: it is no HDF5 file of mne-hmm")
    refused(fname, other, ValueError, "is an HDF5 file, but not a model of mne-hmm; models are")
    write_model_file(fname, _to_content(small_model()) | {"format_version": 99}, "mne_hmm")
    refused(fname, fname.read_bytes(), ValueError, "format 99, of a newer mne-hmm.*pip install -U")


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes and devices")
def test_files_without_an_end(tmp_path):
    """A pipe would be waited for, and a device never ends."""
    os.mkfifo(tmp_path / "model.h5")
    for fname in (tmp_path / "model.h5", "/dev/zero"):
        with pytest.raises(OSError, match="is no file that can be read to its end"):
            mne_hmm.read_hmm(fname)


class Harm:
    """Makes a file when it is unpickled."""

    def __init__(self, fname):
        self.fname = fname

    def __reduce__(self):
        return Path.touch, (Path(self.fname),)


def test_nothing_is_executed(tmp_path):
    """Neither pickles nor what h5io evaluates and imports."""
    mark, fname = tmp_path / "harm", tmp_path / "model.h5"
    refused(fname, pickle.dumps(Harm(mark)), OSError)
    np.save(tmp_path / "x.npy", np.array([Harm(mark)], object), allow_pickle=True)
    refused(fname, (tmp_path / "x.npy").read_bytes(), OSError)
    code = f"__import__('pathlib').Path({str(mark)!r}).touch()".encode()

    def as_time_zone(file):
        node = file.create_dataset("mne_hmm", data=np.frombuffer(code, np.uint8))
        node.attrs["TITLE"] = "timezone"

    def as_class(file):
        node = file.create_dataset("mne_hmm", data=np.frombuffer(b"harmful.Harm", np.uint8))
        node.attrs["TITLE"] = "class"

    def as_object(file):
        file.create_group("mne_hmm").attrs["TITLE"] = "harmful.Harm"

    (tmp_path / "harmful.py").write_text(f"open({str(mark)!r}, 'w')\nclass Harm:\n    pass\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        for write in (as_time_zone, as_class, as_object):
            image = hdf5_bytes(tmp_path, write)
            refused(fname, _head(image) + image, OSError, "which models have none of")
    assert not mark.exists()


def titled(file, name, data, kind, **kwargs):
    node = file.create_dataset(name, data=data, **kwargs)
    node.attrs["TITLE"] = kind


def test_files_that_promise_more_than_they_hold(tmp_path):
    """Arrays without their numbers, packed more than once, elsewhere, or within themselves."""
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(800))

    def empty(file):
        file.create_dataset("mne_hmm", shape=(2**40,), chunks=(2**20,), dtype=float)
        file["mne_hmm"].attrs["TITLE"] = "ndarray"

    def packed_twice(file):
        filters = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        filters.set_chunk((2**24,))
        filters.set_deflate(9)
        filters.set_deflate(9)
        space, kind = h5py.h5s.create_simple((2**24,)), h5py.h5t.NATIVE_UINT8
        h5py.h5d.create(file.id, b"mne_hmm", kind, space, filters)
        packed = zlib.compress(zlib.compress(bytes(2**24), 9), 9)
        file["mne_hmm"].id.write_direct_chunk((0,), packed)
        file["mne_hmm"].attrs["TITLE"] = "ndarray"

    def elsewhere(file):
        external = [(str(secret), 0, 800)]
        file.create_dataset("mne_hmm", shape=(100,), dtype=float, external=external)
        file["mne_hmm"].attrs["TITLE"] = "ndarray"

    def linked(file):
        titled(file, "other", [1.0], "ndarray")
        file.create_group("mne_hmm").attrs["TITLE"] = "dict"
        file["mne_hmm/key_x"] = h5py.SoftLink("/other")

    def within_itself(file):
        file.create_group("mne_hmm").attrs["TITLE"] = "dict"
        file["mne_hmm/key_again"] = file["mne_hmm"]

    def twice(file):
        # Of groups in groups, each with two names, a few bytes would be read without an end.
        file.create_group("mne_hmm").attrs["TITLE"] = "dict"
        titled(file, "mne_hmm/key_one", [1.0], "ndarray")
        file["mne_hmm/key_other"] = file["mne_hmm/key_one"]

    for write, says in (
        (empty, "fewer numbers are there"),
        (packed_twice, "packed in a way"),
        (elsewhere, "must hold numbers"),
        (linked, "has no key_x of its own"),
        (within_itself, "is in the file twice"),
        (twice, "key_other is in the file twice"),
    ):
        image = hdf5_bytes(tmp_path, write)
        refused(tmp_path / "model.h5", _head(image) + image, OSError, says)


@pytest.mark.parametrize(
    ("code", "says"), [("import os; os.abort()", "crashes"), ("while True: pass", "finds no end")]
)
def test_what_hdf5_does_not_survive(tmp_path, monkeypatch, code, says):
    """Where HDF5 crashes or hangs in a file without a checksum, it is in a process of its own."""
    monkeypatch.setattr(hdf5, "LOOK_THROUGH", code)
    monkeypatch.setattr(hdf5, "MAX_SECONDS", 1)
    shutil.copytree(OSL_FOLDER, tmp_path / "model")
    with (tmp_path / "model" / "model.weights.h5").open("ab") as file:
        file.write(says.encode())  # not looked through before
    with pytest.raises(CLEAR, match=f"model.weights.h5.*HDF5 {says}"):
        mne_hmm.read_osl_hmm(tmp_path / "model", sfreq=100)


@pytest.mark.parametrize("n_places", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_models_of_osl_dynamics(tmp_path, n_places):
    """Their files have no checksum, but none crashes or gives numbers that are none."""
    pytest.importorskip("yaml")
    rng = np.random.default_rng(1)
    for name in ("config.yml", "model.weights.h5"):
        content = (OSL_FOLDER / name).read_bytes()
        shutil.copytree(OSL_FOLDER, tmp_path / name)
        cut = [content[: int(share * len(content))] for share in (0, 0.5, 0.99)]
        changed = [flipped(content, place) for place in rng.integers(len(content), size=n_places)]
        for damaged in [*cut, *changed]:
            (tmp_path / name / name).write_bytes(damaged)
            read = functools.partial(mne_hmm.read_osl_hmm, tmp_path / name, sfreq=100)
            hmm = read_or_refused(read, tmp_path / name)
            assert hmm is None or np.isfinite(hmm.covariances_).all()


# Prepared data


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder of two recordings."""
    folder = tmp_path_factory.mktemp("filled")
    arrays = [np.random.default_rng(i).standard_normal((4, 300 + i)) for i in range(2)]
    settings = mne_hmm.Preparation.standardized(n_embeddings=3, n_components=5)
    mne_hmm.prepare(arrays, settings, sfreq=100.0, cache_dir=folder, verbose="ERROR")
    return folder


def everything(folder):
    """All that a folder holds."""
    prepared = mne_hmm.read_prepared(folder)
    fitted = prepared.preparation
    return [
        *prepared.data,
        fitted.components_,
        np.array([prepared.time_maps, prepared.names, fitted.settings, fitted.ch_names_], object),
    ]


def same_or_refused(folder, expected):
    """Whether a folder is refused; if not, all that it holds must be as it was."""
    way_out = "delete|newer|again|filled by prepare"
    arrays = read_or_refused(lambda: everything(folder), folder, way_out)
    if arrays is None:
        return True
    for array, other in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(array, other)
    return False


@pytest.mark.parametrize("name", ["index.json", "preparation.h5", "recording-00001.tfrecord"])
@pytest.mark.parametrize(
    "n_places", [12, pytest.param(1000, marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_no_byte_of_prepared_data_changes_unnoticed(filled, tmp_path, name, n_places):
    expected = everything(filled)
    folder = tmp_path / "copy"
    shutil.copytree(filled, folder)
    content = (folder / name).read_bytes()
    rng = np.random.default_rng(2)
    lengths = [0, 1, *(int(share * len(content)) for share in (0.3, 0.7)), len(content) - 1]
    for length in lengths:
        (folder / name).write_bytes(content[:length])
        assert same_or_refused(folder, expected), length
    for place in rng.integers(len(content), size=n_places):
        (folder / name).write_bytes(flipped(content, place, rng.integers(8)))
        # Text has spaces, and letters written in two ways, that mean the same.
        assert same_or_refused(folder, expected) or name == "index.json"
    (folder / name).write_bytes(content)
    assert not same_or_refused(folder, expected)
    (folder / name).unlink()
    assert same_or_refused(folder, expected)


def test_a_preparation_of_another_folder(filled, tmp_path):
    """A file that is whole, but not the one that the features were made with."""
    other, folder = tmp_path / "other", tmp_path / "copy"
    settings = mne_hmm.Preparation.standardized(n_embeddings=3, n_components=5)
    array = np.random.default_rng(7).standard_normal((4, 300))
    mne_hmm.prepare(array, settings, sfreq=100.0, cache_dir=other, verbose="ERROR")
    shutil.copytree(filled, folder)
    shutil.copy(other / "preparation.h5", folder / "preparation.h5")
    with pytest.raises(OSError, match=r"holds other data than were written to it.*delete"):
        mne_hmm.read_prepared(folder)


@pytest.mark.parametrize(
    "text",
    ["[]", "3", "null", "{}", '{"format": 3}', "[" * 100_000, "\0" * 100, "{", "{} {}", '"x"'],
    ids=lambda text: text[:8],
)
def test_an_index_of_something_else(filled, tmp_path, text):
    folder = tmp_path / "copy"
    shutil.copytree(filled, folder)
    (folder / "index.json").write_text(text)
    for read in (
        lambda: mne_hmm.read_prepared(folder),
        lambda: mne_hmm.prepare(np.zeros((2, 9)), sfreq=1.0, cache_dir=folder),
    ):
        with pytest.raises(OSError, match=r"index.json is damaged, or not of mne-hmm.*delete"):
            read()


def test_damaged_sums_are_made_again(tmp_path):
    """What an interrupted call left is taken whole, or not at all."""
    folder = cache.PreparedFolder(tmp_path, {"recordings": [{"left_out": None}]})
    sums = np.random.default_rng(0).standard_normal((6, 6))
    folder.keep_products(1, sums, None)
    path = tmp_path / cache.PRODUCTS_FILE
    content, rng = path.read_bytes(), np.random.default_rng(3)
    damaged = [flipped(content, place) for place in rng.integers(len(content), size=300)]
    for damage in [*damaged, *(content[:n] for n in range(0, len(content), 31)), b"", content]:
        path.write_bytes(damage)
        n_recordings, products = folder.products()
        if n_recordings:
            np.testing.assert_array_equal(products, sums)
        else:
            assert products is None
    assert n_recordings == 1
