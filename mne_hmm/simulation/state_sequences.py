"""Sequences of states, drawn visit by visit: from lifetimes and occupancies, or from chains."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..states.visits import stationary_occupancy


def markov_labels(
    transition_matrix: np.ndarray, n_times: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw the states of a Markov chain that has been going on for long.

    Shapes: ``transition_matrix`` (n_states, n_states); returns ``labels`` (n_times,).
    """
    states, lengths = [], []
    for visit in _visits(transition_matrix, n_times, 1, rng):
        states.append(visit.states[0])
        lengths.append(visit.seen[0])
    return np.repeat(states, lengths)


class ChainStatistics(NamedTuple):
    """Counts over samples and visits of many chains, shape (n_chains, n_states) each."""

    occupied: np.ndarray
    """Number of samples in each state."""
    whole_samples: np.ndarray
    """Number of samples of visits that begin and end within the chain."""
    n_whole: np.ndarray
    """Number of these visits."""


def markov_statistics(
    transition_matrix: np.ndarray, n_times: int, n_chains: int, rng: np.random.Generator
) -> ChainStatistics:
    """Draw Markov chains side by side, and count what their states do.

    Shapes: ``transition_matrix`` (n_states, n_states).
    """
    shape = (n_chains, len(transition_matrix))
    occupied, whole_samples, n_whole = (np.zeros(shape, np.int64) for _ in range(3))
    for visit in _visits(transition_matrix, n_times, n_chains, rng):
        place = visit.chains, visit.states
        occupied[place] += visit.seen
        whole_samples[place] += np.where(visit.whole, visit.seen, 0)
        n_whole[place] += visit.whole
    return ChainStatistics(occupied, whole_samples, n_whole)


class _Visit(NamedTuple):
    """The next visit of each chain that has not ended, shape (n_chains,) each."""

    chains: np.ndarray
    states: np.ndarray
    seen: np.ndarray
    whole: np.ndarray


def _visits(
    transition_matrix: np.ndarray, n_times: int, n_chains: int, rng: np.random.Generator
) -> Iterator[_Visit]:
    """Yield the visits of chains that begin where they would be found at any time."""
    stays = np.diagonal(transition_matrix)
    onward = np.where(np.eye(len(stays), dtype=bool), 0.0, transition_matrix)
    cumulative = np.cumsum(onward, axis=1)
    chains = np.arange(n_chains)
    states = rng.choice(len(stays), size=n_chains, p=stationary_occupancy(transition_matrix))
    elapsed = np.zeros(n_chains, np.int64)
    first = True
    while len(chains):
        leaves = 1 - stays[states]
        durations = rng.geometric(np.where(leaves > 0, leaves, 1.0))
        left = n_times - elapsed
        # A state that is never left lasts to the end, as do visits that are cut off there.
        ends = (leaves > 0) & (durations < left)
        yield _Visit(chains, states, np.where(ends, durations, left), ends & (not first))
        elapsed, chains, states = (x[ends] for x in (elapsed + durations, chains, states))
        draw = rng.random(len(states)) * cumulative[states, -1]
        states = (draw[:, np.newaxis] >= cumulative[states]).sum(axis=1)
        first = False


# Lifetimes and occupancies


def jump_matrix(occupancy: np.ndarray, lifetimes: np.ndarray) -> np.ndarray:
    """Compute which state follows which, so that states are on for the shares ``occupancy``.

    Shapes: ``occupancy`` (n_states,), ``lifetimes`` (n_states,); returns ``jumps``
    (n_states, n_states).
    """
    n_states = len(occupancy)
    entered = occupancy / lifetimes
    entered = entered / entered.sum()
    most = int(entered.argmax())
    # Each visit to a state lies between two to others, so no state has more than half of them.
    too_often = entered[most] > 0.5 + 1e-9 or (n_states == 2 and abs(entered[0] - 0.5) > 1e-9)
    if too_often:
        others = np.delete(occupancy / lifetimes, most).sum()
        raise ValueError(
            f"occupancy and mean_lifetime do not go together: state {most} would be entered more "
            "often than all others together, but a state is never followed by itself; make its "
            f"mean_lifetime {'' if n_states == 2 else 'at least '}{occupancy[most] / others:.3g} s "
            "(with the other lifetimes as they are), or lower its occupancy"
        )
    jumps = 1.0 - np.eye(n_states)
    weights = np.sqrt(entered)
    for _ in range(10_000):
        flows = weights[:, np.newaxis] * jumps * weights
        sums = flows.sum(axis=1)
        if np.abs(sums - entered).max() < 1e-12:
            break
        weights = weights * np.sqrt(entered / sums)
    return flows / sums[:, np.newaxis]


def visit_labels(
    n_times: int,
    mean_samples: np.ndarray,
    jumps: np.ndarray | None,
    occupancy: np.ndarray | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw the states of samples visit by visit; half of a lifetime is certain, half by chance.

    Shapes: ``mean_samples`` (n_states,), ``jumps`` (n_states, n_states), ``occupancy``
    (n_states,); returns ``labels`` (n_times,).
    """
    n_states = len(mean_samples)
    shortest = (mean_samples / 2).astype(int)
    n_visits = int(np.ceil(n_times / max(shortest.min(), 1))) + 1
    chance = 1 / np.maximum(mean_samples - shortest, 1)
    if jumps is None and np.ptp(mean_samples) == 0:
        durations = shortest[0] + rng.geometric(chance[0], n_visits)
        steps = rng.integers(1, n_states, n_visits)  # never to itself
        states = np.cumsum(steps) % n_states
    else:
        if jumps is None:
            jumps = (1.0 - np.eye(n_states)) / (n_states - 1)
        states = _follow(jumps, occupancy, n_visits, rng)
        durations = shortest[states] + rng.geometric(chance[states])
    durations = np.minimum(durations, n_times)  # lifetimes may be longer than all
    n_needed = int(np.searchsorted(np.cumsum(durations), n_times)) + 1
    return np.repeat(states[:n_needed], durations[:n_needed])[:n_times]


def _follow(
    jumps: np.ndarray, occupancy: np.ndarray | None, n_visits: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw the states of visits, one after another, shape (n_visits,)."""
    cumulative = np.cumsum(jumps, axis=1)
    cumulative[:, -1] = np.inf  # what rounding leaves above the last
    draws = rng.random(n_visits)
    out = np.empty(n_visits, int)
    out[0] = rng.choice(len(jumps), p=occupancy)
    for i_visit in range(1, n_visits):
        out[i_visit] = np.searchsorted(cumulative[out[i_visit - 1]], draws[i_visit], side="right")
    return out
