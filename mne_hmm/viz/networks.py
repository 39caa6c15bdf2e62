"""Spectral components, and networks of states: matrices, circles and glass brains."""

import os
from textwrap import fill
from typing import TYPE_CHECKING, Any, cast

import mne
import numpy as np

from .._utils.checks import check_number, check_state, import_extra
from .._utils.docs import fill_doc
from ._drawing import (
    SeveralAxes,
    figure_and_axes,
    figure_and_grid,
    figure_of,
    legend_beside,
    show_if,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.projections.polar import PolarAxes

    from ..spectral.components import SpectralComponents
    from ..spectral.networks import StateNetworks


@fill_doc
def plot_components(
    components: "SpectralComponents", *, axes: "Axes | None" = None, show: bool = True
) -> "Figure":
    """Plot the profiles of spectral components over frequency.

    Parameters
    ----------
    components : SpectralComponents
        The components.
    %(axes)s
    %(show)s

    Returns
    -------
    %(fig)s
    """
    fig, axes = figure_and_axes(axes, (6, 3.2))
    for component, (profile, peak) in enumerate(
        zip(components.profiles, components.peaks, strict=True)
    ):
        # Colors other than those of the states, which have nothing to do with components.
        shade = 0.9 * component / max(components.n_components - 1, 1)
        label = f"component {component} (peak {peak:g} Hz)"
        color = _colormap("viridis")(shade)
        axes.plot(components.freqs, profile, color=color, lw=1.8, label=label)
    axes.set(
        xlim=components.freqs[[0, -1]],
        ylim=(0, 1.05),
        xlabel="Frequency (Hz)",
        ylabel="Weight (maximum 1)",
    )
    legend_beside(axes)
    show_if(show)
    return fig


@fill_doc
def plot_network_matrix(
    networks: "StateNetworks", *, axes: "SeveralAxes | None" = None, show: bool = True
) -> "Figure":
    """Plot the networks of all states as matrices.

    Parameters
    ----------
    networks : StateNetworks
        The networks.
    %(axes_of_states)s
    %(show)s

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Edges that are not known are gray, as the diagonal is.

    Raises
    ------
    ValueError
        If there are not as many axes as states.
    """
    fig, grid = figure_and_grid(networks.n_states, axes, (2.7, 2.4))
    edges = networks.values[np.isfinite(networks.values)]
    high = np.abs(edges).max(initial=0.0) or 1.0
    signed = (edges < 0).any()
    colormap = _colormap("RdBu_r" if signed else "YlOrRd").with_extremes(bad="0.85")
    diagonal = np.eye(len(networks.ch_names), dtype=bool)
    for ax, values, name in zip(grid, networks.values, networks.state_names, strict=True):
        image = ax.imshow(
            np.where(diagonal, np.nan, values),
            cmap=colormap,
            vmin=-high if signed else 0.0,
            vmax=high,
            interpolation="nearest",
        )
        ax.set_title(name, fontsize="medium")
        _name_channels(ax, networks.ch_names, with_rows=ax is grid[0])
    _label(fig.colorbar(image, ax=grid, shrink=0.8), networks.label)
    show_if(show)
    return fig


@fill_doc
def plot_network_circle(
    networks: "StateNetworks",
    state: int | str,
    *,
    n_lines: int | None = None,
    axes: "PolarAxes | None" = None,
    show: bool = True,
) -> "Figure":
    """Plot the network of a state with its channels on a circle.

    Parameters
    ----------
    networks : StateNetworks
        The networks.
    state : int | str
        The state, by number or name.
    n_lines : int | None
        Draw only so many of the strongest edges, by absolute value. None draws all that are not
        0.
    axes : matplotlib.projections.polar.PolarAxes | None
        Where to plot. None makes a new figure.
    %(show)s

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Channels with a position lie around the circle as around the head seen from
        above, the nose on top; others follow one another clockwise. Colors go
        from the weakest to the strongest edge that is drawn, or as far below 0 as above.

    Raises
    ------
    TypeError
        If state or n_lines are no numbers.
    ValueError
        If there is no such state, nothing is known of it, n_lines is below 1, or the axes are not
        polar.
    ImportError
        If mne-connectivity is not installed.
    """
    viz = import_extra(
        "mne_connectivity.viz", "analysis", "to plot networks on a circle (as mne-connectivity)"
    )
    index = check_state(state, networks.state_names)
    if n_lines is not None:
        rule = "a whole number of edges ≥ 1, or None"
        n_lines = check_number(n_lines, "n_lines", rule=rule, low=1, integer=True)
    if axes is not None and axes.name != "polar":
        raise ValueError(
            "axes must be polar, got others; make them with "
            'plt.subplot(projection="polar") or plt.subplots(subplot_kw={"projection": "polar"})'
        )
    values = _network_of(networks, index)
    order, angles = _around(networks.info)
    first, second = np.nonzero(np.triu(values[np.ix_(order, order)], 1))
    edges = values[np.ix_(order, order)][first, second]
    strongest = np.sort(np.argsort(-np.abs(edges), kind="stable")[:n_lines])
    low, high, colormap = _color_scale(edges[strongest])
    if axes is None:
        import matplotlib.pyplot as plt

        fig = plt.figure(figsize=(7, 6), layout="constrained")
        axes = cast("PolarAxes", fig.add_subplot(projection="polar"))
    _draw_circle(
        viz,
        axes,
        edges[strongest],
        (first[strongest], second[strongest]),
        [networks.ch_names[channel] for channel in order],
        angles,
        colormap=colormap,
        vmin=low,
        vmax=high,
    )
    axes.set_title(networks.state_names[index], pad=12)
    _color_bar(axes, low, high, colormap, networks.label)
    show_if(show)
    return figure_of(axes)


@fill_doc
def plot_connectome(
    networks: "StateNetworks",
    atlas: Any,
    state: int | str,
    *,
    axes: "Axes | None" = None,
    show: bool = True,
) -> "Figure":
    """Plot the network of a state in a glass brain.

    Parameters
    ----------
    networks : StateNetworks
        The networks.
    atlas : path-like | nibabel image | array, shape (n_channels, 3)
        Where the channels lie: the atlas of the parcels in MNI space, or their positions there in
        millimeters.
    state : int | str
        The state, by number or name.
    %(axes)s
    %(show)s

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Dots are larger where more edges meet. Colors mean the same for all states of
        these networks.

    Raises
    ------
    TypeError
        If state is neither a number nor a name.
    ValueError
        If there is no such state, nothing is known of it, or there are not as many positions as
        channels.
    ImportError
        If nilearn is not installed.
    """
    plotting = import_extra("nilearn.plotting", "viz", "to plot networks in a glass brain")
    index = check_state(state, networks.state_names)
    values = _network_of(networks, index)
    positions = _positions(plotting, atlas, len(networks.ch_names))
    fig, axes = figure_and_axes(axes, (9, 3.2))
    low, high, colormap = _color_scale(values[values != 0])
    strength = np.abs(values).sum(axis=1)
    axes.set_title(networks.state_names[index])
    _color_bar(axes, low, high, colormap, networks.label)
    # nilearn puts axes of its own where these are, which must have found their place before.
    fig.draw_without_rendering()
    plotting.plot_connectome(
        values,
        positions,
        node_color="black",
        node_size=4 + 36 * strength / max(strength.max(), np.finfo(float).tiny),
        edge_cmap=colormap,
        edge_vmin=low,
        edge_vmax=high,
        axes=axes,
        colorbar=False,
    )
    show_if(show)
    return fig


def _network_of(networks: "StateNetworks", index: int) -> np.ndarray:
    """Get the network of a state, with 0 for edges that are NaN."""
    values = networks.values[index]
    if np.isnan(np.where(np.eye(len(values), dtype=bool), np.nan, values)).all():
        raise ValueError(
            f"nothing is known of {networks.state_names[index]}: its values are NaN, as for a "
            "state that is never on; plot another state"
        )
    return np.nan_to_num(values)


def _colormap(name: str) -> "Colormap":
    import matplotlib

    return matplotlib.colormaps[name]


def _color_scale(edges: np.ndarray) -> tuple[float, float, "Colormap"]:
    """Choose limits of the colors of edges, and colors that can be seen on white."""
    from matplotlib.colors import ListedColormap

    dark = ListedColormap(_colormap("YlOrRd")(np.linspace(0.25, 1, 256)))
    if not len(edges):
        return 0.0, 1.0, dark
    low, high = float(edges.min()), float(edges.max())
    if low < 0:
        largest = max(-low, high)
        return -largest, largest, _colormap("RdBu_r")
    return (low if low < high else 0.0), high, dark


def _color_bar(axes: "Axes", low: float, high: float, colormap: "Colormap", label: str) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bar = figure_of(axes).colorbar(
        ScalarMappable(Normalize(low, high), colormap), ax=axes, shrink=0.7, pad=0.02
    )
    _label(bar, label)


def _label(bar: "Colorbar", text: str) -> None:
    """Label a bar of colors, in two lines where the text is long."""
    bar.set_label(fill(text, 36), fontsize="small")
    bar.ax.tick_params(labelsize="small")


def _name_channels(axes: "Axes", names: list[str], *, with_rows: bool) -> None:
    """Write the names of as many channels as can be read."""
    step = -(-len(names) // 20)
    shown = np.arange(0, len(names), step)
    labels = [names[channel] for channel in shown]
    axes.set_xticks(shown, labels, rotation=90, fontsize=5)
    axes.set_yticks(shown, labels if with_rows else [""] * len(labels), fontsize=5)
    axes.tick_params(length=1.5)


def _around(info: mne.Info) -> tuple[np.ndarray, np.ndarray]:
    """Order the channels around the circle; returns their indices and angles in degrees."""
    n_channels = len(info["ch_names"])
    places = np.array([channel["loc"][:2] for channel in info["chs"]])
    spaced = (np.arange(n_channels) + 0.5) * 2 * np.pi / n_channels
    if not np.isfinite(places).all() or not places.any():
        return np.arange(n_channels)[::-1], np.rad2deg(spaced + np.pi / 2) % 360
    azimuth = np.arctan2(places[:, 1], places[:, 0]) % (2 * np.pi)
    order = np.argsort(azimuth, kind="stable")
    # Turned such that channels lie, all in all, where they are.
    turn = np.angle(np.exp(1j * (azimuth[order] - spaced)).mean())
    return order, np.rad2deg(spaced + turn) % 360


def _draw_circle(
    viz: Any,
    axes: "Axes",
    edges: np.ndarray,
    indices: tuple[np.ndarray, np.ndarray],
    names: list[str],
    angles: np.ndarray,
    **colors: Any,
) -> None:
    """Draw edges as MNE-Python does, in light colors."""
    viz.plot_connectivity_circle(
        edges,
        names,
        indices=indices,
        node_angles=angles,
        node_width=0.8 * 360 / len(names),
        node_colors=["0.6"],
        node_linewidth=0.0,
        facecolor="white",
        textcolor="black",
        fontsize_names=8 if len(names) <= 40 else 6,
        colorbar=False,
        padding=3.0,
        ax=axes,
        interactive=False,
        show=False,
        **colors,
    )


def _positions(plotting: Any, atlas: Any, n_channels: int) -> np.ndarray:
    """Get the positions of the channels in MNI space in millimeters, shape (n_channels, 3)."""
    # Loading nibabel is left to those who need it.
    import nibabel

    from ..io.parcellation.atlas_volume import read_atlas

    if isinstance(atlas, (str, os.PathLike, nibabel.spatialimages.SpatialImage)):
        img = read_atlas(atlas)
        if img.ndim == 4:
            positions = plotting.find_probabilistic_atlas_cut_coords(img)
        else:
            positions = plotting.find_parcellation_cut_coords(img)
        what = "parcels of the atlas"
    else:
        positions = np.asarray(atlas, dtype=float)
        what = "positions"
        if positions.ndim != 2 or positions.shape[1] != 3 or not np.isfinite(positions).all():
            raise ValueError(
                "atlas must be a NIfTI file, an image, or finite positions of shape "
                f"(n_channels, 3) in millimeters, got an array of shape {positions.shape}"
            )
    if len(positions) != n_channels:
        raise ValueError(
            f"there are {len(positions)} {what} but {n_channels} channels; pass the atlas that "
            "these channels are parcels of, or one position for each"
        )
    return np.asarray(positions)
