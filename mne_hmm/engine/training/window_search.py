"""Out of local optima of a mixture of states, on windows of the data.

EM from one start ends in one of many local optima, mostly because two of its states share
what should be one, and one state holds what should be two. Moves that split a state and merge
two lead out of them (Ueda et al., 2000, *Neural Computation* 12(9), 2109-2128). How a state is
divided best is not known beforehand, so each is divided in several ways: by its power, by
recordings, by time and at random. What a split gains and a merge costs at once is exact for sums
over windows. The moves that promise most are updated a few times, all together, and the best of
them until they have settled.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..._utils.arrays import row_blocks
from ..inference.gaussian import FULL, Parameters
from ..runtime._tensorflow import tf
from .em import update_emissions
from .initialization import cluster, pooled_parameters
from .prior import NO_PRIOR, Prior
from .window_sums import WindowSums

# Samples that a state must have, per feature, and at all where covariances are diagonal.
MIN_PER_FEATURE, MIN_PER_STATE = 2, 5
# Updates of the two halves of a state by themselves.
N_HALVING = 12
# Two ways to divide a state are the same if they share this much of its windows.
SAME_HALVES = 0.8
# Directions at random along which each state is divided.
N_DIRECTIONS = 2
# Merges that are tried with each split, moves that are tried in all, and how many of them are left
# after each of their first updates. What is gained at once says little: in many a move first one
# state finds its place and then another, and the best of all was seldom among the first ten before
# its fifth update.
N_MERGES, N_TRIED, N_LEFT = 2, 60, (60, 60, 60, 60, 20, 20, 8, 8, 8, 4)
# States that are updated together: their matrices take some 10 MB each time they are copied.
MAX_TOGETHER = 180
# Nats per sample that an update must gain for a mixture not to have settled.
MIN_DECREASE = 1e-4
# The same while there are more states than there should be, how many ways to merge two of them are
# tried, and for how many updates.
MIN_DECREASE_OF_MORE, N_WAYS_DOWN, N_UPDATES_DOWN = 1e-3, 4, 3
# What is far below the present mixture need not settle before it is moved on: its updates end when
# they gain less than this share of what it is below.
MIN_SHARE = 0.05
# A move is given up if so many updates like its last would not bring it below the present mixture.
N_HOPED_UPDATES = 20
# Updates until a mixture has settled, and rounds of moves, at most.
MAX_UPDATES, MAX_ROUNDS = 60, 30


class Move(NamedTuple):
    """A state that is split and two that are merged.

    The second half of the split state is numbered as one more state, after all others.
    """

    change: float
    """What the free energy rises by at once, in nats per sample."""
    split: int
    merged: tuple[int, int]
    totals: np.ndarray
    """Of all states afterwards, shape (n_states, n_numbers)."""


class Mixture(NamedTuple):
    """States of windows that know nothing of time."""

    totals: np.ndarray
    """What the windows of each state add up to, shape (n_states, n_numbers)."""
    free_energy: float
    """Nats per sample."""
    labels: np.ndarray
    """The likeliest state of each window, shape (n_windows,)."""


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
        Nats per sample that a move must gain to be made. What differs by less is the same.
    prior : Prior
        What is believed of the parameters.
    after_round : callable | None
        Called with a mixture and the seconds that it took, when it has settled and after every
        move that is made.
    """

    windows: WindowSums
    n_states: int
    min_gain: float
    prior: Prior = NO_PRIOR
    after_round: Callable[[Mixture, float], None] | None = None
    n_multiplications: float = 0.0
    """Multiplications so far."""

    @property
    def min_per_state(self) -> int:
        """Samples that a state must have."""
        return min_per_state(self.windows)

    def settle(self, labels: np.ndarray) -> Mixture:
        """Begin with windows assigned to states, and update until next to nothing is gained.

        If these are more states than there should be, they are merged one by one.
        """
        began = time.perf_counter()
        n_states = max(int(labels.max()) + 1, self.n_states)
        weights = np.equal(labels[:, None], np.arange(n_states))
        totals = self._without_small(self.windows.totals(weights))
        while len(totals) > self.n_states:
            (more,) = self._follow(totals[None], least=MIN_DECREASE_OF_MORE)
            totals = self._one_less(more.totals)
        (mixture,) = self._follow(totals[None])
        self._tell(mixture, began)
        return mixture

    def _one_less(self, totals: np.ndarray) -> np.ndarray:
        """Merge two states in the best of a few ways."""
        single = self._losses(totals)
        first, second = np.triu_indices(len(totals), 1)
        costs = self._losses(totals[first] + totals[second]) - single[first] - single[second]
        cheapest = np.argsort(costs, kind="stable")[:N_WAYS_DOWN]
        ways = np.array([_merged(totals, first[way], second[way]) for way in cheapest])
        for _ in range(N_UPDATES_DOWN):
            ways, free_energy, _ = self._update(self.windows, ways)
        return ways[np.argmin(free_energy)]

    def go_on(self, mixture: Mixture) -> Mixture:
        """Begin with a mixture for other windows, and update until next to nothing is gained."""
        return self._follow(mixture.totals[None])[0]

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
            all_windows = self.windows.totals(np.ones((n_windows, 1)))
            of_stretch = self.windows.totals(np.equal(stretch[:, None], range(len(empty))))
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
        moves = self.propose(mixture, rng)
        if not moves:
            return Round([], None)
        totals = np.array([move.totals for move in moves])
        order = np.arange(len(moves))
        for n_left in N_LEFT:
            totals, free_energy, _ = self._update(self.windows, totals)
            left = np.argsort(free_energy, kind="stable")[:n_left]
            totals, order = totals[left], order[left]
        goal = mixture.free_energy - self.min_gain
        ended = self._follow(totals, goal)
        best = min(ended, key=lambda end: end.free_energy)
        is_made = best.free_energy < goal
        tried = [
            {"split": moves[i].split, "merged": list(moves[i].merged)}
            | {"free_energy": end.free_energy, "kept": is_made and end is best}
            for i, end in zip(order, ended, strict=True)
        ]
        return Round(tried, best if is_made else None)

    def propose(self, mixture: Mixture, rng: np.random.Generator) -> list[Move]:
        """Propose moves: every way to split a state, and then every merge that does not undo it.

        Those that raise the free energy least come first, and no more than are tried.
        """
        totals, n_states = mixture.totals, self.n_states
        single = self._losses(totals)
        pairs = np.zeros((n_states, n_states))
        first, second = np.triu_indices(n_states, 1)
        if len(first):
            merged = self._losses(totals[first] + totals[second])
            pairs[first, second] = merged - single[first] - single[second]
        moves: list[tuple[float, int, tuple[int, int], np.ndarray]] = []
        for state, child in enumerate(rng.spawn(n_states)):
            others = np.delete(np.arange(n_states), state)
            for gain, halves in self.divide(mixture, state, child):
                # The windows that are likeliest in a state are not quite what it adds up to.
                halves = halves * (totals[state, 0] / halves[:, 0].sum())
                more = np.concatenate([totals, halves[1:]])
                more[state] = halves[0]
                of_split: list[tuple[float, int, tuple[int, int], np.ndarray]] = []
                for half, loss in zip((state, n_states), self._losses(halves), strict=True):
                    costs = self._losses(totals[others] + more[half]) - single[others] - loss
                    of_split += [
                        (cost - gain, state, (min(i, half), max(i, half)), more)
                        for i, cost in zip(others.tolist(), costs, strict=True)
                    ]
                of_split += [
                    (pairs[i, j] - gain, state, (i, j), more)
                    for place, i in enumerate(others.tolist())
                    for j in others[place + 1 :].tolist()
                ]
                moves += sorted(of_split, key=lambda move: move[0])[:N_MERGES]
        moves = sorted(moves, key=lambda move: move[0])[:N_TRIED]
        n_samples = self.windows.n_samples.sum()
        return [
            Move(change / n_samples, state, pair, _merged(more, *pair))
            for change, state, pair, more in moves
        ]

    def divide(
        self, mixture: Mixture, state: int, rng: np.random.Generator
    ) -> list[tuple[float, np.ndarray]]:
        """Divide a state in two in several ways: nats that each gains, and totals of its halves.

        Shapes: ``totals`` (2, n_numbers).
        """
        rows = np.flatnonzero(mixture.labels == state)
        windows = self.windows.take(rows)
        n_samples = windows.n_samples.sum()
        if n_samples < 2 * self.min_per_state or len(rows) < 2:
            return []
        is_second = np.array(list(ways_to_divide(windows, rng)))
        weights = np.stack([~is_second, is_second], axis=-1).transpose(1, 0, 2)
        totals = windows.totals(weights.reshape(len(rows), -1)).reshape(len(is_second), 2, -1)
        totals = totals[totals[:, :, 0].min(1) >= self.min_per_state]
        if not len(totals):
            return []
        undivided, _ = self._evaluate(windows, totals[:1].sum(1, keepdims=True))
        for _ in range(N_HALVING):
            totals, free_energy, probabilities = self._update(windows, totals)
        ways: list[tuple[float, np.ndarray]] = []
        met: list[np.ndarray] = []
        for way in np.flatnonzero(totals[:, :, 0].min(1) > 0):
            half = probabilities[:, way, 1].numpy() > 0.5
            shared = [np.mean(half == other) for other in met]
            if all(1 - SAME_HALVES < share < SAME_HALVES for share in shared):
                met.append(half)
                ways.append((float(n_samples * (undivided[0] - free_energy[way])), totals[way]))
        return ways

    def _follow(
        self, totals: np.ndarray, goal: float | None = None, least: float = MIN_DECREASE
    ) -> list[Mixture]:
        """Update mixtures together, each until it has settled or has no hope."""
        n_mixtures = len(totals)
        histories: list[list[float]] = [[] for _ in range(n_mixtures)]
        ended: list[Mixture | None] = [None] * n_mixtures
        going = list(range(n_mixtures))
        for _ in range(MAX_UPDATES):
            totals, free_energy, probabilities = self._update(self.windows, totals)
            for place, i in enumerate(going):
                histories[i].append(float(free_energy[place]))
                labels = probabilities[:, place].numpy().argmax(1)
                ended[i] = Mixture(totals[place], histories[i][-1], labels)
            left = [place for place, i in enumerate(going) if goes_on(histories[i], goal, least)]
            if not left:
                break
            totals, going = totals[left], [going[place] for place in left]
        return [mixture for mixture in ended if mixture is not None]

    def _tell(self, mixture: Mixture, began: float) -> None:
        if self.after_round is not None:
            self.after_round(mixture, time.perf_counter() - began)

    def _losses(self, totals: np.ndarray) -> np.ndarray:
        """Weigh the log determinant of each state's covariance."""
        return 0.5 * totals[:, 0] * self.windows.log_determinants(totals, self.prior)

    def _evaluate(self, windows: WindowSums, totals: np.ndarray) -> "tuple[np.ndarray, tf.Tensor]":
        """Get free energies of mixtures, and probabilities of their states.

        Shapes: ``totals`` (n_mixtures, n_states, n_numbers); returns ``free_energy``
        (n_mixtures,), ``probabilities`` (n_windows, n_mixtures, n_states).
        """
        n_mixtures, n_states, n_numbers = totals.shape
        coefficients = windows.coefficients(totals.reshape(-1, n_numbers), self.prior)
        weights = totals[:, :, 0]
        with np.errstate(divide="ignore"):  # a state without samples
            log_weights = np.log(weights / np.maximum(weights.sum(1, keepdims=True), 1))
        log = windows.log_densities(coefficients) + log_weights.reshape(-1).astype(np.float32)
        log = tf.reshape(log, (-1, n_mixtures, n_states))
        evidence = tf.reduce_sum(tf.cast(tf.reduce_logsumexp(log, -1), tf.float64), 0).numpy()
        self.n_multiplications += len(windows.values) * weights.size * n_numbers
        return -evidence / windows.n_samples.sum(), tf.nn.softmax(log)

    def _update(
        self, windows: WindowSums, totals: np.ndarray
    ) -> "tuple[np.ndarray, np.ndarray, tf.Tensor]":
        """Update mixtures: their new totals, and free energies and probabilities of the old."""
        step = max(MAX_TOGETHER // totals.shape[1], 1)
        if len(totals) > step:
            parts = [self._update(windows, totals[rows]) for rows in row_blocks(len(totals), step)]
            updated_parts, of_parts, probabilities = zip(*parts, strict=True)
            updated, free_energy = np.concatenate(updated_parts), np.concatenate(of_parts)
            return updated, free_energy, tf.concat(probabilities, axis=1)
        free_energy, probabilities = self._evaluate(windows, totals)
        n_windows = len(windows.values)
        updated = windows.totals(tf.reshape(probabilities, (n_windows, -1))).reshape(totals.shape)
        self.n_multiplications += updated.size * n_windows
        return self._without_small(updated), free_energy, probabilities

    def _without_small(self, totals: np.ndarray) -> np.ndarray:
        """Take their samples from states of too few, which would shrink onto these.

        The state of most samples keeps them, however few these are.
        """
        weights = totals[..., :1]
        is_small = (weights < self.min_per_state) & (weights < weights.max(-2, keepdims=True))
        return np.where(is_small, 0.0, totals)


def min_per_state(windows: WindowSums) -> int:
    """Get how many samples a state must have."""
    full = windows.rule.covariance_type == FULL
    return MIN_PER_FEATURE * windows.n_features if full else MIN_PER_STATE


def goes_on(
    free_energy: list[float], goal: float | None = None, least: float = MIN_DECREASE
) -> bool:
    """Whether a mixture has not settled, and may come below a goal."""
    if len(free_energy) < 2:
        return True
    before, last = free_energy[-2:]
    decrease = before - last
    if goal is None:
        return decrease >= least
    is_hoped_for = last - N_HOPED_UPDATES * decrease < goal
    return is_hoped_for and decrease >= max(least, MIN_SHARE * (goal - last))


def ways_to_divide(windows: WindowSums, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield ways to divide windows in two: whether each is in the second half."""
    features = window_features(windows)
    yield cluster(features, 2, rng) == 1
    # Half of the time: people differ, and so do times of a day.
    n_windows = len(features)
    turned = (np.arange(n_windows) + rng.integers(n_windows)) % n_windows
    yield turned < n_windows // 2
    recordings, places = np.unique(windows.recordings, return_inverse=True)
    if len(recordings) > 1:
        chosen = rng.permutation(len(recordings)) < len(recordings) // 2
        yield chosen[places]
    if len(recordings) > 2:
        means = np.zeros((len(recordings), features.shape[1]))
        np.add.at(means, places, features)
        yield cluster(means / np.bincount(places)[:, None], 2, rng)[places] == 1
    for _ in range(N_DIRECTIONS):
        along = features @ rng.standard_normal(features.shape[1])
        yield along > np.median(along)


def window_features(windows: WindowSums) -> np.ndarray:
    """Get what windows are told apart by, shape (n_windows, n).

    That is the logarithm of power, and where means are learned the mean, too.
    """
    n_samples = windows.n_samples[:, None]
    features = np.log(windows.power / n_samples + 1e-6)
    if windows.rule.learn_means:
        # In units of what a mean of so many samples varies by, were they independent.
        features = np.concatenate([features, windows.sums / np.sqrt(n_samples)], axis=1)
    return features


def _merged(totals: np.ndarray, i: int, j: int) -> np.ndarray:
    """Make one of two states."""
    totals = totals.copy()
    totals[i] += totals[j]
    return np.delete(totals, j, axis=0)
