"""Out of local optima of a mixture of states, on windows of the data.

EM from one start ends in one of many local optima, mostly because two of its states share
what should be one, and one state holds what should be two. Moves that split a state and merge
two lead out of them (Ueda et al., 2000, *Neural Computation* 12(9), 2109-2128). The moves that
promise most are updated a few times, all together, and the best of them until they have settled.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..inference.gaussian import Parameters
from .em import update_emissions
from .initialization import pooled_parameters
from .prior import NO_PRIOR, Prior
from .window_mixtures import Mixture, MixtureEM
from .window_moves import merged_totals, propose
from .window_sums import WindowSums

# Moves that are left after each of their first updates. What is gained at once says little: in many
# a move first one state finds its place and then another, and the best of all was seldom among the
# first ten before its fifth update.
N_LEFT = (60, 60, 60, 60, 20, 20, 8, 8, 8, 4)
# Nats per sample that an update must gain while there are more states than there should be, how
# many ways to merge two of them are tried, and for how many updates.
MIN_DECREASE_OF_MORE, N_WAYS_DOWN, N_UPDATES_DOWN = 1e-3, 4, 3
# Rounds of moves, at most.
MAX_ROUNDS = 30


class Round(NamedTuple):
    """A round of moves."""

    moves: list[dict[str, Any]]
    """Those that were followed until they had settled: what they were, the free energy they came
    to, and whether they were made."""
    best: Mixture | None
    """Where the move that was made leads to; None if none gained anything."""


@dataclass
class WindowSearch:
    """Finds the best mixture of states for windows of the data.

    Parameters
    ----------
    windows : WindowSums
        The windows.
    n_states : int
        Number of states.
    min_gain : float
        Nats per sample that a move must gain.
    prior : Prior
        Prior of the states' densities.
    after_round : callable | None
        Called with a mixture and the seconds that it took, when it has settled and after every
        move that is made.
    """

    windows: WindowSums
    n_states: int
    min_gain: float
    prior: Prior = NO_PRIOR
    after_round: Callable[[Mixture, float], None] | None = None

    @cached_property
    def em(self) -> MixtureEM:
        """What updates mixtures, and counts what that costs."""
        return MixtureEM(self.windows, self.prior)

    def settle(self, labels: np.ndarray) -> Mixture:
        """Begin with windows assigned to states, and update until next to nothing is gained.

        If these are more states than there should be, they are merged one by one.
        """
        began = time.perf_counter()
        n_states = max(int(labels.max()) + 1, self.n_states)
        weights = np.equal(labels, np.arange(n_states)[:, None])
        totals = self.em.without_small(self.windows.totals(weights))
        while len(totals) > self.n_states:
            (more,) = self.em.follow(totals[None], least=MIN_DECREASE_OF_MORE)
            totals = self._one_less(more.totals)
        (mixture,) = self.em.follow(totals[None])
        self._tell(mixture, began)
        return mixture

    def _one_less(self, totals: np.ndarray) -> np.ndarray:
        """Merge two states in the best of a few ways."""
        single = self.em.losses(totals)
        first, second = np.triu_indices(len(totals), 1)
        costs = self.em.losses(totals[first] + totals[second]) - single[first] - single[second]
        cheapest = np.argsort(costs, kind="stable")[:N_WAYS_DOWN]
        ways = np.array([merged_totals(totals, first[way], second[way]) for way in cheapest])
        for _ in range(N_UPDATES_DOWN):
            ways, free_energy, _ = self.em.update(ways)
        return ways[np.argmin(free_energy)]

    def go_on(self, mixture: Mixture) -> Mixture:
        """Begin with a mixture for other windows, and update until next to nothing is gained."""
        return self.em.follow(mixture.totals[None])[0]

    def parameters(self, mixture: Mixture) -> Parameters:
        """Get the states of a mixture as those of a model that knows nothing of time yet.

        States that were left without samples are as the pooled data are, and each a little as a
        stretch of them, for states that are the same remain so.
        """
        like = pooled_parameters(self.n_states, self.windows.n_features)
        totals = mixture.totals.copy()
        empty = np.flatnonzero(totals[:, 0] == 0)
        if len(empty):
            n_windows = len(self.windows.values)
            stretch = np.arange(n_windows) * len(empty) // n_windows
            all_windows = self.windows.totals(np.ones((1, n_windows)))
            of_stretch = self.windows.totals(np.equal(stretch, np.arange(len(empty))[:, None]))
            totals[empty] = all_windows + of_stretch
        moments = self.windows.moments(totals)
        return update_emissions(like, moments, self.windows.rule, self.prior)

    def improve(
        self, mixture: Mixture, rng: np.random.Generator, *, known: float = -np.inf
    ) -> tuple[Mixture, list[dict[str, Any]]]:
        """Make moves as long as they gain anything, or until a known free energy is met."""
        moves: list[dict[str, Any]] = []
        for i_round, child in enumerate(rng.spawn(MAX_ROUNDS), 1):
            if abs(mixture.free_energy - known) < self.min_gain:
                break
            began = time.perf_counter()
            tried, best = self.make_move(mixture, child)
            moves += [{"round": i_round} | move for move in tried]
            if best is None:
                break
            mixture = best
            self._tell(mixture, began)
        return mixture, moves

    def make_move(self, mixture: Mixture, rng: np.random.Generator) -> Round:
        """Try moves, and make the best."""
        moves = propose(self.em, mixture, rng)
        if not moves:
            return Round([], None)
        totals = np.array([move.totals for move in moves])
        order = np.arange(len(moves))
        for n_left in N_LEFT:
            totals, free_energy, _ = self.em.update(totals)
            left = np.argsort(free_energy, kind="stable")[:n_left]
            totals, order = totals[left], order[left]
        goal = mixture.free_energy - self.min_gain
        ended = self.em.follow(totals, goal)
        best = min(ended, key=lambda end: end.free_energy)
        is_made = best.free_energy < goal
        tried = [
            {"split": moves[i].split, "merged": list(moves[i].merged)}
            | {"free_energy": end.free_energy, "kept": is_made and end is best}
            for i, end in zip(order, ended, strict=True)
        ]
        return Round(tried, best if is_made else None)

    def _tell(self, mixture: Mixture, began: float) -> None:
        if self.after_round is not None:
            self.after_round(mixture, time.perf_counter() - began)
