"""The course of training, as it is shown while it goes on."""

from typing import Any, Self

from mne.utils import ProgressBar

from .._utils.mne_private import progress_note


class Progress:
    """A progress bar for the search and one for each other stage of training, and a log."""

    def __init__(self, log: Any, *, silent: bool = False):
        self.log, self.silent = log, silent
        self.stage: str | None = None
        self.count = 0
        self.bar: Any = None
        self.last: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()
        self.log.close()

    def _finish(self) -> None:
        if self.bar is not None:
            del self.bar  # MNE-Python's bar closes when it goes
            self.bar = None

    def __call__(
        self, stage: str, number: int, free_energy: float, seconds: float, most: int
    ) -> None:
        """Show a pass."""
        self.log.log(stage, number, free_energy, seconds)
        if self.silent:
            return
        shared, _, inner = stage.partition(", ")
        if self.stage is None or shared != self.stage.partition(", ")[0]:
            self._finish()
            self.count = 0
            self.bar = ProgressBar(most, mesg=shared.capitalize())
        if stage != self.stage:
            self.stage, self.last = stage, None
        self.count += 1
        change = "" if self.last is None else f" ({free_energy - self.last:+.2g})"
        self.last = free_energy
        progress_note(self.bar, f"{free_energy:.4f} nats{change}, {seconds:.2g} s/pass")
        self.bar.update(min(self.count if inner else number, most))
