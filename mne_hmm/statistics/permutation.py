"""Statistics under many permutations at once, as matrix products.

They are our own since labels are shuffled within recordings, values may be missing, and small sets
of permutations are gone through once each; neither SciPy nor MNE-Python has all of these.
"""

import itertools
from math import comb, prod
from typing import Any

import numpy as np

# Share of the mean square below which a variance is rounding.
ROUNDING = 1e-13


def sign_flips(n_observations: int, n_permutations: int, rng: np.random.Generator) -> np.ndarray:
    """Draw signs, shape (n_permutations, n_observations), or list all where there are few."""
    if n_observations < 60 and 2**n_observations - 1 <= n_permutations:
        patterns = np.arange(1, 2**n_observations)
        bits = (patterns[:, np.newaxis] >> np.arange(n_observations)) & 1
    else:
        bits = rng.integers(0, 2, (n_permutations, n_observations))
    return 1.0 - 2.0 * bits


def label_shuffles(
    first: np.ndarray, blocks: np.ndarray, n_permutations: int, rng: np.random.Generator
) -> np.ndarray:
    """Shuffle within blocks which observations are in the first group, or list all ways.

    Shapes: ``first`` and ``blocks`` (n_observations,); returns (n_permutations, n_observations).
    """
    members = [np.flatnonzero(blocks == block) for block in np.unique(blocks)]
    sizes = [int(first[inside].sum()) for inside in members]
    n_ways = prod(comb(len(inside), size) for inside, size in zip(members, sizes, strict=True))
    if n_ways - 1 > n_permutations:
        shuffled = np.empty((n_permutations, len(first)))
        for inside in members:
            tiled = np.tile(first[inside].astype(float), (n_permutations, 1))
            shuffled[:, inside] = rng.permuted(tiled, axis=1)
        return shuffled
    ways = [
        itertools.combinations(inside.tolist(), size)
        for inside, size in zip(members, sizes, strict=True)
    ]
    shuffled = np.zeros((n_ways, len(first)))
    for row, chosen in zip(shuffled, itertools.product(*ways), strict=True):
        row[list(itertools.chain(*chosen))] = 1
    return shuffled[(shuffled != first).any(axis=1)]


def one_sample_t(values: np.ndarray, signs: np.ndarray, *, floor: float = 0.0) -> np.ndarray:
    """Compute t statistics of means against 0.

    Shapes: ``values`` (n_observations, n_variables), ``signs`` (n_permutations,
    n_observations); returns ``t`` (n_permutations, n_variables).
    """
    present = ~np.isnan(values)
    x = np.where(present, values, 0.0)
    return t_of_sums(signs @ x, (x**2).sum(axis=0), present.sum(axis=0), floor=floor)


def t_of_sums(sums: Any, squares: Any, n: Any, *, floor: float = 0.0) -> np.ndarray:
    """Compute t statistics of means against 0 from sums of observations.

    Shapes: ``sums`` (..., n_variables), ``squares`` (..., n_variables), ``n``
    (n_variables,); returns ``t`` (..., n_variables).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        means = sums / n
        variances = (squares - n * means**2) / (n - 1)
        variances = np.maximum(variances, ROUNDING * squares / n)
        t = means / np.sqrt(np.maximum(variances, floor**2) / n)
    return np.where((np.asarray(n) < 2) | np.isnan(t), 0.0, t)


def two_sample_t(values: np.ndarray, first: np.ndarray, *, floor: float = 0.0) -> np.ndarray:
    """Compute t statistics of the differences of two groups, with pooled variances.

    Shapes: ``values`` (n_observations, n_variables), ``first`` (n_permutations,
    n_observations); returns ``t`` (n_permutations, n_variables).
    """
    present = ~np.isnan(values)
    counts = present.sum(axis=0)
    largest = np.where(present, np.abs(values), 0.0).max(axis=0, initial=0.0)
    means = np.where(present, values, 0.0).sum(axis=0) / np.maximum(counts, 1)
    # Centered, sums of squares keep their digits.
    x = np.where(present, values - means, 0.0)
    squares = (x**2).sum(axis=0)
    same = squares <= counts * (1e-15 * largest) ** 2 * 10
    total = x.sum(axis=0)
    n_first = first @ present.astype(float)
    n_second = counts - n_first
    sum_first = first @ x
    sum_second = total - sum_first
    with np.errstate(divide="ignore", invalid="ignore"):
        within = squares - sum_first**2 / n_first - sum_second**2 / n_second
        variances = np.maximum(within, ROUNDING * squares) / (counts - 2)
        scale = np.sqrt(np.maximum(variances, floor**2) * (1 / n_first + 1 / n_second))
        t = (sum_first / n_first - sum_second / n_second) / scale
    t[(n_first < 1) | (n_second < 1) | (counts < 3) | same] = 0.0
    return np.nan_to_num(t, nan=0.0)


def p_values(observed: Any, null: np.ndarray) -> np.ndarray:
    """Compute p-values: the share of permutations, the observed one among them, that reach it.

    Shapes: ``observed`` (...), ``null`` (n_permutations, ...); returns ``p`` (...).
    """
    observed = np.asarray(observed, float)
    # Permutations that are the same but for the order of sums differ in their last digits.
    reached = null >= observed - 1e-9 * np.abs(observed)
    return (1 + reached.sum(axis=0)) / (1 + len(null))


def folded(statistics: np.ndarray, tail: int) -> np.ndarray:
    """Turn statistics so that larger ones are less likely: both tails, the upper or the lower."""
    return np.abs(statistics) if tail == 0 else tail * statistics
