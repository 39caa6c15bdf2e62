"""Fractional occupancy in sliding windows, as arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._utils.arrays import divide_or_nan
from .._utils.checks import check_number
from .time_course import StateTimeCourse


def check_windows(
    states: Sequence[StateTimeCourse], names: Sequence[Any], window: float, step: float | None
) -> tuple[float, float]:
    """Check the length and the step of windows in seconds against each recording's grid."""
    rule = "a number of seconds above 0"
    window = check_number(window, "window", rule=rule, above=0)
    step = window if step is None else check_number(step, "step", rule=rule, above=0)
    for name, recording in zip(names, states, strict=True):
        n_times, sfreq = len(recording.times), recording.timeline.sfreq
        for value, what in ((window, "window"), (step, "step")):
            if round(value * sfreq) < 1:
                raise ValueError(f"{what} must be at least a sample, {1 / sfreq:g} s, got {value}")
        if round(window * sfreq) > n_times:
            unit = "recording" if recording.timeline.epochs is None else "the epochs of recording"
            raise ValueError(
                f"window must be no longer than {unit} {name} ({n_times / sfreq:g} s), got "
                f"{window}; take a shorter one, or leave out the recording"
            )
    return window, step


def occupancy_in_windows(
    states: StateTimeCourse, window: float, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Centers of windows, and occupancies, shape (n_epochs, n_windows, n_states).

    NaN where nothing was modeled. A recording without epochs counts as one epoch.
    """
    sfreq, n_states = states.timeline.sfreq, states.n_states
    length = round(window * sfreq)
    n_times = len(states.times)
    # Steps may be no whole number of samples; rounded one by one, windows do not drift.
    n_windows = int((n_times - length) / (step * sfreq) + 1e-9) + 1
    starts = np.round(np.arange(n_windows) * step * sfreq).astype(int)
    labels = states.labels.reshape(-1, n_times)
    on = labels[..., np.newaxis] == np.arange(n_states)  # (n_epochs, n_times, n_states)
    before = np.zeros((len(labels), n_times + 1, n_states), int)
    np.cumsum(on, axis=1, out=before[:, 1:])
    counts = before[:, starts + length] - before[:, starts]
    modeled = counts.sum(axis=-1, keepdims=True)
    occupancy = divide_or_nan(counts, modeled)
    return states.times[starts] + (length - 1) / 2 / sfreq, occupancy
