"""The rule that chooses a number of states, and its reasons in words."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from .._utils.arrays import nanmean_of_rows
from .._utils.checks import listed, plural


@dataclass(frozen=True)
class Recommendation:
    """A number of states, and why.

    Made by :meth:`StateNumberSelection.recommend`.

    Parameters
    ----------
    n_states : int
        The number of states.
    rule : str
        The rule it was chosen by.
    reasons : tuple of str
        What speaks for it, and what should be known, in sentences.
    """

    n_states: int
    rule: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        reasons = (f"- {reason}" for reason in self.reasons)
        return "\n".join([f"{self.n_states} states", f"Rule: {self.rule}", *reasons])


class Evidence(Protocol):
    """What the rule needs to know; `StateNumberSelection` has it, and describes it."""

    @property
    def n_states(self) -> tuple[int, ...]:
        """Numbers of states, ascending."""

    @property
    def folds(self) -> str:
        """What the folds are, in words."""

    @property
    def free_energy(self) -> np.ndarray:
        """Free energy of repeats, shape (n_numbers, n_repeats)."""

    @property
    def held_out(self) -> np.ndarray:
        """Held-out log evidence, shape (n_numbers, n_folds)."""

    @property
    def repeats_agreement(self) -> np.ndarray:
        """Kappa of pairs of repeats, shape (n_numbers, n_pairs)."""

    @property
    def halves_agreement(self) -> np.ndarray:
        """Kappa of the two halves, shape (n_numbers,)."""

    @property
    def n_unsettled(self) -> np.ndarray:
        """Number of fits that had not converged, shape (n_numbers,)."""

    @property
    def min_occupancy(self) -> np.ndarray:
        """Occupancy of the weakest state, shape (n_numbers,)."""

    def below(self, best: int) -> tuple[np.ndarray, np.ndarray]:
        """Compute how much less held-out evidence each number has than a given one."""


class _Choice(NamedTuple):
    """What decides between numbers of states; arrays of shape (n_numbers,)."""

    agreement: np.ndarray
    """Mean agreement of repeats."""
    recurs: np.ndarray
    """Whether it is high enough, or not known."""
    is_on: np.ndarray
    """Whether all states are on for long enough."""
    difference: np.ndarray
    """How much less held-out evidence there is than with the best number."""
    error: np.ndarray
    """Standard error of that difference."""
    is_close: np.ndarray
    """Whether the number is eligible, and no worse than the best but for that error."""
    best: int
    """Index of the eligible number with most held-out evidence."""
    chosen: int
    """Index of the number that is recommended."""


def recommend(selection: Evidence, min_agreement: float, min_occupancy: float) -> Recommendation:
    """Choose a number of states, and say why."""
    choice = _choose(selection, min_agreement, min_occupancy)
    conditions = [f"all states are on for at least {100 * min_occupancy:g} % of the time"]
    if not np.isnan(choice.agreement).all():
        conditions.insert(0, f"repeats agree by a kappa of at least {min_agreement:g}")
    rule = (
        "the fewest states whose held-out log evidence lies within one standard error of the "
        f"best, among the numbers for which {' and '.join(conditions)}."
    )
    reasons = [
        *_reasons_of_rule(selection, choice),
        *_facts_of_states(selection, choice),
        *_reasons_against_others(selection, choice),
        *_limits_of_search(selection, choice),
    ]
    return Recommendation(selection.n_states[choice.chosen], rule, tuple(reasons))


def _choose(selection: Evidence, min_agreement: float, min_occupancy: float) -> _Choice:
    """Apply the rule; where no number meets the conditions, all of them are eligible."""
    agreement = nanmean_of_rows(selection.repeats_agreement)
    recurs = np.isnan(agreement) | (agreement >= min_agreement)
    is_on = selection.min_occupancy >= min_occupancy
    eligible = recurs & is_on
    if not eligible.any():
        eligible = np.ones(len(eligible), bool)
    evidence = selection.held_out.mean(axis=1)
    best = int(np.flatnonzero(eligible)[evidence[eligible].argmax()])
    difference, error = selection.below(best)
    is_close = eligible & (difference <= error)
    chosen = int(np.flatnonzero(is_close)[0])  # numbers ascend
    return _Choice(agreement, recurs, is_on, difference, error, is_close, best, chosen)


def _reasons_of_rule(selection: Evidence, choice: _Choice) -> list[str]:
    """Say by which evidence the number was chosen."""
    numbers, best, chosen = selection.n_states, choice.best, choice.chosen
    out = []
    if not (choice.recurs & choice.is_on).any():
        out.append(
            "No number meets the conditions, so they were left out of the choice: believe none of "
            "these models before more data or another preparation make states recur."
        )
    evidence = selection.held_out.mean(axis=1)[best]
    out.append(
        f"Held-out log evidence is highest with {numbers[best]} states: {evidence:.5f} nats per "
        f"sample, mean over {selection.folds}."
    )
    if chosen != best:
        out.append(
            f"With {numbers[chosen]} states it is lower by {choice.difference[chosen]:.2g}, within "
            f"the standard error of that difference ({choice.error[chosen]:.2g})."
        )
    return out


def _facts_of_states(selection: Evidence, choice: _Choice) -> list[str]:
    """Say what is known of the states themselves."""
    chosen, agreement = choice.chosen, choice.agreement
    out = []
    n_repeats = selection.free_energy.shape[1]
    if np.isnan(agreement[chosen]):
        out.append("Nothing is known of whether its states recur in repeats.")
    else:
        out.append(
            f"Its {plural(n_repeats, 'repeat')} agree by a kappa of {agreement[chosen]:.2f}, the "
            f"models of two halves of the data by {selection.halves_agreement[chosen]:.2f}."
        )
    out.append(
        f"Its weakest state is on for {100 * selection.min_occupancy[chosen]:.2g} % of the time."
    )
    if selection.n_unsettled[chosen]:
        out.append(
            f"{plural(int(selection.n_unsettled[chosen]), 'fit')} with this number had not "
            "settled; raise max_iter, or tol."
        )
    return out


def _reasons_against_others(selection: Evidence, choice: _Choice) -> list[str]:
    """Say why other numbers were not taken."""
    numbers, agreement = selection.n_states, choice.agreement

    def names(indices: list[int]) -> str:
        return listed((numbers[i] for i in indices), 20)

    out = []
    recurs, is_on = choice.recurs, choice.is_on
    fewer = [i for i in range(choice.chosen) if recurs[i] and is_on[i] and not choice.is_close[i]]
    if fewer:
        nearest = fewer[-1]
        out.append(
            f"Fewer states ({names(fewer)}) explain held-out data less well: {numbers[nearest]} by "
            f"{choice.difference[nearest]:.2g} nats per sample (standard error "
            f"{choice.error[nearest]:.2g})."
        )
    others = [i for i in range(len(numbers)) if i != choice.chosen]
    unstable = [i for i in others if not recurs[i]]
    if unstable:
        values = listed((f"{agreement[i]:.2f}" for i in unstable), 20)
        out.append(f"Repeats do not agree well enough with {names(unstable)} states ({values}).")
    rare = [i for i in others if not is_on[i]]
    if rare:
        values = listed((f"{100 * selection.min_occupancy[i]:.2g} %" for i in rare), 20)
        out.append(f"A state is hardly ever on with {names(rare)} states ({values}).")
    return out


def _limits_of_search(selection: Evidence, choice: _Choice) -> list[str]:
    """Say where the number is the smallest or the largest that was tried."""
    numbers, chosen = selection.n_states, choice.chosen
    n_states = numbers[chosen]
    if len(numbers) < 2 or chosen not in (0, len(numbers) - 1) or (chosen == 0 and n_states == 2):
        return []
    which, way = ("smallest", "smaller") if chosen == 0 else ("largest", "larger")
    return [f"{n_states} is the {which} number that was tried; try {way} ones too."]
