"""State time courses."""

import numpy as np

from .._utils.check import check_number
from ._colors import figure_of, show_if, state_colors


def plot_states(states, *, start=0.0, duration=10.0, axes=None, show=True):
    """Plot state probabilities over time, stacked.

    Parameters
    ----------
    states : StateTimeCourse
        The states.
    start : float
        Where to begin, in seconds.
    duration : float
        How many seconds to show.
    axes : matplotlib.axes.Axes | None
        Where to plot. None makes a new figure.
    show : bool
        Whether to show the figure.

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Where the recording was not modeled it is left white.
    """
    length = states.labels.size / states.timeline.sfreq
    rule = f"seconds from 0 to the end of the recording ({length:.3f} s)"
    start = check_number(start, "start", rule=rule, low=0, high=length)
    duration = check_number(duration, "duration", rule="seconds above 0", above=0)
    sfreq = states.timeline.sfreq
    first, last = round(start * sfreq), round((start + duration) * sfreq)
    shown = np.arange(first, min(last + 1, states.labels.size))
    # Epochs come end to end.
    probabilities = np.moveaxis(states.probabilities, -2, 0).reshape(states.n_states, -1)
    fig, axes = figure_of(axes, (10, 2.5))
    axes.stackplot(
        shown / sfreq,
        np.nan_to_num(probabilities[:, shown]),
        labels=states.state_names,
        colors=state_colors(states.n_states),
        step="mid",
        linewidth=0,
    )
    axes.set(
        xlim=(start, min(start + duration, length)),
        ylim=(0, 1),
        xlabel="Time (s)" if states.timeline.epochs is None else "Time (s), epochs end to end",
        ylabel="Probability",
    )
    columns = -(-states.n_states // 10)
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.0), ncols=columns, frameon=False, fontsize="small"
    )
    show_if(show)
    return fig
