"""What is done to recordings before training, as plain settings."""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from .._utils.checks import check_number, check_option

# Ways to align that are to a mean of covariances.
ALIGNED_TO_MEAN = ("euclidean", "riemannian")


@dataclass(frozen=True)
class Preparation:
    """How recordings become features.

    Parameters
    ----------
    l_freq : float | None
        Lower edge of the pass band in hertz. None for no high-pass filter.
    h_freq : float | None
        Upper edge of the pass band in hertz. None for no low-pass filter.
    sfreq : float | None
        Sampling rate of the features in hertz. None keeps that of the recordings.
    envelope : bool
        Whether to take the amplitude envelope (of the analytic signal) of the band.
    align : None | "euclidean" | "riemannian" | "signs"
        How recordings are made alike before the embedding. ``"euclidean"`` gives all recordings
        the same covariance of their channels at zero lag, which is the mean of their own
        :footcite:`HeWu2020`; ``"riemannian"`` does so with the log-Euclidean mean
        :footcite:`ZaniniEtAl2018`. ``group=`` of `prepare` and `fit_hmm` says which recordings move
        together. ``"signs"`` flips channels such that their lagged covariances match a template;
        only fitted preparations that hold one can do it, such as those of published models.
        Within a group, `align_signs` does it.
    n_embeddings : int
        Number of lags of the time-delay embedding, odd. 1 for none. The embedding takes
        ``n_embeddings // 2`` samples off each end of every good span.
    n_components : "auto" | int | float | None
        Number of principal components. ``"auto"`` takes 80, or the rank of the data where
        that is lower; a float between 0 and 1 as many as explain that share of the
        variance; None does no projection.
    whiten : bool
        Whether to divide components by the square root of their eigenvalues.
    standardize : bool
        Whether to z-score channels before, and features after embedding and projection,
        per recording.

    See Also
    --------
    mne_hmm.prepare : Applies a preparation.

    Notes
    -----
    The default is the preparation of the time-delay embedded HMM :footcite:`VidaurreEtAl2018`.

    Steps are done in this order: filter, resample, envelope, standardize channels, align, embed,
    project, standardize features.

    Recordings of several people differ in what lies between their channels, and states then easily
    become people. With ``align="euclidean"`` or ``"riemannian"`` the channels of a recording (or
    ``group``) with covariance ``C``, over its good spans, become ``M^(1/2) C^(-1/2) x``, where
    ``M`` is the mean of all groups, each of which counts once. Powers are taken within the
    dimensions that the data have. ``"euclidean"`` keeps the mean variance of each channel;
    ``"riemannian"`` is less drawn to single recordings.

    What alignment leaves are rotations of the whitened channels, so it is for sensors in about the
    same places, and for parcels whose signs agree (`align_signs`). It takes differences of
    covariance between recordings out, also those between two conditions that were recorded one by
    one, unless ``group`` joins the recordings of a person. The page on the model has the equations.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> from mne_hmm import Preparation
    >>> Preparation().n_embeddings
    15
    >>> Preparation.standardized().l_freq is None
    True
    """

    l_freq: float | None = 1.0
    h_freq: float | None = 45.0
    sfreq: float | None = 250.0
    envelope: bool = False
    align: str | None = None
    n_embeddings: int = 15
    n_components: str | int | float | None = "auto"
    whiten: bool = False
    standardize: bool = True

    def __post_init__(self) -> None:
        for name in ("l_freq", "h_freq", "sfreq"):
            value = getattr(self, name)
            if value is not None:
                value = check_number(value, name, rule="None or a number above 0 Hz", above=0)
                object.__setattr__(self, name, value)
        for name in ("envelope", "whiten", "standardize"):
            check_option(getattr(self, name), name, (True, False))
        self._check_align()
        check_number(
            self.n_embeddings, "n_embeddings", rule="a whole number ≥ 1", low=1, integer=True
        )
        if self.n_embeddings % 2 == 0:
            raise ValueError(
                f"n_embeddings must be odd, so that lags lie evenly about each sample, got "
                f"{self.n_embeddings}; use {self.n_embeddings - 1} or {self.n_embeddings + 1}"
            )
        if self.l_freq is not None and self.h_freq is not None and self.l_freq >= self.h_freq:
            raise ValueError(
                f"l_freq must be below h_freq, got l_freq={self.l_freq} and h_freq={self.h_freq}"
            )
        if self.sfreq is not None and self.h_freq is not None:
            check_rate(self.sfreq, self.h_freq, "sfreq")
        self._check_n_components()

    def _check_align(self) -> None:
        if self.align == "signs":
            raise ValueError(
                'align="signs" needs the template of a fitted preparation; give the parcels of a '
                "group signs that agree with mne_hmm.align_signs, and leave align=None"
            )
        check_option(self.align, "align", (None, *ALIGNED_TO_MEAN))

    def _check_n_components(self) -> None:
        n = self.n_components
        if n is None or n == "auto":
            if n is None and self.whiten:
                raise ValueError(
                    "whiten=True needs principal components, but n_components is None; set "
                    'n_components="auto" or whiten=False'
                )
            return
        rule = '"auto", a whole number ≥ 1, a share of the variance between 0 and 1, or None'
        if isinstance(n, (float, np.floating)):
            check_number(n, "n_components", rule=rule, above=0, high=1)
        else:
            check_number(n, "n_components", rule=rule, low=1, integer=True)

    @classmethod
    def time_delay_embedded(cls, **changes: Any) -> "Preparation":
        """Default preparation: 1-45 Hz, 250 Hz, 15 lags, 80 components.

        Parameters
        ----------
        **changes : dict
            Parameters that differ from it.
        """
        return Preparation(**changes)

    @classmethod
    def amplitude_envelope(cls, **changes: Any) -> "Preparation":
        """Envelope of the band, its principal components, and no embedding.

        Parameters
        ----------
        **changes : dict
            Parameters that differ from it.
        """
        return Preparation(**{"envelope": True, "n_embeddings": 1, **changes})

    @classmethod
    def standardized(cls, **changes: Any) -> "Preparation":
        """Z-scores and nothing else, for fMRI.

        Parameters
        ----------
        **changes : dict
            Parameters that differ from it.
        """
        nothing: dict[str, Any] = dict.fromkeys(("l_freq", "h_freq", "sfreq", "n_components"))
        return Preparation(**{**nothing, "n_embeddings": 1, **changes})

    @classmethod
    def as_is(cls) -> "Preparation":
        """Nothing at all, for data prepared elsewhere."""
        return cls.standardized(standardize=False)

    @property
    def aligns(self) -> bool:
        """Whether recordings are aligned to a mean covariance."""
        return self.align in ALIGNED_TO_MEAN

    @property
    def n_lost(self) -> int:
        """Samples the embedding takes off each end of a good span."""
        return self.n_embeddings // 2

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters by name."""
        return {f.name: getattr(self, f.name) for f in fields(Preparation)}


@dataclass(frozen=True, eq=False)
class FittedPreparation(Preparation):
    """A preparation with what was fitted to data, ready for new recordings.

    It has all parameters of `Preparation`, and:

    Parameters
    ----------
    ch_names_ : tuple of str
        Channels it was fitted to, in their order.
    components_ : array, shape (n_channels * n_embeddings, n_features) | None
        Principal components of the embedded channels; column ``c * n_embeddings + j`` of the
        embedding is channel ``c`` at lag ``n_embeddings // 2 - j``.
    eigenvalues_ : array, shape (n_features,) | None
        Their eigenvalues: sums of squares, not divided by the number of samples.
    explained_variance_ : float
        Share of the variance that the components explain.
    rank_ : int
        Number of independent channels, after alignment where there is one.
    sfreq_ : float
        Sampling rate of the features in hertz.
    template_ : array, shape (n_channels * n_embeddings, n_channels * n_embeddings) | None
        With ``align="signs"``: covariance of the embedded channels to which the signs of each
        recording's channels are matched before anything else is done to its standardized
        channels. Columns as those of the embedding.
    spatial_components_ : array, shape (n_channels, n_inputs) | None
        Components of the channels, which are standardized and embedded in their place.
        ``components_`` has ``n_inputs * n_embeddings`` rows then.
    channels_from_ : str
        What the channels are and how to make them, for errors about wrong ones. Empty where the
        names say it.
    band_ : tuple of float | None
        Pass band in hertz of the data it was fitted to, where they had been filtered before.
    aligned_to_ : array, shape (n_channels, n_channels) | None
        With ``align="euclidean"`` or ``"riemannian"``: the mean covariance of the standardized
        channels, which each recording is given.
    grouped_ : bool
        Whether several recordings were aligned together.
    """

    ch_names_: tuple[str, ...] = ()
    components_: np.ndarray | None = field(default=None, repr=False)
    eigenvalues_: np.ndarray | None = field(default=None, repr=False)
    explained_variance_: float = 1.0
    rank_: int = 0
    sfreq_: float = 0.0
    template_: np.ndarray | None = field(default=None, repr=False)
    spatial_components_: np.ndarray | None = field(default=None, repr=False)
    channels_from_: str = ""
    band_: tuple[float, float] | None = None
    aligned_to_: np.ndarray | None = field(default=None, repr=False)
    grouped_: bool = False

    def _check_align(self) -> None:
        if self.aligns != (self.aligned_to_ is not None):
            raise ValueError(
                f"align={self.align!r} and {'no' if self.aligned_to_ is None else 'an'} "
                'aligned_to_ do not go together; align="euclidean" and "riemannian" need the mean '
                "that was fitted, and nothing else has one"
            )
        if self.aligns and self.spatial_components_ is not None:
            raise ValueError(
                f"align={self.align!r} cannot be given with spatial_components_, which are of "
                "channels as they are; leave align=None"
            )
        if (self.align == "signs") != (self.template_ is not None):
            raise ValueError(
                f'align="signs" and template_ go together, got align={self.align!r} and '
                f"{'no' if self.template_ is None else 'a'} template_; give both or none"
            )
        if self.align != "signs":
            super()._check_align()

    @property
    def n_inputs_(self) -> int:
        """Number of signals that are embedded: channels, or their spatial components."""
        spatial = self.spatial_components_
        return len(self.ch_names_) if spatial is None else spatial.shape[1]

    @property
    def n_features_(self) -> int:
        """Number of features."""
        if self.components_ is not None:
            return self.components_.shape[1]
        return self.n_inputs_ * self.n_embeddings


def check_rate(sfreq: float, h_freq: float, name: str) -> None:
    """Check that a sampling rate can carry a pass band."""
    if h_freq >= sfreq / 2:
        raise ValueError(
            f"{name}={sfreq:g} Hz is too low for h_freq={h_freq:g} Hz: the rate must be above "
            f"{2 * h_freq:g} Hz; lower h_freq, as in Preparation(h_freq={0.4 * sfreq:g}), or "
            "set it to None"
        )


def preparation_content(preparation: FittedPreparation) -> dict[str, Any]:
    """Put what a fitted preparation holds into the form that files take."""
    names = [f.name for f in fields(FittedPreparation) if f.name not in preparation.settings]
    fitted = {name: getattr(preparation, name) for name in names}
    fitted["ch_names_"] = list(fitted["ch_names_"])
    return {"settings": preparation.settings, "fitted": fitted}


def preparation_from(content: dict[str, Any]) -> FittedPreparation:
    """Make a fitted preparation of what a file holds."""
    settings, fitted = dict(content["settings"]), dict(content["fitted"])
    for name in ("envelope", "whiten", "standardize"):
        settings[name] = bool(settings[name])
    fitted["ch_names_"] = tuple(fitted["ch_names_"])
    if fitted["band_"] is not None:
        fitted["band_"] = tuple(float(edge) for edge in fitted["band_"])
    fitted["grouped_"] = bool(fitted["grouped_"])
    return FittedPreparation(**settings, **fitted)
