"""Ten times the data: memory out of core, and mini-batches beside full passes.

Run as ``pytest -s tests/benchmarks/bench_large.py``. Nothing here can fail for being slow; the
numbers are printed.
"""
# ruff: noqa: T201

import subprocess
import sys

import numpy as np
import pytest
from parcels import embedded, parcels

import mne_hmm

T, K, N_TIMES = 75_000, 6, 10
BATCH_SIZE, SEQUENCE_LENGTH = 16, 500

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


def test_mini_batches(folder, capsys):
    """Free energy over passes, with full passes and with mini-batches first."""
    prepared = mne_hmm.read_prepared(folder / str(N_TIMES))
    kwargs = {"learn_means": False, "refine": False, "n_init": 1, "random_state": 0}
    kwargs |= {"init": "random", "verbose": "ERROR"}
    full = mne_hmm.fit_hmm(prepared, K, **kwargs)
    kwargs |= {"batch_size": BATCH_SIZE, "sequence_length": SEQUENCE_LENGTH}
    quick = mne_hmm.fit_hmm(prepared, K, **kwargs)
    batches = quick.history_["batches"]
    per_pass = -(-prepared.n_samples // (BATCH_SIZE * SEQUENCE_LENGTH))
    epochs = [batches[i : i + per_pass].mean() for i in range(0, len(batches), per_pass)]
    best = min(full.free_energy_, quick.free_energy_)
    courses = {
        "full passes": full.history_["free_energy"],
        "mini-batches, then full passes": np.r_[epochs, quick.history_["free_energy"]],
    }
    with capsys.disabled():
        print(f"\nNats per sample over passes ({prepared.n_samples:,} samples):")
        for name, course in courses.items():
            there = np.flatnonzero(course < full.free_energy_ + 0.05)
            n_passes = there[0] + 1 if len(there) else None
            print(f"{name}: within 0.05 of full EM after {n_passes} passes")
            print("  " + " ".join(f"{value - best:.3f}" for value in course) + f" + {best:.4f}")
