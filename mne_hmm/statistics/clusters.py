"""Clusters of statistics: samples of one state next to each other, all beyond a threshold."""

import numpy as np

from .permutation import folded


def _clusters(
    t: np.ndarray, threshold: float, tail: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows, starts, stops and masses of clusters, rows being all axes but time."""
    n_times = t.shape[-1]
    # A column of zeros keeps clusters of one row from going on in the next.
    padded = np.zeros((t.size // n_times, n_times + 1))
    padded[:, :-1] = t.reshape(-1, n_times)
    flat = padded.ravel()
    beyond = np.zeros(len(flat), np.int8)
    if tail >= 0:
        beyond[flat > threshold] = 1
    if tail <= 0:
        beyond[flat < -threshold] = -1
    edges = np.flatnonzero(np.diff(beyond, prepend=0))
    # ``beyond`` is the same from one edge to the next; the last edge ends the last cluster.
    starts, stops = edges[:-1], edges[1:]
    sums = np.add.reduceat(flat, edges)[:-1] if len(edges) else np.empty(0)
    inside = beyond[starts] != 0
    rows, first = np.divmod(starts[inside], n_times + 1)
    return rows, first, first + (stops - starts)[inside], sums[inside]


def find_clusters(
    t: np.ndarray, threshold: float, tail: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """States, starts, stops and masses of the clusters in a map, shape (n_states, n_times)."""
    return _clusters(t, threshold, tail)


def largest_masses(t: np.ndarray, threshold: float, tail: int) -> np.ndarray:
    """Largest absolute mass of all clusters in each of maps, shape (n_maps, n_states, n_times).

    Where a map has no cluster, a number below 0: the largest t in thresholds, less 1.
    """
    rows, _, _, masses = _clusters(t, threshold, tail)
    largest = folded(t, tail).max(axis=(1, 2)) / threshold - 1
    largest[largest > 0] = 0
    np.maximum.at(largest, rows // t.shape[1], np.abs(masses))
    return largest
