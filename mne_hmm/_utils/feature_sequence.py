"""Features of recordings that are read when they are asked for.

This is all that the engine shares with the folders that feed it: what a fit gets is a list of
arrays, which stay in memory, or a `FeatureSequence`, which is read anew in every pass.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np


class FeatureSequence(Sequence[np.ndarray]):
    """Features of several recordings, arrays of shape (n_samples, n_features) read on demand."""

    lengths: list[int]
    """Number of samples of each recording, known without reading any."""
    n_features: int

    def __len__(self) -> int:
        return len(self.lengths)

    @abstractmethod
    def __getitem__(self, index: Any) -> Any:
        """Read the features of a recording."""

    @property
    def digests(self) -> list[str] | None:
        """SHA-256 of the rows of each recording; None where only reading them would tell."""
        return None

    @abstractmethod
    def stream(self, order: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield recordings in a given order with their indices, reading ahead where possible."""


def stream_features(
    arrays: Sequence[np.ndarray], order: Iterable[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield arrays in a given order with their indices, reading ahead where they are in files."""
    if isinstance(arrays, FeatureSequence):
        yield from arrays.stream(order)
    else:
        for index in order:
            yield index, arrays[index]


def lengths_of(arrays: Sequence[np.ndarray]) -> list[int]:
    """Count the samples of each recording, without reading what lies in files."""
    return arrays.lengths if isinstance(arrays, FeatureSequence) else [len(x) for x in arrays]


def n_features_of(arrays: Sequence[np.ndarray]) -> int:
    """Count the features, without reading what lies in files."""
    return int(arrays.n_features if isinstance(arrays, FeatureSequence) else arrays[0].shape[1])
