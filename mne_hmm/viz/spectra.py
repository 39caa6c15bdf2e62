"""Power and coherence of states by frequency."""

import numpy as np

from .._utils.checks import check_option, listed
from .._utils.mne_private import picks_to_idx
from .._utils.units import ANY_DENSITY_UNIT, SHOWN_DENSITY_UNITS
from ._colors import figure_of, show_if, state_colors

FIGSIZE = (6.5, 3.5)


def plot_state_spectra(spectra, *, picks=None, axes=None, show=True):
    """Plot the power of each state, mean over channels.

    Parameters
    ----------
    spectra : StateSpectra
        The spectra.
    picks : str | array-like | slice | None
        Channels to take the mean over. None takes all.
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
        If the channels have different units.
    """
    chosen = _chosen(spectra, picks)
    kinds = sorted(set(spectra.info.get_channel_types(chosen.tolist())))
    units = {SHOWN_DENSITY_UNITS.get(kind, (1.0, ANY_DENSITY_UNIT)) for kind in kinds}
    if spectra.standardized:
        units = {(1.0, "1/Hz")}
    if len(units) > 1:
        raise ValueError(
            f"picks has channels of different units (types {listed(kinds)}), whose mean has no "
            f"meaning; pick one type, as in picks={kinds[0]!r}"
        )
    ((factor, unit),) = units
    fig, axes = figure_of(axes, FIGSIZE)
    _plot_lines(axes, spectra, factor * spectra.psd[:, chosen].mean(axis=1))
    axes.set(ylabel=f"Power ({unit})")
    show_if(show)
    return fig


def plot_state_coherence(spectra, *, kind="coherence", picks=None, axes=None, show=True):
    """Plot the coherence of each state, mean over pairs of channels.

    Parameters
    ----------
    spectra : StateSpectra
        The spectra.
    kind : "coherence" | "imaginary"
        Magnitude of the coherency, or the magnitude of its imaginary part.
    picks : str | array-like | slice | None
        Channels whose pairs to take the mean over. None takes all.
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
        If there are fewer than two channels.
    """
    check_option(kind, "kind", ("coherence", "imaginary"))
    chosen = _chosen(spectra, picks)
    if len(chosen) < 2:
        raise ValueError(
            f"picks must leave at least 2 channels, whose coherence is shown, got {len(chosen)}"
        )
    values = spectra.coherence if kind == "coherence" else np.abs(spectra.imaginary_coherence)
    rows, columns = np.triu_indices(len(chosen), 1)
    pairs = values[:, chosen[rows], chosen[columns]]
    fig, axes = figure_of(axes, FIGSIZE)
    _plot_lines(axes, spectra, pairs.mean(axis=1))
    axes.set(ylabel="Coherence" if kind == "coherence" else "|Imaginary coherence|")
    show_if(show)
    return fig


def _chosen(spectra, picks):
    if picks is None:
        return np.arange(len(spectra.ch_names))
    return picks_to_idx(spectra.info, picks, exclude=())


def _plot_lines(axes, spectra, values):
    """Plot one line per state."""
    colors = state_colors(spectra.n_states)
    for line, name, color in zip(values, spectra.state_names, colors, strict=True):
        axes.plot(spectra.freqs, line, label=name, color=color, lw=1.5)
    axes.set(xlabel="Frequency (Hz)", xlim=(spectra.freqs[0], spectra.freqs[-1]))
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        ncols=-(-spectra.n_states // 10),
        frameon=False,
        fontsize="small",
    )
