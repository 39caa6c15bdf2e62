"""How a model is trained: arguments, defaults and checks that all who fit models share."""

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.checks import check_number, check_option, listed
from .._utils.files import check_folder
from .._utils.typing import FileName
from ..preparation.prepared_data import PreparedData
from .file import Learned
from .hmm import HMM
from .inference import engine_parameters
from .priors import Priors

if TYPE_CHECKING:
    import tensorflow as tf

    from ..engine import MiniBatches, Parameters, TrainingSettings

# Samples in a sequence of a mini-batch: long against visits to states, so that few are cut.
SEQUENCE_LENGTH = 1000
INITIALIZATIONS = ("kmeans", "random", "subset")


@dataclass(frozen=True, eq=False)
class FitSettings:
    """The training arguments of `fit_hmm`, which describes them, checked on construction."""

    learn_means: bool | str = "auto"
    learn_covariances: bool = True
    learn_transitions: bool = True
    covariance_type: str = "full"
    initial_means: np.ndarray | None = None
    initial_covariances: np.ndarray | None = None
    initial_transition_matrix: np.ndarray | None = None
    initial_probs: np.ndarray | None = None
    init: str | np.ndarray | HMM = "kmeans"
    n_init: int = 3
    refine: bool = True
    max_iter: int = 100
    tol: float = 1e-4
    priors: Priors | None = None
    sequence_length: int | None = None
    batch_size: int | None = None
    strategy: "tf.distribute.Strategy | None" = None
    checkpoint_dir: FileName | None = None
    log_dir: FileName | None = None
    on_interrupt: str = "raise"

    def __post_init__(self) -> None:
        for name in ("n_init", "max_iter"):
            self._set_number(name, "a whole number ≥ 1", 1)
        self._set_number("tol", "a number ≥ 0", 0, integer=False)
        check_option(self.learn_means, "learn_means", ("auto", True, False))
        for name in ("learn_covariances", "refine", "learn_transitions"):
            check_option(getattr(self, name), name, (True, False))
        check_option(self.covariance_type, "covariance_type", ("full", "diag"))
        check_option(self.on_interrupt, "on_interrupt", ("raise", "return"))
        if self.priors is not None and not isinstance(self.priors, Priors):
            raise TypeError(
                'priors must be Priors or None, as in Priors(covariances="auto"), got '
                f"{self.priors!r}"
            )
        if self.batch_size is not None:
            self._set_number("batch_size", "None or a whole number ≥ 1", 1)
            if self.sequence_length is not None:
                self._set_number("sequence_length", "None or a whole number ≥ 2", 2)
        elif self.sequence_length is not None:
            raise ValueError(
                f"sequence_length={self.sequence_length} is for training on mini-batches only; "
                "give a batch_size with it, or leave it out: chains are never cut otherwise"
            )
        for name in ("checkpoint_dir", "log_dir"):
            object.__setattr__(self, name, check_folder(getattr(self, name), name))
        if isinstance(self.init, str):
            check_option(self.init, "init", INITIALIZATIONS)

    def _set_number(self, name: str, rule: str, low: int, integer: bool = True) -> None:
        """Check a number, and keep it as an int or a float."""
        value = check_number(getattr(self, name), name, rule=rule, low=low, integer=integer)
        object.__setattr__(self, name, value)

    @property
    def checkpoint_folder(self) -> Path | None:
        """The folder for checkpoints, as it was checked."""
        return None if self.checkpoint_dir is None else Path(self.checkpoint_dir)

    def learned(self, prepared: PreparedData) -> Learned:
        """Decide which parameters are learned from some data."""
        means = self.learn_means
        if means == "auto":
            means = prepared.preparation.n_embeddings == 1
        return Learned(
            bool(means), self.learn_covariances, self.learn_transitions, self.covariance_type
        )

    def for_engine(self, prepared: PreparedData, n_states: int) -> "TrainingSettings":
        """Check what depends on the data, and give all in the engine's terms."""
        from ..engine import InitialParameters, Prior, TrainingSettings, UpdateRule

        learned = self.learned(prepared)
        strengths = (self.priors or Priors()).strengths(prepared.n_features, prepared.sfreq)
        initial = {
            "initial_probs": self.initial_probs,
            "transition_matrix": self.initial_transition_matrix,
            "means": self.initial_means,
            "covariances": self.initial_covariances,
        }
        return TrainingSettings(
            n_states,
            UpdateRule(
                learned.means, learned.covariances, learned.transitions, learned.covariance_type
            ),
            initial=InitialParameters(**check_initial(initial, n_states, prepared.n_features)),
            init=check_init(self.init, prepared, n_states),
            n_init=self.n_init,
            refine=self.refine,
            prior=Prior(**strengths),
            max_iter=self.max_iter,
            tol=self.tol,
            batches=self._mini_batches(),
        )

    def _mini_batches(self) -> "MiniBatches | None":
        """Sizes of mini-batches; None if all data are used at once from the beginning."""
        if self.batch_size is None:
            return None
        from ..engine import MiniBatches

        return MiniBatches(self.batch_size, self.sequence_length or SEQUENCE_LENGTH)

    def of_fits(self) -> dict[str, Any]:
        """List what makes a fit another fit to the same data, if no initial values are given."""
        names = ("learn_means", "covariance_type", "n_init", "refine", "max_iter", "tol")
        return {name: getattr(self, name) for name in names}


def check_n_states(n_states: Any) -> int:
    """Check the number of states of a model."""
    return check_number(n_states, "n_states", rule="a whole number ≥ 2", low=2, integer=True)


def check_enough_data(prepared: PreparedData, n_states: int, learned: Learned) -> None:
    """Check that there are no more free parameters than values."""
    d = prepared.n_features
    per_state = (d if learned.means else 0) + (
        (d * (d + 1) // 2 if learned.covariance_type == "full" else d) if learned.covariances else 0
    )

    def n_free(k: int) -> int:
        return k * per_state + ((k - 1) * (k + 1) if learned.transitions else 0)

    n_values = prepared.n_samples * d
    if n_free(n_states) <= n_values:
        return
    # The numbers grow with k, and reach n_values before k does.
    fitting = bisect_right(range(min(n_states, n_values + 2)), n_values, key=n_free) - 1
    ways = "" if fitting < 2 else f"use n_states≤{fitting}, "
    raise ValueError(
        f"n_states={n_states} has {n_free(n_states):,} free parameters, but the data are only "
        f"{prepared.n_samples:,} samples × {d} features = {n_values:,} values; {ways}fewer "
        'features (Preparation(n_components=...)), covariance_type="diag", or more data'
    )


def check_initial(initial: dict[str, Any], n_states: int, n_features: int) -> dict[str, np.ndarray]:
    """Get those initial values that there are as float64 arrays of the right shape."""
    shapes = {
        "initial_probs": (n_states,),
        "transition_matrix": (n_states, n_states),
        "means": (n_states, n_features),
        "covariances": (n_states, n_features, n_features),
    }
    out = {}
    for name, value in initial.items():
        if value is None:
            continue
        argument = name if name.startswith("initial") else f"initial_{name}"
        value = np.array(value, float)
        if value.shape != shapes[name]:
            raise ValueError(f"{argument} must have shape {shapes[name]}, got {value.shape}")
        if not np.isfinite(value).all():
            raise ValueError(f"{argument} must hold finite numbers only")
        if name in ("initial_probs", "transition_matrix"):
            sums = value.sum(-1)
            if (value < 0).any() or not np.allclose(sums, 1, rtol=0, atol=1e-6):
                raise ValueError(
                    f"{argument} must hold probabilities that sum to 1 (per row), got sums of "
                    f"{listed(np.round(np.atleast_1d(sums), 6))}"
                )
            value = value / sums[..., None]
        if name == "covariances":
            _check_covariances(value, argument)
        out[name] = value
    return out


def _check_covariances(covariances: np.ndarray, argument: str) -> None:
    """Check that covariances are symmetric and positive definite."""
    for state, covariance in enumerate(covariances):
        symmetric = np.allclose(covariance, covariance.T, rtol=1e-6, atol=0)
        if not symmetric or np.linalg.eigvalsh(covariance)[0] <= 0:
            raise ValueError(
                f"{argument} must be symmetric and positive definite, but that of state {state} "
                "is not; add a little to its diagonal"
            )


def check_init(init: Any, prepared: PreparedData, n_states: int) -> "str | np.ndarray | Parameters":
    """Check the initialization against the data, and give it in the engine's terms."""
    if isinstance(init, HMM):
        if (init.n_states, init.n_features) != (n_states, prepared.n_features):
            raise ValueError(
                f"init is a model of {init.n_states} states and {init.n_features} features, but "
                f"{n_states} states and {prepared.n_features} features are needed here"
            )
        return engine_parameters(init)
    if isinstance(init, str):
        return init
    labels = np.asarray(init)
    if labels.shape != (prepared.n_samples,) or labels.dtype.kind not in "iu":
        raise ValueError(
            'init must be "kmeans", "random", "subset", a model, or a whole number for each of '
            f"the {prepared.n_samples:,} prepared samples, got {labels.dtype} of shape "
            f"{labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= n_states:
        raise ValueError(
            f"init must hold states from 0 to {n_states - 1}, got {labels.min()} to {labels.max()}"
        )
    return labels
