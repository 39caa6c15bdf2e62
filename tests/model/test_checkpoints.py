"""Training that is cut off goes on where it was, and ends as if nothing had been."""

import os
import re
import shutil
import signal
import sys
import time
from functools import cache

import numpy as np
import pytest
from child_processes import ChildProcess
from helpers import assert_same_model
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm.engine import Journal, Prior
from mne_hmm.engine.runtime import checkpoint
from mne_hmm.engine.training import em
from mne_hmm.model.progress import Progress

SFREQ = 100.0
AS_IS = mne_hmm.Preparation.as_is()

# Whole trainings: with a search, and on mini-batches first. A small
# tolerance makes many passes, of which any may be the last before the end.
SEARCH = {"n_states": 2, "n_init": 2, "tol": 1e-6}
BATCHES = {
    "n_states": 2,
    "n_init": 1,
    "refine": False,
    "batch_size": 14,
    "sequence_length": 150,
    "tol": 1e-6,
}
PLANS = {"search": SEARCH, "mini-batches": BATCHES}


def signals():
    """Two recordings of three channels in four states: more than two models can describe.

    With fewer samples the search would be on all data, not on a part.
    """
    rng = np.random.default_rng(0)
    mixing = rng.normal(0, 1, (4, 3, 3)) / 2 + np.eye(3)
    states = np.repeat(rng.integers(0, 4, 2500), 8)
    x = np.einsum("tij,tj->it", mixing[states], rng.standard_normal((20_000, 3)))
    return [x[:, :12_000], x[:, 12_000:]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the prepared data, as other processes can read them."""
    path = tmp_path_factory.mktemp("data") / "prepared"
    mne_hmm.prepare(signals(), AS_IS, sfreq=SFREQ, cache_dir=path)
    return path


@pytest.fixture(scope="module")
def data():
    """The same data, in memory, where passes over so few take a tenth of the time."""
    return mne_hmm.prepare(signals(), AS_IS, sfreq=SFREQ)


@pytest.fixture(autouse=True)
def _ctrl_c():
    """Be interrupted by SIGINT also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def every_pass(monkeypatch):
    """Keep the state of every pass, however fast passes are."""
    monkeypatch.setitem(Journal.__init__.__kwdefaults__, "seconds", 0.0)


def fit(data, checkpoint_dir, random_state=0, **kwargs):
    return mne_hmm.fit_hmm(
        data, checkpoint_dir=checkpoint_dir, random_state=random_state, **{**SEARCH, **kwargs}
    )


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Train by a plan, once for all tests, and keep the folder as it was after every write."""

    @cache
    def train(name):
        plan = PLANS[name]
        root = tmp_path_factory.mktemp("undisturbed")
        moments = []

        def kept(path, content):
            write(path, content)
            moments.append(root / f"{len(moments):03d} {path.name}")
            shutil.copytree(root / "run", moments[-1], ignore=shutil.ignore_patterns("*.lock"))

        write = checkpoint._write  # every file is written by it
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(Journal.__init__.__kwdefaults__, "seconds", 0.0)
            patch.setattr(checkpoint, "_write", kept)
            noted = fit(data, root / "run", **plan)
        hmm = fit(data, None, **plan)
        assert_same_model(noted, hmm)  # to take notes changes nothing
        return plan, hmm, moments

    return train


@pytest.fixture(params=PLANS)
def undisturbed(request, trained):
    """A plan, its model without a checkpoint, and the folder as it was after every write."""
    return trained(request.param)


def moment(moments, step, kind):
    """The folder just after a file of a step was written."""
    name = re.compile(rf"\d+ {step}-\w{{8}}\.{kind}")
    return next(path for path in moments if name.fullmatch(path.name))


# Killed


# Writes the n-th file, and is dead before anything else can happen. Without a number it ends.
KILLED = """
import os, signal, sys
import mne_hmm
from mne_hmm.engine import Journal
from mne_hmm.engine.runtime import checkpoint

folder, directory, n_writes = sys.argv[1:4]

def last(path, content, count=[0]):
    write(path, content)
    count[0] += 1
    if count[0] == int(n_writes):
        os.kill(os.getpid(), signal.SIGKILL)

write = checkpoint._write  # every file is written by it
checkpoint._write = last
Journal.__init__.__kwdefaults__["seconds"] = 0.0
print("started", flush=True)
mne_hmm.fit_hmm(
    mne_hmm.read_prepared(folder), checkpoint_dir=directory, random_state=0, verbose="ERROR",
    **eval(sys.argv[4]),
)
print("ended", flush=True)
"""


def process(folder, directory, plan, n_writes=0):
    """Start a training in a process of its own."""
    return ChildProcess(KILLED, folder, directory, n_writes, repr(plan), ignore_warnings=True)


def names_in(directory):
    return sorted(path.name for path in directory.iterdir() if path.suffix != ".lock")


needs_kill = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
slow = pytest.mark.slow


@needs_kill
@pytest.mark.parametrize(
    ("undisturbed", "step", "kind"),
    [
        pytest.param("search", "start-1", "result", marks=slow),
        pytest.param("search", "search-round-1-moves", "result", marks=slow),
        ("search", "search-round-1", "000002.state"),
        pytest.param("search", "training", "000001.state", marks=slow),
        pytest.param("search", "training", "result", marks=slow),
        pytest.param("mini-batches", "mini-batches", "000002.state", marks=slow),
        pytest.param("mini-batches", "training", "000002.state", marks=slow),
    ],
    indirect=["undisturbed"],
)
def test_killed_and_resumed(undisturbed, step, kind, folder, tmp_path, every_pass):
    """The same call goes on, in another process, to the same bits."""
    plan, hmm, moments = undisturbed
    n_writes = moments.index(moment(moments, step, kind)) + 1
    with process(folder, tmp_path / "run", plan, n_writes) as training:
        assert training.end(status=-signal.SIGKILL)[0] == "started\n"
    assert names_in(tmp_path / "run") == names_in(moments[n_writes - 1])
    assert_same_model(fit(mne_hmm.read_prepared(folder), tmp_path / "run", **plan), hmm)


@needs_kill
@pytest.mark.slow
@pytest.mark.parametrize("undisturbed", PLANS, indirect=True)
def test_killed_again_and_again(undisturbed, folder, data, tmp_path):
    """Whenever a process is killed, the next one gets further, and the last one ends."""
    plan, hmm, _ = undisturbed
    for seconds in (0.0, 0.3, 1.0, 1.7, 2.6):
        with process(folder, tmp_path / "run", plan) as training:
            assert training.line() == "started"
            time.sleep(seconds)
            training.kill()
    assert (tmp_path / "run").is_dir()
    assert_same_model(fit(data, tmp_path / "run", **plan), hmm)


@needs_kill
@pytest.mark.slow
@pytest.mark.parametrize("undisturbed", PLANS, indirect=True)
def test_killed_at_random_moments(undisturbed, folder, data, tmp_path):
    """Ten times each: in starts, the search, mini-batches, training, or while a file is written."""
    plan, hmm, _ = undisturbed
    with process(folder, tmp_path / "whole", plan) as training:
        assert training.line() == "started"
        began = time.monotonic()
        assert training.line() == "ended"
        duration = time.monotonic() - began
    moments = np.random.default_rng(20).random(10)
    for i_moment, moment in enumerate(moments):
        directory = tmp_path / str(i_moment)
        with process(folder, directory, plan) as training:
            assert training.line() == "started"
            time.sleep(moment * duration)
            training.kill()
        assert_same_model(fit(data, directory, **plan), hmm)


@pytest.mark.slow
@pytest.mark.parametrize("n_moments", [4, 12])
def test_every_moment_is_one_to_go_on_from(undisturbed, n_moments, data, tmp_path, every_pass):
    """From the folder as it was after a write, training comes to the same bits."""
    plan, hmm, moments = undisturbed
    for path in moments[1 :: max(len(moments) // n_moments, 1)]:
        shutil.copytree(path, tmp_path / path.name)
        assert_same_model(fit(data, tmp_path / path.name, **plan), hmm)


@pytest.mark.slow
def test_a_move_that_is_given_up(data, tmp_path, monkeypatch, every_pass):
    """A move is judged after the same pass, wherever training was cut off."""
    train = sys.modules["mne_hmm.engine.training.train"]
    # No gain is hoped for: after two updates there are no more.
    monkeypatch.setattr(train, "MIN_TRIAL_UPDATES", 2)
    monkeypatch.setattr(train, "N_HOPED_UPDATES", 0)
    moments = []

    def kept(path, content):
        write(path, content)
        if path.name.startswith("search-round-1-move-1"):
            moments.append(tmp_path / str(len(moments)))
            shutil.copytree(tmp_path / "run", moments[-1])

    write = checkpoint._write  # every file is written by it
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_write", kept)
        hmm = fit(data, tmp_path / "run")
    assert len(moments) == 4  # three passes and the result
    for path in moments:
        assert_same_model(fit(data, path), hmm)


# Interrupted


def at_pass(index, stage, action, monkeypatch):
    """Do something after a pass, once."""

    def watched(self, name, count, *args):
        original(self, name, count, *args)
        if (name, count) == (stage, index):
            monkeypatch.setattr(Progress, "__call__", original)
            action()

    original = Progress.__call__
    monkeypatch.setattr(Progress, "__call__", watched)


def counted(monkeypatch):
    """Count passes of training from here on."""
    calls = []

    def expect_batches(*args, **kwargs):
        calls.append(args)
        return original(*args, **kwargs)

    original = em.expect_batches
    monkeypatch.setattr(em, "expect_batches", expect_batches)
    return calls


@pytest.mark.parametrize("undisturbed", ["search"], indirect=True)
def test_ctrl_c_keeps_every_pass(undisturbed, data, tmp_path, monkeypatch):
    """States are written once a second only, but the last one before an interrupt is."""
    plan, hmm, _ = undisturbed
    monkeypatch.setitem(Journal.__init__.__kwdefaults__, "seconds", 1e6)
    done = counted(monkeypatch)
    at_pass(2, "search, round 1", lambda: signal.raise_signal(signal.SIGINT), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        fit(data, tmp_path / "run", **plan)
    before = len(done)
    assert_same_model(fit(data, tmp_path / "run", **plan), hmm)
    monkeypatch.undo()
    again = counted(monkeypatch)
    fit(data, None, **plan)
    assert len(done) == len(again) > before  # no pass was made twice


@pytest.mark.parametrize("undisturbed", ["search"], indirect=True)
def test_ctrl_c_in_the_middle_of_a_pass(undisturbed, data, tmp_path, monkeypatch):
    """What a pass has changed so far does not count."""
    plan, hmm, _ = undisturbed

    def interrupted(*args):
        # The sums over the data are new, the free energy is not.
        monkeypatch.setattr(Prior, "log_density", original)
        raise KeyboardInterrupt

    def interrupt_the_next():
        monkeypatch.setattr(Prior, "log_density", interrupted)

    original = Prior.log_density
    at_pass(2, "search, round 1", interrupt_the_next, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        fit(data, tmp_path / "run", **plan)
    assert_same_model(fit(data, tmp_path / "run", **plan), hmm)


# Called again


def no_pass(*_, **__):
    raise AssertionError("a pass over the data was made")


def test_finished_training_is_returned(undisturbed, data, tmp_path, monkeypatch):
    """Nothing is trained anew, and nothing written."""
    plan, hmm, moments = undisturbed
    shutil.copytree(moments[-1], tmp_path / "run")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    monkeypatch.setattr(em, "expect_batches", no_pass)
    again = fit(data, tmp_path / "run", **plan)
    assert_same_model(again, hmm)
    assert_array_equal(again.history_["n_passes"], hmm.history_["n_passes"])
    assert before == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}


@pytest.mark.parametrize("undisturbed", ["search"], indirect=True)
def test_data_may_have_moved(undisturbed, folder, tmp_path):
    """They are known by what they hold, not by where they lie."""
    plan, hmm, moments = undisturbed
    shutil.copytree(moments[-1], tmp_path / "run")
    shutil.copytree(folder, tmp_path / "moved")
    assert_same_model(fit(mne_hmm.read_prepared(tmp_path / "moved"), tmp_path / "run", **plan), hmm)


@pytest.mark.parametrize("undisturbed", ["search"], indirect=True)
@pytest.mark.parametrize(
    ("kwargs", "fact"),
    [
        ({"n_states": 3}, r"n_states \(2 there, 3 now\)"),
        ({"random_state": 1}, r"random_state \('0' there, '1' now\)"),
        ({"random_state": None}, r"random_state \('0' there, 'None' now\)"),
        ({"tol": 1e-3}, r"tol \(1e-06 there, 0.001 now\)"),
        ({"n_init": 3}, r"n_init \(2 there, 3 now\)"),
        ({"refine": False}, r"refine \(True there, False now\)"),
        ({"max_iter": 7}, r"max_iter \(100 there, 7 now\)"),
        ({"learn_means": False}, r"learn_means \(True there, False now\)"),
        ({"covariance_type": "diag"}, r"covariance_type \('full' there, 'diag' now\)"),
        ({"priors": mne_hmm.Priors(initial=2)}, r"prior of initial \(0.0 there, 2.0 now\)"),
        ({"batch_size": 5}, r"batch_size \(nothing there, 5 now\), sequence_length .*"),
        ({"init": "random"}, r"init \('kmeans' there, 'random' now\)"),
        ({"initial_means": np.zeros((2, 3))}, r"initial means \(nothing there, '\w+' now\)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_other_training_is_refused(undisturbed, data, kwargs, fact):
    """The error names what differs, on both sides, and the folder is left as it is."""
    _, _, moments = undisturbed
    before = names_in(moments[-1])
    parts = rf"checkpoint_dir='.*' holds another training, which differs in {fact}; give another "
    with pytest.raises(ValueError, match=parts + "checkpoint_dir, or delete this folder"):
        fit(data, moments[-1], **kwargs)
    assert names_in(moments[-1]) == before


@pytest.mark.parametrize("undisturbed", ["search"], indirect=True)
@pytest.mark.parametrize("change", ["one value", "order", "cuts"])
def test_other_data_are_refused(undisturbed, change, tmp_path):
    _, _, moments = undisturbed
    first, second = signals()
    if change == "one value":
        first[2, 1000] += 1e-3
    recordings = [second, first] if change == "order" else [first, second]
    if change == "cuts":  # the same rows in other chains
        recordings = [np.concatenate([first, second[:, :1]], axis=1), second[:, 1:]]
    other = mne_hmm.prepare(recordings, AS_IS, sfreq=SFREQ, cache_dir=tmp_path)
    with pytest.raises(ValueError, match=r"differs in data \('\w{64}' there, '\w{64}' now\)"):
        fit(other, moments[-1])


# Randomness


ONCE = {"n_init": 1, "refine": False}


def test_a_generator_is_known_by_its_seed(data, tmp_path, monkeypatch):
    """A new generator of the same seed goes on; one of another seed, or that was used, does not."""
    at_pass(3, "training", lambda: signal.raise_signal(signal.SIGINT), monkeypatch)
    generator = np.random.default_rng(8)
    with pytest.raises(KeyboardInterrupt):
        fit(data, tmp_path / "run", generator, **ONCE)
    for other in (np.random.default_rng(9), generator):
        with pytest.raises(ValueError, match="holds another training, which differs in random_st"):
            fit(data, tmp_path / "run", other, **ONCE)
    hmm = fit(data, tmp_path / "run", np.random.default_rng(8), **ONCE)
    assert_same_model(hmm, fit(data, None, np.random.default_rng(8), **ONCE))


def test_without_a_seed(data, tmp_path, monkeypatch):
    """Whatever was drawn stays; once it has ended, training always gives the same."""
    at_pass(3, "training", lambda: signal.raise_signal(signal.SIGINT), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        fit(data, tmp_path / "run", None, **ONCE)
    state = Journal.state
    states = []

    def seen(self, step):
        states.append(state(self, step))
        return states[-1]

    monkeypatch.setattr(Journal, "state", seen)
    hmm = fit(data, tmp_path / "run", None, **ONCE)
    (before,) = states
    course = before["free_energy"]  # in other coordinates: there is a constant between them
    assert len(course) == 4
    difference = hmm.history_["free_energy"][:4] - course
    assert_allclose(difference, difference[0], rtol=0, atol=1e-12)
    assert_same_model(fit(data, tmp_path / "run", None, **ONCE), hmm)


# Damaged


@pytest.mark.parametrize(
    ("undisturbed", "step", "kind", "way_out"),
    [
        ("search", "search-round-1", "000003.state", "an earlier state is taken"),
        ("search", "search-round-1-moves", "result", "the step is computed again"),
        ("mini-batches", "mini-batches", "000002.state", "an earlier state is taken"),
    ],
    indirect=["undisturbed"],
)
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damage_falls_back(undisturbed, step, kind, way_out, damage, data, tmp_path):
    """What was written last is damaged: training begins a little earlier, and says so."""
    plan, hmm, moments = undisturbed
    before = moment(moments, step, kind)
    shutil.copytree(before, tmp_path / "run")
    path = tmp_path / "run" / before.name[4:]
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    else:
        content[-20] ^= 1
    path.write_bytes(content)
    match = rf"The checkpoint .*{path.name} is cut off or damaged: .*; {way_out}"
    with pytest.warns(RuntimeWarning, match=match):
        again = fit(data, tmp_path / "run", **plan)
    assert_same_model(again, hmm)


# The folder


def test_folder_is_made_where_its_parent_is(data, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint_dir='.*run': there is no folder .*x;"):
        fit(data, tmp_path / "x" / "run", **ONCE)
    assert os.listdir(tmp_path) == []
    fit(data, str(tmp_path / "run"), **ONCE)  # a string will do
    assert len(os.listdir(tmp_path / "run")) == 3  # facts, the start and the training
