"""From signals to features: principal components over all recordings, then each by itself."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from mne.utils import logger

from .._utils.checks import listed, plural
from .._utils.mne_private import warn
from ..io.recording import Recording
from ..io.timeline import TimeMap
from .covariance_alignment import Alignment
from .embedding import (
    RANK_TOLERANCE,
    LaggedMoments,
    embed,
    lagged_moments,
    principal_components,
    project,
)
from .settings import FittedPreparation, Preparation
from .sign_search import flips_to_template
from .signals import Scale, Signals, standardize

# Components kept where nobody says how many, as in most published work.
N_COMPONENTS_IF_AUTO = 80


class LeftOut(NamedTuple):
    """What of a recording is no part of the features, besides what is annotated as bad."""

    label: str
    n_short: int
    """Good spans that were too short."""
    seconds_silent: float
    """Seconds in which no channel moved."""


def left_out_of(signals: Signals) -> LeftOut:
    """Count what of a recording's signals is left out."""
    recording = signals.recording
    return LeftOut(recording.label, signals.n_short, signals.n_silent / recording.timeline.sfreq)


def warn_of_left_out(left_out: Sequence[LeftOut], preparation: Preparation) -> None:
    """Warn of spans that were too short, and of silence, in all recordings."""
    n_short = sum(entry.n_short for entry in left_out)
    if n_short:
        warn(
            f"{plural(n_short, 'good span')} shorter than the {preparation.n_embeddings} samples "
            "of the embedding left out"
        )
    silent = [entry for entry in left_out if entry.seconds_silent]
    if silent:
        seconds = sum(entry.seconds_silent for entry in silent)
        where = listed((entry.label for entry in silent), 4)
        warn(
            f"{seconds:.2f} s without any signal (all channels hold one value, as in padding or "
            f"lost packets) left out in {where}"
        )


def moments_of(signals: Signals, preparation: Preparation) -> LaggedMoments:
    """Sum the products of one recording; those of all recordings say what the components are."""
    n_lags = 1 if preparation.n_components is None else preparation.n_embeddings
    return lagged_moments(signals.spans, n_lags)


def fit_components(
    products: np.ndarray,
    recording: Recording,
    preparation: Preparation,
    *,
    aligned_to: np.ndarray | None = None,
    grouped: bool = False,
) -> FittedPreparation:
    """Find principal components of the sum of all recordings' products.

    Shapes: ``products`` (n_channels * n_lags, n_channels * n_lags), ``aligned_to``
    (n_channels, n_channels).
    """
    ch_names = recording.ch_names
    sfreq = float(recording.timeline.sfreq if preparation.sfreq is None else preparation.sfreq)
    fitted = FittedPreparation(
        **preparation.settings,
        ch_names_=ch_names,
        rank_=_channel_rank(products, len(ch_names)),
        sfreq_=sfreq,
        aligned_to_=aligned_to,
        grouped_=grouped,
    )
    if preparation.n_components is None:
        return fitted
    values, vectors = principal_components(products)
    explained = np.cumsum(values) / np.trace(products)
    n = _n_components(
        preparation.n_components,
        len(values),
        explained,
        len(ch_names),
        preparation.n_embeddings,
    )
    values, vectors = values[:n], vectors[:, :n]
    if preparation.whiten:
        vectors = vectors / np.sqrt(values)
    return replace(
        fitted,
        components_=vectors.astype(np.float32),
        eigenvalues_=values,
        explained_variance_=float(min(explained[n - 1], 1.0)),
    )


def warn_of_rank(fitted: FittedPreparation) -> None:
    """Warn of channels that depend on each other."""
    n_channels = len(fitted.ch_names_)
    if fitted.rank_ < n_channels:
        warn(
            f"The {n_channels} channels have rank {fitted.rank_} (average reference, "
            "signal-space separation, removed components or interpolated channels do that). "
            "Training leaves out the directions in which the data do not vary."
        )


def _channel_rank(products: np.ndarray, n_channels: int) -> int:
    """Count the independent channels, by their covariance at the middle lag."""
    n_lags = len(products) // n_channels
    center = slice(n_lags // 2, None, n_lags)
    values = np.linalg.eigvalsh(products[center, center])
    return int(np.sum(values > RANK_TOLERANCE * values[-1]))


def _n_components(
    asked: Any, rank: int, explained: np.ndarray, n_channels: int, n_lags: int
) -> int:
    """Count the components that ``n_components`` asks for, and check that they are there."""
    if asked == "auto":
        return min(N_COMPONENTS_IF_AUTO, rank)
    if isinstance(asked, (float, np.floating)):
        return min(int(np.searchsorted(explained, asked - 1e-12)) + 1, rank)
    if asked > rank:
        raise ValueError(
            f"n_components={asked} is more than the {rank} dimensions that {n_channels} "
            f"channels × {n_lags} lags have here; pass n_components≤{rank} or more channels"
        )
    return int(asked)


def features_of(
    signals: Signals, fitted: FittedPreparation, alignment: Alignment | None = None
) -> tuple[np.ndarray, TimeMap]:
    """Align, embed and project one recording.

    Shapes: returns ``features`` (n_samples, n_features).
    """
    spans, _ = _embedded(signals, fitted, alignment)
    time_map = signals.time_map(fitted.n_lost)
    return np.concatenate(spans) if len(spans) > 1 else spans[0], time_map


class RecordingStatistics(NamedTuple):
    """What the preparation takes from a recording itself."""

    channels: Scale = Scale()
    """Z-scores of the channels."""
    flips: Any = 1.0
    """Signs of the channels, shape (n_channels,); 1 without a template."""
    alignment: Alignment | None = None
    """The map to the mean of all recordings, where they are aligned."""
    inputs: Scale = Scale()
    """Z-scores of the spatial components."""
    features: Scale = Scale()
    """Z-scores of the features."""


def statistics_of(
    signals: Signals, fitted: FittedPreparation, alignment: Alignment | None = None
) -> RecordingStatistics:
    """Find what a preparation takes from one recording, for others to be prepared alike."""
    return _embedded(signals, fitted, alignment)[1]


def _embedded(
    signals: Signals, fitted: FittedPreparation, alignment: Alignment | None
) -> tuple[list[np.ndarray], RecordingStatistics]:
    """Features of each span, and the statistics by which they were made."""
    n_lags = fitted.n_embeddings
    inputs, statistics = _inputs(signals, fitted, alignment)
    if fitted.components_ is not None:
        spans = [project(x, fitted.components_, n_lags) for x in inputs]
    else:
        spans = [embed(x, n_lags) if n_lags > 1 else x for x in inputs]
    if fitted.components_ is not None or n_lags > 1 or alignment is not None:
        scale = standardize(spans, fitted.standardize)
        statistics = statistics._replace(features=scale)
    return spans, statistics


def _inputs(
    signals: Signals, fitted: FittedPreparation, alignment: Alignment | None
) -> tuple[list[np.ndarray], RecordingStatistics]:
    """Make what is embedded: aligned channels, or spatial components of them."""
    spans, statistics = signals.spans, RecordingStatistics(signals.scale, alignment=alignment)
    if alignment is not None:
        spans = [alignment.apply(x) for x in spans]
    if fitted.template_ is not None:
        flips, before, after = flips_to_template(spans, fitted.template_, fitted.n_embeddings)
        logger.info(
            f"{signals.recording.label}: {int((flips < 0).sum())} of "
            f"{plural(len(flips), 'channel')} flipped; similarity to the template {before:.2f} "
            f"before and {after:.2f} after"
        )
        spans = [x * flips.astype(np.float32) for x in spans]
        statistics = statistics._replace(flips=flips)
    if fitted.spatial_components_ is not None:
        components = np.asarray(fitted.spatial_components_, np.float32)
        spans = [x @ components for x in spans]
        statistics = statistics._replace(inputs=standardize(spans, fitted.standardize))
    return spans, statistics
