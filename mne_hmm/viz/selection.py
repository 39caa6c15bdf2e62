"""What is known of each number of states."""

import numpy as np

from .._utils.arrays import nanmean_of_rows
from ._colors import grid_of, show_if

CORRELATION = "correlation"
BEST, SECOND, OTHER = "C0", "C1", "C2"


def plot_selection(selection, *, axes=None, show=True):
    """Plot what is known of each number of states, with the recommended one marked.

    Parameters
    ----------
    selection : StateNumberSelection
        What `mne_hmm.select_n_states` found.
    axes : array of matplotlib.axes.Axes | None
        Where to plot, six of them: held-out log evidence, free energy, agreement, occupancy of
        the weakest state, information criteria, and distance of states. None makes a new figure.
    show : bool
        Whether to show the figure.

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Held-out log evidence is shown against the best number, with the standard
        error of the differences within folds; agreement and distance of repeats with their range
        over pairs; information criteria per sample, against the smallest.
    """
    fig, grid = grid_of(6, axes, (3.6, 2.9), at_most=3)
    numbers = np.array(selection.n_states)
    chosen = selection.recommend().n_states
    _held_out(grid[0], selection, numbers)
    _free_energy(grid[1], selection, numbers)
    _agreement(grid[2], selection, numbers)
    _occupancy(grid[3], selection, numbers)
    _criteria(grid[4], selection, numbers)
    _distance(grid[5], selection, numbers)
    for one in grid:
        _finish(one, numbers, chosen)
    show_if(show)
    return fig


def _held_out(axes, selection, numbers):
    difference, error = selection.below(int(selection.held_out.mean(axis=1).argmax()))
    axes.axhline(0, color="0.8", lw=1)
    axes.errorbar(numbers, -difference, yerr=error, color=BEST, marker="o", ms=4, capsize=3)
    axes.set(title="Held-out log evidence", ylabel="Against the best (nats/sample)")


def _free_energy(axes, selection, numbers):
    axes.plot(numbers, selection.free_energy, ".", color="0.6", ms=6)
    axes.plot(numbers, selection.free_energy.min(axis=1), color=BEST)
    axes.set(title="Free energy, training data", ylabel="Nats/sample")


def _agreement(axes, selection, numbers):
    _repeats(axes, selection.repeats_agreement, numbers, label="repeats, kappa")
    axes.plot(
        numbers,
        selection.halves_agreement,
        color=SECOND,
        marker="s",
        ms=4,
        label="split halves, kappa",
    )
    # Correlations are seldom far from kappa, so they get no more than thin lines.
    for values, color in (
        (nanmean_of_rows(selection.repeats_correlation), BEST),
        (selection.halves_correlation, SECOND),
    ):
        if not np.isnan(values).all():
            axes.plot(numbers, values, color=color, ls=":", lw=1, label=_once(axes, CORRELATION))
    axes.set_ylim(min(0, axes.get_ylim()[0]), 1.03)
    axes.legend(frameon=False, fontsize="small", loc="lower left")
    axes.set(title="Agreement of states", ylabel="Kappa, correlation")


def _once(axes, label):
    """Get a label for the legend, unless it has it."""
    return None if label in axes.get_legend_handles_labels()[1] else label


def _repeats(axes, values, numbers, *, label):
    """Draw the mean over pairs of repeats, with their range."""
    # With one repeat there are no pairs, and of some nothing can be said.
    known = [row[~np.isnan(row)] for row in values]
    places = [i for i, row in enumerate(known) if len(row)]
    if not places:
        return
    mean = np.array([known[i].mean() for i in places])
    reach = [[mean[n] - known[i].min(), known[i].max() - mean[n]] for n, i in enumerate(places)]
    axes.errorbar(
        numbers[places],
        mean,
        yerr=np.clip(np.transpose(reach), 0, None),
        color=BEST,
        marker="o",
        ms=4,
        capsize=3,
        label=label,
    )


def _distance(axes, selection, numbers):
    _repeats(axes, selection.repeats_distance, numbers, label="repeats")
    axes.plot(
        numbers, selection.halves_distance, color=SECOND, marker="s", ms=4, label="split halves"
    )
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small")
    axes.set(title="Distance of states", ylabel=selection.metric.capitalize())


def _occupancy(axes, selection, numbers):
    axes.plot(numbers, 100 * selection.min_occupancy, color=BEST, marker="o", ms=4)
    axes.set_ylim(bottom=0)
    axes.set(title="Occupancy of the weakest state", ylabel="% of the time")


def _criteria(axes, selection, numbers):
    for name, color, marker in (("aic", BEST, "o"), ("bic", SECOND, "s"), ("icl", OTHER, "^")):
        values = getattr(selection, name) / selection.n_samples
        axes.plot(
            numbers, values - values.min(), color=color, marker=marker, ms=4, label=name.upper()
        )
    axes.legend(frameon=False, fontsize="small")
    axes.set(title="Information criteria", ylabel="Against the smallest (per sample)")


def _finish(axes, numbers, chosen):
    from matplotlib.ticker import MaxNLocator

    axes.axvline(chosen, color="0.5", lw=1, ls="--", zorder=0)
    axes.set_xlabel("Number of states")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.spines[["top", "right"]].set_visible(False)
