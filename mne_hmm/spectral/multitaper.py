"""Arithmetic of state-weighted spectra: windows, tapers, and sums of cross-spectra.

MNE-Python has multitapers, but none whose windows are weighted by a probability at each sample.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import rfft
from scipy.signal.windows import dpss, hann

from .._utils.arrays import row_blocks
from .._utils.checks import check_number, check_option

# Samples of a window, which is transformed at once.
MAX_WINDOW_SAMPLES = 1e7
# Half-bandwidth times length of a window: MNE-Python's default, which leaves 7 good tapers.
TIME_HALF_BANDWIDTH = 4.0
# Share of a window's energy below which a state is off there. Left out of sums on both sides.
MIN_ENERGY_SHARE = 1e-9
# Complex products of one frequency that OpenBLAS does in one thread. Starting its threads for
# each of thousands of small products takes longer than the products.
MAX_SMALL_PRODUCT = 60_000
# Bytes of tapered signals at a time.
BLOCK_BYTES = 16_000_000


@dataclass(frozen=True, eq=False)
class Windows:
    """How recordings are cut into windows, and which frequencies are kept."""

    # Tapers of unit energy, shape (n_tapers, n_samples).
    tapers: np.ndarray
    # Samples from one window to the next, at most.
    step: int
    # Which of the frequencies of a window are kept.
    bins: slice
    # Sampling rate in hertz.
    sfreq: float
    # Where windows lie, and what sums are divided by: "exact" or "osl".
    edges: str = "exact"

    @classmethod
    def of(
        cls,
        sfreq: float,
        *,
        method: str = "multitaper",
        fmin: float = 1.0,
        fmax: float = 45.0,
        window: float = 2.0,
        bandwidth: float | None = None,
        edges: str = "exact",
    ) -> "Windows":
        """Check the arguments, and make the tapers."""
        check_option(method, "method", ("multitaper", "welch"))
        check_option(edges, "edges", ("exact", "osl"))
        fmin = check_number(fmin, "fmin", rule="a frequency in hertz ≥ 0", low=0)
        fmax = check_number(fmax, "fmax", rule="a frequency in hertz ≥ 0", low=0)
        window = check_number(window, "window", rule="a number of seconds above 0", above=0)
        if fmax > sfreq / 2 + 1e-9:
            raise ValueError(
                f"fmax={fmax:g} is above half the sampling rate of {sfreq:g} Hz, and nothing is "
                f"known of what lies there; pass fmax≤{sfreq / 2:g}"
            )
        if fmin > fmax:
            raise ValueError(f"fmin={fmin:g} is above fmax={fmax:g}; exchange them")
        if window * sfreq > MAX_WINDOW_SAMPLES:
            raise ValueError(
                f"window={window:g} seconds is {window * sfreq:.3g} samples, more than the "
                f"{MAX_WINDOW_SAMPLES:.3g} that are transformed at once; pass a shorter window"
            )
        n_samples = max(round(window * sfreq), 1)
        freqs = np.arange(n_samples // 2 + 1) * sfreq / n_samples
        inside = np.flatnonzero((freqs >= fmin - 1e-9) & (freqs <= fmax + 1e-9))
        if len(inside) == 0:
            raise ValueError(
                f"window={window:g} seconds gives frequencies in steps of "
                f"{sfreq / n_samples:g} Hz, of which none lies between fmin={fmin:g} and "
                f"fmax={fmax:g}; pass a longer window or a wider band"
            )
        bins = slice(int(inside[0]), int(inside[-1]) + 1)
        if method == "multitaper":
            tapers, step = _multitapers(n_samples, window, bandwidth), n_samples
        else:
            tapers, step = _hann(n_samples, bandwidth, edges), -(-n_samples // 2)
        return cls(tapers, step, bins, sfreq, edges)

    @property
    def n_samples(self) -> int:
        """Samples of a window."""
        return self.tapers.shape[1]

    @property
    def freqs(self) -> np.ndarray:
        """Frequencies that are kept, in hertz."""
        every = np.arange(self.n_samples // 2 + 1)
        return every[self.bins] * self.sfreq / self.n_samples

    @property
    def one_sided(self) -> np.ndarray:
        """By how much densities of each frequency grow when negative ones are added."""
        factors = np.full(self.n_samples // 2 + 1, 2.0)
        if self.edges == "exact":  # osl-dynamics doubles all of them
            factors[0] = 1
            if self.n_samples % 2 == 0:
                factors[-1] = 1
        return factors[self.bins]

    def starts(self, n_times: int) -> np.ndarray:
        """Find where the windows of a span begin."""
        n_samples = self.n_samples
        if self.edges == "osl":
            return np.arange(n_times // n_samples) * n_samples - n_samples // 2
        if n_times < n_samples:
            return np.array([(n_times - n_samples) // 2])
        # As few as cover all of the span, spread evenly.
        n_windows = -(-(n_times - n_samples) // self.step) + 1
        return np.round(np.linspace(0, n_times - n_samples, n_windows)).astype(int)


def _multitapers(n_samples: int, window: float, bandwidth: float | None) -> np.ndarray:
    """Make Slepian tapers, shape (n_tapers, n_samples)."""
    if bandwidth is None:
        product = TIME_HALF_BANDWIDTH
    else:
        rule = "a full bandwidth in hertz above 0, or None"
        bandwidth = check_number(bandwidth, "bandwidth", rule=rule, above=0)
        product = bandwidth * window / 2
        if product < 1 - 1e-9:
            raise ValueError(
                f"bandwidth={bandwidth:g} Hz is too narrow for window={window:g} seconds, which "
                f"cannot tell frequencies less than {2 / window:g} Hz apart; pass "
                f"bandwidth≥{2 / window:g} or window≥{2 / bandwidth:g}"
            )
    n_tapers = int(2 * product + 1e-9) - 1
    if n_samples < 2 * product + 1:
        raise ValueError(
            f"window={window:g} seconds has {n_samples} samples, too few for {n_tapers} tapers; "
            "pass a longer window or a smaller bandwidth"
        )
    return np.atleast_2d(dpss(n_samples, product, n_tapers))


def _hann(n_samples: int, bandwidth: float | None, edges: str) -> np.ndarray:
    """Make Hann's window as a taper of unit energy, shape (1, n_samples)."""
    if bandwidth is not None:
        raise ValueError(
            f"bandwidth={bandwidth!r} is for method='multitaper'; the bandwidth of "
            "method='welch' follows from window: leave bandwidth out"
        )
    if edges == "osl":
        raise ValueError(
            "edges='osl' tells how osl-dynamics places the windows of its multitaper; leave it "
            "out with method='welch'"
        )
    if n_samples < 3:
        raise ValueError(f"window has {n_samples} samples, too few for a taper; pass a longer one")
    taper = hann(n_samples, sym=False)
    return taper[np.newaxis] / np.linalg.norm(taper)


class CrossSpectra:
    """Sums over windows of the cross-spectra of signals that are weighted by states."""

    def __init__(self, windows: Windows, n_states: int, n_channels: int) -> None:
        n_freqs = len(windows.freqs)
        self.windows = windows
        self.total = np.zeros((n_states, n_freqs, n_channels, n_channels), complex)
        # What white noise of variance 1 would add up to, by tapers and weights.
        self.covered = np.zeros(n_states)
        # What osl-dynamics divides by instead.
        self.energy = np.zeros(n_states)
        self.n_windows = self.n_times = 0

    def add(self, signals: np.ndarray, weights: np.ndarray) -> None:
        """Add signals (n_channels, n_times) and weights (n_states, n_times) of a span."""
        n_samples = self.windows.n_samples
        starts = self.windows.starts(weights.shape[1])
        self.energy += np.square(weights).sum(axis=1)
        self.n_windows += len(starts)
        self.n_times += weights.shape[1]
        if len(starts) == 0:
            return
        before = max(-int(starts[0]), 0)
        after = max(int(starts[-1]) + n_samples - weights.shape[1], 0)
        if before or after:
            signals = np.pad(signals, ((0, 0), (before, after)))
            weights = np.pad(weights, ((0, 0), (before, after)))
        x = sliding_window_view(signals, n_samples, axis=1)
        gamma = sliding_window_view(weights, n_samples, axis=1)
        n_at_once = _windows_at_once(len(signals), self.windows.tapers)
        for rows in row_blocks(len(starts), n_at_once):
            chosen = starts[rows] + before
            self._add_windows(x[:, chosen], gamma[:, chosen])

    def _add_windows(self, x: np.ndarray, gamma: np.ndarray) -> None:
        """Add windows of signals (channels, windows, samples) and weights (states, ...)."""
        tapers = self.windows.tapers
        covered = np.square(gamma) @ np.square(tapers).mean(axis=0)
        # Samples first: then the transform leaves each frequency contiguous for its product.
        x = np.ascontiguousarray(x.transpose(2, 1, 0))
        gamma, tapers = gamma.transpose(0, 2, 1), tapers.T[:, :, np.newaxis, np.newaxis]
        for state, energy in enumerate(covered):
            on = energy > MIN_ENERGY_SHARE
            if not on.any():
                continue
            self.covered[state] += energy[on].sum()
            weighted = x[:, on] * gamma[state][:, on, np.newaxis]
            spectra = rfft(tapers * weighted[:, np.newaxis], axis=0, overwrite_x=True)
            spectra = spectra[self.windows.bins].reshape(self.total.shape[1], -1, x.shape[2])
            self.total[state] += spectra.conj().swapaxes(1, 2) @ spectra

    def density(self) -> np.ndarray:
        """Divide the sums by what they cover, shape (n_states, n_channels, n_channels, n_freqs)."""
        windows = self.windows
        covered = self.covered
        if windows.edges == "osl":
            covered = self.energy * self.n_windows / self.n_times
        on = self.covered > 0
        scaled = np.full_like(self.total, np.nan)
        scaled[on] = self.total[on] / covered[on, np.newaxis, np.newaxis, np.newaxis]
        factors = windows.one_sided / windows.sfreq / len(windows.tapers)
        scaled *= factors[:, np.newaxis, np.newaxis]
        return np.ascontiguousarray(np.moveaxis(scaled, 1, -1))


def _windows_at_once(n_channels: int, tapers: np.ndarray) -> int:
    """Choose how many windows go into one product."""
    small = MAX_SMALL_PRODUCT // (n_channels**2 * len(tapers))
    fitting = BLOCK_BYTES // (8 * n_channels * tapers.size)
    # With many channels no product is small, and larger ones are better.
    return max(1, min(small if small >= 2 else 8, fitting))
