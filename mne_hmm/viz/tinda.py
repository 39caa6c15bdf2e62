"""The cycle of states."""

from typing import TYPE_CHECKING

import numpy as np

from .._utils.docs import fill_doc
from ._drawing import arrow_between, figure_and_axes, label_node, show_if, state_colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..statistics.tinda import Tinda


@fill_doc
def plot_tinda(tinda: "Tinda", *, axes: "Axes | None" = None, show: bool = True) -> "Figure":
    """Plot the states on a circle, in the order of the cycle, with their asymmetries.

    Parameters
    ----------
    tinda : Tinda
        The asymmetries.
    %(axes)s
    %(show)s

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. State 0 is at the top and the cycle runs clockwise. Arrows go from a state to
        one that tends to follow it, wider where it does so more clearly; those that go against
        the cycle are light. Only the clearest are drawn: a quarter of all pairs of states, or as
        many as there are states.
    """
    from matplotlib.lines import Line2D

    fig, axes = figure_and_axes(axes, (5.0, 5.0))
    x = np.stack([np.cos(tinda.angles), np.sin(tinda.angles)], axis=1)
    mean = np.nan_to_num(tinda.mean_asymmetry)
    # What follows one state precedes the other: a pair is one arrow.
    net = (mean - mean.T) / 2
    pairs = np.transpose(np.triu_indices(tinda.n_states, 1))
    size = np.abs(net[tuple(pairs.T)])
    n_drawn = max(tinda.n_states, len(pairs) // 4)
    for pair in np.argsort(-size, kind="stable")[:n_drawn]:
        source, target = pairs[pair] if net[tuple(pairs[pair])] > 0 else pairs[pair][::-1]
        if size[pair] > 0:
            ahead = np.sin(tinda.angles[source] - tinda.angles[target]) > -1e-9
            width = 0.6 + 4.4 * size[pair] / size.max()
            arrow_between(axes, x[source], x[target], width, "0.25" if ahead else "0.75")
    for state, color in enumerate(state_colors(tinda.n_states)):
        label_node(axes, x[state], tinda.state_names[state], color, 0.11)
    axes.set(xlim=(-1.5, 1.5), ylim=(-1.35, 1.35), aspect="equal")
    axes.set_axis_off()
    strengths = tinda.cycle_strength[~np.isnan(tinda.cycle_strength)]
    suffix = f", mean of {len(strengths)} recordings" if len(strengths) > 1 else ""
    axes.set_title(f"Cycle strength {strengths.mean():.3f}{suffix}")
    handles = [Line2D([], [], color=c, lw=2.5) for c in ("0.25", "0.75")]
    axes.legend(
        handles,
        ["with the cycle", "against it"],
        loc="upper center",
        bbox_to_anchor=(0.5, 0.02),
        ncols=2,
        frameon=False,
        fontsize="small",
    )
    show_if(show)
    return fig
