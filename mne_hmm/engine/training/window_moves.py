"""Moves out of a mixture of states over windows: a state is split, and two are merged.

How a state is divided best is not known beforehand, so each is divided in several ways: by its
power, by recordings, by time and at random. What a split gains and a merge costs at once is exact
for sums over windows.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .initialization import cluster
from .window_mixtures import Mixture, MixtureEM
from .window_sums import WindowSums

# Updates of the two halves of a state by themselves.
N_HALVING = 12
# Two ways to divide a state are the same if they share this much of its windows.
SAME_HALVES = 0.8
# Directions at random along which each state is divided.
N_DIRECTIONS = 2
# Merges that are tried with each split, and moves that are tried in all.
N_MERGES, N_TRIED = 2, 60


class Move(NamedTuple):
    """A state that is split and two that are merged.

    The second half of the split state is numbered as one more state, after all others.
    """

    change: float
    """What the free energy rises by at once, in nats per sample."""
    split: int
    merged: tuple[int, int]
    totals: np.ndarray
    """Of all states afterwards, shape (n_states, n_numbers)."""


def propose(em: MixtureEM, mixture: Mixture, rng: np.random.Generator) -> list[Move]:
    """Propose moves: every way to split a state, and then every merge that does not undo it.

    Those that raise the free energy least come first, and no more than are tried.
    """
    totals, n_states = mixture.totals, len(mixture.totals)
    single = em.losses(totals)
    pairs = np.zeros((n_states, n_states))
    first, second = np.triu_indices(n_states, 1)
    if len(first):
        merged = em.losses(totals[first] + totals[second])
        pairs[first, second] = merged - single[first] - single[second]
    moves: list[tuple[float, int, tuple[int, int], np.ndarray]] = []
    for state, child in enumerate(rng.spawn(n_states)):
        others = np.delete(np.arange(n_states), state)
        for gain, halves in divide(em, mixture, state, child):
            # The windows that are likeliest in a state are not quite what it adds up to.
            halves = halves * (totals[state, 0] / halves[:, 0].sum())
            more = np.concatenate([totals, halves[1:]])
            more[state] = halves[0]
            of_split: list[tuple[float, int, tuple[int, int], np.ndarray]] = []
            for half, loss in zip((state, n_states), em.losses(halves), strict=True):
                costs = em.losses(totals[others] + more[half]) - single[others] - loss
                of_split += [
                    (cost - gain, state, (min(i, half), max(i, half)), more)
                    for i, cost in zip(others.tolist(), costs, strict=True)
                ]
            of_split += [
                (pairs[i, j] - gain, state, (i, j), more)
                for place, i in enumerate(others.tolist())
                for j in others[place + 1 :].tolist()
            ]
            moves += sorted(of_split, key=lambda move: move[0])[:N_MERGES]
    moves = sorted(moves, key=lambda move: move[0])[:N_TRIED]
    n_samples = em.windows.n_samples.sum()
    return [
        Move(change / n_samples, state, pair, merged_totals(more, *pair))
        for change, state, pair, more in moves
    ]


def divide(
    em: MixtureEM, mixture: Mixture, state: int, rng: np.random.Generator
) -> list[tuple[float, np.ndarray]]:
    """Divide a state in two in several ways: nats that each gains, and totals of its halves.

    Shapes: ``totals`` (2, n_numbers).
    """
    part = MixtureEM(em.windows.take(np.flatnonzero(mixture.labels == state)), em.prior)
    n_windows, n_samples = len(part.windows.values), part.windows.n_samples.sum()
    if n_samples < 2 * part.min_per_state or n_windows < 2:
        return []
    is_second = np.array(list(ways_to_divide(part.windows, rng)))
    weights = np.stack([~is_second, is_second], axis=1)
    totals = part.add_up(weights.reshape(-1, n_windows)).reshape(len(weights), 2, -1)
    totals = totals[totals[:, :, 0].min(1) >= part.min_per_state]
    if not len(totals):
        return []
    undivided, _ = part.evaluate(totals[:1].sum(1, keepdims=True))
    for _ in range(N_HALVING):
        totals, free_energy, probabilities = part.update(totals)
    em.n_multiplications += part.n_multiplications
    ways: list[tuple[float, np.ndarray]] = []
    met: list[np.ndarray] = []
    for way in np.flatnonzero(totals[:, :, 0].min(1) > 0):
        half = probabilities[way, 1] > 0.5
        shared = [np.mean(half == other) for other in met]
        if all(1 - SAME_HALVES < share < SAME_HALVES for share in shared):
            met.append(half)
            ways.append((float(n_samples * (undivided[0] - free_energy[way])), totals[way]))
    return ways


def merged_totals(totals: np.ndarray, i: int, j: int) -> np.ndarray:
    """Make one of two states."""
    totals = totals.copy()
    totals[i] += totals[j]
    return np.delete(totals, j, axis=0)


def ways_to_divide(windows: WindowSums, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield ways to divide windows in two: whether each is in the second half."""
    features = window_features(windows)
    yield cluster(features, 2, rng) == 1
    # Half of the time: people differ, and so do times of a day.
    n_windows = len(features)
    turned = (np.arange(n_windows) + rng.integers(n_windows)) % n_windows
    yield turned < n_windows // 2
    recordings, places = np.unique(windows.recordings, return_inverse=True)
    if len(recordings) > 1:
        chosen = rng.permutation(len(recordings)) < len(recordings) // 2
        yield chosen[places]
    if len(recordings) > 2:
        means = np.zeros((len(recordings), features.shape[1]))
        np.add.at(means, places, features)
        yield cluster(means / np.bincount(places)[:, None], 2, rng)[places] == 1
    for _ in range(N_DIRECTIONS):
        along = features @ rng.standard_normal(features.shape[1])
        yield along > np.median(along)


def window_features(windows: WindowSums) -> np.ndarray:
    """Get what windows are told apart by, shape (n_windows, n).

    That is the logarithm of power, and where means are learned the mean, too.
    """
    n_samples = windows.n_samples[:, None]
    features = np.log(windows.power / n_samples + 1e-6)
    if windows.rule.learn_means:
        # In units of what a mean of so many samples varies by, were they independent.
        features = np.concatenate([features, windows.sums / np.sqrt(n_samples)], axis=1)
    return features
