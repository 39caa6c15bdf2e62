"""Expectation-maximization: exact posteriors, closed-form updates.

With point estimates of the parameters and the exact posterior of the states, the
variational free energy is minus the log evidence. An update never raises it.
The updates are those of Baum et al. (1970, *Annals of Mathematical Statistics* 41(1),
164-171) for Gaussian states. Runs go beyond them, in the direction in which the sums over the
data have changed, and back to them where that did not help: overrelaxation (Salakhutdinov & Roweis,
2003, *Proceedings of the 20th International Conference on Machine Learning*, 664-671), which
needs about half of the passes.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..inference.chain import Posterior, Smoothed, smooth_rows
from ..inference.gaussian import (
    DIAGONAL,
    FULL,
    Emission,
    Moments,
    Parameters,
    batch_moments,
)
from ..inference.linalg import cholesky, eigh
from ..inference.samples import Batch, Data
from ..runtime._tensorflow import tf
from .prior import NO_PRIOR, Prior
from .update_rule import UpdateRule

# A state's variance in any direction is at least this share of the pooled variance. A
# state of few samples would otherwise shrink onto them and its density grow without bound.
VARIANCE_FLOOR = 1e-6

# A state with a smaller sum of posterior probabilities has lost its samples.
MIN_STATE_WEIGHT = 1e-3

# Rounding of the free energy, as a share of it: densities are computed in float32.
ROUNDING = 1e-7

# How far an update goes along the change of the sums; 1 is the update of expectation-maximization.
# Any step between 0 and 2 converges near an optimum (Peters & Walker, 1978, *SIAM Journal on
# Applied Mathematics* 35(2), 362-378). This one was never taken back on simulated parcels and real
# EEG.
OVERRELAXATION = 1.8
# Expected steps and starts fall to no less than this share of what the data say at once: they are
# never negative.
MIN_SHARE_LEFT = 0.3


class PassMonitor:
    """What a run of EM asks after every pass; this one has nothing to say."""

    def after_pass(self, run: "EMRun") -> None:
        """Take note of a pass."""

    def is_enough(self, run: "EMRun") -> bool:
        """Whether a run should end before it has converged."""
        return False


NO_MONITOR = PassMonitor()


class Statistics(NamedTuple):
    """All that an update needs to know of the data: sums over all samples, in float64."""

    log_evidence: float
    """Nats of all data under the parameters that the posterior was computed with."""
    transitions: np.ndarray
    """Expected number of steps from state i to state j, shape (n_states, n_states)."""
    initial: np.ndarray
    """Expected number of chains that begin in each state, shape (n_states,)."""
    moments: Moments
    """Sums of the samples of each state, and of their products."""


@dataclass
class EMRun:
    """A run of EM: its history and the parameters it has reached."""

    parameters: Parameters
    free_energy: list[float] = field(default_factory=list)
    """Nats per sample before the first update and after each."""
    seconds: list[float] = field(default_factory=list)
    """Duration of each pass over the data."""
    converged: bool = False
    statistics: Statistics | None = None
    """Of the data under `parameters`; None before the first pass."""

    before: float = 0.0
    """Decrease of the free energy in a run on a subsample that led here."""

    step: float = OVERRELAXATION
    """How far updates go; shorter after each that had to be taken back."""
    followed: Statistics | None = None
    """What `parameters` were made from; None before the first update."""
    n_taken_back: int = 0
    """Updates that raised the free energy, and were made again without going beyond."""

    @property
    def n_updates(self) -> int:
        """Number of updates so far."""
        return len(self.free_energy) - 1

    @property
    def n_passes(self) -> int:
        """Number of passes over the data so far."""
        return len(self.free_energy) + self.n_taken_back


def posterior(
    data: Data, parameters: Parameters, covariance_type: str = FULL, *, precise: bool = False
) -> Posterior:
    """Posterior of the states of all of a worker's samples, from densities in float64 if asked."""
    emission = Emission(parameters.means, parameters.covariances, covariance_type, precise)
    smoothed = [_smooth_batch(emission, batch, parameters) for batch in data]
    return Posterior(
        np.concatenate([of_batch.posteriors.numpy() for of_batch in smoothed]),
        sum((of_batch.transitions for of_batch in smoothed), np.zeros(())),
        sum((of_batch.initial for of_batch in smoothed), np.zeros(())),
        np.concatenate([of_batch.log_evidence for of_batch in smoothed]),
    )


def _smooth_batch(emission: Emission, batch: Batch, parameters: Parameters) -> Smoothed:
    """Posterior of the states of a batch of whole chains."""
    return smooth_rows(
        emission.rows(batch),
        emission.constants,
        batch.layout,
        parameters.transition_matrix,
        parameters.initial_probs,
        dtype=tf.float32,
    )


def expect(data: Data, parameters: Parameters, rule: UpdateRule) -> Statistics:
    """Sum up all data under the posterior of their states (the E-step).

    Densities, posterior and sums are computed batch by batch, so that the data are met once
    and no more than a batch of them is needed in memory.
    """
    return expect_batches(data, data, parameters, rule)


def expect_batches(
    data: Data,
    batches: Iterable[Batch],
    parameters: Parameters,
    rule: UpdateRule,
) -> Statistics:
    """Sum up some batches of each worker under the posterior of their states."""
    emission = Emission(parameters.means, parameters.covariances, rule.covariance_type)
    with_sums = rule.learn_means or bool(parameters.means.any())
    n_states, n_features = parameters.means.shape

    def sum_batch(batch: Batch) -> tuple[np.ndarray, ...]:
        with tf.device(batch.device or None):
            smoothed = _smooth_batch(emission, batch, parameters)
            sums = products = np.zeros(0)
            if rule.learn_emissions:
                sums, products = batch_moments(
                    batch,
                    smoothed.posteriors,
                    rule.covariance_type,
                    with_sums=with_sums,
                )
        evidence = smoothed.log_evidence.sum(keepdims=True)
        return evidence, smoothed.transitions, smoothed.initial, smoothed.weights, sums, products

    shapes: list[tuple[int, ...]] = [(1,), (n_states, n_states), (n_states,), (n_states,)]
    if rule.learn_emissions:
        of_sums = (n_states, n_features)
        shapes += [of_sums, of_sums if rule.covariance_type == DIAGONAL else (*of_sums, n_features)]
    else:
        shapes += [(0,), (0,)]
    totals = [np.zeros(shape) for shape in shapes]
    for values in data.each(sum_batch, batches):
        for total, value in zip(totals, values, strict=True):
            total += value
    evidence, transitions, initial, weights, sums, products = data.workers.total(totals)
    return Statistics(float(evidence[0]), transitions, initial, Moments(weights, sums, products))


def update(
    parameters: Parameters, statistics: Statistics, rule: UpdateRule, prior: Prior = NO_PRIOR
) -> Parameters:
    """Maximize the expected log probability of data and states (the M-step)."""
    if rule.learn_transitions:
        parameters = _update_chain(parameters, statistics, prior)
    if rule.learn_emissions:
        parameters = update_emissions(parameters, statistics.moments, rule, prior)
    return parameters


def _update_chain(parameters: Parameters, statistics: Statistics, prior: Prior) -> Parameters:
    """Get initial probabilities and transition matrix from expected counts."""
    initial = statistics.initial + prior.initial
    steps = statistics.transitions + prior.steps(len(statistics.initial))
    leaving = steps.sum(1, keepdims=True)
    visited = leaving > 0
    rows = steps / np.where(visited, leaving, 1.0)
    transition = np.where(visited, rows, parameters.transition_matrix)
    return parameters._replace(initial_probs=initial / initial.sum(), transition_matrix=transition)


def update_emissions(
    parameters: Parameters, moments: Moments, rule: UpdateRule, prior: Prior = NO_PRIOR
) -> Parameters:
    """Means and covariances of the states from weighted moments.

    A state that has lost its samples keeps its parameters.
    """
    kept = moments.weights < MIN_STATE_WEIGHT
    weights = np.where(kept, 1.0, moments.weights)
    n_features = parameters.means.shape[1]
    means = parameters.means
    n_means = prior.means if rule.learn_means else 0.0
    if rule.learn_means:
        means = np.where(kept[:, None], means, moments.sums / (weights + n_means)[:, None])
    covariances = parameters.covariances
    if rule.learn_covariances:
        averages = moments.sums / weights[:, None]
        second = moments.products / weights.reshape(-1, *[1] * (moments.products.ndim - 1))
        # Samples believed in beforehand: at the pooled mean 0, with the pooled covariance 1.
        before = (prior.covariances, n_means, float(n_means > 0))
        if rule.covariance_type == DIAGONAL:
            variances = second - 2 * means * averages + means**2
            variances = _with_prior(variances, weights, np.ones(n_features), means**2, before)
            new = np.maximum(variances, VARIANCE_FLOOR)[:, :, None] * np.eye(n_features)
        else:
            cross = means[:, :, None] * averages[:, None, :]
            outer = means[:, :, None] * means[:, None, :]
            new = second - cross - cross.transpose(0, 2, 1) + outer
            new = _floor_variances(_with_prior(new, weights, np.eye(n_features), outer, before))
        covariances = np.where(kept[:, None, None], covariances, new)
    return parameters._replace(means=means, covariances=covariances)


def _with_prior(
    second: np.ndarray,
    weights: np.ndarray,
    pooled: np.ndarray,
    outer: np.ndarray,
    before: tuple[float, float, float],
) -> np.ndarray:
    """Covariances of samples seen and samples believed in, of which `before` gives the numbers."""
    n_pooled, n_means, extra = before
    if not (n_pooled or n_means):
        return second
    weights = weights.reshape(-1, *[1] * (second.ndim - 1))
    seen = weights * second + n_pooled * pooled + n_means * outer
    return seen / (weights + n_pooled + extra)


def _floor_variances(covariances: np.ndarray) -> np.ndarray:
    """Nearest covariances in likelihood with no variance below the floor."""
    covariances = (covariances + covariances.transpose(0, 2, 1)) / 2
    floor = VARIANCE_FLOOR * np.eye(covariances.shape[-1])
    if cholesky(covariances - floor) is None:
        values, vectors = eigh(covariances)
        scaled = vectors * np.maximum(values, VARIANCE_FLOOR)[:, None, :]
        covariances = scaled @ vectors.transpose(0, 2, 1)
        covariances = (covariances + covariances.transpose(0, 2, 1)) / 2
    return covariances


def converge(
    data: Data,
    run: EMRun,
    rule: UpdateRule,
    *,
    max_iter: int,
    tol: float,
    prior: Prior = NO_PRIOR,
    monitor: PassMonitor = NO_MONITOR,
) -> EMRun:
    """Update until the free energy has converged."""
    while True:
        began = time.perf_counter()
        if run.statistics is None:
            run.statistics, objective = _make_pass(data, run.parameters, rule, prior)
        elif run.converged or run.n_updates >= max_iter or monitor.is_enough(run):
            return run
        else:
            objective = _update_run(data, run, run.statistics, rule, prior)
        run.free_energy.append(-objective / data.n_samples)
        run.seconds.append(time.perf_counter() - began)
        run.converged = has_converged(run.free_energy, tol, run.before)
        monitor.after_pass(run)


def _update_run(
    data: Data, run: EMRun, latest: Statistics, rule: UpdateRule, prior: Prior
) -> float:
    """Update a run from its latest statistics, never upwards; return the new log probability."""
    limit = run.free_energy[-1] + ROUNDING * abs(run.free_energy[-1])
    beyond = None
    if run.followed is not None and run.step > 1:
        beyond = _extrapolate(run.followed, latest, run.step, rule)
    for target in [latest] if beyond is None else [beyond, latest]:
        parameters = update(run.parameters, target, rule, prior)
        statistics, objective = _make_pass(data, parameters, rule, prior)
        if target is latest or -objective / data.n_samples <= limit:
            break
        run.n_taken_back += 1
        run.step = 1 + (run.step - 1) / 2
    run.parameters, run.followed, run.statistics = parameters, target, statistics
    return objective


def _make_pass(
    data: Data, parameters: Parameters, rule: UpdateRule, prior: Prior
) -> tuple[Statistics, float]:
    """Sum up all data, and compute the log probability of them and the parameters."""
    statistics = expect(data, parameters, rule)
    return statistics, statistics.log_evidence + prior.log_density(parameters, rule)


def _extrapolate(
    followed: Statistics, new: Statistics, step: float, rule: UpdateRule
) -> Statistics | None:
    """Go beyond new statistics, coming from those that were followed; None if nothing is there."""

    def go(old: np.ndarray, new: np.ndarray) -> np.ndarray:
        return old + step * (new - old)

    def go_on_positive(old: np.ndarray, new: np.ndarray) -> np.ndarray:
        return np.maximum(go(old, new), MIN_SHARE_LEFT * new)

    moments = new.moments
    if rule.learn_emissions:
        moments = Moments(*map(go, followed.moments, moments))
        if not _are_moments(moments):
            return None
    return new._replace(
        transitions=go_on_positive(followed.transitions, new.transitions),
        initial=go_on_positive(followed.initial, new.initial),
        moments=moments,
    )


def _are_moments(moments: Moments) -> bool:
    """Whether there are samples that have these weighted sums and products."""
    weights, sums, products = moments
    if weights.min() < 1:
        return False
    means = sums / weights[:, None]
    if products.ndim == 2:
        return bool((products / weights[:, None] > means**2).all())
    outer = means[:, :, None] * means[:, None, :]
    return cholesky(products / weights[:, None, None] - outer) is not None


def has_converged(free_energy: list[float], tol: float, before: float = 0.0) -> bool:
    """Whether the last pass lowered the free energy by next to nothing."""
    if len(free_energy) < 2:
        return False
    last = free_energy[-2] - free_energy[-1]
    rounding = ROUNDING * abs(free_energy[-1])
    return last <= max(tol * (before + free_energy[0] - free_energy[-1]), rounding)


def largest_rise(free_energy: list[float]) -> float:
    """Largest rise of the free energy beyond rounding, in nats per sample; 0 if none."""
    values = np.asarray(free_energy)
    excess = np.diff(values) - 10 * ROUNDING * np.maximum(np.abs(values[1:]), 1.0)
    return float(np.maximum(excess, 0).max(initial=0.0))
