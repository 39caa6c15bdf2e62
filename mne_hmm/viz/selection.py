"""What speaks for each number of states."""

from typing import TYPE_CHECKING

import numpy as np

from .._utils.arrays import nanmean_of_rows
from .._utils.docs import fill_doc
from ._drawing import SeveralAxes, figure_and_grid, hide_frame, show_if

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..validation.select import StateNumberSelection

FIRST_COLOR, SECOND_COLOR, THIRD_COLOR = "C0", "C1", "C2"


@fill_doc
def plot_selection(
    selection: "StateNumberSelection", *, axes: "SeveralAxes | None" = None, show: bool = True
) -> "Figure":
    """Plot what is known of each number of states, with the recommended one marked.

    Parameters
    ----------
    selection : StateNumberSelection
        What `mne_hmm.select_n_states` found.
    axes : array of matplotlib.axes.Axes | None
        Where to plot, six of them: held-out log evidence, free energy, agreement, occupancy of
        the weakest state, information criteria, and distance of states. None makes a new figure.
    %(show)s

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Held-out log evidence is shown against the best number, with the standard
        error of the differences within folds; agreement and distance of repeats with their range
        over pairs; information criteria per sample, against the smallest.
    """
    fig, grid = figure_and_grid(6, axes, (3.6, 2.9), max_columns=3)
    numbers = np.array(selection.n_states)
    recommended = selection.recommend().n_states
    _plot_held_out(grid[0], selection, numbers)
    _plot_free_energy(grid[1], selection, numbers)
    _plot_agreement(grid[2], selection, numbers)
    _plot_occupancy(grid[3], selection, numbers)
    _plot_criteria(grid[4], selection, numbers)
    _plot_distance(grid[5], selection, numbers)
    for panel in grid:
        _finish(panel, numbers, recommended)
    show_if(show)
    return fig


def _plot_held_out(axes: "Axes", selection: "StateNumberSelection", numbers: np.ndarray) -> None:
    difference, error = selection.below(int(selection.held_out.mean(axis=1).argmax()))
    axes.axhline(0, color="0.8", lw=1)
    axes.errorbar(numbers, -difference, yerr=error, color=FIRST_COLOR, marker="o", ms=4, capsize=3)
    axes.set(title="Held-out log evidence", ylabel="Against the best (nats/sample)")


def _plot_free_energy(axes: "Axes", selection: "StateNumberSelection", numbers: np.ndarray) -> None:
    axes.plot(numbers, selection.free_energy, ".", color="0.6", ms=6)
    axes.plot(numbers, selection.free_energy.min(axis=1), color=FIRST_COLOR)
    axes.set(title="Free energy, training data", ylabel="Nats/sample")


def _plot_agreement(axes: "Axes", selection: "StateNumberSelection", numbers: np.ndarray) -> None:
    _plot_repeats(axes, selection.repeats_agreement, numbers, label="repeats, kappa")
    axes.plot(
        numbers,
        selection.halves_agreement,
        color=SECOND_COLOR,
        marker="s",
        ms=4,
        label="split halves, kappa",
    )
    # Correlations are seldom far from kappa, so they get no more than thin lines.
    for values, color in (
        (nanmean_of_rows(selection.repeats_correlation), FIRST_COLOR),
        (selection.halves_correlation, SECOND_COLOR),
    ):
        if not np.isnan(values).all():
            axes.plot(
                numbers, values, color=color, ls=":", lw=1, label=_label_once(axes, "correlation")
            )
    axes.set_ylim(min(0, axes.get_ylim()[0]), 1.03)
    axes.legend(frameon=False, fontsize="small", loc="lower left")
    axes.set(title="Agreement of states", ylabel="Kappa, correlation")


def _label_once(axes: "Axes", label: str) -> str | None:
    """Get a label for the legend, unless it has it."""
    return None if label in axes.get_legend_handles_labels()[1] else label


def _plot_repeats(axes: "Axes", values: np.ndarray, numbers: np.ndarray, *, label: str) -> None:
    """Draw the mean over pairs of repeats, with their range."""
    # With one repeat there are no pairs, and of some pairs nothing can be said.
    finite = [row[~np.isnan(row)] for row in values]
    shown = [index for index, row in enumerate(finite) if len(row)]
    if not shown:
        return
    means = np.array([finite[index].mean() for index in shown])
    ranges = [
        [mean - finite[index].min(), finite[index].max() - mean]
        for mean, index in zip(means, shown, strict=True)
    ]
    axes.errorbar(
        numbers[shown],
        means,
        yerr=np.clip(np.transpose(ranges), 0, None),
        color=FIRST_COLOR,
        marker="o",
        ms=4,
        capsize=3,
        label=label,
    )


def _plot_distance(axes: "Axes", selection: "StateNumberSelection", numbers: np.ndarray) -> None:
    _plot_repeats(axes, selection.repeats_distance, numbers, label="repeats")
    axes.plot(
        numbers,
        selection.halves_distance,
        color=SECOND_COLOR,
        marker="s",
        ms=4,
        label="split halves",
    )
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small")
    axes.set(title="Distance of states", ylabel=selection.metric.capitalize())


def _plot_occupancy(axes: "Axes", selection: "StateNumberSelection", numbers: np.ndarray) -> None:
    axes.plot(numbers, 100 * selection.min_occupancy, color=FIRST_COLOR, marker="o", ms=4)
    axes.set_ylim(bottom=0)
    axes.set(title="Occupancy of the weakest state", ylabel="% of the time")


def _plot_criteria(axes: "Axes", selection: "StateNumberSelection", numbers: np.ndarray) -> None:
    for name, color, marker in (
        ("aic", FIRST_COLOR, "o"),
        ("bic", SECOND_COLOR, "s"),
        ("icl", THIRD_COLOR, "^"),
    ):
        values = getattr(selection, name) / selection.n_samples
        axes.plot(
            numbers, values - values.min(), color=color, marker=marker, ms=4, label=name.upper()
        )
    axes.legend(frameon=False, fontsize="small")
    axes.set(title="Information criteria", ylabel="Against the smallest (per sample)")


def _finish(axes: "Axes", numbers: np.ndarray, recommended: int) -> None:
    """Mark the recommended number, and label the axis of numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.axvline(recommended, color="0.5", lw=1, ls="--", zorder=0)
    axes.set_xlabel("Number of states")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
    axes.ticklabel_format(axis="y", useOffset=False)
    hide_frame(axes)
