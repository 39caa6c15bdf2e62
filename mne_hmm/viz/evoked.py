"""State-evoked responses."""

from typing import TYPE_CHECKING

import mne
import numpy as np

from .._utils.checks import check_number
from .._utils.docs import fill_doc
from ._drawing import (
    SeveralAxes,
    figure_and_grid,
    hide_frame,
    legend_beside,
    show_if,
    state_colors,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..statistics.evoked_clusters import StateClusterTest


@fill_doc
def plot_state_evoked(
    evokeds: dict[str, mne.EvokedArray],
    *,
    test: "StateClusterTest | None" = None,
    alpha: float = 0.05,
    axes: "SeveralAxes | None" = None,
    show: bool = True,
) -> "Figure":
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
    %(show)s

    Returns
    -------
    %(fig)s

    Raises
    ------
    ValueError
        If the number of axes is another.
    """
    alpha = check_number(alpha, "alpha", rule="a number from 0 to 1", low=0, high=1)
    panels = [(f"{name} ({evoked.nave} events)", evoked.data) for name, evoked in evokeds.items()]
    if test is not None and len(test.evokeds) == 2:
        first, second = test.evokeds.values()
        panels.append((test.contrast, first.data - second.data))
    example = next(iter(evokeds.values()))
    times, names = example.times, example.ch_names
    colors = state_colors(len(names))
    width = 6.0 if len(panels) == 1 else 3.6
    fig, grid = figure_and_grid(len(panels), axes, (width, 3.2), sharey=True)
    for (title, data), panel_axes in zip(panels, grid, strict=True):
        for name, color, values in zip(names, colors, data, strict=True):
            panel_axes.plot(times, values, color=color, label=name, lw=1.5)
        if example.baseline is not None:
            panel_axes.axhline(0, color="0.6", lw=0.8, zorder=0)
        panel_axes.axvline(0, color="0.6", lw=0.8, ls="--", zorder=0)
        panel_axes.set_title(title, fontsize="medium")
        panel_axes.set(xlabel="Time from event (s)", xlim=(times[0], times[-1]))
        panel_axes.locator_params(axis="x", nbins=5)
        hide_frame(panel_axes)
    if test is not None:
        _mark_clusters(grid[-1], test, alpha, colors)
    grid[0].set_ylabel("Probability" + ("" if example.baseline is None else ", less baseline"))
    legend_beside(grid[min(len(grid), 4) - 1])
    show_if(show)
    return fig


def _mark_clusters(
    axes: "Axes", test: "StateClusterTest", alpha: float, colors: np.ndarray
) -> None:
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
