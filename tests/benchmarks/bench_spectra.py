"""How long state spectra take, beside osl-dynamics, on the same data in the same process.

Run as ``pytest -n 0 -s tests/benchmarks/bench_spectra.py`` on a machine with nothing else to do, in
an environment where osl-dynamics is installed next to mne-hmm (see ``bench_others.py``). Without it
only our own time is taken.

38 channels, 5 minutes at 250 Hz, 6 states, 1 to 45 Hz: power and coherence of every state. Nothing
here can fail for being slow; a table is printed at the end.
"""
# ruff: noqa: T201

import time
import warnings

import mne
import numpy as np
import parcels
import pytest

import mne_hmm
from mne_hmm.io.timeline import Timeline

N_TIMES, K = 75_000, 6
ROUNDS = 3

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def table():
    """All results; printed in the end."""
    rows = []
    yield rows
    print(f"\n\n{'':<32} {'seconds':>8} {'ours/theirs':>12}")
    for who, seconds, ratio in rows:
        print(f"{who:<32} {seconds:>8.3f} {ratio}")


@pytest.fixture(scope="module")
def recording():
    """Simulated parcels as Raw, and their true states."""
    x, labels = parcels.parcels(N_TIMES)
    info = mne.create_info(parcels.N_CHANNELS, parcels.SFREQ, "misc")
    raw = mne.io.RawArray(x.T.astype(float), info, verbose="ERROR")
    states = mne_hmm.StateTimeCourse(
        np.eye(K)[labels].T.copy(),
        labels,
        Timeline(parcels.SFREQ, N_TIMES),
        [(0, N_TIMES)],
        tuple(f"state_{k}" for k in range(K)),
        tuple(raw.ch_names),
    )
    return raw, states


def ours(recording, **options):
    """Power and coherence, computed by mne-hmm."""
    spectra = mne_hmm.compute_state_spectra(*recording, verbose="ERROR", **options)
    return spectra.psd, spectra.coherence


def median_seconds(function, rounds=ROUNDS):
    """Result of a function, and the median of its times."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - began)
    return result, np.median(seconds)


@pytest.mark.parametrize(
    "options", [{}, {"method": "welch"}, {"edges": "osl"}], ids=["multitaper", "welch", "osl"]
)
def test_ours(recording, table, options):
    """Each way to compute spectra."""
    ours(recording, **options)  # warms up
    _, seconds = median_seconds(lambda: ours(recording, **options))
    said = ", ".join(options.values()) or "multitaper"
    table.append((f"mne-hmm, {said}", seconds, ""))


def test_osl_dynamics(recording, table):
    """The same numbers by osl-dynamics, once: it takes long."""
    spectral = pytest.importorskip("osl_dynamics.analysis.spectral")
    raw, states = recording
    (psd, coherence), mine = median_seconds(lambda: ours(recording, edges="osl", standardize=True))

    def theirs():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return spectral.multitaper_spectra(
                raw.get_data().T, parcels.SFREQ, states.probabilities.T, frequency_range=[1, 45]
            )

    (_, their_psd, their_coherence), seconds = median_seconds(theirs, rounds=1)
    table.append(("osl-dynamics", seconds, f"{mine / seconds:>12.3f}"))
    # Theirs are stored in single precision.
    np.testing.assert_allclose(psd, their_psd, rtol=1e-5)
    np.testing.assert_allclose(coherence, their_coherence, rtol=0, atol=1e-5)
