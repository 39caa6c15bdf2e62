"""One process that fits again and again: what it takes of memory does not grow with the fits."""

import subprocess
import sys

import pytest

# Recordings of many lengths, the longest twice as long as the shortest, one to three at a time, as
# somebody has who goes through a data set, with what one does with a model. Prints memory in MB.
# (Functions are compiled for a few sizes of data and for every number of states, some 10 MB each
# that are never freed; one or two of these sizes come up after the tenth fit.)
SOAK = """
import gc, sys, tempfile
import numpy as np
import mne_hmm
from mne_hmm.engine.runtime.memory import give_back_freed

def memory():
    gc.collect()
    give_back_freed()
    with open("/proc/self/status") as file:
        (line,) = (line for line in file if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024

rng = np.random.default_rng(0)
mixing = rng.normal(0, 1, (4, 8, 8)) / 3 + np.eye(8)

def recording():
    states = np.repeat(rng.integers(0, 4, rng.integers(133, 247)), 25)
    return np.einsum("tij,tj->it", mixing[states], rng.standard_normal((len(states), 8)))

as_is = mne_hmm.Preparation.as_is()
with tempfile.TemporaryDirectory() as folder:
    for number in range(int(sys.argv[1])):
        data = [recording() for _ in range(rng.integers(1, 4))]
        hmm = mne_hmm.fit_hmm(
            data, 4, preparation=as_is, sfreq=100.0, learn_means=False, random_state=number,
            refine=number % 4 == 0, n_init=2, max_iter=30, tol=1e-3, verbose="ERROR",
        )
        hmm.save(f"{folder}/hmm.h5", overwrite=True)
        hmm = mne_hmm.read_hmm(f"{folder}/hmm.h5")
        hmm.predict(data[0], sfreq=100.0, verbose="ERROR").statistics()
        hmm.score(data, sfreq=100.0, verbose="ERROR")
        if number % 10 == 9:
            print(number + 1, memory(), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the memory")
def test_memory_of_200_fits():
    """It grows by less than 50 MB after the tenth."""
    command = [sys.executable, "-W", "ignore", "-c", SOAK, "200"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    used = dict(map(float, line.split()) for line in run.stdout.splitlines())
    assert len(used) == 20
    assert max(used.values()) - used[10] < 50
