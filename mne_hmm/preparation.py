"""From recordings to the features the model is trained on.

The order is that of the field: filter, resample, envelope, standardize, embed, project,
standardize. What is fitted here (the principal components) stays with the model and is
applied to every recording the model meets later.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from typing import Any

import mne
import numpy as np
from mne.utils import ProgressBar, logger, verbose, warn

from ._utils.check import check_number, check_option, listed, plural
from ._utils.docs import fill_doc
from .embedding import (
    RANK_TOLERANCE,
    embed,
    lagged_products,
    principal_components,
    project,
)
from .recording import Recording, to_recordings
from .timeline import Span, TimeMap

# Components kept where nobody says how many, as in most published work.
AUTO_COMPONENTS = 80

# Sampling rates relate to each other as whole numbers up to this size. Where they do not
# quite, the time map still uses the rate that resampling really had.
MOST_DOWN = 10_000


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
    align : None
        Reserved for aligning recordings of a group; only None for now.
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
    prepare : Applies a preparation.

    Notes
    -----
    The default is the preparation of the time-delay embedded HMM :footcite:`VidaurreEtAl2018`.

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
    align: None = None
    n_embeddings: int = 15
    n_components: str | int | float | None = "auto"
    whiten: bool = False
    standardize: bool = True

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)

    def __post_init__(self):
        for name in ("l_freq", "h_freq", "sfreq"):
            value = getattr(self, name)
            if value is not None:
                value = check_number(value, name, rule="None or a number above 0 Hz", above=0)
                object.__setattr__(self, name, value)
        for name in ("envelope", "whiten", "standardize"):
            check_option(getattr(self, name), name, (True, False))
        if self.align is not None:
            raise NotImplementedError(
                f"align={self.align!r}: aligning recordings is not part of this version of "
                "mne-hmm; leave align=None"
            )
        check_number(self.n_embeddings, "n_embeddings", rule="a whole number ≥ 1", low=1, integer=True)
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
            _check_rate(self.sfreq, self.h_freq, "sfreq")
        self._check_n_components()

    def _check_n_components(self):
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
    def time_delay_embedded(cls, **changes) -> "Preparation":
        """Default preparation: 1-45 Hz, 250 Hz, 15 lags, 80 components.

        Parameters
        ----------
        **changes : dict
            Parameters that differ from it.
        """
        return Preparation(**changes)

    @classmethod
    def amplitude_envelope(cls, **changes) -> "Preparation":
        """Envelope of the band, its principal components, and no embedding.

        Parameters
        ----------
        **changes : dict
            Parameters that differ from it.
        """
        return Preparation(**{"envelope": True, "n_embeddings": 1, **changes})

    @classmethod
    def standardized(cls, **changes) -> "Preparation":
        """Z-scores and nothing else, for fMRI.

        Parameters
        ----------
        **changes : dict
            Parameters that differ from it.
        """
        nothing: dict[str, Any] = dict(
            l_freq=None, h_freq=None, sfreq=None, n_embeddings=1, n_components=None
        )
        return Preparation(**{**nothing, **changes})

    @classmethod
    def as_is(cls) -> "Preparation":
        """Nothing at all, for data prepared elsewhere."""
        return cls.standardized(standardize=False)

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
        Number of independent channels.
    sfreq_ : float
        Sampling rate of the features in hertz.
    """

    ch_names_: tuple[str, ...] = ()
    components_: np.ndarray | None = field(default=None, repr=False)
    eigenvalues_: np.ndarray | None = field(default=None, repr=False)
    explained_variance_: float = 1.0
    rank_: int = 0
    sfreq_: float = 0.0

    @property
    def n_features_(self) -> int:
        """Number of features."""
        if self.components_ is not None:
            return self.components_.shape[1]
        return len(self.ch_names_) * self.n_embeddings


@dataclass(frozen=True, eq=False)
class PreparedData:
    """Features of one or more recordings, and the map back to their times.

    Made by `prepare`; goes wherever recordings go.

    Parameters
    ----------
    data : list of array, shape (n_samples, n_features)
        Features of each recording in float32, its spans one after another.
    preparation : FittedPreparation
        What made them.
    time_maps : list of TimeMap
        Where they lie in time, per recording.
    names : list of str
        What to call the recordings.
    n_left_out : list of int
        Samples of each recording, on its own grid, that no feature speaks for.
    """

    data: list[np.ndarray] = field(repr=False)
    preparation: FittedPreparation
    time_maps: list[TimeMap] = field(repr=False)
    names: list[str] = field(default_factory=list)

    @property
    def spans(self) -> list[list[tuple[int, int]]]:
        """First row, and the one after the last, of each span of each recording."""
        return [[span.rows for span in time_map.spans] for time_map in self.time_maps]

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.data[0].shape[1]

    @property
    def n_samples(self) -> int:
        """Number of samples of all recordings."""
        return sum(map(len, self.data))

    @property
    def ch_names(self) -> list[str]:
        """Names of the channels the features come from."""
        return list(self.preparation.ch_names_)

    @property
    def sfreq(self) -> float:
        """Sampling rate of the features in hertz."""
        return self.preparation.sfreq_

    @property
    def times(self) -> list[np.ndarray]:
        """Seconds from each recording's first sample to each of its rows."""
        return [time_map.times for time_map in self.time_maps]

    @property
    def seconds_left_out(self) -> list[float]:
        """Seconds of each recording that no feature speaks for."""
        out = []
        for time_map in self.time_maps:
            spoken_for = sum(stop - start for start, stop in time_map.modeled())
            out.append((time_map.timeline.n_times - spoken_for) / time_map.timeline.sfreq)
        return out

    def __len__(self):
        return len(self.data)

    def __str__(self):
        n_spans = sum(map(len, self.spans))
        return "\n".join(
            [
                f"PreparedData: {plural(len(self), 'recording')} in {plural(n_spans, 'span')}",
                f"  channels   {len(self.ch_names)} ({listed(self.ch_names)})",
                f"  features   {self.n_features}",
                f"  samples    {self.n_samples:,} at {self.sfreq:g} Hz "
                f"({self.n_samples / self.sfreq:.1f} s)",
                f"  left out   {sum(self.seconds_left_out):.1f} s",
            ]
        )

    __repr__ = __str__


def _check_rate(sfreq, h_freq, name):
    if h_freq >= sfreq / 2:
        raise ValueError(
            f"{name}={sfreq:g} Hz is too low for h_freq={h_freq:g} Hz: the rate must be above "
            f"{2 * h_freq:g} Hz; lower h_freq, as in Preparation(h_freq={0.4 * sfreq:g}), or "
            "set it to None"
        )


@dataclass
class _Signals:
    """Good spans of one recording after filtering and resampling."""

    recording: Recording
    spans: list[np.ndarray]
    """Signals of each span in float32, shape (n_samples, n_channels)."""
    limits: list[tuple[int, int]]
    origins: list[int]
    firsts: list[int]
    ratio: Fraction
    n_short: int = 0

    def time_map(self, n_lost):
        spans, row = [], 0
        for x, limits, origin, first in zip(
            self.spans, self.limits, self.origins, self.firsts, strict=True
        ):
            n_rows = len(x) - 2 * n_lost
            spans.append(
                Span(
                    (row, row + n_rows),
                    limits,
                    origin,
                    first + n_lost,
                    self.ratio.numerator,
                    self.ratio.denominator,
                )
            )
            row += n_rows
        return TimeMap(self.recording.timeline, tuple(spans))


def _resampling(sfreq, target):
    """Resampled samples per sample, as a ratio of whole numbers."""
    if target is None:
        return Fraction(1)
    exact = Fraction(target) / Fraction(sfreq)
    return (1 / (1 / exact).limit_denominator(MOST_DOWN)) if exact < 1 else exact.limit_denominator(MOST_DOWN)


def _resampled(x, ratio, n_jobs):
    """Resample exactly: sample j lies at j / ratio."""
    if ratio == 1:
        return x
    up, down = ratio.numerator, ratio.denominator
    n_out = (x.shape[1] - 1) * up // down + 1
    # With whole multiples of `down` samples, padding included, the Fourier method neither
    # stretches nor shifts. The padding keeps the ends from running into each other.
    before = -(-100 // down) * down
    after = before + -x.shape[1] % down
    x = np.pad(x, ((0, 0), (before, after)), mode="reflect", reflect_type="odd")
    y = mne.filter.resample(x, up, down, npad=0, n_jobs=n_jobs, verbose="ERROR")
    return y[:, before * up // down :][:, :n_out]


def _prepare_signals(recording, preparation, n_jobs) -> _Signals:
    """Filter, resample, envelope and standardize one recording; keep its good spans."""
    sfreq = recording.timeline.sfreq
    if preparation.h_freq is not None:
        _check_rate(sfreq, preparation.h_freq, f"{recording.label}: sampling rate")
    ratio = _resampling(sfreq, preparation.sfreq)
    signals = _Signals(recording, [], [], [], [], ratio)
    low, high = np.inf, -np.inf  # of each channel, before filtering
    for origin, end in recording.pieces:
        spans = [(a, b) for a, b in recording.spans if origin <= a < end]
        if not spans:
            continue
        x = recording.read(origin, end)
        _check_finite(x, recording, origin)
        for a, b in spans:
            low = np.minimum(low, x[:, a - origin : b - origin].min(1))
            high = np.maximum(high, x[:, a - origin : b - origin].max(1))
        if preparation.l_freq is not None or preparation.h_freq is not None:
            x = mne.filter.filter_data(
                x, sfreq, preparation.l_freq, preparation.h_freq, n_jobs=n_jobs, verbose="WARNING"
            )
        x = _resampled(x, ratio, n_jobs)
        if preparation.envelope:
            x = _envelope(x)
        for a, b in spans:
            first = -(-(a - origin) * ratio.numerator // ratio.denominator)
            last = (b - 1 - origin) * ratio.numerator // ratio.denominator
            if last - first + 1 < preparation.n_embeddings:
                signals.n_short += 1
                continue
            signals.spans.append(x[:, first : last + 1].T)
            signals.limits.append((a, b))
            signals.origins.append(origin)
            signals.firsts.append(first)
    if not signals.spans:
        raise ValueError(_no_span_message(recording, preparation))
    _check_flat(high - low, recording)
    _standardize(signals.spans, preparation.standardize, recording)
    return signals


def _envelope(x):
    from scipy.fft import next_fast_len
    from scipy.signal import hilbert

    n = x.shape[1]
    return np.abs(hilbert(x, N=next_fast_len(n), axis=1)[:, :n])


def _check_finite(x, recording, origin):
    finite = np.isfinite(x)
    if finite.all():
        return
    channels = np.flatnonzero(~finite.all(1))
    sample = origin + int(np.argmin(finite.all(0)))
    names = [recording.ch_names[c] for c in channels]
    raise ValueError(
        f"{recording.label} holds NaN or infinite values in {listed(names)}, first at "
        f"{sample / recording.timeline.sfreq:.3f} s; annotate such spans as bad "
        '("BAD_nan"), or leave the channels out (picks=..., or raw.info["bads"])'
    )


def _check_flat(extent, recording):
    flat = [name for name, e in zip(recording.ch_names, extent, strict=True) if e == 0]
    if flat:
        raise ValueError(
            f"{recording.label} is flat in {listed(flat)} (one value in all good samples); mark "
            'such channels as bad (raw.info["bads"]), interpolate them, or leave them out (picks=...)'
        )


def _no_span_message(recording, preparation):
    n_good = sum(b - a for a, b in recording.spans)
    total = recording.timeline.n_times / recording.timeline.sfreq
    if n_good == 0:
        return (
            f"{recording.label} has no good span: all of its {total:.1f} s are annotated as bad; "
            "check raw.annotations, or pass reject_by_annotation=False"
        )
    return (
        f"{recording.label} has no good span long enough: {plural(len(recording.spans), 'span')}, "
        f"{n_good / recording.timeline.sfreq:.3f} s together, but an embedding of "
        f"{preparation.n_embeddings} lags needs {preparation.n_embeddings} samples in a row; "
        "check raw.annotations, or use fewer lags"
    )


def _standardize(spans, standardize, recording=None):
    """Z-score all spans of a recording together, and make them float32, in place."""
    if not standardize:
        spans[:] = [np.ascontiguousarray(x, np.float32) for x in spans]
        return
    n = sum(map(len, spans))
    mean = sum(x.sum(0, dtype=float) for x in spans) / n
    spread = np.sqrt(sum(np.square(x - mean).sum(0) for x in spans) / n)
    if recording is not None:
        _check_flat(np.where(spread > 1e-12 * np.abs(mean), spread, 0.0), recording)
    spans[:] = [((x - mean) / spread).astype(np.float32) for x in spans]


def _fit(signals: Sequence[_Signals], preparation: Preparation) -> FittedPreparation:
    """Principal components over all recordings together."""
    n_lags = preparation.n_embeddings
    recording = signals[0].recording
    ch_names = recording.ch_names
    sfreq = float(recording.timeline.sfreq if preparation.sfreq is None else preparation.sfreq)
    fitted = FittedPreparation(
        **preparation.settings, ch_names_=ch_names, rank_=len(ch_names), sfreq_=sfreq
    )
    lags = 1 if preparation.n_components is None else n_lags
    products = np.zeros((len(ch_names) * lags,) * 2)
    for span in (x for one in signals for x in one.spans):
        products += lagged_products(span, lags)
    fitted = replace(fitted, rank_=_channel_rank(products, lags))
    if fitted.rank_ < len(ch_names):
        warn(
            f"The {len(ch_names)} channels have rank {fitted.rank_} (average reference, "
            "signal-space separation, removed components or interpolated channels do that). "
            "Training leaves out the directions in which the data do not vary."
        )
    if preparation.n_components is None:
        return fitted
    values, vectors = principal_components(products)
    explained = np.cumsum(values) / np.trace(products)
    n = _n_components(preparation.n_components, len(values), explained, len(ch_names), n_lags)
    values, vectors = values[:n], vectors[:, :n]
    if preparation.whiten:
        vectors = vectors / np.sqrt(values)
    return replace(
        fitted,
        components_=vectors.astype(np.float32),
        eigenvalues_=values,
        explained_variance_=float(min(explained[n - 1], 1.0)),
    )


def _channel_rank(products, n_lags):
    center = slice(n_lags // 2, None, n_lags)
    values = np.linalg.eigvalsh(products[center, center])
    return int(np.sum(values > RANK_TOLERANCE * values[-1]))


def _n_components(asked, rank, explained, n_channels, n_lags):
    if asked == "auto":
        return min(AUTO_COMPONENTS, rank)
    if isinstance(asked, (float, np.floating)):
        return min(int(np.searchsorted(explained, asked - 1e-12)) + 1, rank)
    if asked > rank:
        raise ValueError(
            f"n_components={asked} is more than the {rank} dimensions that {n_channels} "
            f"channels × {n_lags} lags have here; pass n_components≤{rank} or more channels"
        )
    return int(asked)


def _apply(one: _Signals, fitted: FittedPreparation) -> tuple[np.ndarray, TimeMap]:
    """Embed and project one recording."""
    n_lags = fitted.n_embeddings
    time_map = one.time_map(fitted.n_lost)
    if fitted.components_ is not None:
        spans = [project(x, fitted.components_, n_lags) for x in one.spans]
    else:
        spans = [embed(x, n_lags) if n_lags > 1 else x for x in one.spans]
    if fitted.components_ is not None or n_lags > 1:
        _standardize(spans, fitted.standardize)
    return np.concatenate(spans) if len(spans) > 1 else spans[0], time_map


def _same_rate(signals):
    """Recordings that keep their rates must have the same."""
    first = signals[0].recording
    for one in signals[1:]:
        rate = one.recording.timeline.sfreq
        if rate != first.timeline.sfreq:
            raise ValueError(
                f"preparation.sfreq is None, so rates stay as they are, but {first.label} has "
                f"{first.timeline.sfreq:g} Hz and {one.recording.label} {rate:g} Hz; set a "
                "rate, as in Preparation(sfreq=250)"
            )


def _with_progress(recordings, message) -> Iterator[Recording]:
    yield from ProgressBar(recordings, mesg=message)


@verbose
@fill_doc
def prepare(
    inst: Any,
    preparation: Preparation | None = None,
    *,
    picks: Any = None,
    reject_by_annotation: bool = True,
    sfreq: float | None = None,
    n_jobs: int | None = None,
    verbose: Any = None,
) -> PreparedData:
    """Turn recordings into the features a model is trained on.

    Parameters
    ----------
    %(inst)s
    preparation : Preparation | FittedPreparation | None
        What to do. None is ``Preparation()``, the time-delay embedding of 1-45 Hz. A fitted
        one (``hmm.preparation_``, ``prepared.preparation``) is applied as it is, with its
        channels and components.
    %(picks)s
    %(reject_by_annotation)s
    %(sfreq)s
    %(n_jobs)s
    %(verbose)s

    Returns
    -------
    prepared : PreparedData
        The features, one array per recording.

    Raises
    ------
    ValueError
        If a recording has no good span, holds values that are not finite, is flat in a
        channel, lacks a channel, or is sampled too slowly for ``h_freq``; or if
        ``n_components`` is more than the data have.

    See Also
    --------
    fit_hmm : Prepares and trains in one call.

    Notes
    -----
    Recordings are filtered over their whole length, as :meth:`mne.io.Raw.filter` does by
    default, and only then cut into good spans. Principal components are found over all
    recordings together.

    Examples
    --------
    >>> import mne_hmm
    >>> raw, _ = mne_hmm.simulate_raw(n_channels=6, duration=20., random_state=0)
    >>> prepared = mne_hmm.prepare(raw, mne_hmm.Preparation(n_components=10), verbose=False)
    >>> prepared.data[0].shape
    (4986, 10)
    """
    preparation = Preparation() if preparation is None else preparation
    if not isinstance(preparation, Preparation):
        raise TypeError(
            "preparation must be a Preparation, as in Preparation(h_freq=30), got "
            f"{preparation!r} of type {type(preparation).__name__}"
        )
    fitted = preparation if isinstance(preparation, FittedPreparation) else None
    if fitted is not None and picks is not None:
        raise ValueError(
            f"picks={picks!r} cannot be given with a fitted preparation, which has its own "
            "channels; leave picks out"
        )
    recordings = to_recordings(
        inst,
        picks=picks,
        ch_names=None if fitted is None else fitted.ch_names_,
        reject_by_annotation=reject_by_annotation,
        sfreq=sfreq,
    )
    signals = [
        _prepare_signals(recording, preparation, n_jobs)
        for recording in _with_progress(recordings, "Preparing")
    ]
    n_short = sum(one.n_short for one in signals)
    if n_short:
        warn(
            f"{plural(n_short, 'good span')} shorter than the {preparation.n_embeddings} samples "
            "of the embedding left out"
        )
    if preparation.sfreq is None:
        _same_rate(signals)
    if fitted is None:
        fitted = _fit(signals, preparation)
    elif preparation.sfreq is None and signals[0].recording.timeline.sfreq != fitted.sfreq_:
        raise ValueError(
            f"{signals[0].recording.label} has {signals[0].recording.timeline.sfreq:g} Hz, but the "
            f"model was trained on data at {fitted.sfreq_:g} Hz that were not resampled; "
            f"resample first (raw.resample({fitted.sfreq_:g}))"
        )
    data, time_maps, names = [], [], []
    while signals:  # given free one by one
        one = signals.pop(0)
        features, time_map = _apply(one, fitted)
        data.append(features)
        time_maps.append(time_map)
        names.append(one.recording.label)
    prepared = PreparedData(data, fitted, time_maps, names)
    logger.info(str(prepared))
    return prepared
