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

from ..inference.chunks import ChunkLayout
from ..inference.gaussian import MIN_SAMPLES_PER_FEATURE, Moments, Parameters
from ..inference.samples import Batch, Data
from .em import EMRun, Statistics, expect_batches, update
from .interrupt import ON_BATCHES
from .monitor import TrainingMonitor
from .prior import NO_PRIOR, Prior
from .run_state import run_from_content, run_to_content
from .update_rule import UpdateRule

# The share that the t-th mini-batch takes is t ** -DECAY: between 0.5, which forgets fastest, and
# 1, which forgets nothing.
DECAY = 0.7
# Passes over the data at most, and the share of the whole decrease of the free energy below
# which a pass is the last.
MAX_EPOCHS = 10
MIN_DECREASE_SHARE = 1e-3
# Sequences are drawn at random among so many mini-batches.
N_SHUFFLED = 8

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
class MiniBatchResult:
    """The parameters and history of training on mini-batches."""

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
    monitor: TrainingMonitor,
) -> MiniBatchResult:
    """Update after every mini-batch until the free energy has converged."""
    epochs = rng.spawn(MAX_EPOCHS)
    state = monitor.journal.state(STAGE)
    run = EMRun(parameters) if state is None else run_from_content(state["run"])
    means: list[float] = [] if state is None else list(state["means"])
    n_done = 0 if state is None else state["n_done"]
    for i_epoch in range(len(means), MAX_EPOCHS):
        if len(means) > 1 and means[-2] - means[-1] < MIN_DECREASE_SHARE * (means[0] - means[-1]):
            break
        began, n_before = time.perf_counter(), len(run.free_energy)
        n_done = _run_epoch(data, run, rule, batches, epochs[i_epoch], prior, n_done)
        means.append(float(np.mean(run.free_energy[n_before:])))
        run.seconds.append(time.perf_counter() - began)
        content = {"run": run_to_content(run), "means": means, "n_done": n_done}
        monitor.journal.update(STAGE, content, force=True)
        monitor.interrupt.offer(EMRun(run.parameters, [means[-1]]), ON_BATCHES)
        monitor.report(STAGE, len(means), means[-1], run.seconds[-1], MAX_EPOCHS)
        monitor.interrupt.check()
    return MiniBatchResult(run.parameters, run.free_energy, float(len(means)))


def _run_epoch(
    data: Data,
    run: EMRun,
    rule: UpdateRule,
    batches: MiniBatches,
    rng: np.random.Generator,
    prior: Prior,
    n_done: int,
) -> int:
    """Go through the data once, in random order; return the number of mini-batches so far."""
    per_worker = -(-batches.batch_size // data.workers.size)
    n_features = data.n_features
    # Before the first update, enough is gathered for covariances that are not those of chance.
    n_states = len(run.parameters.initial_probs)
    n_needed = MIN_SAMPLES_PER_FEATURE * n_features * n_states
    n_first = -(-n_needed // (batches.batch_size * batches.sequence_length))
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
        run.statistics = _average(run.statistics, _scale(new, data.n_samples / n_samples), share)
        if n_done >= n_first:
            run.parameters = update(run.parameters, run.statistics, rule, prior)
    return n_done


def _n_steps(data: Data, per_worker: int, length: int) -> int:
    """Count the mini-batches of the worker that has most."""
    counts = np.zeros(data.workers.size)
    counts[data.workers.rank] = -(-sum(-(-n // length) for n in data.chains) // per_worker)
    return int(data.workers.total([counts])[0].max())


def _mini_batches(
    data: Data, per_worker: int, length: int, rng: np.random.Generator
) -> Iterator[Batch]:
    """Cut the chains into sequences, and put them together at random."""
    order = [data.recordings[i] for i in rng.permutation(len(data.recordings))]
    waiting: list[np.ndarray] = []
    for i_recording, array in data.samples.stream(order):
        start = 0
        for n in data.samples.lengths[i_recording]:
            waiting += [
                array[first : min(first + length, start + n)].copy()
                for first in range(start, start + n, length)
            ]
            start += n
            while len(waiting) > N_SHUFFLED * per_worker:
                yield _draw_batch(data, waiting, per_worker, rng)
    while waiting:
        yield _draw_batch(data, waiting, per_worker, rng)


def _draw_batch(data: Data, waiting: list[np.ndarray], n: int, rng: np.random.Generator) -> Batch:
    """Make a batch of random sequences, which are taken out of those that wait."""
    chosen = [waiting.pop(rng.integers(len(waiting))) for _ in range(min(n, len(waiting)))]
    layout = ChunkLayout(tuple(map(len, chosen)), data.chunk_length)
    return Batch([], list(data.blocks(np.concatenate(chosen))), layout)


def _scale(statistics: Statistics, factor: float) -> Statistics:
    """Statistics of so many times the data."""
    return Statistics(
        factor * statistics.log_evidence,
        factor * statistics.transitions,
        factor * statistics.initial,
        Moments(*(factor * value for value in statistics.moments)),
    )


def _average(old: Statistics | None, new: Statistics, share: float) -> Statistics:
    """Average running sums with new ones, which take a share."""
    if old is None:
        return new
    old, new = _scale(old, 1 - share), _scale(new, share)
    return Statistics(
        old.log_evidence + new.log_evidence,
        old.transitions + new.transitions,
        old.initial + new.initial,
        Moments(*(a + b for a, b in zip(old.moments, new.moments, strict=True))),
    )
