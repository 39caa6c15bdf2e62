"""The signals of one recording: filtered, resampled, cut into good spans, standardized."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

import mne
import numpy as np
from scipy.fft import next_fast_len

from .._utils.arrays import row_blocks
from .._utils.checks import listed, plural
from .._utils.mne_private import warn
from ..io.recording import MAX_VALUE, Recording, cut
from ..io.timeline import Span, Timeline, TimeMap
from .settings import Preparation, check_rate

# Sampling rates relate to each other as whole numbers up to this size. Where they do not
# quite, the time map still uses the rate that resampling really had.
MAX_DENOMINATOR = 10_000

# Rows that are worked on in float64 at once.
FLOAT64_BLOCK_LENGTH = 4096

# Steps between numbers in float32 that are a larger share of a channel's range hide its signal.
MAX_FLOAT32_STEP = 0.03
# Fewer samples may lie close together by chance.
MIN_SAMPLES_TO_JUDGE = 10

# Seconds for which all channels must hold one value to count as no signal at all.
MIN_SILENCE = 0.1


class Scale(NamedTuple):
    """What z-scores take off and divide by."""

    mean: Any = 0.0
    """Mean of each column, shape (n_columns,); 0 where nothing was taken off."""
    spread: Any = 1.0
    """Standard deviation of each column, shape (n_columns,); 1 where nothing was divided."""


@dataclass
class Signals:
    """Good spans of one recording after filtering and resampling."""

    recording: Recording
    ratio: Fraction
    """Resampled samples per sample of the recording."""
    spans: list[np.ndarray] = field(default_factory=list)
    """Signals of each span in float32, shape (n_samples, n_channels)."""
    limits: list[tuple[int, int]] = field(default_factory=list)
    """First sample of each span in the recording, and the one after the last."""
    origins: list[int] = field(default_factory=list)
    """Sample of the recording at which resampling started, for each span."""
    firsts: list[int] = field(default_factory=list)
    """Number of each span's first sample, in resampled samples from its origin."""
    n_short: int = 0
    """Good spans that were too short."""
    n_silent: int = 0
    """Samples of the recording in which no channel moved."""
    scale: Scale = field(default_factory=Scale)
    """How the channels were standardized."""

    def time_map(self, n_lost: int) -> TimeMap:
        """Map to the recording's times after an embedding took samples off the ends."""
        spans, row = [], 0
        for x, limits, origin, first in zip(
            self.spans, self.limits, self.origins, self.firsts, strict=True
        ):
            n_rows = len(x) - 2 * n_lost
            spans.append(
                Span(
                    (row, row + n_rows),
                    limits,
                    origin,
                    first + n_lost,
                    self.ratio.numerator,
                    self.ratio.denominator,
                )
            )
            row += n_rows
        return TimeMap(self.recording.timeline, tuple(spans))


def resampling_ratio(sfreq: float, target: float | None) -> Fraction:
    """Resampled samples per sample, as a ratio of whole numbers."""
    if target is None:
        return Fraction(1)
    exact = Fraction(target) / Fraction(sfreq)
    return (
        (1 / (1 / exact).limit_denominator(MAX_DENOMINATOR))
        if exact < 1
        else exact.limit_denominator(MAX_DENOMINATOR)
    )


def _resampled(x: np.ndarray, ratio: Fraction, n_jobs: int | None) -> np.ndarray:
    """Resample exactly: sample j lies at j / ratio."""
    if ratio == 1:
        return x
    up, down = ratio.numerator, ratio.denominator
    n_out = (x.shape[1] - 1) * up // down + 1
    # With whole multiples of `down` samples, padding included, the Fourier method neither
    # stretches nor shifts. The padding keeps the ends from running into each other.
    before = -(-100 // down) * down
    after = before + -x.shape[1] % down
    x = np.pad(x, ((0, 0), (before, after)), mode="reflect", reflect_type="odd")
    y = mne.filter.resample(x, up, down, npad=0, n_jobs=n_jobs, verbose="ERROR")
    return y[:, before * up // down :][:, :n_out]


def prepare_signals(recording: Recording, preparation: Preparation, n_jobs: int | None) -> Signals:
    """Filter, resample, envelope and standardize one recording; keep its good spans."""
    sfreq = recording.timeline.sfreq
    if preparation.h_freq is not None:
        check_rate(sfreq, preparation.h_freq, f"{recording.label}: sampling rate")
    ratio = resampling_ratio(sfreq, preparation.sfreq)
    signals = Signals(recording, ratio)
    extent = _Extent(len(recording.picks))
    for start, stop in recording.segments:
        good = [(a, b) for a, b in recording.spans if start <= a < stop]
        if not good:
            continue
        x = recording.read(start, stop)
        _check_finite(x, recording, start)
        silent = [(start + a, start + b) for a, b in _without_signal(x, sfreq)]
        signals.n_silent += sum(max(0, min(b, d) - max(a, c)) for a, b in good for c, d in silent)
        # Filters must not ring with the jumps into and out of silence.
        for origin, end in cut((start, stop), silent):
            spans = [span for a, b in good for span in cut((max(a, origin), min(b, end)), [])]
            piece = x[:, origin - start : end - start]
            for a, b in spans:
                extent.add(piece[:, a - origin : b - origin])
            fitting = [
                span
                for span in spans
                if len(_rows(ratio, origin, span)) >= preparation.n_embeddings
            ]
            signals.n_short += len(spans) - len(fitting)
            if fitting:
                y = _filtered(piece, preparation, ratio, recording.timeline, n_jobs)
                _keep_spans(signals, y, fitting, origin)
    only_silence = signals.n_silent > 0 and np.isinf(extent.width).all()
    _check_flat(np.zeros_like(extent.width) if only_silence else extent.width, recording)
    n_rows = sum(len(x) - 2 * preparation.n_lost for x in signals.spans)
    # One row alone has no standard deviation.
    if n_rows < (2 if preparation.standardize else 1):
        raise ValueError(_no_span_message(recording, preparation))
    signals.scale = standardize(signals.spans, preparation.standardize, recording)
    return signals


class _Extent:
    """Smallest and largest value of each channel."""

    def __init__(self, n_channels: int):
        self.low = np.full(n_channels, np.inf)
        self.high = np.full(n_channels, -np.inf)

    def add(self, x: np.ndarray) -> None:
        """Take in the samples of all channels, shape (n_channels, n_samples)."""
        self.low = np.minimum(self.low, x.min(1))
        self.high = np.maximum(self.high, x.max(1))

    @property
    def width(self) -> np.ndarray:
        """Difference of the two, shape (n_channels,); infinite where nothing was added."""
        return self.high - self.low


def _without_signal(x: np.ndarray, sfreq: float) -> list[tuple[int, int]]:
    """Find where all channels stand still: padding at the ends of files, lost packets."""
    still = np.concatenate([[False], (x[:, 1:] == x[:, :-1]).all(0), [False]])
    edges = np.flatnonzero(np.diff(still.astype(np.int8)))
    shortest = max(round(MIN_SILENCE * sfreq), 5)
    return [(int(a), int(b) + 1) for a, b in edges.reshape(-1, 2) if b - a + 1 >= shortest]


def _filtered(
    x: np.ndarray,
    preparation: Preparation,
    ratio: Fraction,
    timeline: Timeline,
    n_jobs: int | None,
) -> np.ndarray:
    """Filter, resample and take the envelope of a segment without a jump."""
    l_freq, h_freq = preparation.l_freq, preparation.h_freq
    if l_freq is not None or h_freq is not None:
        # Of short epochs `warn_of_short_epochs` warns once of what MNE-Python warns of for each.
        verbose = "WARNING" if timeline.epochs is None else "ERROR"
        x = mne.filter.filter_data(
            x, timeline.sfreq, l_freq, h_freq, n_jobs=n_jobs, verbose=verbose
        )
    x = _resampled(x, ratio, n_jobs)
    return _envelope(x) if preparation.envelope else x


def warn_of_short_epochs(recordings: Sequence[Recording], preparation: Preparation) -> None:
    """Warn once of epochs that are shorter than the filter."""
    l_freq, h_freq = preparation.l_freq, preparation.h_freq
    if l_freq is None and h_freq is None:
        return
    for recording in recordings:
        grid, sfreq = recording.timeline.epochs, recording.timeline.sfreq
        if grid is None:
            continue
        taps = len(mne.filter.create_filter(None, sfreq, l_freq, h_freq, verbose="ERROR"))
        if taps > grid.shape[1]:
            warn(
                f"The epochs of {recording.label} are {grid.shape[1] / sfreq:.2f} s long, shorter "
                f"than the filter ({taps / sfreq:.2f} s for l_freq={l_freq} and h_freq={h_freq}), "
                "which distorts them. Filter the Raw before it is cut into epochs, and pass "
                "preparation=Preparation(l_freq=None, h_freq=None)"
            )
            return


def _rows(ratio: Fraction, origin: int, span: tuple[int, int]) -> range:
    """Resampled samples that lie in a span, counted from `origin`."""
    up, down = ratio.numerator, ratio.denominator
    start, stop = span
    return range(-(-(start - origin) * up // down), (stop - 1 - origin) * up // down + 1)


def _keep_spans(signals: Signals, x: np.ndarray, spans: list[tuple[int, int]], origin: int) -> None:
    """Take the good spans out of a segment that was resampled from `origin` on."""
    for span in spans:
        rows = _rows(signals.ratio, origin, span)
        signals.spans.append(x[:, rows.start : rows.stop].T)
        signals.limits.append(span)
        signals.origins.append(origin)
        signals.firsts.append(rows.start)


def _envelope(x: np.ndarray) -> np.ndarray:
    """Amplitude of the analytic signal."""
    from scipy.signal import hilbert

    n = x.shape[1]
    return np.abs(hilbert(x, N=next_fast_len(n), axis=1)[:, :n])


def _check_finite(x: np.ndarray, recording: Recording, origin: int) -> None:
    """Check that a segment, which begins at a sample of the recording, holds only numbers."""
    good = np.abs(x) <= MAX_VALUE  # which NaN is not
    if good.all():
        return
    channels = np.flatnonzero(~good.all(1))
    sample = origin + int(np.argmin(good.all(0)))
    names = [recording.ch_names[c] for c in channels]
    if recording.timeline.epochs is None:
        way_out = 'annotate such spans as bad ("BAD_nan")'
    else:
        way_out = "drop such epochs (epochs.drop)"
    what = "NaN or infinite values" if not np.isfinite(x).all() else f"values beyond ±{MAX_VALUE:g}"
    raise ValueError(
        f"{recording.label} holds {what} in {listed(names)}, first "
        f"{recording.timeline.where(sample)}; {way_out}, or leave the channels out (picks=..., "
        'or info["bads"])'
    )


def _check_flat(extent: np.ndarray, recording: Recording) -> None:
    """Check that every channel has more than one value."""
    flat = [name for name, e in zip(recording.ch_names, extent, strict=True) if e == 0]
    if flat:
        raise ValueError(
            f"{recording.label} is flat in {listed(flat)} (one value in all good samples); mark "
            'such channels as bad (raw.info["bads"]), interpolate them, or leave them out '
            "(picks=...)"
        )


def _no_span_message(recording: Recording, preparation: Preparation) -> str:
    """Say why no good span is left."""
    n_good = sum(b - a for a, b in recording.spans)
    total = recording.timeline.n_times / recording.timeline.sfreq
    n_lags = preparation.n_embeddings
    epochs = recording.timeline.epochs is not None
    rate = preparation.sfreq or recording.timeline.sfreq
    if n_good == 0:
        return (
            f"{recording.label} has no good span: all of its {total:.1f} s are annotated as bad; "
            "check raw.annotations, or pass reject_by_annotation=False"
        )
    return (
        f"{recording.label} has no good span long enough: {plural(len(recording.spans), 'span')}, "
        f"{n_good / recording.timeline.sfreq:.3f} s together, but an embedding of "
        f"{plural(n_lags, 'lag')} needs more than {plural(n_lags, 'sample')} in a row "
        f"({n_lags / rate:.3f} s at {rate:g} Hz); "
        f"{'cut longer epochs' if epochs else 'check raw.annotations'}, or use fewer lags "
        "(n_embeddings)"
    )


def standardize(
    spans: list[np.ndarray], enabled: bool, recording: Recording | None = None
) -> Scale:
    """Z-score all spans of a recording together, if enabled, and make them float32, in place.

    Returns what was taken off and divided by.
    """
    if not enabled:
        if recording is not None:
            _check_float32(spans, recording)
        spans[:] = [np.ascontiguousarray(x, np.float32) for x in spans]
        return Scale()
    n = sum(map(len, spans))
    mean = sum(x.sum(0, dtype=float) for x in spans) / n
    squares = sum(
        np.square(x[rows] - mean).sum(0)
        for x in spans
        for rows in row_blocks(len(x), FLOAT64_BLOCK_LENGTH)
    )
    spread = np.sqrt(squares / n)
    if recording is not None:
        _check_flat(np.where(spread > 1e-12 * np.abs(mean), spread, 0.0), recording)
    for i, x in enumerate(spans):
        out = x if x.dtype == np.float32 else np.empty(x.shape, np.float32)
        for rows in row_blocks(len(x), FLOAT64_BLOCK_LENGTH):
            out[rows] = (x[rows] - mean) / spread
        spans[i] = out
    return Scale(mean, spread)


def _check_float32(spans: list[np.ndarray], recording: Recording) -> None:
    """Check that the signals of channels are still there in float32."""
    if sum(map(len, spans)) < MIN_SAMPLES_TO_JUDGE:
        return
    extent = _Extent(len(recording.ch_names))
    for x in spans:
        extent.add(x.T)
    largest = np.maximum(np.abs(extent.low), np.abs(extent.high))
    steps = np.spacing(largest.astype(np.float32))
    hidden = np.flatnonzero(steps > MAX_FLOAT32_STEP * extent.width)
    if not len(hidden):
        return
    names = [recording.ch_names[channel] for channel in hidden]
    first = hidden[0]
    raise ValueError(
        f"{recording.label} varies too little in {listed(names)}, by {extent.width[first]:.3g} "
        f"about {extent.high[first]:.6g} in the first of them, for features in float32 that are "
        "not standardized; subtract the mean, give the signals another unit, or use "
        "Preparation(standardize=True)"
    )
