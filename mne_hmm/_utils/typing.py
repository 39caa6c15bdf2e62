"""Types that many folders share, and what a model is to those that stand before it."""

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, Union

import numpy as np

if TYPE_CHECKING:
    import mne

# One recording that `fit_hmm` takes, as io/inputs.py and io/parcel_inputs.py read it: besides
# these, source estimates, images of nibabel, BIDSPaths and prepared data, none of which has a type
# here. Of a list, each entry is one.
RecordingLike: TypeAlias = Union[
    "mne.io.BaseRaw", "mne.BaseEpochs", np.ndarray, str, PathLike[str], Any
]
# What `random_state` may be: a seed, a generator that goes on, or None for a new seed.
RandomState: TypeAlias = int | np.integer | np.random.Generator | None
# The name of a file or folder.
FileName: TypeAlias = str | PathLike[str]
# MNE-Python's `verbose`: whether to log, or a level of logging; None takes the one that is set.
Verbose: TypeAlias = bool | str | int | None


class GaussianHMM(Protocol):
    """What a trained model has for figures, spectra and files; nobody sets it afterwards.

    Shapes: ``initial_probs_`` (n_states,), ``transition_matrix_`` (n_states, n_states),
    ``means_`` (n_states, n_features), ``covariances_`` (n_states, n_features, n_features).
    """

    @property
    def n_states(self) -> int:
        """Number of states."""

    @property
    def n_features(self) -> int:
        """Number of features."""

    @property
    def initial_probs_(self) -> np.ndarray:
        """Probability of each state at the first sample of a segment."""

    @property
    def transition_matrix_(self) -> np.ndarray:
        """Probability of each state, given the one before."""

    @property
    def means_(self) -> np.ndarray:
        """Mean of the features in each state."""

    @property
    def covariances_(self) -> np.ndarray:
        """Covariance of the features in each state."""

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the states."""

    @property
    def preparation_(self) -> Any:
        """The `FittedPreparation` that makes features of recordings."""

    @property
    def alignments_(self) -> Sequence[Any]:
        """The `Alignment` of each recording that the model was trained on, if it aligns any."""

    @property
    def learned(self) -> Any:
        """Which parameters were learned (`Learned`)."""

    @property
    def history_(self) -> dict[str, Any]:
        """Free energies of training, and what was tried."""

    @property
    def free_energy_(self) -> float:
        """Free energy in nats per sample."""

    @property
    def converged_(self) -> bool:
        """Whether training converged."""

    @property
    def annotations_(self) -> Sequence[Any]:
        """The states of each recording that the model was trained on, as annotations."""

    @property
    def explained_by_recording_(self) -> float:
        """Share of the occupancies' variance that recordings explain."""

    @property
    def atlas_arguments(self) -> Any:
        """What turned source estimates and images into parcels (`AtlasArguments`)."""

    def predict(self, inst: Any, *, sfreq: float | None = None) -> Any:
        """Infer the states of recordings."""
