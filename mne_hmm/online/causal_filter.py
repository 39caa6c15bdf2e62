"""Filter and change of rate in one, for blocks of samples as they arrive.

The filter of a preparation and the one that changes the rate are convolved into one, at the least
common multiple of both rates. Each sample that comes out is then one scalar product with the
samples that went in before, and nothing is computed that is not needed. It
is our own since neither SciPy nor MNE-Python has a filter that changes the rate by a ratio, carries
its state from block to block, and says when each sample that comes out was.
"""

from dataclasses import dataclass
from functools import lru_cache

import mne
import numpy as np

from .._utils.checks import listed
from ..preparation.settings import Preparation, check_rate
from ..preparation.signals import resampling_ratio

# Each sample between two of the stream's needs coefficients of its own, this many at most.
MAX_PHASES = 1000

# Where there is no low-pass filter, this share of the lower Nyquist frequency passes a change of
# rate; the rest is for the filter's slope.
PASSED_SHARE = 0.8

# Decibels by which images and aliases of a change of rate are damped.
DAMPING = 60.0

# Samples that come out of one matrix product.
OUTPUT_BLOCK_LENGTH = 64


@dataclass(frozen=True, eq=False)
class CausalFilter:
    """A filter that changes the rate, and what it does to times.

    Parameters
    ----------
    coefficients : array, shape (n_coefficients,)
        Impulse response at ``up`` times the stream's rate.
    up, down : int
        Samples that come out per ``down`` samples that go in.
    n_ahead : int
        Sample ``j`` lies at ``j * down``, and the newest coefficient is applied there plus
        ``n_ahead``, both at ``up`` times the stream's rate. What is symmetric delays nothing so.
    sfreq : float
        The stream's rate in hertz.
    delays : dict of str to float
        Seconds by which power comes late, by cause: ``filter`` and ``resampling``.
    shift : float
        Seconds by which what comes out is late although it was waited for ``n_ahead``.
    """

    coefficients: np.ndarray
    up: int
    down: int
    n_ahead: int
    sfreq: float
    delays: dict[str, float]
    shift: float

    def group_delay(self, freqs: np.ndarray) -> np.ndarray:
        """Delay of each frequency in seconds, what is waited for included."""
        return _group_delay(self.coefficients, self.sfreq * self.up, freqs)


def design_filter(
    sfreq: float, preparation: Preparation, target: float, phase: str
) -> CausalFilter:
    """Design the causal form of a preparation's filter and change of rate."""
    l_freq, h_freq = preparation.l_freq, preparation.h_freq
    if h_freq is not None:
        check_rate(sfreq, h_freq, 'info["sfreq"]')
    ratio = resampling_ratio(sfreq, target)
    up, down = ratio.numerator, ratio.denominator
    if up > MAX_PHASES:
        raise ValueError(
            f'info["sfreq"]={sfreq:g} Hz is no rate that can be changed to the {target:g} Hz of '
            f"the model's features as samples arrive: {down} samples would become {up}, and {up} "
            f"may be {MAX_PHASES} at most; let the amplifier send a rate in a simple ratio to it, "
            f"such as {listed(f'{target * n:g}' for n in (1, 2, 4))} Hz, or train the model at a "
            f"rate that goes with this one, as with Preparation(sfreq={sfreq / 2:g})"
        )
    band = _band_filter(sfreq, l_freq, h_freq, phase)
    smooth = _rate_filter(sfreq, target, up, down, h_freq)
    spread = np.zeros((len(band) - 1) * up + 1)
    spread[::up] = band
    half_band, half_smooth = (len(band) - 1) // 2, (len(smooth) - 1) // 2
    if phase == "zero":
        n_ahead, shift = half_band * up + half_smooth, 0.0
        delay = half_band / sfreq
    else:
        n_ahead, delay = half_smooth, _typical_delay(band, sfreq, l_freq, h_freq)
        shift = delay
    return CausalFilter(
        np.convolve(spread, up * smooth) if len(smooth) > 1 else spread,
        up,
        down,
        n_ahead,
        sfreq,
        {"filter": delay, "resampling": half_smooth / (up * sfreq)},
        shift,
    )


def _band_filter(
    sfreq: float, l_freq: float | None, h_freq: float | None, phase: str
) -> np.ndarray:
    """Design the filter of `prepare`, as it is or of minimum phase."""
    if l_freq is None and h_freq is None:
        return np.ones(1)
    phase = "minimum" if phase == "minimum" else "zero"
    return mne.filter.create_filter(None, sfreq, l_freq, h_freq, phase=phase, verbose="ERROR")


def _group_delay(coefficients: np.ndarray, rate: float, freqs: np.ndarray) -> np.ndarray:
    """Get the delay of each frequency in a filter without feedback, in seconds."""
    taps = np.arange(len(coefficients))
    delays = []
    for freq in freqs:
        wave = coefficients * np.exp(-2j * np.pi * freq / rate * taps)
        delays.append((wave @ taps / wave.sum()).real / rate)
    return np.array(delays)


def _typical_delay(
    band: np.ndarray, sfreq: float, l_freq: float | None, h_freq: float | None
) -> float:
    """Median of the group delay over the pass band, in seconds.

    The delay is about the same in the middle of the band and far longer at its lower edge, so a
    mean would be true of no frequency.
    """
    n = 2 ** int(np.ceil(np.log2(16 * len(band))))
    freqs = np.fft.rfftfreq(n, 1 / sfreq)
    inside = (freqs > (l_freq or 0.0)) & (freqs < (h_freq or sfreq / 2))
    response, slope = (np.fft.rfft(x, n)[inside] for x in (band, np.arange(len(band)) * band))
    return float(np.median((slope / response).real)) / sfreq


def _rate_filter(
    sfreq: float, target: float, up: int, down: int, h_freq: float | None
) -> np.ndarray:
    """Design what is left to do for a change of rate after the filter of the band."""
    from scipy.signal import firwin, kaiserord

    if up == down:
        return np.ones(1)
    if h_freq is None:
        passes = PASSED_SHARE * min(sfreq, target) / 2
        highest = sfreq / 2
    else:
        # What the low-pass filter lets through, by MNE-Python's rule for the width of its slope.
        passes = h_freq
        highest = min(h_freq + max(h_freq / 4, 2.0), sfreq / 2)
    # What there is must not fold into what passes.
    stops = sfreq - highest if up > 1 else np.inf
    if highest > target - passes:
        stops = min(stops, target - passes)
    if np.isinf(stops):
        return np.ones(1)  # samples may be left out as they are
    rate = sfreq * up
    n, shape = kaiserord(DAMPING, (stops - passes) / (rate / 2))
    return firwin(2 * (n // 2) + 1, (passes + stops) / 2, window=("kaiser", shape), fs=rate)


class Buffer:
    """The newest samples, side by side in memory."""

    def __init__(self, n_channels: int, n_kept: int):
        self.n_kept = n_kept
        self._data = np.empty((n_channels, 2 * n_kept))
        self._stop = 0

    def fill(self, values: np.ndarray | float) -> None:
        """Pretend that these values came first, shape (n_channels, n_kept) or one for all."""
        self._data[:, : self.n_kept] = values
        self._stop = self.n_kept

    def append(self, block: np.ndarray) -> np.ndarray:
        """Add a block, and get it with the kept samples before it."""
        n = block.shape[1]
        begin = self._stop - self.n_kept
        if self._stop + n > self._data.shape[1]:
            # Seldom: there is room for many blocks before the kept samples move to the front.
            kept = self._data[:, begin : self._stop].copy()
            if self._data.shape[1] < 2 * (self.n_kept + n):
                self._data = np.empty((len(kept), 2 * (self.n_kept + n)))
            self._data[:, : self.n_kept] = kept
            begin, self._stop = 0, self.n_kept
        self._data[:, self._stop : self._stop + n] = block
        self._stop += n
        return self._data[:, begin : self._stop]


class FilterRun:
    """A causal filter on its way through a stream.

    Before the first sample the stream is taken to have stood at its value.
    """

    def __init__(self, design: CausalFilter, n_channels: int):
        self.design = design
        up = design.up
        n = -(-len(design.coefficients) // up)
        padded = np.zeros(n * up)
        padded[: len(design.coefficients)] = design.coefficients
        # One row per place between two samples of the stream, the earliest sample first.
        self._table = np.ascontiguousarray(padded.reshape(n, up).T[:, ::-1])
        self._n_before = n - 1
        self._signals = Buffer(n_channels, self._n_before)
        self._times = Buffer(1, self._n_before)
        self._columns = lru_cache(maxsize=4)(self._make_columns)
        self.reset()

    def reset(self) -> None:
        """Begin a new chain."""
        self._n_in = 0
        self._n_out = 0

    def push(self, block: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Filter a block.

        Shapes: ``block`` (n_channels, n_samples), ``times`` (n_samples,); returns ``rows``
        (n_rows, n_channels), ``row_times`` (n_rows,).
        """
        if self._n_in == 0:
            self._signals.fill(np.repeat(block[:, :1], self._n_before, axis=1))
            before = np.arange(-self._n_before, 0) / self.design.sfreq
            self._times.fill(times[:1] + before[np.newaxis])
        signals = self._signals.append(block)
        seen = self._times.append(times[np.newaxis])[0]
        first_in = self._n_in - self._n_before  # index of the first sample in the buffer
        self._n_in += block.shape[1]
        up, down, ahead = self.design.up, self.design.down, self.design.n_ahead
        first, stop = self._n_out, (self._n_in * up - 1 - ahead) // down + 1
        if stop <= first:
            return np.empty((0, len(block))), np.empty(0)
        rows = np.empty((stop - first, len(block)))
        for begin in range(first, stop, OUTPUT_BLOCK_LENGTH):
            n = min(OUTPUT_BLOCK_LENGTH, stop - begin)
            position = begin * down + ahead
            columns = self._columns(position % up, n)
            start = position // up - self._n_before - first_in
            rows[begin - first :][:n] = (signals[:, start : start + len(columns)] @ columns).T
        self._n_out = stop
        positions = np.arange(first, stop) * (down / up) - first_in
        return rows, np.interp(positions, np.arange(len(seen)), seen) - self.design.shift

    def _make_columns(self, phase: int, n: int) -> np.ndarray:
        """Coefficients of samples that follow each other, as columns of one matrix."""
        positions = phase + np.arange(n) * self.design.down
        starts, phases = positions // self.design.up, positions % self.design.up
        length = self._table.shape[1]
        n_rows = starts[-1] + length
        rows = np.arange(n_rows)[:, np.newaxis] - starts
        inside = (rows >= 0) & (rows < length)
        return np.where(inside, self._table[phases, np.clip(rows, 0, length - 1)], 0.0)
