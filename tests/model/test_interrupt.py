"""Ctrl-C: the best model so far where it is asked for, and an end without one otherwise."""

import signal
import sys
import threading
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from child_processes import ChildProcess
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm.engine.training import search as search_module
from mne_hmm.engine.training.em import EMRun
from mne_hmm.engine.training.interrupt import ON_ALL, ON_SUBSAMPLE, Interrupt
from mne_hmm.model.progress import Progress

SFREQ = 100.0
AS_IS = mne_hmm.Preparation.as_is()
SEARCH = {"n_states": 2, "n_init": 2, "tol": 1e-6}
BATCHES = {**SEARCH, "refine": False, "batch_size": 4, "sequence_length": 150}
GIVEN = {**SEARCH, "init": np.repeat([0, 1], 5000)}
PLANS = {
    "search": SEARCH,
    "no moves": {**SEARCH, "refine": False},
    "given": GIVEN,
    "mini-batches": BATCHES,
}
SAYS = "Training was interrupted after {} on all data; this is the best model so far"


def make_data():
    """Ten thousand samples of three channels in four states: training takes many passes."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(0, 1, (4, 3, 3)) / 2 + np.eye(3)
    states = np.repeat(rng.integers(0, 4, 1250), 8)
    x = np.einsum("tij,tj->it", mixing[states], rng.standard_normal((10_000, 3)))
    return mne_hmm.prepare(x, AS_IS, sfreq=SFREQ, verbose=False)


@pytest.fixture(scope="module")
def data():
    return make_data()


def both(free_energies, least):
    """Take both starts, be they in the same optimum or not."""
    return np.argsort(free_energies)[:2].tolist()


@pytest.fixture(autouse=True)
def _all_starts_are_tried(monkeypatch):
    """Try two starts on all data."""
    monkeypatch.setattr(search_module, "different_optima", both)


@pytest.fixture(autouse=True)
def _ctrl_c():
    """Hear SIGINT also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    # Whatever came of a training, Ctrl-C is again what it was.
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def fit(data, on_interrupt="return", **kwargs):
    return mne_hmm.fit_hmm(
        data, **{**SEARCH, **kwargs}, random_state=0, on_interrupt=on_interrupt, verbose="WARNING"
    )


@pytest.fixture(scope="module")
def whole(data):
    """Train to the end by a plan, once for all tests; gives the model, and the last pass."""

    @cache
    def train(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(search_module, "different_optima", both)
            seen = press(patch)
            return fit(data, **PLANS[name]), stages(seen)[-1]

    return train


def press(monkeypatch, *moments):
    """Press Ctrl-C after passes, given by stage and number; give back what was seen till then."""
    seen = []

    def watched(self, stage, index, free_energy, *args):
        original(self, stage, index, free_energy, *args)
        seen.append((stage, index, free_energy))
        if (stage, index) in moments:
            signal.raise_signal(signal.SIGINT)

    original = Progress.__call__
    monkeypatch.setattr(Progress, "__call__", watched)
    return seen


def stages(seen):
    return [(stage, index) for stage, index, _ in seen]


@pytest.mark.parametrize(
    ("name", "number", "updates"),
    [("no moves", 1, "1 update"), ("given", 3, "3 updates"), ("mini-batches", 1, "1 update")],
)
def test_in_training(name, number, updates, data, whole, monkeypatch):
    """Nothing comes after the pass, and the model is that of the pass."""
    seen = press(monkeypatch, ("training", number))
    with pytest.warns(RuntimeWarning, match=SAYS.format(updates)) as record:
        hmm = fit(data, **PLANS[name])
    assert len(record) == 1  # not also that max_iter was too low
    assert stages(seen)[-1] == ("training", number)
    assert not hmm.converged_
    assert hmm.free_energy_ == seen[-1][2]
    assert_allclose(hmm.free_energy(data), hmm.free_energy_, rtol=1e-6)  # training is in float32
    assert len(hmm.annotations_) == 1
    # It can be gone on from, and is what it would have become.
    monkeypatch.undo()
    (end, _), on = whole(name), fit(data, init=hmm)
    assert end.converged_
    assert_allclose(on.free_energy_, end.free_energy_, rtol=0, atol=1e-3)
    assert hmm.free_energy_ > end.free_energy_


def test_in_the_starts(data, monkeypatch):
    """The best start so far is looked at once with all data."""
    seen = press(monkeypatch, ("search, starts", 2))
    with pytest.warns(RuntimeWarning, match=SAYS.format("0 updates")):
        hmm = fit(data, n_init=3)
    assert stages(seen)[-1] == ("search, starts", 2)
    assert hmm.n_states == 2
    assert not hmm.converged_
    assert_allclose(hmm.free_energy(data), hmm.free_energy_, rtol=1e-6)


@pytest.mark.parametrize(
    "moment",
    [("search, round 1", 1), ("search, round 1, moves", 1), ("search, round 1, move 1", 1)],
    ids=str,
)
def test_in_the_search(moment, data, monkeypatch):
    """The best model so far comes back, be it the one before a move or after."""
    seen = press(monkeypatch, moment)
    with pytest.warns(RuntimeWarning, match="Training was interrupted"):
        hmm = fit(data)
    assert stages(seen)[-1] == moment
    assert not hmm.converged_
    on_part = ("search, starts", "search, round 1, moves")
    best = min(value for stage, _, value in seen if stage not in on_part)
    assert hmm.free_energy_ == best
    assert_allclose(hmm.free_energy(data), hmm.free_energy_, rtol=1e-6)


def test_in_mini_batches(data, monkeypatch):
    """What the batches came to is looked at with all data."""
    seen = press(monkeypatch, ("mini-batches", 2))
    with pytest.warns(RuntimeWarning, match=SAYS.format("0 updates")):
        hmm = fit(data, **BATCHES)
    assert stages(seen)[-1] == ("mini-batches", 2)
    assert_allclose(hmm.free_energy_, seen[-1][2], rtol=0, atol=0.02)  # of batches, by chance


def test_before_any_model(data, monkeypatch):
    """There is nothing to give: Ctrl-C is what it always is."""

    def pressed(*args, **kwargs):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(search_module, "cluster", pressed)
    with pytest.raises(KeyboardInterrupt):
        fit(data)


def test_the_second_time(data, monkeypatch):
    """At once, also in the middle of what a first Ctrl-C still waits for."""

    def twice(self, *args):
        original(self, *args)
        if args[:2] == ("search, round 1, move 1", 2):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    original = Progress.__call__
    monkeypatch.setattr(Progress, "__call__", twice)
    with pytest.raises(KeyboardInterrupt):
        fit(data)


def test_by_default_it_raises(data, monkeypatch):
    press(monkeypatch, ("search, round 1, move 1", 2))
    with pytest.raises(KeyboardInterrupt):
        fit(data, on_interrupt="raise")


@pytest.mark.parametrize(
    "moment", [("search, round 1, moves", 1), ("search, round 1, move 1", 2)], ids=str
)
def test_it_goes_on_from_checkpoints(moment, data, whole, tmp_path, monkeypatch):
    """The model that came early leaves nothing behind: later training ends as if undisturbed."""
    end, _ = whole("search")
    press(monkeypatch, moment)
    with pytest.warns(RuntimeWarning, match="Training was interrupted"):
        fit(data, checkpoint_dir=tmp_path / "run")
    monkeypatch.undo()
    monkeypatch.setattr(search_module, "different_optima", both)
    seen = press(monkeypatch)
    again = fit(data, checkpoint_dir=tmp_path / "run")
    # No pass over all data is made again, be the last state written a moment or minutes ago; all
    # runs on the part are one step.
    stage, index = moment
    first = next(n for of, n in stages(seen) if of == stage)
    assert first == (1 if stage == "search, round 1, moves" else index + 1)
    assert again.free_energy_ == end.free_energy_
    assert again.converged_
    assert_array_equal(again.covariances_, end.covariances_)


def test_every_start_is_offered_once(data, tmp_path, monkeypatch):
    """Be it made now or known from checkpoints: after both, Ctrl-C gives the best of them."""

    def offered(self, run, level):
        original(self, run, level)
        if level == ON_SUBSAMPLE:
            values.append(run.free_energy[-1])

    original = Interrupt.offer
    monkeypatch.setattr(Interrupt, "offer", offered)
    of_both = []
    for _ in range(2):
        values = []
        fit(data, n_init=3, refine=False, checkpoint_dir=tmp_path / "run")
        assert len(values) == 3
        of_both.append(values)
    assert of_both[0] == of_both[1]


def test_other_handlers_stay(data, monkeypatch):
    """Who has a way of their own with Ctrl-C, or is no main thread, is left alone."""
    heard, seen = [], []

    def handler(signum, _):
        heard.append(signum)

    before = signal.signal(signal.SIGINT, handler)
    press(monkeypatch, ("training", 3))
    try:
        hmm = fit(data, **GIVEN, max_iter=500)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
        monkeypatch.undo()
    assert heard == [signal.SIGINT]
    assert hmm.converged_
    thread = threading.Thread(target=lambda: seen.append(fit(data, **GIVEN, max_iter=500)))
    thread.start()
    thread.join()
    assert seen[0].converged_


def test_in_the_last_pass(data, whole, monkeypatch):
    """What has converged has come to its end, and nothing is said."""
    end, last = whole("given")
    press(monkeypatch, last)
    hmm = fit(data, **GIVEN)
    assert hmm.converged_
    assert hmm.free_energy_ == end.free_energy_


def test_which_model_is_best():
    """What was trained on all data goes before all others, and then the lowest free energy."""
    interrupt = Interrupt(True)
    offers = [
        (2.0, ON_SUBSAMPLE),
        (1.0, ON_SUBSAMPLE),
        (1.5, ON_SUBSAMPLE),
        (4.0, ON_ALL),
        (0.5, ON_SUBSAMPLE),
    ]
    offers += [(3.0, ON_ALL), (3.5, ON_ALL)]
    best = []
    for value, level in offers:
        interrupt.offer(EMRun(None, [value]), level)
        best.append(interrupt.best.free_energy[-1])
    assert best == [2.0, 1.0, 1.0, 4.0, 4.0, 3.0, 3.0]


def test_wrong_values(data):
    with pytest.raises(
        ValueError, match="on_interrupt must be one of 'raise', 'return', got 'ask'"
    ):
        fit(data, on_interrupt="ask")


# A real one, from another process


CHILD = """
import sys, time
import test_interrupt
from mne_hmm.model.progress import Progress

def told(self, stage, number, *args):
    original(self, stage, number, *args)
    print(stage, number, sep=":", flush=True)
    if f"{stage}:{number}" == sys.argv[2]:
        time.sleep(1)  # until the signal comes

original = Progress.__call__
Progress.__call__ = told
data = test_interrupt.make_data()
print("prepared", flush=True)
hmm = test_interrupt.fit(data, **eval(sys.argv[1]))
print("model", hmm.converged_, round(hmm.free_energy_, 9), round(hmm.free_energy(data), 9))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
@pytest.mark.parametrize(
    "moment",
    [
        "prepared",
        "search, starts:1",
        "search, round 1:1",
        "search, round 1, moves:1",
        "training:1",
    ],
)
def test_from_outside(moment):
    """The signal comes whenever it comes: a model, or KeyboardInterrupt where there is none."""
    plan = {"refine": False} if moment.startswith("training") else {}
    with ChildProcess(CHILD, repr(plan), moment, path=[Path(__file__).parent]) as child:
        for line in child.stdout:
            if line.strip() == moment:
                child.send_signal(signal.SIGINT)
                break
        rest, errors = child.communicate()
    if moment == "prepared":
        assert child.poll() == -signal.SIGINT or "KeyboardInterrupt" in errors
        assert "model" not in rest
        return
    assert child.poll() == 0, errors
    word, converged, ours, theirs = rest.split()[-4:]
    assert (word, converged) == ("model", "False")
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)
    assert "Interrupted: the best model so far" in errors
    assert "Training was interrupted" in errors
