"""From recordings to the features the model is trained on.

The order is that of the field: filter, resample, envelope, standardize, embed, project,
standardize. What is fitted here (the principal components) stays with the model and is
applied to every recording the model meets later.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from mne.utils import ProgressBar, logger, verbose

from ._utils._mne import warn
from ._utils.check import listed, plural
from ._utils.docs import fill_doc
from .embedding import RANK_TOLERANCE, embed, lagged_products, principal_components, project
from .recording import as_list, to_recordings
from .settings import FittedPreparation, Preparation
from .signals import Signals, prepare_signals, standardize
from .timeline import TimeMap

# Components kept where nobody says how many, as in most published work.
AUTO_COMPONENTS = 80


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
        n_spans, seconds = sum(map(len, self.spans)), self.n_samples / self.sfreq
        return "\n".join(
            [
                f"PreparedData: {plural(len(self), 'recording')} in {plural(n_spans, 'span')}",
                f"  channels   {len(self.ch_names)} ({listed(self.ch_names)})",
                f"  features   {self.n_features}",
                f"  samples    {self.n_samples:,} at {self.sfreq:g} Hz ({seconds:.1f} s)",
                f"  left out   {sum(self.seconds_left_out):.1f} s",
            ]
        )

    __repr__ = __str__


def as_prepared(inst: Any) -> PreparedData | None:
    """Take PreparedData, or a list of them, as one; None if the input is not prepared."""
    entries = as_list(inst)
    n_prepared = sum(isinstance(entry, PreparedData) for entry in entries)
    if n_prepared == 0:
        return None
    if n_prepared < len(entries):
        raise TypeError(
            "inst must be a list of one kind, but PreparedData are mixed with others; prepare "
            "all recordings in one call"
        )
    first = entries[0]
    if any(other.preparation is not first.preparation for other in entries):
        raise ValueError(
            "inst: these PreparedData were fitted one by one, so their features differ; "
            "prepare all recordings in one call, or with the first one's preparation: "
            "prepare(recordings, prepared.preparation)"
        )
    return PreparedData(
        [data for entry in entries for data in entry.data],
        first.preparation,
        [time_map for entry in entries for time_map in entry.time_maps],
        [name for entry in entries for name in entry.names],
    )


def _fit(signals: Sequence[Signals], preparation: Preparation) -> FittedPreparation:
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


def _apply(one: Signals, fitted: FittedPreparation) -> tuple[np.ndarray, TimeMap]:
    """Embed and project one recording."""
    n_lags = fitted.n_embeddings
    time_map = one.time_map(fitted.n_lost)
    if fitted.components_ is not None:
        spans = [project(x, fitted.components_, n_lags) for x in one.spans]
    else:
        spans = [embed(x, n_lags) if n_lags > 1 else x for x in one.spans]
    if fitted.components_ is not None or n_lags > 1:
        standardize(spans, fitted.standardize)
    return np.concatenate(spans) if len(spans) > 1 else spans[0], time_map


def _same_rate(signals):
    """Check that recordings that keep their rates have the same."""
    first = signals[0].recording
    for one in signals[1:]:
        rate = one.recording.timeline.sfreq
        if rate != first.timeline.sfreq:
            raise ValueError(
                f"preparation.sfreq is None, so rates stay as they are, but {first.label} has "
                f"{first.timeline.sfreq:g} Hz and {one.recording.label} {rate:g} Hz; set a "
                "rate, as in Preparation(sfreq=250)"
            )


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
    %(inst_to_prepare)s
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
    if any(isinstance(entry, PreparedData) for entry in as_list(inst)):
        raise TypeError(
            "inst is PreparedData, which are prepared already; pass them to fit_hmm or "
            "hmm.predict as they are"
        )
    recordings = to_recordings(
        inst,
        picks=picks,
        ch_names=None if fitted is None else fitted.ch_names_,
        reject_by_annotation=reject_by_annotation,
        sfreq=sfreq,
    )
    signals = [
        prepare_signals(recording, preparation, n_jobs)
        for recording in ProgressBar(recordings, mesg="Preparing")
    ]
    n_short = sum(one.n_short for one in signals)
    if n_short:
        warn(
            f"{plural(n_short, 'good span')} shorter than the {preparation.n_embeddings} samples "
            "of the embedding left out"
        )
    silent = [one for one in signals if one.n_silent]
    if silent:
        seconds = sum(one.n_silent / one.recording.timeline.sfreq for one in silent)
        where = listed((one.recording.label for one in silent), 4)
        warn(
            f"{seconds:.2f} s without any signal (all channels hold one value, as in padding or "
            f"lost packets) left out in {where}"
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
