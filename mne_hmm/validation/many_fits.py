"""The many fits that choosing a number of states takes: one after another or side by side."""

import secrets
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import mne
import numpy as np

from .._utils.mne_private import warn
from .._utils.parallel import side_by_side
from ..model.fit import fit_prepared
from ..model.fit_settings import FitSettings
from ..model.inference import chain_lengths, infer_by_recording
from ..preparation.prepared_data import PreparedData
from ..statistics.recording_dependence import WARNING as STATES_ARE_RECORDINGS
from .folds import Fold, RecordingSegments, select_rows
from .model_pairs import PairAgreement, PairSums

if TYPE_CHECKING:
    from ..engine import Journal, NoJournal, Parameters

REPEAT, FOLD, HALF = "repeat", "fold", "half"

# What fit_hmm warns of that is counted instead: with many fits it would be said many times.
NOT_CONVERGED = "Training had not settled"
COUNTED = (NOT_CONVERGED, STATES_ARE_RECORDINGS)


class Task(NamedTuple):
    """One fit."""

    n_states: int
    kind: str
    """What it is for: REPEAT, FOLD or HALF."""
    i_fit: int
    """Which of them."""
    of: int
    """How many of them there are, where that changes the data; otherwise 0."""
    seed: int
    training: tuple[RecordingSegments, ...] | None
    """What to train on; None for all data."""
    held_out: tuple[RecordingSegments, ...] | None = None
    """What to test on; None for nothing."""

    @property
    def step(self) -> str:
        """Name of its file."""
        return f"{self.n_states} states {self.kind} {self.i_fit} of {self.of}"


def list_tasks(
    n_states: int,
    folds: Sequence[Fold],
    halves: Sequence[tuple[RecordingSegments, ...]],
    n_repeats: int,
    root_seed: int,
) -> list[Task]:
    """List the fits of one number of states."""

    def seed(*what: int) -> int:
        return int(np.random.SeedSequence([root_seed, n_states, *what]).generate_state(1)[0])

    n_folds = len(folds)
    return [
        *(Task(n_states, REPEAT, i, 0, seed(0, i), None) for i in range(n_repeats)),
        *(
            Task(n_states, FOLD, i, n_folds, seed(1, i, n_folds), fold.training, fold.held_out)
            for i, fold in enumerate(folds)
        ),
        *(Task(n_states, HALF, i, 2, seed(2, i), half) for i, half in enumerate(halves)),
    ]


class FitContext(NamedTuple):
    """What all fits share; travels to other processes."""

    settings: FitSettings
    """How each model is trained."""
    root_seed: int
    """What all seeds come from."""
    directory: Path | None
    """Where finished fits are kept."""
    facts: dict[str, Any]
    """What must be the same to take them."""

    @classmethod
    def begin(
        cls,
        prepared: PreparedData,
        settings: FitSettings,
        gap: float,
        root_seed: int | None,
        directory: Path | None,
        group: list[int] | None = None,
    ) -> "FitContext":
        """Open the folder of finished fits, if there is one."""
        if directory is None:
            drawn = secrets.randbits(62) if root_seed is None else root_seed
            return cls(settings, drawn, None, {})
        from ..engine import Journal, content_hash

        lengths = [chain_lengths(time_map) for time_map in prepared.time_maps]
        facts = {
            "data": content_hash(prepared.data, lengths),
            **settings.of_fits(),
            "priors": repr(settings.priors),
            "gap": gap,
            "random_state": root_seed,
            **({} if group is None else {"group": repr(group)}),
        }
        journal = Journal(directory, facts)
        if root_seed is None:
            written = journal.result("seed")
            root_seed = secrets.randbits(62) if written is None else written["root"]
            if written is None:
                journal.finish("seed", {"root": root_seed})
        return cls(settings, root_seed, directory, facts)

    def journal(self) -> "Journal | NoJournal":
        """Open what keeps finished fits."""
        from ..engine import Journal, NoJournal

        return NoJournal() if self.directory is None else Journal(self.directory, self.facts)


def run_tasks(
    tasks: Sequence[Task], prepared: PreparedData, context: FitContext, n_jobs: int | None
) -> list[dict[str, Any]]:
    """Do all fits that were not done before."""
    journal = context.journal()
    fits: dict[Task, Any] = {task: journal.result(task.step) for task in tasks}
    # The longest come first, so that none is left over for one process at the end.
    todo = sorted((task for task in tasks if fits[task] is None), key=lambda task: -task.n_states)
    if todo:
        parallel, run, _ = side_by_side(_fit_task, n_jobs, total=len(todo), max_jobs=len(todo))
        results = parallel(run(task, prepared, context) for task in todo)
        fits.update(zip(todo, results, strict=True))
    return [fits[task] for task in tasks]


def _fit_task(task: Task, prepared: PreparedData, context: FitContext) -> dict[str, Any]:
    """Do one fit, and keep what comes out of it."""
    training = prepared if task.training is None else select_rows(prepared, task.training)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with mne.use_log_level("WARNING"):
            hmm = fit_prepared(training, task.n_states, context.settings, task.seed)
    texts = list(dict.fromkeys(str(warning.message) for warning in caught))
    fit = {
        "free_energy": hmm.free_energy_,
        "converged": hmm.converged_,
        "n_parameters": hmm.n_parameters,
        "warnings": [text for text in texts if not text.startswith(COUNTED)],
        "explained_by_recording": hmm.explained_by_recording_,
        "states_are_recordings": any(text.startswith(STATES_ARE_RECORDINGS) for text in texts),
        "initial_probs": hmm.initial_probs_,
        "transition_matrix": hmm.transition_matrix_,
        "means": hmm.means_,
        "covariances": hmm.covariances_,
    }
    if task.held_out is not None:
        fit["held_out"] = hmm.score(select_rows(prepared, task.held_out), verbose="WARNING")
    context.journal().finish(task.step, fit)
    return fit


def warn_of_fits(tasks: Sequence[Task], fits: Sequence[dict[str, Any]], max_iter: int) -> None:
    """Warn once of what many fits have in common."""
    n_unsettled = sum(not fit["converged"] for fit in fits)
    if n_unsettled:
        warn(
            f"{n_unsettled} of {len(fits)} fits had not settled after max_iter={max_iter} updates; "
            "raise max_iter, or tol"
        )
    repeats = [fit for task, fit in zip(tasks, fits, strict=True) if task.kind == REPEAT]
    n_split = sum(fit.get("states_are_recordings", False) for fit in repeats)
    if n_split:
        warn(
            f"{STATES_ARE_RECORDINGS} in {n_split} of {len(repeats)} fits to all data (see "
            "explained_by_recording); fit_hmm with one of these numbers says which, and what can "
            "be done"
        )
    numbers_by_text: dict[str, list[int]] = {}
    for task, fit in zip(tasks, fits, strict=True):
        for text in fit["warnings"]:
            numbers_by_text.setdefault(text, []).append(task.n_states)
    for text, numbers in numbers_by_text.items():
        among = ", ".join(map(str, sorted(set(numbers))))
        warn(f"{text} (in {len(numbers)} of {len(fits)} fits, with {among} states)")


# Models of one number of states, side by side


class TasksComparison(NamedTuple):
    """What is known of the models of one number of states by the states they find."""

    repeats: PairAgreement
    """Agreement of each pair of repeats."""
    halves: PairAgreement
    """Agreement of the models of the two halves, a pair."""
    occupancy: np.ndarray
    """Share of the samples in each state of the best repeat."""
    log_evidence: float
    """Log evidence of all data under the best repeat."""
    log_path: float
    """Joint log probability of all data and the most probable path."""


def compare_models(
    tasks: Sequence[Task],
    fits: Sequence[dict[str, Any]],
    prepared: PreparedData,
    covariance_type: str,
    metric: str,
    n_jobs: int | None,
) -> list[TasksComparison]:
    """Compare the models of each number of states."""
    fits_of: dict[int, dict[str, list[dict[str, Any]]]] = {}
    for task, fit in zip(tasks, fits, strict=True):
        fits_of.setdefault(task.n_states, {}).setdefault(task.kind, []).append(fit)
    n_numbers = len(fits_of)
    parallel, run, _ = side_by_side(_compare_fits, n_jobs, total=n_numbers, max_jobs=n_numbers)
    return parallel(
        run(kinds[REPEAT], kinds[HALF], prepared, covariance_type, metric)
        for kinds in fits_of.values()
    )


def parameters_of(fit: dict[str, Any]) -> "Parameters":
    """Get the model that came out of a fit, as the engine takes it."""
    from ..engine import Parameters

    names = ("initial_probs", "transition_matrix", "means", "covariances")
    return Parameters(*(fit[name] for name in names))


def _compare_fits(
    repeats: list[dict[str, Any]],
    halves: list[dict[str, Any]],
    prepared: PreparedData,
    covariance_type: str,
    metric: str,
) -> TasksComparison:
    """Compare all repeats with each other, and the models of the two halves."""
    from ..engine import most_probable_path

    models = [parameters_of(fit) for fit in (*repeats, *halves)]
    best = int(np.argmin([fit["free_energy"] for fit in repeats]))
    n_repeats, n_states = len(repeats), len(repeats[0]["initial_probs"])
    pairs = [(i, j) for i in range(n_repeats) for j in range(i + 1, n_repeats)]
    pairs.append((n_repeats, n_repeats + 1))
    sums = PairSums(models, pairs)
    counts = np.zeros(n_states, int)
    evidence = log_path = 0.0
    for samples, posteriors in infer_by_recording(models, prepared, covariance_type):
        sums.add([posterior.probabilities for posterior in posteriors])
        evidence += float(posteriors[best].log_evidence.sum())
        path = most_probable_path(samples, models[best], covariance_type=covariance_type)
        log_path += float(path.log_probability.sum())
        labels = posteriors[best].probabilities.argmax(1)
        counts += np.bincount(labels, minlength=n_states)
    agreement = sums.agreement(metric)
    return TasksComparison(
        PairAgreement(*(values[:-1] for values in agreement)),
        PairAgreement(*(values[-1:] for values in agreement)),
        counts / counts.sum(),
        evidence,
        log_path,
    )
