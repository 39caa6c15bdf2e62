"""The course of training."""

import numpy as np

from ._colors import figure_of, show_if


def plot_history(hmm, *, axes=None, show=True):
    """Plot the free energy of every start and of the run that was kept.

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
        The figure.

    Raises
    ------
    ValueError
        If the model has no history.
    """
    values = np.atleast_1d(hmm.history_.get("free_energy", []))
    if len(values) == 0:
        raise ValueError("this model has no history: it was not trained by fit_hmm")
    fig, axes = figure_of(axes, (6, 3.5))
    for start in hmm.history_["starts"]:
        if not start["kept"]:
            axes.plot(start["free_energy"], color="0.7", lw=1, label="other starts")
    settled = "converged" if hmm.converged_ else "not converged"
    axes.plot(values, color="C0", lw=1.8, marker=".", label=f"kept ({settled})")
    axes.set(xlabel="Update", ylabel="Free energy (nats per sample)")
    handles, names = axes.get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    axes.legend(unique.values(), unique.keys(), frameon=False)
    show_if(show)
    return fig
