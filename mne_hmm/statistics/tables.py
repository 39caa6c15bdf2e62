"""Tables over recordings: statistics, visits, and occupancy over time, a row per observation."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.arrays import end_to_end
from .._utils.docs import fill_doc
from .._utils.mne_private import check_pandas
from ..states.time_course import StateTimeCourse, as_courses
from ..states.windows import check_windows, occupancy_in_windows

if TYPE_CHECKING:
    from pandas import DataFrame


def recording_names(states: list[StateTimeCourse], names: Sequence[Any] | None) -> list[Any]:
    """Get the names of recordings, or number them."""
    if names is None:
        return list(range(len(states)))
    if isinstance(names, str):
        raise TypeError(f"names must be a list with a name per recording, got {names!r}")
    names = list(names)
    if len(names) != len(states) or len(set(names)) != len(names):
        raise ValueError(
            f"names must be as many different names as there are recordings ({len(states)}), got "
            f"{names}; None numbers them"
        )
    return names


def _table(
    states: StateTimeCourse | Sequence[StateTimeCourse],
    names: Sequence[Any] | None,
    frame_of: Callable[[StateTimeCourse], "dict[str, Any] | DataFrame"],
) -> "DataFrame":
    """Concatenate the tables of all recordings."""
    pd = check_pandas()
    courses = as_courses(states)
    frames = []
    for name, course in zip(recording_names(courses, names), courses, strict=True):
        frame = pd.DataFrame(frame_of(course))
        frame.insert(0, "recording", name)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


@fill_doc
def summarize_states(
    states: StateTimeCourse | Sequence[StateTimeCourse],
    *,
    names: Sequence[Any] | None = None,
    include_censored: bool = False,
) -> "DataFrame":
    """Make a table of occupancy, lifetimes, intervals and rates.

    Parameters
    ----------
    %(states)s
    %(recording_names)s
    include_censored : bool
        Whether visits cut by the edge of a span count as lifetimes, at the length that is
        seen of them.

    Returns
    -------
    df : pandas.DataFrame
        One row per recording and state, with columns ``recording``, ``state`` and those of
        `StateStatistics`. What cannot be said is NaN. Needs pandas.

    See Also
    --------
    summarize_recordings : One row per recording.
    contrast_groups : Test groups of recordings for differences.

    Examples
    --------
    >>> import mne_hmm
    >>> _, states = mne_hmm.simulate_raw(3, duration=10., random_state=0)
    >>> table = mne_hmm.summarize_states([states, states], names=["first", "second"])
    >>> table.groupby("recording")["fractional_occupancy"].sum().round(6).to_dict()
    {'first': 1.0, 'second': 1.0}
    """
    return _table(
        states,
        names,
        lambda course: course.statistics(include_censored=include_censored).to_data_frame(),
    )


@fill_doc
def summarize_recordings(
    states: StateTimeCourse | Sequence[StateTimeCourse], *, names: Sequence[Any] | None = None
) -> "DataFrame":
    """Make a table of what states say of whole recordings.

    Parameters
    ----------
    %(states)s
    %(recording_names)s

    Returns
    -------
    df : pandas.DataFrame
        One row per recording. Columns are ``recording``; ``duration``, the seconds that were
        modeled; ``n_visits``; ``switching_rate``, changes of state per second;
        ``occupancy_entropy``, the entropy of the fractional occupancies: 0 if one state is on
        all the time, the logarithm of the number of states if all are on equally long; and
        ``posterior_entropy``, the mean over samples of the entropy of the state
        probabilities: 0 where the states are certain, as those of a Viterbi path. Entropies
        are in bits. Needs pandas.

    See Also
    --------
    summarize_states : One row per recording and state.
    """
    return _table(states, names, _recording_row)


def _recording_row(states: StateTimeCourse) -> dict[str, Any]:
    """Columns of one row: what states say of a recording."""
    statistics = states.statistics()
    modeled = end_to_end(states.probabilities)[:, states.labels.ravel() >= 0].astype(float)
    return {
        "duration": [modeled.shape[1] / states.timeline.sfreq],
        "n_visits": [statistics.n_visits.sum()],
        "switching_rate": [statistics.switching_rate.sum()],
        "occupancy_entropy": [_entropy(statistics.fractional_occupancy)],
        "posterior_entropy": [_entropy(modeled).mean() if modeled.size else np.nan],
    }


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    """Entropy in bits over the first axis."""
    logs = np.log2(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    # Not -0 where one state is certain; NaN stays.
    return np.abs((probabilities * logs).sum(axis=0))


@fill_doc
def list_visits(
    states: StateTimeCourse | Sequence[StateTimeCourse], *, names: Sequence[Any] | None = None
) -> "DataFrame":
    """Make a table of all visits, for the distributions of lifetimes and intervals.

    Parameters
    ----------
    %(states)s
    %(recording_names)s

    Returns
    -------
    df : pandas.DataFrame
        One row per visit, in order of time. Columns are ``recording``; ``state``; ``onset``,
        seconds from the first sample of the recording; ``duration`` in seconds; ``interval``,
        seconds since the end of the last visit to the same state, NaN for the first in its
        span; and ``censored``, whether the visit is cut by the edge of its span. States of
        epochs also have ``epoch`` and ``condition``, as in
        :meth:`StateTimeCourse.to_data_frame`, and onsets count from the event. Needs pandas.
    """
    return _table(states, names, _visit_rows)


def _visit_rows(states: StateTimeCourse) -> dict[str, Any]:
    """Columns with a row per visit."""
    visits = states.visits
    sfreq = states.timeline.sfreq
    intervals = np.full(len(visits.states), np.nan)
    # Visits to one state in one span, one after another.
    order = np.lexsort((visits.starts, visits.spans, visits.states))
    follows = (np.diff(visits.states[order]) == 0) & (np.diff(visits.spans[order]) == 0)
    gaps = visits.starts[order][1:] - visits.stops[order][:-1]
    intervals[order[1:][follows]] = gaps[follows] / sfreq
    epochs, samples = np.divmod(visits.starts, len(states.times))
    return {
        **_epoch_columns(states, epochs),
        "state": np.array(states.state_names, object)[visits.states],
        "onset": states.times[samples],
        "duration": (visits.stops - visits.starts) / sfreq,
        "interval": intervals,
        "censored": visits.censored,
    }


def _epoch_columns(states: StateTimeCourse, epochs: np.ndarray) -> dict[str, Any]:
    """Columns with the epoch of each row, from its position; none if there are no epochs."""
    grid = states.timeline.epochs
    if grid is None:
        return {}
    return {
        "epoch": grid.selection[epochs],
        "condition": np.array(grid.conditions, object)[epochs],
    }


@fill_doc
def compute_occupancy_over_time(
    states: StateTimeCourse | Sequence[StateTimeCourse],
    window: float,
    step: float | None = None,
    *,
    names: Sequence[Any] | None = None,
) -> "DataFrame":
    """Compute the fractional occupancy in sliding windows.

    Parameters
    ----------
    %(states)s
    window : float
        Length of a window in seconds. Windows lie within the recording, or within each
        epoch.
    step : float | None
        Seconds from one window to the next; None takes the length of a window.
    %(recording_names)s

    Returns
    -------
    df : pandas.DataFrame
        One row per recording, window and state. Columns are ``recording``; ``state``;
        ``time``, the center of the window in seconds from the first sample of the recording;
        and ``occupancy``, the share of the window's modeled samples in the state, NaN where
        none was modeled. States of epochs also have ``epoch`` and ``condition``, and times
        count from the event. Needs pandas.

    Raises
    ------
    ValueError
        If the window is longer than a recording or shorter than a sample, or ``step`` is
        shorter than a sample.
    """
    courses = as_courses(states)
    window, step = check_windows(courses, recording_names(courses, names), window, step)
    return _table(courses, names, lambda course: _window_rows(course, window, step))


def _window_rows(states: StateTimeCourse, window: float, step: float) -> dict[str, Any]:
    """Columns with a row per window and state."""
    centers, occupancy = occupancy_in_windows(states, window, step)
    n_epochs, n_windows, n_states = occupancy.shape
    return {
        **_epoch_columns(states, np.repeat(np.arange(n_epochs), n_windows * n_states)),
        "state": np.tile(np.array(states.state_names, object), n_epochs * n_windows),
        "time": np.tile(np.repeat(centers, n_states), n_epochs),
        "occupancy": occupancy.ravel(),
    }
