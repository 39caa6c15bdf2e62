"""Ten times the data: memory out of core, and mini-batches beside full passes.

Run as ``pytest -n 0 -s tests/benchmarks/bench_large.py``. Nothing here can fail for being slow; the
numbers are printed.
"""
# ruff: noqa: T201

import subprocess
import sys

import numpy as np
import pytest
from parcels import embedded, parcels

import mne_hmm
from mne_hmm.engine.training import mini_batches

T, K, N_TIMES = 75_000, 6, 10
BATCH_SIZE, SEQUENCE_LENGTH = 16, 500
# Samples for which a state that is drawn by chance stays.
DRAWN_LENGTH = 25

# The high-water mark of a fresh process above that of the same process when it was idle.
MEMORY = """
import sys
import mne_hmm, mne_hmm.engine

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))

prepared = mne_hmm.read_prepared(sys.argv[1])
mne_hmm.fit_hmm
idle = peak()
mne_hmm.fit_hmm(prepared, 6, learn_means=False, random_state=0, verbose="ERROR")
print(peak() - idle)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folders of prepared data, of one and of ten recordings of 75,000 samples."""
    signals, _ = parcels(T * N_TIMES + 200, seed=0)
    features = embedded(signals).T
    path = tmp_path_factory.mktemp("large")
    recordings = [features[:, i * T : (i + 1) * T] for i in range(N_TIMES)]
    for n in (1, N_TIMES):
        mne_hmm.prepare(
            recordings[:n],
            mne_hmm.Preparation.as_is(),
            sfreq=250.0,
            cache_dir=path / str(n),
            verbose="ERROR",
        )
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_out_of_core(folder, capsys):
    """Peak memory of a fit from a folder, for one recording and for ten."""
    peaks = []
    for n in (1, N_TIMES):
        ran = subprocess.run(
            [sys.executable, "-c", MEMORY, str(folder / str(n))],
            check=True,
            capture_output=True,
            text=True,
        )
        peaks.append(float(ran.stdout))
    with capsys.disabled():
        print(
            f"\nMemory above idle: {peaks[0]:.0f} MiB for {T:,} samples, {peaks[1]:.0f} MiB for "
            f"{N_TIMES} times as many"
        )


def test_mini_batches(folder, capsys, monkeypatch):
    """Free energy on all data over passes, with full passes and with mini-batches.

    Both begin with the same states, drawn by chance, and nothing else is looked for.
    """
    prepared = mne_hmm.read_prepared(folder / str(N_TIMES))
    n_drawn = -(-prepared.n_samples // DRAWN_LENGTH)
    drawn = np.random.default_rng(0).integers(0, K, n_drawn).repeat(DRAWN_LENGTH)
    settings = {"init": drawn[: prepared.n_samples], "learn_means": False, "random_state": 0}
    sizes = {"batch_size": BATCH_SIZE, "sequence_length": SEQUENCE_LENGTH}
    full = mne_hmm.fit_hmm(prepared, K, verbose="ERROR", **settings).history_["free_energy"]
    courses = {"full passes": full, "mini-batches": full[:1]}
    for n_passes in range(1, 6):
        monkeypatch.setattr(mini_batches, "MAX_EPOCHS", n_passes)
        hmm = mne_hmm.fit_hmm(prepared, K, max_iter=1, verbose="ERROR", **sizes, **settings)
        reached = hmm.history_["free_energy"][0]
        courses["mini-batches"] = np.append(courses["mini-batches"], reached)
    best = min(course.min() for course in courses.values())
    with capsys.disabled():
        print(f"\nNats per sample after 0, 1, 2 ... passes ({prepared.n_samples:,} samples):")
        for name, course in courses.items():
            there = np.flatnonzero(course < full[-1] + 0.05)
            n_passes = there[0] if len(there) else None
            print(f"{name}: within 0.05 of the end of full passes after {n_passes} passes")
            print("  " + " ".join(f"{value - best:.3f}" for value in course) + f" + {best:.4f}")
