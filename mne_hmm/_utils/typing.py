"""Types that many folders share, and what a model is to those that stand before it."""

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import mne

# Any recording that `fit_hmm` takes; a list of these has its own entry in each signature.
RecordingLike: TypeAlias = (
    "mne.io.BaseRaw | mne.BaseEpochs | np.ndarray | str | PathLike[str] | Any"
)
# What `random_state` may be.
RandomState: TypeAlias = int | np.integer | np.random.Generator | None
# The name of a file or folder.
FileName: TypeAlias = str | PathLike[str]
# MNE-Python's `verbose`.
Verbose: TypeAlias = bool | str | int | None


class GaussianHMM(Protocol):
    """What a Gaussian HMM has: enough for figures, spectra and files, whatever class it is of."""

    initial_probs_: np.ndarray
    transition_matrix_: np.ndarray
    means_: np.ndarray
    covariances_: np.ndarray
    state_names: tuple[str, ...]
    history_: dict[str, Any]
    free_energy_: float
    converged_: bool
    alignments_: Sequence[Any]

    preparation_: Any

    @property
    def n_states(self) -> int:
        """Number of states."""

    @property
    def n_features(self) -> int:
        """Number of features."""
