"""How fast the engine is, and how much memory a fit takes.

Run as ``pytest -n 0 -s tests/benchmarks/bench_engine.py`` on a machine with nothing else to do.
Nothing here can fail for being slow; the numbers are printed.
"""
# ruff: noqa: T201

import subprocess
import sys
import time

import numpy as np
import pytest
from parcels import embedded, parcels

import mne_hmm
from mne_hmm.engine import Parameters, Samples, decode, smooth
from mne_hmm.engine.inference.gaussian import Emission
from mne_hmm.engine.inference.samples import Data
from mne_hmm.engine.runtime._tensorflow import tf  # without start-up notes
from mne_hmm.engine.training.em import UpdateRule, expect, update
from mne_hmm.engine.training.initialization import parameters_from_labels, sticky_chain

T, D, K = 75_000, 80, 6
RULE = UpdateRule(learn_means=False)


@pytest.fixture(scope="module")
def features():
    """Five minutes of simulated parcels, embedded and projected, and which network is on."""
    signals, states = parcels(T + 14, seed=0)
    return embedded(signals), states[7:-7]


@pytest.fixture(scope="module")
def data(features) -> Data:
    """The same in the engine's memory."""
    return Data(Samples([features[0]], [[T]]), K * D)


@pytest.fixture(scope="module")
def parameters(data, features) -> Parameters:
    """Parameters that fit the networks."""
    return parameters_from_labels(data, features[1], K, RULE)


@pytest.fixture(scope="module")
def densities(data, parameters):
    """Log density of each sample under each state."""
    return Emission(parameters.means, parameters.covariances).log_densities(data)


@pytest.fixture(scope="module")
def raw():
    """Five minutes of 38 simulated parcels."""
    return mne_hmm.simulate_raw(random_state=0)[0]


def test_iteration_against_products(data, parameters, benchmark, capsys):
    """One iteration of EM against the two matrix products it cannot do without.

    These are (T x D)(D x KD) and (KD x T)(T x D) in float32, each in one call on the whole
    data, through TensorFlow in the same process. Iterations and products take turns.
    """
    x = tf.concat([block for batch in data for block in batch.blocks], 0)
    weights = tf.random.stateless_normal((D, K * D), (0, 0))
    y = x @ weights

    def both_products():
        first = x @ weights
        return first[0, 0].numpy(), tf.matmul(y, x, transpose_a=True)[0, 0].numpy()

    statistics = expect(data, parameters, RULE)
    seconds = []

    def products_take_their_turn():
        began = time.perf_counter()
        both_products()
        seconds.append(time.perf_counter() - began)

    def iteration():
        return expect(data, update(parameters, statistics, RULE), RULE)

    both_products()
    benchmark.pedantic(
        iteration, setup=products_take_their_turn, rounds=15, iterations=1, warmup_rounds=3
    )
    if benchmark.stats is None:  # benchmarks are disabled
        return
    ours, theirs = benchmark.stats.stats.median, float(np.median(seconds[3:]))
    benchmark.extra_info.update(products_median=theirs, ratio=ours / theirs)
    with capsys.disabled():
        print(
            f"\nEM iteration {1e3 * ours:.1f} ms, two products {1e3 * theirs:.1f} ms (medians, "
            f"{T:,} x {D}, {K} states): ratio {ours / theirs:.2f}"
        )


@pytest.mark.parametrize("n_states", [K, 2 * K])
def test_smoothing(densities, benchmark, n_states):
    """Posterior of the states of one chain."""
    benchmark(_on_chain, smooth, densities, n_states)


@pytest.mark.parametrize("n_states", [K, 2 * K])
def test_viterbi(densities, benchmark, n_states):
    """Most probable path of one chain."""
    benchmark(_on_chain, decode, densities, n_states)


def _on_chain(function, densities, n_states):
    initial, transition = sticky_chain(n_states)
    return function(np.tile(densities, n_states // K), [T], transition, initial)


def test_preparation(raw, benchmark):
    """Filter, embedding and projection of five minutes of 38 channels."""
    benchmark.pedantic(mne_hmm.prepare, (raw,), {"verbose": "ERROR"}, rounds=5, warmup_rounds=1)


# The high-water mark of this very process. The one getrusage gives may be that of the process
# it was started from.
MEMORY = """
import resource, sys
import mne_hmm, mne_hmm.engine

def peak():
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))
    except OSError:
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

mne_hmm.read_hmm, mne_hmm.fit_hmm
idle = peak()
mne_hmm.fit_hmm(sys.argv[1], n_states=6, random_state=0, verbose="ERROR")
print(idle, peak())
"""


def test_memory(raw, tmp_path, capsys):
    """Peak memory of a whole fit above that of an idle process with TensorFlow."""
    fname = tmp_path / "simulated-raw.fif"
    raw.save(fname, verbose="ERROR")
    ran = subprocess.run(
        [sys.executable, "-c", MEMORY, str(fname)], check=True, capture_output=True, text=True
    )
    idle, peak = map(float, ran.stdout.split())
    with capsys.disabled():
        print(
            f"\nMemory: {peak - idle:.0f} MiB above the {idle:.0f} MiB of an idle process, for "
            f"{raw.n_times:,} samples of {len(raw.ch_names)} channels ({T * D * 4 / 2**20:.0f} MiB "
            f"of features)"
        )
