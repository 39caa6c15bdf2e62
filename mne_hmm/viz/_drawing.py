"""What figures share: colors of states, axes, legends, and nodes and arrows of graphs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SeveralAxes: TypeAlias = "Sequence[Axes] | np.ndarray"


def state_colors(n_states: int) -> np.ndarray:
    """Colors of the states, the same in every figure, shape (n_states, 4)."""
    import matplotlib

    if n_states <= 10:
        return matplotlib.colormaps["tab10"](np.arange(n_states))
    if n_states <= 20:
        return matplotlib.colormaps["tab20"](np.arange(n_states))
    return matplotlib.colormaps["turbo"](np.linspace(0.05, 0.95, n_states))


def figure_of(axes: "Axes") -> "Figure":
    """Get the figure that axes are part of."""
    return cast("Figure", axes.figure)


def figure_and_axes(axes: "Axes | None", figsize: tuple[float, float]) -> tuple["Figure", "Axes"]:
    """Get the figure of axes, and the axes; new ones if they are None."""
    import matplotlib.pyplot as plt

    if axes is not None:
        return figure_of(axes), axes
    return plt.subplots(figsize=figsize, layout="constrained")


def figure_and_grid(
    n_axes: int,
    axes: "Axes | SeveralAxes | None",
    size: tuple[float, float],
    *,
    max_columns: int = 4,
    sharey: bool = False,
) -> tuple["Figure", list["Axes"]]:
    """Get the figure of as many axes as asked for, and these; new ones in rows if they are None.

    ``size`` is the width and height of one of the new axes in inches.
    """
    import matplotlib.pyplot as plt

    if axes is not None:
        flat = list(np.ravel(np.asarray(axes, object)))
        if len(flat) != n_axes:
            raise ValueError(f"axes must be {n_axes}, got {len(flat)}; None makes a new figure")
        return figure_of(flat[0]), flat
    n_columns = min(n_axes, max_columns)
    n_rows = -(-n_axes // n_columns)
    fig, grid = plt.subplots(
        n_rows,
        n_columns,
        figsize=(size[0] * n_columns, size[1] * n_rows),
        layout="constrained",
        squeeze=False,
        sharey=sharey,
    )
    flat = list(grid.ravel())
    for unused in flat[n_axes:]:
        unused.remove()
    return fig, flat[:n_axes]


def legend_beside(axes: "Axes", *, n_columns: int = 1) -> None:
    """Put the legend to the right of axes."""
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        ncols=n_columns,
        frameon=False,
        fontsize="small",
    )


def n_legend_columns(n_states: int) -> int:
    """Count the columns of a legend that is not higher than its axes."""
    return -(-n_states // 10)


def hide_frame(axes: "Axes") -> None:
    """Leave only the left and the bottom of the frame."""
    axes.spines[["top", "right"]].set_visible(False)


def arrow_between(
    axes: "Axes",
    start: np.ndarray,
    stop: np.ndarray,
    width: float,
    color: Any,
    *,
    shrink: float = 20.0,
    bend: float = 0.0,
) -> None:
    """Draw an arrow from one node of a graph to another, so many points away from both."""
    from matplotlib.patches import FancyArrowPatch

    arrow = FancyArrowPatch(
        (start[0], start[1]),
        (stop[0], stop[1]),
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


def label_node(axes: "Axes", center: np.ndarray, name: str, color: Any, radius: float) -> None:
    """Draw a node of a graph about the origin as a disk, with its name outside of the graph."""
    from matplotlib.patches import Circle

    place = (center[0], center[1])
    axes.add_patch(Circle(place, radius, facecolor=color, edgecolor="none", zorder=3))
    x, y = center * (1 + (radius + 0.09) / np.linalg.norm(center))
    axes.text(
        x,
        y,
        name,
        ha="center" if abs(center[0]) < 0.1 else ("left" if center[0] > 0 else "right"),
        va="center" if abs(center[1]) < 0.9 else ("bottom" if center[1] > 0 else "top"),
    )


def show_if(show: bool) -> None:
    """Show open figures, as MNE-Python's plotting functions do."""
    from mne.viz.utils import plt_show

    plt_show(show)
