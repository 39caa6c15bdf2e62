"""How much the states of two models have in common."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .._utils.mne_private import check_pandas
from .matching import best_match, common_samples, correlations, same_recordings
from .time_course import StateTimeCourse, as_courses

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class StateAgreement:
    """How much the states of two models have in common.

    Made by :meth:`HMM.agreement` and `compute_agreement`. Samples count that both models model.

    Parameters
    ----------
    state_names : tuple of str
        Names of the states.
    other_names : tuple of str
        Names of the states of the other model.
    order : array of int, shape (n_states,)
        State of the other model that belongs to each; -1 where none does, as the other has fewer.
    correlation : array, shape (n_states,)
        Correlation of the probabilities of each state with those of its partner; NaN without a
        partner, and where one of them never changes.
    overlap : array, shape (n_states, n_other)
        Share of all samples that are in a state of this model and one of the other.
    kappa : float
        Share of samples alike corrected for chance (Cohen's kappa); NaN if each model is in one
        state all the time.
    adjusted_rand : float
        Rand index corrected for chance: pairs of samples that both models put into one state, or
        into two. It needs no match of the states. NaN as ``kappa``.
    """

    state_names: tuple[str, ...]
    other_names: tuple[str, ...]
    order: np.ndarray
    correlation: np.ndarray
    overlap: np.ndarray = field(repr=False)
    kappa: float
    adjusted_rand: float

    @property
    def share_alike(self) -> float:
        """Share of samples whose states belong to each other."""
        return float(aligned(self.overlap, self.order).trace())

    @property
    def occupancy(self) -> np.ndarray:
        """Share of the samples in each state."""
        return self.overlap.sum(axis=1)

    @property
    def other_occupancy(self) -> np.ndarray:
        """Share of the samples in the partner of each state; NaN without a partner."""
        return np.where(self.order >= 0, self.overlap.sum(axis=0)[self.order], np.nan)

    def to_data_frame(self) -> "DataFrame":
        """Get the agreement as a table with one row per state.

        Returns
        -------
        df : pandas.DataFrame
            Columns ``state``, ``other`` (its partner), ``correlation``, ``occupancy``,
            ``other_occupancy`` and ``difference`` of the two; needs pandas.
        """
        pd = check_pandas()
        return pd.DataFrame(
            {
                "state": list(self.state_names),
                "other": self._partners(None),
                "correlation": self.correlation,
                "occupancy": self.occupancy,
                "other_occupancy": self.other_occupancy,
                "difference": self.occupancy - self.other_occupancy,
            }
        )

    def _partners(self, nobody: str | None) -> list[str | None]:
        """Names of the partners, ``nobody`` where there is none."""
        return [nobody if k < 0 else self.other_names[k] for k in self.order]

    def __str__(self) -> str:
        partners = list(map(str, self._partners("none")))
        width = max(map(len, (*self.state_names, "state")))
        other_width = max(map(len, (*partners, "other")))
        rows = [
            f"{name:{width}s}  {partner:{other_width}s}  {r:11.3f}  {mine:9.3f}  {theirs:15.3f}"
            for name, partner, r, mine, theirs in zip(
                self.state_names,
                partners,
                self.correlation,
                self.occupancy,
                self.other_occupancy,
                strict=True,
            )
        ]
        head = (
            f"{'state':{width}s}  {'other':{other_width}s}  correlation  occupancy  other occupancy"
        )
        alike = (
            f"{100 * self.share_alike:.1f} % of samples alike (kappa {self.kappa:.3f}, adjusted "
            f"Rand index {self.adjusted_rand:.3f})"
        )
        return "\n".join([alike, head, *rows])

    __repr__ = __str__


def compute_agreement(
    states: StateTimeCourse | Sequence[StateTimeCourse],
    other: StateTimeCourse | Sequence[StateTimeCourse],
) -> StateAgreement:
    """Compute how much two state time courses have in common.

    Parameters
    ----------
    states : StateTimeCourse | list of StateTimeCourse
        States of one recording or several.
    other : StateTimeCourse | list of StateTimeCourse
        States of the same recordings by another model, or the truth of a simulation.

    Returns
    -------
    agreement : StateAgreement
        How much they have in common, over all recordings together.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If the two are not of the same recordings, or have no sample in common.

    See Also
    --------
    HMM.agreement : The same of two models.

    Notes
    -----
    States are matched by the correlation of their probabilities: of all one-to-one matches the
    one with the largest sum is taken. Kappa :footcite:`Cohen1960` counts samples whose states
    belong to each other. It is 0 for chance, as the adjusted Rand index
    :footcite:`HubertArabie1985`, and 1 where all are alike.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> import mne_hmm
    >>> _, states = mne_hmm.simulate_raw(n_states=3, n_channels=4, duration=10., random_state=0)
    >>> mne_hmm.compute_agreement(states, states).share_alike
    1.0
    """
    courses, other_courses = as_courses(states), as_courses(other)
    pairs = [common_samples(a, b) for a, b in same_recordings(courses, other_courses)]
    values = correlations([(a.probabilities, b.probabilities) for a, b in pairs])
    counts = np.sum([cross_table(a.labels, b.labels, *values.shape) for a, b in pairs], axis=0)
    order = best_match(values)
    partner = np.where(order >= 0, np.take_along_axis(values, order[:, None], 1)[:, 0], np.nan)
    return StateAgreement(
        courses[0].state_names,
        other_courses[0].state_names,
        order,
        partner,
        counts / counts.sum(),
        cohen_kappa(aligned(counts, order)),
        adjusted_rand_index(counts),
    )


def cross_table(first: np.ndarray, second: np.ndarray, n_first: int, n_second: int) -> np.ndarray:
    """Count the samples in each pair of states, shape (n_first, n_second)."""
    codes = np.asarray(first, np.int64) * n_second + second
    return np.bincount(codes, minlength=n_first * n_second).reshape(n_first, n_second).astype(float)


def aligned(table: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Put partners on the diagonal of a table, shape (n_first, n_second), and make it square."""
    n_first, n_second = table.shape
    unmatched = np.setdiff1d(np.arange(n_second), order)
    out = np.zeros((n_first + len(unmatched), n_first + len(unmatched)))
    matched = order >= 0
    out[:n_first, :n_first][:, matched] = table[:, order[matched]]
    out[:n_first, n_first:] = table[:, unmatched]
    return out


def cohen_kappa(table: np.ndarray) -> float:
    """Share of samples on the diagonal corrected for chance; NaN where that is certain."""
    shares = table / table.sum()
    by_chance = float(shares.sum(0) @ shares.sum(1))
    if by_chance >= 1:
        return np.nan
    return (float(shares.trace()) - by_chance) / (1 - by_chance)


def adjusted_rand_index(table: np.ndarray) -> float:
    """Rand index corrected for chance; NaN where both have one state only."""

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1) / 2).sum())

    together, rows, columns = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    by_chance = rows * columns / pairs(table.sum())
    largest = (rows + columns) / 2
    return np.nan if largest == by_chance else (together - by_chance) / (largest - by_chance)
