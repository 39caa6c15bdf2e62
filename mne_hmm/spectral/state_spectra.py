"""Spectra of states: power, coherence, and the same for other packages."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import mne
import numpy as np
from mne.utils import copy_function_doc_to_method_doc

from .._utils.checks import check_number, check_option, check_state, import_extra, plural
from ..viz import plot_state_coherence, plot_state_spectra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mne_connectivity import SpectralConnectivity


@dataclass(frozen=True, eq=False)
class StateSpectra:
    """Power and cross-spectral densities of the states of a model.

    Made by :func:`compute_state_spectra` from recordings, and by :func:`compute_model_spectra` from
    a model alone.

    Parameters
    ----------
    freqs : array, shape (n_freqs,)
        Frequencies in hertz.
    csd : array, shape (n_states, n_channels, n_channels, n_freqs)
        One-sided cross-spectral densities, complex: entry ``[k, i, j]`` is the mean of
        ``conj(X_i) X_j`` while state ``k`` is on. In squared units of the channels per hertz, or in
        1/hertz where channels were standardized. NaN for a state that is never on.
    info : mne.Info
        The channels.
    state_names : tuple of str
        Names of the states.
    weights : array, shape (n_states,)
        How long each state is on, in seconds: the sum of its probabilities.
    standardized : bool
        Whether each channel had been divided by its standard deviation.
    recordings : tuple of StateSpectra
        Spectra of the single recordings, in single precision; empty where there is only one, or
        they were not kept.
    """

    freqs: np.ndarray = field(repr=False)
    csd: np.ndarray = field(repr=False)
    info: mne.Info = field(repr=False)
    state_names: tuple[str, ...]
    weights: np.ndarray = field(repr=False)
    standardized: bool = False
    recordings: tuple["StateSpectra", ...] = field(default=(), repr=False)

    @property
    def ch_names(self) -> list[str]:
        """Names of the channels."""
        return list(self.info["ch_names"])

    @property
    def n_states(self) -> int:
        """Number of states."""
        return len(self.state_names)

    @property
    def never_on(self) -> tuple[str, ...]:
        """Names of the states that nothing is known of."""
        return tuple(np.array(self.state_names)[self._is_nan].tolist())

    @property
    def _is_nan(self) -> np.ndarray:
        """Whether the spectra of each state are NaN, shape (n_states,)."""
        return np.isnan(self.csd[:, 0, 0, 0])

    @cached_property
    def psd(self) -> np.ndarray:
        """Power spectral densities, shape (n_states, n_channels, n_freqs)."""
        return np.ascontiguousarray(np.einsum("kccf->kcf", self.csd).real)

    @cached_property
    def coherency(self) -> np.ndarray:
        """Cross-spectral over power spectral densities, complex; shape as that of ``csd``."""
        amplitude = np.sqrt(self.psd)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.csd / (amplitude[:, :, np.newaxis] * amplitude[:, np.newaxis])

    @cached_property
    def coherence(self) -> np.ndarray:
        """Magnitude of the coherency, from 0 to 1; shape as that of ``csd``."""
        return np.abs(self.coherency)

    @property
    def imaginary_coherence(self) -> np.ndarray:
        """Imaginary part of the coherency, which leakage without any lag has none of."""
        return self.coherency.imag

    def power(
        self, fmin: float | None = None, fmax: float | None = None, *, mode: str = "mean"
    ) -> np.ndarray:
        """Compute the power of each state and channel in a band.

        Parameters
        ----------
        fmin, fmax : float | None
            The band in hertz; both ends are in it. None is the end of the spectrum.
        mode : "mean" | "integral"
            The mean of the density over the frequencies of the band, or its integral, which is
            the variance of the signal in the band.

        Returns
        -------
        power : array, shape (n_states, n_channels)
            Power in units of the density, or of the density times hertz.

        Raises
        ------
        ValueError
            If the band holds no frequency.
        """
        check_option(mode, "mode", ("mean", "integral"))
        inside = self.band(fmin, fmax)
        if mode == "mean":
            return self.psd[..., inside].mean(axis=-1)
        step = self.freqs[1] - self.freqs[0] if len(self.freqs) > 1 else 1.0
        return self.psd[..., inside].sum(axis=-1) * step

    def band(self, fmin: float | None = None, fmax: float | None = None) -> np.ndarray:
        """Tell which frequencies lie in a band.

        Parameters
        ----------
        fmin, fmax : float | None
            The band in hertz; both ends are in it. None is the end of the spectrum.

        Returns
        -------
        inside : array of bool, shape (n_freqs,)
            Whether each frequency does.

        Raises
        ------
        ValueError
            If none does.
        """
        rule = "a frequency in hertz ≥ 0, or None"
        low = -np.inf if fmin is None else check_number(fmin, "fmin", rule=rule, low=0)
        high = np.inf if fmax is None else check_number(fmax, "fmax", rule=rule, low=0)
        # Both ends are in the band, whatever the rounding of the frequencies.
        inside = (self.freqs >= low - 1e-9) & (self.freqs <= high + 1e-9)
        if not inside.any():
            raise ValueError(
                f"no frequency lies between fmin={fmin} and fmax={fmax}; these spectra have "
                f"{len(self.freqs)} from {self.freqs[0]:g} to {self.freqs[-1]:g} Hz"
            )
        return inside

    def to_spectrum(self, state: int | str) -> mne.time_frequency.SpectrumArray:
        """Get the power of a state as MNE-Python has spectra.

        Parameters
        ----------
        state : int | str
            Number of the state, from 0, or its name.

        Returns
        -------
        spectrum : mne.time_frequency.SpectrumArray
            Power spectral densities of the channels, as in ``psd``: in V²/Hz of channels in
            volts, and in 1/Hz where channels were standardized, whatever MNE-Python writes
            beside the numbers then. As spectra of MNE-Python hold no ``misc`` channels,
            which parcels commonly are, these become ``seeg``, which have no place on the head.

        Raises
        ------
        ValueError
            If there is no such state.
        """
        psd = self.psd[check_state(state, self.state_names)].astype(float)
        info = self.info.copy()
        if "misc" in info.get_channel_types(unique=True):
            info = mne.create_info(self.ch_names, info["sfreq"], "seeg")
        return mne.time_frequency.SpectrumArray(psd, info, self.freqs.copy(), verbose="ERROR")

    def to_connectivity(self, state: int | str, kind: str = "coherence") -> "SpectralConnectivity":
        """Get the coherence of a state as mne-connectivity has it.

        Parameters
        ----------
        state : int | str
            Number of the state, from 0, or its name.
        kind : "coherence" | "imaginary"
            Magnitude of the coherency, or its imaginary part.

        Returns
        -------
        connectivity : mne_connectivity.SpectralConnectivity
            All pairs of channels, by frequency.

        Raises
        ------
        ValueError
            If there is no such state.
        ImportError
            If mne-connectivity is not installed; ``coherence`` and ``imaginary_coherence`` hold
            the same as arrays.

        Notes
        -----
        The sign of imaginary coherence is that of mne-connectivity, where cross-spectra are
        ``X_i conj(X_j)``, and so the opposite of that in ``imaginary_coherence``.
        """
        check_option(kind, "kind", ("coherence", "imaginary"))
        index = check_state(state, self.state_names)
        connectivity = import_extra(
            "mne_connectivity",
            "analysis",
            "for SpectralConnectivity (.coherence and .imaginary_coherence are the same as arrays)",
        )
        values = self.coherence if kind == "coherence" else -self.imaginary_coherence
        n_channels = len(self.ch_names)
        return connectivity.SpectralConnectivity(
            values[index].reshape(n_channels**2, -1).astype(float),
            self.freqs.copy(),
            n_channels,
            names=self.ch_names,
            method="coh" if kind == "coherence" else "imcoh",
        )

    @copy_function_doc_to_method_doc(plot_state_spectra)
    def plot(self, *, picks: Any = None, axes: "Axes | None" = None, show: bool = True) -> "Figure":
        return plot_state_spectra(self, picks=picks, axes=axes, show=show)

    @copy_function_doc_to_method_doc(plot_state_coherence)
    def plot_coherence(
        self,
        *,
        kind: str = "coherence",
        picks: Any = None,
        axes: "Axes | None" = None,
        show: bool = True,
    ) -> "Figure":
        return plot_state_coherence(self, kind=kind, picks=picks, axes=axes, show=show)

    def __str__(self) -> str:
        return (
            f"<StateSpectra | {plural(self.n_states, 'state')}, "
            f"{plural(len(self.ch_names), 'channel')}, {len(self.freqs)} frequencies from "
            f"{self.freqs[0]:g} to {self.freqs[-1]:g} Hz, {self.weights.sum():.1f} s>"
        )

    __repr__ = __str__


def check_spectra(spectra: Any) -> None:
    """Check that spectra are those of states."""
    if not isinstance(spectra, StateSpectra):
        raise TypeError(
            f"spectra must be StateSpectra, got {type(spectra).__name__}; make them with "
            "compute_state_spectra or compute_model_spectra"
        )
