"""The journal of training: what goes in comes out, whatever happens in between."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from mne_hmm.engine import Journal, NoJournal, content_hash
from mne_hmm.engine.runtime import checkpoint

FACTS = {"data": "0123abcd", "n_states": 6, "random_state": None, "tol": 1e-4, "refine": True}
OVERRELAXATION = "scores, round 2"


@pytest.fixture
def journal(tmp_path):
    """Make a journal that writes every state."""
    return Journal(tmp_path / "run", FACTS, seconds=0)


def reopened(journal):
    """Open the folder again, as a new process would."""
    return Journal(journal.directory, FACTS, seconds=0)


def state_files(journal):
    """Files of states, oldest first."""
    return sorted(journal.directory.glob("*.state"))


def assert_identical(first, second):
    """Assert same types and same bits, all the way down."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert list(first) == list(second)
        for key in first:
            assert_identical(first[key], second[key])
    elif isinstance(first, list):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            assert_identical(a, b)
    elif isinstance(first, (np.ndarray, np.generic)):
        assert (first.dtype, first.shape) == (second.dtype, second.shape)
        assert first.tobytes() == second.tobytes()
    else:
        assert repr(first) == repr(second)  # tells -0.0 from 0.0, and finds NaN like itself


# What a training may want to keep

DTYPES = [np.float64, np.float32, np.int64, np.int32, np.uint8, np.bool_]
ARRAYS = hnp.arrays(
    st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
)
LEAVES = st.one_of(
    ARRAYS,
    st.floats(),
    st.integers(),  # the state of a generator has whole numbers of 128 bits
    st.integers(2**64, 2**130),
    st.booleans(),
    st.text(max_size=10),
    st.none(),
    st.floats().map(np.float64),
    st.integers(-100, 100).map(np.int64),
)
KEYS = st.one_of(st.text(max_size=8), st.sampled_from(["dict", "array", "scalar"]))
CONTENTS = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=5,
)


@settings(deadline=None)  # disks have no deadline
@given(content=CONTENTS)
def test_content_comes_back_as_it_was(content, tmp_path_factory):
    """Types, order and every bit."""
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder, {}, seconds=0)
    journal.update("training", content)
    assert_identical(Journal(folder, {}).state("training"), content)
    journal.finish("training", content)
    assert_identical(Journal(folder, {}).result("training"), content)


@pytest.mark.parametrize("change", [np.asfortranarray, lambda x: x[::2, ::-1], lambda x: x.T])
def test_layout_in_memory(journal, change):
    """Arrays that do not lie in memory row by row come back with the same values."""
    array = change(np.random.default_rng(0).normal(size=(6, 5)))
    journal.finish(OVERRELAXATION, {"array": array})
    assert_array_equal(reopened(journal).result(OVERRELAXATION)["array"], array, strict=True)


def test_generator_goes_on(journal):
    """A generator's state survives, so that resumed training draws the same numbers."""
    rng = np.random.default_rng(3)
    rng.normal(size=7)
    journal.update(OVERRELAXATION, {"rng": rng.bit_generator.state})
    again = np.random.default_rng(0)
    again.bit_generator.state = reopened(journal).state(OVERRELAXATION)["rng"]
    assert_array_equal(again.normal(size=5), rng.normal(size=5))


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"a": {"b": [1, (2, 3)]}}, r"content\['a'\]\['b'\]\[1\]"),
        ({"a": {1: 2}}, r"content\['a'\]"),
        ({"a": np.array([None])}, r"content\['a'\]"),
        ({"a": {1, 2}}, r"content\['a'\]"),
    ],
)
def test_what_cannot_come_back_is_refused(journal, wrong, where):
    """Rather than coming back as something else. What is on disk stays."""
    journal.update(OVERRELAXATION, {"fine": 1})
    with pytest.raises(TypeError, match=where):
        journal.update(OVERRELAXATION, wrong)
    with pytest.raises(TypeError, match=where):
        journal.finish(OVERRELAXATION, wrong)
    assert journal.state(OVERRELAXATION) == {"fine": 1}
    assert journal.result(OVERRELAXATION) is None


# Steps, states and results


def test_steps_do_not_mix(journal):
    """Names that differ only in what a file name cannot say are different steps."""
    steps = ["start 1", "start-1", "Start 1", "start 11", "start 1.", "../start 1", "", "a" * 300]
    steps.append("a" * 301)
    for i_step, step in enumerate(steps):
        journal.update(step, {"number": i_step})
    for i_step, step in enumerate(steps[::2]):
        journal.finish(step, {"result": i_step})
    journal = reopened(journal)
    for i_step, step in enumerate(steps):
        finished = i_step % 2 == 0
        assert journal.result(step) == ({"result": i_step // 2} if finished else None)
        assert journal.state(step) == (None if finished else {"number": i_step})
    assert [path.name for path in journal.directory.parent.iterdir()] == ["run"]


def test_newest_states_are_kept(tmp_path):
    """As many as asked for, and the newest is the one that is read."""
    for keep in (1, 3):
        journal = Journal(tmp_path / f"keep {keep}", FACTS, keep=keep, seconds=0)
        for iteration in range(12):
            journal.update(OVERRELAXATION, {"number": iteration})
            assert journal.state(OVERRELAXATION) == {"number": iteration}
            assert len(state_files(journal)) == min(iteration + 1, keep)
    journal = Journal(journal.directory, FACTS, seconds=0)
    journal.update(OVERRELAXATION, {"number": 12})  # a resumed training counts on
    assert journal.state(OVERRELAXATION) == {"number": 12}
    assert len(state_files(journal)) == 3


def test_states_beyond_a_million(journal):
    """More digits than the names were laid out for still sort by number."""
    journal.update(OVERRELAXATION, {"number": 0})
    (path,) = state_files(journal)
    path.rename(path.with_name(path.name.replace("000001", "999999")))
    journal.update(OVERRELAXATION, {"number": 1})
    journal.update(OVERRELAXATION, {"number": 2})
    assert journal.state(OVERRELAXATION) == {"number": 2}


def test_finished_step_lets_go_of_its_states(journal):
    """Of its own only, and of what cut writes left."""
    journal.update("other", {"a": 1})
    journal.update(OVERRELAXATION, {"a": 2})
    left = Path(f"{state_files(journal)[-1]}.12345678.part")
    left.write_bytes(b"cut off")
    journal.finish(OVERRELAXATION, {"a": 3})
    assert journal.state(OVERRELAXATION) is None
    assert journal.result(OVERRELAXATION) == {"a": 3}
    assert journal.state("other") == {"a": 1}
    assert not left.exists()
    assert len(list(journal.directory.iterdir())) == 3  # facts, result, the other's state


def test_at_most_one_state_in_so_many_seconds(tmp_path, monkeypatch):
    """Unless forced; the time counts from the end of the last write."""
    now = 100.0
    monkeypatch.setattr(checkpoint, "monotonic", lambda: now)
    journal = Journal(tmp_path / "run", FACTS, seconds=2.0)

    def written(iteration, **kwargs):
        journal.update(OVERRELAXATION, {"number": iteration}, **kwargs)
        return journal.state(OVERRELAXATION)["number"]

    assert written(0) == 0  # the first one always
    now = 101.9
    assert written(1) == 0
    assert written(2, force=True) == 2
    now = 103.8
    assert written(3) == 2
    now = 103.9
    assert written(4) == 4

    real = os.replace

    def slow(*args):
        nonlocal now
        now += 10.0
        real(*args)

    monkeypatch.setattr(checkpoint.os, "replace", slow)
    assert written(5, force=True) == 5  # takes until 113.9
    assert written(6) == 5


def test_no_journal_remembers_nothing():
    """It has the same methods, with the same parameters."""
    import inspect

    none = NoJournal()
    none.update(OVERRELAXATION, {"a": 1}, force=True)
    none.finish(OVERRELAXATION, {"a": 1})
    assert none.state(OVERRELAXATION) is None
    assert none.result(OVERRELAXATION) is None
    for name in ("result", "finish", "state", "update"):
        theirs = [inspect.signature(getattr(cls, name)) for cls in (Journal, NoJournal)]
        assert theirs[0] == theirs[1]


# Damage


def damages(data):
    """Every kind: cut anywhere, a bit flipped anywhere, emptied, zeroed, more at the end."""
    places = sorted({0, 1, 10, 30, 85, 90, len(data) // 2, len(data) - 1})
    for place in places:
        yield f"cut at {place}", data[:place]
        flipped = bytearray(data)
        flipped[place] ^= 4
        yield f"bit flipped at {place}", bytes(flipped)
    yield "zeros", bytes(len(data))
    yield "zeros at the end", data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
    yield "longer", data + b"\n"
    yield "something else", b"precious\n"


def test_damaged_newest_state_falls_back(journal):
    """To the one before, with a warning that names the file."""
    for iteration in range(3):
        journal.update(OVERRELAXATION, {"number": iteration, "array": np.arange(20.0) + iteration})
    older, newer, newest = state_files(journal)
    intact = newest.read_bytes()
    for what, damaged in damages(intact):
        newest.write_bytes(damaged)
        with pytest.warns(RuntimeWarning, match=rf"{newest.name} .*earlier state") as caught:
            state = journal.state(OVERRELAXATION)
        assert len(caught) == 1
        assert state["number"] == 1, what
        assert_array_equal(state["array"], np.arange(20.0) + 1)
    newer.write_bytes(b"")
    with pytest.warns(RuntimeWarning, match="earlier state") as caught:
        assert journal.state(OVERRELAXATION)["number"] == 0
    assert len(caught) == 2
    older.write_bytes(b"")
    with pytest.warns(RuntimeWarning, match="earlier state"):
        assert journal.state(OVERRELAXATION) is None
    journal.update(OVERRELAXATION, {"number": 3})  # training goes on, and its state is the newest
    assert journal.state(OVERRELAXATION) == {"number": 3}


def test_damaged_result_is_none(journal):
    """The step is computed again."""
    journal.finish(OVERRELAXATION, {"array": np.arange(20.0)})
    (path,) = journal.directory.glob("*.result")
    for what, damaged in damages(path.read_bytes()):
        path.write_bytes(damaged)
        with pytest.warns(RuntimeWarning, match=rf"{path.name} .*computed again"):
            assert journal.result(OVERRELAXATION) is None, what


def test_damaged_facts_are_an_error(journal):
    """Nobody can say whether this training may go on."""
    path = journal.directory / "facts.journal"
    for what, damaged in damages(path.read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"facts.journal is cut off or damaged.*delete this"):
            reopened(journal)
        assert path.read_bytes() == damaged, what


@pytest.mark.parametrize("method", ["update", "finish"])
@pytest.mark.parametrize("where", ["fsync", "replace"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_interrupted_write_leaves_the_file_before(journal, monkeypatch, method, where, error):
    """And no part of the new one."""
    getattr(journal, method)(OVERRELAXATION, {"a": 1})
    before = {path: path.read_bytes() for path in journal.directory.iterdir()}

    def interrupt(*_):
        raise error

    monkeypatch.setattr(checkpoint.os, where, interrupt)
    with pytest.raises(error):
        getattr(journal, method)(OVERRELAXATION, {"a": 2})
    assert {path: path.read_bytes() for path in journal.directory.iterdir()} == before


def test_on_disk_before_it_takes_its_place(journal, monkeypatch):
    """Otherwise a power cut could leave the new name with nothing behind it."""
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(checkpoint.os, "fsync", lambda n: (calls.append("fsync"), fsync(n)))
    monkeypatch.setattr(checkpoint.os, "replace", lambda *a: (calls.append("replace"), replace(*a)))
    journal.update(OVERRELAXATION, {"a": 1})
    assert calls == ["fsync", "replace"]


# The module is loaded without the engine's package: no need to wait for TensorFlow.
WRITER = """
    import importlib.util, os, signal
    import numpy as np
    spec = importlib.util.spec_from_file_location(
        "mne_hmm.engine.runtime.checkpoint", {module!r}
    )
    checkpoint = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checkpoint)
    journal = checkpoint.Journal({folder!r}, {{"n_states": 6}}, seconds=0)
    number = (journal.state("training") or {{"number": 0}})["number"]
    print("started", flush=True)
    while True:
        number += 1
        if number == {last_words}:
            os.{killer} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        journal.update("training", {{"number": number, "array": np.full(300_000, float(number))}})
        print("written", flush=True)
"""


def writer(folder, last_words=-1, killer="fsync"):
    """Start a process that does nothing but write states of a few MB."""
    code = textwrap.dedent(WRITER).format(
        module=checkpoint.__file__, folder=str(folder), last_words=last_words, killer=killer
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"started\n"
    return process


def last_number(folder):
    """Read the state it left; warnings are errors, so this is no fallback."""
    state = Journal(folder, {"n_states": 6}).state("training")
    if state is None:
        return 0
    assert_array_equal(state["array"], np.full(300_000, float(state["number"])))
    return state["number"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_at_any_moment(tmp_path):
    """Whenever that is, the last state can be read, and the next process goes on from it."""
    last = 0
    for n_written, milliseconds in ((0, 0), (1, 0), (1, 1), (2, 3), (2, 7), (3, 17), (3, 30)):
        with writer(tmp_path / "run") as process:
            for _ in range(n_written):
                assert process.stdout.readline() == b"written\n"
            time.sleep(milliseconds / 1000)  # somewhere in the next write
            process.kill()
        last, before = last_number(tmp_path / "run"), last
        assert last >= before + n_written


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("killer", ["fsync", "replace", "unlink"])
def test_killed_in_the_middle_of_a_write(tmp_path, killer):
    """The state before is whole, and the part that was written is swept away in the end."""
    with writer(tmp_path / "run", 5, killer) as process:
        try:
            assert process.wait(timeout=300) == -signal.SIGKILL
        finally:
            process.kill()
    # Old states go after the new one has its place.
    assert last_number(tmp_path / "run") == (5 if killer == "unlink" else 4)
    left = list((tmp_path / "run").glob("*.part"))
    assert len(left) == (killer != "unlink")
    Journal(tmp_path / "run", {"n_states": 6}).finish("training", {})
    assert len(list((tmp_path / "run").iterdir())) == 2  # facts and result


# The folder


def test_folder_is_made_within_one_that_exists(tmp_path):
    """As `open` does with files."""
    assert Journal(tmp_path / "new", FACTS).directory.is_dir()
    assert Journal(str(tmp_path / "by name"), FACTS).directory.is_dir()
    with pytest.raises(FileNotFoundError, match=r"checkpoint_dir=.*there is no folder .*none"):
        Journal(tmp_path / "none" / "new", FACTS)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(NotADirectoryError, match=r"checkpoint_dir=.*is a file; give a folder"):
        Journal(tmp_path / "file", FACTS)
    assert (tmp_path / "file").read_text() == "precious"


def test_same_facts_resume(journal):
    """In any order."""
    journal.finish(OVERRELAXATION, {"a": 1})
    again = Journal(journal.directory, dict(reversed(FACTS.items())))
    assert again.result(OVERRELAXATION) == {"a": 1}


def test_other_facts_are_named(journal):
    """Each that differs, with both values, and none that does not."""
    journal.finish(OVERRELAXATION, {"a": 1})
    before = {path: path.read_bytes() for path in journal.directory.iterdir()}
    other = {**FACTS, "n_states": 8, "random_state": 0, "new": "x"}
    del other["tol"]
    with pytest.raises(ValueError, match="checkpoint_dir=") as raised:
        Journal(journal.directory, other)
    message = str(raised.value)
    assert "n_states (6 there, 8 now)" in message
    assert "random_state (None there, 0 now)" in message
    assert "new (nothing there, 'x' now)" in message
    assert "tol (0.0001 there, nothing now)" in message
    assert "data (" not in message
    assert "refine" not in message
    assert "another checkpoint_dir, or delete this folder" in message
    assert {path: path.read_bytes() for path in journal.directory.iterdir()} == before


@pytest.mark.parametrize("change", [{"n_states": 6.0}, {"refine": 1}, {"data": "0123abce"}])
def test_facts_are_compared_by_type_too(journal, change):
    """A number that was true, say."""
    with pytest.raises(ValueError, match=next(iter(change))):
        Journal(journal.directory, {**FACTS, **change})


def test_fact_that_is_no_number_is_like_itself(tmp_path):
    """NaN, say."""
    for _ in range(2):
        Journal(tmp_path / "run", {"tol": np.nan})


def test_other_format_is_a_fact(journal, monkeypatch):
    """Written by a version that laid files out otherwise."""
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", 99)
    with pytest.raises(ValueError, match=r"format \(1 there, 99 now\)"):
        reopened(journal)


def test_folder_of_others_is_not_touched(tmp_path):
    """Nothing is deleted, nothing written."""
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(FileExistsError, match=r"holds other files \(thesis.tex\)"):
        Journal(tmp_path, FACTS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_files_beside_the_journal_stay(journal):
    """A folder is ours once it has facts; what else lies in it is not looked at."""
    (journal.directory / "notes.txt").write_text("precious")
    journal = reopened(journal)
    journal.update(OVERRELAXATION, {"a": 1})
    journal.finish(OVERRELAXATION, {"a": 1})
    assert (journal.directory / "notes.txt").read_text() == "precious"


def test_cut_off_while_the_facts_were_written(tmp_path):
    """The folder is as good as empty."""
    (tmp_path / "facts.journal.12345678.part").write_bytes(b"mne_hmm")
    Journal(tmp_path, FACTS)


# Checksums of data


def test_content_hash_is_of_values():
    """However they lie in memory, and one array at a time."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(n, 3)).astype(np.float32) for n in (70_000, 5)]
    lengths = [[69_000, 1_000], [5]]
    expected = content_hash(arrays, lengths)
    assert content_hash([np.asfortranarray(x) for x in arrays], lengths) == expected
    assert content_hash([np.repeat(x, 2, axis=1)[:, ::2] for x in arrays], lengths) == expected
    assert content_hash([x.astype(">f4") for x in arrays], lengths) == expected
    assert content_hash((x for x in arrays), np.array(lengths, object).tolist()) == expected
    assert content_hash(arrays, [np.array(of_one) for of_one in lengths]) == expected
    assert len(expected) == 64


def test_content_hash_tells_data_apart():
    """A last bit, a boundary between recordings or chains, an order, a shape."""
    x = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    near = x.copy()
    near[-1, -1] = np.nextafter(near[-1, -1], np.float32(np.inf))
    variants = [
        ([x], [[12]]),
        ([near], [[12]]),
        ([x], [[6, 6]]),
        ([x], [[5, 7]]),
        ([x[:6], x[6:]], [[6], [6]]),
        ([x[:5], x[5:]], [[5], [7]]),
        ([x[5:], x[:5]], [[7], [5]]),
        ([x[::-1]], [[12]]),
        ([x.reshape(12, 2, 2).reshape(-1, 2)], [[24]]),
    ]
    assert len({content_hash(*variant) for variant in variants}) == len(variants)


def test_content_hash_wants_lengths_of_every_recording():
    """Rather than leaving a recording out."""
    x = np.zeros((3, 2), np.float32)
    with pytest.raises(ValueError, match="shorter"):
        content_hash([x, x], [[3]])
