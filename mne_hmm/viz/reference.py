"""Where recordings fall among those a model was trained on."""

from ._colors import show_if

# With more recordings than this a legend would be all there is.
MOST_NAMED = 10


def plot_reference(comparison, *, axes=None, show=True):
    """Plot recordings on the distribution of the training recordings' free energy.

    Parameters
    ----------
    comparison : ReferenceComparison
        Where the recordings fall.
    axes : matplotlib.axes.Axes | None
        Where to plot. None makes a new figure.
    show : bool
        Whether to show the figure.

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure.
    """
    import matplotlib.pyplot as plt

    if axes is None:
        _, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    known = comparison.reference.free_energy
    axes.hist(known, bins=50, color="0.8", label=comparison.reference.source or None)
    few = len(comparison) <= MOST_NAMED
    for number, (name, value) in enumerate(
        zip(comparison.names, comparison.free_energy, strict=True)
    ):
        axes.axvline(
            value,
            color=f"C{number % 10}" if few else "C0",
            linewidth=1.5 if few else 0.5,
            label=name if few else None,
        )
    axes.set(xlabel="Free energy (nats per sample)", ylabel="Training recordings")
    if few or comparison.reference.source:
        axes.margins(y=0.4)  # room for the legend
        axes.legend(fontsize="small")
    show_if(show)
    return axes.figure
