"""Cross-validation of one model: numbers against other software, folds, groups and errors."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from helpers import three_states
from hmmlearn.hmm import GaussianHMM
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm.states.matching import compare_states
from mne_hmm.validation.cross_validation import _held_out_names  # needs no models
from mne_hmm.validation.folds import describe_folds, make_folds, number_groups
from mne_hmm.validation.model_pairs import PairSums

AS_IS = mne_hmm.Preparation.as_is()
QUICK = {"n_init": 3, "refine": False, "learn_means": False, "random_state": 0}
QUICK |= {"sfreq": 100.0, "preparation": AS_IS}


class Model(NamedTuple):
    """What pairs of models are compared by."""

    initial_probs: np.ndarray
    covariances: np.ndarray
    means: np.ndarray


RECORDINGS = [three_states(n, seed, loudness=5) for seed, n in enumerate((1200, 800, 1200, 800))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where fits are kept."""
    return tmp_path_factory.mktemp("validation") / "fits"


def validate(folder, **changes):
    options = {"n_folds": 2, "group": ["a", "b", "a", "c"], "verbose": "WARNING", **QUICK}
    return mne_hmm.cross_validate(RECORDINGS, 3, checkpoint_dir=folder, **options | changes)


@pytest.fixture(scope="module")
def validated(folder):
    """Four recordings in two folds, a person with two sessions in one of them."""
    return validate(folder)


def evidence(hmm, arrays):
    """Log evidence per sample by hmmlearn, every array a chain."""
    other = GaussianHMM(hmm.n_states, covariance_type="full")
    other.startprob_, other.transmat_ = hmm.initial_probs_, hmm.transition_matrix_
    other.means_, other.covars_ = hmm.means_, hmm.covariances_
    return sum(other.score(x.T) for x in arrays) / sum(x.shape[1] for x in arrays)


def test_evidence_is_that_of_other_software(validated):
    """Held-out evidence and training free energy of each fold, by hmmlearn."""
    # Groups a, b, c have 2400, 800 and 800 samples.
    folds = [[0, 2], [1, 3]]
    assert validated.names == (("recording 0", "recording 2"), ("recording 1", "recording 3"))
    assert_array_equal(validated.n_held_out, [2400, 1600])
    assert_array_equal(validated.n_training, [1600, 2400])
    for fold, held_out in enumerate(folds):
        inside = [RECORDINGS[i] for i in held_out]
        outside = [RECORDINGS[i] for i in range(4) if i not in held_out]
        hmm = validated.hmms[fold]
        # Ours are log densities in float32.
        assert validated.held_out[fold] == pytest.approx(evidence(hmm, inside), rel=1e-6)
        assert validated.free_energy[fold] == pytest.approx(-evidence(hmm, outside), rel=1e-6)
    assert validated.score == pytest.approx(validated.held_out.mean())
    assert validated.error == pytest.approx(np.abs(np.diff(validated.held_out))[0] / 2)
    assert validated.folds == "2 folds of groups of recordings"
    assert validated.converged.all()


def test_agreement_of_folds(validated):
    """Agreement over all data is that of the models themselves."""
    first, second = validated.hmms
    agreement = first.agreement(second, RECORDINGS, sfreq=100.0)
    assert validated.agreement[0, 1] == pytest.approx(agreement.kappa, abs=1e-9)
    assert validated.agreement[0, 1] > 0.9
    # Sums of float32 probabilities in another order.
    assert validated.correlation[0, 1] == pytest.approx(agreement.correlation.mean(), abs=1e-6)
    order = mne_hmm.match_states(second, first)
    apart = compare_states(
        first.covariances_, second.covariances_, "riemannian", first.means_, second.means_
    )
    assert validated.distance[0, 1] == pytest.approx(apart[np.arange(3), order].mean())
    for matrix, diagonal in zip(
        (validated.agreement, validated.correlation, validated.distance), (1, 1, 0), strict=True
    ):
        assert_array_equal(matrix, matrix.T)
        assert_array_equal(np.diag(matrix), diagonal)


def test_table_and_text(validated):
    frame = validated.to_data_frame()
    assert_array_equal(frame["fold"], [0, 1])
    assert_array_equal(frame["held_out"], validated.held_out)
    assert_allclose(frame["agreement"], validated.agreement[0, 1])
    assert_allclose(frame["distance"], validated.distance[0, 1])
    assert frame["names"][0] == "recording 0, recording 2"
    text = str(validated)
    assert text.startswith("Cross-validation of 3 states, 2 folds of groups of recordings\n")
    assert f"{validated.score:.5f} ± {validated.error:.5f} nats per sample" in text
    assert repr(validated) == text


def test_means_over_other_folds():
    """The diagonal takes no part, nor does what is unknown."""
    values = np.array([[1, 0.2, 0.4], [0.2, 1, np.nan], [0.4, np.nan, 1]])
    # By itself, for folds of which nothing is known are rare in a whole cross-validation.
    means = mne_hmm.CrossValidation._with_others(None, values)
    assert_allclose(means, [0.3, 0.2, 0.4])
    assert np.isnan(mne_hmm.CrossValidation._with_others(None, np.full((2, 2), np.nan))).all()


def test_blocks_of_one_recording():
    """What is held out is told by its times, and what has not settled is no secret."""
    with pytest.warns(RuntimeWarning, match="2 of 2 fits had not settled after max_iter=1 update"):
        validation = mne_hmm.cross_validate(RECORDINGS[0], 3, n_folds=2, max_iter=1, **QUICK)
    assert validation.names == (("the recording 0.0-6.0 s",), ("the recording 6.0-12.0 s",))
    assert validation.folds == "2 folds of blocks of recordings"
    assert not validation.converged.any()
    assert not any(hmm.converged_ for hmm in validation.hmms)
    assert not validation.to_data_frame()["converged"].any()
    assert str(validation).endswith("2 fits had not settled")


def test_fits_that_are_there(validated, folder):
    """They are not done again, and not taken for other groups."""
    written = sorted(folder.iterdir())
    times = [path.stat().st_mtime_ns for path in written]
    assert_array_equal(validate(folder).held_out, validated.held_out)
    assert [path.stat().st_mtime_ns for path in written] == times
    with pytest.raises(ValueError, match=r"another training, which differs in group"):
        validate(folder, group=["a", "b", "c", "c"])


def test_what_is_held_out():
    """Blocks are told by their times."""
    prepared = mne_hmm.prepare(RECORDINGS[0], AS_IS, sfreq=100.0)
    folds = make_folds(prepared, 2, gap=1.0)
    names = [_held_out_names(fold, prepared, True) for fold in folds]
    assert names == [("the recording 0.0-6.0 s",), ("the recording 6.0-12.0 s",)]
    assert describe_folds(prepared, 2, None) == "2 folds of blocks of recordings"
    assert describe_folds(prepared, 1, None) == "1 folds of recordings"


@pytest.mark.slow
def test_fits_of_a_selection(tmp_path):
    """What select_n_states has fitted is taken."""
    x = three_states(2400, 9, loudness=5)
    options = {**QUICK, "n_folds": 2, "checkpoint_dir": tmp_path / "fits", "verbose": "WARNING"}
    selection = mne_hmm.select_n_states(x, [2], n_repeats=1, **options)
    n_files = len(list((tmp_path / "fits").iterdir()))
    validation = mne_hmm.cross_validate(x, 2, **options)
    assert_array_equal(validation.held_out, selection.held_out[0])
    assert len(list((tmp_path / "fits").iterdir())) == n_files


@pytest.mark.slow
def test_more_states_than_there_are():
    """Held-out evidence is best for the true number, and folds agree on it alone."""
    recordings = [three_states(2000, seed, loudness=5) for seed in range(4)]
    validations = {
        k: mne_hmm.cross_validate(recordings, k, n_folds=4, n_jobs=2, verbose="WARNING", **QUICK)
        for k in (2, 3, 5)
    }
    scores = {k: validation.score for k, validation in validations.items()}
    assert scores[3] > scores[2] + 0.05
    assert scores[3] > scores[5]
    kappa = {
        k: validation.agreement[np.triu_indices(4, 1)].mean()
        for k, validation in validations.items()
    }
    assert kappa[3] > 0.9 > kappa[5]


# Processes that were there before, small, load TensorFlow: joblib takes that for a leak.
REPLACED = """
import os
from joblib import Parallel, delayed
import test_cross_validation as here

Parallel(n_jobs=2)(delayed(os.getpid)() for _ in range(4))
options = {**here.QUICK, "n_folds": 4, "n_jobs": 2, "verbose": "WARNING"}
found = [here.mne_hmm.cross_validate(here.RECORDINGS, k, **options) for k in (2, 3)]
print("fits", *(len(one.hmms) for one in found))
"""


@pytest.mark.slow
def test_processes_that_are_replaced():
    """Nothing is lost or told, and where warnings are errors nobody waits for ever."""
    pytest.importorskip("psutil")  # without it joblib replaces nothing
    command = [sys.executable, "-W", "error::UserWarning", "-c", REPLACED]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=600
    )
    assert run.stdout.endswith("fits 4 4\n")
    assert "worker" not in run.stderr


def test_groups_stay_together():
    """No group is on both sides, and folds are of about the same length."""
    prepared = mne_hmm.prepare(
        [np.random.default_rng(i).standard_normal((2, n)) for i, n in enumerate((9, 5, 4, 8, 6))],
        AS_IS, sfreq=1.0,
    )  # fmt: skip
    group = number_groups(["x", "y", "x", "z", "y"], 5, 3)
    assert group == [0, 1, 0, 2, 1]
    folds = make_folds(prepared, 3, 0.0, group)
    assert [[part.recording for part in fold.held_out] for fold in folds] == [[0, 2], [1, 4], [3]]
    for fold in folds:
        inside = {group[part.recording] for part in fold.held_out}
        assert not inside & {group[part.recording] for part in fold.training}
    two = make_folds(prepared, 2, 0.0, group)
    assert [[part.recording for part in fold.held_out] for fold in two] == [[0, 2], [1, 3, 4]]


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"n_states": 1}, ValueError, "n_states must be a whole number ≥ 2, got 1"),
        ({"n_folds": 1}, ValueError, "n_folds must be a whole number ≥ 2, got 1"),
        ({"gap": -1}, ValueError, "gap must be a number of seconds ≥ 0"),
        ({"metric": "cosine"}, ValueError, "metric must be one of 'riemannian', 'wasserstein'"),
        ({"group": "aabb"}, TypeError, "group must .* got 'aabb'"),
        ({"group": [1, 2]}, ValueError, "group must .* 2 labels for 4 recordings"),
        ({"group": [[1], [2], [3], [4]]}, TypeError, r"group must .* got \[1\]"),
        ({"group": [1, 1, 1, 1]}, ValueError, "group has 1 group, .* into 2 folds; use fewer"),
        ({"refine": None}, ValueError, "refine must be one of True, False, got None"),
        ({"priors": 1}, TypeError, "priors must be Priors or None"),
        ({"checkpoint_dir": 3}, TypeError, "checkpoint_dir must be a path of a folder or None"),
        ({"n_states": 900}, ValueError, "n_states=900 has .* free parameters, but the data"),
    ],
)
def test_errors(changes, kind, message):
    """Said before the first fit."""
    options = {"n_states": 2, "n_folds": 2, **QUICK, **changes}
    with pytest.raises(kind, match=message):
        mne_hmm.cross_validate(RECORDINGS, **options)


def test_pairs_in_any_order():
    """States in another order are the same states, by each of the measures."""
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((3, 4, 4))
    covariances = factors @ factors.swapaxes(1, 2) + np.eye(4)
    cycle = [1, 2, 0]
    models = [
        Model(np.ones(3) / 3, covs, np.zeros((3, 4))) for covs in (covariances, covariances[cycle])
    ]
    sums = PairSums(models, [(0, 1)])
    posteriors = rng.dirichlet(np.full(3, 0.2), 900)
    for rows in (posteriors[:500], posteriors[500:]):
        sums.add([rows, rows[:, cycle]])
    for metric in ("riemannian", "wasserstein"):
        agreement = sums.agreement(metric)
        assert_allclose(agreement.kappa, 1)
        assert_allclose(agreement.correlation, 1)
        assert_allclose(agreement.distance, 0, atol=1e-6)
    # A state that never changes is like none: it counts as 0 beside two of 1.
    sums = PairSums(models, [(0, 1)])
    still = np.column_stack([posteriors[:, :2].sum(1), posteriors[:, 2], np.zeros(900)])
    sums.add([still, still[:, cycle]])
    assert_allclose(sums.agreement("riemannian").correlation, 2 / 3)
