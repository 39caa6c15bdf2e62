"""What importing the package does to a fresh interpreter: next to nothing."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mne_hmm

# Loggers, warning filters and random state, and the heavy libraries that are loaded.
SNAPSHOT = """
import json, logging, os, sys, warnings
import numpy as np

def state():
    loggers = {"root": logging.root, **logging.root.manager.loggerDict}
    return {
        "loggers": {
            name: [one.level, one.propagate, one.disabled, list(map(repr, one.handlers))]
            for name, one in loggers.items()
            if isinstance(one, logging.Logger) and (one.level or one.handlers)
        },
        "filters": repr(warnings.filters),
        "random state": repr(np.random.get_state()),
        "floating point": repr(np.geterr()),
    }

def heavy():
    names = ("tensorflow", "keras", "matplotlib", "sklearn")
    return [name for name in names if name in sys.modules]
"""


def run_fresh(code, tmp_path, **environment):
    """Run code in a fresh interpreter.

    Gives what it left in ``out``, and everything it wrote to stdout and stderr.
    """
    fname = tmp_path / "out.json"
    env = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    ran = subprocess.run(
        [sys.executable, "-c", f"{SNAPSHOT}{code}\njson.dump(out, open({str(fname)!r}, 'w'))"],
        env={**env, **environment},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return json.loads(fname.read_text()), ran.stdout


def test_import_changes_nothing(tmp_path):
    """No logger, filter, random state or heavy library, and nothing printed."""
    code = "before = state()\nimport mne_hmm\nout = before, state(), heavy(), 'mne' in sys.modules"
    (before, after, heavy, mne_too), printed = run_fresh(code, tmp_path)
    assert after == before
    assert heavy == []
    assert not mne_too, "names are looked up when they are used"
    assert printed == ""


# All public names, and then the engine.
ALL = """
import h5io, mne, pooch, scipy.fft, scipy.optimize, scipy.signal, scipy.sparse
mne.filter, mne.io.BaseRaw, mne.utils  # these set up loggers and filters of their own
before = state()
theirs = heavy()  # MNE-Python's readers need matplotlib up to version 1.10
import mne_hmm
mne_hmm.fit_hmm
heavy_after_fit = heavy()
for name in set(mne_hmm.__all__) - {"multi_worker_strategy"}:
    getattr(mne_hmm, name)
names = before, state(), theirs, heavy_after_fit, heavy()

sys.modules["tensorboard"] = None
import mne_hmm.engine
from mne_hmm.engine.runtime._tensorflow import tf
log = mne_hmm.engine.Log("logs")
log.log("training", 0, 1.0, 0.5)
log.close()
(fname,) = os.listdir("logs/training")
records = tf.data.TFRecordDataset(f"logs/training/{fname}").as_numpy_iterator()
events = map(tf.compat.v1.Event.FromString, records)
values = [
    [event.step, value.tag, float(tf.make_ndarray(value.tensor))]
    for event in events for value in event.summary.value
]
out = names, [theirs, heavy(), os.environ["TF_CPP_MIN_LOG_LEVEL"], values]
"""


@pytest.fixture(scope="module")
def all_loaded(tmp_path_factory):
    """What public names, and then the engine, have loaded and changed, and what was printed."""
    return run_fresh(ALL, tmp_path_factory.mktemp("all"))


def test_public_names_load_no_tensorflow(all_loaded):
    """Neither does any public name, nor does it change anything by itself.

    The strategy of several workers is TensorFlow's own, and comes from the engine.
    """
    ((before, after, theirs, heavy_after_fit, heavy), _), printed = all_loaded
    assert after == before
    assert set(theirs) <= {"matplotlib"}
    assert heavy_after_fit == theirs
    assert heavy == theirs
    assert printed == ""


def test_tensorflow_comes_quietly(all_loaded):
    """The start-up notes of TensorFlow do not reach the user, and it need not bring TensorBoard."""
    (_, (theirs, heavy, level, values)), printed = all_loaded
    # Keras, which TensorFlow would load, takes as long as TensorFlow itself.
    assert set(heavy) - set(theirs) == {"tensorflow"}
    assert level == "2"
    assert values == [[0, "free_energy", 1.0], [0, "seconds", 0.5]]
    assert printed == ""


# Only remembers the level when it was loaded.
STAND_IN = """
import os, types
level = os.environ["TF_CPP_MIN_LOG_LEVEL"]
config = types.SimpleNamespace(list_physical_devices=list)
"""


def test_users_log_level_stands(tmp_path):
    """Whoever asks TensorFlow for its notes keeps that level."""
    (tmp_path / "tensorflow.py").write_text(STAND_IN)
    ours = Path(mne_hmm.__file__).parent / "engine" / "runtime" / "_tensorflow.py"
    code = f"""
import runpy
tf = runpy.run_path({str(ours)!r})["tf"]
out = tf.level, os.environ["TF_CPP_MIN_LOG_LEVEL"]
"""
    for asked, expected in (({"TF_CPP_MIN_LOG_LEVEL": "0"}, "0"), ({}, "2")):
        levels, _ = run_fresh(code, tmp_path, **asked)
        assert levels == [expected] * 2


@pytest.mark.slow
def test_users_log_level_stands_in_tensorflow(tmp_path):
    code = "import mne_hmm.engine\nout = os.environ['TF_CPP_MIN_LOG_LEVEL']"
    level, _ = run_fresh(code, tmp_path, TF_CPP_MIN_LOG_LEVEL="0")
    assert level == "0"


@pytest.mark.slow
def test_keras_is_there_for_who_uses_it(tmp_path):
    code = """
import mne_hmm.engine
before = heavy()
import tensorflow as tf
layer = tf.keras.layers.Dense(2)
import keras
shape = layer(tf.ones((3, 4))).shape.as_list()
out = before, shape, isinstance(layer, keras.layers.Layer), heavy()
"""
    (before, shape, is_layer, after), _ = run_fresh(code, tmp_path)
    assert "keras" not in before
    assert shape == [3, 2]
    assert is_layer
    assert "keras" in after
    # Whoever has loaded it keeps it.
    code = "import keras, mne_hmm.engine\nout = keras is sys.modules['keras']"
    kept, _ = run_fresh(code, tmp_path)
    assert kept


def test_stub_is_the_public_list():
    """The stub lists what there is, each name once, and all of it resolves."""
    tree = ast.parse(Path(mne_hmm.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imported = [
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    (listed,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
    )
    assert sorted(imported) == sorted(listed)
    assert len(listed) == len(set(listed))
    assert sorted(mne_hmm.__all__) == sorted(listed)
    assert set(listed) <= set(dir(mne_hmm))
    for name in listed:
        assert getattr(mne_hmm, name) is not None
    assert isinstance(mne_hmm.__version__, str)
