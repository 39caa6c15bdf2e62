"""Random events of the same number, overlapping as much, that observed ones are compared with."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..states.time_course import StateTimeCourse
from .permutation import t_of_sums
from .trials import MIN_STD, FreeOnsets, Trials, baseline_slice, take_trials

# Draws until the smallest distance of events is about that of those observed; where that is
# unlikely events are few, and hardly overlap.
MAX_DRAWS = 100


def compare_with_random_events(
    trials: Trials, unit: str, n_permutations: int, rng: np.random.Generator
) -> tuple[np.ndarray, Iterator[np.ndarray], int]:
    """Compute t of the observed events, blocks of t of random events, and degrees of freedom."""
    if trials.states[0].timeline.epochs is not None:
        raise ValueError(
            "one condition is compared with random events, and what is around epochs is not known; "
            "give states of the recording and events, or name two conditions in event_id"
        )
    sources = [
        _Source.of(course, onsets, trials)
        for course, onsets in zip(trials.states, trials.onsets, strict=True)
        if len(onsets)
    ]
    n_observed = sum(len(source.onsets) for source in sources) if unit == "epoch" else len(sources)
    if n_observed < 2:
        raise ValueError(
            f"a test against random events needs at least two {unit}s with events, got {n_observed}"
        )

    def statistic(onsets: list[np.ndarray]) -> np.ndarray:
        sums, squares = np.zeros((2, trials.data[0].shape[1], len(trials.times)))
        for source, source_onsets in zip(sources, onsets, strict=True):
            data = source.trials(source_onsets)
            if unit == "recording":
                data = data.mean(axis=0, keepdims=True)
            sums += data.sum(axis=0)
            squares += np.einsum("nkt,nkt->kt", data, data)
        return t_of_sums(sums, squares, n_observed, floor=MIN_STD)

    permuted = (
        statistic([source.draw(rng) for source in sources])[np.newaxis]
        for _ in range(n_permutations)
    )
    return statistic([source.onsets for source in sources]), permuted, n_observed - 1


@dataclass(frozen=True, eq=False)
class _Source:
    """A recording to draw events from."""

    probabilities: np.ndarray
    onsets: np.ndarray
    free: FreeOnsets
    limits: tuple[int, int]
    baseline: slice | None

    @classmethod
    def of(cls, states: StateTimeCourse, onsets: np.ndarray, trials: Trials) -> "_Source":
        """Make a source of the states of a recording and the onsets of its trials."""
        limits = (trials.first, trials.first + len(trials.times) - 1)
        # Without a baseline, what is tested is a difference from the mean.
        means = np.nanmean(states.probabilities, axis=1, keepdims=True)
        baseline = trials.baseline
        return cls(
            states.probabilities - means,
            onsets,
            FreeOnsets.of(states.spans, *limits),
            limits,
            None if baseline is None else baseline_slice(baseline, trials.times),
        )

    def trials(self, onsets: np.ndarray) -> np.ndarray:
        """Responses to events, less their baseline, shape (n_events, n_states, n_times)."""
        data = take_trials(self.probabilities, onsets, *self.limits)
        if self.baseline is not None:
            data -= data[..., self.baseline].mean(axis=-1, keepdims=True)
        return data

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw onsets of random events, which overlap about as much as those observed."""
        closest, min_distance = self._closeness(self.free.ranks(self.onsets))
        n_events = len(self.onsets)
        for _ in range(MAX_DRAWS):
            # Draw among what is left if the gaps are taken out, and put them in again.
            places = rng.integers(0, self.free.edges[-1] - (n_events - 1) * min_distance, n_events)
            ranks = np.sort(places) + min_distance * np.arange(n_events)
            if self._closeness(ranks)[0] == closest:
                break
        return self.free.samples(ranks)

    def _closeness(self, ranks: np.ndarray) -> tuple[int, int]:
        """Smallest distance of events in quarters of a trial, up to 4, and that in samples.

        If random events overlapped more often or less often than those observed, their t
        statistics would vary more or less. Given the smallest distance, events at random
        are drawn from their own distribution.
        """
        length = self.limits[1] - self.limits[0] + 1
        quarters = min(4 * int(np.diff(np.sort(ranks)).min(initial=length)) // length, 4)
        return quarters, -(-quarters * length // 4)
