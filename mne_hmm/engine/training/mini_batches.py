"""Training on mini-batches, for data so large that full passes are few.

Every update is made from running sums over mini-batches, of which each new one takes a share
that gets smaller and smaller: the stepwise expectation-maximization of Cappé & Moulines
(2009, *Journal of the Royal Statistical Society B* 71(3), 593-613); see also Hoffman et al.
(2013, *Journal of Machine Learning Research* 14, 1303-1347). Cutting chains into sequences
is an approximation, so full passes follow.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ..inference.chain import ChunkLayout
from ..inference.gaussian import FEW, Moments, Parameters
from ..inference.samples import Batch, Data
from .em import Run, Statistics, UpdateRule, expect_batches, update
from .interrupt import ON_BATCHES, Interrupt
from .prior import NO_PRIOR, Prior
from .run_state import Report, SharedJournal, run_from, to_content

# The share that mini-batch number t takes is t ** -DECAY: between 0.5, which forgets fastest, and
# 1, which forgets nothing.
DECAY = 0.7
# Passes over the data at most, and the share of the whole decrease of the free energy below
# which a pass is the last.
MOST_EPOCHS = 10
SETTLED = 1e-3
# Sequences are drawn at random among so many mini-batches.
SHUFFLED = 8

STAGE = "mini-batches"


@dataclass(frozen=True)
class MiniBatches:
    """Size of mini-batches.

    Parameters
    ----------
    batch_size : int
        Number of sequences in a mini-batch.
    sequence_length : int
        Number of samples in a sequence.
    """

    batch_size: int
    sequence_length: int


@dataclass
class Trained:
    """What training on mini-batches came to."""

    parameters: Parameters
    free_energy: list[float] = field(default_factory=list)
    """Nats per sample, of every mini-batch under the parameters before its update."""
    n_passes: float = 0.0


def train_on_batches(
    data: Data,
    parameters: Parameters,
    rule: UpdateRule,
    batches: MiniBatches,
    *,
    rng: np.random.Generator,
    prior: Prior = NO_PRIOR,
    journal: SharedJournal,
    report: Report | None = None,
    interrupt: Interrupt | None = None,
) -> Trained:
    """Update after every mini-batch until the free energy has settled."""
    epochs = rng.spawn(MOST_EPOCHS)
    state = journal.state(STAGE)
    run = Run(parameters) if state is None else run_from(state["run"])
    means: list[float] = [] if state is None else list(state["means"])
    n_done = 0 if state is None else state["n_done"]
    for number in range(len(means), MOST_EPOCHS):
        if len(means) > 1 and means[-2] - means[-1] < SETTLED * (means[0] - means[-1]):
            break
        began, before = time.perf_counter(), len(run.free_energy)
        n_done = _epoch(data, run, rule, batches, epochs[number], prior, n_done)
        means.append(float(np.mean(run.free_energy[before:])))
        run.seconds.append(time.perf_counter() - began)
        content = {"run": to_content(run), "means": means, "n_done": n_done}
        journal.update(STAGE, content, force=True)
        if interrupt is not None:
            interrupt.offer(Run(run.parameters, [means[-1]]), ON_BATCHES)
        if report is not None:
            report(STAGE, len(means), means[-1], run.seconds[-1], MOST_EPOCHS)
        if interrupt is not None:
            interrupt.check()
    return Trained(run.parameters, run.free_energy, float(len(means)))


def _epoch(data, run, rule, batches, rng, prior, n_done):
    """Go through the data once, in random order; give back the number of mini-batches so far."""
    per_worker = -(-batches.batch_size // data.workers.size)
    n_features = data.n_features
    # Before the first update, enough is gathered for covariances that are not those of chance.
    n_states = len(run.parameters.initial_probs)
    n_first = -(-FEW * n_features * n_states // (batches.batch_size * batches.sequence_length))
    stream = _mini_batches(data, per_worker, batches.sequence_length, rng)
    for _ in range(_n_steps(data, per_worker, batches.sequence_length)):
        batch = next(stream, None)
        n_done += 1
        # A sequence may begin anywhere, so it begins as samples are on average.
        weights = None if run.statistics is None else run.statistics.moments.weights
        occupancy = run.parameters.initial_probs if weights is None else weights / weights.sum()
        at_any_time = run.parameters._replace(initial_probs=occupancy)
        new = expect_batches(data, [] if batch is None else [batch], at_any_time, rule)
        n_samples = new.moments.weights.sum()
        run.free_energy.append(-new.log_evidence / n_samples)
        share = 1 / n_done if n_done <= n_first else n_done**-DECAY
        run.statistics = _mixed(run.statistics, _scaled(new, data.n_samples / n_samples), share)
        if n_done >= n_first:
            run.parameters = update(run.parameters, run.statistics, rule, prior)
    return n_done


def _n_steps(data, per_worker, length):
    """Mini-batches of the worker that has most."""
    counts = np.zeros(data.workers.size)
    counts[data.workers.rank] = -(-sum(-(-n // length) for n in data.chains) // per_worker)
    return int(data.workers.total([counts])[0].max())


def _mini_batches(data: Data, per_worker: int, length: int, rng) -> Iterator[Batch]:
    """Cut the chains into sequences, and put them together by chance."""
    order = [data.recordings[i] for i in rng.permutation(len(data.recordings))]
    waiting: list[np.ndarray] = []
    for number, array in data.samples.stream(order):
        start = 0
        for n in data.samples.lengths[number]:
            waiting += [
                array[first : min(first + length, start + n)].copy()
                for first in range(start, start + n, length)
            ]
            start += n
            while len(waiting) > SHUFFLED * per_worker:
                yield _drawn(data, waiting, per_worker, rng)
    while waiting:
        yield _drawn(data, waiting, per_worker, rng)


def _drawn(data, waiting, n, rng):
    """Take sequences out of those that wait."""
    chosen = [waiting.pop(rng.integers(len(waiting))) for _ in range(min(n, len(waiting)))]
    layout = ChunkLayout(tuple(map(len, chosen)), data.chunk_length)
    return Batch([], list(data.blocks(np.concatenate(chosen))), layout)


def _scaled(statistics: Statistics, factor: float) -> Statistics:
    return Statistics(
        factor * statistics.log_evidence,
        factor * statistics.transitions,
        factor * statistics.initial,
        Moments(*(factor * value for value in statistics.moments)),
    )


def _mixed(old: Statistics | None, new: Statistics, share: float) -> Statistics:
    """Mix running sums with new ones, which take a share."""
    if old is None:
        return new
    old, new = _scaled(old, 1 - share), _scaled(new, share)
    return Statistics(
        old.log_evidence + new.log_evidence,
        old.transitions + new.transitions,
        old.initial + new.initial,
        Moments(*(a + b for a, b in zip(old.moments, new.moments, strict=True))),
    )
