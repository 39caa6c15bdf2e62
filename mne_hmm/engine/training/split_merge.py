"""Out of local optima: one state is split and two are merged, and the best such move is made.

EM from one start ends in one of many local optima, mostly because two of its states share
what should be one, and one state holds what should be two. Moves that split a state and merge
two lead out of them (Ueda et al., 2000, *Neural Computation* 12(9), 2109-2128). Every state is
split in two by itself, which takes little, and the merges that then cost least are proposed.
How much a merge costs at once says little of what it comes to, so all proposals are updated a
few times on a part of the data. Many are soon back where they came from, with another half of the
same state merged into it again; the best few of the others are then tried on all data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..inference.gaussian import FULL, Emission, Moments, Parameters, weighted_moments
from ..inference.linalg import log_determinants
from ..inference.samples import Data, Samples
from .em import Run, Statistics, UpdateRule, converge, posterior, update, updated_emissions
from .initialization import STRIDE, cluster, pooled_parameters, spread_strides
from .prior import NO_PRIOR, Prior
from .subsample import Part

# Samples of the part that half a state must have, per feature, and at all where covariances are
# diagonal.
LEAST_PER_FEATURE, LEAST = 2, 5
# Updates of the two halves of a state by themselves.
N_HALVING = 8

# Merges that are proposed for each split: those that cost least, as many as make some two dozen
# proposals, but within these numbers.
N_PROPOSALS = 24
N_MERGES = (2, 3)
# Updates of each proposal on the part. After one, what a merge costs is still most of it; after two
# the best move was third at times.
N_UPDATES = 3
# Proposals that are tried on all data: so many, and as many more where none was worth while.
N_TRIED, N_AT_MOST = 3, 6
# Models are the same if every state shares so much of its samples with one of the other model (the
# Dice coefficient). On simulated parcels, what leads back comes to 0.85 to 0.98 after its updates,
# and what leads elsewhere to 0.1 or less.
SAME = 0.85

Told = Callable[[Run], None]


class Move(NamedTuple):
    """A state that is split and two that are merged.

    The second half of the split state is numbered as one more state, after all others.
    """

    split: int
    merged: tuple[int, int]
    parameters: Parameters
    """Where the model is then, by the sums over all data."""


class Proposal(NamedTuple):
    """A move that was updated a few times on the part."""

    move: Move
    free_energy: float
    """Nats per sample of the part."""
    leads_back: bool
    """Whether it has become the model again that it is a move out of."""


@dataclass
class Search:
    """Starts and moves on a part of the data.

    Parameters
    ----------
    part : Part
        The part.
    n_states : int
        Number of states.
    rule : UpdateRule
        What to learn.
    prior : Prior
        What is believed of the parameters.
    told : callable
        Called with every run of EM when it is over.
    """

    part: Part
    n_states: int
    rule: UpdateRule
    prior: Prior = NO_PRIOR
    told: Told = lambda run: None
    n_passes: float = 0.0
    """Passes over the data so far, in shares of all data."""

    @property
    def n_merges(self) -> int:
        """Merges proposed for each split."""
        return int(np.clip(N_PROPOSALS // self.n_states, *N_MERGES))

    def run(self, parameters: Parameters, n_updates: int, data: Data | None = None) -> Run:
        """Run EM on the part, or on some of it, and count its passes."""
        data = self.part.data if data is None else data
        run = converge(
            data, Run(parameters), self.rule, max_iter=n_updates, tol=0, prior=self.prior
        )
        self.n_passes += run.n_passes * self.part.share * data.n_samples / self.part.data.n_samples
        self.told(run)
        return run

    @property
    def least(self) -> int:
        """Samples of the part that half a state must have."""
        full = self.rule.covariance_type == FULL
        return LEAST_PER_FEATURE * self.part.data.n_features if full else LEAST

    def divisible(self, run: Run) -> list[int]:
        """Tell which states of a model have samples enough to be split."""
        assert run.statistics is not None
        weights = run.statistics.moments.weights
        of_part = weights * self.part.data.n_samples / weights.sum()
        return np.flatnonzero(of_part >= 2 * self.least).tolist()

    def moves(self, run: Run, rng: np.random.Generator) -> list[Move]:
        """Propose moves: every split, with the merges that then cost least."""
        assert run.statistics is not None
        states = self.divisible(run)
        if not states:
            return []
        probabilities = posterior(
            self.part.data, run.parameters, self.rule.covariance_type
        ).probabilities
        self.n_passes += self.part.share
        moves = []
        for state, child in zip(states, rng.spawn(len(states)), strict=True):
            halves = self._halves(probabilities[:, state], child)
            if halves is None:
                continue
            more = divided(run.statistics, state, *halves)
            back = (state, self.n_states)
            pairs = [pair for pair in cheapest_merges(more, self.rule) if pair != back]
            for pair in pairs[: self.n_merges]:
                parameters = merged(more, *pair, self.rule, self.prior)
                moves.append(Move(state, pair, parameters))
        return moves

    def best_moves(self, run: Run, rng: np.random.Generator) -> list[Proposal]:
        """Propose moves and update each a few times, best first."""
        here = self._likeliest(run.parameters)
        proposals = []
        for move in self.moves(run, rng):
            updated = self.run(move.parameters, N_UPDATES)
            leads_back = have_same_states(here, self._likeliest(updated.parameters))
            proposals.append(Proposal(move, updated.free_energy[-1], leads_back))
        return sorted(proposals, key=lambda proposal: proposal.free_energy)

    def _likeliest(self, parameters):
        """State that each of some samples of the part is likeliest in, were it alone."""
        emission = Emission(parameters.means, parameters.covariances, self.rule.covariance_type)
        self.n_passes += self.part.share / STRIDE
        return emission.log_densities(self._some).argmax(1)

    @cached_property
    def _some(self):
        rows = self.part.samples.arrays[0][::STRIDE]
        return Data(Samples([rows], [[len(rows)]]), self.n_states * rows.shape[1])

    @cached_property
    def _power(self):
        return self.part.log_power()

    def _halves(self, probabilities, rng):
        """Split a state of the part: steps within and between its halves, and their moments.

        The samples of a state are divided in two by their smoothed power, or where means are
        learned by themselves, and then as two states that know nothing of time.
        """
        samples = self.part.samples
        own = np.flatnonzero(probabilities > 0.5)
        lengths = self.part.data.chains
        starts = np.cumsum([0, *lengths[:-1]])
        strides = [np.arange(a, a + n, STRIDE) for a, n in zip(starts, lengths, strict=True)]
        rows = np.concatenate(strides)
        chosen = probabilities[rows] > 0.5
        if chosen.sum() < 2:
            return None
        labels = np.zeros(len(chosen), int)
        what = samples.arrays[0][rows[chosen]] if self.rule.learn_means else self._power[chosen]
        labels[chosen] = cluster(np.asarray(what, float), 2, rng)
        labels = spread_strides(labels, lengths)[own]
        x = samples.arrays[0][own]
        data = Data(Samples([x], [[len(x)]]), 2 * x.shape[1])
        weights = np.equal(labels[:, None], [0, 1]).astype(np.float32)
        like = pooled_parameters(2, data.n_features)
        for _ in range(N_HALVING):
            moments = weighted_moments(data, weights, self.rule.covariance_type)
            if moments.weights.min() < self.least:
                return None
            like = updated_emissions(like, moments, self.rule)
            emission = Emission(like.means, like.covariances, self.rule.covariance_type)
            log = emission.log_densities(data) + np.log(moments.weights)
            weights = np.exp(log - log.max(1, keepdims=True))
            weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
        share = self.part.share * len(x) / self.part.data.n_samples
        self.n_passes += N_HALVING * share * 2 / self.n_states
        moments = weighted_moments(data, weights, self.rule.covariance_type)
        follow = np.diff(own) == 1
        steps = weights[:-1][follow].T @ weights[1:][follow]
        return steps.astype(float), moments


def have_same_states(labels: np.ndarray, others: np.ndarray) -> bool:
    """Tell whether two models put samples into the same states, whatever their numbers.

    Shapes: ``labels, others`` (n_samples,).
    """
    counts = np.zeros((labels.max() + 1, others.max() + 1))
    np.add.at(counts, (labels, others), 1)
    sizes, of_others = counts.sum(1, keepdims=True), counts.sum(0, keepdims=True)
    shared = 2 * counts / np.maximum(sizes + of_others, 1)
    best, of_other = shared.max(1)[sizes[:, 0] > 0], shared.max(0)[of_others[0] > 0]
    return bool(min(best.min(), of_other.min()) >= SAME)


def divided(statistics: Statistics, state: int, steps: np.ndarray, halves: Moments) -> Statistics:
    """Statistics with one state made two.

    Shapes: ``steps`` (2, 2).
    """
    shares = halves.weights / halves.weights.sum()

    def two(values):
        """Put what belongs to the halves in place of what belongs to the state."""
        return np.concatenate([values, values[[state]]])

    def scaled(values, of_halves):
        values = two(values)
        factor = statistics.moments.weights[state] / halves.weights.sum()
        values[[state, -1]] = factor * of_halves
        return values

    initial = two(statistics.initial)
    initial[[state, -1]] *= shares
    transitions = two(two(statistics.transitions).T).T
    transitions[[state, -1]] *= shares[:, None]
    transitions[:, [state, -1]] *= shares
    within = statistics.transitions[state, state] * steps / max(steps.sum(), 1e-300)
    transitions[np.ix_([state, -1], [state, -1])] = within
    moments = Moments(*map(scaled, statistics.moments, halves))
    return statistics._replace(transitions=transitions, initial=initial, moments=moments)


def cheapest_merges(statistics: Statistics, rule: UpdateRule) -> list[tuple[int, int]]:
    """Order pairs of states by what is lost when they are one."""
    moments = statistics.moments
    n_states, n_features = moments.sums.shape

    def losses(moments):
        like = pooled_parameters(len(moments.weights), n_features)
        covariances = updated_emissions(like, moments, rule).covariances
        return moments.weights * log_determinants(covariances)

    single = losses(moments)
    first, second = np.triu_indices(n_states, 1)
    # State by state: the covariances of all pairs at once would be some 100 MB.
    pooled = [
        losses(Moments(*(values[i] + values[i + 1 :] for values in moments)))
        for i in range(n_states - 1)
    ]
    order = np.argsort(np.concatenate(pooled) - single[first] - single[second], kind="stable")
    return [(int(first[place]), int(second[place])) for place in order]


def merged(
    statistics: Statistics, i: int, j: int, rule: UpdateRule, prior: Prior = NO_PRIOR
) -> Parameters:
    """Parameters with two states made one."""
    n_states, n_features = len(statistics.initial), statistics.moments.sums.shape[1]
    # Row j is added to row i, column by column, and goes.
    onto = np.eye(n_states)
    onto[i, j] = 1.0
    onto = np.delete(onto, j, 0)
    fewer = statistics._replace(
        transitions=onto @ statistics.transitions @ onto.T,
        initial=onto @ statistics.initial,
        moments=Moments(*(np.tensordot(onto, values, 1) for values in statistics.moments)),
    )
    return update(pooled_parameters(n_states - 1, n_features), fewer, rule, prior)
