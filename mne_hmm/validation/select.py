"""How many states: many fits to the data, to all but a fold and to halves of them."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from mne.utils import verbose

from .._utils.checks import check_number, listed
from .._utils.docs import fill_doc
from .._utils.locks import checkpoints_held
from .._utils.typing import FileName, RandomState, RecordingLike, Verbose
from ..io.parcel_inputs import AtlasArguments
from ..model.fit_settings import FitSettings, check_enough_data
from ..model.priors import Priors
from ..preparation.settings import Preparation
from .fit_setup import set_up_fits
from .folds import describe_folds, select_rows, split_halves
from .many_fits import (
    FOLD,
    REPEAT,
    Task,
    TasksComparison,
    compare_models,
    list_tasks,
    run_tasks,
    warn_of_fits,
)
from .state_number_selection import StateNumberSelection


@verbose
@fill_doc
def select_n_states(
    inst: "RecordingLike | Sequence[RecordingLike]",
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
    checkpoint_dir: FileName | None = None,
    atlas: Any = None,
    src: Any = None,
    subjects_dir: Any = None,
    random_state: RandomState = None,
    n_jobs: int | None = None,
    verbose: Verbose = None,
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
    %(n_folds)s
    n_repeats : int
        Number of fits on all data, each with a seed of its own. With 1, nothing is known of
        whether states recur in repeats.
    group : sequence of hashable | None
        What recordings belong together, an entry for each, such as the names of persons: those
        of one group are in one fold, and in one half. If ``preparation`` aligns recordings, they
        are aligned together, too.
    %(gap)s
    metric : "riemannian" | "wasserstein"
        Distance between the covariances of states of repeats and of halves, as for
        `match_states`.
    preparation : Preparation | None
        How recordings become features, as for `fit_hmm`.
    %(picks)s
    %(reject_by_annotation)s
    %(sfreq)s
    %(model_of_fits)s
    refine : bool
        Whether each fit searches for the best optimum, as `fit_hmm` does by default. It takes
        several times as long. Then repeats nearly always agree; whether the halves do says
        more.
    %(training_of_fits)s
    checkpoint_dir : path-like | None
        Folder to which each finished fit is written. After an interruption the same call goes on
        where it stopped, and a call with other ``n_states``, ``n_folds`` or ``n_repeats`` takes
        the fits that are there. It is made if it does not exist. Start anew by deleting it.
    %(atlas)s
    %(random_state)s
    %(n_jobs_of_fits)s
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
        atlas_arguments=AtlasArguments(atlas, src, subjects_dir),
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
    halves = split_halves(prepared, setup.gap, setup.group)
    for training in (*(fold.training for fold in folds), *halves):
        # Better before the first fit than after the last but one.
        check_enough_data(select_rows(prepared, training), max(numbers), setup.learned)
    with checkpoints_held(setup.checkpoint_dir):
        context = setup.begin()
        tasks = [
            task
            for k in numbers
            for task in list_tasks(k, folds, halves, n_repeats, context.root_seed)
        ]
        fits = run_tasks(tasks, prepared, context, n_jobs)
    warn_of_fits(tasks, fits, setup.settings.max_iter)
    comparisons = compare_models(tasks, fits, prepared, covariance_type, metric, n_jobs)
    folds_text = describe_folds(prepared, n_folds, setup.group)
    return _gather(numbers, tasks, fits, comparisons, prepared.n_samples, folds_text, metric)


def _check_numbers(n_states: Sequence[int]) -> list[int]:
    """Return the different numbers of states to try, in ascending order."""
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


def _gather(
    numbers: list[int],
    tasks: list[Task],
    fits: list[dict[str, Any]],
    comparisons: list[TasksComparison],
    n_samples: int,
    folds: str,
    metric: str,
) -> StateNumberSelection:
    """Put what came out of all fits in the order of the numbers of states."""

    def values(kind: str, name: str) -> np.ndarray:
        of_kind = [fit[name] for task, fit in zip(tasks, fits, strict=True) if task.kind == kind]
        return np.array(of_kind).reshape(len(numbers), -1)

    n_unsettled = [
        sum(
            not fit["converged"]
            for task, fit in zip(tasks, fits, strict=True)
            if task.n_states == n_states
        )
        for n_states in numbers
    ]
    # Kappas, correlations and distances, as StateNumberSelection has them.
    repeats = [np.array(rows) for rows in zip(*(c.repeats for c in comparisons), strict=True)]
    halves = [np.concatenate(rows) for rows in zip(*(c.halves for c in comparisons), strict=True)]
    free_energy = values(REPEAT, "free_energy")
    best = np.arange(len(numbers)), free_energy.argmin(axis=1)
    return StateNumberSelection(
        n_states=tuple(numbers),
        free_energy=free_energy,
        held_out=values(FOLD, "held_out"),
        repeats_agreement=repeats[0],
        halves_agreement=halves[0],
        repeats_correlation=repeats[1],
        halves_correlation=halves[1],
        repeats_distance=repeats[2],
        halves_distance=halves[2],
        metric=metric,
        occupancy=tuple(comparison.occupancy for comparison in comparisons),
        n_parameters=values(REPEAT, "n_parameters")[:, 0],
        log_evidence=np.array([comparison.log_evidence for comparison in comparisons]),
        log_path=np.array([comparison.log_path for comparison in comparisons]),
        n_samples=n_samples,
        folds=folds,
        n_unsettled=np.array(n_unsettled),
        explained_by_recording=values(REPEAT, "explained_by_recording")[best],
    )
