"""The course of training for TensorBoard, read back from its files.

That it is written without TensorBoard too is tested where TensorFlow is loaded anew: `test_import`.
"""

import inspect

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mne_hmm.engine import Log, NoLog
from mne_hmm.engine.runtime._tensorflow import tf  # without start-up notes


def read_back(log_dir):
    """Read values by run, name and pass, as TensorBoard would."""
    out = {}
    for path in log_dir.rglob("*.tfevents.*"):
        run = out.setdefault(path.parent.relative_to(log_dir).as_posix(), {})
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                assert value.metadata.data_class == 1  # DATA_CLASS_SCALAR
                scalar = tf.make_ndarray(value.tensor)
                assert scalar.shape == ()
                assert event.step not in run.setdefault(value.tag, {})
                run[value.tag][event.step] = float(scalar)
    return out


def test_written_and_read(tmp_path):
    """One run a stage, each with its own course; what can be read does not wait for close."""
    log = Log(tmp_path / "logs")
    course = [81.0, 80.5, 80.5 - 1e-7, 80.75]
    for iteration, value in enumerate(course):
        log.log("start 1 of 3", iteration, value, 0.25)
        log.log("training", iteration + 10, 2 * value, 0.5)
        runs = read_back(tmp_path / "logs")
        assert runs["training"]["free_energy"][iteration + 10] == np.float32(2 * value)
    log.close()
    runs = read_back(tmp_path / "logs")
    assert set(runs) == {"start 1 of 3", "training"}
    for stage, first, factor in (("start 1 of 3", 0, 1), ("training", 10, 2)):
        run = runs[stage]
        assert set(run) == {"free_energy", "seconds", "change"}
        expected = factor * np.array(course)
        assert list(run["free_energy"]) == list(range(first, first + 4))
        # Everything is written in float32, which keeps 6e-8 of each number.
        assert_allclose(list(run["free_energy"].values()), expected, rtol=6e-8)
        assert list(run["seconds"].values()) == [0.25 * factor] * 4
        assert list(run["change"]) == list(range(first + 1, first + 4))
        assert_allclose(list(run["change"].values()), np.diff(expected), rtol=6e-8)


def test_stage_names_that_are_no_folders(tmp_path):
    """They stay within the folder."""
    log = Log(tmp_path / "logs")
    for stage in ("scores, round 2", "../merge 1/2: split", ".."):
        log.log(stage, 0, 1.0, 0.1)
    log.close()
    runs = set(read_back(tmp_path))
    assert runs == {"logs/scores, round 2", "logs/.._merge 1_2_ split", "logs/_"}


def test_resumed_log_adds_to_the_run(tmp_path):
    """In a file of its own; nothing that was written is lost."""
    for iterations in (range(3), range(3, 5)):
        log = Log(tmp_path)
        for iteration in iterations:
            log.log("training", iteration, float(iteration), 0.1)
        log.close()
    assert read_back(tmp_path)["training"]["free_energy"] == {i: float(i) for i in range(5)}


def test_file_instead_of_folder(tmp_path):
    """An error that names the argument."""
    (tmp_path / "file").write_text("precious")
    with pytest.raises(NotADirectoryError, match=r"log_dir=.*file.* is a file; give a folder"):
        Log(tmp_path / "file")


def test_no_log_does_nothing():
    """It has the same methods, with the same parameters."""
    none = NoLog()
    assert none.log("training", 0, 1.0, 0.1) is None
    assert none.close() is None
    for name in ("log", "close"):
        assert inspect.signature(getattr(Log, name)) == inspect.signature(getattr(NoLog, name))
