"""The many fits that choosing a number of states takes: one after another or side by side."""

import secrets
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mne
import numpy as np

from .._utils.mne_private import warn
from .._utils.parallel import side_by_side
from ..model.fit import fit_prepared
from ..model.fit_settings import FitSettings
from ..model.inference import chain_lengths, infer_by_recording
from ..preparation.prepared_data import PreparedData
from ..statistics.recording_dependence import WARNING as STATES_ARE_RECORDINGS
from .folds import Fold, Part, take
from .model_pairs import PairAgreement, PairSums

REPEAT, FOLD, HALF = "repeat", "fold", "half"

# What fit_hmm warns of that is counted instead: with many fits it would be said many times.
UNSETTLED = "Training had not settled"
COUNTED = (UNSETTLED, STATES_ARE_RECORDINGS)


class Task(NamedTuple):
    """One fit."""

    n_states: int
    kind: str
    """What it is for: REPEAT, FOLD or HALF."""
    number: int
    """Which of them."""
    of: int
    """How many of them there are, where that changes the data; otherwise 0."""
    seed: int
    training: tuple[Part, ...] | None
    """What to train on; None for all data."""
    held_out: tuple[Part, ...] | None = None
    """What to test on; None for nothing."""

    @property
    def step(self) -> str:
        """Name of its file."""
        return f"{self.n_states} states {self.kind} {self.number} of {self.of}"


def tasks_of(
    n_states: int,
    folds: Sequence[Fold],
    halves: Sequence[tuple[Part, ...]],
    n_repeats: int,
    root: int,
) -> list[Task]:
    """List the fits of one number of states."""

    def seed(*what):
        return int(np.random.SeedSequence([root, n_states, *what]).generate_state(1)[0])

    n_folds = len(folds)
    return [
        *(Task(n_states, REPEAT, i, 0, seed(0, i), None) for i in range(n_repeats)),
        *(
            Task(n_states, FOLD, i, n_folds, seed(1, i, n_folds), fold.training, fold.held_out)
            for i, fold in enumerate(folds)
        ),
        *(Task(n_states, HALF, i, 2, seed(2, i), half) for i, half in enumerate(halves)),
    ]


class Work(NamedTuple):
    """What all fits share; travels to other processes."""

    settings: FitSettings
    """How each model is trained."""
    root: int
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
        root: int | None,
        directory: Path | None,
        group: list[int] | None = None,
    ) -> "Work":
        """Open the folder of finished fits, if there is one."""
        if directory is None:
            return cls(settings, secrets.randbits(62) if root is None else root, None, {})
        from ..engine import Journal, content_hash

        lengths = [chain_lengths(time_map) for time_map in prepared.time_maps]
        facts = {
            "data": content_hash(prepared.data, lengths),
            **settings.of_fits(),
            "priors": repr(settings.priors),
            "gap": gap,
            "random_state": root,
            **({} if group is None else {"group": repr(group)}),
        }
        journal = Journal(directory, facts)
        if root is None:
            known = journal.result("seed")
            root = secrets.randbits(62) if known is None else known["root"]
            if known is None:
                journal.finish("seed", {"root": root})
        return cls(settings, root, directory, facts)

    def journal(self) -> Any:
        """Open what keeps finished fits."""
        from ..engine import Journal, NoJournal

        return NoJournal() if self.directory is None else Journal(self.directory, self.facts)


def run_all(
    tasks: Sequence[Task], prepared: PreparedData, work: Work, n_jobs: Any
) -> list[dict[str, Any]]:
    """Do all fits that were not done before."""
    journal = work.journal()
    fits = {task: journal.result(task.step) for task in tasks}
    # The longest come first, so that none is left over for one process at the end.
    todo = sorted((task for task in tasks if fits[task] is None), key=lambda one: -one.n_states)
    if todo:
        parallel, run, _ = side_by_side(_fit, n_jobs, total=len(todo), max_jobs=len(todo))
        done = parallel(run(task, prepared, work) for task in todo)
        fits.update(zip(todo, done, strict=True))
    return [fits[task] for task in tasks]


def _fit(task, prepared, work):
    """Do one fit, and keep what comes out of it."""
    training = prepared if task.training is None else take(prepared, task.training)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with mne.use_log_level("WARNING"):
            hmm = fit_prepared(training, task.n_states, work.settings, task.seed)
    texts = dict.fromkeys(str(one.message) for one in caught)
    fit = {
        "free_energy": hmm.free_energy_,
        "converged": hmm.converged_,
        "n_parameters": hmm.n_parameters,
        "warnings": [text for text in texts if not text.startswith(COUNTED)],
        "explained_by_recording": hmm.explained_by_recording_,
        "states_are_recordings": any(one.startswith(STATES_ARE_RECORDINGS) for one in texts),
        "initial_probs": hmm.initial_probs_,
        "transition_matrix": hmm.transition_matrix_,
        "means": hmm.means_,
        "covariances": hmm.covariances_,
    }
    if task.held_out is not None:
        fit["held_out"] = hmm.score(take(prepared, task.held_out), verbose="WARNING")
    work.journal().finish(task.step, fit)
    return fit


def tell(tasks: Sequence[Task], fits: Sequence[dict[str, Any]], max_iter: int) -> None:
    """Say once what there is to say of all fits."""
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
    told: dict[str, list[int]] = {}
    for task, fit in zip(tasks, fits, strict=True):
        for text in fit["warnings"]:
            told.setdefault(text, []).append(task.n_states)
    for text, numbers in told.items():
        among = ", ".join(map(str, sorted(set(numbers))))
        warn(f"{text} (in {len(numbers)} of {len(fits)} fits, with {among} states)")


# Models of one number of states, side by side


class Compared(NamedTuple):
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


def compare(
    tasks: Sequence[Task],
    fits: Sequence[dict[str, Any]],
    prepared: PreparedData,
    covariance_type: str,
    metric: str,
    n_jobs: Any,
) -> list[Compared]:
    """Compare the models of each number of states."""
    models: dict[int, dict[str, list]] = {}
    for task, fit in zip(tasks, fits, strict=True):
        models.setdefault(task.n_states, {}).setdefault(task.kind, []).append(fit)
    parallel, run, _ = side_by_side(_compare, n_jobs, total=len(models), max_jobs=len(models))
    return parallel(
        run(kinds[REPEAT], kinds[HALF], prepared, covariance_type, metric)
        for kinds in models.values()
    )


def parameters_of(fit: dict[str, Any]) -> Any:
    """Get the model that came out of a fit, as the engine takes it."""
    from ..engine import Parameters

    names = ("initial_probs", "transition_matrix", "means", "covariances")
    return Parameters(*(fit[name] for name in names))


def _compare(repeats, halves, prepared, covariance_type, metric):
    from ..engine import most_probable_path

    everyone = [parameters_of(fit) for fit in (*repeats, *halves)]
    best = int(np.argmin([fit["free_energy"] for fit in repeats]))
    n_repeats, n_states = len(repeats), len(repeats[0]["initial_probs"])
    pairs = [(i, j) for i in range(n_repeats) for j in range(i + 1, n_repeats)]
    pairs.append((n_repeats, n_repeats + 1))
    sums = PairSums(everyone, pairs)
    counts: Any = 0
    evidence = path = 0.0
    for samples, posteriors in infer_by_recording(everyone, prepared, covariance_type):
        sums.add([one.probabilities for one in posteriors])
        evidence += float(posteriors[best].log_evidence.sum())
        found = most_probable_path(samples, everyone[best], covariance_type=covariance_type)
        path += float(found.log_probability.sum())
        labels = posteriors[best].probabilities.argmax(1)
        counts = counts + np.bincount(labels, minlength=n_states)
    agreement = sums.agreement(metric)
    return Compared(
        PairAgreement(*(values[:-1] for values in agreement)),
        PairAgreement(*(values[-1:] for values in agreement)),
        counts / counts.sum(),
        evidence,
        path,
    )
