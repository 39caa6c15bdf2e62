"""Occupancies, lifetimes and other statistics of states, over recordings and over time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.arrays import nanmean_of_rows
from .._utils.checks import check_option
from .._utils.docs import fill_doc
from ..states.time_course import StateTimeCourse, as_courses
from ..states.windows import check_windows, occupancy_in_windows
from ._drawing import (
    SeveralAxes,
    figure_and_axes,
    figure_and_grid,
    hide_frame,
    legend_beside,
    show_if,
    state_colors,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Measures that can be plotted: label of the axis, and what to multiply by.
MEASURES = {
    "fractional_occupancy": ("Fractional occupancy (%)", 100.0),
    "mean_lifetime": ("Mean lifetime (ms)", 1e3),
    "std_lifetime": ("SD of lifetimes (ms)", 1e3),
    "mean_interval": ("Mean interval (s)", 1.0),
    "std_interval": ("SD of intervals (s)", 1.0),
    "switching_rate": ("Switching rate (Hz)", 1.0),
    "n_visits": ("Visits", 1.0),
    "n_censored": ("Visits cut by an edge", 1.0),
}

# Recordings or visits below which a density says less than the dots themselves.
MIN_FOR_DENSITY = 5


@fill_doc
def plot_statistics(
    states: StateTimeCourse | Sequence[StateTimeCourse],
    measure: str = "fractional_occupancy",
    *,
    axes: "Axes | None" = None,
    show: bool = True,
) -> "Figure":
    """Plot a statistic of each state over recordings: a dot each, and violins of many.

    Parameters
    ----------
    states : StateTimeCourse | list of StateTimeCourse
        The states. One entry of a list is one recording.
    measure : str
        Which statistic, for instance ``"mean_lifetime"``: one of `mne_hmm.StateStatistics`.
    %(axes)s
    %(show)s

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Bars are medians over recordings.
    """
    check_option(measure, "measure", tuple(MEASURES))
    courses = as_courses(states)
    names = courses[0].state_names
    label, factor = MEASURES[measure]
    values = factor * np.array([getattr(course.statistics(), measure) for course in courses], float)
    fig, axes = figure_and_axes(axes, (max(0.8 * len(names) + 1.5, 4), 3.5))
    colors = state_colors(len(names))
    rng = np.random.default_rng(0)
    for place, color in enumerate(colors):
        dots = values[~np.isnan(values[:, place]), place]
        _plot_violin(axes, dots, place, color, alpha=0.3)
        # Dots lie side by side, the same in every figure.
        spread = rng.uniform(-0.12, 0.12, len(dots)) if len(dots) > 1 else 0.0
        axes.plot(place + spread * np.ones(len(dots)), dots, ".", color=color, ms=5, alpha=0.8)
        if len(dots) > 1:
            axes.hlines(np.median(dots), place - 0.25, place + 0.25, color=color, lw=2)
    _name_states(axes, names)
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    hide_frame(axes)
    show_if(show)
    return fig


@fill_doc
def plot_lifetimes(
    states: StateTimeCourse | Sequence[StateTimeCourse],
    *,
    include_censored: bool = False,
    axes: "Axes | None" = None,
    show: bool = True,
) -> "Figure":
    """Plot how long visits to each state last, over all recordings.

    Parameters
    ----------
    states : StateTimeCourse | list of StateTimeCourse
        The states. One entry of a list is one recording.
    include_censored : bool
        Whether visits cut by the edge of a span count, at the length that is seen of them.
    %(axes)s
    %(show)s

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure: violins of the durations, each as wide as the others, on a logarithmic scale.
        Bars are medians.
    """
    courses = as_courses(states)
    names = courses[0].state_names
    fig, axes = figure_and_axes(axes, (max(0.8 * len(names) + 1.5, 4), 3.5))
    lifetimes = [_lifetimes(course, include_censored) for course in courses]
    durations_of = [np.concatenate(of_state) for of_state in zip(*lifetimes, strict=True)]
    for place, (durations, color) in enumerate(
        zip(durations_of, state_colors(len(names)), strict=True)
    ):
        logs = np.log10(durations)
        if not _plot_violin(axes, logs, place, color, alpha=0.5):
            axes.plot(np.full(len(logs), place), logs, ".", color=color)
        if len(durations):
            axes.hlines(np.median(logs), place - 0.25, place + 0.25, color=color, lw=2)
    _name_states(axes, names)
    _logarithmic(axes)
    axes.set_ylabel("Lifetime (ms)")
    hide_frame(axes)
    show_if(show)
    return fig


@fill_doc
def plot_occupancy_over_time(
    states: StateTimeCourse | Sequence[StateTimeCourse],
    window: float,
    step: float | None = None,
    *,
    axes: "Axes | SeveralAxes | None" = None,
    show: bool = True,
) -> "Figure":
    """Plot the fractional occupancy in sliding windows.

    Parameters
    ----------
    states : StateTimeCourse | list of StateTimeCourse
        The states. One entry of a list is one recording, with axes of its own.
    window : float
        Length of a window in seconds.
    step : float | None
        Seconds from one window to the next; None takes the length of a window.
    axes : matplotlib.axes.Axes | list of matplotlib.axes.Axes | None
        Where to plot, one for each recording. None makes a new figure.
    %(show)s

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Of epochs it shows the mean over them.
    """
    courses = as_courses(states)
    names = courses[0].state_names
    colors = state_colors(len(names))
    window, step = check_windows(courses, range(len(courses)), window, step)
    width = 8.0 if len(courses) == 1 else 3.5
    fig, grid = figure_and_grid(len(courses), axes, (width, 2.8), sharey=True)
    for i_recording, (course, panel) in enumerate(zip(courses, grid, strict=True)):
        centers, occupancy = occupancy_in_windows(course, window, step)
        marker = "." if len(centers) < 30 else None
        for state, (name, color) in enumerate(zip(names, colors, strict=True)):
            percent = 100 * nanmean_of_rows(occupancy[..., state].T)  # over epochs
            panel.plot(centers, percent, color=color, label=name, marker=marker)
        panel.set_xlabel("Time (s)" if course.timeline.epochs is None else "Time from event (s)")
        if len(courses) > 1:
            panel.set_title(f"Recording {i_recording}", fontsize="medium")
        hide_frame(panel)
    # Limits that are set stay as they are, so this comes after the last curve.
    grid[0].set_ylim(bottom=0)
    grid[0].set_ylabel("Fractional occupancy (%)")
    legend_beside(grid[min(len(grid), 4) - 1])
    show_if(show)
    return fig


def _plot_violin(axes: "Axes", values: np.ndarray, place: int, color: Any, *, alpha: float) -> bool:
    """Plot a density, and say whether there was enough to plot one."""
    if len(values) < MIN_FOR_DENSITY or np.ptp(values) == 0:
        return False
    parts: dict[Any, Any] = axes.violinplot(values, [place], widths=0.8, showextrema=False)
    parts["bodies"][0].set(facecolor=color, alpha=alpha, edgecolor="none")
    return True


def _lifetimes(states: StateTimeCourse, include_censored: bool) -> list[np.ndarray]:
    """Durations of the visits to each state in milliseconds."""
    visits = states.visits
    counted = np.ones(len(visits.states), bool) if include_censored else ~visits.censored
    durations = 1e3 * (visits.stops - visits.starts) / states.timeline.sfreq
    return [durations[counted & (visits.states == state)] for state in range(states.n_states)]


def _name_states(axes: "Axes", names: Sequence[str]) -> None:
    """Write the names of the states below their places."""
    crowded = max(map(len, names)) > 7 or len(names) > 10
    axes.set_xticks(
        range(len(names)),
        names,
        rotation=45 if crowded else 0,
        ha="right" if crowded else "center",
        rotation_mode="anchor" if crowded else "default",
    )
    axes.set_xlim(-0.6, len(names) - 0.4)


def _logarithmic(axes: "Axes") -> None:
    """Label an axis of logarithms with the numbers themselves."""
    low, high = axes.get_ylim()
    powers = np.arange(np.floor(low), np.ceil(high) + 1)
    ticks = np.unique(np.round(np.concatenate([p + np.log10([1, 2, 5]) for p in powers]), 9))
    axes.set_yticks(ticks, [f"{10**tick:g}" for tick in ticks])
    axes.set_ylim(low, high)
