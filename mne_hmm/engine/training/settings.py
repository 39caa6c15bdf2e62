"""How to train: the choices of a fit, as plain settings."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..._utils.feature_sequence import FeatureSequence
from ..inference.gaussian import Parameters
from ..inference.samples import Samples
from ..runtime.checkpoint import content_hash
from .mini_batches import MiniBatches
from .prior import Prior
from .update_rule import UpdateRule
from .whitening import Whitening

KMEANS, RANDOM, SUBSET = "kmeans", "random", "subset"

# Passes over all data after which no more moves are looked for.
MAX_PASSES = 190


@dataclass(frozen=True)
class InitialParameters:
    """Initial values that the user gives, in features; None where training finds its own."""

    initial_probs: np.ndarray | None = None
    transition_matrix: np.ndarray | None = None
    means: np.ndarray | None = None
    covariances: np.ndarray | None = None

    @property
    def all_emissions(self) -> bool:
        """Whether nothing about the emissions is left to find."""
        return self.means is not None and self.covariances is not None

    @property
    def any_given(self) -> bool:
        """Whether anything is given."""
        return any(value is not None for value in vars(self).values())

    def whitened(self, whitening: Whitening) -> dict[str, np.ndarray]:
        """Get those that are given, for whitened features."""
        values = {name: value for name, value in vars(self).items() if value is not None}
        if self.means is not None:
            values["means"] = whitening.whiten_means(self.means)
        if self.covariances is not None:
            values["covariances"] = whitening.whiten_covariances(self.covariances)
        return values


@dataclass(frozen=True)
class TrainingSettings:
    """How to train. Who calls decides on everything: there are no defaults here.

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
    initial : InitialParameters
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
    init: str | np.ndarray | Parameters
    n_init: int
    initial: InitialParameters
    refine: bool
    prior: Prior
    max_iter: int
    tol: float
    batches: MiniBatches | None

    @property
    def searching(self) -> bool:
        """Whether the start is left to training."""
        return isinstance(self.init, str) and not self.initial.all_emissions

    @property
    def n_search_steps(self) -> int:
        """About how many moves and passes a search reports, for a bar that comes to its end."""
        return 6 * self.n_init + 24

    @property
    def refining(self) -> bool:
        """Whether states are merged and split."""
        learned = self.rule.learn_covariances and self.rule.learn_transitions
        return self.refine and self.searching and learned and not self.initial.any_given


def training_facts(
    samples: Samples, settings: TrainingSettings, seed: str
) -> dict[str, str | int | float | bool | None]:
    """Collect what must be the same for a training to be resumed."""
    digests = samples.arrays.digests if isinstance(samples.arrays, FeatureSequence) else None
    if digests is None:
        data = content_hash(samples.arrays, samples.lengths)
    else:  # of a folder, whose index has them
        data = _hash([*digests, repr([list(lengths) for lengths in samples.lengths])])
    facts: dict[str, str | int | float | bool | None] = {"data": data}
    facts |= {"n_states": settings.n_states}
    facts |= vars(settings.rule)
    if isinstance(settings.init, str):
        facts["init"] = settings.init
    else:
        arrays = [settings.init] if isinstance(settings.init, np.ndarray) else settings.init
        facts["init"] = _hash([np.asarray(array).tobytes().hex() for array in arrays])
    for name, value in vars(settings.initial).items():
        if value is not None:
            facts[f"initial {name}"] = _hash([value.tobytes().hex()])
    facts |= {"n_init": settings.n_init, "refine": settings.refine, "max_iter": settings.max_iter}
    facts |= {"tol": settings.tol} | {f"prior of {k}": v for k, v in vars(settings.prior).items()}
    if settings.batches is not None:
        facts |= vars(settings.batches)
    return facts | {"random_state": seed}


def _hash(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
