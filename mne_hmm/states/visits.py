"""When states are visited, for how long and how often."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._utils.arrays import divide_or_nan
from .._utils.mne_private import check_pandas

if TYPE_CHECKING:
    from pandas import DataFrame


class Visits(NamedTuple):
    """Uninterrupted stays in one state, in order of time."""

    states: np.ndarray
    """State of each visit, shape (n_visits,)."""
    starts: np.ndarray
    """First sample of each visit."""
    stops: np.ndarray
    """Sample after its last."""
    censored: np.ndarray
    """Whether the visit is cut by the start or the end of its span."""
    spans: np.ndarray
    """Index of the span it lies in."""


def find_visits(labels: np.ndarray, spans: list[tuple[int, int]]) -> Visits:
    """Find the visits in a state time course, labels of shape (n_times,)."""
    parts = []
    for i_span, (start, stop) in enumerate(spans):
        changes = start + 1 + np.flatnonzero(np.diff(labels[start:stop]))
        starts = np.concatenate([[start], changes]).astype(int)
        stops = np.concatenate([changes, [stop]]).astype(int)
        censored = (starts == start) | (stops == stop)
        parts.append((labels[starts], starts, stops, censored, np.full(len(starts), i_span)))
    if not parts:
        empty = np.empty(0, int)
        return Visits(empty, empty, empty, empty.astype(bool), empty)
    return Visits(*map(np.concatenate, zip(*parts, strict=True)))


@dataclass(frozen=True, eq=False)
class StateStatistics:
    """Statistics of a state time course, one value per state.

    Parameters
    ----------
    state_names : tuple of str
        Names of the states.
    fractional_occupancy : array, shape (n_states,)
        Share of the modeled samples in each state.
    mean_lifetime : array, shape (n_states,)
        Mean duration of a visit in seconds. NaN without visits to average.
    std_lifetime : array, shape (n_states,)
        Standard deviation of the durations in seconds, over all visits (``ddof=0``).
    mean_interval : array, shape (n_states,)
        Mean time from the end of a visit to the start of the next, in seconds. NaN where
        there are no two visits in one span.
    std_interval : array, shape (n_states,)
        Standard deviation of these times in seconds (``ddof=0``).
    switching_rate : array, shape (n_states,)
        Visits that begin, per second of modeled data (hertz). A visit that is on when a span
        begins is not counted.
    n_visits : array of int, shape (n_states,)
        Number of visits, censored ones included.
    n_censored : array of int, shape (n_states,)
        Number of visits cut by the edge of a span.
    """

    state_names: tuple[str, ...]
    fractional_occupancy: np.ndarray
    mean_lifetime: np.ndarray
    std_lifetime: np.ndarray
    mean_interval: np.ndarray
    std_interval: np.ndarray
    switching_rate: np.ndarray
    n_visits: np.ndarray
    n_censored: np.ndarray

    def to_data_frame(self) -> "DataFrame":
        """Get the statistics as a table with one row per state.

        Returns
        -------
        df : pandas.DataFrame
            Columns are the statistics; needs pandas.
        """
        pd = check_pandas()
        columns = {name: value for name, value in vars(self).items() if name != "state_names"}
        return pd.DataFrame({"state": list(self.state_names), **columns})

    def __str__(self) -> str:
        width = max(map(len, (*self.state_names, "state")))
        head = f"{'state':{width}s}  occupancy  lifetime (ms)  interval (ms)  rate (Hz)"
        rows = [
            f"{name:{width}s}  {fo:9.3f}  {1e3 * life:13.1f}  {1e3 * gap:13.1f}  {rate:9.2f}"
            for name, fo, life, gap, rate in zip(
                self.state_names,
                self.fractional_occupancy,
                self.mean_lifetime,
                self.mean_interval,
                self.switching_rate,
                strict=True,
            )
        ]
        return "\n".join([head, *rows])

    __repr__ = __str__


def _mean_per_state(states: np.ndarray, values: np.ndarray, n_states: int) -> np.ndarray:
    """Mean of the values of each state, NaN where there are none."""
    counts = np.bincount(states, minlength=n_states)
    sums = np.bincount(states, weights=values, minlength=n_states)
    return divide_or_nan(sums, counts)


def _spread_per_state(
    states: np.ndarray, values: np.ndarray, n_states: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the values of each state, NaN where there are none."""
    means = _mean_per_state(states, values, n_states)
    return means, np.sqrt(_mean_per_state(states, (values - means[states]) ** 2, n_states))


def compute_statistics(
    labels: np.ndarray,
    spans: list[tuple[int, int]],
    sfreq: float,
    state_names: tuple[str, ...],
    *,
    include_censored: bool = False,
) -> StateStatistics:
    """Compute the statistics of a state time course, labels of shape (n_times,)."""
    n_states = len(state_names)
    visits = find_visits(labels, spans)
    n_samples = sum(stop - start for start, stop in spans)
    occupied = np.bincount(visits.states, weights=visits.stops - visits.starts, minlength=n_states)
    counted = np.ones(len(visits.states), bool) if include_censored else ~visits.censored
    durations = (visits.stops - visits.starts) / sfreq
    # Visits of one state in one span, one after another.
    order = np.lexsort((visits.starts, visits.states))
    states, spans_of_visits = visits.states[order], visits.spans[order]
    follows = (np.diff(states) == 0) & (np.diff(spans_of_visits) == 0)
    gaps = (visits.starts[order][1:] - visits.stops[order][:-1])[follows] / sfreq
    span_starts = np.array([start for start, _ in spans], int)
    onsets = ~np.isin(visits.starts, span_starts)
    seconds = n_samples / sfreq
    mean_lifetime, std_lifetime = _spread_per_state(
        visits.states[counted], durations[counted], n_states
    )
    mean_interval, std_interval = _spread_per_state(states[1:][follows], gaps, n_states)
    begun = np.bincount(visits.states[onsets], minlength=n_states)
    unknown = np.full(n_states, np.nan)
    return StateStatistics(
        state_names,
        fractional_occupancy=occupied / n_samples if n_samples else unknown,
        mean_lifetime=mean_lifetime,
        std_lifetime=std_lifetime,
        mean_interval=mean_interval,
        std_interval=std_interval,
        switching_rate=begun / seconds if n_samples else unknown,
        n_visits=np.bincount(visits.states, minlength=n_states),
        n_censored=np.bincount(visits.states[visits.censored], minlength=n_states),
    )


def stationary_occupancy(transition_matrix: np.ndarray) -> np.ndarray:
    """Compute the share of the time that a long chain spends in each state, shape (n_states,)."""
    n_states = len(transition_matrix)
    stays = np.vstack([transition_matrix.T - np.eye(n_states), np.ones(n_states)])
    sums = np.append(np.zeros(n_states), 1.0)
    # Least squares take the shortest solution of several, which is the most even one.
    occupancy = np.linalg.lstsq(stays, sums, rcond=None)[0].clip(0)
    return occupancy / occupancy.sum()
