"""Several fits of one model: which states recur, and how sure each sample's state is."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mne.utils import verbose

from .._utils.checks import check_number, listed, plural
from .._utils.docs import fill_doc
from .._utils.mne_private import check_pandas
from ..model.hmm import HMM, Options, predictions
from ..states.agreement import compute_agreement
from ..states.time_course import StateTimeCourse, as_courses


@dataclass(frozen=True, eq=False)
class StateConsensus:
    """What several fits have in common.

    Made by :func:`compute_consensus`. States are those of the fit that agrees best with all
    others, the reference.

    Parameters
    ----------
    reference : int
        Number of the fit whose states the others are compared with.
    orders : array of int, shape (n_fits, n_states)
        State of each fit that belongs to each of the reference, so that
        ``hmms[i].reorder_states(orders[i])`` lines up.
    correlation : array, shape (n_fits, n_states)
        Correlation of the probabilities of these states with those of the reference. NaN
        where one of them never changes.
    agreement : array, shape (n_fits, n_fits)
        Share of samples alike, corrected for chance (Cohen's kappa), of each pair of fits.
    states : list of StateTimeCourse
        Probabilities averaged over all fits, per recording.
    certainty : list of array, shape (n_times,) | (n_epochs, n_times)
        Share of the fits that put each sample into its most probable state; NaN where the
        recording was not modeled.
    min_correlation : float
        Correlation from which on a state recurs.
    """

    reference: int
    orders: np.ndarray
    correlation: np.ndarray
    agreement: np.ndarray
    states: list[StateTimeCourse] = field(repr=False)
    certainty: list[np.ndarray] = field(repr=False)
    min_correlation: float

    @property
    def recurs(self) -> np.ndarray:
        """Which states recur in which fits, shape (n_fits, n_states)."""
        return self.correlation >= self.min_correlation

    @property
    def recurrence(self) -> np.ndarray:
        """Share of the other fits in which each state recurs, shape (n_states,)."""
        return np.delete(self.recurs, self.reference, axis=0).mean(axis=0)

    def to_data_frame(self):
        """Get the consensus as a table with one row per state.

        Returns
        -------
        df : pandas.DataFrame
            Columns ``state``, ``recurrence``, ``correlation`` (mean over the other fits),
            ``occupancy`` and ``certainty`` (mean over the samples in the state); needs pandas.
        """
        pd = check_pandas()
        labels = np.concatenate([one.labels.ravel() for one in self.states])
        certainty = np.concatenate([one.ravel() for one in self.certainty])
        known = labels >= 0
        n_states = len(self.recurrence)
        counts = np.bincount(labels[known], minlength=n_states)
        sums = np.bincount(labels[known], weights=certainty[known], minlength=n_states)
        return pd.DataFrame(
            {
                "state": list(self.states[0].state_names),
                "recurrence": self.recurrence,
                "correlation": np.delete(self.correlation, self.reference, axis=0).mean(axis=0),
                "occupancy": counts / counts.sum(),
                "certainty": np.divide(
                    sums, counts, out=np.full(n_states, np.nan), where=counts > 0
                ),
            }
        )

    def __str__(self):
        n_others = len(self.orders) - 1
        names = self.states[0].state_names
        width = max(map(len, (*names, "state")))
        rows = [
            f"{name:{width}s}  {int(found):>6d} of {n_others}"
            for name, found in zip(names, np.round(self.recurrence * n_others), strict=True)
        ]
        certainty = np.concatenate([one.ravel() for one in self.certainty])
        kappa = self.agreement[np.triu_indices(n_others + 1, 1)]
        text = (
            f"Consensus of {n_others + 1} fits (kappa {kappa.mean():.3f}, {kappa.min():.3f} to "
            f"{kappa.max():.3f}); on average {100 * np.nanmean(certainty):.1f} % of them agree on "
            "the state of a sample"
        )
        return "\n".join([text, f"{'state':{width}s}  recurs in", *rows])

    __repr__ = __str__


@verbose
@fill_doc
def compute_consensus(
    hmms: Any,
    inst: Any,
    *,
    min_correlation: float = 0.7,
    reject_by_annotation: bool = True,
    sfreq: float | None = None,
    group: Sequence[Hashable] | None = None,
    align_on: Any = None,
    n_jobs: int | None = None,
    verbose: Any = None,
) -> StateConsensus:
    """Find what several fits have in common.

    Parameters
    ----------
    hmms : list of HMM
        Two models or more with the same number of states: fits with other seeds, on other
        recordings or with other settings.
    %(inst)s
    min_correlation : float
        Correlation of its probabilities with those of its partner from which on a state counts
        as the same. With 0.7 they share half of their variance.
    %(reject_by_annotation)s
    %(sfreq)s
    %(group)s
    %(align_on)s
    %(n_jobs)s
    %(verbose)s

    Returns
    -------
    consensus : StateConsensus
        Which states recur in which fits, and the states of the recordings by all of them.

    Raises
    ------
    TypeError
        If ``hmms`` are not models.
    ValueError
        If there are fewer than two of them, or they differ in the number of states.

    See Also
    --------
    HMM.agreement : Compares two models.
    """
    hmms = _check_models(hmms)
    rule = "a correlation from 0 to 1"
    min_correlation = check_number(min_correlation, "min_correlation", rule=rule, low=0, high=1)
    options = Options(reject_by_annotation, sfreq, n_jobs, group, align_on)
    courses = [as_courses(states) for states in predictions(hmms, inst, options)]
    n_fits = len(hmms)
    kappa = np.eye(n_fits)
    agreements = {}
    for i in range(n_fits):
        for j in range(i):
            agreements[j, i] = compute_agreement(courses[j], courses[i])
            kappa[i, j] = kappa[j, i] = agreements[j, i].kappa
    # A pair of which nothing can be said does not decide.
    reference = int(np.nansum(kappa, axis=1).argmax())
    n_states = hmms[0].n_states
    orders = np.tile(np.arange(n_states), (n_fits, 1))
    correlation = np.ones((n_fits, n_states))
    for i in range(n_fits):
        if i > reference:
            found = agreements[reference, i]
            orders[i], correlation[i] = found.order, found.correlation
        elif i < reference:
            found = agreements[i, reference]
            orders[i, found.order] = np.arange(n_states)
            correlation[i, found.order] = found.correlation
    merged = [
        _merged([of_fit[number] for of_fit in courses], orders, reference)
        for number in range(len(courses[0]))
    ]
    return StateConsensus(
        reference,
        orders,
        correlation,
        kappa,
        [states for states, _ in merged],
        [certainty for _, certainty in merged],
        min_correlation,
    )


def _check_models(hmms):
    if not isinstance(hmms, (list, tuple)) or not all(isinstance(hmm, HMM) for hmm in hmms):
        kinds = (
            sorted({type(hmm).__name__ for hmm in hmms})
            if isinstance(hmms, (list, tuple))
            else [type(hmms).__name__]
        )
        raise TypeError(f"hmms must be a list of models, as fit_hmm gives, got {listed(kinds)}")
    if len(hmms) < 2:
        raise ValueError(f"hmms must be two models or more, got {plural(len(hmms), 'model')}")
    numbers = [hmm.n_states for hmm in hmms]
    if len(set(numbers)) > 1:
        raise ValueError(
            f"hmms must have the same number of states, got {listed(numbers, 12)}; compare two of "
            "different numbers with hmm.agreement(other, inst)"
        )
    return list(hmms)


def _merged(courses, orders, reference):
    """Average the states of one recording over fits, and count those that agree."""
    first = courses[reference]
    total = np.zeros(first.probabilities.shape)
    for states, order in zip(courses, orders, strict=True):
        total += np.take(states.probabilities, order, axis=-2)
    total /= len(courses)
    known = ~np.isnan(total).any(axis=-2)
    labels = np.where(known, np.nan_to_num(total).argmax(axis=-2), -1)
    votes = np.zeros(labels.shape)
    for states, order in zip(courses, orders, strict=True):
        number = np.empty(len(order), int)
        number[order] = np.arange(len(order))  # of the reference, by this fit's own numbers
        votes += number[states.labels] == labels
    spans = _runs(known.ravel(), first.spans)
    states = StateTimeCourse(
        total, labels, first.timeline, spans, first.state_names, first.ch_names
    )
    return states, np.where(known, votes / len(courses), np.nan)


def _runs(known, spans):
    """Keep what all fits model of the spans of one of them."""
    out = []
    for start, stop in spans:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], known[start:stop], [0]])))
        out += [(start + int(a), start + int(b)) for a, b in edges.reshape(-1, 2)]
    return out
