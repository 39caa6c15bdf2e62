"""Runs as plain dictionaries of arrays, for the journal."""

from typing import Any

import numpy as np

from .em import Run, Statistics
from .gaussian import Moments, Parameters


def to_content(run: Run) -> dict[str, Any]:
    """Get all that a run holds as nested dictionaries of arrays and numbers."""
    content = vars(run) | {
        "parameters": run.parameters._asdict(),
        "free_energy": np.array(run.free_energy),
        "seconds": np.array(run.seconds),
    }
    if run.statistics is not None:
        statistics = run.statistics._asdict()
        content["statistics"] = statistics | {"moments": run.statistics.moments._asdict()}
    return content


def run_from(content: dict[str, Any]) -> Run:
    """Undo `to_content`."""
    statistics = content["statistics"]
    if statistics is not None:
        moments = Moments(**statistics["moments"])
        statistics = Statistics(**statistics | {"moments": moments})
    return Run(
        **content
        | {
            "parameters": Parameters(**content["parameters"]),
            "free_energy": content["free_energy"].tolist(),
            "seconds": content["seconds"].tolist(),
            "statistics": statistics,
        }
    )
