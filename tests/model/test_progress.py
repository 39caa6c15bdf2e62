"""What is shown and written while training goes on."""

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm.engine import NoLog
from mne_hmm.engine.runtime._tensorflow import tf  # without start-up notes
from mne_hmm.model.progress import Progress

AS_IS = mne_hmm.Preparation.as_is()
ONE_START = {"n_states": 2, "n_init": 1, "refine": False, "random_state": 0}


@pytest.fixture(scope="module")
def data():
    """Two recordings of three channels in two states."""
    rng = np.random.default_rng(0)
    scale = np.repeat(rng.choice([0.5, 2.0], (100, 1)), 20, axis=0)
    x = (scale * rng.standard_normal((2000, 3))).T
    return mne_hmm.prepare([x[:, :1500], x[:, 1500:]], AS_IS, sfreq=100.0)


def read_back(log_dir):
    """Values by stage, name and pass, and the number of files of each stage."""
    values, n_files = {}, {}
    for path in sorted(log_dir.rglob("*.tfevents.*")):
        stage = path.parent.relative_to(log_dir).as_posix()
        n_files[stage] = n_files.get(stage, 0) + 1
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                of_name = values.setdefault(stage, {}).setdefault(value.tag, {})
                of_name[event.step] = float(tf.make_ndarray(value.tensor))
    return values, n_files


# Curves


def test_curves_of_every_stage(data, tmp_path):
    """Free energy, its change and seconds of each pass, in a folder per stage."""
    kwargs = ONE_START | {"batch_size": 4, "sequence_length": 100}
    hmm = mne_hmm.fit_hmm(data, log_dir=tmp_path / "logs", **kwargs)
    values, n_files = read_back(tmp_path / "logs")
    assert n_files == {"search, starts": 1, "mini-batches": 1, "training": 1}
    course = hmm.history_["free_energy"]
    curves = values["training"]
    assert set(curves) == {"free_energy", "change", "seconds"}
    assert list(curves["free_energy"]) == list(curves["seconds"]) == list(range(len(course)))
    assert list(curves["change"]) == list(range(1, len(course)))
    # Everything is written in float32, which keeps 6e-8 of each number.
    assert_allclose(list(curves["free_energy"].values()), course, rtol=6e-8)
    assert_allclose(list(curves["change"].values()), np.diff(course), rtol=6e-8, atol=1e-12)
    assert_allclose(list(curves["seconds"].values()), hmm.history_["seconds"], rtol=6e-8)
    assert_array_equal(list(values["search, starts"]["free_energy"]), [1])
    (start,) = hmm.history_["starts"]
    assert_allclose(values["search, starts"]["free_energy"][1], start["free_energy"][-1], rtol=6e-8)
    epochs = values["mini-batches"]["free_energy"]
    assert list(epochs) == list(range(1, len(epochs) + 1))
    means = np.array_split(hmm.history_["batches"], len(epochs))
    assert_allclose(list(epochs.values()), [part.mean() for part in means], rtol=6e-8)


def test_no_curves_unless_asked_for(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mne_hmm.fit_hmm(data, **ONE_START)
    assert list(tmp_path.iterdir()) == []


def test_curves_go_on(data, tmp_path):
    """Training that goes on from a checkpoint adds to the curves; a finished one adds nothing."""
    folders = {"log_dir": tmp_path / "logs", "checkpoint_dir": tmp_path / "run"}
    mne_hmm.fit_hmm(data, **ONE_START, **folders)
    before, n_files = read_back(tmp_path / "logs")
    mne_hmm.fit_hmm(data, **ONE_START, **folders)
    assert read_back(tmp_path / "logs") == (before, n_files)
    (result,) = (tmp_path / "run").glob("training-*.result")
    result.unlink()
    mne_hmm.fit_hmm(data, **ONE_START, **folders)
    again, n_files = read_back(tmp_path / "logs")
    assert n_files == {"search, starts": 1, "training": 2}
    assert again["training"]["free_energy"] == before["training"]["free_energy"]


def test_curves_say_the_same_as_history_with_priors(data, tmp_path):
    priors = mne_hmm.Priors(covariances="auto", means="auto")
    hmm = mne_hmm.fit_hmm(data, log_dir=str(tmp_path), priors=priors, **ONE_START)
    curve = read_back(tmp_path)[0]["training"]["free_energy"]
    assert_allclose(list(curve.values()), hmm.history_["free_energy"], rtol=6e-8)


# Bars


class Told:
    """A log that remembers what it is told."""

    def __init__(self):
        self.lines, self.closed = [], False

    def log(self, *line):
        self.lines.append(line)

    def close(self):
        self.closed = True


LINES = [
    ("search, starts", 1, 81.25, 0.5, 3),
    ("search, round 1", 0, 81.25, 0.25, 3),
    ("search, round 1", 1, 80.25, 0.25, 3),
    ("training", 0, 80.125, 2.0, 10),
    ("training", 1, 80.0625, 1.5, 10),
]


def test_one_bar_for_each_stage(capsys):
    """A bar says the free energy, by how much it has changed, and the time of a pass.

    All stages of the search share one.
    """
    with mne.utils.use_log_level("INFO"), Progress(NoLog()) as progress:
        for line in LINES:
            progress(*line)
    bars = [bar.split("\r")[-1] for bar in capsys.readouterr().err.strip("\n").split("\n")]
    assert len(bars) == 2
    for bar, parts in zip(
        bars,
        [
            ("Search", " 3/3 ", "80.2500 nats (-1), 0.25 s/pass"),
            ("Training", " 1/10 ", "80.0625 nats (-0.062), 1.5 s/pass"),
        ],
        strict=True,
    ):
        assert all(part in bar for part in parts), bar


@pytest.mark.parametrize(("level", "silent"), [("INFO", True), ("ERROR", False)])
def test_nothing_is_shown(capsys, level, silent):
    """Neither by a worker that is not the first, nor where nobody wants to know."""
    log = Told()
    with mne.utils.use_log_level(level), Progress(log, silent=silent) as progress:
        for line in LINES:
            progress(*line)
    assert capsys.readouterr() == ("", "")
    assert log.lines == [line[:4] for line in LINES]
    assert log.closed


def test_more_passes_than_thought(capsys):
    """A search that was longer than expected fills its bar and no more."""
    with mne.utils.use_log_level("INFO"), Progress(NoLog()) as progress:
        for index in (1, 2, 3, 4):
            progress("search", index, 1.0, 0.5, 2)
    assert "2/2" in capsys.readouterr().err.split("\r")[-1]


def test_interrupts_close_what_is_open(capsys):
    """The bar ends its line, and files are closed."""
    log = Told()

    def interrupted():
        with Progress(log) as progress:
            progress(*LINES[0])
            raise KeyboardInterrupt

    with mne.utils.use_log_level("INFO"), pytest.raises(KeyboardInterrupt):
        interrupted()
    assert log.closed
    assert capsys.readouterr().err.endswith("\n")


def test_training_shows_its_stages(data, capsys):
    mne_hmm.fit_hmm(data, verbose="INFO", **ONE_START)
    shown = capsys.readouterr().err
    assert "Search :" in shown
    assert "Training :" in shown
    mne_hmm.fit_hmm(data, verbose="ERROR", **ONE_START)
    assert capsys.readouterr() == ("", "")
