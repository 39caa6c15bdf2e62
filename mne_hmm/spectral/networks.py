"""Networks of states: which channels are coherent while a state is on."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import mne
import numpy as np
from mne.utils import copy_function_doc_to_method_doc

from .._utils.checks import check_number, check_option, check_random_state, import_extra, plural
from .._utils.docs import fill_doc
from .._utils.mne_private import check_pandas
from .._utils.typing import RandomState
from ..viz import plot_connectome, plot_network_circle, plot_network_matrix
from .components import SpectralComponents
from .state_spectra import StateSpectra, check_spectra

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.projections.polar import PolarAxes

    from ..viz._drawing import SeveralAxes

_KINDS = {"coherence": "Coherence", "imaginary": "Imaginary coherence"}


@dataclass(frozen=True, eq=False)
class StateNetworks:
    """One network of channels for each state.

    Made by :func:`coherence_networks`, or from any symmetric matrices.

    Parameters
    ----------
    values : array, shape (n_states, n_channels, n_channels)
        Strength of the edge between each pair of channels. Symmetric; the diagonal is no edge and
        is set to 0. An edge that was taken away by :meth:`threshold` is 0. NaN for a state that is
        never on.
    info : mne.Info
        The channels.
    state_names : tuple of str
        Names of the states.
    label : str
        What the values are, with their unit where they have one. Figures show it.
    weights : array, shape (n_states,) | None
        How long each state is on, in seconds, for the mean over states. None takes all states for
        as long.

    Raises
    ------
    TypeError
        If values are not real numbers.
    ValueError
        If shapes do not fit together, there are fewer than 2 channels, or the values are infinite
        or not symmetric.
    """

    values: np.ndarray = field(repr=False)
    info: mne.Info = field(repr=False)
    state_names: tuple[str, ...]
    label: str = ""
    weights: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        values = _check_networks(self.values, self.state_names, self.ch_names)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "state_names", tuple(self.state_names))
        if self.weights is not None:
            weights = np.array(self.weights, dtype=float)
            if weights.shape != (self.n_states,) or not (weights >= 0).all():
                raise ValueError(
                    f"weights must be {self.n_states} seconds ≥ 0, one for each state, or None, "
                    f"got {self.weights!r}"
                )
            object.__setattr__(self, "weights", weights)

    @property
    def ch_names(self) -> list[str]:
        """Names of the channels."""
        return list(self.info["ch_names"])

    @property
    def n_states(self) -> int:
        """Number of states."""
        return len(self.state_names)

    @property
    def strength(self) -> np.ndarray:
        """Sum of the edges of each channel, shape (n_states, n_channels)."""
        return self.values.sum(axis=-1)

    def relative(self) -> "StateNetworks":
        """Get the networks relative to the mean over states.

        Returns
        -------
        networks : StateNetworks
            The same networks less the mean, which is weighted by the time each state is on.
            States that are never on (NaN) do not count.

        Raises
        ------
        ValueError
            If no state is on.
        """
        weights = np.ones(self.n_states) if self.weights is None else self.weights
        on = (weights > 0) & ~self._is_nan
        if not on.any():
            raise ValueError(
                "values are NaN for every state that is on, so there is no mean over states"
            )
        mean = np.average(self.values[on], axis=0, weights=weights[on])
        label = f"{self.label or 'Values'}, less the mean over states"
        return replace(self, values=self.values - mean, label=label)

    @fill_doc
    def threshold(
        self,
        method: str = "percentile",
        *,
        percentile: float = 97.0,
        absolute: bool = False,
        random_state: RandomState = None,
    ) -> "StateNetworks":
        """Keep the strongest edges of each state.

        Parameters
        ----------
        method : "percentile" | "mixture"
            ``"percentile"`` keeps a fixed share of the edges of each state. ``"mixture"`` takes
            the edges of a state for a mixture of two normal distributions, and keeps those of the
            upper one; see Notes.
        percentile : float
            For method ``"percentile"``: edges above this percentile of all edges of the state are
            kept. 97 keeps 3 of 100.
        absolute : bool
            Whether edges are compared by their absolute values, such that strong negative ones are
            kept, too.
        %(random_state)s
            For method ``"mixture"``.

        Returns
        -------
        networks : StateNetworks
            New networks. Edges that are not kept are 0 there; those kept have the values they had.

        Raises
        ------
        TypeError
            If the percentile is no number, or absolute neither True nor False.
        ValueError
            If there is no such method, or the percentile is not from 0 to 100.
        ImportError
            If the method is "mixture" and scikit-learn is not installed.

        Notes
        -----
        The mixture is fitted to each state by itself, to edges scaled to a standard deviation of
        1. The cut lies where the upper distribution becomes the more likely one, above the mean of
        the lower one. No edge is kept where one normal distribution does as well by the Bayesian
        information criterion, or where the two have their means less than one standard deviation
        of the lower one apart: then the edges are one group, with heavy tails or without.
        osl-dynamics (``connectivity.gmm_threshold``) cuts at the same place, but for the weakest
        edge of the upper group, which it drops; it scales nothing unless told to, and keeps some
        edges in every case, which can be most of them where there is one group.

        Coherence has a floor and a common pattern that all states share. Edges that make a
        state different stand out in ``networks.relative()``.
        """
        check_option(method, "method", ("percentile", "mixture"))
        rule = "a number from 0 to 100"
        percentile = check_number(percentile, "percentile", rule=rule, low=0, high=100)
        if not isinstance(absolute, (bool, np.bool_)):
            raise TypeError(f"absolute must be True or False, got {absolute!r}")
        rng = check_random_state(random_state)
        first, second = np.triu_indices(len(self.ch_names), 1)
        values = np.zeros_like(self.values)
        for state, edges in enumerate(self.values[:, first, second]):
            sizes = np.abs(edges) if absolute else edges
            finite = sizes[np.isfinite(sizes)]
            if not len(finite):
                cut = np.inf
            elif method == "percentile":
                cut = float(np.percentile(finite, percentile))
            else:
                cut = _mixture_cut(finite, int(rng.integers(2**31)))
            # Edges that are NaN stay so.
            kept = np.where(sizes <= cut, 0.0, edges)
            values[state, first, second] = values[state, second, first] = kept
        return replace(self, values=values)

    def to_data_frame(self) -> "pd.DataFrame":
        """Get the edges as a table with one row per edge.

        Returns
        -------
        df : pandas.DataFrame
            Columns ``state``, ``channel_1``, ``channel_2`` and ``value``; needs pandas. Edges that
            are 0 are left out, those that are not known (NaN) are not.
        """
        pd = check_pandas()
        first, second = np.triu_indices(len(self.ch_names), 1)
        edges = self.values[:, first, second]
        states, pairs = np.nonzero(edges)
        names = np.array(self.ch_names, dtype=object)
        return pd.DataFrame(
            {
                "state": np.array(self.state_names, dtype=object)[states],
                "channel_1": names[first[pairs]],
                "channel_2": names[second[pairs]],
                "value": edges[states, pairs],
            }
        )

    @copy_function_doc_to_method_doc(plot_network_matrix)
    def plot_matrix(self, *, axes: "SeveralAxes | None" = None, show: bool = True) -> "Figure":
        return plot_network_matrix(self, axes=axes, show=show)

    @copy_function_doc_to_method_doc(plot_network_circle)
    def plot_circle(
        self,
        state: int | str,
        *,
        n_lines: int | None = None,
        axes: "PolarAxes | None" = None,
        show: bool = True,
    ) -> "Figure":
        return plot_network_circle(self, state, n_lines=n_lines, axes=axes, show=show)

    @copy_function_doc_to_method_doc(plot_connectome)
    def plot_connectome(
        self, atlas: Any, state: int | str, *, axes: "Axes | None" = None, show: bool = True
    ) -> "Figure":
        return plot_connectome(self, atlas, state, axes=axes, show=show)

    @property
    def _is_nan(self) -> np.ndarray:
        """Whether all edges of each state are NaN, shape (n_states,)."""
        first, second = np.triu_indices(len(self.ch_names), 1)
        return np.isnan(self.values[:, first, second]).all(axis=-1)

    def __str__(self) -> str:
        edges = np.triu(np.nan_to_num(self.values), 1)
        label = f" | {self.label}" if self.label else ""
        return (
            f"<StateNetworks{label} | {plural(self.n_states, 'state')}, "
            f"{plural(len(self.ch_names), 'channel')}, "
            f"{plural(int(np.count_nonzero(edges)), 'edge')} in all>"
        )

    __repr__ = __str__


def coherence_networks(
    spectra: StateSpectra,
    fmin: float | None = None,
    fmax: float | None = None,
    *,
    components: SpectralComponents | None = None,
    component: int | None = None,
    kind: str = "coherence",
    reference: str | None = None,
) -> StateNetworks:
    """Compute the networks of states in a band or in a spectral component.

    Parameters
    ----------
    spectra : StateSpectra
        The spectra.
    fmin, fmax : float | None
        The band in hertz; both ends are in it. None is the end of the spectrum.
    components : SpectralComponents | None
        Spectral components, to take one of them in place of a band.
    component : int | None
        The number of the component, from 0.
    kind : "coherence" | "imaginary"
        The magnitude of the coherency, or the magnitude of its imaginary part, which leakage
        without any lag has none of.
    reference : "mean" | None
        ``"mean"`` takes off the mean over states, as :meth:`StateNetworks.relative` does.

    Returns
    -------
    networks : StateNetworks
        The mean over the frequencies of the band, all of the same weight, or weighted by the
        profile of the component. As ``osl_dynamics.analysis.connectivity``'s
        ``mean_coherence_from_spectra`` has it, but for the diagonal, which is 0.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If the band holds no frequency, both a band and a component are given, there is no such
        component, kind or reference, or the components have other frequencies.
    """
    check_option(kind, "kind", tuple(_KINDS))
    check_option(reference, "reference", ("mean", None))
    check_spectra(spectra)
    if components is None and component is None:
        inside = spectra.band(fmin, fmax)
        weights = inside / inside.sum()
        low, high = spectra.freqs[inside][[0, -1]]
        frequencies = f"{low:g} to {high:g} Hz"
    else:
        weights = _component_weights(spectra, fmin, fmax, components, component)
        frequencies = f"component {component}"
    coherence = np.abs(spectra.imaginary_coherence) if kind == "imaginary" else spectra.coherence
    networks = StateNetworks(
        coherence @ weights,
        spectra.info,
        spectra.state_names,
        f"{_KINDS[kind]}, {frequencies}",
        spectra.weights,
    )
    return networks.relative() if reference == "mean" else networks


def _component_weights(
    spectra: StateSpectra,
    fmin: float | None,
    fmax: float | None,
    components: SpectralComponents | None,
    component: int | None,
) -> np.ndarray:
    """Get the weights of the frequencies in one component, shape (n_freqs,)."""
    if not isinstance(components, SpectralComponents):
        raise TypeError(
            "components must be SpectralComponents where component is given, got "
            f"{type(components).__name__}; find them with find_spectral_components"
        )
    if fmin is not None or fmax is not None:
        raise ValueError(
            f"a network is either of a band or of a component, got fmin={fmin}, fmax={fmax} and "
            f"component={component}; leave out one of both"
        )
    last = components.n_components - 1
    rule = f"the number of one of the components, from 0 to {last}"
    component = check_number(component, "component", rule=rule, low=0, high=last, integer=True)
    return components.weights(spectra)[component]


def _check_networks(values: Any, state_names: Sequence[str], ch_names: Sequence[str]) -> np.ndarray:
    """Check that values of shape (n_states, n_channels, n_channels) are symmetric networks."""
    values = np.asarray(values)
    if values.dtype.kind not in "buif":
        raise TypeError(
            f"values must be real numbers, got {values.dtype}; of complex ones take the "
            "absolute value or the imaginary part"
        )
    if len(ch_names) < 2:
        raise ValueError(f"info has {plural(len(ch_names), 'channel')}; a network needs 2 or more")
    shape = (len(state_names), len(ch_names), len(ch_names))
    if values.shape != shape:
        raise ValueError(
            f"values must have the shape (n_states, n_channels, n_channels), which is {shape} for "
            f"these names of states and channels, got {values.shape}"
        )
    values = values.astype(float)
    if np.isinf(values).any():
        raise ValueError("values must be finite, or NaN where nothing is known, got infinite ones")
    mirrored = values.swapaxes(1, 2)
    # Symmetric but for the rounding of float32.
    scale = np.max(np.abs(values), initial=0.0, where=np.isfinite(values))
    if not np.allclose(values, mirrored, rtol=0, atol=1e-5 * scale, equal_nan=True):
        raise ValueError(
            "values must be symmetric, as edges have no direction; pass the mean of the values and "
            "of values.swapaxes(1, 2), or the absolute values where these are of opposite sign"
        )
    values = (values + mirrored) / 2
    diagonal = np.arange(len(ch_names))
    values[:, diagonal, diagonal] = 0.0
    return values


def _mixture_cut(edges: np.ndarray, seed: int) -> float:
    """Find where the upper one of two groups of edges, shape (n_edges,), begins."""
    mixture = import_extra("sklearn.mixture", "analysis", "for networks cut by a mixture model")
    edges = np.sort(edges)
    spread = edges.std()
    if len(edges) < 3 or spread <= 1e-12 * np.abs(edges).max():
        return np.inf
    # scikit-learn adds 1e-6 to variances, which is much or little depending on the scale.
    scaled = ((edges - edges.mean()) / spread)[:, np.newaxis]
    single, double = (
        mixture.GaussianMixture(n_groups, n_init=10, max_iter=5000, random_state=seed).fit(scaled)
        for n_groups in (1, 2)
    )
    if single.bic(scaled) <= double.bic(scaled):
        return np.inf
    lower, upper = np.argsort(double.means_.ravel())
    low, high = double.means_.ravel()[[lower, upper]]
    # Else they are one group whose tails are heavier than those of a normal distribution.
    if high - low < np.sqrt(double.covariances_.ravel()[lower]):
        return np.inf
    likely = double.predict_proba(scaled)
    # A wide upper distribution is the more likely one far below the lower one, too.
    in_upper = (likely[:, upper] > likely[:, lower]) & (scaled[:, 0] > low)
    if not in_upper.any():
        return np.inf
    # Halfway between the last edge that goes and the first that stays, clear of rounding.
    first = int(np.argmax(in_upper))
    return float(edges[first - 1 : first + 1].mean())
