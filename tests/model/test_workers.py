"""Several workers train the model that one would, and go on after one of them was lost."""

import contextlib
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import mne
import numpy as np
import pytest
from child_processes import ChildProcess, run_script
from helpers import assert_same_model
from local_workers import free_addresses, tf_config
from numpy.testing import assert_allclose

import mne_hmm

SFREQ = 100.0
AS_IS = mne_hmm.Preparation.as_is()
ROOT = Path(__file__).parents[2]

# Of uneven lengths: one worker has the first, the other the rest. Each of them, and all together,
# are 33 to 128 chunks of 32 samples: the recursions are compiled once in each process.
UNEVEN = [1880, 1070, 1100]
PARAMETERS = ("initial_probs_", "transition_matrix_", "means_", "covariances_")

# A small tolerance: where training stops depends on rounding otherwise.
ONE_START = {"n_states": 3, "n_init": 1, "refine": False, "tol": 1e-5}

# Seconds until a process that should end by itself is given up.
LIMIT = 240.0


def recording(n_times, seed):
    """Three channels in three states of different means and covariances, with a bad span."""
    mixing = np.random.default_rng(4).normal(0, 1, (3, 3, 3)) / 2 + np.eye(3)
    rng = np.random.default_rng(seed)
    states = np.repeat(rng.integers(0, 3, n_times // 20 + 1), 20)[:n_times]
    noise = rng.standard_normal((n_times, 3))
    x = np.einsum("tij,tj->it", mixing[states], noise) + np.array([0.0, 1.0, -1.0])[states]
    raw = mne.io.RawArray(x, mne.create_info(3, SFREQ, "eeg"), verbose="ERROR")
    return raw.set_annotations(mne.Annotations([1.0], [0.5], ["BAD_x"]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "prepared"
    mne_hmm.prepare([recording(n, seed) for seed, n in enumerate(UNEVEN)], AS_IS, cache_dir=path)
    return path


# What a worker runs. Told so, it kills itself after a pass.
WORKER = """
import os, signal, sys
import mne_hmm
from mne_hmm.engine import Journal
from mne_hmm.model.progress import Progress

folder, directory, fname, kwargs, last = sys.argv[1:]
strategy = mne_hmm.multi_worker_strategy()
Journal.__init__.__kwdefaults__["seconds"] = 0.0

def told(self, stage, number, *args):
    original(self, stage, number, *args)
    if f"{stage} {number}" == last:
        os.kill(os.getpid(), signal.SIGKILL)

original = Progress.__call__
Progress.__call__ = told
hmm = mne_hmm.fit_hmm(
    mne_hmm.read_prepared(folder), strategy=strategy, checkpoint_dir=directory or None,
    random_state=0, verbose="ERROR", **eval(kwargs),
)
hmm.save(fname)
"""


class Together:
    """Two processes that train together, and end with the test."""

    def __init__(self, tmp_path, folder, kwargs, directory="", lasts=("", "")):
        tmp_path.mkdir(exist_ok=True)
        addresses = free_addresses(2)
        self.fnames = [tmp_path / f"{rank}-hmm.h5" for rank in (0, 1)]
        with contextlib.ExitStack() as stack:
            self.processes = [
                stack.enter_context(
                    ChildProcess(
                        WORKER,
                        *(folder, directory, fname, repr(kwargs), last),
                        environment=tf_config(addresses, rank),
                        ignore_warnings=True,
                        limit=LIMIT,
                    )
                )
                for rank, (fname, last) in enumerate(zip(self.fnames, lasts, strict=True))
            ]
            self._stack = stack.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    def models(self):
        """Wait for the end; gives the model of each worker."""
        for process in self.processes:
            process.end()
        return [mne_hmm.read_hmm(fname) for fname in self.fnames]


def assert_like(ours, theirs):
    """Compare with one process: sums are made in another order."""
    for name in PARAMETERS:
        assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=0, atol=1e-6)
    a, b = ours.history_["free_energy"], theirs.history_["free_energy"]
    assert len(a) == len(b)
    # Where they start and end. Where it falls steeply, out of a saddle, rounding grows on the way:
    # another order of recordings alone moves it there by up to 2e-5.
    assert_allclose(a[[0, -1]], b[[0, -1]], rtol=0, atol=1e-6)
    assert_allclose(a, b, rtol=0, atol=1e-4)
    assert ours.annotations_ == theirs.annotations_
    assert ours.converged_ == theirs.converged_


@pytest.mark.parametrize(
    "kwargs",
    [
        ONE_START,
        pytest.param({"n_states": 2, "n_init": 2, "tol": 1e-5}, marks=pytest.mark.slow),
        pytest.param(
            ONE_START | {"init": (np.arange(sum(UNEVEN) - 50 * len(UNEVEN)) // 20 % 3).tolist()},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["one start", "search", "labels"],
)
def test_two_workers_are_one(kwargs, folder, tmp_path):
    """The model of two workers is that of one, on both, with all annotations."""
    with Together(tmp_path, folder, kwargs) as together:
        first, second = together.models()
    assert_same_model(first, second)
    alone = mne_hmm.fit_hmm(mne_hmm.read_prepared(folder), random_state=0, **kwargs)
    assert_like(first, alone)
    assert len(first.annotations_) == len(UNEVEN)
    assert all(len(annotations) > 3 for annotations in first.annotations_)


@pytest.mark.slow
def test_mini_batches_of_two_workers(folder, tmp_path):
    """Mini-batches of two workers are others than those of one; the optimum is the same."""
    kwargs = ONE_START | {"batch_size": 4, "sequence_length": 200, "tol": 0}
    with Together(tmp_path, folder, kwargs) as together:
        first, second = together.models()
    assert_same_model(first, second)
    assert len(first.history_["batches"]) > 0
    alone = mne_hmm.fit_hmm(mne_hmm.read_prepared(folder), random_state=0, **kwargs)
    # Training stops where only the rounding of densities in float32 is left.
    assert_allclose(first.free_energy_, alone.free_energy_, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("labels", [False, True])
def test_a_worker_without_recordings(tmp_path, labels):
    """One recording and two workers: one of them only adds zeros."""
    mne_hmm.prepare(recording(2500, 0), AS_IS, cache_dir=tmp_path / "one")
    kwargs = ONE_START | ({"init": (np.arange(2450) // 20 % 3).tolist()} if labels else {})
    with Together(tmp_path, tmp_path / "one", kwargs) as together:
        first, second = together.models()
    assert_same_model(first, second)
    alone = mne_hmm.fit_hmm(mne_hmm.read_prepared(tmp_path / "one"), random_state=0, **kwargs)
    assert_like(first, alone)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("lost", [0, 1])
def test_killed_and_started_again(lost, folder, tmp_path):
    """Without one, the other ends in time with an error; both together go on to the same bits."""
    with Together(tmp_path / "undisturbed", folder, ONE_START) as together:
        undisturbed, _ = together.models()
    assert len(undisturbed.history_["free_energy"]) > 2  # a pass is left after the second

    lasts = ["training 1" if rank == lost else "" for rank in (0, 1)]
    run = tmp_path / "run"
    with Together(tmp_path / "killed", folder, ONE_START, run, lasts) as together:
        other = together.processes[1 - lost]
        assert together.processes[lost].wait() == -signal.SIGKILL
        began = time.monotonic()
        _, err = other.end(status=1)
        assert time.monotonic() - began < 60
        last = err.strip().splitlines()[-1]
        assert f"WorkerError: training cannot go on without worker {lost} at 127.0.0.1:" in last
        assert "Start all workers again" in last
        assert not any(fname.exists() for fname in together.fnames)
    assert list(run.glob("training-*.state"))

    with Together(tmp_path / "again", folder, ONE_START, run) as together:
        models = together.models()
    for hmm in models:
        assert_same_model(hmm, undisturbed)
    assert list(run.glob("training-*.result"))


# Two devices on one machine

MIRRORED = """
import sys
import tensorflow as tf
import mne_hmm

folder, fname, kwargs = sys.argv[1:]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
prepared = mne_hmm.read_prepared(folder)
hmm = mne_hmm.fit_hmm(prepared, strategy=strategy, random_state=0, verbose="ERROR", **eval(kwargs))
with strategy.scope():
    again = mne_hmm.fit_hmm(prepared, random_state=0, verbose="ERROR", **eval(kwargs))
assert (again.means_ == hmm.means_).all()
hmm.save(fname)
"""


@pytest.mark.slow
def test_two_devices_are_one(tmp_path, monkeypatch):
    """Batches are spread over devices and added up in the same order, in scope or as argument."""
    # Each of these recordings is a batch of its own.
    raws = [recording(n, seed) for seed, n in enumerate([33_000, 34_000, 33_500])]
    mne_hmm.prepare(raws, AS_IS, cache_dir=tmp_path / "prepared")
    paths = tmp_path / "prepared", tmp_path / "hmm.h5"
    run_script(MIRRORED, *paths, repr(ONE_START), ignore_warnings=True, limit=LIMIT)
    alone = mne_hmm.fit_hmm(
        mne_hmm.read_prepared(tmp_path / "prepared"), random_state=0, **ONE_START
    )
    assert_same_model(mne_hmm.read_hmm(tmp_path / "hmm.h5"), alone)


# As it is documented


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_the_script_of_the_documentation(folder, tmp_path):
    """What the page says is typed, with other ports, fewer states and the test's folders."""
    page = (ROOT / "docs" / "several_machines.rst").read_text(encoding="utf-8")
    (command,) = re.findall(r"   workers=.*?   wait\n", page, re.DOTALL)
    ports = [address.rpartition(":")[2] for address in free_addresses(2)]
    for old, new in (
        ("localhost:23456", f"localhost:{ports[0]}"),
        ("localhost:23457", f"localhost:{ports[1]}"),
        ("python docs/", f"{sys.executable} {ROOT / 'docs'}/"),
        (" prepared rest-hmm.h5", f" {folder} rest-hmm.h5 --states 2"),
    ):
        assert old in command
        command = command.replace(old, new)
    for _ in range(2):  # the second time it is all in the checkpoints
        result = subprocess.run(
            ["sh", "-c", command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
        )
        assert result.returncode == 0, result.stderr
        assert "Traceback" not in result.stderr, result.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "rest-hmm.h5"]
        hmm = mne_hmm.read_hmm(tmp_path / "rest-hmm.h5")
        (tmp_path / "rest-hmm.h5").unlink()
        alone = mne_hmm.fit_hmm(mne_hmm.read_prepared(folder), 2, random_state=0)
        assert_like(hmm, alone)
