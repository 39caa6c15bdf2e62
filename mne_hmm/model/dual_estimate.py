"""What the states of a group's model look like in one recording."""

from dataclasses import dataclass, field

import numpy as np

from .._utils.checks import listed, plural
from .._utils.mne_private import warn
from .._utils.typing import GaussianHMM
from ..preparation.covariance_alignment import Alignment


@dataclass(frozen=True, eq=False)
class DualEstimate:
    """Means and covariances of one recording, for the states of a model of many.

    Made by :meth:`HMM.dual_estimate`.

    Parameters
    ----------
    means : array, shape (n_states, n_features)
        Mean of each state in the recording, in units of the features; the model's own, if it
        did not learn them. NaN for a state that is never on.
    covariances : array, shape (n_states, n_features, n_features)
        Covariance of each state in the recording; the model's own, if it did not learn them.
        NaN for a state that is never on.
    weights : array, shape (n_states,)
        Time each state is on, in seconds: the sum of its probabilities.
    state_names : tuple of str
        Names of the states.
    alignment : Alignment | None
        The map of the recording, where recordings are aligned: spectra and maps of this estimate
        are in the recording's own channels.
    """

    means: np.ndarray = field(repr=False)
    covariances: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    state_names: tuple[str, ...]
    alignment: Alignment | None = field(default=None, repr=False)

    @property
    def never_on(self) -> tuple[str, ...]:
        """Names of the states the recording says nothing of."""
        unknown = np.isnan(self.means).any(1) | np.isnan(self.covariances).any((1, 2))
        return tuple(np.array(self.state_names)[unknown].tolist())

    def __str__(self) -> str:
        return (
            f"<DualEstimate | {plural(len(self.state_names), 'state')}, "
            f"{self.means.shape[1]} features, {self.weights.sum():.1f} s>"
        )

    __repr__ = __str__


def estimate_recording(
    hmm: GaussianHMM,
    features: np.ndarray,
    probabilities: np.ndarray,
    sfreq: float,
    alignment: Alignment | None = None,
) -> DualEstimate:
    """Estimate what the states of a model look like in one recording.

    Shapes: ``features`` (n_samples, n_features), ``probabilities`` (n_samples, n_states).
    """
    from ..engine import estimate

    learned = hmm.learned
    estimated = estimate(
        features,
        probabilities,
        means=None if learned.means else hmm.means_,
        covariance_type=learned.covariance_type,
    )
    return DualEstimate(
        estimated.means.copy(),
        estimated.covariances if learned.covariances else hmm.covariances_.copy(),
        estimated.weights / sfreq,
        hmm.state_names,
        alignment,
    )


def warn_never_on(estimates: list[DualEstimate], names: list[str]) -> None:
    """Warn of states that are never on in a recording."""
    names = names or [f"recording {i}" for i in range(len(estimates))]
    unknown = [
        f"{listed(estimate.never_on)} in {name}"
        for estimate, name in zip(estimates, names, strict=True)
        if estimate.never_on
    ]
    if unknown:
        warn(
            "States that are never on have no means and covariances of their own there (NaN): "
            f"{listed(unknown, 4)}"
        )
