"""Out of local optima: merge two states, split a third, and see.

EM from one start ends in one of many local optima. Moves that merge the two most
similar states and split another one (Ueda et al., 2000, *Neural Computation* 12(9),
2109-2128) lead out of them. Every move is scored by a few updates on a part of the data;
only the best go on to all data, and are taken if the free energy falls.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .em import Run, UpdateRule, converge, named, posterior, updated_emissions
from .gaussian import weighted_moments
from .linalg import log_determinants
from .samples import Blocks, Samples
from .start import (
    POWER_WINDOWS,
    STRIDE,
    cluster,
    log_power,
    pooled_parameters,
    spread_strides,
    sticky_chain,
)

# Merges that are tried: those that cost least.
N_MERGES = 3
# Updates by which a move is scored.
N_SCORED = 5
# Moves of a round that are run on all data.
N_RUN = 2
# Updates on all data after which, again and again, a move without hope is given up: one that
# would not get there if this many more updates gained as much as the last.
N_PROMISING = 5
HOPE = 20
# Nats per sample by which the free energy must fall for a move to be taken. Less is what runs
# that settle in the same optimum differ by.
LEAST_GAIN = 5e-3
# Rounds at most; some three to five are needed.
MOST_ROUNDS = 12

# Moves are scored on windows of this many samples ...
WINDOW = 2000
# ... that hold this share of the data, or as many numbers per parameter of the states.
SHARE = 0.15
PER_PARAMETER = 40


@dataclass
class Refinement:
    """What refinement came to."""

    run: Run
    moves: list[dict] = field(default_factory=list)
    """Every move: which states were merged, which one was split, the free energy it was
    scored by or ended in, and whether it was kept."""
    n_passes: float = 0.0
    """Passes over the data, passes over parts counted in parts."""


@dataclass(frozen=True)
class _Part:
    """A part of the data to score moves on."""

    blocks: Blocks
    power: np.ndarray
    share: float


def _part_of(blocks: Blocks, n_states: int) -> _Part:
    """Take windows at even distances out of all chains."""
    n_samples = blocks.n_samples
    wanted = max(SHARE * n_samples, PER_PARAMETER * n_states * blocks.n_features)
    every = max(int(n_samples / wanted), 1)
    x = np.concatenate([block.numpy() for _, block in blocks])
    windows, start, count = [], 0, 0
    for length in blocks.chains:
        for first in range(start, start + length, WINDOW):
            if count % every == 0:
                windows.append(x[first : min(first + WINDOW, start + length)])
            count += 1
        start += length
    lengths = [len(window) for window in windows]
    samples = Samples([np.concatenate(windows)], [lengths])
    power = log_power(samples.arrays, samples.lengths, POWER_WINDOWS[0])
    part = samples.blocked(n_states * blocks.n_features)
    return _Part(part, power, part.n_samples / n_samples)


def refine(
    blocks: Blocks,
    run: Run,
    rule: UpdateRule,
    *,
    max_iter: int,
    tol: float,
    rng: np.random.Generator,
    report: Callable[[str, int, float], None] | None = None,
) -> Refinement:
    """Merge and split states until that helps no more.

    Parameters
    ----------
    blocks : Blocks
        The data, in the engine's coordinates.
    run : Run
        A run that has settled.
    rule : UpdateRule
        What to learn.
    max_iter : int
        Largest number of updates of each run.
    tol : float
        When a run has settled, as for `converge`.
    rng : numpy.random.Generator
        Source of the splits.
    report : callable | None
        Called with the name of the stage, the number of updates and the free energy.

    Returns
    -------
    refinement : Refinement
        The best run and all moves. The run is the one that was given if no move helped.
    """
    result = Refinement(run)
    n_states = len(run.parameters.initial_probs)
    if n_states < 3:
        return result  # nothing is left to split when two are merged
    part = _part_of(blocks, n_states)
    for number in range(1, MOST_ROUNDS + 1):
        trials = _score_moves(part, result.run.parameters, rule, rng)
        result.n_passes += part.share * (1 + sum(len(trial.free_energy) for _, trial in trials))
        trials.sort(key=lambda trial: trial[1].free_energy[-1])
        taken = False
        for place, (move, trial) in enumerate(trials):
            move |= {"round": number, "free_energy": trial.free_energy[-1], "run": False}
            result.moves.append(move | {"kept": False})
            if taken or place >= N_RUN:
                continue
            told = named(report, f"round {number}, move {place + 1}")
            new = _run_on_all(blocks, trial.parameters, rule, result.run, max_iter, tol, told)
            result.n_passes += len(new.free_energy)
            taken = new.free_energy[-1] < result.run.free_energy[-1] - LEAST_GAIN
            result.moves[-1] |= {"free_energy": new.free_energy[-1], "run": True, "kept": taken}
            if taken:
                result.run = new
        if not taken:
            break
    return result


def _run_on_all(blocks, parameters, rule, best, max_iter, tol, report):
    """Run a move on all data, as long as there is hope."""
    # Judged by what training has gained in all: a move starts near its end.
    run = Run(parameters, before=best.decrease)
    goal = best.free_energy[-1] - LEAST_GAIN
    for updates in range(N_PROMISING, max_iter + N_PROMISING, N_PROMISING):
        converge(blocks, run, rule, max_iter=min(updates, max_iter), tol=tol, report=report)
        gain = run.free_energy[-2] - run.free_energy[-1] if run.n_updates else 0.0
        if run.converged or run.free_energy[-1] - HOPE * gain > goal:
            break
    return run


def _score_moves(part, parameters, rule, rng):
    """Try every split with each of the cheapest merges, for a few updates."""
    n_states = len(parameters.initial_probs)
    probabilities = posterior(part.blocks, parameters, rule.covariance_type).probabilities
    trials = []
    halves = {}
    for i, j in _cheapest_merges(part.blocks, probabilities, rule):
        for k in sorted(set(range(n_states)) - {i, j}):
            if k not in halves:
                halves[k] = _halved(part, probabilities[:, k], rng)
            weights = probabilities.copy()
            weights[:, i] += weights[:, j]
            weights[:, j] = weights[:, k] * halves[k]
            weights[:, k] *= 1 - halves[k]
            start = _fresh(part.blocks, weights, parameters, rule)
            trial = converge(part.blocks, Run(start), rule, max_iter=N_SCORED, tol=0.0)
            trial.posterior = None  # as large as the data; the parameters are what counts
            trials.append(({"merged": [int(i), int(j)], "split": int(k)}, trial))
    return trials


def _fresh(blocks, weights, parameters, rule):
    """Parameters from weights, with a chain that knows nothing yet."""
    moments = weighted_moments(blocks, weights, rule.covariance_type)
    initial, transition = sticky_chain(weights.shape[1])
    parameters = parameters._replace(initial_probs=initial, transition_matrix=transition)
    return updated_emissions(parameters, moments, rule)


def _cheapest_merges(blocks, probabilities, rule):
    """Find the pairs of states that lose least when they are one.

    The loss is that of the log likelihood of the samples given their states.
    """
    moments = weighted_moments(blocks, probabilities, rule.covariance_type)
    n_states = len(moments.weights)
    pairs = [(i, j) for i in range(n_states) for j in range(i + 1, n_states)]
    first, second = np.transpose(pairs)
    pooled = [values[first] + values[second] for values in moments]

    def covariances(weights, sums, products):
        like = pooled_parameters(len(weights), blocks.n_features)
        return updated_emissions(like, type(moments)(weights, sums, products), rule).covariances

    single = moments.weights * log_determinants(covariances(*moments))
    merged = pooled[0] * log_determinants(covariances(*pooled))
    losses = merged - single[first] - single[second]
    return [pairs[place] for place in np.argsort(losses, kind="stable")[:N_MERGES]]


def _halved(part, weights, rng):
    """Split a state's samples in two, as 0 and 1 per sample."""
    lengths = part.blocks.chains
    starts = np.cumsum([0, *lengths[:-1]])
    rows = np.concatenate(
        [np.arange(a, a + n, STRIDE) for a, n in zip(starts, lengths, strict=True)]
    )
    chosen = weights[rows] > 0.5
    if chosen.sum() < 10:  # next to nothing to split
        halves = np.repeat(rng.integers(0, 2, -(-len(rows) // STRIDE)), STRIDE)[: len(rows)]
    else:
        halves = np.zeros(len(rows), int)
        halves[chosen] = cluster(part.power[chosen], 2, rng)
    return spread_strides(halves, lengths).astype(float)
