"""What a model holds: its transitions and covariances."""

from typing import TYPE_CHECKING

import numpy as np

from .._utils.checks import check_option
from .._utils.docs import fill_doc
from .._utils.typing import GaussianHMM
from ..preparation.patterns import feature_patterns
from ..states.visits import stationary_occupancy
from ._drawing import (
    SeveralAxes,
    arrow_between,
    figure_and_axes,
    figure_and_grid,
    label_node,
    show_if,
    state_colors,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import PathPatch


@fill_doc
def plot_transition_matrix(
    hmm: GaussianHMM, *, axes: "Axes | None" = None, show: bool = True
) -> "Figure":
    """Plot which state comes next when one is left, and how long each lasts.

    Parameters
    ----------
    hmm : HMM
        The model.
    %(axes)s
    %(show)s

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Off the diagonal are probabilities given that the state is left, in percent;
        rows sum to 100. On the diagonal is the mean lifetime that the transitions say.
    """
    n_states = hmm.n_states
    size = 2.5 + 0.55 * n_states
    fig, axes = figure_and_axes(axes, (size + 0.6, size))
    nexts = 100 * next_state(hmm.transition_matrix_)
    image = axes.imshow(nexts, cmap="Blues", vmin=0, vmax=_max_percent(nexts))
    axes.add_patch(_squares(n_states))
    for (left, following), value in np.ndenumerate(nexts):
        if left == following:
            axes.text(left, left, _lifetime(hmm, left), ha="center", va="center", fontsize="small")
        elif not np.isnan(value):
            dark = value > 0.6 * image.get_clim()[1]
            color = "w" if dark else ("0.6" if value < 0.5 else "k")
            axes.text(following, left, f"{value:.0f}", ha="center", va="center", color=color)
    colors = state_colors(n_states)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(np.arange(n_states), hmm.state_names)
        axis.set_tick_params(length=0)
        for label, color in zip(axis.get_ticklabels(), colors, strict=True):
            label.set(color=color, fontweight="bold")
    if max(map(len, hmm.state_names)) > 4:
        axes.tick_params("x", rotation=90)
    axes.set(xlabel="Next state", ylabel="State that is left", title="Transitions, mean lifetimes")
    fig.colorbar(image, ax=axes, label="Probability when left (%)", shrink=0.8)
    show_if(show)
    return fig


@fill_doc
def plot_transition_graph(
    hmm: GaussianHMM, *, axes: "Axes | None" = None, show: bool = True
) -> "Figure":
    """Plot the states on a circle, with arrows to those that come next.

    Parameters
    ----------
    hmm : HMM
        The model.
    %(axes)s
    %(show)s

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Disks have areas by how much of the time the transitions put into each state
        in the long run. Arrows, wider where more probable, go to states that come next at least
        as often as if all others were equally probable.
    """
    n_states = hmm.n_states
    fig, axes = figure_and_axes(axes, (5.0, 5.0))
    angles = np.pi / 2 - 2 * np.pi * np.arange(n_states) / n_states
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    occupancy = stationary_occupancy(hmm.transition_matrix_)
    largest = min(0.2, 0.8 * np.sin(np.pi / max(n_states, 2)))
    radii = np.maximum(largest * np.sqrt(occupancy / occupancy.max()), 0.02)
    nexts = np.nan_to_num(next_state(hmm.transition_matrix_))
    # Less the rounding of equal probabilities.
    chance = (1 - 1e-6) / max(n_states - 1, 1)
    for left, following in np.argwhere(nexts >= chance):
        width = 0.5 + 4.0 * nexts[left, following] / nexts.max()
        start, stop = _between_disks(x[left], x[following], radii[left], radii[following])
        color = state_colors(n_states)[left]
        arrow_between(axes, start, stop, width, color, shrink=0, bend=0.2)
    for state, color in enumerate(state_colors(n_states)):
        share = "<1" if occupancy[state] < 0.01 else f"{100 * occupancy[state]:.0f}"
        name = f"{hmm.state_names[state]}\n{share} %"
        label_node(axes, x[state], name, color, radii[state])
    axes.set(xlim=(-1.7, 1.7), ylim=(-1.6, 1.6), aspect="equal", title="Transitions, occupancy")
    axes.set_axis_off()
    show_if(show)
    return fig


@fill_doc
def plot_covariances(
    hmm: GaussianHMM,
    *,
    kind: str = "covariance",
    space: str = "features",
    axes: "SeveralAxes | None" = None,
    show: bool = True,
) -> "Figure":
    """Plot the covariances of the states.

    Parameters
    ----------
    hmm : HMM
        The model.
    kind : "covariance" | "correlation"
        What to plot.
    space : "features" | "channels"
        Whether to plot the features as they are, or the channels they were made of, at zero lag,
        as far as components kept them. Channels are in units of their standard deviation where
        they were standardized, and those of the mean where recordings were aligned.
    %(axes_of_states)s
    %(show)s

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Covariances of all states have one scale of colors.

    Raises
    ------
    ValueError
        If there are not as many axes as states.
    """
    check_option(kind, "kind", ("covariance", "correlation"))
    check_option(space, "space", ("features", "channels"))
    values = hmm.covariances_
    if space == "channels":
        n_lags = hmm.preparation_.n_embeddings
        back = feature_patterns(hmm.preparation_)[n_lags // 2 :: n_lags]
        values = back @ values @ back.T
    if kind == "correlation":
        deviations = np.sqrt(np.einsum("kii->ki", values))
        values = values / (deviations[:, :, None] * deviations[:, None])
    # A few large variances would leave the rest without any color.
    top = 1.0 if kind == "correlation" else np.percentile(np.abs(values), 99)
    fig, grid = figure_and_grid(hmm.n_states, axes, (2.3, 2.4))
    for state, color in enumerate(state_colors(hmm.n_states)):
        image = grid[state].imshow(values[state], cmap="RdBu_r", vmin=-top, vmax=top)
        grid[state].set_title(hmm.state_names[state], color=color, fontweight="bold")
        grid[state].tick_params(labelsize="small")
    axis_label = {"features": "Feature", "channels": "Channel"}[space]
    grid[0].set(xlabel=axis_label, ylabel=axis_label)
    name = kind.capitalize() if space == "features" else f"{kind.capitalize()} at zero lag"
    extend = "neither" if kind == "correlation" else "both"
    fig.colorbar(image, ax=grid, label=name, extend=extend, shrink=0.8)
    show_if(show)
    return fig


def next_state(transition_matrix: np.ndarray) -> np.ndarray:
    """Probabilities of the next state when one is left; NaN on the diagonal.

    Rows of states that are never left are NaN, too.
    """
    nexts = np.array(transition_matrix, float)
    np.fill_diagonal(nexts, 0)
    left = nexts.sum(1, keepdims=True)
    nexts = np.divide(nexts, left, out=np.full_like(nexts, np.nan), where=left > 0)
    np.fill_diagonal(nexts, np.nan)
    return nexts


def _max_percent(values: np.ndarray) -> float:
    """Get the upper end of a color scale for percentages, NaN left out."""
    return float(values[~np.isnan(values)].max(initial=1.0))


def _squares(n_states: int) -> "PathPatch":
    """Make gray squares on the diagonal, as one patch."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    square = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])
    paths = [Path(square + state) for state in range(n_states)]
    return PathPatch(Path.make_compound_path(*paths), facecolor="0.92", edgecolor="none")


def _lifetime(hmm: GaussianHMM, state: int) -> str:
    """Mean lifetime of a state in words."""
    leaves = 1 - hmm.transition_matrix_[state, state]
    if leaves <= 0:
        return "∞"
    seconds = 1 / (leaves * hmm.preparation_.sfreq_)
    return f"{1e3 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _between_disks(
    first: np.ndarray, second: np.ndarray, first_radius: float, second_radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Shorten a line between the centers of two disks to one between their edges."""
    way = second - first
    way = way / np.linalg.norm(way)
    return first + (first_radius + 0.03) * way, second - (second_radius + 0.03) * way
