"""The rule that chooses a number of states, and its reasons in words."""

from dataclasses import dataclass
from typing import Any

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

    def __str__(self):
        return "\n".join(
            [f"{self.n_states} states", f"Rule: {self.rule}", *(f"- {one}" for one in self.reasons)]
        )


def recommend(selection: Any, min_agreement: float, min_occupancy: float) -> Recommendation:
    """Choose a number of states, and say why."""
    numbers, weakest = selection.n_states, selection.min_occupancy
    agreement = nanmean_of_rows(selection.repeats_agreement)
    recur = np.isnan(agreement) | (agreement >= min_agreement)
    on = weakest >= min_occupancy
    eligible = recur & on
    conditions = [f"all states are on for at least {100 * min_occupancy:g} % of the time"]
    if not np.isnan(agreement).all():
        conditions.insert(0, f"repeats agree by a kappa of at least {min_agreement:g}")
    among = f"among the numbers for which {' and '.join(conditions)}"
    rule = (
        "the fewest states whose held-out log evidence lies within one standard error of the "
        f"best, {among}."
    )
    reasons = []
    if not eligible.any():
        reasons.append(
            "No number meets the conditions, so they were left out of the choice: believe none of "
            "these models before more data or another preparation make states recur."
        )
        eligible = np.ones(len(numbers), bool)
    mean = selection.held_out.mean(axis=1)
    best = int(np.flatnonzero(eligible)[mean[eligible].argmax()])
    difference, error = selection.below(best)
    close = eligible & (difference <= error)
    chosen = int(np.flatnonzero(close)[0])  # numbers ascend
    k = numbers[chosen]
    reasons.append(
        f"Held-out log evidence is highest with {numbers[best]} states: {mean[best]:.5f} nats per "
        f"sample, mean over {selection.folds}."
    )
    if chosen != best:
        reasons.append(
            f"With {k} states it is lower by {difference[chosen]:.2g}, within the standard error "
            f"of that difference ({error[chosen]:.2g})."
        )
    reasons += _facts_of(selection, chosen, agreement)
    reasons += _passed_over(selection, chosen, best, agreement, recur, on, close)
    if len(numbers) > 1 and chosen in (0, len(numbers) - 1):
        which, way = ("smallest", "smaller") if chosen == 0 else ("largest", "larger")
        if not (chosen == 0 and k == 2):
            reasons.append(f"{k} is the {which} number that was tried; try {way} ones too.")
    return Recommendation(k, rule, tuple(reasons))


def _facts_of(selection, chosen, agreement):
    """Say what is known of the states themselves."""
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


def _passed_over(selection, chosen, best, agreement, recur, on, close):
    """Say why others were not taken."""
    numbers = selection.n_states

    def names(places):
        return listed((numbers[i] for i in places), 20)

    out = []
    fewer = [i for i in range(chosen) if recur[i] and on[i] and not close[i]]
    if fewer:
        difference, error = selection.below(best)
        nearest = fewer[-1]
        out.append(
            f"Fewer states ({names(fewer)}) explain held-out data less well: {numbers[nearest]} by "
            f"{difference[nearest]:.2g} nats per sample (standard error {error[nearest]:.2g})."
        )
    others = [i for i in range(len(numbers)) if i != chosen]
    unstable = [i for i in others if not recur[i]]
    if unstable:
        values = listed((f"{agreement[i]:.2f}" for i in unstable), 20)
        out.append(f"Repeats do not agree well enough with {names(unstable)} states ({values}).")
    rare = [i for i in others if not on[i]]
    if rare:
        values = listed((f"{100 * selection.min_occupancy[i]:.2g} %" for i in rare), 20)
        out.append(f"A state is hardly ever on with {names(rare)} states ({values}).")
    return out
