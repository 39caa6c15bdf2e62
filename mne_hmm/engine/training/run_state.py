"""Steps of training that are remembered: runs as plain dictionaries, the same on all workers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..inference.gaussian import Moments, Parameters
from ..runtime.checkpoint import Journal, NoJournal, from_bytes, to_bytes
from ..runtime.workers import Workers
from .em import Run, Statistics

# Name of a stage, number of its pass, free energy in nats per sample, seconds of the pass, and
# how many passes there may be.
Report = Callable[[str, int, float, float, int], None]

# What of a run are sums over the data.
SUMS = ("statistics", "followed")


def to_content(run: Run) -> dict[str, Any]:
    """Get all that a run holds as nested dictionaries of arrays and numbers."""
    content = vars(run) | {
        "parameters": run.parameters._asdict(),
        "free_energy": np.array(run.free_energy),
        "seconds": np.array(run.seconds),
    }
    for name in SUMS:
        if content[name] is not None:
            moments = content[name].moments._asdict()
            content[name] = content[name]._asdict() | {"moments": moments}
    return content


def run_from(content: dict[str, Any]) -> Run:
    """Undo `to_content`."""
    content = content | {
        "parameters": Parameters(**content["parameters"]),
        "free_energy": content["free_energy"].tolist(),
        "seconds": content["seconds"].tolist(),
    }
    for name in SUMS:
        if content[name] is not None:
            moments = Moments(**content[name]["moments"])
            content[name] = Statistics(**content[name] | {"moments": moments})
    return Run(**content)


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
        """Take what the chief has found in place of one's own."""
        if self._workers.size == 1:
            return content
        return from_bytes(self._workers.broadcast(to_bytes(content)))

    def _from_chief(self, content):
        if self._workers.size == 1 or self._silent:
            return content
        payload = b"" if content is None else to_bytes(content)
        payload = self._workers.broadcast(payload)
        return from_bytes(payload) if payload else None
