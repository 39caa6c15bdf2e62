"""What is known of the epochs of a recording: their events, and where they lie in time."""

import copy
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import mne
import numpy as np
from numpy.typing import ArrayLike

from .._utils.mne_private import check_pandas, place_in_raw

if TYPE_CHECKING:
    import pandas as pd

# What MNE-Python has as metadata, without pandas and with it.
Metadata: TypeAlias = "pd.DataFrame | list[dict[str, Any]] | None"

# Samples by which epochs may overlap: rates in files are rounded to single precision.
MAX_OVERLAP = 0.01

# Seconds by which annotations must end before the recording to be inside of it for sure.
END_MARGIN = 1.5e-6


@dataclass(frozen=True, eq=False)
class EpochGrid:
    """The epochs of a recording. Their samples are counted as if they were laid end to end.

    Parameters
    ----------
    events : array of int, shape (n_epochs, 3)
        The event of each epoch, in samples of the Raw it was cut out of.
    event_id : dict
        Numbers of events by their names.
    times : array, shape (n_times,)
        Seconds from the event to each sample of an epoch.
    first : float
        Samples of the Raw from the event to the first sample of its epoch.
    step : float
        Samples of the Raw per sample of an epoch: more than 1 after decimation.
    raw_sfreq : float
        Sampling rate of the Raw in hertz.
    selection : array of int, shape (n_epochs,)
        Numbers of the epochs among all that there were before any were dropped.
    drop_log : tuple of tuple of str
        Why epochs were dropped, as in MNE-Python.
    metadata : pandas.DataFrame | list of dict | None
        A table with a row per epoch.
    """

    events: np.ndarray
    event_id: dict[str, int]
    times: np.ndarray
    first: float
    step: float
    raw_sfreq: float
    selection: np.ndarray
    drop_log: tuple[tuple[str, ...], ...] = field(repr=False)
    metadata: Metadata = field(default=None, repr=False)

    @classmethod
    def of(cls, epochs: mne.BaseEpochs) -> "EpochGrid":
        """Take from epochs what is not their signals."""
        offset, raw_sfreq = place_in_raw(epochs)
        return cls(
            np.array(epochs.events, np.int64),
            {str(name): int(code) for name, code in epochs.event_id.items()},
            np.array(epochs.times, float),
            offset * raw_sfreq,
            raw_sfreq / float(epochs.info["sfreq"]),
            raw_sfreq,
            np.array(epochs.selection, np.int64),
            epochs.drop_log,
            copy.copy(epochs.metadata),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Number of epochs, and of samples of each."""
        return len(self.events), len(self.times)

    @property
    def conditions(self) -> list[str]:
        """Name of each epoch's event."""
        names = {code: name for name, code in self.event_id.items()}
        return [names.get(code, str(code)) for code in self.events[:, 2].tolist()]

    def places(self, starts: ArrayLike, stops: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Find where segments, each within one epoch, lie in the Raw.

        Shapes: ``starts, stops`` (n_segments,); returns ``starts, stops`` (n_segments,).
        """
        starts, stops = np.asarray(starts, np.int64), np.asarray(stops, np.int64)
        # An epoch ends with a sample of the Raw, whatever it was decimated by: what follows
        # may be of the next epoch, or beyond the end of the recording. MNE-Python rounds the
        # start of a recording and its length to microseconds, and what ends with it must not
        # stick out for that.
        last = min(1.0, self.step) - END_MARGIN * self.raw_sfreq
        at_end = stops % len(self.times) == 0
        ends = self._place(stops, stops - 1) + np.where(at_end, last - self.step, 0.0)
        return np.round(self._place(starts, starts), 6), np.round(ends, 6)

    def _place(self, samples: np.ndarray, within: np.ndarray) -> np.ndarray:
        """Places in the Raw, counted from the epoch that another sample is in."""
        epochs = within // len(self.times)
        inside = samples - epochs * len(self.times)
        return self.events[epochs, 0] + (self.first + inside * self.step)

    def overlap(self, spans: list[tuple[int, int]]) -> tuple[int, int] | None:
        """Find two epochs that overlap in the Raw."""
        bounds = np.array(spans, np.int64).reshape(-1, 2)
        starts, stops = self.places(*bounds.T)
        order = np.argsort(starts, kind="stable")
        wrong = np.flatnonzero(starts[order][1:] < stops[order][:-1] - MAX_OVERLAP)
        if len(wrong) == 0:
            return None
        both = bounds[order[wrong[0] : wrong[0] + 2], 0] // len(self.times)
        return int(both.min()), int(both.max())

    def epochs_of(self, data: np.ndarray, info: mne.Info) -> mne.EpochsArray:
        """Make epochs of other signals on the same grid.

        Shapes: ``data`` (n_epochs, n_channels, n_times).
        """
        events = self.events.copy()
        # MNE-Python accepts neither repeated nor unordered events here, but makes them itself,
        # as in epochs[[1, 0, 0]].
        events[:, 0] = np.arange(len(events))
        log_fits = sum(not reasons for reasons in self.drop_log) == len(events)
        epochs = mne.EpochsArray(
            data,
            info,
            events,
            tmin=self.times[0],
            event_id=self.event_id,
            on_missing="ignore",
            metadata=copy.copy(self.metadata),
            selection=self.selection if log_fits else None,
            drop_log=self.drop_log if log_fits else None,
            raw_sfreq=self.raw_sfreq,
            proj=False,
            verbose="ERROR",
        )
        epochs.events = self.events.copy()
        if not np.allclose(epochs.times, self.times, rtol=0, atol=1e-9):
            epochs.shift_time(self.times[0], relative=False)
        return epochs

    def content(self) -> dict[str, Any]:
        """Say it all in values that JSON keeps."""
        return {
            "events": self.events.tolist(),
            "event_id": self.event_id,
            "times": self.times.tolist(),
            "first": self.first,
            "step": self.step,
            "raw_sfreq": self.raw_sfreq,
            "selection": self.selection.tolist(),
            "drop_log": self.drop_log,
            "metadata": _table_content(self.metadata),
        }

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> "EpochGrid":
        """Read what `content` says."""
        return cls(
            np.array(content["events"], np.int64),
            content["event_id"],
            np.array(content["times"], float),
            content["first"],
            content["step"],
            content["raw_sfreq"],
            np.array(content["selection"], np.int64),
            tuple(map(tuple, content["drop_log"])),
            _table_from(content["metadata"]),
        )


def _table_content(metadata: Metadata) -> list[dict[str, Any]] | dict[str, Any] | None:
    """Put a table into values that JSON keeps."""
    if isinstance(metadata, list) or metadata is None:  # as MNE-Python has it without pandas
        return metadata
    # NaN, dates and objects of any kind as JSON can.
    text = metadata.to_json(orient="split", double_precision=15, default_handler=str)
    return json.loads(text)


def _table_from(content: list[dict[str, Any]] | dict[str, Any] | None) -> Metadata:
    """Make the table of what JSON kept."""
    return check_pandas().DataFrame(**content) if isinstance(content, dict) else content
