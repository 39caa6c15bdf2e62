"""Several fits of one model: which states recur, and how sure each sample's state is."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from mne.utils import verbose

from .._utils.checks import check_number, listed, plural
from .._utils.docs import fill_doc
from .._utils.mne_private import check_pandas
from .._utils.typing import RecordingLike, Verbose
from ..model.hmm import HMM
from ..model.inference import Options, predictions
from ..states.agreement import StateAgreement, compute_agreement
from ..states.time_course import StateTimeCourse, as_courses

if TYPE_CHECKING:
    import pandas as pd


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

    def to_data_frame(self) -> "pd.DataFrame":
        """Get the consensus as a table with one row per state.

        Returns
        -------
        df : pandas.DataFrame
            Columns ``state``, ``recurrence``, ``correlation`` (mean over the other fits),
            ``occupancy`` and ``certainty`` (mean over the samples in the state); needs pandas.
        """
        pandas = check_pandas()
        labels = np.concatenate([course.labels.ravel() for course in self.states])
        certainty = np.concatenate([values.ravel() for values in self.certainty])
        modeled = labels >= 0
        n_states = len(self.recurrence)
        counts = np.bincount(labels[modeled], minlength=n_states)
        sums = np.bincount(labels[modeled], weights=certainty[modeled], minlength=n_states)
        return pandas.DataFrame(
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

    def __str__(self) -> str:
        n_others = len(self.orders) - 1
        names = self.states[0].state_names
        width = max(map(len, (*names, "state")))
        rows = [
            f"{name:{width}s}  {int(n_fits):>6d} of {n_others}"
            for name, n_fits in zip(names, np.round(self.recurrence * n_others), strict=True)
        ]
        certainty = np.concatenate([values.ravel() for values in self.certainty])
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
    hmms: Sequence[HMM],
    inst: "RecordingLike | Sequence[RecordingLike]",
    *,
    min_correlation: float = 0.7,
    reject_by_annotation: bool = True,
    sfreq: float | None = None,
    group: Sequence[Hashable] | None = None,
    align_on: Any = None,
    n_jobs: int | None = None,
    verbose: Verbose = None,
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
    pairs = list(combinations(range(len(hmms)), 2))
    agreements = {(i, j): compute_agreement(courses[i], courses[j]) for i, j in pairs}
    kappa = np.eye(len(hmms))
    for (i, j), agreement in agreements.items():
        kappa[i, j] = kappa[j, i] = agreement.kappa
    # A pair of which nothing can be said does not decide.
    reference = int(np.nansum(kappa, axis=1).argmax())
    orders, correlation = _match_to(reference, agreements, len(hmms), hmms[0].n_states)
    merged = [
        _merge([of_fit[i_recording] for of_fit in courses], orders, reference)
        for i_recording in range(len(courses[0]))
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


def _match_to(
    reference: int,
    agreements: dict[tuple[int, int], StateAgreement],
    n_fits: int,
    n_states: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the states of each fit that belong to those of the reference, and how alike they are.

    Shapes: returns orders and correlations (n_fits, n_states).
    """
    orders = np.tile(np.arange(n_states), (n_fits, 1))
    correlation = np.ones((n_fits, n_states))
    for i in range(n_fits):
        if i > reference:
            agreement = agreements[reference, i]
            orders[i], correlation[i] = agreement.order, agreement.correlation
        elif i < reference:
            agreement = agreements[i, reference]
            orders[i, agreement.order] = np.arange(n_states)
            correlation[i, agreement.order] = agreement.correlation
    return orders, correlation


def _check_models(hmms: Any) -> list[HMM]:
    """Check that there are two models or more, of the same number of states."""
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


def _merge(
    courses: list[StateTimeCourse], orders: np.ndarray, reference: int
) -> tuple[StateTimeCourse, np.ndarray]:
    """Average the states of one recording over fits, and count those that agree.

    Shapes: ``orders`` (n_fits, n_states); returns certainty as labels are.
    """
    first = courses[reference]
    total = np.zeros(first.probabilities.shape)
    for states, order in zip(courses, orders, strict=True):
        total += np.take(states.probabilities, order, axis=-2)
    total /= len(courses)
    modeled = ~np.isnan(total).any(axis=-2)
    labels = np.where(modeled, np.nan_to_num(total).argmax(axis=-2), -1)
    votes = np.zeros(labels.shape)
    for states, order in zip(courses, orders, strict=True):
        in_reference = np.empty(len(order), int)  # each of this fit's states, by the reference
        in_reference[order] = np.arange(len(order))
        votes += in_reference[states.labels] == labels
    spans = _modeled_spans(modeled.ravel(), first.spans)
    states = StateTimeCourse(
        total, labels, first.timeline, spans, first.state_names, first.ch_names
    )
    return states, np.where(modeled, votes / len(courses), np.nan)


def _modeled_spans(modeled: np.ndarray, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Keep what all fits model of the spans of one of them."""
    out = []
    for start, stop in spans:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], modeled[start:stop], [0]])))
        out += [(start + int(a), start + int(b)) for a, b in edges.reshape(-1, 2)]
    return out
