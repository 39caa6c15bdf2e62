"""The course of training, as it is shown while it goes on."""

from typing import Any

from mne.utils import ProgressBar

from ._utils._mne import progress_note


class Progress:
    """One progress bar per stage of training, and a log.

    Parameters
    ----------
    log : Log | NoLog
        Where every pass is written down.
    silent : bool
        Whether to show nothing.
    """

    def __init__(self, log: Any, *, silent: bool = False):
        self.log, self.silent = log, silent
        self.stage: str | None = None
        self.bar: Any = None
        self.last: float | None = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._finish()
        self.log.close()

    def _finish(self):
        if self.bar is not None:
            del self.bar  # MNE-Python's bar closes when it goes
            self.bar = None

    def __call__(
        self, stage: str, number: int, free_energy: float, seconds: float, most: int
    ) -> None:
        """Show a pass.

        Parameters
        ----------
        stage : str
            Name of the stage.
        number : int
            Number of the pass, or of the run in a search.
        free_energy : float
            Nats per sample.
        seconds : float
            Duration of the pass.
        most : int
            Largest number there may be.
        """
        self.log.log(stage, number, free_energy, seconds)
        if self.silent:
            return
        if stage != self.stage:
            self._finish()
            self.stage, self.last = stage, None
            self.bar = ProgressBar(most, mesg=stage.capitalize())
        change = "" if self.last is None else f" ({free_energy - self.last:+.2g})"
        self.last = free_energy
        progress_note(self.bar, f"{free_energy:.4f} nats{change}, {seconds:.2g} s/pass")
        self.bar.update(min(number, most))
