"""Asymmetry of transitions: what comes between two visits to a state first, and what last."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from mne.utils import copy_function_doc_to_method_doc

from .._utils.checks import check_number, check_option, check_random_state, plural
from .._utils.mne_private import check_pandas
from .._utils.typing import RandomState
from ..states.time_course import StateTimeCourse, as_courses
from ..states.visits import Visits
from ..viz import plot_tinda
from .tinda_order import angles_of, best_sequences, cycle_weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class CycleTest:
    """Whether the states of many recordings follow one and the same cycle.

    Made by :meth:`Tinda.test`.

    Parameters
    ----------
    strength : float
        Cycle strength, the mean over recordings.
    p_value : float
        Share of all orderings of labels, the given one among them, with a cycle at least as strong.
    null_strengths : array, shape (n_permutations,)
        Cycle strengths with permuted labels.
    """

    strength: float
    p_value: float
    null_strengths: np.ndarray = field(repr=False)

    def __str__(self) -> str:
        return (
            f"<CycleTest | strength {self.strength:.3f}, p = {self.p_value:.3g}, "
            f"{plural(len(self.null_strengths), 'permutation')}>"
        )

    __repr__ = __str__


@dataclass(frozen=True, eq=False)
class Tinda:
    """What comes first and what last between two visits to a state, and the cycle of all states.

    Made by :func:`compute_tinda`.

    Parameters
    ----------
    occupancy_density : array, shape (n_states, n_states, 2, n_recordings)
        Entry ``[i, j, half]`` is the share of the time in state ``j`` during the first and the
        second halves of the intervals between visits to state ``i``. NaN for ``i = j`` and where
        a recording has no such interval.
    asymmetry : array, shape (n_states, n_states, n_recordings)
        The first half less the second: positive where state ``j`` tends to follow state ``i``,
        negative where it tends to precede it.
    n_intervals : array of int, shape (n_states, n_recordings)
        Number of intervals between visits to each state.
    sequence : array of int, shape (n_states,)
        The states in the order in which they follow each other around the strongest cycle, from
        state 0 on.
    cycle_strength : array, shape (n_recordings,)
        How strongly each recording follows this cycle, as a share of what is possible: from -1,
        which is the same cycle backwards, to 1. NaN where nothing is known.
    absolute_cycle_strength : array, shape (n_recordings,)
        The same before it is divided by what is possible: the sum of asymmetries, each times the
        sine of the angle between its states on the circle.
    state_names : tuple of str
        Names of the states.
    """

    occupancy_density: np.ndarray = field(repr=False)
    asymmetry: np.ndarray = field(repr=False)
    n_intervals: np.ndarray = field(repr=False)
    sequence: np.ndarray = field(repr=False)
    cycle_strength: np.ndarray = field(repr=False)
    absolute_cycle_strength: np.ndarray = field(repr=False)
    state_names: tuple[str, ...]

    @property
    def n_states(self) -> int:
        """Number of states."""
        return len(self.state_names)

    @property
    def n_recordings(self) -> int:
        """Number of recordings."""
        return self.asymmetry.shape[-1]

    @property
    def angles(self) -> np.ndarray:
        """Angle of each state on the circle in radians, shape (n_states,).

        State 0 is at the top, and the sequence runs clockwise. As usual, angles count from the
        right, counter-clockwise.
        """
        return angles_of(self.sequence)

    @property
    def mean_asymmetry(self) -> np.ndarray:
        """Mean of the asymmetry over recordings, shape (n_states, n_states).

        As in the strength of a cycle, a pair of states of which a recording says nothing has no
        asymmetry there. NaN on the diagonal.
        """
        mean = _or_zero(self.asymmetry)[..., _informative(self.asymmetry)].mean(-1)
        np.fill_diagonal(mean, np.nan)
        return mean

    def test(self, n_permutations: int = 1000, random_state: RandomState = None) -> CycleTest:
        """Test whether recordings have a cycle in common.

        Parameters
        ----------
        n_permutations : int
            How often labels are permuted.
        random_state : int | numpy.random.Generator | None
            Seed.

        Returns
        -------
        test : CycleTest
            The p-value, and cycle strengths with permuted labels.

        Raises
        ------
        ValueError
            If fewer than two recordings have intervals.

        Notes
        -----
        The labels of the states are permuted in each recording by itself, and the best sequence
        is found anew each time :footcite:`VanEsEtAl2025`. This keeps all that a recording has of
        its own, but not what recordings share. One recording alone says nothing here, since a
        cycle is as strong under any names. Pieces of one, say ``[states_of_run_1,
        states_of_run_2]``, do.

        References
        ----------
        .. footbibliography::
        """
        n_permutations = check_number(
            n_permutations, "n_permutations", rule="a whole number ≥ 1", low=1, integer=True
        )
        rng = check_random_state(random_state)
        asymmetry = _or_zero(self.asymmetry)[..., _informative(self.asymmetry)]
        n_states, n_recordings = self.n_states, asymmetry.shape[-1]
        if n_recordings < 2:
            raise ValueError(
                "a test needs two recordings or more with intervals between visits, got "
                f"{n_recordings}: labels are permuted in each; give compute_tinda a list of "
                "recordings, or of parts of one"
            )
        group = np.zeros((n_permutations, n_states, n_states))
        for recording in np.moveaxis(asymmetry, -1, 0):
            labels = rng.permuted(np.tile(np.arange(n_states), (n_permutations, 1)), axis=1)
            group += recording[labels[:, :, None], labels[:, None]] / n_recordings
        possible = np.abs(cycle_weights(self.sequence)).sum()
        null = best_sequences(group)[1] / possible
        strength = float(np.nanmean(self.cycle_strength))
        # Permutations may give back the same cycle, but for rounding.
        n_as_strong = int(np.sum(null >= strength - 1e-12))
        return CycleTest(strength, (1 + n_as_strong) / (1 + n_permutations), null)

    def to_data_frame(self) -> "DataFrame":
        """Get densities and asymmetries as a table.

        Returns
        -------
        df : pandas.DataFrame
            One row per recording and ordered pair of states: ``recording``, ``interval_state``
            (between whose visits), ``state`` (which is on), ``first_half`` and ``second_half``
            (shares of the time) and ``asymmetry``; needs pandas.
        """
        pd = check_pandas()
        first, second = np.nonzero(~np.eye(self.n_states, dtype=bool))
        names = np.array(self.state_names, object)

        def flat(values: np.ndarray) -> np.ndarray:
            return values[first, second].T.ravel()

        return pd.DataFrame(
            {
                "recording": np.repeat(np.arange(self.n_recordings), len(first)),
                "interval_state": np.tile(names[first], self.n_recordings),
                "state": np.tile(names[second], self.n_recordings),
                "first_half": flat(self.occupancy_density[:, :, 0]),
                "second_half": flat(self.occupancy_density[:, :, 1]),
                "asymmetry": flat(self.asymmetry),
            }
        )

    @copy_function_doc_to_method_doc(plot_tinda)
    def plot(self, *, axes: "Axes | None" = None, show: bool = True) -> "Figure":
        return plot_tinda(self, axes=axes, show=show)

    def __str__(self) -> str:
        order = " → ".join(self.state_names[state] for state in self.sequence)
        mean = np.nanmean(self.cycle_strength)
        return (
            f"<Tinda | {plural(self.n_states, 'state')}, "
            f"{plural(self.n_recordings, 'recording')}, cycle strength {mean:.3f}: {order}>"
        )

    __repr__ = __str__


def compute_tinda(
    states: StateTimeCourse | Sequence[StateTimeCourse], *, weighting: str = "samples"
) -> Tinda:
    """Compute the asymmetry of transitions between states, and their cycle.

    Temporal interval network density analysis (TINDA) :footcite:`VanEsEtAl2025` takes the intervals
    between two visits to a state and asks of each other state whether it is on in their first or
    their second half: whether it follows the state or precedes it, be it over many states.

    Parameters
    ----------
    states : StateTimeCourse | list of StateTimeCourse
        The states of one recording, or of several found by one model.
    weighting : "samples" | "intervals"
        Whether shares of time are those of all intervals laid end to end, in which long ones weigh
        more (default), or the mean of the shares in each interval.

    Returns
    -------
    tinda : Tinda
        Densities and asymmetries for each recording, the sequence of states that goes best with the
        mean of the asymmetry, and its strength.

    Raises
    ------
    ValueError
        If there are fewer than three states, other states in one recording than in another, or no
        intervals.

    Notes
    -----
    Only intervals between two visits in one modeled span count, and only those of two samples or
    more. The middle sample of an odd interval is in both halves.

    Numbers are those of osl-dynamics. Its sequence is listed counter-clockwise while the states
    follow each other clockwise, so from state 0 on it is ours backwards.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> import mne_hmm
    >>> raw, states = mne_hmm.simulate_raw(4, n_channels=4, duration=60., random_state=0)
    >>> tinda = mne_hmm.compute_tinda(states)
    >>> tinda.asymmetry.shape
    (4, 4, 1)
    """
    check_option(weighting, "weighting", ("samples", "intervals"))
    courses = as_courses(states)
    n_states = courses[0].n_states
    if n_states < 3:
        raise ValueError(
            f"a cycle needs three states or more, got {n_states}; use a model with more states"
        )
    densities, counts = zip(
        *(
            interval_densities(course.labels.ravel(), course.visits, n_states, weighting)
            for course in courses
        ),
        strict=True,
    )
    density, n_intervals = np.stack(densities, axis=-1), np.stack(counts, axis=-1)
    asymmetry = density[:, :, 0] - density[:, :, 1]
    informative = _informative(asymmetry)
    if not informative.any():
        raise ValueError(
            "states: none is visited twice in one span with two samples or more in between, so "
            "there are no intervals; use longer recordings"
        )
    filled = _or_zero(asymmetry)
    sequence = best_sequences(filled[..., informative].mean(-1)[np.newaxis])[0][0]
    weights = cycle_weights(sequence)
    absolute = np.where(informative, np.einsum("ij,ijr->r", weights, filled), np.nan)
    relative = absolute / np.abs(weights).sum()
    names = courses[0].state_names
    return Tinda(density, asymmetry, n_intervals, sequence, relative, absolute, names)


def interval_densities(
    labels: np.ndarray, visits: Visits, n_states: int, weighting: str = "samples"
) -> tuple[np.ndarray, np.ndarray]:
    """Compute how long states are on in the two halves of intervals.

    Shapes: ``labels`` (n_times,); returns ``density`` (n_states, n_states, 2),
    ``n_intervals`` (n_states,).
    """
    limits = []
    for state in range(n_states):
        to_state = np.flatnonzero(visits.states == state)
        before, after = to_state[:-1], to_state[1:]
        starts, stops = visits.stops[before], visits.starts[after]
        kept = (visits.spans[before] == visits.spans[after]) & (stops - starts >= 2)
        starts, stops = starts[kept], stops[kept]
        halves = (stops - starts + 1) // 2
        limits.append(((starts, starts + halves), (stops - halves, stops), halves))
    n_intervals = np.array([len(halves) for *_, halves in limits])
    density = np.full((n_states, n_states, 2), np.nan)
    for other in range(n_states):
        # Samples of this state before each sample: those of any interval are the difference of two.
        until = np.concatenate([[0], np.cumsum(labels == other)])
        for state in range(n_states):
            if state == other or not n_intervals[state]:
                continue
            *pair, halves = limits[state]
            for half, (starts, stops) in enumerate(pair):
                counts = until[stops] - until[starts]
                density[state, other, half] = (
                    counts.sum() / halves.sum()
                    if weighting == "samples"
                    else np.mean(counts / halves)
                )
    return density, n_intervals


def _or_zero(asymmetry: np.ndarray) -> np.ndarray:
    """Asymmetries, 0 where they are not known."""
    return np.nan_to_num(asymmetry, nan=0.0)


def _informative(asymmetry: np.ndarray) -> np.ndarray:
    """Which recordings have any asymmetry that is known, shape (n_recordings,)."""
    return ~np.isnan(asymmetry).all(axis=(0, 1))
