"""Ctrl-C that asks for the best model so far, instead of an end without one."""

import contextlib
import signal
import sys
import threading
from types import FrameType
from typing import Any

from .em import EMRun

INTERRUPT_MESSAGE = (
    "\nInterrupted: the best model so far comes after this pass. Ctrl-C again stops at once.\n"
)


# What a model was trained on: a subsample, mini-batches, or all data in whole chains.
ON_SUBSAMPLE, ON_BATCHES, ON_ALL = range(3)


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
        self.best: EMRun | None = None
        self.level = ON_SUBSAMPLE
        self._before: Any = None

    def __enter__(self) -> "Interrupt":
        # A handler of the user's own stays, and so does ignoring the signal.
        usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self.wanted and usual and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _on_signal(self, signal_number: int, frame: FrameType | None) -> None:
        if self.asked or self.best is None:
            raise KeyboardInterrupt
        self.asked = True
        # Not where a line was being written just now.
        with contextlib.suppress(RuntimeError, OSError, ValueError, AttributeError):
            sys.stderr.write(INTERRUPT_MESSAGE)
            sys.stderr.flush()

    def offer(self, run: EMRun, level: int) -> None:
        """Keep a model if it is the best so far."""
        if not self.wanted or level < self.level:
            return
        if (
            self.best is None
            or level > self.level
            or run.free_energy[-1] < self.best.free_energy[-1]
        ):
            self.best, self.level = run, level

    def check(self, ended: bool = False) -> None:
        """End training here if the user has asked for it and it has not ended by itself."""
        if self.asked and not ended:
            raise InterruptedEarlyError
