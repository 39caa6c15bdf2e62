"""One model, tested on what it was not trained on."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from mne.utils import verbose

from .._utils.arrays import nanmean_of_rows
from .._utils.checks import check_number, listed, plural
from .._utils.docs import fill_doc
from .._utils.locks import checkpoints_held
from .._utils.mne_private import check_pandas
from .._utils.typing import FileName, RandomState, RecordingLike, Verbose
from ..io.parcel_inputs import AtlasArguments
from ..model.fit_settings import FitSettings, check_enough_data
from ..model.hmm import HMM
from ..model.inference import infer_by_recording
from ..model.priors import Priors
from ..preparation.prepared_data import PreparedData
from ..preparation.settings import Preparation
from .fit_setup import FitSetup, set_up_fits
from .folds import Fold, RecordingSegments, describe_folds, select_rows
from .many_fits import list_tasks, parameters_of, run_tasks, warn_of_fits
from .model_pairs import PairSums

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """How well models describe what they were not trained on, and whether their states agree.

    Made by :func:`cross_validate`.

    Parameters
    ----------
    hmms : list of HMM
        The model of each fold, trained on all the others.
    held_out : array, shape (n_folds,)
        Log evidence of the held-out data in nats per sample; higher is better.
    free_energy : array, shape (n_folds,)
        Free energy of the training data in nats per sample; lower is better.
    agreement : array, shape (n_folds, n_folds)
        Share of all samples alike, corrected for chance (Cohen's kappa), of each pair of models.
        NaN where nothing can be said.
    correlation : array, shape (n_folds, n_folds)
        Correlation of the probabilities of matched states over all samples, mean over states.
    distance : array, shape (n_folds, n_folds)
        Distance of the covariances of matched states, mean over states.
    metric : "riemannian" | "wasserstein"
        The distance.
    n_held_out : array of int, shape (n_folds,)
        Number of samples that were held out.
    n_training : array of int, shape (n_folds,)
        Number of samples that were trained on.
    names : tuple of tuple of str
        What was held out in each fold.
    folds : str
        What the folds are, in words.
    """

    hmms: list[HMM] = field(repr=False)
    held_out: np.ndarray
    free_energy: np.ndarray
    agreement: np.ndarray
    correlation: np.ndarray
    distance: np.ndarray
    metric: str
    n_held_out: np.ndarray
    n_training: np.ndarray
    names: tuple[tuple[str, ...], ...]
    folds: str

    @property
    def n_states(self) -> int:
        """Number of states."""
        return self.hmms[0].n_states

    @property
    def score(self) -> float:
        """Log evidence of held-out data in nats per sample, mean over folds."""
        return float(self.held_out.mean())

    @property
    def error(self) -> float:
        """Standard error of that mean, over folds."""
        return float(self.held_out.std(ddof=1) / np.sqrt(len(self.held_out)))

    @property
    def converged(self) -> np.ndarray:
        """Whether training had settled, shape (n_folds,)."""
        return np.array([hmm.converged_ for hmm in self.hmms])

    def _with_others(self, values: np.ndarray) -> np.ndarray:
        """Average each fold's values with the other folds, NaN where none is known."""
        return nanmean_of_rows(np.where(np.eye(len(values), dtype=bool), np.nan, values))

    def to_data_frame(self) -> "pd.DataFrame":
        """Get what is known as a table with one row per fold.

        Returns
        -------
        df : pandas.DataFrame
            Columns ``fold``, ``names`` (what was held out), ``n_training`` and ``n_held_out``
            (samples), ``free_energy`` (training data) and ``held_out`` (log evidence), both in
            nats per sample, ``agreement``, ``correlation`` and ``distance`` (means over the
            other folds), and ``converged``; needs pandas.
        """
        pandas = check_pandas()
        return pandas.DataFrame(
            {
                "fold": np.arange(len(self.hmms)),
                "names": [", ".join(names) for names in self.names],
                "n_training": self.n_training,
                "n_held_out": self.n_held_out,
                "free_energy": self.free_energy,
                "held_out": self.held_out,
                "agreement": self._with_others(self.agreement),
                "correlation": self._with_others(self.correlation),
                "distance": self._with_others(self.distance),
                "converged": self.converged,
            }
        )

    def __str__(self) -> str:
        rows = [
            f"{fold:4d}  {score:17.5f}  {free:11.5f}  {kappa:9.3f}  {listed(names, 2)}"
            for fold, (score, free, kappa, names) in enumerate(
                zip(
                    self.held_out,
                    self.free_energy,
                    self._with_others(self.agreement),
                    self.names,
                    strict=True,
                )
            )
        ]
        pairs = self.agreement[np.triu_indices(len(self.agreement), 1)]
        pairs = pairs[~np.isnan(pairs)]
        agree = (
            f"kappa {pairs.mean():.3f}, {pairs.min():.3f} to {pairs.max():.3f}"
            if len(pairs)
            else "nothing can be said"
        )
        evidence = (
            f"Held-out log evidence {self.score:.5f} ± {self.error:.5f} nats per sample (mean over "
            "folds and its standard error)"
        )
        unsettled = int(np.sum(~self.converged))
        return "\n".join(
            [
                f"Cross-validation of {self.n_states} states, {self.folds}",
                "fold  held-out evidence  free energy  agreement  held out",
                *rows,
                evidence,
                f"States of different folds: {agree}",
                *([f"{plural(unsettled, 'fit')} had not settled"] if unsettled else []),
            ]
        )

    __repr__ = __str__


@verbose
@fill_doc
def cross_validate(
    inst: "RecordingLike | Sequence[RecordingLike]",
    n_states: int,
    *,
    n_folds: int = 5,
    group: Sequence[Hashable] | None = None,
    gap: float = 1.0,
    metric: str = "riemannian",
    preparation: Preparation | None = None,
    picks: Any = None,
    reject_by_annotation: bool = True,
    sfreq: float | None = None,
    learn_means: bool | str = FitSettings.learn_means,
    covariance_type: str = FitSettings.covariance_type,
    n_init: int = FitSettings.n_init,
    refine: bool = FitSettings.refine,
    max_iter: int = FitSettings.max_iter,
    tol: float = FitSettings.tol,
    priors: Priors | None = FitSettings.priors,
    checkpoint_dir: FileName | None = None,
    atlas: Any = None,
    src: Any = None,
    subjects_dir: Any = None,
    random_state: RandomState = None,
    n_jobs: int | None = None,
    verbose: Verbose = None,
) -> CrossValidation:
    """Test a model on recordings that it was not trained on.

    The model is trained on all but one fold, for each fold, and says how probable it takes that
    fold to be. The recordings are prepared once. Then the states that the models of all folds
    find are compared: those that hang on a few recordings do not come again.

    Parameters
    ----------
    %(inst)s
    n_states : int
        Number of states, at least 2.
    %(n_folds)s
    group : sequence of hashable | None
        What recordings belong together, an entry for each, such as the names of persons: those
        of one group are in one fold. If ``preparation`` aligns recordings, they are aligned
        together, too.
    %(gap)s
    metric : "riemannian" | "wasserstein"
        Distance between the covariances of states of different folds, as for `match_states`.
    preparation : Preparation | None
        How recordings become features, as for `fit_hmm`.
    %(picks)s
    %(reject_by_annotation)s
    %(sfreq)s
    %(model_of_fits)s
    refine : bool
        Whether each fit searches for the best optimum, as `fit_hmm` does.
    %(training_of_fits)s
    checkpoint_dir : path-like | None
        Folder to which each finished fit is written. After an interruption the same call goes on
        where it stopped. A folder of `select_n_states` with the same arguments has its fits of
        folds already. It is made if it does not exist. Start anew by deleting it.
    %(atlas)s
    %(random_state)s
    %(n_jobs_of_fits)s
    %(verbose)s

    Returns
    -------
    validation : CrossValidation
        Held-out log evidence, free energy of the training data, agreement, and the models.

    Raises
    ------
    ValueError
        If an argument is out of range, the data cannot be prepared (see `prepare`) or are too
        few for the folds or the states, or if ``checkpoint_dir`` holds fits to other data or with
        other settings.
    TypeError
        If an argument is of the wrong type.
    OSError
        If ``checkpoint_dir`` cannot be used: it is a file, lies in no folder, or holds other
        files.

    See Also
    --------
    select_n_states : Compares numbers of states in this way.
    mne_hmm.sklearn.HMMTransformer : Features of recordings for cross-validated classification.

    Notes
    -----
    Principal components are found with all data, held-out ones included, so that evidence of all
    folds is of the same features. They know nothing of states, and what leaks is small; pass
    features that were prepared with other recordings (``prepare(recordings,
    hmm.preparation_)``) where it matters. Held-out log evidence :footcite:`CeleuxDurand2008`
    compares models of the same features only.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> import mne_hmm
    >>> raw, _ = mne_hmm.simulate_raw(n_states=2, n_channels=6, duration=20., random_state=0)
    >>> validation = mne_hmm.cross_validate(
    ...     raw, 2, n_folds=2, n_init=1, refine=False, random_state=0, verbose=False,
    ...     preparation=mne_hmm.Preparation(n_components=10),
    ... )
    >>> validation.held_out.shape
    (2,)
    """
    whole = "a whole number ≥ 2"
    n_states = check_number(n_states, "n_states", rule=whole, low=2, integer=True)
    n_folds = check_number(n_folds, "n_folds", rule=whole, low=2, integer=True)
    atlas_arguments = AtlasArguments(atlas, src, subjects_dir)
    setup = set_up_fits(
        inst,
        n_folds,
        group=group,
        gap=gap,
        metric=metric,
        preparation=preparation,
        picks=picks,
        reject_by_annotation=reject_by_annotation,
        sfreq=sfreq,
        checkpoint_dir=checkpoint_dir,
        atlas_arguments=atlas_arguments,
        random_state=random_state,
        n_jobs=n_jobs,
        settings=FitSettings(
            learn_means=learn_means,
            covariance_type=covariance_type,
            n_init=n_init,
            refine=refine,
            max_iter=max_iter,
            tol=tol,
            priors=priors,
        ),
    )
    prepared, folds = setup.prepared, setup.folds
    for fold in folds:
        check_enough_data(select_rows(prepared, fold.training), n_states, setup.learned)
    with checkpoints_held(setup.checkpoint_dir):
        context = setup.begin()
        tasks = list_tasks(n_states, folds, [], 0, context.root_seed)
        fits = run_tasks(tasks, prepared, context, n_jobs)
    warn_of_fits(tasks, fits, setup.settings.max_iter)
    return _gather(setup, fits, atlas_arguments, metric)


def _gather(
    setup: FitSetup, fits: list[dict[str, Any]], atlas_arguments: AtlasArguments, metric: str
) -> CrossValidation:
    """Put what came out of the fits together, and compare their models."""
    prepared, folds = setup.prepared, setup.folds
    covariance_type = setup.settings.covariance_type
    agreement, correlation, distance = _compare_folds(fits, prepared, covariance_type, metric)
    hmms = [
        HMM(
            fit["initial_probs"],
            fit["transition_matrix"],
            fit["means"],
            fit["covariances"],
            prepared.preparation,
            learned=setup.learned,
            free_energy=fit["free_energy"],
            converged=fit["converged"],
            atlas_arguments=atlas_arguments,
        )
        for fit in fits
    ]
    blocks = len(prepared) < len(folds)  # no more groups than recordings
    return CrossValidation(
        hmms=hmms,
        held_out=np.array([fit["held_out"] for fit in fits]),
        free_energy=np.array([fit["free_energy"] for fit in fits]),
        agreement=agreement,
        correlation=correlation,
        distance=distance,
        metric=metric,
        n_held_out=np.array([_count_rows(fold.held_out) for fold in folds]),
        n_training=np.array([_count_rows(fold.training) for fold in folds]),
        names=tuple(_held_out_names(fold, prepared, blocks) for fold in folds),
        folds=describe_folds(prepared, len(folds), setup.group),
    )


def _count_rows(recordings: Sequence[RecordingSegments]) -> int:
    return sum(rows.n_rows for rows in recordings)


def _compare_folds(
    fits: list[dict[str, Any]], prepared: PreparedData, covariance_type: str, metric: str
) -> list[np.ndarray]:
    """Compute kappa, correlation and distance of the models of all pairs of folds, as matrices."""
    models = [parameters_of(fit) for fit in fits]
    n = len(models)
    first, second = np.triu_indices(n, 1)
    sums = PairSums(models, list(zip(first.tolist(), second.tolist(), strict=True)))
    for _, posteriors in infer_by_recording(models, prepared, covariance_type):
        sums.add([posterior.probabilities for posterior in posteriors])
    out = []
    for values, with_itself in zip(sums.agreement(metric), (1.0, 1.0, 0.0), strict=True):
        matrix = np.full((n, n), with_itself)
        matrix[first, second] = matrix[second, first] = values
        out.append(matrix)
    return out


def _held_out_names(fold: Fold, prepared: PreparedData, blocks: bool) -> tuple[str, ...]:
    """Name what is held out; blocks with their times."""
    out = []
    for rows in fold.held_out:
        name = prepared.names[rows.recording]
        if blocks:
            times = prepared.times[rows.recording]
            first, last = rows.segments[0][0], rows.segments[-1][1] - 1
            name += f" {times[first]:.1f}-{times[last]:.1f} s"
        out.append(name)
    return tuple(out)
