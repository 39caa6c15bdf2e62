"""Spectra of states: power and coherence of what recordings do while a state is on."""

from dataclasses import dataclass, field
from functools import cached_property

import mne
import numpy as np

from ._utils.check import check_number, check_option, plural


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
        Spectra of the single recordings; empty where there is only one, or they were not kept.
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

    def mean_csd(self) -> np.ndarray:
        """Cross-spectral density of all states together, weighted by the time each is on.

        Returns
        -------
        csd : array, shape (n_channels, n_channels, n_freqs)
            The mean.
        """
        on = self.weights > 0
        share = self.weights[on] / self.weights[on].sum()
        return np.tensordot(share, self.csd[on], 1)

    def __str__(self):
        return (
            f"<StateSpectra | {plural(self.n_states, 'state')}, "
            f"{plural(len(self.ch_names), 'channel')}, {len(self.freqs)} frequencies from "
            f"{self.freqs[0]:g} to {self.freqs[-1]:g} Hz, {self.weights.sum():.1f} s>"
        )

    __repr__ = __str__
