"""One color per state, the same in every figure."""

import numpy as np


def state_colors(n_states: int) -> np.ndarray:
    """Colors of the states, shape (n_states, 4)."""
    import matplotlib

    if n_states <= 10:
        return matplotlib.colormaps["tab10"](np.arange(n_states))
    if n_states <= 20:
        return matplotlib.colormaps["tab20"](np.arange(n_states))
    return matplotlib.colormaps["turbo"](np.linspace(0.05, 0.95, n_states))


def figure_of(axes, figsize):
    """Get the given axes and their figure, or new ones."""
    import matplotlib.pyplot as plt

    if axes is not None:
        return axes.figure, axes
    return plt.subplots(figsize=figsize, layout="constrained")


def grid_of(n, axes, size, *, at_most=4, **kwargs):
    """Get n given axes and their figure, or new ones in rows."""
    import matplotlib.pyplot as plt

    if axes is not None:
        flat = list(np.ravel(np.asarray(axes, object)))
        if len(flat) != n:
            raise ValueError(f"axes must be {n}, got {len(flat)}; None makes a new figure")
        return flat[0].figure, flat
    columns = min(n, at_most)
    rows = -(-n // columns)
    fig, grid = plt.subplots(
        rows,
        columns,
        figsize=(size[0] * columns, size[1] * rows),
        layout="constrained",
        squeeze=False,
        **kwargs,
    )
    flat = list(grid.ravel())
    for unused in flat[n:]:
        unused.remove()
    return fig, flat[:n]


def arrow_between(axes, start, stop, width, color, *, shrink=20.0, bend=0.0):
    """Draw an arrow from one node of a graph to another, so many points away from both."""
    from matplotlib.patches import FancyArrowPatch

    arrow = FancyArrowPatch(
        start,
        stop,
        arrowstyle=f"-|>,head_length={3 + 1.2 * width},head_width={1.5 + 0.7 * width}",
        connectionstyle=f"arc3,rad={bend}",
        mutation_scale=1,
        shrinkA=shrink,
        shrinkB=shrink,
        lw=width,
        color=color,
        joinstyle="miter",
        capstyle="butt",
    )
    axes.add_patch(arrow)
    return arrow


def label_node(axes, center, name, color, radius):
    """Draw a node of a graph about the origin as a disk, with its name outside of the graph."""
    from matplotlib.patches import Circle

    axes.add_patch(Circle(center, radius, facecolor=color, edgecolor="none", zorder=3))
    x, y = center * (1 + (radius + 0.09) / np.linalg.norm(center))
    axes.text(
        x,
        y,
        name,
        ha="center" if abs(center[0]) < 0.1 else ("left" if center[0] > 0 else "right"),
        va="center" if abs(center[1]) < 0.9 else ("bottom" if center[1] > 0 else "top"),
    )


def show_if(show):
    """Show open figures, as MNE-Python's plotting functions do."""
    from mne.viz.utils import plt_show

    plt_show(show)
