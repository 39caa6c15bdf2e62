"""The states of recordings under models: what every method that looks at data goes through."""

from collections.abc import Iterator, Sequence
from typing import Any

from ..io.timeline import TimeMap
from ..preparation.prepared_data import PreparedData


def infer_by_recording(
    models: Sequence[Any], prepared: PreparedData, covariance_type: str
) -> Iterator[tuple[Any, list[Any]]]:
    """Infer the states of one recording after another by several models."""
    from ..engine import Samples, infer

    for number, time_map in enumerate(prepared.time_maps):
        samples = Samples([prepared.data[number]], [chain_lengths(time_map)])
        yield samples, [infer(samples, one, covariance_type=covariance_type) for one in models]


def chain_lengths(time_map: TimeMap) -> list[int]:
    """Numbers of samples of a recording's spans."""
    return [len(span) for span in time_map.spans]
