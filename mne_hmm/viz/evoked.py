"""State-evoked responses."""

import numpy as np

from .._utils.checks import check_number
from ._colors import grid_of, show_if, state_colors


def plot_state_evoked(evokeds, *, test=None, alpha=0.05, axes=None, show=True):
    """Plot the state probabilities around events, with clusters marked.

    Parameters
    ----------
    evokeds : dict of mne.EvokedArray
        The responses, as `mne_hmm.compute_state_evoked` returns them.
    test : StateClusterTest | None
        The test of the same events. Clusters are bars below the curves, in the color of their
        state; if two conditions were tested, below their difference.
    alpha : float
        Clusters with p-values up to this are marked.
    axes : list of matplotlib.axes.Axes | None
        Where to plot: one for each condition, and one for the difference if two were tested.
        None makes a new figure.
    show : bool
        Whether to show the figure.

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ValueError
        If the number of axes is another.
    """
    alpha = check_number(alpha, "alpha", rule="a number from 0 to 1", low=0, high=1)
    panels = [(f"{name} ({one.nave} events)", one.data) for name, one in evokeds.items()]
    if test is not None and len(test.evokeds) == 2:
        first, second = test.evokeds.values()
        panels.append((test.contrast, first.data - second.data))
    any_one = next(iter(evokeds.values()))
    times, names = any_one.times, any_one.ch_names
    colors = state_colors(len(names))
    width = 6.0 if len(panels) == 1 else 3.6
    fig, grid = grid_of(len(panels), axes, (width, 3.2), sharey=True)
    for panel, ((title, data), one_axes) in enumerate(zip(panels, grid, strict=True)):
        for name, color, values in zip(names, colors, data, strict=True):
            one_axes.plot(times, values, color=color, label=name, lw=1.5)
        if any_one.baseline is not None:
            one_axes.axhline(0, color="0.6", lw=0.8, zorder=0)
        one_axes.axvline(0, color="0.6", lw=0.8, ls="--", zorder=0)
        one_axes.set_title(title, fontsize="medium")
        one_axes.set(xlabel="Time from event (s)", xlim=(times[0], times[-1]))
        one_axes.locator_params(axis="x", nbins=5)
        one_axes.spines[["top", "right"]].set_visible(False)
        if test is not None and panel == len(panels) - 1:
            _mark(one_axes, test, alpha, colors)
    label = "Probability" if any_one.baseline is None else "Probability, less baseline"
    grid[0].set_ylabel(label)
    grid[min(len(grid), 4) - 1].legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize="small"
    )
    show_if(show)
    return fig


def _mark(axes, test, alpha, colors):
    """Draw a bar for each significant cluster, in a row for each state that has any."""
    marked = np.flatnonzero(test.p <= alpha)
    low, high = axes.get_ylim()
    row = 0.045 * (high - low)
    rows = np.unique(test.states[marked])
    half = 0.5 * (test.times[1] - test.times[0])
    for cluster in marked:
        state = test.states[cluster]
        place = low - row * (0.5 + np.searchsorted(rows, state))
        start, stop = test.times[[test.starts[cluster], test.stops[cluster] - 1]]
        axes.hlines(place, start - half, stop + half, color=colors[state], lw=4)
    if len(rows):
        axes.set_ylim(low - row * (len(rows) + 0.5), high)
