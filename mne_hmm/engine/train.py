"""Training: coordinates, several starts, the best of them run to convergence."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .coordinates import Coordinates
from .em import LOST, Run, UpdateRule, converge, named, rises
from .gaussian import Parameters
from .refine import refine as merge_and_split
from .samples import Samples
from .start import (
    kmeans_labels,
    parameters_from_labels,
    pooled_parameters,
    random_labels,
    sticky_chain,
)

# Updates each start gets before the best is chosen.
BRIEF = 8

KMEANS, RANDOM = "kmeans", "random"


@dataclass(frozen=True)
class GivenParameters:
    """Initial values the user fixes, in features; None where training finds its own."""

    initial_probs: np.ndarray | None = None
    transition_matrix: np.ndarray | None = None
    means: np.ndarray | None = None
    covariances: np.ndarray | None = None

    @property
    def all_emissions(self) -> bool:
        """Whether nothing about the emissions is left to find."""
        return self.means is not None and self.covariances is not None

    def inside(self, coordinates: Coordinates) -> dict[str, np.ndarray]:
        """Those that are given, in the engine's coordinates."""
        values = {name: value for name, value in vars(self).items() if value is not None}
        if self.means is not None:
            values["means"] = coordinates.means_in(self.means)
        if self.covariances is not None:
            values["covariances"] = coordinates.covariances_in(self.covariances)
        return values


@dataclass
class Training:
    """What training came to."""

    parameters: Parameters
    """In features."""
    probabilities: np.ndarray
    """Posterior probabilities of all samples, shape (n_samples, n_states)."""
    free_energy: list[float]
    """Of the kept run, nats per sample, before the first update and after each."""
    seconds: list[float]
    converged: bool
    starts: list[dict] = field(default_factory=list)
    """For every start what it was, its course and whether it was kept."""
    moves: list[dict] = field(default_factory=list)
    """Every move that merged and split states: what it was, the free energy it was scored by
    on a part of the data (or ended in, where it was run on all), and whether it was kept."""
    lost: list[int] = field(default_factory=list)
    """States without samples."""
    rise: float = 0.0
    """Largest rise of the free energy beyond rounding: a bug unless 0."""
    n_passes: float = 0
    """Passes over the data; passes over a part count in parts."""
    rank: int = 0
    """Number of directions in which the data vary."""


def train(
    samples: Samples,
    n_states: int,
    rule: UpdateRule,
    *,
    init: str | np.ndarray | Parameters = KMEANS,
    n_init: int = 3,
    given: GivenParameters | None = None,
    refine: bool = False,
    max_iter: int = 100,
    tol: float = 1e-4,
    rng: np.random.Generator,
    report: Callable[[str, int, float], None] | None = None,
) -> Training:
    """Train a hidden Markov model with Gaussian states.

    Parameters
    ----------
    samples : Samples
        The data.
    n_states : int
        Number of states.
    rule : UpdateRule
        What to learn.
    init : "kmeans" | "random" | array of int, shape (n_samples,) | Parameters
        Where to start: clusters of smoothed power, random state time courses, a given
        assignment of samples to states, or given parameters.
    n_init : int
        Number of starts, each run briefly; the best goes on.
    given : GivenParameters | None
        Initial values that replace those the start finds.
    refine : bool
        Whether to merge and split states afterwards, until that helps no more. Not done
        where the user says where to start or holds parameters fixed.
    max_iter : int
        Largest number of updates of the run that is kept.
    tol : float
        Share of the whole decrease of the free energy below which a pass is the last.
    rng : numpy.random.Generator
        Source of all randomness.
    report : callable | None
        Called with the name of the stage, the number of updates and the free energy.

    Returns
    -------
    training : Training
        Parameters, posterior and history.
    """
    given = given or GivenParameters()
    if isinstance(init, Parameters):
        replaced = {name: value for name, value in vars(given).items() if value is not None}
        given = GivenParameters(**init._replace(**replaced)._asdict())
    coordinates = _coordinates(samples, rule, given)
    inner = coordinates.apply(samples, n_states * samples.n_features)

    searching = isinstance(init, str) and not given.all_emissions
    several = searching and n_init > 1
    runs = []
    for attempt, child in enumerate(rng.spawn(n_init if several else 1)):
        start = _start(samples, inner, n_states, rule, init, given, attempt, child)
        start = start._replace(**given.inside(coordinates))
        name = f"start {attempt + 1} of {n_init}" if several else "training"
        most = min(BRIEF, max_iter) if several else max_iter
        run = converge(inner, Run(start), rule, max_iter=most, tol=tol, report=named(report, name))
        runs.append(run)
    best = min(runs, key=lambda run: run.free_energy[-1])
    starts = [
        {"init": _describe(init), "free_energy": list(run.free_energy), "kept": run is best}
        for run in runs
    ]
    n_passes: float = sum(len(run.free_energy) for run in runs if run is not best)
    runs.clear()  # and the posteriors with them
    converge(inner, best, rule, max_iter=max_iter, tol=tol, report=named(report, "training"))
    n_passes += len(best.free_energy)

    moves = []
    if refine and searching and rule.learn_covariances and rule.learn_transitions:
        refinement = merge_and_split(
            inner, best, rule, max_iter=max_iter, tol=tol, rng=rng, report=report
        )
        best, moves = refinement.run, refinement.moves
        n_passes += refinement.n_passes

    # Densities of features differ from those of the engine's coordinates by a constant.
    volume = coordinates.log_volume
    for start in starts:
        start["free_energy"] = [value - volume for value in start["free_energy"]]
    for move in moves:
        move["free_energy"] -= volume
    assert best.posterior is not None
    probabilities = best.posterior.probabilities
    return Training(
        parameters=coordinates.parameters_out(best.parameters),
        probabilities=probabilities,
        free_energy=[value - volume for value in best.free_energy],
        seconds=best.seconds,
        converged=best.converged,
        starts=starts,
        moves=moves,
        lost=np.flatnonzero(probabilities.sum(0) < LOST).tolist(),
        rise=rises(best.free_energy),
        n_passes=n_passes,
        rank=coordinates.rank,
    )


def _coordinates(samples, rule, given):
    if given.covariances is not None and not rule.learn_covariances:
        return Coordinates.identity(samples.n_features)  # given densities are taken as they are
    return Coordinates.whitening(
        samples, centered=rule.learn_means, covariance_type=rule.covariance_type
    )


def _start(samples, inner, n_states, rule, init, given, attempt, rng):
    """Parameters in the engine's coordinates to start from."""
    if given.all_emissions:
        return pooled_parameters(n_states, inner.n_features)
    if isinstance(init, np.ndarray):
        labels = init
    elif init == RANDOM:
        transition = given.transition_matrix
        transition = sticky_chain(n_states)[1] if transition is None else transition
        labels = random_labels(samples, transition, rng)
    else:
        labels = kmeans_labels(samples, n_states, rng, attempt=attempt, use_means=rule.learn_means)
    return parameters_from_labels(inner, labels, n_states, rule)


def _describe(init):
    return init if isinstance(init, str) else "given"
