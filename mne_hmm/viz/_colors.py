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


def grid_of(n, axes, size, *, at_most=4):
    """Get the given axes and their figure, or a new grid of as many.

    ``size`` is that of one of them in inches, and ``at_most`` go in a row.
    """
    import matplotlib.pyplot as plt

    if axes is not None:
        axes = list(np.ravel(axes))
        if len(axes) != n:
            raise ValueError(f"axes must be {n}, one for each, got {len(axes)}")
        return axes[0].figure, axes
    n_columns = min(n, at_most)
    n_rows = -(-n // n_columns)
    figsize = (size[0] * n_columns + 1, size[1] * n_rows)
    fig, grid = plt.subplots(
        n_rows, n_columns, figsize=figsize, layout="constrained", squeeze=False
    )
    for unused in grid.flat[n:]:
        unused.set_axis_off()
    return fig, list(grid.flat[:n])


def show_if(show):
    """Show open figures, as MNE-Python's plotting functions do."""
    from mne.viz.utils import plt_show

    plt_show(show)
