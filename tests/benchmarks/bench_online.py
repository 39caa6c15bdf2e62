"""How long a block of 20 ms takes to decode, from samples to probabilities.

Run as ``pytest -n 0 -s tests/benchmarks/bench_online.py`` on a machine with nothing else to do.
Nothing here can fail for being slow; percentiles over two minutes of stream are printed.
"""
# ruff: noqa: T201

import time
from itertools import pairwise

import mne
import numpy as np
import pytest

import mne_hmm
from mne_hmm.model.file import Learned

N_CHANNELS, N_LAGS, N_COMPONENTS = 64, 15, 80
SECONDS, BLOCK = 120, 0.02
PERCENTILES = (50, 95, 99, 99.9, 100)


# The filter of 0.1 Hz is longer than the calibration, which MNE-Python warns of.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def table():
    """All results; printed in the end."""
    rows = []
    yield rows
    head = "".join(f"{'max' if p == 100 else f'{p:g} %':>9}" for p in PERCENTILES)
    print(f"\n\nmilliseconds per block of {1e3 * BLOCK:g} ms{'':<12}{head}")
    for name, values in rows:
        print(f"{name:<42}{''.join(f'{value:9.3f}' for value in values)}")


def decoder_for(sfreq, n_states, phase, lag, l_freq):
    """Make a decoder of a model with random parameters, and a minute of noise to calibrate on."""
    rng = np.random.default_rng(0)
    raw = mne.io.RawArray(
        rng.normal(size=(N_CHANNELS, int(30 * sfreq))),
        mne.create_info(N_CHANNELS, sfreq, "eeg"),
        verbose="ERROR",
    )
    preparation = mne_hmm.Preparation(l_freq=l_freq, n_embeddings=N_LAGS, n_components=N_COMPONENTS)
    fitted = mne_hmm.prepare(raw, preparation, verbose="ERROR").preparation
    factors = rng.normal(size=(n_states, N_COMPONENTS, 4 * N_COMPONENTS))
    hmm = mne_hmm.HMM(
        np.full(n_states, 1 / n_states),
        0.95 * np.eye(n_states) + 0.05 / n_states,
        np.zeros((n_states, N_COMPONENTS)),
        factors @ factors.transpose(0, 2, 1) / (4 * N_COMPONENTS),
        fitted,
        learned=Learned(means=False),
    )
    return hmm.online(raw.info, calibration=raw, lag=lag, phase=phase), raw.get_data()


@pytest.mark.parametrize(
    ("sfreq", "n_states", "phase", "lag", "l_freq"),
    [
        (1000.0, 6, "minimum", 0.0, 1.0),
        (1000.0, 8, "minimum", 0.1, 1.0),
        (1000.0, 8, "zero", 1.0, 1.0),
        (1000.0, 8, "minimum", 0.1, 0.1),
        (512.0, 8, "minimum", 0.1, 1.0),
        (160.0, 8, "minimum", 0.1, 1.0),
    ],
)
def test_block(table, sfreq, n_states, phase, lag, l_freq):
    """One block after another, as fast as they go."""
    decoder, x = decoder_for(sfreq, n_states, phase, lag, l_freq)
    edges = np.round(np.arange(0, 30 + 1e-9, BLOCK) * sfreq).astype(int)
    seconds = []
    for _ in range(SECONDS // 30):
        for begin, end in pairwise(edges):
            began = time.perf_counter()
            decoder.process(x[:, begin:end])
            seconds.append(time.perf_counter() - began)
    name = f"{sfreq:g} Hz, {n_states} states, {phase}, lag {lag:g}, {l_freq:g} Hz"
    table.append((name, 1e3 * np.percentile(seconds[100:], PERCENTILES)))


def test_whole_recording(capsys):
    """Two minutes at once."""
    decoder, x = decoder_for(1000.0, 8, "minimum", 0.1, 1.0)
    x = np.tile(x, SECONDS // 30)
    began = time.perf_counter()
    decoder.process(x)
    with capsys.disabled():
        print(f"\n{SECONDS} s at once: {time.perf_counter() - began:.1f} s")
