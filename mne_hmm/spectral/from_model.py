"""Spectra of states from a model alone, without the recordings."""

from dataclasses import dataclass, field
from typing import Any

import mne
import numpy as np

from .._utils.checks import check_number, listed, plural
from .._utils.typing import GaussianHMM
from ..model.dual_estimate import DualEstimate
from ..preparation.covariance_alignment import Alignment
from ..preparation.patterns import (
    by_lag,
    embedded_covariances,
    feature_patterns,
    input_filters,
    input_patterns,
    spatial_patterns,
    zero_lag,
)
from ..preparation.settings import FittedPreparation
from ..states.matching import check_model
from ..states.visits import stationary_occupancy
from .state_spectra import StateSpectra

# Frequencies of the estimate, from 0 to the Nyquist frequency: every 0.5 Hz at 250 Hz.
N_FREQS = 250
# Updates of the estimate. The lags of an embedding tell a spectrum only up to details finer than
# their inverse; more updates find more detail, and in the end lines that are none.
N_UPDATES = 30
# Brains have more power at low frequencies: where the lags tell nothing, it falls like this.
PRIOR_EXPONENT = 0.5
# Share of a feature's variance that is taken as noise, so that covariances have inverses.
NOISE_SHARE = 1e-6


@dataclass(frozen=True, eq=False)
class ModelAutocovariance:
    """Covariances of the channels over lags, as a model has them for its states.

    Made by `model_autocovariance`.

    Parameters
    ----------
    lags : array, shape (n_lags,)
        Lags in seconds, from negative to positive.
    values : array, shape (n_states, n_channels, n_channels, n_lags)
        Entry ``[k, i, j]`` is the mean of ``x_i(t) x_j(t - lag)`` while state ``k`` is on. In
        squared standard deviations of the channels where they were standardized, else in
        squared units of the channels.
    covariances : array, shape (n_states, n_channels, n_channels)
        Covariances of the channels at the same time, from the middle of the embedding.
    ch_names : tuple of str
        Names of the channels.
    state_names : tuple of str
        Names of the states.
    """

    lags: np.ndarray = field(repr=False)
    values: np.ndarray = field(repr=False)
    covariances: np.ndarray = field(repr=False)
    ch_names: tuple[str, ...]
    state_names: tuple[str, ...]

    @property
    def power(self) -> np.ndarray:
        """Variance of each channel while a state is on, shape (n_states, n_channels)."""
        return np.diagonal(self.covariances, axis1=1, axis2=2).copy()

    def __str__(self) -> str:
        return (
            f"<ModelAutocovariance | {plural(len(self.state_names), 'state')}, "
            f"{plural(len(self.ch_names), 'channel')}, lags up to ±{1000 * self.lags[-1]:g} ms>"
        )

    __repr__ = __str__


def model_autocovariance(
    hmm: GaussianHMM, *, dual: DualEstimate | None = None, alignment: Alignment | None = None
) -> ModelAutocovariance:
    """Compute covariances of the channels over lags from a model alone.

    Parameters
    ----------
    hmm : HMM
        The model.
    dual : DualEstimate | None
        The model's estimate of one recording, from :meth:`HMM.dual_estimate`, for covariances
        of that recording. None takes those of the model.
    alignment : Alignment | None
        The map of a recording whose own channels are wanted, one of ``hmm.alignments_``. None takes
        that of ``dual``, or without it the channels of the group's mean.

    Returns
    -------
    autocovariance : ModelAutocovariance
        Covariances with lags up to the length of the embedding.

    Raises
    ------
    TypeError
        If dual is no estimate of one recording, or alignment is none.
    ValueError
        If dual or alignment is not of this model.

    Notes
    -----
    Standardization, principal components and embedding are undone. What the components leave out
    is lost, so variances are somewhat lower than those of the channels. Means of states, where
    the model has any, are no part of it.
    """
    check_model(hmm, "hmm")
    preparation = hmm.preparation_
    n_lags = preparation.n_embeddings
    covariances, _ = _covariances(hmm, dual)
    patterns = feature_patterns(preparation, alignment_of(hmm, dual, alignment))
    # State by state, since covariances of the embedding are large.
    values, zero_lags = [], []
    for covariance in covariances:
        embedded = embedded_covariances(covariance, patterns)
        values.append(by_lag(embedded, n_lags))
        zero_lags.append(zero_lag(embedded, n_lags))
    return ModelAutocovariance(
        np.arange(1 - n_lags, n_lags) / preparation.sfreq_,
        np.stack(values),
        np.stack(zero_lags),
        tuple(preparation.ch_names_),
        tuple(hmm.state_names),
    )


def compute_model_spectra(
    hmm: GaussianHMM,
    *,
    fmin: float = 1.0,
    fmax: float = 45.0,
    resolution: float = 0.5,
    dual: DualEstimate | None = None,
    alignment: Alignment | None = None,
    info: mne.Info | None = None,
) -> StateSpectra:
    """Compute spectra of the states from a model alone, without any recording.

    Parameters
    ----------
    hmm : HMM
        The model, of time-delay embedded data.
    fmin, fmax : float
        First and last frequency in hertz. Those that the preparation filters away are left out.
    resolution : float
        Step from one frequency to the next in hertz.
    dual : DualEstimate | None
        The model's estimate of one recording, from :meth:`HMM.dual_estimate`, for spectra of that
        recording. None gives spectra of the model.
    alignment : Alignment | None
        The map of a recording whose own channels are wanted, one of ``hmm.alignments_``. None takes
        that of ``dual``, or without it the channels of the group's mean.
    info : mne.Info | None
        Tells where the channels lie, for maps; it may have others, too. The model knows only
        their names.

    Returns
    -------
    spectra : StateSpectra
        The spectra. ``weights`` are the time each state is on: in the recording of ``dual``, or
        the model's own shares of it, times the length of the annotated training data.

    Raises
    ------
    TypeError
        If dual is no estimate of one recording, alignment no map, or info is none.
    ValueError
        If the model is not of embedded signals, dual or alignment is not of this model, info
        lacks a channel, or no frequency is left.

    See Also
    --------
    model_autocovariance : The covariances over lags, without an estimate.

    Notes
    -----
    The model holds covariances of features. The features are linear in the channels and their
    lags, so for each spectrum it can be said which covariances they would have. The spectrum of a
    state is made so that these become those of the model, by expectation-maximization for
    covariances of stationary processes :footcite:`MillerSnyder1987`. It begins, within the band
    that the preparation lets pass, with power that falls with the root of the frequency in all
    channels alike. First come 30 steps for the covariance of all states, weighted by the time
    they are on, then 30 for each state. It is not run until it settles: a few lags say nothing
    about fine details, which would be noise.

    Resolution is limited: 15 lags at 250 Hz are 60 ms. With ten components for each channel,
    peaks of the theta and alpha bands are found to 1 Hz; with two, many are lost in the slope of
    the spectrum. The covariances of models of MEG with 38 parcels and 80 components, which were
    published with spectra from the recordings, give spectra that correlate with those at 0.91 to
    0.97, over parcels and frequencies of 3 to 40 Hz. :func:`compute_state_spectra` has the full
    resolution of the recordings.

    References
    ----------
    .. footbibliography::
    """
    check_model(hmm, "hmm")
    preparation = hmm.preparation_
    _check_embedded(preparation)
    info = info_of_model(info, preparation)
    covariances, weights = _covariances(hmm, dual)
    alignment = alignment_of(hmm, dual, alignment)
    grid = _passed_freqs(preparation)
    freqs = _freqs_in_band(grid, fmin, fmax, resolution)
    mean = np.tensordot(stationary_occupancy(hmm.transition_matrix_), hmm.covariances_, 1)
    units = _units(preparation, mean)
    projection = _projection(preparation, grid, units)
    common = _fit_power(mean, projection, _initial_power(grid, preparation.n_inputs_))
    n_channels = len(info["ch_names"])
    csd = np.empty((len(covariances), n_channels, n_channels, len(freqs)), complex)
    for k, covariance in enumerate(covariances):
        if np.isnan(covariance).any():
            csd[k] = np.nan
            continue
        power = _fit_power(covariance, projection, common)
        # From E[X_i conj(X_j)] by frequency to densities as those of StateSpectra.
        density = power.conj().transpose(1, 2, 0) / (grid[1] - grid[0])
        density = density * np.multiply.outer(units, units)[..., np.newaxis]
        csd[k] = _in_channels(_interpolate(density, grid, freqs), preparation, alignment)
    return StateSpectra(
        freqs, csd, info, tuple(hmm.state_names), weights, standardized=preparation.standardize
    )


def _covariances(hmm: GaussianHMM, dual: DualEstimate | None) -> tuple[np.ndarray, np.ndarray]:
    """Get covariances of the states, and how long each is on in seconds."""
    if dual is None:
        seconds = sum(
            float(visits.duration[np.char.startswith(visits.description, "hmm/")].sum())
            for visits in hmm.annotations_
            if len(visits)
        )
        return hmm.covariances_, stationary_occupancy(hmm.transition_matrix_) * (seconds or 1.0)
    check_dual(hmm, dual)
    return dual.covariances, dual.weights


def check_dual(hmm: GaussianHMM, dual: Any) -> None:
    """Check that an estimate of a recording, if there is one, is of a model."""
    if dual is None:
        return
    if not isinstance(dual, DualEstimate):
        raise TypeError(
            f"dual must be a DualEstimate of one recording, got {type(dual).__name__}; pass one "
            "that hmm.dual_estimate gives, and of a list one after another"
        )
    if dual.covariances.shape != hmm.covariances_.shape:
        raise ValueError(
            f"dual must be an estimate of this model, whose covariances have shape "
            f"{hmm.covariances_.shape}, got {dual.covariances.shape}; use hmm.dual_estimate"
        )


def alignment_of(
    hmm: GaussianHMM, dual: DualEstimate | None, alignment: Alignment | None
) -> Alignment | None:
    """Find the map of the recording whose own channels are wanted, if there is one."""
    if alignment is None:
        return None if dual is None else dual.alignment
    if not isinstance(alignment, Alignment):
        raise TypeError(
            f"alignment must be the map of a recording, got {type(alignment).__name__}; pass one "
            "of hmm.alignments_, or of prepared.alignments"
        )
    n_channels = len(hmm.preparation_.ch_names_)
    if not hmm.preparation_.aligns or len(alignment.to_mean) != n_channels:
        align = hmm.preparation_.align
        raise ValueError(
            f"alignment is a map of {len(alignment.to_mean)} channels, but the model has "
            f"{n_channels} and preparation_.align={align!r}; pass one of hmm.alignments_"
        )
    return alignment


def _check_embedded(preparation: FittedPreparation) -> None:
    """Check that features hold lags of signals, from which spectra follow."""
    if preparation.n_embeddings == 1 or preparation.envelope:
        kind = "of envelopes" if preparation.envelope else "without lags"
        raise ValueError(
            f"hmm must be a model of time-delay embedded signals, got one {kind}; compute spectra "
            "from the recordings with compute_state_spectra"
        )


def info_of_model(info: mne.Info | None, preparation: FittedPreparation) -> mne.Info:
    """Pick a model's channels from an Info, or make one that holds only their names."""
    ch_names, sfreq = preparation.ch_names_, preparation.sfreq_
    if info is None:
        return mne.create_info(list(ch_names), sfreq, "misc")
    if not isinstance(info, mne.Info):
        raise TypeError(
            f"info must be an mne.Info or None, got {type(info).__name__}; pass raw.info"
        )
    missing = [name for name in ch_names if name not in info["ch_names"]]
    if missing:
        raise ValueError(
            f"info must have all channels of the model, but lacks {listed(missing)}; pass that of "
            "a recording with these names"
        )
    return mne.pick_info(info, [info["ch_names"].index(name) for name in ch_names])


def _passed_freqs(preparation: FittedPreparation) -> np.ndarray:
    """Find the frequencies that the preparation lets pass, in hertz."""
    nyquist = preparation.sfreq_ / 2
    step = nyquist / N_FREQS
    low, high = preparation.band_ or (step, nyquist)
    # Half amplitude of MNE-Python's default filters lies in the middle of their transitions.
    if preparation.l_freq is not None:
        low = preparation.l_freq - min(max(preparation.l_freq / 4, 2), preparation.l_freq) / 2
    if preparation.h_freq is not None:
        high = preparation.h_freq + max(preparation.h_freq / 4, 2) / 2
    first, last = max(round(low / step), 1), min(round(high / step), N_FREQS - 1)
    return step * np.arange(first, last + 1)


def _freqs_in_band(grid: np.ndarray, fmin: float, fmax: float, resolution: float) -> np.ndarray:
    """Get the frequencies of the spectra, within those of the grid."""
    rule = "a frequency in hertz above 0"
    fmin = check_number(fmin, "fmin", rule=rule, above=0)
    fmax = check_number(fmax, "fmax", rule=rule, above=0)
    resolution = check_number(resolution, "resolution", rule=rule, above=0)
    freqs = fmin + resolution * np.arange(max(int((fmax - fmin) / resolution + 1e-9) + 1, 0))
    freqs = freqs[(freqs >= grid[0] - 1e-9) & (freqs <= grid[-1] + 1e-9)]
    if len(freqs) == 0:
        raise ValueError(
            f"no frequency is left between fmin={fmin:g} and fmax={fmax:g} Hz in steps of "
            f"{resolution:g}; the model's preparation lets pass {grid[0]:g} to {grid[-1]:g} Hz"
        )
    return freqs


def _in_channels(
    density: np.ndarray, preparation: FittedPreparation, alignment: Alignment | None
) -> np.ndarray:
    """Turn densities of what is embedded into those of the channels."""
    if preparation.spatial_components_ is None and alignment is None:
        return density
    patterns = spatial_patterns(preparation, alignment)
    return np.einsum("ai,ijf,bj->abf", patterns, density, patterns, optimize=True)


def _units(preparation: FittedPreparation, mean: np.ndarray) -> np.ndarray:
    """Find the unit of each signal in which all are alike: its standard deviation."""
    if preparation.standardize and not preparation.aligns:
        return np.ones(preparation.n_inputs_)
    embedded = embedded_covariances(mean, input_patterns(preparation))
    return np.sqrt(np.diag(zero_lag(embedded, preparation.n_embeddings)))


def _projection(preparation: FittedPreparation, grid: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Get the map from Fourier transforms to features, (n_freqs, n_features, n_inputs)."""
    n_lags = preparation.n_embeddings
    filters = input_filters(preparation).reshape(preparation.n_inputs_, n_lags, -1)
    lags = (n_lags // 2 - np.arange(n_lags)) / preparation.sfreq_
    waves = np.exp(2j * np.pi * grid[:, np.newaxis] * lags)
    projection = np.einsum("fj,cjd->fdc", waves, filters, optimize=True) * units
    return np.ascontiguousarray(projection)


def _initial_power(grid: np.ndarray, n_channels: int) -> np.ndarray:
    """Get the power that the estimate begins with, (n_freqs, n_channels, n_channels)."""
    power = grid**-PRIOR_EXPONENT
    share = power / power.sum()
    return share[:, np.newaxis, np.newaxis] * np.eye(n_channels)


def _fit_power(covariance: np.ndarray, projection: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Bring the features' covariance near to the given one by changing power by frequency.

    Shapes: ``covariance`` (n_features, n_features), ``projection`` (n_freqs, n_features,
    n_channels), ``power`` and what is returned (n_freqs, n_channels, n_channels).
    """
    n_features = len(covariance)
    flat = projection.transpose(1, 0, 2).reshape(n_features, -1).conj().T
    for _ in range(N_UPDATES):
        mixed = projection @ power
        expected = (mixed.transpose(1, 0, 2).reshape(n_features, -1) @ flat).real
        expected += NOISE_SHARE * np.trace(expected) / n_features * np.eye(n_features)
        inverse = np.linalg.inv(expected)
        change = inverse @ (covariance - expected) @ inverse
        power = power + mixed.conj().swapaxes(1, 2) @ (change @ mixed)
    return power


def _interpolate(density: np.ndarray, grid: np.ndarray, freqs: np.ndarray) -> np.ndarray:
    """Interpolate densities between frequencies, such that they stay positive semidefinite."""
    place = np.clip(np.interp(freqs, grid, np.arange(len(grid))), 0, len(grid) - 1)
    left = np.minimum(place.astype(int), len(grid) - 2)
    weight = place - left
    return (1 - weight) * density[..., left] + weight * density[..., left + 1]
