"""Where prepared samples lie in time.

Preparation cuts recordings into spans, changes their sampling rate and takes samples off
their ends. This module is the one place that knows the way back.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike

from .epochs import EpochGrid


@dataclass(frozen=True)
class Timeline:
    """The time grid of a recording as it was given.

    Parameters
    ----------
    sfreq : float
        Sampling rate in hertz.
    n_times : int
        Number of samples.
    first_samp : int
        Number of the first sample, counted from the start of acquisition.
    meas_date : datetime | None
        When acquisition started.
    epochs : EpochGrid | None
        Where the epochs lie, if the recording came as epochs. Its samples are those of all
        epochs then, laid end to end.
    """

    sfreq: float
    n_times: int
    first_samp: int = 0
    meas_date: datetime | None = None
    epochs: EpochGrid | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one value per sample: (n_times,), or (n_epochs, n_times) of each epoch."""
        return (self.n_times,) if self.epochs is None else self.epochs.shape

    @property
    def first_time(self) -> float:
        """Seconds from the start of acquisition to the first sample."""
        return self.first_samp / self.sfreq

    @property
    def times(self) -> np.ndarray:
        """Seconds from the first sample to each sample; of epochs, from the event."""
        if self.epochs is not None:
            return self.epochs.times.copy()
        return np.arange(self.n_times) / self.sfreq

    def microseconds(self, starts: ArrayLike, stops: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Find where segments begin and end, as MNE-Python counts onsets.

        Without a measurement date onsets count from the recording's first sample, with one
        from the start of acquisition. MNE-Python rounds them to microseconds. Rounded here,
        with the ends, segments meet where they should, and the last one does not outlast the
        recording.

        Shapes: ``starts, stops`` (n_segments,); returns ``begin, end`` (n_segments,).
        """
        if self.epochs is not None:
            begin, end = self.epochs.places(starts, stops)
            return np.round(1e6 * begin / self.epochs.raw_sfreq), np.round(
                1e6 * end / self.epochs.raw_sfreq
            )
        first = 0.0 if self.meas_date is None else self.first_time
        begin, end = (
            np.round(1e6 * first) + np.round(1e6 * np.asarray(samples) / self.sfreq)
            for samples in (starts, stops)
        )
        return begin, end

    def overlap(self, spans: list[tuple[int, int]]) -> tuple[int, int] | None:
        """Find two epochs that overlap in the recording they were cut out of."""
        return None if self.epochs is None else self.epochs.overlap(spans)

    def where(self, sample: int) -> str:
        """Say in words where a sample is."""
        if self.epochs is None:
            return f"at {sample / self.sfreq:.3f} s"
        epoch, inside = divmod(sample, self.epochs.shape[1])
        return f"in epoch {epoch} at {self.epochs.times[inside]:.3f} s"


@dataclass(frozen=True)
class Span:
    """A segment of prepared samples without a gap, and where it comes from.

    Parameters
    ----------
    rows : tuple of int
        First row among the recording's prepared samples, and the one after the last.
    limits : tuple of int
        First sample of the good span in the recording, and the one after the last.
    origin : int
        Sample of the recording at which resampling started.
    first : int
        Number of the first row, counted in resampled samples from ``origin``.
    up, down : int
        Resampled samples per ``down`` samples of the recording.
    """

    rows: tuple[int, int]
    limits: tuple[int, int]
    origin: int
    first: int
    up: int = 1
    down: int = 1

    def __len__(self) -> int:
        return self.rows[1] - self.rows[0]

    @property
    def positions(self) -> np.ndarray:
        """Place of each row among the recording's samples, in fractions of samples."""
        return self.origin + (self.first + np.arange(len(self))) * self.down / self.up

    def covered(self) -> tuple[int, np.ndarray]:
        """Find the samples of the recording this span speaks for."""
        # In units of 1 / (2 * up) samples everything is a whole number, and exact.
        last = self.first + len(self) - 1
        earliest = self.origin + -(-(2 * self.first - 1) * self.down // (2 * self.up))
        latest = self.origin + (2 * last + 1) * self.down // (2 * self.up)
        start = max(earliest, self.limits[0])
        stop = min(latest, self.limits[1] - 1) + 1
        samples = np.arange(start, stop) - self.origin
        nearest = (2 * samples * self.up + self.down) // (2 * self.down)
        return start, self.rows[0] + np.clip(nearest - self.first, 0, len(self) - 1)


@dataclass(frozen=True)
class TimeMap:
    """The map between a recording's prepared samples and its own time grid.

    Parameters
    ----------
    timeline : Timeline
        The recording's own time grid.
    spans : tuple of Span
        The spans of prepared samples, in order.
    """

    timeline: Timeline
    spans: tuple[Span, ...]

    @property
    def n_rows(self) -> int:
        """Number of prepared samples."""
        return self.spans[-1].rows[1] if self.spans else 0

    @property
    def times(self) -> np.ndarray:
        """Seconds from the recording's first sample to each row, shape (n_rows,)."""
        if not self.spans:
            return np.empty(0)
        return np.concatenate([span.positions for span in self.spans]) / self.timeline.sfreq

    def modeled(self) -> list[tuple[int, int]]:
        """First sample of the recording, and the one after the last, of each span."""
        out = []
        for span in self.spans:
            start, rows = span.covered()
            if len(rows):
                out.append((start, start + len(rows)))
        return out

    def spread(self, values: np.ndarray, fill: float) -> np.ndarray:
        """Bring one value per row to the recording's grid, each sample from its nearest row.

        Shapes: ``values`` (n_rows, ...); returns ``values`` (n_times, ...).
        """
        out = np.full((self.timeline.n_times, *values.shape[1:]), fill, values.dtype)
        for span in self.spans:
            start, rows = span.covered()
            out[start : start + len(rows)] = values[rows]
        return out
