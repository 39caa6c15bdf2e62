"""Prepared data in a folder: equal to those in memory, resumed, and never mixed or damaged."""

import gc
import json
import os
import resource
import shutil
import weakref

import mne
import numpy as np
import pytest
from child_processes import run_script
from helpers import assert_same_prepared
from numpy.testing import assert_array_equal

import mne_hmm
from mne_hmm import Preparation, prepare, read_prepared
from mne_hmm.engine import Shards
from mne_hmm.io.inputs import to_recordings
from mne_hmm.preparation import cache_index
from mne_hmm.preparation import prepare as prepare_module
from mne_hmm.preparation.prepared_data import as_prepared

SETTINGS = Preparation(n_embeddings=5, n_components=6)
SFREQ = 250.0


def simulated_raw(seed, duration=8.0, n_channels=4):
    """A simulated recording."""
    return mne_hmm.simulate_raw(2, n_channels=n_channels, duration=duration, random_state=seed)[0]


@pytest.fixture(scope="module")
def raws():
    """Recordings with bad spans, a short good span, and dates; two of them of one length."""
    out = [simulated_raw(i, duration) for i, duration in enumerate([8.0, 9.0, 8.0, 10.0])]
    # Behind 5.2 s only three good samples are left before the next bad span.
    out[1].set_annotations(
        mne.Annotations([2.0, 5.0, 5.212], [0.5, 0.2, 0.3], ["BAD_x", "BAD_y", "BAD_z"])
    )
    out[3].set_meas_date(1_600_000_000.25)
    out[3].set_annotations(
        mne.Annotations([3.0], [1.0], ["BAD_x"], orig_time=out[3].info["meas_date"])
    )
    return out


@pytest.fixture(scope="module")
def fnames(raws, tmp_path_factory):
    """The same, as files."""
    folder = tmp_path_factory.mktemp("recordings")
    fnames = [folder / f"{i}_raw.fif" for i in range(len(raws))]
    for raw, fname in zip(raws, fnames, strict=True):
        raw.save(fname, fmt="double")
    return fnames


@pytest.fixture(scope="module")
def in_memory(fnames):
    """The features that are looked for."""
    with pytest.warns(RuntimeWarning, match="1 good span shorter"):
        return prepare(fnames, SETTINGS)


def into(folder, inst, settings=SETTINGS, **kwargs):
    """Prepare the recordings above, which have a short span."""
    with pytest.warns(RuntimeWarning, match="1 good span shorter"):
        return prepare(inst, settings, cache_dir=folder, **kwargs)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, fnames):
    """A finished folder. Shared: copy before you change it."""
    folder = tmp_path_factory.mktemp("finished")
    into(folder, fnames)
    return folder


@pytest.fixture
def filled(tmp_path, finished):
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "filled")


def state_of(folder):
    """What tells whether files were written anew."""
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.glob("*.tfrecord")
    }


def no_reading(*_):
    """Take the place of what must not be called."""
    raise AssertionError("features were read")


# The same as in memory


@pytest.mark.parametrize("kind", ["files", "raws", "open files"])
def test_folder_holds_what_memory_would(tmp_path, raws, fnames, in_memory, kind):
    inst = {
        "files": fnames,
        "raws": raws,
        "open files": [mne.io.read_raw(fname) for fname in fnames],
    }[kind]
    expected = in_memory
    if kind == "raws":
        with pytest.warns(RuntimeWarning, match="1 good span shorter"):
            expected = prepare(raws, SETTINGS)
    got = into(tmp_path / "new" / "folder", inst)
    assert_same_prepared(got, expected)
    assert_same_prepared(read_prepared(str(tmp_path / "new" / "folder")), expected)


@pytest.mark.parametrize(
    "settings",
    [
        Preparation.as_is(),
        Preparation(n_components=None, n_embeddings=3, sfreq=100.0),
        Preparation.amplitude_envelope(n_components=0.9, whiten=True),
        Preparation(n_components=np.int64(7), standardize=False),
    ],
)
def test_every_kind_of_preparation(tmp_path, settings):
    raws = [simulated_raw(0), simulated_raw(1)]
    assert_same_prepared(prepare(raws, settings, cache_dir=tmp_path), prepare(raws, settings))


def test_arrays_and_their_files(tmp_path):
    arrays = [simulated_raw(i).get_data().astype(np.float32) for i in range(2)]
    fnames = [tmp_path / f"{i}.npy" for i in range(2)]
    for fname, array in zip(fnames, arrays, strict=True):
        np.save(fname, array)
    expected = prepare(arrays, SETTINGS, sfreq=SFREQ)
    got = prepare(fnames, SETTINGS, sfreq=SFREQ, cache_dir=tmp_path / "files")
    for x, y in zip(got.data, expected.data, strict=True):
        assert_array_equal(x, y)
    assert_same_prepared(
        prepare(arrays, SETTINGS, sfreq=SFREQ, cache_dir=tmp_path / "arrays"), expected
    )


def test_one_recording(tmp_path):
    raw = simulated_raw(0)
    assert_same_prepared(prepare(raw, SETTINGS, cache_dir=tmp_path), prepare(raw, SETTINGS))


def test_a_fitted_preparation_needs_one_pass(tmp_path, fnames, in_memory, monkeypatch):
    calls = []

    def counted(recording, *args):
        calls.append(recording.label)
        return original(recording, *args)

    original = prepare_module.prepare_signals
    monkeypatch.setattr(prepare_module, "prepare_signals", counted)
    got = into(tmp_path, fnames, in_memory.preparation)
    assert calls == in_memory.names
    assert_same_prepared(got, in_memory)


def test_jobs_change_no_bit(tmp_path, raws, fnames):
    # Two at once do not divide the three recordings.
    into(tmp_path / "one", fnames[1:])
    into(tmp_path / "files", fnames[1:], n_jobs=2)
    into(tmp_path / "memory", raws[1:], n_jobs=2)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == [
        "index.json",
        "preparation.h5",
        *(f"recording-0000{i}.tfrecord" for i in range(3)),
    ]
    for name in names[2:]:
        content = (tmp_path / "one" / name).read_bytes()
        assert (tmp_path / "files" / name).read_bytes() == content
        assert (tmp_path / "memory" / name).read_bytes() == content


def test_warnings_of_jobs_are_told(tmp_path):
    # MNE-Python warns of filters that are longer than the signals.
    raws = [simulated_raw(i, duration=2.0) for i in range(2)]
    for n_jobs in (1, 2):
        with pytest.warns(RuntimeWarning, match="filter_length") as warned:
            prepare(raws, SETTINGS, cache_dir=tmp_path / str(n_jobs), n_jobs=n_jobs)
        assert len(warned) == 4  # two recordings, two passes


def test_warnings_are_those_of_memory(tmp_path):
    raw = simulated_raw(0)
    raw._data[:, -100:] = 0
    raw._data -= raw._data.mean(0)
    messages = []
    for folder in (None, tmp_path):
        with pytest.warns(RuntimeWarning) as warned:
            prepare(raw, SETTINGS, cache_dir=folder)
        messages.append([str(warning.message) for warning in warned])
    assert messages[0] == messages[1]
    assert [text[:6] for text in messages[0]] == ["0.40 s", "The 4 "]


# One at a time


@pytest.mark.parametrize("kind", ["fif", "npy"])
def test_signals_of_one_recording_are_in_memory(tmp_path, fnames, monkeypatch, kind):
    if kind == "npy":
        fnames = [tmp_path / f"{i}.npy" for i in range(3)]
        for i, fname in enumerate(fnames):
            np.save(fname, simulated_raw(i).get_data())
    alive, order = [], []

    def watched(recording, *args):
        assert not recording.raw.preload
        assert [reference for reference in alive if reference() is not None] == []
        signals = original(recording, *args)
        alive.extend(map(weakref.ref, [signals, *signals.spans]))
        order.append(recording.label)
        return signals

    original = prepare_module.prepare_signals
    monkeypatch.setattr(prepare_module, "prepare_signals", watched)
    gc.disable()  # nothing may wait for it
    try:
        if kind == "fif":
            into(tmp_path / "folder", fnames)
        else:
            prepare(fnames, SETTINGS, sfreq=SFREQ, cache_dir=tmp_path / "folder")
    finally:
        gc.enable()
    labels = [f"recording {i} ({fname.name})" for i, fname in enumerate(fnames)]
    assert order == 2 * labels
    assert [reference for reference in alive if reference() is not None] == []


def test_signals_of_as_many_as_jobs_are_in_memory(tmp_path, fnames, monkeypatch):
    alive, most = [], 0

    def watched(*args):
        nonlocal most
        signals = original(*args)
        alive.append(weakref.ref(signals))
        most = max(most, sum(reference() is not None for reference in alive))
        return signals

    original = prepare_module.Signals
    monkeypatch.setattr(prepare_module, "Signals", watched)
    into(tmp_path, fnames, n_jobs=2)
    assert len(alive) == 8
    assert most == 1  # and one more that waits for its turn


def test_what_a_reader_has_to_load_is_not_kept(raws, fnames, monkeypatch):
    # As the readers of some formats do.
    def loads(fname, **kwargs):
        return original(fname, preload=True, **kwargs)

    original = mne.io.read_raw
    monkeypatch.setattr(mne.io, "read_raw", loads)
    cropped = raws[3].copy().crop(1.0)
    cropped.save(fnames[3].parent / "cropped_raw.fif", fmt="double")
    recordings = to_recordings([*fnames, fnames[3].parent / "cropped_raw.fif"])
    for recording, raw in zip(recordings, [*raws, cropped], strict=True):
        (expected,) = to_recordings([raw])
        assert not recording.raw.preload
        assert recording.timeline == expected.timeline
        assert recording.spans == expected.spans
        assert_array_equal(recording.read(100, 1100), raw.get_data(start=100, stop=1100))


# What is read


def test_nothing_is_read_before_it_is_asked_for(filled, in_memory, monkeypatch):
    # Every reading of rows goes through it.
    monkeypatch.setattr(Shards, "_read", no_reading)
    got = read_prepared(filled)
    assert isinstance(got.data, Shards)
    assert len(got) == len(in_memory)
    assert (got.n_samples, got.n_features) == (in_memory.n_samples, 6)
    assert got.data.lengths == [len(x) for x in in_memory.data]
    assert got.spans == in_memory.spans
    assert got.seconds_left_out == in_memory.seconds_left_out
    assert (got.ch_names, got.sfreq) == (in_memory.ch_names, in_memory.sfreq)
    for times, expected in zip(got.times, in_memory.times, strict=True):
        assert_array_equal(times, expected)
    assert str(got) == repr(got) == str(in_memory)
    assert as_prepared(got).n_samples == got.n_samples


def test_several_at_once_stay_where_they_are(tmp_path, filled, raws, in_memory, monkeypatch):
    first = read_prepared(filled)
    second = prepare(raws[2], first.preparation, cache_dir=tmp_path / "second")
    third = prepare(raws[0], first.preparation)
    with monkeypatch.context() as context:
        context.setattr(Shards, "_read", no_reading)  # through which every reading goes
        joined = as_prepared([first, second, third])
        assert len(joined) == len(joined.data) == 6
        assert joined.n_samples == in_memory.n_samples + second.n_samples + third.n_samples
        assert joined.data.lengths == [
            *first.data.lengths,
            *second.data.lengths,
            len(third.data[0]),
        ]
        assert joined.n_features == 6
        assert "6 recordings" in str(joined)
    expected = [*in_memory.data, *second.data, *third.data]
    for x, y in zip(joined.data, expected, strict=True):
        assert_array_equal(x, y)
    order = [5, 1, 4, 0, 3]
    for index, (got, x) in zip(order, joined.data.stream(order), strict=True):
        assert got == index
        assert_array_equal(x, expected[index])


def test_folders_that_were_fitted_by_themselves_do_not_join(tmp_path, filled, raws):
    other = prepare(raws[0], SETTINGS, cache_dir=tmp_path / "other")
    with pytest.raises(ValueError, match="fitted one by one"):
        as_prepared([read_prepared(filled), other])


@pytest.mark.slow
def test_training_and_prediction_are_those_in_memory(filled, fnames, in_memory):
    prepared = read_prepared(filled)
    kwargs = {"n_states": 2, "n_init": 1, "refine": False, "random_state": 0}
    hmm = mne_hmm.fit_hmm(in_memory, **kwargs)
    again = mne_hmm.fit_hmm(prepared, **kwargs)
    assert again.free_energy_ == hmm.free_energy_
    assert again.annotations_ == hmm.annotations_
    for method in ("posterior", "viterbi"):
        states = hmm.predict(prepared, method=method)
        expected = hmm.predict(in_memory, method=method)
        for course, other in zip(states, expected, strict=True):
            assert_array_equal(course.probabilities, other.probabilities)
            assert_array_equal(course.labels, other.labels)
    assert hmm.score(prepared) == hmm.score(in_memory)


def test_real_eeg(tmp_path, eegbci):
    fnames = [raw.filenames[0] for raw in eegbci(1, 2)]
    prepared = []
    for folder in (None, tmp_path):
        with pytest.warns(RuntimeWarning, match="without any signal"):
            prepared.append(prepare(fnames, cache_dir=folder))
    assert prepared[1].n_features == 80
    assert_same_prepared(prepared[1], prepared[0])


# Interrupted


# Dies at the third recording of a pass, in the middle of the third shard, or in between. One
# process loads what it needs, and branches of it are killed.
KILLED = """
import os, signal, sys
from pathlib import Path
from mne_hmm import Preparation, engine, prepare
from mne_hmm.preparation import prepare as prepare_module

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def prepare_signals(*args, original=prepare_module.prepare_signals, calls=[]):
    calls.append(args[0].label)
    return die() if len(calls) == 3 else original(*args)

def write_shard(path, rows, original=engine.write_shard, calls=[]):
    calls.append(path)
    original(path, rows[: len(rows) // 2] if len(calls) == 3 else rows)
    if len(calls) == 3:
        die()

root, *fnames = sys.argv[1:]
for where in ("first pass", "between", "second pass"):
    branch = os.fork()
    if branch:
        code = os.waitstatus_to_exitcode(os.waitpid(branch, 0)[1])
        assert code == -signal.SIGKILL, (where, code)
        continue
    if where == "first pass":
        prepare_module.prepare_signals = prepare_signals
    elif where == "between":
        prepare_module.fit_components = die
    else:
        engine.write_shard = write_shard
    prepare(fnames, Preparation(n_embeddings=5, n_components=6), cache_dir=Path(root) / where)
    sys.exit("was not killed")
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory, fnames):
    """Folders that calls have left which were killed, named by where."""
    root = tmp_path_factory.mktemp("killed")
    run_script(KILLED, root, *fnames)
    return root


@pytest.mark.parametrize(
    ("where", "n_read", "n_written"),
    [("first pass", 2 + 4, 0), ("between", 4, 0), ("second pass", 2, 2)],
)
def test_a_killed_call_goes_on(
    tmp_path, fnames, in_memory, monkeypatch, killed, where, n_read, n_written
):
    folder = shutil.copytree(killed / where, tmp_path / "folder")
    with pytest.raises(OSError, match=f"not finished: .* {n_written} of 4 recordings.*goes on"):
        read_prepared(folder)
    with pytest.raises(ValueError, match=r"another call of prepare.*n_components=5"):
        prepare(fnames, Preparation(n_embeddings=5, n_components=5), cache_dir=folder)
    before = state_of(folder)
    assert len(before) == n_written
    calls = []

    def counted(recording, *args):
        calls.append(recording.label)
        return original(recording, *args)

    original = prepare_module.prepare_signals
    monkeypatch.setattr(prepare_module, "prepare_signals", counted)
    assert_same_prepared(into(folder, fnames), in_memory)
    assert len(calls) == n_read
    after = state_of(folder)
    assert {name: after[name] for name in before} == before
    # Nothing is left of what was half written.
    assert len(list(folder.iterdir())) == 2 + 4


def test_a_finished_folder_is_returned(filled, fnames, in_memory, monkeypatch):
    monkeypatch.setattr(prepare_module, "prepare_signals", no_reading)
    before = state_of(filled)
    with mne.utils.catch_logging(verbose=True) as log:
        got = prepare(fnames, SETTINGS, cache_dir=filled, verbose=True)
    assert "holds these features already" in log.getvalue()
    assert state_of(filled) == before
    assert_same_prepared(got, in_memory)


def test_what_fails_leaves_the_folder_to_others(tmp_path, raws):
    with pytest.raises(ValueError, match="n_components=99 is more than"):
        prepare(raws[0], Preparation(n_embeddings=5, n_components=99), cache_dir=tmp_path)
    assert prepare(raws[0], SETTINGS, cache_dir=tmp_path).n_features == 6


def test_a_full_disk_leaves_no_half_shard(tmp_path, fnames, in_memory):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Shards have some 48 kB, all else is smaller; what is larger than this fails in the middle.
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"recording-00000.tfrecord cannot be written.*room"):
            prepare(fnames, SETTINGS, cache_dir=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.json", "preparation.h5"]
    assert_same_prepared(into(tmp_path, fnames), in_memory)


# Never mixed


def _annotated(raws):
    raws[2].set_annotations(mne.Annotations([1.0], [0.1], ["BAD_new"]))
    return raws


def _changed(raws):
    raws[2]._data[1, 700] += 1e-12
    return raws


@pytest.fixture(scope="module")
def of_raws(tmp_path_factory, raws):
    """A finished folder of recordings in memory."""
    folder = tmp_path_factory.mktemp("of_raws")
    into(folder, raws)
    return folder


@pytest.mark.parametrize(
    ("change", "settings", "kwargs", "says"),
    [
        (lambda raws: raws, Preparation(n_embeddings=7, n_components=6), {}, "n_embeddings=7.*5"),
        (lambda raws: raws[:3], SETTINGS, {}, r"number of recordings, 3 \(there 4\)"),
        (
            lambda raws: [raws[i] for i in (0, 2, 1, 3)],
            SETTINGS,
            {},
            "recording 1: signals.*2: sig",
        ),
        (lambda raws: raws, SETTINGS, {"picks": [0, 1, 2]}, "recording 0: signals, channels"),
        (lambda raws: raws, SETTINGS, {"reject_by_annotation": False}, "recording 1: annotations"),
        (_annotated, SETTINGS, {}, "recording 2: annotations"),
        (_changed, SETTINGS, {}, "recording 2: signals;"),
    ],
)
def test_another_call_is_refused(tmp_path, raws, of_raws, change, settings, kwargs, says):
    folder = shutil.copytree(of_raws, tmp_path / "folder")
    changed = change([raw.copy() for raw in raws])
    with pytest.raises(ValueError, match=f"another call.*{says}.*name another folder, or delete"):
        prepare(changed, settings, cache_dir=folder, **kwargs)


def test_another_file_is_refused(tmp_path, filled, fnames, in_memory):
    stat = fnames[1].stat()
    os.utime(fnames[1], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    try:
        with pytest.raises(ValueError, match=r"recording 1 \(1_raw.fif\): files"):
            prepare(fnames, SETTINGS, cache_dir=filled)
    finally:
        os.utime(fnames[1], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(ValueError, match="what differs: the fitted preparation"):
        prepare(fnames, in_memory.preparation, cache_dir=filled)


def test_projections_of_open_files_count(tmp_path, fnames):
    def opened():
        raw = mne.io.read_raw(fnames[0])
        return raw.set_channel_types(dict.fromkeys(raw.ch_names, "eeg"), on_unit_change="ignore")

    prepare(opened(), SETTINGS, cache_dir=tmp_path)
    raw = opened().set_eeg_reference(projection=True).apply_proj()
    with pytest.raises(ValueError, match="projections"):
        prepare(raw, SETTINGS, cache_dir=tmp_path)


# Damage


def flip(path, at=-50):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_missing_and_cut_shards(filled, fnames, in_memory, damage):
    shard = filled / "recording-00002.tfrecord"
    if damage == "missing":
        shard.unlink()
        says = "cannot be found"
    else:
        shard.write_bytes(shard.read_bytes()[:-1])
        says = "bytes instead of"
    match = rf"recording-00002.tfrecord.*recording 2 \(2_raw.fif\), .*{says}.*call prepare again"
    with pytest.raises(OSError, match=match):
        read_prepared(filled)
    before = state_of(filled)
    assert_same_prepared(into(filled, fnames), in_memory)
    after = state_of(filled)
    assert {name for name in after if after[name] != before.get(name)} == {shard.name}


def test_damage_that_sizes_do_not_tell_of(filled, fnames, in_memory):
    shard = filled / "recording-00001.tfrecord"
    flip(shard)
    prepared = read_prepared(filled)
    match = r"recording-00001.tfrecord.*recording 1 \(1_raw.fif\), is damaged.*delete that file"
    with pytest.raises(OSError, match=match):
        prepared.data[1]
    with pytest.raises(OSError, match=match):
        mne_hmm.fit_hmm(prepared, 2, n_init=1, refine=False)
    shard.unlink()
    assert_same_prepared(into(filled, fnames), in_memory)


def test_exchanged_shards(filled):
    # Of recordings of one length: of one size, and whole.
    first, third = (filled / f"recording-0000{i}.tfrecord" for i in (0, 2))
    assert first.stat().st_size == third.stat().st_size
    first.rename(filled / "kept")
    third.rename(first)
    (filled / "kept").rename(third)
    prepared = read_prepared(filled)
    for i in (0, 2):
        with pytest.raises(OSError, match=f"recording-0000{i}.*holds other data than were written"):
            prepared.data[i]


def test_damaged_preparation(filled, fnames):
    flip(filled / "preparation.h5")
    for call in (
        lambda: read_prepared(filled),
        lambda: prepare(fnames, SETTINGS, cache_dir=filled),
    ):
        with pytest.raises(OSError, match=r"preparation.h5.*delete the folder"):
            call()


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda text: text[:300], OSError, "index.json is damaged"),
        (lambda text: "[]", OSError, "index.json is damaged"),
        (lambda text: text.replace("mne_hmm prepared", "other"), OSError, "not of mne-hmm"),
        (lambda text: text.replace('"n_features"', '"n"', 1), OSError, "lacks n_features"),
        (
            lambda text: text.replace('"format_version": 1', '"format_version": 2'),
            ValueError,
            "format 2, of a newer mne-hmm.*pip install -U",
        ),
    ],
)
def test_damaged_index(filled, fnames, change, error, says):
    index = filled / "index.json"
    index.write_text(change(index.read_text()))
    for call in (
        lambda: read_prepared(filled),
        lambda: prepare(fnames, SETTINGS, cache_dir=filled),
    ):
        with pytest.raises(error, match=says):
            call()


def test_an_index_that_lacks_something_deep(filled):
    index = filled / "index.json"
    content = json.loads(index.read_text())
    del content["sha256"], content["recordings"][1]["shard"]["time_map"]["timeline"]
    index.write_text(json.dumps({"sha256": cache_index.checksum(content), **content}))
    with pytest.raises(OSError, match=r"index.json is damaged.*timeline"):
        read_prepared(filled)


def test_damaged_products_are_summed_anew(tmp_path, fnames, in_memory, monkeypatch):
    with monkeypatch.context() as context:
        context.setattr(prepare_module, "fit_components", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(fnames, SETTINGS, cache_dir=tmp_path)
    flip(tmp_path / "products.npz", at=3000)
    assert_same_prepared(into(tmp_path, fnames), in_memory)


def _interrupted(*_):
    raise KeyboardInterrupt


# Folders


def test_folders_that_are_none_of_ours(tmp_path, raws):
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        read_prepared(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no folder of prepared data.*prepare\("):
        read_prepared(tmp_path)
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    with pytest.raises(NotADirectoryError, match="filled, but it is a file"):
        read_prepared(file)
    with pytest.raises(NotADirectoryError, match="must be a folder, but it is a file"):
        prepare(raws[0], SETTINGS, cache_dir=file)
    with pytest.raises(OSError, match="cannot be written"):
        prepare(raws[0], SETTINGS, cache_dir=file / "below")
    with pytest.raises(ValueError, match=r"holds other files \(notes.txt\); name an empty folder"):
        prepare(raws[0], SETTINGS, cache_dir=tmp_path)
    assert file.read_text() == "mine"
