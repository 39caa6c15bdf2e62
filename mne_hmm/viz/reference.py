"""Where recordings fall among those a model was trained on."""

from typing import TYPE_CHECKING

from .._utils.docs import fill_doc
from ._drawing import figure_and_axes, show_if

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..model.training_reference import ReferenceComparison

# With more recordings than this a legend would be all there is.
MAX_NAMED_RECORDINGS = 10


@fill_doc
def plot_reference(
    comparison: "ReferenceComparison", *, axes: "Axes | None" = None, show: bool = True
) -> "Figure":
    """Plot recordings on the distribution of the training recordings' free energy.

    Parameters
    ----------
    comparison : ReferenceComparison
        Where the recordings fall.
    %(axes)s
    %(show)s

    Returns
    -------
    %(fig)s
    """
    fig, axes = figure_and_axes(axes, (6, 3.5))
    reference = comparison.reference
    axes.hist(reference.free_energy, bins=50, color="0.8", label=reference.source or None)
    few = len(comparison) <= MAX_NAMED_RECORDINGS
    for i_recording, (name, value) in enumerate(
        zip(comparison.names, comparison.free_energy, strict=True)
    ):
        axes.axvline(
            value,
            color=f"C{i_recording % 10}" if few else "C0",
            linewidth=1.5 if few else 0.5,
            label=name if few else None,
        )
    axes.set(xlabel="Free energy (nats per sample)", ylabel="Training recordings")
    if few or reference.source:
        axes.margins(y=0.4)  # room for the legend
        axes.legend(fontsize="small")
    show_if(show)
    return fig
