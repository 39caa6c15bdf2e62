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
    """Get n given axes and their figure, or new ones in rows.

    Parameters
    ----------
    n : int
        How many axes are needed.
    axes : matplotlib.axes.Axes | array-like of them | None
        What was given.
    size : tuple of float
        Width and height of one of them, in inches.
    at_most : int
        How many there are in a row.
    **kwargs : dict
        For :func:`matplotlib.pyplot.subplots`.

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure.
    axes : list of matplotlib.axes.Axes
        The axes.
    """
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


def show_if(show):
    """Show open figures, as MNE-Python's plotting functions do."""
    from mne.viz.utils import plt_show

    plt_show(show)
