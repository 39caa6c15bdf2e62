"""What a model holds: its transitions and covariances."""

import numpy as np

from .._utils.checks import check_option
from ..preparation.patterns import feature_patterns
from ..states.visits import stationary_occupancy
from ._colors import arrow_between, figure_of, grid_of, label_node, show_if, state_colors


def plot_transition_matrix(hmm, *, axes=None, show=True):
    """Plot which state comes next when one is left, and how long each lasts.

    Parameters
    ----------
    hmm : HMM
        The model.
    axes : matplotlib.axes.Axes | None
        Where to plot. None makes a new figure.
    show : bool
        Whether to show the figure.

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Off the diagonal are probabilities given that the state is left, in percent;
        rows sum to 100. On the diagonal is the mean lifetime that the transitions say.
    """
    n_states = hmm.n_states
    size = 2.5 + 0.55 * n_states
    fig, axes = figure_of(axes, (size + 0.6, size))
    nexts = 100 * next_state(hmm.transition_matrix_)
    image = axes.imshow(nexts, cmap="Blues", vmin=0, vmax=_top(nexts))
    axes.add_patch(_squares(np.arange(n_states)))
    for (one, other), value in np.ndenumerate(nexts):
        if one == other:
            axes.text(one, one, _lifetime(hmm, one), ha="center", va="center", fontsize="small")
        elif not np.isnan(value):
            dark = value > 0.6 * image.get_clim()[1]
            color = "w" if dark else ("0.6" if value < 0.5 else "k")
            axes.text(other, one, f"{value:.0f}", ha="center", va="center", color=color)
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


def plot_transition_graph(hmm, *, axes=None, show=True):
    """Plot the states on a circle, with arrows to those that come next.

    Parameters
    ----------
    hmm : HMM
        The model.
    axes : matplotlib.axes.Axes | None
        Where to plot. None makes a new figure.
    show : bool
        Whether to show the figure.

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Disks have areas by how much of the time the transitions put into each state
        in the long run. Arrows, wider where more probable, go to states that come next at least
        as often as if all others were equally probable.
    """
    n_states = hmm.n_states
    fig, axes = figure_of(axes, (5.0, 5.0))
    angles = np.pi / 2 - 2 * np.pi * np.arange(n_states) / n_states
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    occupancy = stationary_occupancy(hmm.transition_matrix_)
    largest = min(0.2, 0.8 * np.sin(np.pi / max(n_states, 2)))
    radii = np.maximum(largest * np.sqrt(occupancy / occupancy.max()), 0.02)
    nexts = np.nan_to_num(next_state(hmm.transition_matrix_))
    # Less the rounding of equal probabilities.
    chance = (1 - 1e-6) / max(n_states - 1, 1)
    for one, other in np.argwhere(nexts >= chance):
        width = 0.5 + 4.0 * nexts[one, other] / nexts.max()
        start, stop = _apart(x[one], x[other], radii[one], radii[other])
        color = state_colors(n_states)[one]
        arrow_between(axes, start, stop, width, color, shrink=0, bend=0.2)
    for state, color in enumerate(state_colors(n_states)):
        share = "<1" if occupancy[state] < 0.01 else f"{100 * occupancy[state]:.0f}"
        name = f"{hmm.state_names[state]}\n{share} %"
        label_node(axes, x[state], name, color, radii[state])
    axes.set(xlim=(-1.7, 1.7), ylim=(-1.6, 1.6), aspect="equal", title="Transitions, occupancy")
    axes.set_axis_off()
    show_if(show)
    return fig


def plot_covariances(hmm, *, kind="covariance", space="features", axes=None, show=True):
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
    axes : array of matplotlib.axes.Axes | None
        Where to plot, one for each state. None makes a new figure.
    show : bool
        Whether to show the figure.

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
    fig, axes = grid_of(hmm.n_states, axes, (2.3, 2.4))
    for state, color in enumerate(state_colors(hmm.n_states)):
        image = axes[state].imshow(values[state], cmap="RdBu_r", vmin=-top, vmax=top)
        axes[state].set_title(hmm.state_names[state], color=color, fontweight="bold")
        axes[state].tick_params(labelsize="small")
    number = {"features": "Feature", "channels": "Channel"}[space]
    axes[0].set(xlabel=number, ylabel=number)
    name = kind.capitalize() if space == "features" else f"{kind.capitalize()} at zero lag"
    extend = "neither" if kind == "correlation" else "both"
    fig.colorbar(image, ax=list(axes), label=name, extend=extend, shrink=0.8)
    show_if(show)
    return fig


def next_state(transition_matrix):
    """Probabilities of the next state when one is left; NaN on the diagonal.

    Rows of states that are never left are NaN, too.
    """
    nexts = np.array(transition_matrix, float)
    np.fill_diagonal(nexts, 0)
    left = nexts.sum(1, keepdims=True)
    nexts = np.divide(nexts, left, out=np.full_like(nexts, np.nan), where=left > 0)
    np.fill_diagonal(nexts, np.nan)
    return nexts


def _top(values):
    """Get the end of a scale of colors for percentages, some of which may be unknown."""
    known = values[~np.isnan(values)]
    return max(known.max(initial=1.0), 1.0)


def _squares(numbers):
    """Make gray squares on the diagonal, as one patch."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    square = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])
    paths = [Path(square + number) for number in numbers]
    return PathPatch(Path.make_compound_path(*paths), facecolor="0.92", edgecolor="none")


def _lifetime(hmm, state):
    """Mean lifetime of a state in words."""
    leaves = 1 - hmm.transition_matrix_[state, state]
    if leaves <= 0:
        return "∞"
    seconds = 1 / (leaves * hmm.preparation_.sfreq_)
    return f"{1e3 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _apart(one, other, radius_one, radius_other):
    """Shorten a line between the centers of two disks to one between their edges."""
    way = other - one
    way = way / np.linalg.norm(way)
    return one + (radius_one + 0.03) * way, other - (radius_other + 0.03) * way
