"""Out of local optima: one state is split and two are merged, and the best such move is made.

EM from one start ends in one of many local optima, mostly because two of its states share
what should be one, and one state holds what should be two. Moves that split a state and merge
two lead out of them (Ueda et al., 2000, *Neural Computation* 12(9), 2109-2128). Every state is
split in two by itself, which takes little, and the merges that then cost least are proposed.
How much a merge costs at once says little of what it comes to, so all proposals are updated a
few times on a subsample. Many are soon back where they came from, with another half of the
same state merged into it again; the best few of the others are then tried on all data.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..inference.gaussian import FULL, Emission, Moments, Parameters, weighted_moments
from ..inference.linalg import log_determinants
from ..inference.samples import Data, Samples
from .em import EMRun, Statistics, converge, posterior, update, update_emissions
from .initialization import STRIDE, cluster, pooled_parameters, spread_strides
from .monitor import BriefRuns
from .prior import NO_PRIOR, Prior
from .subsample import Subsample
from .update_rule import UpdateRule

# Samples of the subsample that half a state must have, per feature, and at all where covariances
# are diagonal.
MIN_PER_FEATURE, MIN_PER_HALF = 2, 5
# Updates of the two halves of a state by themselves.
N_HALVING = 8

# Merges that are proposed for each split: those that cost least, as many as make some two dozen
# proposals, but within these numbers.
N_PROPOSALS = 24
N_MERGES = (2, 3)
# Updates of each proposal on the subsample. After one, what a merge costs is still most of it;
# after two the best move was third at times.
N_UPDATES = 3
# Proposals that are tried on all data: so many, and as many more where none was worth while.
N_TRIED, MAX_TRIED = 3, 6
# Models are the same if every state shares so much of its samples with one of the other model (the
# Dice coefficient). On simulated parcels, what leads back comes to 0.85 to 0.98 after its updates,
# and what leads elsewhere to 0.1 or less.
MIN_SAME_SHARE = 0.85


class Move(NamedTuple):
    """A state that is split and two that are merged.

    The second half of the split state is numbered as one more state, after all others.
    """

    split: int
    merged: tuple[int, int]
    parameters: Parameters
    """Where the model is then, by the sums over all data."""


class Proposal(NamedTuple):
    """A move that was updated a few times on the subsample."""

    move: Move
    free_energy: float
    """Nats per sample of the subsample."""
    leads_back: bool
    """Whether it has become the model again that it is a move out of."""


@dataclass
class SplitMergeSearch:
    """Starts and moves on a subsample of the data.

    Parameters
    ----------
    subsample : Subsample
        The subsample.
    n_states : int
        Number of states.
    rule : UpdateRule
        What to learn.
    prior : Prior
        What is believed of the parameters.
    brief_runs : BriefRuns | None
        The stage that every run of EM belongs to.
    """

    subsample: Subsample
    n_states: int
    rule: UpdateRule
    prior: Prior = NO_PRIOR
    brief_runs: BriefRuns | None = None
    n_passes: float = 0.0
    """Passes over the data so far, in shares of all data."""

    @property
    def n_merges(self) -> int:
        """Merges proposed for each split."""
        return int(np.clip(N_PROPOSALS // self.n_states, *N_MERGES))

    def run(self, parameters: Parameters, n_updates: int, data: Data | None = None) -> EMRun:
        """Run EM on the subsample, or on data out of it, and count its passes."""
        data = self.subsample.data if data is None else data
        run = converge(
            data, EMRun(parameters), self.rule, max_iter=n_updates, tol=0, prior=self.prior
        )
        subsample = self.subsample
        self.n_passes += run.n_passes * subsample.share * data.n_samples / subsample.data.n_samples
        if self.brief_runs is not None:
            self.brief_runs.after_run(run)
        return run

    @property
    def min_per_half(self) -> int:
        """Samples of the subsample that half a state must have."""
        full = self.rule.covariance_type == FULL
        return MIN_PER_FEATURE * self.subsample.data.n_features if full else MIN_PER_HALF

    def divisible_states(self, run: EMRun) -> list[int]:
        """Find the states of a model that have samples enough to be split."""
        assert run.statistics is not None
        weights = run.statistics.moments.weights
        in_subsample = weights * self.subsample.data.n_samples / weights.sum()
        return np.flatnonzero(in_subsample >= 2 * self.min_per_half).tolist()

    def moves(self, run: EMRun, rng: np.random.Generator) -> list[Move]:
        """Propose moves: every split, with the merges that then cost least."""
        assert run.statistics is not None
        states = self.divisible_states(run)
        if not states:
            return []
        probabilities = posterior(
            self.subsample.data, run.parameters, self.rule.covariance_type
        ).probabilities
        self.n_passes += self.subsample.share
        moves = []
        for state, child in zip(states, rng.spawn(len(states)), strict=True):
            halves = self._split_state(probabilities[:, state], child)
            if halves is None:
                continue
            more = split_statistics(run.statistics, state, *halves)
            back = (state, self.n_states)
            pairs = [pair for pair in cheapest_merges(more, self.rule) if pair != back]
            for pair in pairs[: self.n_merges]:
                parameters = merge_states(more, *pair, self.rule, self.prior)
                moves.append(Move(state, pair, parameters))
        return moves

    def best_moves(self, run: EMRun, rng: np.random.Generator) -> list[Proposal]:
        """Propose moves and update each a few times, best first."""
        here = self._likeliest_states(run.parameters)
        proposals = []
        for move in self.moves(run, rng):
            updated = self.run(move.parameters, N_UPDATES)
            leads_back = have_same_states(here, self._likeliest_states(updated.parameters))
            proposals.append(Proposal(move, updated.free_energy[-1], leads_back))
        return sorted(proposals, key=lambda proposal: proposal.free_energy)

    def _likeliest_states(self, parameters: Parameters) -> np.ndarray:
        """Find the state that every fifth sample is likeliest in, were it alone."""
        emission = Emission(parameters.means, parameters.covariances, self.rule.covariance_type)
        self.n_passes += self.subsample.share / STRIDE
        return emission.log_densities(self._strided_data).argmax(1)

    @cached_property
    def _strided_data(self) -> Data:
        rows = self.subsample.samples.arrays[0][::STRIDE]
        return Data(Samples([rows], [[len(rows)]]), self.n_states * rows.shape[1])

    @cached_property
    def _power(self) -> np.ndarray:
        return self.subsample.log_power()

    def _split_state(
        self, probabilities: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, Moments] | None:
        """Split a state of the subsample: steps within and between its halves, and their moments.

        The samples of a state are divided in two by their smoothed power, or where means are
        learned by themselves, and then as two states that know nothing of time.
        """
        samples = self.subsample.samples
        rows_of_state = np.flatnonzero(probabilities > 0.5)
        lengths = self.subsample.data.chains
        starts = np.cumsum([0, *lengths[:-1]])
        strides = [np.arange(a, a + n, STRIDE) for a, n in zip(starts, lengths, strict=True)]
        rows = np.concatenate(strides)
        chosen = probabilities[rows] > 0.5
        if chosen.sum() < 2:
            return None
        labels = np.zeros(len(chosen), int)
        values = samples.arrays[0][rows[chosen]] if self.rule.learn_means else self._power[chosen]
        labels[chosen] = cluster(np.asarray(values, float), 2, rng)
        labels = spread_strides(labels, lengths)[rows_of_state]
        x = samples.arrays[0][rows_of_state]
        data = Data(Samples([x], [[len(x)]]), 2 * x.shape[1])
        weights = np.equal(labels[:, None], [0, 1]).astype(np.float32)
        like = pooled_parameters(2, data.n_features)
        for _ in range(N_HALVING):
            moments = weighted_moments(data, weights, self.rule.covariance_type)
            if moments.weights.min() < self.min_per_half:
                return None
            like = update_emissions(like, moments, self.rule)
            emission = Emission(like.means, like.covariances, self.rule.covariance_type)
            log = emission.log_densities(data) + np.log(moments.weights)
            weights = np.exp(log - log.max(1, keepdims=True))
            weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
        share = self.subsample.share * len(x) / self.subsample.data.n_samples
        self.n_passes += N_HALVING * share * 2 / self.n_states
        moments = weighted_moments(data, weights, self.rule.covariance_type)
        follow = np.diff(rows_of_state) == 1
        steps = weights[:-1][follow].T @ weights[1:][follow]
        return steps.astype(float), moments


def have_same_states(labels: np.ndarray, others: np.ndarray) -> bool:
    """Whether two models put samples into the same states, whatever the states' order.

    Shapes: ``labels, others`` (n_samples,).
    """
    counts = np.zeros((labels.max() + 1, others.max() + 1))
    np.add.at(counts, (labels, others), 1)
    sizes, of_others = counts.sum(1, keepdims=True), counts.sum(0, keepdims=True)
    shared = 2 * counts / np.maximum(sizes + of_others, 1)
    best, of_other = shared.max(1)[sizes[:, 0] > 0], shared.max(0)[of_others[0] > 0]
    return bool(min(best.min(), of_other.min()) >= MIN_SAME_SHARE)


def split_statistics(
    statistics: Statistics, state: int, steps: np.ndarray, halves: Moments
) -> Statistics:
    """Make two of one state in statistics.

    Shapes: ``steps`` (2, 2).
    """
    shares = halves.weights / halves.weights.sum()

    def two(values: np.ndarray) -> np.ndarray:
        """Repeat the values of the state at the end."""
        return np.concatenate([values, values[[state]]])

    def scaled(values: np.ndarray, of_halves: np.ndarray) -> np.ndarray:
        """Put the values of the halves in place of those of the state."""
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

    def losses(moments: Moments) -> np.ndarray:
        """Weigh the log determinant of each state's covariance."""
        like = pooled_parameters(len(moments.weights), n_features)
        covariances = update_emissions(like, moments, rule).covariances
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


def merge_states(
    statistics: Statistics, i: int, j: int, rule: UpdateRule, prior: Prior = NO_PRIOR
) -> Parameters:
    """Make one of two states, and update the parameters."""
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
