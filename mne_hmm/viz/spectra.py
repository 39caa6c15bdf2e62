"""Power and coherence of states by frequency."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.checks import check_option, listed
from .._utils.docs import fill_doc
from .._utils.mne_private import picks_to_idx
from .._utils.units import ANY_DENSITY_UNIT, SHOWN_DENSITY_UNITS
from ._drawing import (
    figure_and_axes,
    hide_frame,
    legend_beside,
    n_legend_columns,
    show_if,
    state_colors,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..spectral.state_spectra import StateSpectra

FIGSIZE = (6.5, 3.5)


@fill_doc
def plot_state_spectra(
    spectra: "StateSpectra", *, picks: Any = None, axes: "Axes | None" = None, show: bool = True
) -> "Figure":
    """Plot the power of each state, mean over channels.

    Parameters
    ----------
    spectra : StateSpectra
        The spectra.
    picks : str | array-like | slice | None
        Channels to take the mean over. None takes all.
    %(axes)s
    %(show)s

    Returns
    -------
    %(fig)s

    Raises
    ------
    ValueError
        If the channels have different units.
    """
    channels = _channels(spectra, picks)
    kinds = sorted(set(spectra.info.get_channel_types(channels.tolist())))
    units = {SHOWN_DENSITY_UNITS.get(kind, (1.0, ANY_DENSITY_UNIT)) for kind in kinds}
    if spectra.standardized:
        units = {(1.0, "1/Hz")}
    if len(units) > 1:
        raise ValueError(
            f"picks has channels of different units (types {listed(kinds)}), whose mean has no "
            f"meaning; pick one type, as in picks={kinds[0]!r}"
        )
    ((factor, unit),) = units
    fig, axes = figure_and_axes(axes, FIGSIZE)
    _plot_lines(axes, spectra, factor * spectra.psd[:, channels].mean(axis=1))
    axes.set(ylabel=f"Power ({unit})")
    show_if(show)
    return fig


@fill_doc
def plot_state_coherence(
    spectra: "StateSpectra",
    *,
    kind: str = "coherence",
    picks: Any = None,
    axes: "Axes | None" = None,
    show: bool = True,
) -> "Figure":
    """Plot the coherence of each state, mean over pairs of channels.

    Parameters
    ----------
    spectra : StateSpectra
        The spectra.
    kind : "coherence" | "imaginary"
        Magnitude of the coherency, or the magnitude of its imaginary part.
    picks : str | array-like | slice | None
        Channels whose pairs to take the mean over. None takes all.
    %(axes)s
    %(show)s

    Returns
    -------
    %(fig)s

    Raises
    ------
    ValueError
        If there are fewer than two channels.
    """
    check_option(kind, "kind", ("coherence", "imaginary"))
    channels = _channels(spectra, picks)
    if len(channels) < 2:
        raise ValueError(
            f"picks must leave at least 2 channels, whose coherence is shown, got {len(channels)}"
        )
    values = spectra.coherence if kind == "coherence" else np.abs(spectra.imaginary_coherence)
    rows, columns = np.triu_indices(len(channels), 1)
    pairs = values[:, channels[rows], channels[columns]]
    fig, axes = figure_and_axes(axes, FIGSIZE)
    _plot_lines(axes, spectra, pairs.mean(axis=1))
    axes.set(ylabel="Coherence" if kind == "coherence" else "|Imaginary coherence|")
    show_if(show)
    return fig


def _channels(spectra: "StateSpectra", picks: Any) -> np.ndarray:
    """Get the indices of the channels to show."""
    if picks is None:
        return np.arange(len(spectra.ch_names))
    return picks_to_idx(spectra.info, picks, exclude=())


def _plot_lines(axes: "Axes", spectra: "StateSpectra", values: np.ndarray) -> None:
    """Plot values of shape (n_states, n_freqs), a line for each state."""
    colors = state_colors(spectra.n_states)
    for line, name, color in zip(values, spectra.state_names, colors, strict=True):
        axes.plot(spectra.freqs, line, label=name, color=color, lw=1.5)
    axes.set(xlabel="Frequency (Hz)", xlim=(spectra.freqs[0], spectra.freqs[-1]))
    axes.set_ylim(bottom=0)
    hide_frame(axes)
    legend_beside(axes, n_columns=n_legend_columns(spectra.n_states))
