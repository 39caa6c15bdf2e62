"""How to train: the choices of a fit, as plain settings."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from ..._utils.feature_sequence import FeatureSequence
from ..inference.gaussian import Parameters
from ..inference.samples import Samples
from ..runtime.checkpoint import content_hash
from .em import UpdateRule
from .mini_batches import MiniBatches
from .prior import NO_PRIOR, Prior
from .whitening import Coordinates

KMEANS, RANDOM, SUBSET = "kmeans", "random", "subset"

# Passes over all data after which no more moves are looked for.
MOST_PASSES = 190


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

    @property
    def some(self) -> bool:
        """Whether anything is given."""
        return any(value is not None for value in vars(self).values())

    def inside(self, coordinates: Coordinates) -> dict[str, np.ndarray]:
        """Those that are given, in the engine's coordinates."""
        values = {name: value for name, value in vars(self).items() if value is not None}
        if self.means is not None:
            values["means"] = coordinates.means_in(self.means)
        if self.covariances is not None:
            values["covariances"] = coordinates.covariances_in(self.covariances)
        return values


@dataclass(frozen=True)
class Plan:
    """How to train.

    Parameters
    ----------
    n_states : int
        Number of states.
    rule : UpdateRule
        What to learn.
    init : "kmeans" | "random" | "subset" | array of int, shape (n_samples,) | Parameters
        Where to start: clusters of smoothed power, random state time courses, the same on a
        random half of the windows, a given assignment of samples to states, or given
        parameters.
    n_init : int
        Number of starts, each run briefly; the best goes on.
    given : GivenParameters
        Initial values that replace those the start finds.
    refine : bool
        Whether to make moves out of local optima. Not done where the user says where to start
        or holds parameters fixed.
    prior : Prior
        What is believed of the parameters.
    max_iter : int
        Largest number of updates of a run on all data.
    tol : float
        Share of the whole decrease of the free energy below which a pass is the last.
    batches : MiniBatches | None
        How to train on mini-batches before all data are used at once; None for not at all.
    """

    n_states: int
    rule: UpdateRule
    init: str | np.ndarray | Parameters = KMEANS
    n_init: int = 3
    given: GivenParameters = field(default_factory=GivenParameters)
    refine: bool = False
    prior: Prior = NO_PRIOR
    max_iter: int = 100
    tol: float = 1e-4
    batches: MiniBatches | None = None

    @property
    def searching(self) -> bool:
        """Whether the start is left to training."""
        return isinstance(self.init, str) and not self.given.all_emissions

    @property
    def refining(self) -> bool:
        """Whether states are merged and split."""
        learned = self.rule.learn_covariances and self.rule.learn_transitions
        return self.refine and self.searching and learned and not self.given.some


def training_facts(
    samples: Samples, plan: Plan, seed: str
) -> dict[str, str | int | float | bool | None]:
    """Tell what must be the same for a training to be resumed."""
    digests = samples.arrays.digests if isinstance(samples.arrays, FeatureSequence) else None
    if digests is None:
        data = content_hash(samples.arrays, samples.lengths)
    else:  # of a folder, whose index has them
        data = _hash([*digests, repr([list(lengths) for lengths in samples.lengths])])
    facts: dict[str, str | int | float | bool | None] = {"data": data, "n_states": plan.n_states}
    facts |= vars(plan.rule)
    if isinstance(plan.init, str):
        facts["init"] = plan.init
    else:
        arrays = [plan.init] if isinstance(plan.init, np.ndarray) else plan.init
        facts["init"] = _hash([np.asarray(array).tobytes().hex() for array in arrays])
    for name, value in vars(plan.given).items():
        if value is not None:
            facts[f"initial {name}"] = _hash([value.tobytes().hex()])
    facts |= {"n_init": plan.n_init, "refine": plan.refine, "max_iter": plan.max_iter}
    facts |= {"tol": plan.tol} | {f"prior of {k}": v for k, v in vars(plan.prior).items()}
    if plan.batches is not None:
        facts |= vars(plan.batches)
    return facts | {"random_state": seed}


def _hash(texts):
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
