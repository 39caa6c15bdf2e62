"""Trials: the probabilities of states around events."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import mne
import numpy as np
from mne.utils import logger

from .._utils.checks import check_number, listed, plural
from .._utils.mne_private import warn
from ..io.epochs import EpochGrid
from ..states.time_course import StateTimeCourse, as_courses

# Standard deviations of probabilities below this count as this: a state that is as good as
# never on would have large t statistics of differences that mean nothing.
MIN_STD = 1e-3

# Share of events without modeled data around them above which a warning says so.
MAX_SHARE_DROPPED = 0.25

Baseline: TypeAlias = tuple[float | None, float | None] | None


@dataclass(frozen=True, eq=False)
class Trials:
    """State probabilities around events, recording by recording."""

    states: list[StateTimeCourse]
    times: np.ndarray
    """Seconds from the event, shape (n_times,)."""
    first: int
    """Samples from an event to the first sample of its trial."""
    conditions: tuple[str, ...]
    data: list[np.ndarray]
    """Probabilities of each recording less their baseline, shape (n_trials, n_states, n_times)."""
    codes: list[np.ndarray]
    """Index of the condition of each trial, shape (n_trials,)."""
    onsets: list[np.ndarray]
    """Sample of the recording at which each event is, shape (n_trials,); empty for epochs."""
    baseline: Baseline

    def evoked(self, data: np.ndarray, comment: str, nave: int) -> mne.EvokedArray:
        """Turn a mean over trials, shape (n_states, n_times), into an evoked response."""
        evoked = mne.EvokedArray(
            data, self.states[0].info, self.times[0], comment, nave, verbose="ERROR"
        )
        evoked.baseline = None if self.baseline is None else _limits(self.baseline, self.times)
        return evoked


@dataclass(frozen=True, eq=False)
class FreeOnsets:
    """The samples at which an event may be so that all of its trial was modeled, as segments."""

    starts: np.ndarray
    """First sample of each segment, shape (n_segments,)."""
    stops: np.ndarray
    """The sample after its last, shape (n_segments,)."""

    @classmethod
    def of(cls, spans: list[tuple[int, int]], first: int, last: int) -> "FreeOnsets":
        """Find the onsets whose trials, from ``first`` to ``last``, lie within a span."""
        bounds = np.array(spans, int).reshape(-1, 2) - [first, last]
        bounds = bounds[bounds[:, 0] < bounds[:, 1]]
        return cls(bounds[:, 0], bounds[:, 1])

    @property
    def edges(self) -> np.ndarray:
        """Rank of the first sample of each segment, and at the end the number of samples."""
        return np.concatenate([[0], np.cumsum(self.stops - self.starts)])

    def ranks(self, samples: np.ndarray) -> np.ndarray:
        """Position of each sample among these; -1 for one that is none of them."""
        if not len(self.starts):
            return np.full(len(samples), -1)
        segment = np.maximum(np.searchsorted(self.starts, samples, side="right") - 1, 0)
        inside = (samples >= self.starts[segment]) & (samples < self.stops[segment])
        return np.where(inside, self.edges[segment] + samples - self.starts[segment], -1)

    def samples(self, ranks: np.ndarray) -> np.ndarray:
        """Find the samples with these ranks."""
        segment = np.searchsorted(self.edges, ranks, side="right") - 1
        return self.starts[segment] + ranks - self.edges[segment]


class _RecordingTrials(NamedTuple):
    """The trials of one recording."""

    data: np.ndarray
    """Probabilities, shape (n_trials, n_states, n_times)."""
    names: np.ndarray
    """Condition of each trial."""
    onsets: np.ndarray
    """Sample of each event; empty for epochs."""
    n_events: int
    """Number of events, with those whose trials were not modeled."""


def cut_trials(
    states: StateTimeCourse | Sequence[StateTimeCourse],
    events: np.ndarray | Sequence[np.ndarray] | None,
    event_id: dict[str, int] | None,
    tmin: float | None,
    tmax: float | None,
    baseline: Baseline,
) -> Trials:
    """Cut trials out of the states of recordings; see `compute_state_evoked`."""
    courses = as_courses(states)
    for value, name in ((tmin, "tmin"), (tmax, "tmax")):
        if value is not None:
            check_number(value, name, rule="a number of seconds or None")
    _check_grids(courses)
    if event_id is not None and not (isinstance(event_id, dict) and event_id):
        raise TypeError(
            'event_id must be a dictionary of names and numbers, as {"left": 1}, or None, got '
            f"{event_id!r}"
        )
    if courses[0].timeline.epochs is not None:
        if events is not None:
            raise ValueError("events are known of epochs; leave events out")
        all_names = [name for grid in _grids_of(courses) for name in grid.event_id]
        times, recordings = _trials_of_epochs(courses, event_id, tmin, tmax)
    else:
        arrays = _check_events(states, events)
        all_names = list(map(str, np.unique(np.concatenate([array[:, 2] for array in arrays]))))
        times, recordings = _trials_of_recordings(courses, arrays, event_id, tmin, tmax)
    _report_dropped(
        sum(len(trials.names) for trials in recordings),
        sum(trials.n_events for trials in recordings),
    )
    # In the order of event_id, or in that of the numbers.
    conditions = tuple(event_id or dict.fromkeys(all_names))
    _check_conditions(conditions, recordings, times)
    data = [trials.data for trials in recordings]
    if baseline is not None:
        inside = baseline_slice(baseline, times)
        data = [array - array[..., inside].mean(axis=-1, keepdims=True) for array in data]
    return Trials(
        courses,
        times,
        round(times[0] * courses[0].timeline.sfreq),
        conditions,
        data,
        [np.array([conditions.index(name) for name in x.names], int) for x in recordings],
        [trials.onsets for trials in recordings],
        baseline,
    )


def _check_grids(courses: list[StateTimeCourse]) -> None:
    """Check that all states are of epochs or none are, and have one sampling rate."""
    first = courses[0].timeline
    for i_recording, course in enumerate(courses):
        if (course.timeline.epochs is None) != (first.epochs is None):
            raise ValueError("states must all be of epochs, or all of recordings without epochs")
        if course.timeline.sfreq != first.sfreq:
            raise ValueError(
                f"states must have one sampling rate, but recording 0 has {first.sfreq:g} Hz and "
                f"recording {i_recording} has {course.timeline.sfreq:g} Hz; resample the recordings"
            )


def _check_events(
    states: StateTimeCourse | Sequence[StateTimeCourse],
    events: np.ndarray | Sequence[np.ndarray] | None,
) -> list[np.ndarray]:
    """One array of events per recording."""
    if events is None:
        raise ValueError(
            "events must be given, as mne.find_events or mne.events_from_annotations return "
            "them; only epochs bring their own"
        )
    if isinstance(states, StateTimeCourse):
        arrays = [np.asarray(events)]
    elif isinstance(events, (list, tuple)) and len(events) == len(states):
        arrays = [np.asarray(array) for array in events]
    else:
        got = len(events) if isinstance(events, Sequence) else type(events).__name__
        raise ValueError(
            f"events must be a list with one array per recording ({len(states)}), got {got}"
        )
    for array in arrays:
        if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iu":
            raise ValueError(
                "events must be arrays of whole numbers of shape (n_events, 3), as "
                f"mne.find_events returns them, got shape {array.shape} of {array.dtype}"
            )
    return arrays


def _check_conditions(
    conditions: tuple[str, ...], recordings: list[_RecordingTrials], times: np.ndarray
) -> None:
    """Check that each condition has a trial."""
    present = set(np.concatenate([trials.names for trials in recordings]).tolist())
    for condition in conditions:
        if condition not in present:
            raise ValueError(
                f"condition {condition!r} has no event with modeled data around it, from "
                f"{times[0]:g} to {times[-1]:g} s; take a shorter window, or leave the condition "
                "out of event_id"
            )


def _names_of(numbers: np.ndarray, event_id: dict[str, int] | None) -> np.ndarray:
    """Condition of each event, an empty string for those that are not asked for."""
    if event_id is None:
        return np.array([str(number) for number in numbers.tolist()], object)
    names = {number: name for name, number in event_id.items()}
    return np.array([names.get(number, "") for number in numbers.tolist()], object)


def _trials_of_recordings(
    courses: list[StateTimeCourse],
    events: list[np.ndarray],
    event_id: dict[str, int] | None,
    tmin: float | None,
    tmax: float | None,
) -> tuple[np.ndarray, list[_RecordingTrials]]:
    """Cut trials around the events of each recording; also returns the times of trials."""
    sfreq = courses[0].timeline.sfreq
    tmin, tmax = -0.5 if tmin is None else tmin, 1.0 if tmax is None else tmax
    first, last = round(tmin * sfreq), round(tmax * sfreq)
    if first >= last:
        raise ValueError(f"tmin must be before tmax, got tmin={tmin} and tmax={tmax}")
    recordings = []
    for course, array in zip(courses, events, strict=True):
        names = _names_of(array[:, 2], event_id)
        onsets = (array[:, 0] - course.timeline.first_samp)[names != ""]
        kept = FreeOnsets.of(course.spans, first, last).ranks(onsets) >= 0
        data = take_trials(course.probabilities, onsets[kept], first, last)
        names = names[names != ""][kept]
        recordings.append(_RecordingTrials(data, names, onsets[kept], len(onsets)))
    return np.arange(first, last + 1) / sfreq, recordings


def take_trials(probabilities: np.ndarray, onsets: np.ndarray, first: int, last: int) -> np.ndarray:
    """Probabilities around onsets, shape (n_trials, n_states, n_times)."""
    samples = onsets[:, np.newaxis] + np.arange(first, last + 1)
    # States may be in single precision, whose sums over many trials are not.
    return np.moveaxis(probabilities[:, samples], 0, 1).astype(float)


def _trials_of_epochs(
    courses: list[StateTimeCourse],
    event_id: dict[str, int] | None,
    tmin: float | None,
    tmax: float | None,
) -> tuple[np.ndarray, list[_RecordingTrials]]:
    """Take the epochs of each recording as trials; also returns the times of trials."""
    times = courses[0].times
    half = 0.5 / courses[0].timeline.sfreq
    if any(
        len(course.times) != len(times) or abs(course.times - times).max() > half
        for course in courses
    ):
        raise ValueError("epochs of all recordings must have the same times; crop them")
    inside = _window_of_epochs(courses, tmin, tmax)
    recordings = []
    for course, grid in zip(courses, _grids_of(courses), strict=True):
        if event_id is None:
            names = np.array(grid.conditions, object)
        else:
            names = _names_of(grid.events[:, 2], event_id)
        data = course.probabilities[..., inside][names != ""].astype(float)
        kept = ~np.isnan(data).any(axis=(1, 2))
        names = names[names != ""][kept]
        recordings.append(_RecordingTrials(data[kept], names, np.empty(0, int), len(data)))
    return times[inside], recordings


def _grids_of(courses: list[StateTimeCourse]) -> list[EpochGrid]:
    """Get the grids of epochs, which all have."""
    grids = [course.timeline.epochs for course in courses]
    return [grid for grid in grids if grid is not None]


def _window_of_epochs(
    courses: list[StateTimeCourse], tmin: float | None, tmax: float | None
) -> np.ndarray:
    """Which samples of epochs are from ``tmin`` to ``tmax``, or were modeled in any epoch."""
    times = courses[0].times
    half = 0.5 / courses[0].timeline.sfreq
    modeled = np.flatnonzero(
        np.any([(course.labels >= 0).any(axis=0) for course in courses], axis=0)
    )
    if not len(modeled):
        raise ValueError("none of the epochs was modeled, so there is nothing to average")
    for value, name in ((tmin, "tmin"), (tmax, "tmax")):
        if value is not None and not times[0] - half <= value <= times[-1] + half:
            raise ValueError(
                f"{name} must be within the epochs, from {times[0]:g} to {times[-1]:g} s, got "
                f"{value}"
            )
    low = times[modeled[0]] if tmin is None else tmin
    high = times[modeled[-1]] if tmax is None else tmax
    inside = (times >= low - half) & (times <= high + half)
    if inside.sum() < 2:
        raise ValueError(f"tmin must be before tmax, got tmin={tmin} and tmax={tmax}")
    return inside


def _report_dropped(n_kept: int, n_events: int) -> None:
    """Log how many events were left out, or warn where they are many."""
    n_dropped = n_events - n_kept
    if n_dropped == 0:
        return
    text = (
        f"{n_dropped} of {plural(n_events, 'event')} left out, because not all data around them "
        "were modeled"
    )
    if n_dropped > MAX_SHARE_DROPPED * n_events:
        warn(f"{text}; a shorter window from tmin to tmax leaves out fewer")
    else:
        logger.info(text)


def _limits(baseline: tuple[float | None, float | None], times: np.ndarray) -> tuple[float, float]:
    """Both ends of a baseline in seconds."""
    low, high = baseline
    return (
        float(times[0]) if low is None else float(low),
        float(times[-1]) if high is None else float(high),
    )


def baseline_slice(baseline: Any, times: np.ndarray) -> slice:
    """Find the samples of the baseline."""
    if not isinstance(baseline, (tuple, list)) or len(baseline) != 2:
        raise ValueError(
            f"baseline must be two times in seconds, as (None, 0), or None, got {baseline!r}"
        )
    low, high = _limits((baseline[0], baseline[1]), times)
    half = 0.5 * (times[1] - times[0])
    inside = np.flatnonzero((times >= low - half * 0.999) & (times <= high + half * 0.999))
    if low < times[0] - half or high > times[-1] + half or low > high or not len(inside):
        raise ValueError(
            f"baseline must lie within the trial, from {times[0]:g} to {times[-1]:g} s, got "
            f"{listed(baseline)}; choose another, or None for no baseline"
        )
    return slice(int(inside[0]), int(inside[-1]) + 1)
