"""How many states: what is known of each number, and a rule that chooses."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mne.utils import verbose

from .._utils.arrays import mean_of_known
from .._utils.checks import check_number, check_option, check_random_state, listed
from .._utils.docs import fill_doc
from .._utils.files import check_folder
from .._utils.locks import checkpoints_held
from .._utils.mne_private import check_pandas
from ..io.parcel_inputs import AtlasArguments
from ..model.file import Learned
from ..model.fit import prepared_of
from ..model.fit_settings import FitSettings, check_enough_data
from ..model.priors import Priors
from ..preparation.prepared_data import PreparedData
from ..preparation.settings import Preparation
from .folds import Fold, folds_in_words, make_folds, number_groups, split_halves, take
from .many_fits import FOLD, REPEAT, Work, compare, run_all, tasks_of, tell
from .model_pairs import METRICS
from .recommendation import Recommendation, recommend

CRITERIA = ("aic", "bic", "icl")
MEASURES = ("agreement", "correlation", "distance")


@dataclass(frozen=True, eq=False)
class StateNumberSelection:
    """What is known of each number of states.

    Made by :func:`select_n_states`.

    Parameters
    ----------
    n_states : tuple of int
        The numbers of states that were tried.
    free_energy : array, shape (n_numbers, n_repeats)
        Free energy of the training data in nats per sample, of each fit on all data; lower is
        better.
    held_out : array, shape (n_numbers, n_folds)
        Log evidence of the held-out data in nats per sample; higher is better.
    repeats_agreement : array, shape (n_numbers, n_pairs)
        Share of samples alike, corrected for chance (Cohen's kappa), of each pair of repeats.
        NaN where nothing can be said.
    halves_agreement : array, shape (n_numbers,)
        The same of the two models trained on half of the data each, over all data.
    repeats_correlation : array, shape (n_numbers, n_pairs)
        Correlation of the state probabilities of each pair of repeats, mean over states.
    halves_correlation : array, shape (n_numbers,)
        The same of the models of the two halves.
    repeats_distance : array, shape (n_numbers, n_pairs)
        Distance of the state covariances of each pair of repeats, mean over states.
    halves_distance : array, shape (n_numbers,)
        The same of the models of the two halves.
    metric : "riemannian" | "wasserstein"
        The distance.
    occupancy : tuple of array, shape (n_states,)
        Share of the samples in each state of the best repeat, for each number of states.
    n_parameters : array of int, shape (n_numbers,)
        Number of free parameters.
    log_evidence : array, shape (n_numbers,)
        Log evidence of all data in nats, of the best repeat.
    log_path : array, shape (n_numbers,)
        Joint log probability of all data and the most probable path, of the best repeat.
    n_samples : int
        Number of samples of all data.
    folds : str
        What the folds are, in words.
    n_unsettled : array of int, shape (n_numbers,)
        Number of fits that had not converged.
    explained_by_recording : array, shape (n_numbers,)
        Share of the variance of state occupancy that is explained by recording, of the best
        repeat. NaN for one recording.
    """

    n_states: tuple[int, ...]
    free_energy: np.ndarray = field(repr=False)
    held_out: np.ndarray = field(repr=False)
    repeats_agreement: np.ndarray = field(repr=False)
    halves_agreement: np.ndarray = field(repr=False)
    repeats_correlation: np.ndarray = field(repr=False)
    halves_correlation: np.ndarray = field(repr=False)
    repeats_distance: np.ndarray = field(repr=False)
    halves_distance: np.ndarray = field(repr=False)
    metric: str
    occupancy: tuple[np.ndarray, ...] = field(repr=False)
    n_parameters: np.ndarray = field(repr=False)
    log_evidence: np.ndarray = field(repr=False)
    log_path: np.ndarray = field(repr=False)
    n_samples: int
    folds: str
    n_unsettled: np.ndarray = field(repr=False)
    explained_by_recording: np.ndarray = field(repr=False)

    @property
    def min_occupancy(self) -> np.ndarray:
        """Occupancy of the weakest state, shape (n_numbers,)."""
        return np.array([occupancy.min() for occupancy in self.occupancy])

    @property
    def aic(self) -> np.ndarray:
        """Akaike's information criterion, shape (n_numbers,); lower is better."""
        return 2 * self.n_parameters - 2 * self.log_evidence

    @property
    def bic(self) -> np.ndarray:
        """Bayesian information criterion, shape (n_numbers,); lower is better."""
        return self.n_parameters * np.log(self.n_samples) - 2 * self.log_evidence

    @property
    def icl(self) -> np.ndarray:
        """Integrated completed likelihood, shape (n_numbers,); lower is better."""
        return self.n_parameters * np.log(self.n_samples) - 2 * self.log_path

    def below(self, best: int) -> tuple[np.ndarray, np.ndarray]:
        """Compute how much less held-out evidence each number has than a given one.

        Folds differ more from each other than numbers of states do, so numbers are compared
        within folds.

        Parameters
        ----------
        best : int
            Place of the number that the others are compared with.

        Returns
        -------
        difference : array, shape (n_numbers,)
            Mean over folds, in nats per sample.
        error : array, shape (n_numbers,)
            Its standard error.
        """
        differences = self.held_out[best] - self.held_out
        error = differences.std(axis=1, ddof=1) / np.sqrt(self.held_out.shape[1])
        return differences.mean(axis=1), error

    def recommend(
        self, *, min_agreement: float = 0.6, min_occupancy: float = 0.01
    ) -> Recommendation:
        """Choose a number of states.

        Parameters
        ----------
        min_agreement : float
            Mean agreement (kappa) of the repeats that a number must reach. From 0.6 on
            agreement is commonly called substantial :footcite:`LandisKoch1977`.
        min_occupancy : float
            Share of the samples that every state must have.

        Returns
        -------
        recommendation : Recommendation
            The number, the rule and the reasons; ``print`` shows them.

        Notes
        -----
        Among the numbers whose states recur and are all on, the fewest states are taken whose
        held-out log evidence lies within one standard error of the best (the one-standard-error
        rule :footcite:`BreimanEtAl1984`). The standard error is that of the differences within
        folds. Where no number meets the conditions, the rule does without them and the reasons
        say so. Information criteria take no part: they count neighboring samples as if each were
        new, and nearly always ask for more states.

        References
        ----------
        .. footbibliography::
        """
        rule = "a number from 0 to 1"
        min_agreement = check_number(min_agreement, "min_agreement", rule=rule, low=0, high=1)
        min_occupancy = check_number(min_occupancy, "min_occupancy", rule=rule, low=0, high=1)
        return recommend(self, min_agreement, min_occupancy)

    def to_data_frame(self):
        """Get what is known as a table with one row per number of states.

        Returns
        -------
        df : pandas.DataFrame
            Columns ``n_states``, ``free_energy`` (of the best repeat, nats per sample),
            ``held_out`` (mean over folds, nats per sample), ``held_out_below_best`` and
            ``held_out_error`` (mean difference from the best, and its standard error),
            ``repeats_agreement``, ``repeats_correlation`` and ``repeats_distance`` (means over
            pairs), ``halves_agreement``, ``halves_correlation``, ``halves_distance``,
            ``min_occupancy``, ``n_parameters``, ``aic``, ``bic``, ``icl``, ``n_unsettled`` and
            ``explained_by_recording``; needs pandas.
        """
        pd = check_pandas()
        held_out = self.held_out.mean(axis=1)
        difference, error = self.below(int(held_out.argmax()))
        return pd.DataFrame(
            {
                "n_states": list(self.n_states),
                "free_energy": self.free_energy.min(axis=1),
                "held_out": held_out,
                "held_out_below_best": difference,
                "held_out_error": error,
                **{
                    f"repeats_{name}": mean_of_known(getattr(self, f"repeats_{name}"))
                    for name in MEASURES
                },
                **{f"halves_{name}": getattr(self, f"halves_{name}") for name in MEASURES},
                "min_occupancy": self.min_occupancy,
                "n_parameters": self.n_parameters,
                **{name: getattr(self, name) for name in CRITERIA},
                "n_unsettled": self.n_unsettled,
                "explained_by_recording": self.explained_by_recording,
            }
        )

    def plot(self, *, axes=None, show=True):
        """Plot what is known of each number of states.

        Parameters
        ----------
        axes : array of matplotlib.axes.Axes | None
            Where to plot, six of them. None makes a new figure.
        show : bool
            Whether to show the figure.

        Returns
        -------
        fig : matplotlib.figure.Figure
            The figure.
        """
        from ..viz import plot_selection

        return plot_selection(self, axes=axes, show=show)

    def __str__(self):
        held_out, agreement = self.held_out.mean(axis=1), mean_of_known(self.repeats_agreement)
        _, error = self.below(int(held_out.argmax()))
        rows = [
            f"{k:6d}  {evidence:12.5f} ± {e:.5f}  {free:11.5f}  {own:7.3f}  {half:6.3f}  "
            f"{100 * weakest:9.2f} %"
            for k, evidence, e, free, own, half, weakest in zip(
                self.n_states,
                held_out,
                error,
                self.free_energy.min(axis=1),
                agreement,
                self.halves_agreement,
                self.min_occupancy,
                strict=True,
            )
        ]
        chosen = self.recommend()
        return "\n".join(
            [
                f"Number of states, by {self.folds}",
                "states  held-out evidence     free energy  repeats  halves  weakest state",
                *rows,
                f"Recommended: {chosen.n_states} (recommend() tells why)",
            ]
        )

    __repr__ = __str__


@verbose
@fill_doc
def select_n_states(
    inst: Any,
    n_states: Sequence[int] = range(4, 17),
    *,
    n_folds: int = 5,
    n_repeats: int = 3,
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
    refine: bool = False,
    max_iter: int = FitSettings.max_iter,
    tol: float = FitSettings.tol,
    priors: Priors | None = FitSettings.priors,
    checkpoint_dir: Any = None,
    atlas: Any = None,
    src: Any = None,
    subjects_dir: Any = None,
    random_state: Any = None,
    n_jobs: int | None = None,
    verbose: Any = None,
) -> StateNumberSelection:
    """Try different numbers of states.

    Each number is fitted to all data several times, to all but one fold for each fold, and to
    each half of the data. The recordings are prepared once. Agreement of repeats and of halves
    is by samples alike, by the correlation of time courses, and by the distance of covariances,
    for the best one-to-one match of states by each.

    Parameters
    ----------
    %(inst)s
    n_states : sequence of int
        The numbers of states to try, each at least 2.
    n_folds : int
        Number of folds, at least 2. Folds are of whole recordings where there are as many;
        otherwise all recordings, end to end, are cut into long blocks.
    n_repeats : int
        Number of fits on all data, each with a seed of its own. With 1, nothing is known of
        whether states recur in repeats.
    group : sequence of hashable | None
        What recordings belong together, an entry for each, such as the names of persons: those
        of one group are in one fold, and in one half. If ``preparation`` aligns recordings, they
        are aligned together, too.
    gap : float
        Seconds to leave out of the training data on both sides of a held-out block. At least
        as much is left out as the embedding reaches.
    metric : "riemannian" | "wasserstein"
        Distance between the covariances of states of repeats and of halves, as for
        `match_states`.
    preparation : Preparation | None
        How recordings become features, as for `fit_hmm`.
    %(picks)s
    %(reject_by_annotation)s
    %(sfreq)s
    learn_means : bool | "auto"
        Whether states have means of their own, as for `fit_hmm`.
    covariance_type : "full" | "diag"
        Form of the covariances.
    n_init : int
        Number of starts of each fit.
    refine : bool
        Whether each fit searches for the best optimum, as `fit_hmm` does by default. It takes
        several times as long. Then repeats nearly always agree; whether the halves do says
        more.
    max_iter : int
        Largest number of updates of each fit.
    tol : float
        When training stops, as for `fit_hmm`.
    priors : Priors | None
        Priors on the parameters, for small data. None is none.
    checkpoint_dir : path-like | None
        Folder to which each finished fit is written. After an interruption the same call goes on
        where it stopped, and a call with other ``n_states``, ``n_folds`` or ``n_repeats`` takes
        the fits that are there. It is made if it does not exist. Start anew by deleting it.
    %(atlas)s
    %(random_state)s
    n_jobs : int | None
        Number of fits at once, each in a process of its own with TensorFlow and the data in
        its memory. It changes results by no more than rounding does.
    %(verbose)s

    Returns
    -------
    selection : StateNumberSelection
        What is known of each number of states.

    Raises
    ------
    ValueError
        If an argument is out of range, the data cannot be prepared (see `prepare`) or are too
        few for the folds or the largest number of states, or if ``checkpoint_dir`` holds fits to
        other data or with other settings.
    TypeError
        If an argument is of the wrong type.
    OSError
        If ``checkpoint_dir`` cannot be used: it is a file, lies in no folder, holds other files,
        cannot be written to, or is in use by another call.

    See Also
    --------
    fit_hmm : Fits the model with the number that was chosen.
    cross_validate : Tests one number alone.

    Notes
    -----
    There are ``len(n_states) * (n_folds + n_repeats + 2)`` fits, 130 by default, and each takes
    longer the more states it has. Begin with few numbers, far apart.

    Held-out log evidence :footcite:`CeleuxDurand2008` is computed with the parameters of the
    training folds. Principal components, the mean to which recordings are aligned, and where asked
    for the standard deviations of recordings that are cut into blocks, are found with all data,
    held-out ones included. They know
    nothing of states, so what leaks is small; where that matters, pass features that were
    prepared with other recordings (``prepare(recordings, hmm.preparation_)``). Blocks are chains of
    their own. Sessions of one person that are in different folds are not independent; keep them
    together by ``group``.

    AIC, BIC and ICL (that of Celeux and Durand :footcite:`CeleuxDurand2008`, with the most
    probable path) take every sample as new. Samples of embedded or filtered data are not, so
    these criteria ask for too many states.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> import mne_hmm
    >>> raw, _ = mne_hmm.simulate_raw(n_states=2, n_channels=6, duration=20., random_state=0)
    >>> selection = mne_hmm.select_n_states(
    ...     raw, [2], n_folds=2, n_repeats=1, n_init=1, random_state=0, verbose=False,
    ...     preparation=mne_hmm.Preparation(n_components=10),
    ... )
    >>> selection.recommend().n_states
    2
    """
    numbers = _check_numbers(n_states)
    whole = "a whole number ≥ "
    n_folds = check_number(n_folds, "n_folds", rule=whole + "2", low=2, integer=True)
    n_repeats = check_number(n_repeats, "n_repeats", rule=whole + "1", low=1, integer=True)
    settled = settle(
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
        arguments=AtlasArguments(atlas, src, subjects_dir),
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
    prepared, folds = settled.prepared, settled.folds
    halves = split_halves(prepared, settled.gap, settled.group)
    for training in (*(fold.training for fold in folds), *halves):
        # Better before the first fit than after the last but one.
        check_enough_data(take(prepared, training), max(numbers), settled.learned)
    with checkpoints_held(settled.checkpoint_dir):
        work = settled.begin()
        tasks = [task for k in numbers for task in tasks_of(k, folds, halves, n_repeats, work.root)]
        fits = run_all(tasks, prepared, work, n_jobs)
    tell(tasks, fits, settled.settings.max_iter)
    compared = compare(tasks, fits, prepared, covariance_type, metric, n_jobs)
    of_what = folds_in_words(prepared, n_folds, settled.group)
    return _gather(numbers, tasks, fits, compared, prepared.n_samples, of_what, metric)


class Settled(NamedTuple):
    """What the arguments of fits to folds come to."""

    prepared: PreparedData
    """The data of all fits."""
    group: list[int] | None
    """Number of each recording's group."""
    folds: list[Fold]
    """What each fold is trained on, and what is held out."""
    gap: float
    """Seconds between blocks."""
    settings: FitSettings
    """How each model is trained."""
    learned: Learned
    """Which parameters are learned."""
    root: int | None
    """What all seeds come from."""
    checkpoint_dir: Path | None
    """Where finished fits are kept."""

    def begin(self) -> Work:
        """Open the folder of finished fits, if there is one."""
        return Work.begin(
            self.prepared, self.settings, self.gap, self.root, self.checkpoint_dir, self.group
        )


def settle(
    inst: Any,
    n_folds: int,
    *,
    group: Any,
    gap: Any,
    metric: Any,
    preparation: Preparation | None,
    picks: Any,
    reject_by_annotation: bool,
    sfreq: float | None,
    checkpoint_dir: Any,
    arguments: AtlasArguments,
    random_state: Any,
    n_jobs: int | None,
    settings: FitSettings,
) -> Settled:
    """Check the arguments that `select_n_states` and `cross_validate` share, and prepare the data.

    ``n_folds`` was checked before.
    """
    gap = check_number(gap, "gap", rule="a number of seconds ≥ 0", low=0)
    check_option(metric, "metric", METRICS)
    checkpoint_dir = check_folder(checkpoint_dir, "checkpoint_dir")
    rng = check_random_state(random_state)
    root = None if random_state is None else int(rng.integers(2**62))
    prepared = prepared_of(
        inst,
        preparation,
        picks,
        reject_by_annotation,
        sfreq,
        arguments,
        n_jobs,
        group if preparation is not None and preparation.aligns else None,
    )
    together = number_groups(group, len(prepared), n_folds)
    folds = make_folds(prepared, n_folds, gap, together)
    learned = settings.learned(prepared)
    settings = replace(settings, learn_means=learned.means)
    return Settled(prepared, together, folds, gap, settings, learned, root, checkpoint_dir)


def _check_numbers(n_states):
    rule = "whole numbers ≥ 2, as range(4, 17)"
    if isinstance(n_states, (str, bytes)) or not hasattr(n_states, "__iter__"):
        raise TypeError(
            f"n_states must be a sequence of {rule}, got {n_states!r}; for one number fit_hmm will "
            "do"
        )
    numbers = [
        check_number(number, "n_states", rule=rule, low=2, integer=True) for number in n_states
    ]
    if not numbers:
        raise ValueError(f"n_states must be {rule}, but it is empty")
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"n_states must be different numbers, got {listed(numbers, 20)}")
    return sorted(numbers)


def _gather(numbers, tasks, fits, compared, n_samples, folds, metric):
    """Put what came out of all fits in order."""

    def values(kind, name):
        own = [fit[name] for task, fit in zip(tasks, fits, strict=True) if task.kind == kind]
        return np.array(own).reshape(len(numbers), -1)

    n_unsettled = [
        sum(not fit["converged"] for task, fit in zip(tasks, fits, strict=True) if task[0] == k)
        for k in numbers
    ]
    # Kappas, correlations and distances, as StateNumberSelection has them.
    repeats = [np.array(one) for one in zip(*(one.repeats for one in compared), strict=True)]
    halves = [np.concatenate(one) for one in zip(*(one.halves for one in compared), strict=True)]
    return StateNumberSelection(
        tuple(numbers),
        values(REPEAT, "free_energy"),
        values(FOLD, "held_out"),
        repeats[0],
        halves[0],
        repeats[1],
        halves[1],
        repeats[2],
        halves[2],
        metric,
        tuple(one.occupancy for one in compared),
        values(REPEAT, "n_parameters")[:, 0],
        np.array([one.log_evidence for one in compared]),
        np.array([one.log_path for one in compared]),
        n_samples,
        folds,
        np.array(n_unsettled),
        values(REPEAT, "explained_by_recording")[
            np.arange(len(numbers)), values(REPEAT, "free_energy").argmin(axis=1)
        ],
    )
