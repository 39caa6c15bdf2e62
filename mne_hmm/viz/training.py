"""The course of training."""

import numpy as np

from ._colors import show_if


def plot_history(hmm, *, axes=None, show=True):
    """Plot the free energy of starts, moves and the run that was kept.

    Parameters
    ----------
    hmm : HMM
        The model.
    axes : list of matplotlib.axes.Axes | None
        Where to plot the search on a part of the data (starts, or moves by their round) and
        training on all data. None makes a new figure. A single one is for training on all data.
    show : bool
        Whether to show the figure.

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ValueError
        If the model has no history, or if there are neither one nor two axes.
    """
    values = np.atleast_1d(hmm.history_.get("free_energy", []))
    if len(values) == 0:
        raise ValueError("this model has no history: it was not trained by fit_hmm")
    starts = [start for start in hmm.history_["starts"] if start["init"] != "given"]
    moves = [move for move in hmm.history_["moves"] if "all_data" not in move]
    n_axes = 2 if starts else 1
    if axes is None:
        import matplotlib.pyplot as plt

        fig, axes = plt.subplots(1, n_axes, figsize=(4 * n_axes + 1, 3.5), layout="constrained")
        axes = np.atleast_1d(axes)
    else:
        axes = np.atleast_1d(axes)
        if len(axes) not in (1, 2):
            raise ValueError(f"axes must be one or two, got {len(axes)}")
        fig = axes[0].figure
    if starts and len(axes) == 2:
        _plot_search(axes[0], starts, moves)
    _plot_course(axes[-1], hmm, values)
    show_if(show)
    return fig


def _plot_search(axes, starts, moves):
    """Plot starts by updates, or moves by their round."""
    if not moves:
        for start in starts:
            kept = start["kept"]
            axes.plot(
                start["free_energy"],
                color="C0" if kept else "0.7",
                lw=1.8 if kept else 1.0,
                label="best start" if kept else "other starts",
            )
        axes.set(xlabel="Update", title="Starts, on a part of the data")
    else:
        for start in starts:
            axes.plot(0, start["free_energy"][-1], "k_", label="starts")
        for kept, color, label in ((False, "0.7", "tried"), (True, "C0", "tried on all data, too")):
            some = [move for move in moves if move["kept"] == kept]
            axes.plot(
                [move["round"] for move in some],
                [move["free_energy"] for move in some],
                ".",
                color=color,
                label=label,
            )
        axes.set(xlabel="Round", title="Moves, on a part of the data")
    _finish(axes)


def _plot_course(axes, hmm, values):
    settled = "converged" if hmm.converged_ else "not converged"
    axes.plot(values, color="C0", lw=1.8, marker=".", label=f"kept ({settled})")
    for move in hmm.history_["moves"]:
        if move.get("all_data") and not move["kept"]:
            axes.axhline(move["free_energy"], color="0.7", lw=1, label="other moves ended")
    axes.set(xlabel="Update", title="All data")
    _finish(axes)


def _finish(axes):
    from matplotlib.ticker import MaxNLocator

    axes.set_ylabel("Free energy (nats per sample)")
    # No offset: it would stand in the title, and free energies are read off as they are.
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, names = axes.get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    axes.legend(unique.values(), unique.keys(), frameon=False)
