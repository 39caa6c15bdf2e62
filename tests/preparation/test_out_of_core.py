"""Training and prediction on features that lie in a folder: the same as in memory, in little."""

import gc
import subprocess
import sys
import weakref

import mne
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import mne_hmm
from mne_hmm.engine import Shards
from mne_hmm.engine.inference import samples as samples_module  # for the size of batches

SFREQ = 100.0
# Uneven, but the long ones are all cut into chunks of one length, and into groups of one size.
N_SAMPLES = [1500, 1100, 1140, 40]
AS_IS = mne_hmm.Preparation.as_is()


def recording(n_times, seed):
    """Four channels in three states of different means and covariances, with a bad span."""
    mixing = np.random.default_rng(0).normal(0, 1, (3, 4, 4)) / 2 + np.eye(4)
    rng = np.random.default_rng(seed)
    states = np.repeat(rng.integers(0, 3, n_times // 20 + 1), 20)[:n_times]
    noise = rng.standard_normal((n_times, 4))
    x = np.einsum("tij,tj->it", mixing[states], noise) + np.array([0.0, 0.7, -0.7])[states]
    raw = mne.io.RawArray(x, mne.create_info(4, SFREQ, "eeg"), verbose="ERROR")
    if n_times > 1100:
        raw.set_annotations(mne.Annotations([5.0], [0.5], ["BAD_x"]))
    return raw


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Features of recordings of uneven lengths, in memory and in a folder."""
    raws = [recording(n, seed) for seed, n in enumerate(N_SAMPLES)]
    folder = tmp_path_factory.mktemp("data") / "prepared"
    mne_hmm.prepare(raws, AS_IS, cache_dir=folder)
    return mne_hmm.prepare(raws, AS_IS), mne_hmm.read_prepared(folder)


def assert_same_model(ours, theirs):
    """Batches are the same rows in the same order, so every bit is the same."""
    for name in ("initial_probs_", "transition_matrix_", "means_", "covariances_"):
        assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert ours.converged_ == theirs.converged_
    assert ours.free_energy_ == theirs.free_energy_
    for name in ("free_energy", "batches", "n_passes"):
        assert_array_equal(ours.history_[name], theirs.history_[name])
    assert ours.annotations_ == theirs.annotations_


@pytest.mark.parametrize(
    "kwargs",
    [
        {"init": np.arange(sum(N_SAMPLES) - 100) // 20 % 3, "priors": mne_hmm.Priors("auto")},
        {"n_init": 1, "refine": False, "batch_size": 8, "sequence_length": 150},
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"init": "subset", "covariance_type": "diag"}, marks=pytest.mark.slow),
    ],
    ids=["labels", "mini-batches", "search", "subset"],
)
def test_the_model_is_that_of_memory(both, kwargs):
    in_memory, _ = both
    assert in_memory.n_samples == sum(N_SAMPLES) - 100  # two bad spans of half a second
    ours, theirs = (mne_hmm.fit_hmm(data, 3, random_state=1, **kwargs) for data in both)
    assert_same_model(ours, theirs)
    assert len(ours.annotations_) == len(N_SAMPLES)
    assert {name for annotations in ours.annotations_ for name in annotations.description} == {
        f"hmm/state_{k}" for k in range(3)
    }


def test_what_a_model_says_is_that_of_memory(both):
    in_memory, in_folder = both
    hmm = mne_hmm.fit_hmm(in_memory, 3, n_init=1, refine=False, random_state=1)
    for method in ("posterior", "viterbi"):
        ours, theirs = (hmm.predict(data, method=method) for data in both)
        assert len(ours) == len(theirs) == len(N_SAMPLES)
        for a, b in zip(ours, theirs, strict=True):
            assert_array_equal(a.probabilities, b.probabilities)
            assert_array_equal(a.labels, b.labels)
            assert_array_equal(a.times, b.times)
    assert hmm.free_energy(in_memory) == hmm.free_energy(in_folder)
    states = hmm.predict(in_folder)
    assert [course.to_annotations() for course in states] == hmm.annotations_


def test_folders_join(both, tmp_path):
    """Several folders, or a folder and features in memory, train as one."""
    in_memory, _ = both
    more = mne_hmm.prepare([recording(50, 9)], in_memory.preparation)
    kwargs = {"n_init": 1, "refine": False, "random_state": 1}
    ours, theirs = (mne_hmm.fit_hmm([recording, more], 3, **kwargs) for recording in both)
    assert_same_model(ours, theirs)
    assert len(ours.annotations_) == len(N_SAMPLES) + 1


# A batch in training is of one recording where each has at least so many rows.
LONG = 1200


@pytest.mark.filterwarnings("ignore:States may be recordings:RuntimeWarning")  # which they are
@pytest.mark.parametrize(
    "batches",
    [{}, pytest.param({"batch_size": 4, "sequence_length": 100}, marks=pytest.mark.slow)],
)
def test_two_recordings_are_in_memory_at_most(tmp_path, monkeypatch, batches):
    """The one that is worked on, and the next."""
    monkeypatch.setattr(samples_module, "BATCH_LENGTH", LONG)
    x = recording(LONG, 0).get_data()
    mne_hmm.prepare([x * scale for scale in (1, 2, 3)], AS_IS, sfreq=SFREQ, cache_dir=tmp_path)
    alive, counts = [], []

    def watched(*args):
        rows = original(*args)
        alive.append(weakref.ref(rows))
        counts.append(sum(reference() is not None for reference in alive))
        return rows

    original = Shards._read  # through which every reading of rows goes
    monkeypatch.setattr(Shards, "_read", watched)
    gc.disable()  # nothing may wait for it
    try:
        hmm = mne_hmm.fit_hmm(
            mne_hmm.read_prepared(tmp_path),
            3,
            n_init=1,
            refine=False,
            tol=0.3,
            random_state=0,
            **batches,
        )
    finally:
        gc.enable()
    assert len(alive) > 3 * len(hmm.history_["free_energy"])  # every pass reads all of them
    assert max(counts) <= 2
    assert [reference for reference in alive if reference() is not None] == []


# Says how many rows were trained on, and how much memory was needed at most, in kB.
MEASURED = """
import re, sys
import mne_hmm

prepared = mne_hmm.read_prepared(sys.argv[1])
hmm = mne_hmm.fit_hmm(
    prepared, 3, n_init=1, refine=False, tol=0.3, random_state=0, verbose="ERROR",
    **eval(sys.argv[2]),
)
assert len(hmm.annotations_) == len(prepared)
status = open("/proc/self/status").read()
print(prepared.n_samples, re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("batches", [{}, {"batch_size": 8}], ids=["all", "mini-batches"])
def test_memory_does_not_grow_with_the_data(tmp_path, batches):
    """Ten times the data, half a gigabyte, need at most 100 MB more."""
    rng = np.random.default_rng(0)
    n_times, n_features = 125_000, 20  # 10 MB in float32
    # States of some seconds: annotations, which are all in memory, are few.
    states = np.repeat(rng.integers(0, 3, n_times // 500), 500)
    x = rng.uniform(0.5, 2.0, (3, n_features))[states] * rng.standard_normal((n_times, n_features))
    np.save(tmp_path / "one.npy", x.T.astype(np.float32))
    used = []
    for n_recordings in (5, 50):
        folder = tmp_path / f"{n_recordings} recordings"
        recordings = [tmp_path / "one.npy"] * n_recordings
        mne_hmm.prepare(recordings, AS_IS, sfreq=SFREQ, cache_dir=folder, verbose="ERROR")
        result = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", MEASURED, str(folder), repr(batches)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        n_samples, kilobytes = map(int, result.stdout.split())
        assert n_samples == n_recordings * n_times
        used.append(kilobytes)
    assert used[1] - used[0] <= 100_000, used
