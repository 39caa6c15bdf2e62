"""Maps of states on the head and in the brain."""

from typing import TYPE_CHECKING, Any

import mne
import numpy as np

from .._utils.checks import import_extra, listed
from .._utils.docs import fill_doc
from .._utils.mne_private import topomap_places
from ._drawing import SeveralAxes, figure_and_grid, show_if

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..spectral.maps import StateMaps

# Types of channels to show, the first that is there where none is asked for.
CH_TYPES = ("mag", "grad", "eeg")


@fill_doc
def plot_topomap(
    maps: "StateMaps",
    *,
    ch_type: str | None = None,
    axes: "SeveralAxes | None" = None,
    show: bool = True,
) -> "Figure":
    """Plot maps of states on the head.

    Parameters
    ----------
    maps : StateMaps
        The maps.
    ch_type : str | None
        Type of the channels to show, such as ``"eeg"``, ``"mag"`` or ``"grad"``. None takes
        magnetometers where there are any, then gradiometers, then EEG.
    %(axes_of_states)s
    %(show)s

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Both gradiometers of a place are shown as their mean. A state of which
        nothing is known is left empty.

    Raises
    ------
    ValueError
        If there are no such channels, their positions are not known, or the number of axes is
        not that of the states.
    """
    from mne.viz import plot_topomap as draw

    picks = _picks(maps, ch_type)
    places, rows = topomap_places(maps.info, picks)
    values = maps.values[:, rows].mean(axis=2)
    limit, cmap = _scale(values)
    fig, grid = figure_and_grid(maps.n_states, axes, (1.9, 2.1), max_columns=6)
    for state_values, name, ax in zip(values, maps.state_names, grid, strict=True):
        ax.set_title(name)
        if np.isnan(state_values).any():
            _write_never_on(ax)
            continue
        draw(state_values, places, axes=ax, vlim=limit, cmap=cmap, contours=4, show=False)
    _colorbar(fig, grid, limit, cmap, maps.label)
    show_if(show)
    return fig


@fill_doc
def plot_glass_brain(
    maps: "StateMaps", atlas: Any, *, axes: "SeveralAxes | None" = None, show: bool = True
) -> "Figure":
    """Plot maps of states in a transparent brain.

    Parameters
    ----------
    maps : StateMaps
        The maps, of parcels.
    atlas : path-like | nibabel image
        The atlas of the parcels, as labels in three dimensions or weights in four.
    %(axes_of_states)s
    %(show)s

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Along each line of sight the value of largest magnitude is shown. A state of
        which nothing is known is left empty.

    Raises
    ------
    ImportError
        If nilearn is not installed.
    ValueError
        If the atlas does not have as many parcels as the maps have channels, or the number of
        axes is not that of the states.
    """
    why = "to plot maps in a glass brain"
    index_img = import_extra("nilearn.image", "viz", why).index_img
    draw = import_extra("nilearn.plotting", "viz", why).plot_glass_brain
    img = maps.to_nifti(atlas)
    limit, cmap = _scale(maps.values)
    fig, grid = figure_and_grid(maps.n_states, axes, (5.2, 1.7), max_columns=2)
    # Nilearn takes the places of axes as they are, so they must have been laid out.
    _colorbar(fig, grid, limit, cmap, maps.label)
    fig.draw_without_rendering()
    for k, (name, ax) in enumerate(zip(maps.state_names, grid, strict=True)):
        ax.set_title(name, pad=10)
        if np.isnan(maps.values[k]).any():
            _write_never_on(ax)
            continue
        draw(
            index_img(img, k),
            display_mode="lyrz",
            figure=fig,
            axes=ax,
            cmap=cmap,
            vmin=limit[0],
            vmax=limit[1],
            plot_abs=False,
            symmetric_cbar=False,
            colorbar=False,
            threshold=1e-6 * limit[1],
            annotate=k == 0,
        )
    show_if(show)
    return fig


def _picks(maps: "StateMaps", ch_type: str | None) -> np.ndarray:
    """Get the indices of the channels to show."""
    types = np.array(maps.info.get_channel_types())
    if ch_type is None:
        available = [preferred for preferred in CH_TYPES if preferred in types]
        ch_type = available[0] if available else types[0]
    picks = np.flatnonzero(types == ch_type)
    if len(picks) == 0:
        raise ValueError(
            f"ch_type={ch_type!r}: the maps have no such channels, only of type "
            f"{listed(dict.fromkeys(types))}"
        )
    missing = [maps.ch_names[pick] for pick in picks.tolist() if not _has_position(maps.info, pick)]
    if missing:
        raise ValueError(
            f"positions are needed for maps on the head, but those of {listed(missing)} are not "
            "known; set a montage (raw.set_montage), and pass info=raw.info where spectra or maps "
            "are made from a model; maps of parcels have to_stc and plot_glass_brain"
        )
    return picks


def _has_position(info: mne.Info, pick: int) -> bool:
    """Say whether it is known where a channel lies."""
    position = info["chs"][pick]["loc"][:3]
    return bool(np.isfinite(position).all() and position.any())


def _scale(values: np.ndarray) -> tuple[tuple[float, float], str]:
    """Choose limits and a colormap: about zero where there are negative values."""
    largest = np.nanmax(np.abs(values)) if not np.isnan(values).all() else 1.0
    largest = float(largest) or 1.0
    if np.nanmin(values, initial=0.0) < 0:
        return (-largest, largest), "RdBu_r"
    return (0.0, largest), "Reds"


def _colorbar(
    fig: "Figure", axes: list["Axes"], limit: tuple[float, float], cmap: str, label: str
) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = ScalarMappable(Normalize(*limit), cmap)
    # In two lines, as one row of maps is not high.
    label = label.replace(", ", "\n")
    fig.colorbar(scale, ax=axes, label=label, shrink=0.8, aspect=25)


def _write_never_on(ax: "Axes") -> None:
    ax.set_axis_off()
    ax.text(0.5, 0.5, "never on", ha="center", va="center", transform=ax.transAxes)
