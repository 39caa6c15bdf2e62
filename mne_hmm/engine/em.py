"""Expectation-maximization: exact posteriors, closed-form updates.

With point estimates of the parameters and the exact posterior of the states, the
variational free energy is minus the log evidence. An update never raises it.
The updates are those of Baum et al. (1970, *Annals of Mathematical Statistics* 41(1),
164-171) for Gaussian states.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .chain import Posterior, smooth
from .gaussian import DIAGONAL, FULL, Emission, Moments, Parameters, weighted_moments
from .linalg import cholesky
from .samples import Blocks

# A state's variance in any direction is at least this share of the pooled variance. A
# state of few samples would otherwise shrink onto them and its density grow without bound.
VARIANCE_FLOOR = 1e-6

# A state with a smaller sum of posterior probabilities has lost its samples.
LOST = 1e-3

# Rounding of the free energy, as a share of it: densities are computed in float32.
ROUNDING = 1e-7

Report = Callable[[int, float], None]


def named(report: Callable[[str, int, float], None] | None, name: str) -> Report | None:
    """Make a report of one stage out of a report of all stages."""
    return None if report is None else lambda *args: report(name, *args)


@dataclass(frozen=True)
class UpdateRule:
    """Which parameters are learned, and the form of the covariances."""

    learn_means: bool
    learn_covariances: bool = True
    learn_transitions: bool = True
    covariance_type: str = FULL

    @property
    def learn_emissions(self) -> bool:
        """Whether an update needs the data at all."""
        return self.learn_means or self.learn_covariances


@dataclass
class Run:
    """A course of EM and where it has come to."""

    parameters: Parameters
    free_energy: list[float] = field(default_factory=list)
    """Nats per sample before the first update and after each."""
    seconds: list[float] = field(default_factory=list)
    """Duration of each pass over the data."""
    converged: bool = False
    posterior: Posterior | None = None
    """Posterior under `parameters`; None before the first pass."""

    before: float = 0.0
    """Decrease of the free energy in the runs that led here."""

    @property
    def decrease(self) -> float:
        """Nats per sample by which all updates have lowered the free energy."""
        return max(self.before, self.free_energy[0] - self.free_energy[-1])

    @property
    def n_updates(self) -> int:
        """Number of updates so far."""
        return len(self.free_energy) - 1


def posterior(blocks: Blocks, parameters: Parameters, covariance_type: str = FULL) -> Posterior:
    """Posterior of the states of all samples (the E-step)."""
    emission = Emission(parameters.means, parameters.covariances, covariance_type)
    return smooth(
        emission.log_densities(blocks),
        blocks.chains,
        parameters.transition_matrix,
        parameters.initial_probs,
    )


def update(
    blocks: Blocks, parameters: Parameters, expected: Posterior, rule: UpdateRule
) -> Parameters:
    """Maximize the expected log probability of data and states (the M-step)."""
    if rule.learn_transitions:
        parameters = _updated_chain(parameters, expected)
    if rule.learn_emissions:
        moments = weighted_moments(
            blocks,
            expected.probabilities,
            rule.covariance_type,
            with_sums=rule.learn_means or bool(parameters.means.any()),
        )
        parameters = updated_emissions(parameters, moments, rule)
    return parameters


def _updated_chain(parameters, expected):
    initial = expected.initial / expected.initial.sum()
    leaving = expected.transitions.sum(1, keepdims=True)
    visited = leaving > 0
    rows = expected.transitions / np.where(visited, leaving, 1.0)
    transition = np.where(visited, rows, parameters.transition_matrix)
    return parameters._replace(initial_probs=initial, transition_matrix=transition)


def updated_emissions(parameters: Parameters, moments: Moments, rule: UpdateRule) -> Parameters:
    """Means and covariances of the states from weighted moments.

    A state that has lost its samples keeps its parameters.
    """
    kept = moments.weights < LOST
    weights = np.where(kept, 1.0, moments.weights)
    means = parameters.means
    if rule.learn_means:
        means = np.where(kept[:, None], means, moments.sums / weights[:, None])
    covariances = parameters.covariances
    if rule.learn_covariances:
        averages = moments.sums / weights[:, None]
        second = moments.products / weights.reshape(-1, *[1] * (moments.products.ndim - 1))
        if rule.covariance_type == DIAGONAL:
            variances = second - 2 * means * averages + means**2
            new = np.maximum(variances, VARIANCE_FLOOR)[:, :, None] * np.eye(means.shape[1])
        else:
            cross = means[:, :, None] * averages[:, None, :]
            new = second - cross - cross.transpose(0, 2, 1) + means[:, :, None] * means[:, None, :]
            new = _floored(new)
        covariances = np.where(kept[:, None, None], covariances, new)
    return parameters._replace(means=means, covariances=covariances)


def _floored(covariances):
    """Nearest covariances in likelihood with no variance below the floor."""
    covariances = (covariances + covariances.transpose(0, 2, 1)) / 2
    floor = VARIANCE_FLOOR * np.eye(covariances.shape[-1])
    if cholesky(covariances - floor) is None:
        values, vectors = np.linalg.eigh(covariances)
        scaled = vectors * np.maximum(values, VARIANCE_FLOOR)[:, None, :]
        covariances = scaled @ vectors.transpose(0, 2, 1)
        covariances = (covariances + covariances.transpose(0, 2, 1)) / 2
    return covariances


def converge(
    blocks: Blocks,
    run: Run,
    rule: UpdateRule,
    *,
    max_iter: int,
    tol: float,
    report: Report | None = None,
) -> Run:
    """Update until the free energy has settled.

    Parameters
    ----------
    blocks : Blocks
        The data.
    run : Run
        Where to start or go on; it is changed in place.
    rule : UpdateRule
        What to learn.
    max_iter : int
        Largest number of updates, those already done included.
    tol : float
        Settled means that a pass lowered the free energy by less than this share of
        what all passes have lowered it by. (A share of the free energy itself would
        depend on the units of the data.)
    report : callable | None
        Called with the number of updates and the free energy after every pass.

    Returns
    -------
    run : Run
        The same run, with the posterior of its last parameters.
    """
    while True:
        began = time.perf_counter()
        if run.posterior is not None:
            if run.converged or run.n_updates >= max_iter:
                return run
            run.parameters = update(blocks, run.parameters, run.posterior, rule)
        run.posterior = posterior(blocks, run.parameters, rule.covariance_type)
        run.free_energy.append(-float(run.posterior.log_evidence.sum()) / blocks.n_samples)
        run.seconds.append(time.perf_counter() - began)
        run.converged = has_settled(run.free_energy, tol, run.before)
        if report is not None:
            report(run.n_updates, run.free_energy[-1])


def has_settled(free_energy: list[float], tol: float, before: float = 0.0) -> bool:
    """Whether the last pass lowered the free energy by next to nothing.

    Parameters
    ----------
    free_energy : list of float
        Nats per sample, pass by pass.
    tol : float
        Share of the whole decrease that counts as nothing.
    before : float
        Decrease in earlier runs that led to this one.

    Returns
    -------
    settled : bool
        Whether the last decrease is that small, or mere rounding.
    """
    if len(free_energy) < 2:
        return False
    last = free_energy[-2] - free_energy[-1]
    rounding = ROUNDING * abs(free_energy[-1])
    decrease = max(before, free_energy[0] - free_energy[-1])
    return last <= max(tol * decrease, rounding)


def rises(free_energy: list[float]) -> float:
    """Largest rise of the free energy beyond rounding, in nats per sample; 0 if none."""
    values = np.asarray(free_energy)
    excess = np.diff(values) - 10 * ROUNDING * np.maximum(np.abs(values[1:]), 1.0)
    return float(np.maximum(excess, 0).max(initial=0.0))
