"""What a run of training has beside its arithmetic: a journal, reports of progress, and Ctrl-C.

Training is a sequence of named stages. A `TrainingMonitor` goes with it from the first to the
last. Each stage asks it for what the journal has of it, and tells it of every pass: the best
model so far is kept for an interrupt, the journal is written, progress is reported, and training
ends here if the user has asked for it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..inference.gaussian import Parameters
from ..runtime.checkpoint import Journal, NoJournal, from_bytes, to_bytes
from ..runtime.workers import ALONE, Workers
from .em import EMRun, PassMonitor
from .interrupt import ON_SUBSAMPLE, Interrupt
from .run_state import run_from_content, run_to_content

# Name of a stage, index of its pass, free energy in nats per sample, seconds of the pass, and
# how many passes there may be.
Report = Callable[[str, int, float, float, int], None]


class SharedJournal:
    """The chief's journal, as all workers see it."""

    def __init__(self, journal: Journal | NoJournal, workers: Workers):
        self.of_chief = journal if workers.is_chief else NoJournal()
        self._workers = workers
        # Where nothing is remembered, there is nothing to ask the chief for.
        (kept,) = workers.total([np.array([float(isinstance(self.of_chief, Journal))])])
        self._silent = not kept[0]

    def result(self, step: str) -> dict[str, Any] | None:
        """Get what a step came to; None if it is not finished."""
        return self._from_chief(self.of_chief.result(step))

    def state(self, step: str) -> dict[str, Any] | None:
        """Get the newest state of a step; None if there is none."""
        return self._from_chief(self.of_chief.state(step))

    def finish(self, step: str, content: dict[str, Any]) -> None:
        """Keep what a step came to."""
        self.of_chief.finish(step, content)

    def update(self, step: str, content: dict[str, Any], *, force: bool = False) -> None:
        """Keep the state of a step."""
        self.of_chief.update(step, content, force=force)

    def agree(self, content: dict[str, Any]) -> dict[str, Any]:
        """Get the chief's content on every worker."""
        if self._workers.size == 1:
            return content
        return from_bytes(self._workers.broadcast(to_bytes(content)))

    def _from_chief(self, content: dict[str, Any] | None) -> dict[str, Any] | None:
        if self._workers.size == 1 or self._silent:
            return content
        payload = b"" if content is None else to_bytes(content)
        payload = self._workers.broadcast(payload)
        return from_bytes(payload) if payload else None


class TrainingMonitor:
    """Journal, reports and interrupt of one training.

    Parameters
    ----------
    journal : Journal | NoJournal | None
        What earlier calls have finished, and where this one is.
    report : callable | None
        Called after every pass, with free energies in the units of the features.
    interrupt : Interrupt | None
        Whether the user has asked for the best model so far.
    workers : Workers
        Who trains together; all of them see the journal of the chief.
    """

    def __init__(
        self,
        journal: Journal | NoJournal | None = None,
        *,
        report: Report | None = None,
        interrupt: Interrupt | None = None,
        workers: Workers = ALONE,
    ):
        self.journal = SharedJournal(journal or NoJournal(), workers)
        self.interrupt = interrupt or Interrupt()
        self.log_volume = 0.0
        """Nats between a log density of whitened features and one of features."""
        self._report = report

    def report(
        self, stage: str, index: int, free_energy: float, seconds: float, max_passes: int
    ) -> None:
        """Report a pass."""
        if self._report is not None:
            self._report(stage, index, free_energy - self.log_volume, seconds, max_passes)

    def recall_or_compute(
        self, step: str, compute: Callable[[], dict[str, Any]]
    ) -> tuple[dict[str, Any], bool]:
        """Get what a step came to, and whether it is from the journal; the chief's counts."""
        content = self.journal.result(step)
        if content is not None:
            return content, True
        content = self.journal.agree(compute())
        self.journal.finish(step, content)
        return content, False


class BriefRuns:
    """A stage of many brief runs of EM on a subsample, each of which is reported when it is over.

    Parameters
    ----------
    monitor : TrainingMonitor
        Of the training.
    stage : str
        Name of the stage.
    max_runs : int
        How many runs there may be.
    offered : bool
        Whether an interrupt may take the model of such a run.
    """

    def __init__(
        self, monitor: TrainingMonitor, stage: str, max_runs: int, *, offered: bool = False
    ):
        self.monitor, self.stage, self.max_runs, self.offered = monitor, stage, max_runs, offered
        self.n_runs = 0

    def after_run(self, run: EMRun) -> None:
        """Take note of a run that is over."""
        self.n_runs += 1
        if self.offered:
            self.monitor.interrupt.offer(run, ON_SUBSAMPLE)
        self.monitor.report(
            self.stage, self.n_runs, run.free_energy[-1], float(np.mean(run.seconds)), self.max_runs
        )
        self.monitor.interrupt.check()

    def offer_recalled(self, content: dict[str, Any]) -> None:
        """Offer the model of a run that the journal had."""
        if self.offered:
            run = EMRun(Parameters(**content["parameters"]), content["free_energy"].tolist())
            self.monitor.interrupt.offer(run, ON_SUBSAMPLE)


class RunMonitor(PassMonitor):
    """A run of EM that the journal remembers pass by pass.

    Parameters
    ----------
    monitor : TrainingMonitor
        Of the training.
    stage : str
        Name of the run.
    max_passes : int
        How many passes there may be.
    level : int
        What the run is trained on, as for `Interrupt.offer`.
    is_enough : callable | None
        Whether a run should end before it has converged; None for the last run, which never does.
    """

    def __init__(
        self,
        monitor: TrainingMonitor,
        stage: str,
        *,
        max_passes: int,
        level: int,
        is_enough: Callable[[EMRun], bool] | None = None,
    ):
        self.monitor, self.stage, self.max_passes, self.level = monitor, stage, max_passes, level
        self._is_enough = is_enough
        self._latest: dict[str, Any] = {}  # of whole passes: an interrupt may come within one

    def result(self) -> EMRun | None:
        """Get the run as it ended; None if it has not."""
        content = self.monitor.journal.result(self.stage)
        return None if content is None else run_from_content(content)

    def state(self) -> EMRun | None:
        """Get the run as far as it has come; None if it has not begun."""
        content = self.monitor.journal.state(self.stage)
        return None if content is None else run_from_content(content)

    def after_pass(self, run: EMRun) -> None:
        """Keep the run, report the pass, and end training if the user has asked for it."""
        self._latest = dict(run_to_content(run))
        self.monitor.interrupt.offer(run, self.level)
        self.monitor.journal.update(self.stage, self._latest)
        self.monitor.report(
            self.stage, run.n_updates, run.free_energy[-1], run.seconds[-1], self.max_passes
        )
        is_last = self._is_enough is None
        self.monitor.interrupt.check(ended=is_last and run.converged)

    def is_enough(self, run: EMRun) -> bool:
        """Whether the run should end before it has converged."""
        return self._is_enough is not None and self._is_enough(run)

    def save(self) -> None:
        """Write the newest whole pass to the journal at once."""
        if self._latest:
            self.monitor.journal.update(self.stage, self._latest, force=True)

    def finish(self, run: EMRun) -> None:
        """Keep the run as it ended."""
        self.monitor.journal.finish(self.stage, run_to_content(run))
