"""Cluster permutation tests of what states do around events.

They are our own since those of MNE-Python can neither shuffle labels within recordings nor compare
with random events of the same recordings.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import mne
import numpy as np
from mne.utils import verbose
from scipy import stats

from .._utils.arrays import row_blocks
from .._utils.checks import check_number, check_option, check_random_state, listed, plural
from .._utils.docs import fill_doc
from .._utils.mne_private import check_pandas, warn
from .._utils.typing import RandomState, Verbose
from ..states.time_course import StateTimeCourse
from .clusters import find_clusters, largest_masses
from .permutation import label_shuffles, one_sample_t, p_values, sign_flips, two_sample_t
from .random_events import compare_with_random_events
from .trials import MIN_STD, Trials, cut_trials

# Numbers that statistics of permutations may take in memory at once.
MAX_BLOCK_SIZE = 4_000_000


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame


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

    def to_data_frame(self) -> "DataFrame":
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

    def plot(
        self, *, alpha: float = 0.05, axes: "Sequence[Axes] | None" = None, show: bool = True
    ) -> "Figure":
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

    def __str__(self) -> str:
        return (
            f"<StateClusterTest | {self.contrast}, {plural(len(self.p), 'cluster')} of "
            f"{plural(len(self.t), 'state')}, {int((self.p <= 0.05).sum())} with p ≤ 0.05, "
            f"smallest p {self.p_value:.4f} of {plural(len(self.null), 'permutation')}>"
        )

    __repr__ = __str__


@verbose
@fill_doc
def cluster_test_state_evoked(
    states: StateTimeCourse | Sequence[StateTimeCourse],
    events: np.ndarray | Sequence[np.ndarray] | None = None,
    event_id: dict[str, int] | None = None,
    *,
    tmin: float | None = None,
    tmax: float | None = None,
    baseline: tuple[float | None, float | None] | None = (None, 0),
    unit: str = "auto",
    threshold: float | None = None,
    n_permutations: int = 1000,
    tail: int = 0,
    random_state: RandomState = None,
    verbose: Verbose = None,
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
    by_signs = len(trials.conditions) == 2 and unit == "recording"
    if len(trials.conditions) == 1:
        contrast, permute = f"{trials.conditions[0]} - random events", compare_with_random_events
    else:
        contrast = " - ".join(trials.conditions)
        permute = _flip_signs if by_signs else _shuffle_labels
    t, permuted, n_free = permute(trials, unit, n_permutations, rng)
    if threshold is None:
        threshold = float(stats.t.isf(0.025 if tail == 0 else 0.05, n_free))
    clusters = find_clusters(t, threshold, tail)
    null = np.concatenate([largest_masses(block, threshold, tail) for block in permuted])
    _warn_of_few_permutations(null, tail, by_signs)
    return StateClusterTest(
        _means(trials, unit),
        contrast,
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


def _warn_of_few_permutations(null: np.ndarray, tail: int, by_signs: bool) -> None:
    """Warn where no p-value can be below 0.05."""
    # Flipping all signs gives the same in the other direction.
    smallest = (2 if by_signs and tail == 0 else 1) / (1 + len(null))
    if smallest > 0.05:
        warn(
            f"There are only {plural(len(null), 'permutation')}, so no p-value is below "
            f"{smallest:.3g}; take more, or give more recordings or events"
        )


def _means(trials: Trials, unit: str) -> dict[str, mne.EvokedArray]:
    """Mean response of each condition, over epochs or over recordings."""
    out = {}
    for code, name in enumerate(trials.conditions):
        by_recording = [
            data[codes == code] for data, codes in zip(trials.data, trials.codes, strict=True)
        ]
        if unit == "epoch":
            groups = [np.concatenate(by_recording)]
        else:
            groups = [data for data in by_recording if len(data)]
        data = np.mean([group.mean(axis=0) for group in groups], axis=0)
        out[name] = trials.evoked(data, name, sum(map(len, by_recording)))
    return out


# Permutations: each gives t as observed, blocks of t of permutations, and degrees of freedom


def _shuffle_labels(
    trials: Trials, unit: str, n_permutations: int, rng: np.random.Generator
) -> tuple[np.ndarray, Iterator[np.ndarray], int]:
    """Shuffle the labels of two conditions within recordings."""
    data, first = np.concatenate(trials.data), np.concatenate(trials.codes) == 0
    if len(data) < 4:
        raise ValueError(f"a test of two conditions needs at least four events, got {len(data)}")
    recordings = np.repeat(np.arange(len(trials.data)), [len(data) for data in trials.data])
    shuffles = label_shuffles(first, recordings, n_permutations, rng)
    if not len(shuffles):
        raise ValueError(
            "labels of conditions are shuffled within recordings, but none has both conditions; "
            "give recordings with both"
        )
    values, shape = data.reshape(len(data), -1), data.shape[1:]
    t = two_sample_t(values, first[np.newaxis], floor=MIN_STD).reshape(shape)
    permuted = (
        two_sample_t(values, shuffles[rows], floor=MIN_STD).reshape(-1, *shape)
        for rows in row_blocks(len(shuffles), _block_length(t.size))
    )
    return t, permuted, len(data) - 2


def _flip_signs(
    trials: Trials, unit: str, n_permutations: int, rng: np.random.Generator
) -> tuple[np.ndarray, Iterator[np.ndarray], int]:
    """Flip the signs of the differences of recordings."""
    differences = []
    for i_recording, (data, codes) in enumerate(zip(trials.data, trials.codes, strict=True)):
        first, second = (data[codes == code] for code in (0, 1))
        for name, of_condition in zip(trials.conditions, (first, second), strict=True):
            if not len(of_condition):
                raise ValueError(
                    f"recording {i_recording} has no event of condition {name!r} with modeled data "
                    'around it; leave the recording out, or take unit="epoch"'
                )
        differences.append(first.mean(axis=0) - second.mean(axis=0))
    values, shape = np.reshape(differences, (len(differences), -1)), differences[0].shape
    signs = sign_flips(len(values), n_permutations, rng)
    t = one_sample_t(values, np.ones((1, len(values))), floor=MIN_STD).reshape(shape)
    permuted = (
        one_sample_t(values, signs[rows], floor=MIN_STD).reshape(-1, *shape)
        for rows in row_blocks(len(signs), _block_length(t.size))
    )
    return t, permuted, len(values) - 1


def _block_length(n_variables: int) -> int:
    """Get the number of permutations whose statistics fit into memory."""
    return max(MAX_BLOCK_SIZE // n_variables, 1)
