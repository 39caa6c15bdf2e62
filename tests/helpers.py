"""What tests of several folders share: recordings, states, comparisons, expected errors."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mne
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import mne_hmm
from mne_hmm.io.timeline import Timeline

PARAMETERS = ("initial_probs_", "transition_matrix_", "means_", "covariances_")


def make_raw(
    n_times=2000,
    ch_names="abcd",
    *,
    sfreq=250.0,
    ch_types="eeg",
    first_samp=0,
    meas_date=None,
    seed=0,
):
    """White noise in a few channels."""
    data = np.random.default_rng(seed).standard_normal((len(ch_names), n_times))
    info = mne.create_info(list(ch_names), sfreq, ch_types)
    raw = mne.io.RawArray(data, info, first_samp=first_samp, verbose="ERROR")
    return raw.set_meas_date(meas_date)


def annotate(raw, *annotations):
    """Annotate samples: first, the one after the last, and what they are."""
    starts, stops, descriptions = zip(*annotations, strict=True)
    starts, stops = np.array(starts) / raw.info["sfreq"], np.array(stops) / raw.info["sfreq"]
    return raw.set_annotations(mne.Annotations(starts, stops - starts, descriptions))


def three_states(n_samples, seed=0, loudness=3):
    """Three channels, each of them louder in a state of its own, shape (3, n_samples)."""
    rng = np.random.default_rng(seed)
    visits = rng.geometric(1 / 40, n_samples // 10)
    labels = np.repeat(np.cumsum(rng.integers(1, 3, len(visits))) % 3, visits)[:n_samples]
    loud = labels == np.arange(3)[:, np.newaxis]
    return rng.standard_normal((3, n_samples)) * np.where(loud, loudness, 1)


def states_of(labels, n_states=None, *, sfreq=100.0, spans=None, probabilities=None, names=None):
    """States of a recording given its labels; -1 where it was not modeled.

    Spans are those of the labels, and names are ``state_0`` and so on, if not given.
    """
    labels = np.asarray(labels, int)
    if n_states is None:
        n_states = labels.max() + 1
    if probabilities is None:
        probabilities = np.equal(labels, np.arange(n_states)[:, np.newaxis]).astype(float)
        probabilities[:, labels < 0] = np.nan
    if spans is None:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], labels >= 0, [0]])))
        spans = [tuple(edge) for edge in edges.reshape(-1, 2).tolist()]
    return mne_hmm.StateTimeCourse(
        probabilities,
        labels,
        Timeline(sfreq, len(labels)),
        spans,
        tuple(f"state_{k}" for k in range(n_states)) if names is None else tuple(names),
    )


def raises(error, parts):
    """Expect an error whose message has all parts, in this order."""
    return pytest.raises(error, match=re.compile(".*".join(map(re.escape, parts)), re.DOTALL))


def assert_same_parameters(ours, theirs):
    """Compare the parameters of two models to the bit."""
    for name in PARAMETERS:
        assert_array_equal(getattr(ours, name), getattr(theirs, name))


def assert_same_model(ours, theirs):
    """Compare two models, and all that their training came to but its duration, to the bit."""
    assert_same_parameters(ours, theirs)
    assert (ours.free_energy_, ours.converged_) == (theirs.free_energy_, theirs.converged_)
    assert ours.annotations_ == theirs.annotations_
    assert ours.state_names == theirs.state_names
    assert ours.learned == theirs.learned
    assert ours.random_state == theirs.random_state
    assert ours.versions == theirs.versions
    assert ours.history_.keys() == theirs.history_.keys()
    for name in set(ours.history_) - {"seconds", "n_passes"}:
        assert_array_equal(ours.history_[name], theirs.history_[name])
    if "seconds" in ours.history_:
        assert len(ours.history_["seconds"]) == len(theirs.history_["seconds"])
    if "n_passes" in ours.history_:
        # A sum whose order changes when steps are remembered.
        expected = pytest.approx(theirs.history_["n_passes"], rel=1e-12)
        assert ours.history_["n_passes"] == expected
    assert_same_preparation(ours.preparation_, theirs.preparation_)


def assert_same_preparation(ours, theirs):
    """Compare fitted preparations to the bit."""
    assert ours.settings == theirs.settings
    for name in ("ch_names_", "rank_", "sfreq_", "explained_variance_", "grouped_"):
        assert getattr(ours, name) == getattr(theirs, name)
    for name in ("components_", "eigenvalues_", "aligned_to_"):
        assert_array_equal(getattr(ours, name), getattr(theirs, name))


def assert_same_prepared(ours, theirs, *, names=True):
    """Compare prepared data, features and maps to the bit, and the recordings' names if asked."""
    assert len(ours) == len(theirs)
    for x, y in zip(ours.data, theirs.data, strict=True):
        assert x.dtype == y.dtype == np.float32
        assert_array_equal(x, y)
    assert ours.time_maps == theirs.time_maps
    if names:
        assert ours.names == theirs.names
    for x, y in zip(ours.alignments, theirs.alignments, strict=True):
        assert_array_equal(x.content(), y.content())
    assert_same_preparation(ours.preparation, theirs.preparation)


def bids_errors(root, *options):
    """What the BIDS validator finds wrong: codes of errors, and the files they are of."""
    # The command lies beside the interpreter, also where the environment is not activated.
    command = shutil.which("bids-validator-deno") or shutil.which(
        "bids-validator-deno", path=str(Path(sys.executable).parent)
    )
    if command is None:
        pytest.skip("bids-validator-deno is not installed")
    ran = subprocess.run(
        [command, str(root), "--json", *options], capture_output=True, text=True, check=False
    )
    issues = json.loads(ran.stdout)["issues"]["issues"]
    errors = {
        (issue["code"], issue.get("location")) for issue in issues if issue["severity"] == "error"
    }
    assert (ran.returncode == 0) == (not errors)
    return errors
