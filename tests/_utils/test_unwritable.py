"""Disks that are full, folders that let nobody write, and others who write the same file."""

import contextlib
import errno
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import mne
import numpy as np
import pytest
from child_processes import ChildProcess, run_script
from made_models import same_model, small_model

import mne_hmm
from mne_hmm._utils import files, locks
from mne_hmm._utils.files import written_atomically
from mne_hmm._utils.locks import lock_held

FEW = {"n_init": 1, "refine": False, "max_iter": 2, "random_state": 0, "verbose": "ERROR"}
AS_IS = mne_hmm.Preparation.as_is()


def mounted(folder, options):
    """Mount a small disk, or skip the test where that is not allowed."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root can mount the small disk that this test fills")
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip(f"no small disk can be mounted here: {ran.stderr.strip()}")


def unmount(folder):
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path):
    """A disk of its own, of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted(folder, "size=512k")
    yield folder
    unmount(folder)


@pytest.fixture
def read_only(tmp_path):
    """A function that makes a folder one that lets nobody write."""
    with contextlib.ExitStack() as stack:

        def close(folder):
            if os.geteuid() != 0:  # bits are enough for all but root
                folder.chmod(0o555)
                stack.callback(folder.chmod, 0o755)
                return
            bind = ["mount", "--bind", str(folder), str(folder)]
            ran = subprocess.run(bind, capture_output=True, text=True, check=False)
            if ran.returncode:
                pytest.skip(f"root cannot be kept from writing here: {ran.stderr.strip()}")
            stack.callback(unmount, folder)
            subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)

        yield close


def fill(disk, n_free):
    """Leave so many bytes free on a disk."""
    stat = os.statvfs(disk)
    n_blocks = stat.f_bavail - -(-n_free // stat.f_frsize)
    (disk / "filler").write_bytes(bytes(n_blocks * stat.f_frsize))


def tree(folder):
    """Every file below a folder with what it holds."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@contextlib.contextmanager
def nothing_changes(folder, error=OSError, match=""):
    """Expect an error, and every file to be as it was."""
    before = tree(folder)
    with pytest.raises(error, match=match):
        yield
    assert tree(folder) == before


# A full disk


FULL = r"cannot be written \(No space left on device\); make room"


@pytest.mark.parametrize("n_free", [0, 4096, 16384])
def test_a_model_on_a_full_disk(disk, n_free):
    """The file that was there stays, and nothing else is left."""
    small_model().save(disk / "model.h5")
    fill(disk, n_free)
    for fname, overwrite in (("model.h5", True), ("new.h5", False)):
        with nothing_changes(disk, match=rf"{fname} {FULL}"):
            small_model(4, 40).save(disk / fname, overwrite=overwrite)
    (disk / "filler").unlink()
    small_model(4, 40).save(disk / "model.h5", overwrite=True)
    assert same_model(mne_hmm.read_hmm(disk / "model.h5"), small_model(4, 40))


def test_a_model_for_osl_dynamics_on_a_full_disk(disk):
    """Its two files are of one model, whatever happens."""
    pytest.importorskip("yaml")
    mne_hmm.write_osl_hmm(small_model(), disk / "osl")
    fill(disk, 8192)
    with nothing_changes(disk, match=rf"model.weights.h5 {FULL}"):
        mne_hmm.write_osl_hmm(small_model(4, 40), disk / "osl", overwrite=True)
    assert mne_hmm.read_osl_hmm(disk / "osl", sfreq=100).n_states == 2


def test_prepared_data_on_a_full_disk(disk):
    """What is whole stays, and the same call goes on when there is room."""
    arrays = [np.random.default_rng(i).standard_normal((8, 4000)) for i in range(3)]
    arguments = {"sfreq": 100.0, "cache_dir": disk / "folder", "verbose": "ERROR"}
    (disk / "filler").write_bytes(bytes(160 * 1024))
    with pytest.raises(OSError, match=r"recording-0000\d.tfrecord cannot be written .*make room"):
        mne_hmm.prepare(arrays, AS_IS, **arguments)
    there = sorted(path.name for path in (disk / "folder").iterdir())
    assert there == [
        "index.json",
        "preparation.h5",
        "recording-00000.tfrecord",
        "recording-00001.tfrecord",
    ]
    (disk / "filler").unlink()
    prepared = mne_hmm.prepare(arrays, AS_IS, **arguments)
    for features, array in zip(prepared.data, arrays, strict=True):
        np.testing.assert_array_equal(features, array.T.astype(np.float32))


def test_checkpoints_on_a_full_disk(disk):
    """Training stops with an error, and goes on when there is room, to the same bits."""
    x = np.random.default_rng(0).standard_normal((3, 400))
    expected = mne_hmm.fit_hmm(x, 2, preparation=AS_IS, sfreq=100.0, **FEW)
    fill(disk, 4096)
    arguments = {"preparation": AS_IS, "sfreq": 100.0, "checkpoint_dir": disk / "run", **FEW}
    with pytest.raises(OSError, match=r"The checkpoint .* cannot be written \(No space.*make room"):
        mne_hmm.fit_hmm(x, 2, **arguments)
    assert not [path for path in (disk / "run").iterdir() if path.suffix in (".part", ".lock")]
    (disk / "filler").unlink()
    assert same_model(mne_hmm.fit_hmm(x, 2, **arguments), expected)


@pytest.fixture
def derivatives(tmp_path):
    """Arguments of write_bids_derivatives but for the root."""
    mne_bids = pytest.importorskip("mne_bids")
    hmm, root, paths = small_model(n_channels=2, sfreq=50.0), tmp_path / "ds", []
    rng = np.random.default_rng(0)
    (root / "sub-1" / "eeg").mkdir(parents=True)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    for run in "12":
        info = mne.create_info(["channel_0", "channel_1"], 50.0, "eeg")
        raw = mne.io.RawArray(rng.standard_normal((2, 2000)), info, verbose="ERROR")
        path = mne_bids.BIDSPath(
            subject="1", task="rest", run=run, datatype="eeg", suffix="eeg", root=root,
            extension=".fif", check=False,
        )  # fmt: skip
        raw.save(path.fpath, verbose="ERROR")
        paths.append(path)
    raws = [mne.io.read_raw_fif(path.fpath, verbose="ERROR") for path in paths]
    return hmm, hmm.predict(raws, verbose="ERROR"), paths


def test_derivatives_on_a_full_disk(disk, derivatives):
    """Either all files are new, or all are as they were."""
    root = disk / "derivatives" / "mne-hmm"
    fill(disk, 40_000)
    with nothing_changes(disk, match=FULL):
        mne_hmm.write_bids_derivatives(*derivatives, root)
    assert [path.name for path in disk.iterdir()] == ["filler"]  # no empty folders either
    (disk / "filler").unlink()
    hmm, states, paths = derivatives
    mne_hmm.write_bids_derivatives(*derivatives, root)
    fill(disk, 40_000)
    other = small_model(n_channels=2, sfreq=50.0, seed=1)
    with nothing_changes(disk, match=FULL):
        mne_hmm.write_bids_derivatives(other, states, paths, root, overwrite=True)
    assert same_model(mne_hmm.read_hmm(root / "desc-hmm_model.h5"), hmm)


# A folder that lets nobody write


def test_read_only_folders(tmp_path, read_only, derivatives):
    """Every function that writes says so, and leaves what is there."""
    folder = tmp_path / "folder"
    folder.mkdir()
    hmm, states, paths = derivatives
    hmm.save(folder / "model.h5")
    x = np.random.default_rng(0).standard_normal((3, 400))
    kept = {"preparation": AS_IS, "sfreq": 100.0, **FEW}
    whole = mne_hmm.prepare(x, AS_IS, sfreq=100.0, cache_dir=folder / "cache", verbose="ERROR")
    read_only(folder)
    match = r"cannot be written \((Read-only file system|Permission denied)\)"
    with nothing_changes(folder, match=f"model.h5 {match}.*see to the rights"):
        hmm.save(folder / "model.h5", overwrite=True)
    with nothing_changes(folder, match=f"new.h5 {match}"):
        hmm.save(folder / "new.h5")
    with nothing_changes(folder, match=f"osl {match}"):
        mne_hmm.write_osl_hmm(hmm, folder / "osl")
    with nothing_changes(folder, match=f"new {match}.*rights of cache_dir"):
        mne_hmm.prepare(x, AS_IS, sfreq=100.0, cache_dir=folder / "new", verbose="ERROR")
    with nothing_changes(folder, match="run"):
        mne_hmm.fit_hmm(x, 2, checkpoint_dir=folder / "run", **kept)
    with nothing_changes(folder, match=f"derivatives {match}"):
        mne_hmm.write_bids_derivatives(hmm, states, paths, folder / "derivatives")
    # What is finished there is read as ever, by calls that might write as well.
    again = mne_hmm.prepare(x, AS_IS, sfreq=100.0, cache_dir=folder / "cache", verbose="ERROR")
    np.testing.assert_array_equal(again.data[0], whole.data[0])
    assert same_model(mne_hmm.read_hmm(folder / "model.h5"), hmm)


ANOTHER_USER = """
import os, pathlib, sys
import mne_hmm
from made_models import small_model

small_model().save(pathlib.Path(sys.argv[1]) / "warm.h5")  # loads all that root alone may read
os.setuid(65534)
try:
    small_model().save(pathlib.Path(sys.argv[1]) / "model.h5", overwrite=True)
except PermissionError as error:
    print(error)
"""


@pytest.mark.slow
def test_another_user():
    """Rights of folders count for everyone who is not root."""
    if sys.platform == "win32" or os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        small_model().save(folder / "model.h5")
        before = tree(folder)
        out, err = run_script(ANOTHER_USER, name)
        assert "model.h5 cannot be written (Permission denied)" in out, err
        (folder / "warm.h5").unlink()
        assert tree(folder) == before


# Others who write the same


def test_a_file_that_appears_meanwhile_stays(tmp_path, monkeypatch):
    """What another wrote while we did is not replaced, unless that was asked for."""
    fname = tmp_path / "model.h5"

    def meanwhile(path):
        fname.write_bytes(b"theirs")

    # The last step before a file is moved to its place.
    monkeypatch.setattr(files, "_bring_to_disk", meanwhile)
    with pytest.raises(FileExistsError, match=r"model.h5' exists already; pass overwrite=True"):
        small_model().save(fname)
    assert tree(tmp_path) == {"model.h5": b"theirs"}
    small_model().save(fname, overwrite=True)
    assert same_model(mne_hmm.read_hmm(fname), small_model())


def test_errors_of_something_else_stay_as_they_are(tmp_path):
    """A server that is gone while a file is written is no reason to make room."""
    lost = ConnectionResetError(errno.ECONNRESET, "the server is gone")
    with pytest.raises(ConnectionResetError) as caught, written_atomically(tmp_path / "x.h5"):
        raise lost
    assert caught.value is lost
    missing = PermissionError(errno.EACCES, "no rights to read", str(tmp_path / "other.fif"))
    with pytest.raises(PermissionError) as caught, written_atomically(tmp_path / "x.h5"):
        raise missing
    assert caught.value is missing
    assert not list(tmp_path.iterdir())


def test_a_file_system_without_links(tmp_path, monkeypatch):
    """There the name is kept by an empty file until the whole one takes its place."""

    def no_links(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    small_model().save(tmp_path / "model.h5")
    assert same_model(mne_hmm.read_hmm(tmp_path / "model.h5"), small_model())
    with (
        pytest.raises(FileExistsError, match="exists already"),
        written_atomically(tmp_path / "model.h5", overwrite=False) as path,
    ):
        path.write_bytes(b"ours")
    assert same_model(mne_hmm.read_hmm(tmp_path / "model.h5"), small_model())
    assert len(list(tmp_path.iterdir())) == 1


def test_long_and_odd_names(tmp_path):
    """A temporary name is no longer than the longest that is allowed."""
    for name in ("m" * 252 + ".h5", "ü" * 100 + " '\"$&;.h5", "%d{x}.h5", "-rf.h5"):
        small_model().save(tmp_path / name)
        assert same_model(mne_hmm.read_hmm(tmp_path / name), small_model())
    with pytest.raises(OSError, match="File name too long"):
        small_model().save(tmp_path / ("m" * 300 + ".h5"))


WRITERS = """
import json, pathlib, sys, time
import mne_hmm
from made_models import small_model

folder, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2])
hmm = small_model(3, 20, seed=seed)
print("ready", flush=True)
sys.stdin.readline()
won = []
for i in range(15):
    hmm.save(folder / "shared.h5", overwrite=True)
    try:
        hmm.save(folder / f"{i}.h5")
        won.append(i)
    except FileExistsError:
        pass
print(json.dumps(won))
"""


def test_two_processes_write_the_same_file(tmp_path):
    """Whoever reads meanwhile sees a whole file, and of two new ones one stays."""
    folder = tmp_path / "folder"
    folder.mkdir()
    models = [small_model(3, 20, seed=seed) for seed in range(2)]
    models[0].save(folder / "shared.h5")
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(ChildProcess(WRITERS, folder, seed)) for seed in range(2)]
        for writer in writers:
            assert writer.line() == "ready"
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        n_read = 0
        while any(writer.poll() is None for writer in writers):
            stored = mne_hmm.read_hmm(folder / "shared.h5")
            assert any(same_model(stored, hmm) for hmm in models)
            n_read += 1
            time.sleep(0.1)  # leaves the time of the processor to them
        assert n_read > 1
        won = [json.loads(writer.end()[0]) for writer in writers]
    assert sorted(won[0] + won[1]) == list(range(15))
    for hmm, indices in zip(models, won, strict=True):
        assert all(same_model(mne_hmm.read_hmm(folder / f"{i}.h5"), hmm) for i in indices)
    assert len(list(folder.iterdir())) == 16


# Locks

HOLDER = """
import pathlib, sys, time
from mne_hmm._utils.locks import lock_held

with lock_held(pathlib.Path(sys.argv[1]), busy="", wait=True):
    print("held", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def held_by_another(path):
    """Let another process have a lock."""
    with ChildProcess(HOLDER, path) as process:
        assert process.line() == "held"
        yield process


def test_a_folder_of_checkpoints_is_for_one_training(tmp_path):
    """The second gets an error; when the first is killed, nothing is in its way."""
    x = np.random.default_rng(0).standard_normal((3, 400))
    folder = tmp_path / "run"
    folder.mkdir()
    arguments = {"preparation": AS_IS, "sfreq": 100.0, "checkpoint_dir": folder, **FEW}
    with held_by_another(folder / "facts.journal.lock") as process:
        says = rf"is in use by another training; wait for its end.*\(process {process.pid}\)"
        with pytest.raises(OSError, match=says):
            mne_hmm.fit_hmm(x, 2, **arguments)
        with pytest.raises(OSError, match=says):
            mne_hmm.select_n_states(
                x, [2], n_folds=2, preparation=AS_IS, sfreq=100.0, checkpoint_dir=folder
            )
        assert [path.name for path in folder.iterdir()] == ["facts.journal.lock"]
        process.kill()
        process.wait()
        assert (folder / "facts.journal.lock").exists()
        hmm = mne_hmm.fit_hmm(x, 2, **arguments)
    assert not (folder / "facts.journal.lock").exists()
    assert same_model(mne_hmm.fit_hmm(x, 2, **arguments), hmm)


def test_a_lock_whose_file_has_gone(tmp_path, monkeypatch):
    """Who had it deletes the file when another has opened it: that one keeps nobody out."""
    fcntl = pytest.importorskip("fcntl", reason="another system deletes no open files")
    path, opened = tmp_path / ".lock", []
    original = fcntl.flock

    def flock(descriptor, operation):
        if not opened:
            path.unlink()
        opened.append(descriptor)
        return original(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock_held(path, busy="", wait=True):
        assert len(opened) == 2
        assert path.exists()
        with pytest.raises(BlockingIOError), lock_held(path, busy="", wait=False):
            pass


def interrupted_after(n_lines, path):
    """Interrupt a lock after so many lines of its module, and of what enters and leaves it."""
    n_left = n_lines

    def trace(frame, event, arg):
        nonlocal n_left
        if frame.f_code.co_filename not in (locks.__file__, contextlib.__file__):
            return None
        n_left -= event == "line"
        if n_left < 0:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    original = sys.gettrace()
    try:
        sys.settrace(trace)
        with lock_held(path, busy="", wait=False):
            pass
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(original)
    return False


def test_an_interrupt_at_any_moment_leaves_nothing_behind(tmp_path, recwarn):
    """Neither an open file, whose end Python would warn of, nor a lock that keeps others out."""
    path, n_lines = tmp_path / ".lock", 0
    folder = Path("/proc/self/fd")
    n_open = len(list(folder.iterdir())) if folder.exists() else 0
    while interrupted_after(n_lines, path):
        with lock_held(path, busy=f"after {n_lines} lines", wait=False):
            pass
        n_lines += 1
    gc.collect()
    assert n_lines > 10
    assert not [str(warning.message) for warning in recwarn]
    assert not folder.exists() or len(list(folder.iterdir())) == n_open


def test_a_folder_of_features_is_filled_by_one_call(tmp_path):
    """Others wait, say so, and take what is there then."""
    x = np.random.default_rng(0).standard_normal((3, 400))
    folder, done = tmp_path / "folder", []
    folder.mkdir()

    def wait():
        with mne.utils.catch_logging(verbose=True) as log:
            done.append(mne_hmm.prepare(x, AS_IS, sfreq=100.0, cache_dir=folder, verbose=True))
        done.append(log.getvalue())

    with held_by_another(folder / ".lock") as process:
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(1)
        assert not done
        process.kill()
        thread.join(timeout=300)
    prepared, log = done
    assert f"is being filled by another process (process {process.pid}); waiting for it" in log
    np.testing.assert_array_equal(prepared.data[0], x.T.astype(np.float32))
    assert not (folder / ".lock").exists()


def test_what_takes_a_place_is_on_the_disk(tmp_path, monkeypatch):
    """A model takes the place of an old one when it would survive that power fails."""
    small_model().save(tmp_path / "hmm.h5")
    calls, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(files.os, "fsync", lambda n: (calls.append("fsync"), fsync(n)))
    monkeypatch.setattr(files.os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    small_model().save(tmp_path / "hmm.h5", overwrite=True)
    assert calls == ["fsync", "replace"]


def test_calls_of_one_process_take_turns(tmp_path):
    """Threads fill a folder one after another, and all get the same."""
    x = np.random.default_rng(0).standard_normal((3, 400))
    prepared = []

    def fill():
        # Without verbose, which sets and restores a level that threads share.
        arguments = {"sfreq": 100.0, "cache_dir": tmp_path / "folder"}
        prepared.append(mne_hmm.prepare(x, AS_IS, **arguments).data[0])

    threads = [threading.Thread(target=fill) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(prepared) == 4
    for features in prepared:
        np.testing.assert_array_equal(features, x.T.astype(np.float32))
    there = {"index.json", "preparation.h5", "recording-00000.tfrecord"}
    assert {path.name for path in (tmp_path / "folder").iterdir()} == there
