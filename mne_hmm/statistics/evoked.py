"""What states do around events."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mne
import numpy as np
from mne.utils import logger, verbose

from .._utils.checks import check_number, listed, plural
from .._utils.docs import fill_doc
from .._utils.mne_private import warn
from ..states.time_course import StateTimeCourse, as_courses

# Share of events without modeled data around them above which a warning says so.
MANY = 0.25


@verbose
@fill_doc
def compute_state_evoked(
    states: Any,
    events: Any = None,
    event_id: dict[str, int] | None = None,
    *,
    tmin: float | None = None,
    tmax: float | None = None,
    baseline: tuple[float | None, float | None] | None = (None, 0),
    verbose: Any = None,
) -> dict[str, mne.EvokedArray]:
    """Average state probabilities around events.

    Parameters
    ----------
    %(states)s
    %(events)s
    %(window_of_events)s
    %(baseline)s
    %(verbose)s

    Returns
    -------
    evokeds : dict of mne.EvokedArray
        The mean of each condition: one ``misc`` channel per state, named as the state;
        ``comment`` is the condition and ``nave`` the number of events.

    Raises
    ------
    ValueError
        If events and states do not fit, or a condition has no event with modeled data around
        it.

    See Also
    --------
    cluster_test_state_evoked : Test them.

    Notes
    -----
    Events without modeled data all around them, from ``tmin`` to ``tmax`` in one span, are left
    out; the log tells how many. Every event counts the same, whichever recording it is in. For
    a mean in which every recording counts the same, call this for each recording, and
    :func:`mne.grand_average` for the results.

    Examples
    --------
    >>> import mne_hmm
    >>> raw, states = mne_hmm.simulate_raw(3, duration=20., random_state=0)
    >>> events = mne.make_fixed_length_events(raw, id=1, start=2., stop=18.)
    >>> evokeds = mne_hmm.compute_state_evoked(states, events, {"cue": 1})
    >>> evokeds["cue"].nave, evokeds["cue"].ch_names
    (16, ['state_0', 'state_1', 'state_2'])
    """
    trials = cut_trials(states, events, event_id, tmin, tmax, baseline)
    data, codes = np.concatenate(trials.data), np.concatenate(trials.codes)
    return {
        name: trials.evoked(data[codes == number].mean(axis=0), name, int((codes == number).sum()))
        for number, name in enumerate(trials.conditions)
    }


@dataclass(frozen=True, eq=False)
class Trials:
    """State probabilities around events, recording by recording.

    Parameters
    ----------
    states : list of StateTimeCourse
        The states of each recording.
    times : array, shape (n_times,)
        Seconds from the event.
    first : int
        Samples from an event to the first sample of its trial.
    conditions : tuple of str
        Names of the conditions.
    data : list of array, shape (n_trials, n_states, n_times)
        The probabilities of each recording, less their baseline.
    codes : list of array of int, shape (n_trials,)
        Number of the condition of each trial.
    onsets : list of array of int, shape (n_trials,)
        Sample of the recording at which the event of each trial is; empty for epochs.
    baseline : tuple of float | None
        The baseline, as it was given.
    """

    states: list[StateTimeCourse]
    times: np.ndarray
    first: int
    conditions: tuple[str, ...]
    data: list[np.ndarray]
    codes: list[np.ndarray]
    onsets: list[np.ndarray]
    baseline: tuple[float | None, float | None] | None

    def evoked(self, data: np.ndarray, comment: str, nave: int) -> mne.EvokedArray:
        """Put a mean over trials into MNE-Python's terms.

        Shapes: ``data`` (n_states, n_times).
        """
        evoked = mne.EvokedArray(
            data, self.states[0].info, self.times[0], comment, nave, verbose="ERROR"
        )
        evoked.baseline = None if self.baseline is None else _limits(self.baseline, self.times)
        return evoked


@dataclass(frozen=True, eq=False)
class FreeOnsets:
    """The samples at which an event may be so that all of its trial was modeled.

    Parameters
    ----------
    starts, stops : array of int, shape (n_runs,)
        First sample of each run of them, and the one after the last.
    """

    starts: np.ndarray
    stops: np.ndarray

    @classmethod
    def of(cls, spans: list[tuple[int, int]], first: int, last: int) -> "FreeOnsets":
        """Find them."""
        bounds = np.array(spans, int).reshape(-1, 2) - [first, last]
        bounds = bounds[bounds[:, 0] < bounds[:, 1]]
        return cls(bounds[:, 0], bounds[:, 1])

    @property
    def edges(self) -> np.ndarray:
        """Number of the first sample of each run, and at the end the number of all."""
        return np.concatenate([[0], np.cumsum(self.stops - self.starts)])

    def ranks(self, samples: np.ndarray) -> np.ndarray:
        """Tell the number of each sample among these; -1 for one that is none of them."""
        if not len(self.starts):
            return np.full(len(samples), -1)
        run = np.maximum(np.searchsorted(self.starts, samples, side="right") - 1, 0)
        inside = (samples >= self.starts[run]) & (samples < self.stops[run])
        return np.where(inside, self.edges[run] + samples - self.starts[run], -1)

    def samples(self, ranks: np.ndarray) -> np.ndarray:
        """Find the samples with given numbers."""
        run = np.searchsorted(self.edges, ranks, side="right") - 1
        return self.starts[run] + ranks - self.edges[run]


def cut_trials(states, events, event_id, tmin, tmax, baseline) -> Trials:
    """Cut trials out of the states of recordings; see `compute_state_evoked`."""
    several = as_courses(states)
    for value, name in ((tmin, "tmin"), (tmax, "tmax")):
        if value is not None:
            check_number(value, name, rule="a number of seconds or None")
    of_epochs = several[0].timeline.epochs is not None
    for number, one in enumerate(several):
        if (one.timeline.epochs is not None) != of_epochs:
            raise ValueError("states must all be of epochs, or all of recordings without epochs")
        if one.timeline.sfreq != several[0].timeline.sfreq:
            raise ValueError(
                f"states must have one sampling rate, but recording 0 has "
                f"{several[0].timeline.sfreq:g} Hz and recording {number} has "
                f"{one.timeline.sfreq:g} Hz; resample the recordings"
            )
    if event_id is not None and not (isinstance(event_id, dict) and event_id):
        raise TypeError(
            'event_id must be a dictionary of names and numbers, as {"left": 1}, or None, got '
            f"{event_id!r}"
        )
    if of_epochs:
        if events is not None:
            raise ValueError("events are known of epochs; leave events out")
        times, parts = _from_epochs(several, event_id, tmin, tmax)
    else:
        times, parts = _from_recordings(
            several, _check_events(states, events), event_id, tmin, tmax
        )
    data, names, onsets, n_given = (list(part) for part in zip(*parts, strict=True))
    _tell_dropped(sum(map(len, names)), sum(n_given))
    # In the order of event_id, or in that of the numbers.
    conditions = tuple(event_id or dict.fromkeys(_known(several, events)))
    found = set(np.concatenate(names).tolist())
    for condition in conditions:
        if condition not in found:
            raise ValueError(
                f"condition {condition!r} has no event with modeled data around it, from "
                f"{times[0]:g} to {times[-1]:g} s; take a shorter window, or leave the condition "
                "out of event_id"
            )
    if baseline is not None:
        inside = baseline_slice(baseline, times)
        data = [one - one[..., inside].mean(axis=-1, keepdims=True) for one in data]
    codes = [np.array([conditions.index(name) for name in some], int) for some in names]
    first = round(times[0] * several[0].timeline.sfreq)
    return Trials(several, times, first, conditions, data, codes, onsets, baseline)


def _check_events(states, events):
    """One array of events per recording."""
    if events is None:
        raise ValueError(
            "events must be given, as mne.find_events or mne.events_from_annotations return "
            "them; only epochs bring their own"
        )
    if isinstance(states, StateTimeCourse):
        events = [events]
    elif not isinstance(events, (list, tuple)) or len(events) != len(states):
        got = len(events) if isinstance(events, Sequence) else type(events).__name__
        raise ValueError(
            f"events must be a list with one array per recording ({len(states)}), got {got}"
        )
    arrays = [np.asarray(one) for one in events]
    for array in arrays:
        if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iu":
            raise ValueError(
                "events must be arrays of whole numbers of shape (n_events, 3), as "
                f"mne.find_events returns them, got shape {array.shape} of {array.dtype}"
            )
    return arrays


def _known(several, events):
    """Names of all conditions where none were asked for, in order."""
    if several[0].timeline.epochs is not None:
        return [name for one in several for name in one.timeline.epochs.event_id]
    given = [events] if isinstance(events, np.ndarray) else events
    return map(str, np.unique(np.concatenate([np.asarray(one)[:, 2] for one in given])))


def _names_of(numbers, event_id):
    """Condition of each event, an empty string for those that are not asked for."""
    if event_id is None:
        return np.array([str(number) for number in numbers.tolist()], object)
    names = {number: name for name, number in event_id.items()}
    return np.array([names.get(number, "") for number in numbers.tolist()], object)


def _from_recordings(several, events, event_id, tmin, tmax):
    """Cut trials: times, and by recording trials, conditions, onsets, and number of events."""
    sfreq = several[0].timeline.sfreq
    tmin, tmax = -0.5 if tmin is None else tmin, 1.0 if tmax is None else tmax
    first, last = round(tmin * sfreq), round(tmax * sfreq)
    if first >= last:
        raise ValueError(f"tmin must be before tmax, got tmin={tmin} and tmax={tmax}")
    parts = []
    for one, some in zip(several, events, strict=True):
        names = _names_of(some[:, 2], event_id)
        onsets = (some[:, 0] - one.timeline.first_samp)[names != ""]
        kept = FreeOnsets.of(one.spans, first, last).ranks(onsets) >= 0
        data = take_trials(one.probabilities, onsets[kept], first, last)
        parts.append((data, names[names != ""][kept], onsets[kept], len(onsets)))
    return np.arange(first, last + 1) / sfreq, parts


def take_trials(probabilities: np.ndarray, onsets: np.ndarray, first: int, last: int) -> np.ndarray:
    """Take probabilities around onsets.

    Shapes: ``probabilities`` (n_states, n_samples), ``onsets`` (n_trials,); returns
    ``data`` (n_trials, n_states, n_times).
    """
    samples = onsets[:, np.newaxis] + np.arange(first, last + 1)
    # States may be in single precision, whose sums over many trials are not.
    return np.moveaxis(probabilities[:, samples], 0, 1).astype(float)


def _from_epochs(several, event_id, tmin, tmax):
    """As `_from_recordings`, for epochs."""
    times = several[0].times
    half = 0.5 / several[0].timeline.sfreq
    if any(len(one.times) != len(times) or abs(one.times - times).max() > half for one in several):
        raise ValueError("epochs of all recordings must have the same times; crop them")
    modeled = np.flatnonzero(np.any([(one.labels >= 0).any(axis=0) for one in several], axis=0))
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
    parts = []
    for one in several:
        grid = one.timeline.epochs
        own = np.array(grid.conditions, object)
        names = own if event_id is None else _names_of(grid.events[:, 2], event_id)
        data = one.probabilities[..., inside][names != ""].astype(float)
        kept = ~np.isnan(data).any(axis=(1, 2))
        parts.append((data[kept], names[names != ""][kept], np.empty(0, int), len(data)))
    return times[inside], parts


def _tell_dropped(n_kept, n_given):
    n_dropped = n_given - n_kept
    if n_dropped == 0:
        return
    text = (
        f"{n_dropped} of {plural(n_given, 'event')} left out, because not all data around them "
        "were modeled"
    )
    if n_dropped > MANY * n_given:
        warn(f"{text}; a shorter window from tmin to tmax leaves out fewer")
    else:
        logger.info(text)


def _limits(baseline, times):
    """Both ends of a baseline in seconds."""
    low, high = baseline
    return (
        float(times[0]) if low is None else float(low),
        float(times[-1]) if high is None else float(high),
    )


def baseline_slice(baseline: Any, times: np.ndarray) -> slice:
    """Find the samples of the baseline.

    Shapes: ``times`` (n_times,).
    """
    if not isinstance(baseline, (tuple, list)) or len(baseline) != 2:
        raise ValueError(
            f"baseline must be two times in seconds, as (None, 0), or None, got {baseline!r}"
        )
    low, high = _limits(baseline, times)
    half = 0.5 * (times[1] - times[0])
    inside = np.flatnonzero((times >= low - half * 0.999) & (times <= high + half * 0.999))
    if low < times[0] - half or high > times[-1] + half or low > high or not len(inside):
        raise ValueError(
            f"baseline must lie within the trial, from {times[0]:g} to {times[-1]:g} s, got "
            f"{listed(baseline)}; choose another, or None for no baseline"
        )
    return slice(int(inside[0]), int(inside[-1]) + 1)
