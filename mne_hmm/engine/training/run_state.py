"""Runs of EM as plain dictionaries, as the journal keeps them."""

from typing import Any

import numpy as np

from ..inference.gaussian import Moments, Parameters
from .em import EMRun, Statistics

# Attributes of a run that are sums over the data.
SUMS = ("statistics", "followed")


def run_to_content(run: EMRun) -> dict[str, Any]:
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


def run_from_content(content: dict[str, Any]) -> EMRun:
    """Undo `run_to_content`."""
    content = content | {
        "parameters": Parameters(**content["parameters"]),
        "free_energy": content["free_energy"].tolist(),
        "seconds": content["seconds"].tolist(),
    }
    for name in SUMS:
        if content[name] is not None:
            moments = Moments(**content[name]["moments"])
            content[name] = Statistics(**content[name] | {"moments": moments})
    return EMRun(**content)
