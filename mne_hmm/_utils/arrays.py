"""Arithmetic on arrays that several folders need."""

import numpy as np


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean of each row over what is known, NaN where nothing is."""
    known = ~np.isnan(values)
    counts = known.sum(axis=1)
    sums = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0)
