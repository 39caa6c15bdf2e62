"""A trained model: its parameters, the names and order of its states, and its file."""

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import mne
import numpy as np
from mne.utils import copy_function_doc_to_method_doc

from .. import viz
from .._utils.checks import check_number, check_random_state, listed
from .._utils.files import check_target
from .._utils.typing import FileName, RandomState
from ..io.parcel_inputs import AtlasArguments
from ..preparation.covariance_alignment import Alignment
from ..preparation.settings import FittedPreparation
from ..states.time_course import PREFIX
from .file import Learned, read_model, write_model
from .inference import draw_features
from .inference_methods import InferenceMixin
from .summary import count_learned, facts_html, facts_text, parameter_table
from .training_reference import Reference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class HMM(InferenceMixin):
    """A hidden Markov model with Gaussian states, and the preparation it belongs to.

    Made by `fit_hmm` and `read_hmm`.

    Parameters
    ----------
    initial_probs : array, shape (n_states,)
        Probability of each state at the start of a span.
    transition_matrix : array, shape (n_states, n_states)
        Probability of a step from state i to state j.
    means : array, shape (n_states, n_features)
        Mean of each state, in units of the features.
    covariances : array, shape (n_states, n_features, n_features)
        Covariance of each state.
    preparation : FittedPreparation
        What makes features of recordings.
    learned : Learned
        Which parameters were learned.
    history : dict | None
        The course of training.
    free_energy : float
        Nats per sample of the training data.
    converged : bool
        Whether training had settled when it stopped.
    annotations : list of mne.Annotations | None
        States of the training recordings.
    state_names : sequence of str | None
        Names of the states. None names them ``state_0`` and so on.
    random_state : int | None
        The seed, where it was a number.
    versions : dict | None
        Versions of the software it was trained with, and settings its bits depend on.
    reference : Reference | None
        Free energies of the training recordings, where they came with the model.
    alignments : sequence of Alignment | None
        The maps of the training recordings, where these were aligned.
    explained_by_recording : float
        Share of the variance of state occupancy that is explained by recording.
    atlas_arguments : AtlasArguments | None
        What made parcels of the training recordings, where that was done here.

    Attributes
    ----------
    n_states : int
        Number of states.
    initial_probs_ : array, shape (n_states,)
        Probability of each state at the start of a span.
    transition_matrix_ : array, shape (n_states, n_states)
        Probability of a step from state i to state j.
    means_ : array, shape (n_states, n_features)
        Mean of each state.
    covariances_ : array, shape (n_states, n_features, n_features)
        Covariance of each state.
    preparation_ : FittedPreparation
        What makes features of recordings.
    history_ : dict
        ``free_energy`` (nats per sample, before the first update and after each),
        ``seconds`` (per pass), ``starts`` (every start, its free energy after every move, and
        whether it was the best), ``moves`` (those of the search that were followed to their end:
        their ``round``, of which ``start``, the state that was ``split``, the two that were
        ``merged``, where the second half of the split state has the number ``n_states``, the
        free energy they came to, and whether they were ``kept``; and with ``all_data`` the
        models that were tried on all data), ``search`` (``n_starts``, how many of them came to
        the same optimum as the best: ``n_same``, and whether the search is ``complete``: no move
        gained anything when it ended; empty without one), ``batches`` (free energy of each
        mini-batch) and ``n_passes`` (passes over the data in all; those over a part count in
        parts, and a search by its multiplications). Starts and moves without ``all_data`` are of
        short windows that know nothing of each other: compare their free energies among
        themselves only.
    free_energy_ : float
        Nats per sample of the training data; lower is better.
    converged_ : bool
        Whether training had settled when it stopped.
    annotations_ : list of mne.Annotations
        States of the training recordings, one entry per recording. Empty where epochs
        overlap.
    alignments_ : list of Alignment
        The map of each training recording to the mean of all, where they were aligned; empty
        otherwise. Spectra and maps come back in a recording's own channels by it.
    explained_by_recording_ : float
        Share of the variance of state occupancy in the training data that is explained by
        recording, as of `compute_recording_dependence`. NaN for one recording.
    state_names : tuple of str
        Names of the states.
    learned : Learned
        Which parameters were learned, and the form of the covariances.
    random_state : int | None
        The seed, where it was a number.
    versions : dict
        Versions of the software it was trained with, and settings its bits depend on.
    reference : Reference | None
        Free energies of the training recordings, where they came with the model.
    atlas_arguments : AtlasArguments
        What makes parcels of source estimates and brain images. It is not saved with the model.
    """

    def __init__(
        self,
        initial_probs: np.ndarray,
        transition_matrix: np.ndarray,
        means: np.ndarray,
        covariances: np.ndarray,
        preparation: FittedPreparation,
        *,
        learned: Learned,
        history: dict[str, Any] | None = None,
        free_energy: float = np.nan,
        converged: bool = False,
        annotations: list[mne.Annotations] | None = None,
        state_names: Sequence[str] | None = None,
        random_state: int | np.integer | None = None,
        versions: dict[str, Any] | None = None,
        reference: Reference | None = None,
        alignments: Sequence[Alignment] | None = None,
        explained_by_recording: float = np.nan,
        atlas_arguments: AtlasArguments | None = None,
    ) -> None:
        self.initial_probs_ = np.asarray(initial_probs, float)
        self.transition_matrix_ = np.asarray(transition_matrix, float)
        self.means_ = np.asarray(means, float)
        self.covariances_ = np.asarray(covariances, float)
        self.preparation_ = preparation
        self.learned = learned
        self.history_ = history or {}
        self.free_energy_ = float(free_energy)
        self.converged_ = bool(converged)
        self.annotations_ = list(annotations or [])
        self.state_names = (
            default_state_names(self.n_states) if state_names is None else tuple(state_names)
        )
        self.random_state = random_state
        self.versions = versions or {}
        self.reference = reference
        self.alignments_ = list(alignments or [])
        self.explained_by_recording_ = float(explained_by_recording)
        # Not saved: an atlas may be a file or many labels, and neither is the model's.
        self.atlas_arguments = atlas_arguments or AtlasArguments()

    @property
    def n_parameters(self) -> int:
        """Number of free parameters that were learned."""
        return count_learned(self)

    def sample(
        self, n_samples: int, random_state: RandomState = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw features and states from the model.

        Parameters
        ----------
        n_samples : int
            Number of samples.
        random_state : int | numpy.random.Generator | None
            Seed.

        Returns
        -------
        features : array, shape (n_samples, n_features)
            Samples of the features.
        labels : array of int, shape (n_samples,)
            Their states.
        """
        from ..engine import sample_states

        n_samples = check_number(
            n_samples, "n_samples", rule="a whole number ≥ 1", low=1, integer=True
        )
        rng = check_random_state(random_state)
        labels = sample_states(n_samples, self.initial_probs_, self.transition_matrix_, rng)
        return draw_features(self, labels, rng), labels

    def reorder_states(self, order: Sequence[int]) -> "HMM":
        """Put the states in another order.

        Parameters
        ----------
        order : sequence of int
            ``order[i]`` is the present number of what becomes state ``i``.

        Returns
        -------
        hmm : HMM
            A new model. States without a name of their own are named by their new number.
        """
        rule = f"a sequence with each state from 0 to {self.n_states - 1} once"
        if isinstance(order, (str, dict)) or not isinstance(order, Iterable):
            raise TypeError(f"order must be {rule}, got {order!r} of type {type(order).__name__}")
        order = [
            check_number(state, f"order[{i}]", rule="a whole number", integer=True)
            for i, state in enumerate(order)
        ]
        if sorted(order) != list(range(self.n_states)):
            raise ValueError(f"order must be {rule}, got {order}")
        names = [self.state_names[state] for state in order]
        default = default_state_names(self.n_states)
        new_names = [default[i] if name in default else name for i, name in enumerate(names)]
        return copy_with(
            self,
            initial_probs=self.initial_probs_[order],
            transition_matrix=self.transition_matrix_[np.ix_(order, order)],
            means=self.means_[order],
            covariances=self.covariances_[order],
            **self._renamed(names, new_names),
        )

    def rename_states(self, names: Sequence[str] | dict[str, str]) -> "HMM":
        """Give the states names.

        Parameters
        ----------
        names : sequence of str | dict
            One name per state, or new names by present ones.

        Returns
        -------
        hmm : HMM
            A new model, whose annotations bear the new names.
        """
        if isinstance(names, dict):
            unknown = [name for name in names if name not in self.state_names]
            if unknown:
                raise ValueError(
                    f"names: there is no state {listed(unknown)}; the states are "
                    f"{listed(self.state_names, 30)}"
                )
            names = [names.get(name, name) for name in self.state_names]
        if isinstance(names, str) or not isinstance(names, Iterable):
            raise TypeError(
                "names must be a sequence with a name per state, or a dictionary of new names by "
                f"present ones, got {names!r} of type {type(names).__name__}"
            )
        names = list(names)
        wrong = [name for name in names if not isinstance(name, str) or not name]
        if len(names) != self.n_states or wrong or len(set(names)) < len(names):
            raise ValueError(
                f"names must be {self.n_states} different names, one per state, got {names}"
            )
        return copy_with(self, **self._renamed(self.state_names, names))

    def _renamed(self, names: Sequence[str], new_names: Sequence[str]) -> dict[str, Any]:
        """Make the constructor's arguments that hold names of states, with other names."""
        mapping = {PREFIX + name: PREFIX + new for name, new in zip(names, new_names, strict=True)}
        annotations = copy.deepcopy(self.annotations_)
        for states in annotations:
            states.rename({k: v for k, v in mapping.items() if k in states.description})
        return {"annotations": annotations, "state_names": new_names}

    def copy(self) -> "HMM":
        """Copy the model.

        Returns
        -------
        hmm : HMM
            A copy that shares nothing that can be changed.
        """
        return copy.deepcopy(self)

    def summary(self) -> None:
        """Print the parameters with shapes, free numbers, and whether they were learned."""
        print(parameter_table(self))  # noqa: T201  (what the method is for)

    def __str__(self) -> str:
        return facts_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return facts_html(self)

    @copy_function_doc_to_method_doc(viz.plot_history)
    def plot_history(self, *, axes: "Axes | None" = None, show: bool = True) -> "Figure":
        return viz.plot_history(self, axes=axes, show=show)

    @copy_function_doc_to_method_doc(viz.plot_transition_matrix)
    def plot_transition_matrix(self, *, axes: "Axes | None" = None, show: bool = True) -> "Figure":
        return viz.plot_transition_matrix(self, axes=axes, show=show)

    @copy_function_doc_to_method_doc(viz.plot_transition_graph)
    def plot_transition_graph(self, *, axes: "Axes | None" = None, show: bool = True) -> "Figure":
        return viz.plot_transition_graph(self, axes=axes, show=show)

    @copy_function_doc_to_method_doc(viz.plot_covariances)
    def plot_covariances(
        self,
        *,
        kind: str = "covariance",
        space: str = "features",
        axes: "Sequence[Axes] | None" = None,
        show: bool = True,
    ) -> "Figure":
        return viz.plot_covariances(self, kind=kind, space=space, axes=axes, show=show)

    def report(self, inst: Any, *, title: str | None = None, **options: Any) -> "mne.Report":
        """Make a report of the model and the states of recordings.

        Parameters
        ----------
        inst : object
            The recordings, as for `fit_hmm`, but no PreparedData.
        title : str | None
            Title of the report.
        **options : dict
            Further arguments of :func:`add_hmm_to_report`, such as ``names`` and ``n_jobs``.

        Returns
        -------
        report : mne.Report
            The report; ``report.save("report.html")`` writes it.

        See Also
        --------
        add_hmm_to_report : Adds the same to a report that is there.
        """
        from ..report import add_hmm_to_report

        report = mne.Report(title=title or "Hidden Markov model", verbose="ERROR")
        add_hmm_to_report(report, self, inst, **options)
        return report

    def save(self, fname: FileName, overwrite: bool = False) -> None:
        """Write the model to an HDF5 file.

        The file appears whole or not at all.

        Parameters
        ----------
        fname : path-like
            Name of the file; ends in ``.h5`` or ``.hdf5``.
        overwrite : bool
            Whether to replace a file that exists.

        Raises
        ------
        FileExistsError
            If the file exists and ``overwrite`` is False.
        OSError
            If it cannot be written. What was there before stays.
        """
        path = check_target(fname, overwrite, (".h5", ".hdf5"))
        write_model(path, self, overwrite)


def read_hmm(fname: FileName) -> HMM:
    """Read a model from a file.

    Parameters
    ----------
    fname : path-like
        Name of the file, written by :meth:`HMM.save`.

    Returns
    -------
    hmm : HMM
        The model.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    OSError
        If the file is cut off, damaged, or not HDF5, or a folder.
    ValueError
        If it holds something else, or was written by a newer version.

    See Also
    --------
    read_osl_hmm : Reads a model of osl-dynamics.
    """
    return HMM(**read_model(fname))


def copy_with(hmm: HMM, **changes: Any) -> HMM:
    """Construct a model anew with other arguments; all else is copied."""
    arguments: dict[str, Any] = {
        "initial_probs": hmm.initial_probs_,
        "transition_matrix": hmm.transition_matrix_,
        "means": hmm.means_,
        "covariances": hmm.covariances_,
        "preparation": hmm.preparation_,
        "learned": hmm.learned,
        "history": hmm.history_,
        "free_energy": hmm.free_energy_,
        "converged": hmm.converged_,
        "annotations": hmm.annotations_,
        "state_names": hmm.state_names,
        "random_state": hmm.random_state,
        "versions": hmm.versions,
        "reference": hmm.reference,
        "alignments": hmm.alignments_,
        "explained_by_recording": hmm.explained_by_recording_,
    }
    kept = {name: value for name, value in arguments.items() if name not in changes}
    # An atlas may be a file that is open, and nobody changes it.
    changes.setdefault("atlas_arguments", hmm.atlas_arguments)
    return HMM(**copy.deepcopy(kept), **changes)


def default_state_names(n_states: int) -> tuple[str, ...]:
    """Name states that nobody has named."""
    return tuple(f"state_{k}" for k in range(n_states))
