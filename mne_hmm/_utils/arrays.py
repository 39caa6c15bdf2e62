"""Arithmetic on arrays that several folders need."""

from collections.abc import Iterator

import numpy as np


def row_blocks(n_rows: int, block_length: int) -> Iterator[slice]:
    """Cut rows into blocks of some length, the last of which may be shorter."""
    for start in range(0, n_rows, block_length):
        yield slice(start, min(start + block_length, n_rows))


def end_to_end(values: np.ndarray) -> np.ndarray:
    """Lay epochs end to end.

    Shapes: ``values`` (n_states, n_times) or (n_epochs, n_states, n_times); returns (n_states,
    n_samples).
    """
    return np.moveaxis(values, -2, 0).reshape(values.shape[-2], -1)


def nanmean_of_rows(values: np.ndarray) -> np.ndarray:
    """Compute the mean of each row without NaN, and NaN where a row has nothing else."""
    there = ~np.isnan(values)
    counts = there.sum(axis=1)
    return divide_or_nan(np.where(there, values, 0.0).sum(axis=1), counts)


def divide_or_nan(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Divide by counts that broadcast to ``values``; NaN where a count is 0."""
    return np.divide(values, counts, out=np.full(np.shape(values), np.nan), where=counts > 0)
