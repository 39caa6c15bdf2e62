"""Out of local optima: too many states first, and the best way down to as many as asked for.

EM from one start ends in one of many local optima, mostly because two of its states share
what should be one, and one state holds what should be two. Moves that merge two states and
split another lead out of them (Ueda et al., 2000, *Neural Computation* 12(9), 2109-2128).
Here such moves are made all at once: training begins with twice the states, and pairs are
merged, one after another, with some updates after each. Merges are scored before they are
tried, by the log likelihood they cost; near the end, where they matter most, several are tried
and the best few models go on side by side (a beam search). All of that runs on a part of the
data. Then every state is split again, and the way down is walked again, until that helps no
more.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .em import Run, Statistics, UpdateRule, converge, posterior, update, updated_emissions
from .gaussian import FULL, Moments, Parameters, weighted_moments
from .linalg import log_determinants
from .part import Part
from .prior import NO_PRIOR, Prior
from .start import STRIDE, cluster, pooled_parameters, spread_strides

# States to begin with, per state asked for, ...
TOO_MANY = 2
# ... as long as there are so many samples per state and feature.
LEAST_PER_STATE = {"full": 2, "diag": 0.5}

# Models that go on side by side, and merges that are tried for each of them, those that cost least,
# when no more than so many merges are to come (before that only the cheapest one is made). The
# first of these widths is taken with which two walks need no more passes over all data than this.
WIDTHS = ((3, 4), (2, 3), (2, 2), (1, 2))
N_WIDE = 3
MOST_PASSES = 200
# Updates after a merge, after a split, and of the best few models at the end.
N_AFTER_MERGE = 3
N_AFTER_SPLIT = 6
N_LAST = 15
# Models at the end of the way that are kept, and between how many nats per sample on the part they
# must lie to be told apart by all data: closer is the same optimum, farther is worse.
N_BEST = 2
UNDECIDED = (0.01, 0.05)

# Nats per sample by which models must differ to be two, and fall to be better.
LEAST_GAIN = 1e-3
# Nats per sample by which another walk must help for one more to be worth while.
WORTH_WHILE = 1e-2
# Walks at most; two or three are needed.
MOST_ROUNDS = 5

Told = Callable[[Run], None]


def n_states_to_begin_with(part: Part, n_states: int, rule: UpdateRule) -> int:
    """Get the number of states the part has enough samples for, at least `n_states`."""
    n_features = part.data.n_features if rule.covariance_type == FULL else 10
    per_state = max(LEAST_PER_STATE[rule.covariance_type] * n_features, 1)
    return int(max(n_states, min(TOO_MANY * n_states, part.data.n_samples // per_state)))


@dataclass(frozen=True)
class Way:
    """The way from too many states to those asked for.

    Parameters
    ----------
    begin, end : int
        Numbers of states.
    n_models : int
        Models to begin with.
    beam : int
        Models that go on side by side near the end.
    n_merges : int
        Merges that are tried for each of them.
    """

    begin: int
    end: int
    n_models: int
    beam: int
    n_merges: int

    @classmethod
    def within_means(cls, begin: int, end: int, n_models: int, share: float) -> "Way":
        """Choose the widest search that a part of such a share of the data allows."""
        ways = [cls(begin, end, n_models, *width) for width in WIDTHS]
        return next((way for way in ways if share * way.n_passes <= MOST_PASSES), ways[-1])

    def merges_tried(self, left: int) -> int:
        """Tell how many merges are tried for each model on the step that leaves so many states."""
        return self.n_merges if left - self.end < N_WIDE else 1

    def runs(self, n_models: int) -> list[tuple[int, int]]:
        """Tell how many states are left, and how many runs of EM lead there, step by step."""
        out = []
        for left in range(self.begin - 1, self.end - 1, -1):
            out.append((left, n_models * self.merges_tried(left)))
            n_models = min(self.beam, out[-1][1])
        return out

    @property
    def n_runs(self) -> int:
        """Runs of EM in two walks, at most."""
        if self.begin == self.end:
            return 0
        walks = self.runs(self.n_models) + self.runs(1)
        return sum(n for _, n in walks) + 1 + 2 * N_BEST

    @property
    def n_passes(self) -> float:
        """Passes over the part in two walks, at most, with the states asked for."""
        walks = self.runs(self.n_models) + self.runs(1)
        merges = sum(n * left / self.end for left, n in walks) * (1 + N_AFTER_MERGE)
        split = self.begin / self.end * (2 + N_AFTER_SPLIT)
        return merges + split + 2 * N_BEST * (1 + N_LAST)


@dataclass
class Refinement:
    """What the search came to."""

    best: list[Run] = field(default_factory=list)
    """The best few models, on the part of the data, best first."""
    moves: list[dict] = field(default_factory=list)
    """Every merge that was tried: the round, the two states (numbers before the merge), how
    many states were left, the free energy on the part, and whether the model went on."""


@dataclass
class Search:
    """The search for the best model on a part of the data.

    Parameters
    ----------
    part : Part
        The part.
    way : Way
        From how many states to how many, and how wide.
    rule : UpdateRule
        What to learn.
    prior : Prior
        What is believed of the parameters.
    told : callable
        Called with every run of EM when it is over.
    """

    part: Part
    way: Way
    rule: UpdateRule
    prior: Prior = NO_PRIOR
    told: Told = lambda run: None
    n_passes: float = 0.0
    """Passes over the data so far, in shares of the data and of the states asked for."""

    @property
    def n_states(self) -> int:
        """Number of states asked for."""
        return self.way.end

    def run(self, parameters: Parameters, n_updates: int, data=None, tol: float = 0.0) -> Run:
        """Run EM on the part, or on some of it, and count its passes."""
        data = self.part.data if data is None else data
        run = converge(
            data, Run(parameters), self.rule, max_iter=n_updates, tol=tol, prior=self.prior
        )
        share = self.part.share * data.n_samples / self.part.data.n_samples
        n_states = len(parameters.initial_probs)
        self.n_passes += len(run.free_energy) * share * n_states / self.n_states
        self.told(run)
        return run

    def refine(self, runs: list[Run], rng: np.random.Generator, known: Callable) -> Refinement:
        """Walk down to the number of states asked for, until that helps no more.

        Parameters
        ----------
        runs : list of Run
            Models with too many states.
        rng : numpy.random.Generator
            Source of the splits.
        known : callable
            Gives what a step came to, from memory if it was made before: called with its
            name and the function that makes it.
        """
        power = self.part.log_power()
        found = Refinement()
        for number in range(1, MOST_ROUNDS + 1):
            child = rng.spawn(1)[0]
            if found.best:

                def split(parameters=found.best[0].parameters, rng=child):
                    return [self._split(parameters, power, rng)], []

                runs, _ = known(f"round {number}, split", split)
            runs, moves = self._down(runs, number, known)
            found.moves += moves
            before = found.best[0].free_energy[-1] if found.best else np.inf
            found.best = _distinct(found.best + runs)[:N_BEST]
            if before - found.best[0].free_energy[-1] < WORTH_WHILE:
                break
        return found

    def _down(self, runs, number, known):
        """Merge states until as many are left as asked for."""
        moves: list[dict] = []
        for left in range(len(runs[0].parameters.initial_probs) - 1, self.n_states - 1, -1):

            def step(runs=runs, left=left):
                return self._one_less(runs, self.way.merges_tried(left), number, left)

            runs, tried = known(f"round {number}, {left} states", step)
            moves += tried

        def last(runs=runs):
            again = [self.run(run.parameters, N_LAST, tol=1e-5) for run in runs[:N_BEST]]
            return again, []

        return known(f"round {number}, best", last)[0], moves

    def _one_less(self, runs, n_merges, number, left):
        """Try the cheapest merges of each model, and keep the best few models."""
        tried = []
        for run in runs:
            for pair in cheapest_merges(run.statistics, self.rule)[:n_merges]:
                new = self.run(merged(run, *pair, self.rule, self.prior), N_AFTER_MERGE)
                move = {"round": number, "merged": list(pair), "n_states": left}
                tried.append((new, move | {"free_energy": new.free_energy[-1]}))
        kept = _distinct([new for new, _ in tried])[: self.way.beam]
        moves = [move | {"kept": any(new is run for run in kept)} for new, move in tried]
        return kept, moves

    def _split(self, parameters, power, rng):
        """Split every state in two, by the power of its samples."""
        data = self.part.data
        probabilities = posterior(data, parameters, self.rule.covariance_type).probabilities
        halves = np.stack([self._halved(column, power, rng) for column in probabilities.T], 1)
        weights = np.concatenate([probabilities * (1 - halves), probabilities * halves], 1)
        n_states = self.way.begin
        if n_states < weights.shape[1]:  # too little data: the smallest states stay whole
            whole = np.argsort(probabilities.sum(0))[: weights.shape[1] - n_states]
            weights[:, whole] += weights[:, whole + self.n_states]
            weights = np.delete(weights, whole + self.n_states, 1)
        start = updated_emissions(
            pooled_parameters(n_states, data.n_features),
            weighted_moments(data, weights.astype(np.float32), self.rule.covariance_type),
            self.rule,
            self.prior,
        )
        return self.run(start, N_AFTER_SPLIT)

    def _halved(self, weights, power, rng):
        """Split a state's samples in two, as 0 and 1 per sample."""
        lengths = self.part.data.chains
        starts = np.cumsum([0, *lengths[:-1]])
        rows = np.concatenate(
            [np.arange(a, a + n, STRIDE) for a, n in zip(starts, lengths, strict=True)]
        )
        chosen = weights[rows] > 0.5
        if chosen.sum() < 10:  # next to nothing to split
            halves = np.repeat(rng.integers(0, 2, -(-len(rows) // STRIDE)), STRIDE)[: len(rows)]
        else:
            halves = np.zeros(len(rows), int)
            halves[chosen] = cluster(power[chosen], 2, rng)
        return spread_strides(halves, lengths)


def _distinct(runs):
    """Order runs from best to worst, each optimum once."""
    kept: list[Run] = []
    for run in sorted(runs, key=lambda run: run.free_energy[-1]):
        if not kept or run.free_energy[-1] > kept[-1].free_energy[-1] + LEAST_GAIN:
            kept.append(run)
    return kept


def worth_a_run(runs: list[Run]) -> list[Run]:
    """Choose the models that a part of the data cannot tell from the best, and the best."""
    best = runs[0].free_energy[-1]
    low, high = UNDECIDED
    return [runs[0], *(run for run in runs[1:] if low < run.free_energy[-1] - best < high)]


def cheapest_merges(statistics: Statistics, rule: UpdateRule) -> list[tuple[int, int]]:
    """Order pairs of states by what is lost when they are one.

    Parameters
    ----------
    statistics : Statistics
        Sums over the data, per state.
    rule : UpdateRule
        What is learned.

    Returns
    -------
    pairs : list of tuple of int
        The pair that loses least of the log likelihood of samples given their states first.
    """
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


def merged(run: Run, i: int, j: int, rule: UpdateRule, prior: Prior = NO_PRIOR) -> Parameters:
    """Parameters with two states made one.

    Parameters
    ----------
    run : Run
        The model, with its statistics.
    i, j : int
        The states; the new one takes the place of the first.
    rule : UpdateRule
        What is learned.
    prior : Prior
        What is believed of the parameters.

    Returns
    -------
    parameters : Parameters
        Those that the statistics give when all samples of `j` belong to `i`.
    """
    assert run.statistics is not None
    statistics = run.statistics
    n_states = len(statistics.initial)
    # Row j is added to row i, column by column, and goes.
    onto = np.eye(n_states)
    onto[i, j] = 1.0
    onto = np.delete(onto, j, 0)
    fewer = statistics._replace(
        transitions=onto @ statistics.transitions @ onto.T,
        initial=onto @ statistics.initial,
        moments=Moments(*(np.tensordot(onto, values, 1) for values in statistics.moments)),
    )
    like = pooled_parameters(n_states - 1, run.parameters.means.shape[1])
    return update(like, fewer, rule, prior)
