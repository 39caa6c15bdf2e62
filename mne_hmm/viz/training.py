"""The history of training."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.docs import fill_doc
from .._utils.typing import GaussianHMM
from ._drawing import SeveralAxes, figure_of, show_if

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@fill_doc
def plot_history(
    hmm: GaussianHMM, *, axes: "Axes | SeveralAxes | None" = None, show: bool = True
) -> "Figure":
    """Plot the free energy of starts, moves and the run that was kept.

    Parameters
    ----------
    hmm : HMM
        The model.
    axes : list of matplotlib.axes.Axes | None
        Where to plot the search (starts, or moves by their round) and training on all data. None
        makes a new figure. A single one is for training on all data.
    %(show)s

    Returns
    -------
    %(fig)s

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

        figsize = (4 * n_axes + 1, 3.5)
        axes = plt.subplots(1, n_axes, figsize=figsize, layout="constrained")[1]
    panels = list(np.atleast_1d(np.asarray(axes, object)))
    if len(panels) not in (1, 2):
        raise ValueError(f"axes must be one or two, got {len(panels)}")
    if starts and len(panels) == 2:
        _plot_search(panels[0], starts, moves)
    _plot_final_run(panels[-1], hmm, values)
    show_if(show)
    return figure_of(panels[0])


def _plot_search(axes: "Axes", starts: list[dict[str, Any]], moves: list[dict[str, Any]]) -> None:
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
        axes.set(xlabel="Update or move", title="Starts")
    else:
        for start in starts:
            axes.plot(0, start["free_energy"][-1], "k_", label="starts")
        for kept, color, label in ((False, "0.7", "tried"), (True, "C0", "made")):
            subset = [move for move in moves if move["kept"] == kept]
            axes.plot(
                [move["round"] for move in subset],
                [move["free_energy"] for move in subset],
                ".",
                color=color,
                label=label,
            )
        axes.set(xlabel="Round", title="Moves, on windows")
    _finish(axes)


def _plot_final_run(axes: "Axes", hmm: GaussianHMM, values: np.ndarray) -> None:
    """Plot the run on all data that was kept, and where other moves ended."""
    outcome = "converged" if hmm.converged_ else "not converged"
    axes.plot(values, color="C0", lw=1.8, marker=".", label=f"kept ({outcome})")
    for move in hmm.history_["moves"]:
        if move.get("all_data") and not move["kept"]:
            axes.axhline(move["free_energy"], color="0.7", lw=1, label="other moves ended")
    axes.set(xlabel="Update", title="All data")
    _finish(axes)


def _finish(axes: "Axes") -> None:
    """Label the axes, and list each kind of line once."""
    from matplotlib.ticker import MaxNLocator

    axes.set_ylabel("Free energy (nats per sample)")
    # No offset: it would stand in the title, and free energies are read off as they are.
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, names = axes.get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    axes.legend(unique.values(), unique.keys(), frameon=False)
