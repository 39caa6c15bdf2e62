"""Cluster permutation tests of what states do around events."""

from dataclasses import dataclass, field
from typing import Any

import mne
import numpy as np
from mne.utils import verbose
from scipy import stats

from .._utils.arrays import row_blocks
from .._utils.checks import check_number, check_option, check_random_state, listed, plural
from .._utils.docs import fill_doc
from .._utils.mne_private import check_pandas, warn
from .evoked import FreeOnsets, Trials, baseline_slice, cut_trials, take_trials
from .permutation import (
    folded,
    label_shuffles,
    one_sample_t,
    p_values,
    sign_flips,
    t_of_sums,
    two_sample_t,
)

# Standard deviations of probabilities below this count as this: a state that is as good as
# never on would have large t statistics of differences that mean nothing.
FLOOR = 1e-3

# Draws until the smallest distance of events is about that of those observed; where that is
# unlikely events are few, and hardly overlap.
TRIES = 100

# Numbers that statistics of permutations may take in memory at once.
AT_ONCE = 4_000_000


@dataclass(frozen=True, eq=False)
class StateClusterTest:
    """Clusters of state-evoked responses, and how likely they are by chance.

    Made by :func:`cluster_test_state_evoked`.

    Parameters
    ----------
    evokeds : dict of mne.EvokedArray
        The mean response of each condition that was tested.
    contrast : str
        What was tested, as in ``left - right`` or ``left - random events``.
    unit : str
        What was counted as an observation: ``epoch`` or ``recording``.
    t : array, shape (n_states, n_times)
        The t statistics.
    threshold : float
        Values of t beyond it form clusters.
    states : array of int, shape (n_clusters,)
        State of each cluster.
    starts, stops : array of int, shape (n_clusters,)
        First sample of each cluster, and the one after its last.
    masses : array, shape (n_clusters,)
        Sum of t over each cluster.
    p : array, shape (n_clusters,)
        The p-value of each cluster, corrected for all states and times.
    null : array, shape (n_permutations,)
        Largest absolute mass of all clusters in each permutation. Where there are none, a
        number below 0: the largest t in thresholds, less 1.
    p_value : float
        The p-value of the test as a whole: that of the largest cluster; where there are none,
        that of the largest t below the threshold.
    """

    evokeds: dict[str, mne.EvokedArray] = field(repr=False)
    contrast: str
    unit: str
    t: np.ndarray = field(repr=False)
    threshold: float
    states: np.ndarray = field(repr=False)
    starts: np.ndarray = field(repr=False)
    stops: np.ndarray = field(repr=False)
    masses: np.ndarray = field(repr=False)
    p: np.ndarray = field(repr=False)
    null: np.ndarray = field(repr=False)
    p_value: float

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the states."""
        return tuple(next(iter(self.evokeds.values())).ch_names)

    @property
    def times(self) -> np.ndarray:
        """Seconds from the event."""
        return next(iter(self.evokeds.values())).times.copy()

    def to_data_frame(self):
        """Get the clusters as a table.

        Returns
        -------
        df : pandas.DataFrame
            One row per cluster, the least likely ones first. Columns are ``state``; ``start``
            and ``stop``, times of its first and last sample in seconds; ``mass``; and ``p``.
            Needs pandas.
        """
        pd = check_pandas()
        order = np.lexsort((self.starts, self.states, -np.abs(self.masses)))
        names, times = np.array(self.state_names, object), self.times
        return pd.DataFrame(
            {
                "state": names[self.states[order]],
                "start": times[self.starts[order]],
                "stop": times[self.stops[order] - 1],
                "mass": self.masses[order],
                "p": self.p[order],
            }
        )

    def plot(self, *, alpha=0.05, axes=None, show=True):
        """Plot the responses, with the clusters marked.

        Parameters
        ----------
        alpha : float
            Clusters with p-values up to this are marked.
        axes : list of matplotlib.axes.Axes | None
            Where to plot: one for each condition, and one for the difference of two. None
            makes a new figure.
        show : bool
            Whether to show the figure.

        Returns
        -------
        fig : matplotlib.figure.Figure
            The figure.
        """
        from ..viz import plot_state_evoked

        return plot_state_evoked(self.evokeds, test=self, alpha=alpha, axes=axes, show=show)

    def __str__(self):
        return (
            f"<StateClusterTest | {self.contrast}, {plural(len(self.p), 'cluster')} of "
            f"{plural(len(self.t), 'state')}, {int((self.p <= 0.05).sum())} with p ≤ 0.05, "
            f"smallest p {self.p_value:.4f} of {plural(len(self.null), 'permutation')}>"
        )

    __repr__ = __str__


@verbose
@fill_doc
def cluster_test_state_evoked(
    states: Any,
    events: Any = None,
    event_id: dict[str, int] | None = None,
    *,
    tmin: float | None = None,
    tmax: float | None = None,
    baseline: tuple[float | None, float | None] | None = (None, 0),
    unit: str = "auto",
    threshold: float | None = None,
    n_permutations: int = 1000,
    tail: int = 0,
    random_state: Any = None,
    verbose: Any = None,
) -> StateClusterTest:
    """Test state-evoked responses: one condition against random events, or two conditions.

    Parameters
    ----------
    %(states)s
    %(events)s
        The test is of one condition, or of the first minus the second of two.
    %(window_of_events)s
    %(baseline)s
    unit : "auto" | "epoch" | "recording"
        What counts as an observation. Epochs say something of these recordings, recordings
        something of the people they were drawn from. "auto" takes epochs if there is one
        recording, and recordings if there are several. Runs of one person are no sample of
        people: take "epoch".
    threshold : float | None
        Values of t beyond it form clusters. None takes that of p < 0.05 without correction.
    n_permutations : int
        Number of permutations. If there are no more than these, each is taken once and the
        p-values are exact.
    tail : 0 | 1 | -1
        Whether differences in both directions count, or only those above or below 0.
    %(random_state)s
    %(verbose)s

    Returns
    -------
    test : StateClusterTest
        The clusters and their p-values.

    Raises
    ------
    ValueError
        If there are more than two conditions, too few events or recordings, or one condition of
        epochs, whose surroundings are not known.

    Notes
    -----
    Statistics are Student's t. Samples of one state next to each other, with t beyond the
    threshold, are a cluster; its mass is the sum of t over it. States have no neighbors. A
    cluster's p-value is the share of permutations in which the largest mass of all states and
    times reaches its own :footcite:`MarisOostenveld2007`, which corrects for all of them.
    Clusters and masses are those of :func:`mne.stats.permutation_cluster_test`; the
    permutations are made to fit what states are. If no t is beyond the threshold, the p-value
    of the test as a whole is that of the largest t, so that it is uniform without an effect.

    *Two conditions, epochs*: labels of the conditions are shuffled within each recording. That
    is exact if states do not depend on the condition, whatever else they do: they may
    change in time, follow all events alike, or differ between recordings.

    *Two conditions, recordings*: the sign of each recording's difference is flipped, as in
    :func:`mne.stats.permutation_cluster_1samp_test`.

    *One condition*: probabilities of states have no symmetric distribution, before and after an
    event are not independent, and trials may overlap, so flipping the signs of
    responses is not valid. The response is compared with those to random events
    instead. As many events as were kept are drawn from the modeled data of each recording, with
    the same smallest distance in quarters of a trial (or more than a trial), so that they
    overlap as much. That is exact if the events themselves came at random. The test is of
    whether the events have anything to do with the states, with either unit. Random events fall
    on what else happens in a recording, too; to compare with that, prefer two conditions.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> import mne_hmm
    >>> raw, states = mne_hmm.simulate_raw(3, duration=60., random_state=0)
    >>> events = mne.make_fixed_length_events(raw, id=1, start=2., duration=2.3)
    >>> test = mne_hmm.cluster_test_state_evoked(states, events, {"cue": 1}, random_state=0)
    >>> test.contrast, test.unit
    ('cue - random events', 'epoch')
    """
    check_option(unit, "unit", ("auto", "epoch", "recording"))
    check_option(tail, "tail", (0, 1, -1))
    n_permutations = check_number(
        n_permutations, "n_permutations", rule="a whole number ≥ 1", low=1, integer=True
    )
    if threshold is not None:
        threshold = check_number(threshold, "threshold", rule="a value of t above 0", above=0)
    rng = check_random_state(random_state)
    trials = cut_trials(states, events, event_id, tmin, tmax, baseline)
    if len(trials.conditions) > 2:
        raise ValueError(
            "a test is of one condition or of two, but there are "
            f"{len(trials.conditions)}: {listed(trials.conditions)}; name them in event_id"
        )
    if unit == "auto":
        unit = "epoch" if len(trials.states) == 1 else "recording"
    if unit == "recording" and len(trials.states) < 2:
        raise ValueError('unit="recording" needs at least two recordings, got 1; take "epoch"')
    one = len(trials.conditions) == 1
    run = _against_random_events if one else (_by_labels if unit == "epoch" else _by_signs)
    t, permuted, n_free = run(trials, unit, n_permutations, rng)
    if threshold is None:
        threshold = float(stats.t.isf(0.025 if tail == 0 else 0.05, n_free))
    clusters = find_clusters(t, threshold, tail)
    null = np.concatenate([largest_masses(some, threshold, tail) for some in permuted])
    _warn_of_few(null, tail, by_signs=run is _by_signs)
    return StateClusterTest(
        _means(trials, unit),
        f"{trials.conditions[0]} - {'random events' if one else trials.conditions[1]}",
        unit,
        t,
        threshold,
        states=clusters[0],
        starts=clusters[1],
        stops=clusters[2],
        masses=clusters[3],
        p=p_values(np.abs(clusters[3]), null[:, np.newaxis]),
        null=null,
        p_value=float(p_values(largest_masses(t[np.newaxis], threshold, tail)[0], null)),
    )


def _warn_of_few(null, tail, by_signs):
    # Flipping all signs gives the same in the other direction.
    smallest = (2 if by_signs and tail == 0 else 1) / (1 + len(null))
    if smallest > 0.05:
        warn(
            f"There are only {plural(len(null), 'permutation')}, so no p-value is below "
            f"{smallest:.3g}; take more, or give more recordings or events"
        )


def _means(trials, unit):
    """Mean response of each condition, over epochs or over recordings."""
    out = {}
    for number, name in enumerate(trials.conditions):
        some = [
            data[codes == number] for data, codes in zip(trials.data, trials.codes, strict=True)
        ]
        means = [np.concatenate(some)] if unit == "epoch" else [one for one in some if len(one)]
        data = np.mean([one.mean(axis=0) for one in means], axis=0)
        out[name] = trials.evoked(data, name, sum(map(len, some)))
    return out


# Permutations: each returns t as observed, blocks of t of permutations, and degrees of freedom


def _by_labels(trials, unit, n_permutations, rng):
    """Shuffle the labels of two conditions within recordings."""
    data, first = np.concatenate(trials.data), np.concatenate(trials.codes) == 0
    if len(data) < 4:
        raise ValueError(f"a test of two conditions needs at least four events, got {len(data)}")
    blocks = np.repeat(np.arange(len(trials.data)), [len(one) for one in trials.data])
    shuffles = label_shuffles(first, blocks, n_permutations, rng)
    if not len(shuffles):
        raise ValueError(
            "labels of conditions are shuffled within recordings, but none has both conditions; "
            "give recordings with both"
        )
    values, shape = data.reshape(len(data), -1), data.shape[1:]
    t = two_sample_t(values, first[np.newaxis], floor=FLOOR).reshape(shape)
    permuted = (
        two_sample_t(values, shuffles[rows], floor=FLOOR).reshape(-1, *shape)
        for rows in row_blocks(len(shuffles), _n_at_once(t.size))
    )
    return t, permuted, len(data) - 2


def _by_signs(trials, unit, n_permutations, rng):
    """Flip the signs of the differences of recordings."""
    differences = []
    for number, (data, codes) in enumerate(zip(trials.data, trials.codes, strict=True)):
        means = [data[codes == code] for code in (0, 1)]
        for name, some in zip(trials.conditions, means, strict=True):
            if not len(some):
                raise ValueError(
                    f"recording {number} has no event of condition {name!r} with modeled data "
                    'around it; leave the recording out, or take unit="epoch"'
                )
        differences.append(means[0].mean(axis=0) - means[1].mean(axis=0))
    values, shape = np.reshape(differences, (len(differences), -1)), differences[0].shape
    signs = sign_flips(len(values), n_permutations, rng)
    t = one_sample_t(values, np.ones((1, len(values))), floor=FLOOR).reshape(shape)
    permuted = (
        one_sample_t(values, signs[rows], floor=FLOOR).reshape(-1, *shape)
        for rows in row_blocks(len(signs), _n_at_once(t.size))
    )
    return t, permuted, len(values) - 1


def _n_at_once(n_variables: int) -> int:
    """Get the number of permutations whose statistics fit into memory."""
    return max(AT_ONCE // n_variables, 1)


def _against_random_events(trials, unit, n_permutations, rng):
    """Draw other events from the same recordings."""
    if trials.states[0].timeline.epochs is not None:
        raise ValueError(
            "one condition is compared with random events, and what is around epochs is not known; "
            "give states of the recording and events, or name two conditions in event_id"
        )
    sources = [
        _Source.of(one, onsets, trials)
        for one, onsets in zip(trials.states, trials.onsets, strict=True)
        if len(onsets)
    ]
    n_observed = sum(len(one.onsets) for one in sources) if unit == "epoch" else len(sources)
    if n_observed < 2:
        raise ValueError(
            f"a test against random events needs at least two {unit}s with events, got {n_observed}"
        )

    def statistic(onsets):
        sums, squares = np.zeros((2, trials.data[0].shape[1], len(trials.times)))
        for source, some in zip(sources, onsets, strict=True):
            data = source.trials(some)
            if unit == "recording":
                data = data.mean(axis=0, keepdims=True)
            sums += data.sum(axis=0)
            squares += np.einsum("nkt,nkt->kt", data, data)
        return t_of_sums(sums, squares, n_observed, floor=FLOOR)

    permuted = (
        statistic([source.draw(rng) for source in sources])[np.newaxis]
        for _ in range(n_permutations)
    )
    return statistic([source.onsets for source in sources]), permuted, n_observed - 1


@dataclass(frozen=True, eq=False)
class _Source:
    """A recording to draw events from."""

    probabilities: np.ndarray
    onsets: np.ndarray
    free: FreeOnsets
    limits: tuple[int, int]
    baseline: slice | None

    @classmethod
    def of(cls, states, onsets, trials: Trials):
        """Take from a recording what is needed to draw events."""
        limits = (trials.first, trials.first + len(trials.times) - 1)
        # Without a baseline, what is tested is a difference from the mean.
        means = np.nanmean(states.probabilities, axis=1, keepdims=True)
        baseline = trials.baseline
        return cls(
            states.probabilities - means,
            onsets,
            FreeOnsets.of(states.spans, *limits),
            limits,
            None if baseline is None else baseline_slice(baseline, trials.times),
        )

    def trials(self, onsets):
        """Responses to events, less their baseline, shape (n_events, n_states, n_times)."""
        data = take_trials(self.probabilities, onsets, *self.limits)
        if self.baseline is not None:
            data -= data[..., self.baseline].mean(axis=-1, keepdims=True)
        return data

    def draw(self, rng):
        """Draw samples of random events, which overlap about as much as those observed."""
        closest, least = self._closeness(self.free.ranks(self.onsets))
        n_events = len(self.onsets)
        for _ in range(TRIES):
            # Draw among what is left if the gaps are taken out, and put them in again.
            places = rng.integers(0, self.free.edges[-1] - (n_events - 1) * least, n_events)
            ranks = np.sort(places) + least * np.arange(n_events)
            if self._closeness(ranks)[0] == closest:
                break
        return self.free.samples(ranks)

    def _closeness(self, ranks):
        """Smallest distance of events in quarters of a trial, up to 4, and that in samples.

        If random events overlapped more often or less often than those observed, their t
        statistics would vary more or less. Given the smallest distance, events at random
        are drawn from their own distribution.
        """
        length = self.limits[1] - self.limits[0] + 1
        quarters = min(4 * int(np.diff(np.sort(ranks)).min(initial=length)) // length, 4)
        return quarters, -(-quarters * length // 4)


# Clusters: runs of samples of one state


def _runs(t, threshold, tail):
    """Rows, starts, stops and masses of runs beyond the threshold, rows being all but time."""
    n_times = t.shape[-1]
    # A column of zeros keeps runs of one row from going on in the next.
    padded = np.zeros((t.size // n_times, n_times + 1))
    padded[:, :-1] = t.reshape(-1, n_times)
    flat = padded.ravel()
    beyond = np.zeros(len(flat), np.int8)
    if tail >= 0:
        beyond[flat > threshold] = 1
    if tail <= 0:
        beyond[flat < -threshold] = -1
    edges = np.flatnonzero(np.diff(beyond, prepend=0))
    # From one edge to the next beyond is the same; the last edge ends the last run.
    starts, stops = edges[:-1], edges[1:]
    sums = np.add.reduceat(flat, edges)[:-1] if len(edges) else np.empty(0)
    inside = beyond[starts] != 0
    rows, first = np.divmod(starts[inside], n_times + 1)
    return rows, first, first + (stops - starts)[inside], sums[inside]


def find_clusters(t: np.ndarray, threshold: float, tail: int) -> tuple[np.ndarray, ...]:
    """Find the clusters of a map of statistics.

    Shapes: ``t`` (n_states, n_times); returns ``states, starts, stops, masses``
    (n_clusters,).
    """
    return _runs(t, threshold, tail)


def largest_masses(t: np.ndarray, threshold: float, tail: int) -> np.ndarray:
    """Find the largest absolute mass of all clusters in each of many maps.

    Shapes: ``t`` (n_maps, n_states, n_times); returns ``masses`` (n_maps,).
    """
    rows, _, _, masses = _runs(t, threshold, tail)
    largest = folded(t, tail).max(axis=(1, 2)) / threshold - 1
    largest[largest > 0] = 0
    np.maximum.at(largest, rows // t.shape[1], np.abs(masses))
    return largest
