"""Ctrl-C that asks for the best model so far, instead of an end without one."""

import contextlib
import signal
import sys
import threading
from typing import Any

from .em import Run

TOLD = "\nInterrupted: the best model so far comes after this pass. Ctrl-C again stops at once.\n"


# What a model was trained on: a part of the data, mini-batches, or all data in whole chains.
ON_PART, ON_BATCHES, ON_ALL = range(3)


class InterruptedEarlyError(Exception):
    """Training ends here, with the best model so far."""


class Interrupt:
    """Whether the user has asked for an early end, and the model there is for that case.

    A first Ctrl-C is noted, and training ends where it looks the next time: after a pass, so
    that nothing is cut off halfway. Without a model, and the second time, Ctrl-C is what it
    always is. Only the main thread hears of signals; in others this does nothing.
    """

    def __init__(self, wanted: bool = False):
        self.wanted, self.asked = wanted, False
        self.best: Run | None = None
        self.level = ON_PART
        self._before: Any = None

    def __enter__(self) -> "Interrupt":
        # Who has another way with Ctrl-C, or ignores it, keeps it.
        usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self.wanted and usual and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _heard(self, number, frame):
        if self.asked or self.best is None:
            raise KeyboardInterrupt
        self.asked = True
        # Not where a line was being written just now.
        with contextlib.suppress(RuntimeError, OSError, ValueError, AttributeError):
            sys.stderr.write(TOLD)
            sys.stderr.flush()

    def offer(self, run: Run, level: int) -> None:
        """Keep a model if it is the best so far."""
        if not self.wanted or level < self.level:
            return
        higher = level > self.level or self.best is None
        if higher or run.free_energy[-1] < self.best.free_energy[-1]:  # type: ignore[union-attr]
            self.best, self.level = run, level

    def check(self, ended: bool = False) -> None:
        """End training here if the user has asked for it and it has not ended by itself."""
        if self.asked and not ended:
            raise InterruptedEarlyError
