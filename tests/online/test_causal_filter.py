"""The causal filter: what it does to frequencies and to times."""

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.signal import freqz, group_delay

from mne_hmm import Preparation
from mne_hmm.online.causal_filter import Buffer, FilterRun, design_filter

RATES = [160.0, 250.0, 256.0, 500.0, 512.0, 1000.0, 1200.0, 2048.0]


def run(design, x, sizes=()):
    """Filter a signal in blocks, the rest at once; rows and their times."""
    filtering, parts, begin = FilterRun(design, len(x)), [], 0
    times = np.arange(x.shape[1]) / design.sfreq
    for size in [*sizes, x.shape[1] - sum(sizes)]:
        parts.append(filtering.push(x[:, begin : begin + size], times[begin : begin + size]))
        begin += size
    return (np.concatenate([part[i] for part in parts]) for i in range(2))


@pytest.mark.parametrize("sfreq", [160.0, 1000.0])
def test_magnitude_is_that_of_the_preparation(sfreq):
    """And the phase is the smallest there is, so that power comes early."""
    preparation = Preparation(sfreq=None)
    designs = [design_filter(sfreq, preparation, sfreq, phase) for phase in ("zero", "minimum")]
    taps = mne.filter.create_filter(None, sfreq, 1.0, 45.0, verbose="ERROR")
    assert_allclose(designs[0].coefficients, taps, rtol=0, atol=1e-15)
    zero, minimum = (np.abs(freqz(design.coefficients, worN=8192)[1]) for design in designs)
    # Homomorphic filtering has a finite number of frequencies; the stop band is at 2e-3.
    assert_allclose(minimum, zero, rtol=0, atol=3e-4)
    energy = np.cumsum(designs[1].coefficients ** 2)
    assert energy[int(0.1 * sfreq)] > 0.95 * energy[-1]


def test_delays_of_frequencies():
    """As SciPy has them; the delay that times are corrected for is their median."""
    design = design_filter(500.0, Preparation(), 250.0, "minimum")
    freqs = np.array([3.0, 10.0, 40.0])
    _, samples = group_delay((design.coefficients, 1), w=freqs, fs=500.0)
    assert_allclose(design.group_delay(freqs), samples / 500, rtol=1e-6)
    _, samples = group_delay((design.coefficients, 1), w=np.linspace(1, 45, 1001), fs=500.0)
    assert_allclose(design.delays["filter"], np.median(samples) / 500, atol=1e-4)
    assert design.delays["resampling"] == 0
    assert_allclose(
        design_filter(500.0, Preparation(), 250.0, "zero").group_delay(freqs),
        1650 / 1000,
        rtol=1e-9,
    )


@pytest.mark.parametrize(
    ("sfreq", "phase"),
    [*((rate, "zero") for rate in RATES[:-1]), (160.0, "minimum"), (512.0, "minimum")],
)
def test_sinusoids(sfreq, phase):
    """Come out at their times, whatever the rate, later by their group delay."""
    design = design_filter(sfreq, Preparation(), 250.0, phase)
    times = np.arange(int(8 * sfreq)) / sfreq
    freqs = np.array([6.0, 10.0, 30.0])
    rows, row_times = run(design, np.sin(2 * np.pi * np.outer(freqs, times)), [1, 0, 700, 3])
    assert_allclose(np.diff(row_times), 1 / 250, atol=1e-9)
    late = design.group_delay(freqs) - design.n_ahead / (design.up * sfreq) - design.shift
    if phase == "zero":
        assert_allclose(late, 0, atol=1e-9)
    # The phase of a filter is not its group delay, so it is taken from the filter itself.
    response = freqz(design.coefficients / design.up, worN=freqs, fs=sfreq * design.up)[1]
    newest = row_times + design.shift + design.n_ahead / (design.up * sfreq)
    expected = np.imag(response * np.exp(2j * np.pi * np.outer(newest, freqs)))
    settled = row_times > 4
    # Images are 60 dB down, and there are some of them.
    assert_allclose(rows[settled], expected[settled], rtol=0, atol=3e-3)
    assert_allclose(np.abs(response), 1, atol=0.02)


@pytest.mark.parametrize("sfreq", RATES)
def test_impulses(sfreq):
    """The largest sample of a filtered impulse is where the impulse was."""
    design = design_filter(sfreq, Preparation(), 250.0, "zero")
    x = np.zeros((1, int(8 * sfreq)))
    x[0, int(4 * sfreq)] = 1.0
    rows, times = run(design, x)
    assert_allclose(times[np.abs(rows[:, 0]).argmax()], 4.0, atol=1e-9)


@pytest.mark.parametrize("sfreq", [300.0, 1000.0, 1024.0])
def test_nothing_folds(sfreq):
    """Also where the preparation has no low-pass filter."""
    design = design_filter(sfreq, Preparation(h_freq=None), 250.0, "minimum")
    times = np.arange(int(6 * sfreq)) / sfreq
    rows, row_times = run(design, np.sin(2 * np.pi * np.outer([30.0, 175.0, 225.0], times)[:2]))
    power = rows[row_times > 4].std(0)
    assert_allclose(power[0], np.sqrt(0.5), rtol=0.01)
    assert sfreq < 350 or power[1] < 5e-3


@pytest.mark.parametrize(("sfreq", "phase"), [(160.0, "zero"), (512.0, "minimum")])
def test_blocks_do_not_matter(sfreq, phase):
    """One sample at a time is the same as all at once."""
    design = design_filter(sfreq, Preparation(), 250.0, phase)
    x = np.random.default_rng(0).normal(size=(2, int(3 * sfreq))) + 1e4
    together, times = run(design, x)
    singly, single_times = run(design, x, [1] * (x.shape[1] - 1))
    # Offsets are 1e4 times the signals and lose as many digits.
    assert_allclose(singly, together, rtol=0, atol=1e-10)
    assert_allclose(single_times, times, rtol=0, atol=1e-12)


def test_no_filter_at_all():
    """What is not asked for is not done, and takes no time."""
    design = design_filter(100.0, Preparation.standardized(), 100.0, "minimum")
    x = np.random.default_rng(0).normal(size=(2, 50))
    rows, times = run(design, x, [0 + 1, 20])
    assert_allclose(rows, x.T, rtol=0, atol=0)
    assert_allclose(times, np.arange(50) / 100, atol=1e-12)
    assert set(design.delays.values()) == {0.0}


def test_rates_that_do_not_go_together():
    """The error says which rates would."""
    with pytest.raises(ValueError, match=r"999.7 Hz is no rate.*such as 250, 500, 1000 Hz, or"):
        design_filter(999.7, Preparation(), 250.0, "minimum")
    with pytest.raises(ValueError, match="too low for h_freq=45"):
        design_filter(80.0, Preparation(), 250.0, "minimum")


def test_buffer():
    """Samples are there as often as wanted, in order."""
    buffer, x = Buffer(2, 5), np.arange(400.0).reshape(2, 200)
    buffer.fill(-1.0)
    padded = np.concatenate([np.full((2, 5), -1.0), x], axis=1)
    begin = 0
    for size in [1, 0, 3, 9, 40, 2, 2, 30, 1]:
        seen = buffer.append(x[:, begin : begin + size])
        assert_allclose(seen, padded[:, begin : begin + size + 5])
        begin += size
