"""Occupancies, lifetimes and other statistics of states, over recordings and over time."""

import numpy as np

from .._utils.arrays import nanmean_of_rows
from .._utils.checks import check_option
from ..states.time_course import as_courses
from ..states.windows import check_windows, occupancy_in_windows
from ._colors import figure_of, grid_of, show_if, state_colors

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

# Recordings below which a density says less than the dots themselves.
ENOUGH = 5


def plot_statistics(states, measure="fractional_occupancy", *, axes=None, show=True):
    """Plot a statistic of each state over recordings: a dot each, and violins of many.

    Parameters
    ----------
    states : StateTimeCourse | list of StateTimeCourse
        The states. One entry of a list is one recording.
    measure : str
        Which statistic, for instance ``"mean_lifetime"``: one of `mne_hmm.StateStatistics`.
    axes : matplotlib.axes.Axes | None
        Where to plot. None makes a new figure.
    show : bool
        Whether to show the figure.

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Bars are medians over recordings.
    """
    check_option(measure, "measure", tuple(MEASURES))
    several = as_courses(states)
    names = several[0].state_names
    label, factor = MEASURES[measure]
    values = factor * np.array([getattr(one.statistics(), measure) for one in several], float)
    fig, axes = figure_of(axes, (max(0.8 * len(names) + 1.5, 4), 3.5))
    colors = state_colors(len(names))
    rng = np.random.default_rng(0)
    for place, color in enumerate(colors):
        known = values[~np.isnan(values[:, place]), place]
        if len(known) >= ENOUGH and np.ptp(known) > 0:
            violin = axes.violinplot(known, [place], widths=0.8, showextrema=False)
            violin["bodies"][0].set(facecolor=color, alpha=0.3, edgecolor="none")
        # Dots lie side by side, the same in every figure.
        spread = rng.uniform(-0.12, 0.12, len(known)) if len(known) > 1 else 0.0
        axes.plot(place + spread * np.ones(len(known)), known, ".", color=color, ms=5, alpha=0.8)
        if len(known) > 1:
            axes.hlines(np.median(known), place - 0.25, place + 0.25, color=color, lw=2)
    _name_states(axes, names)
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    _clean(axes)
    show_if(show)
    return fig


def plot_lifetimes(states, *, include_censored=False, axes=None, show=True):
    """Plot how long visits to each state last, over all recordings.

    Parameters
    ----------
    states : StateTimeCourse | list of StateTimeCourse
        The states. One entry of a list is one recording.
    include_censored : bool
        Whether visits cut by the edge of a span count, at the length that is seen of them.
    axes : matplotlib.axes.Axes | None
        Where to plot. None makes a new figure.
    show : bool
        Whether to show the figure.

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure: violins of the durations, each as wide as the others, on a logarithmic scale.
        Bars are medians.
    """
    several = as_courses(states)
    names = several[0].state_names
    fig, axes = figure_of(axes, (max(0.8 * len(names) + 1.5, 4), 3.5))
    lifetimes = [_lifetimes(one, include_censored) for one in several]
    durations_of = [np.concatenate(of_state) for of_state in zip(*lifetimes, strict=True)]
    for place, (durations, color) in enumerate(
        zip(durations_of, state_colors(len(names)), strict=True)
    ):
        logs = np.log10(durations)
        if len(durations) >= ENOUGH and np.ptp(logs) > 0:
            violin = axes.violinplot(logs, [place], widths=0.8, showextrema=False)
            violin["bodies"][0].set(facecolor=color, alpha=0.5, edgecolor="none")
        else:
            axes.plot(np.full(len(logs), place), logs, ".", color=color)
        if len(durations):
            axes.hlines(np.median(logs), place - 0.25, place + 0.25, color=color, lw=2)
    _name_states(axes, names)
    _logarithmic(axes)
    axes.set_ylabel("Lifetime (ms)")
    _clean(axes)
    show_if(show)
    return fig


def plot_occupancy_over_time(states, window, step=None, *, axes=None, show=True):
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
    show : bool
        Whether to show the figure.

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Of epochs it shows the mean over them.
    """
    several = as_courses(states)
    names = several[0].state_names
    colors = state_colors(len(names))
    window, step = check_windows(several, range(len(several)), window, step)
    width = 8.0 if len(several) == 1 else 3.5
    fig, grid = grid_of(len(several), axes, (width, 2.8), sharey=True)
    for number, (one, one_axes) in enumerate(zip(several, grid, strict=True)):
        centers, occupancy = occupancy_in_windows(one, window, step)
        marker = "." if len(centers) < 30 else None
        for state, (name, color) in enumerate(zip(names, colors, strict=True)):
            course = 100 * nanmean_of_rows(occupancy[..., state].T)  # over epochs
            one_axes.plot(centers, course, color=color, label=name, marker=marker)
        one_axes.set_xlabel("Time (s)" if one.timeline.epochs is None else "Time from event (s)")
        if len(several) > 1:
            one_axes.set_title(f"Recording {number}", fontsize="medium")
        _clean(one_axes)
    # Limits that are set stay as they are, so this comes after the last curve.
    grid[0].set_ylim(bottom=0)
    grid[0].set_ylabel("Fractional occupancy (%)")
    grid[min(len(grid), 4) - 1].legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize="small"
    )
    show_if(show)
    return fig


def _lifetimes(states, include_censored):
    """Durations of the visits to each state in milliseconds."""
    visits = states.visits
    counted = np.ones(len(visits.states), bool) if include_censored else ~visits.censored
    durations = 1e3 * (visits.stops - visits.starts) / states.timeline.sfreq
    return [durations[counted & (visits.states == state)] for state in range(states.n_states)]


def _name_states(axes, names):
    crowded = max(map(len, names)) > 7 or len(names) > 10
    axes.set_xticks(
        range(len(names)),
        names,
        rotation=45 if crowded else 0,
        ha="right" if crowded else "center",
        rotation_mode="anchor" if crowded else "default",
    )
    axes.set_xlim(-0.6, len(names) - 0.4)


def _logarithmic(axes):
    """Label an axis of logarithms with the numbers themselves."""
    low, high = axes.get_ylim()
    powers = np.arange(np.floor(low), np.ceil(high) + 1)
    ticks = np.unique(np.round(np.concatenate([p + np.log10([1, 2, 5]) for p in powers]), 9))
    axes.set_yticks(ticks, [f"{10**tick:g}" for tick in ticks])
    axes.set_ylim(low, high)


def _clean(axes):
    axes.spines[["top", "right"]].set_visible(False)
