"""From covariances of features back to channels and lags.

Column ``c * n_lags + j`` of the embedding is channel ``c`` at lag ``n_lags // 2 - j``, as in
`embedding`. Features are projections of the embedding, each divided by its standard deviation;
here both are undone. Where spatial components of the channels are embedded in their place, these
are undone as well. Where recordings were aligned, channels are those of the group's mean, or with
the map of a recording its own.
"""

import numpy as np
from scipy.optimize import nnls

from .covariance_alignment import Alignment
from .settings import FittedPreparation


def feature_filters(
    preparation: FittedPreparation, alignment: Alignment | None = None
) -> np.ndarray:
    """Weights by which the embedded channels become features.

    Shapes: returns ``filters`` (n_channels * n_lags, n_features).
    """
    filters = input_filters(preparation)
    if alignment is not None:
        return _mixed(alignment.to_mean.T, filters, preparation)
    if preparation.spatial_components_ is None:
        return filters
    components, scales = _spatial(preparation)
    return _mixed(components / scales, filters, preparation)


def input_filters(preparation: FittedPreparation) -> np.ndarray:
    """Weights by which what is embedded becomes features: channels, or their spatial components.

    Shapes: returns ``filters`` (n_inputs * n_lags, n_features).
    """
    directions, scales = _directions_and_scales(preparation)
    return directions / scales


def input_patterns(preparation: FittedPreparation) -> np.ndarray:
    """Tell what one unit of a feature is in what is embedded; parameters as `input_filters`."""
    directions, scales = _directions_and_scales(preparation)
    return directions * scales


def spatial_patterns(
    preparation: FittedPreparation, alignment: Alignment | None = None
) -> np.ndarray:
    """Tell what one unit of what is embedded is in the channels.

    Shapes: returns ``patterns`` (n_channels, n_inputs).
    """
    if alignment is not None:
        return alignment.from_mean
    if preparation.spatial_components_ is None:
        return np.eye(len(preparation.ch_names_))
    components, scales = _spatial(preparation)
    return components * scales


def _spatial(preparation):
    """Spatial components, and the standard deviation of each, (n_channels, n_inputs), (n_inputs,).

    Channels have variance 1. That of the components is not known; see `_falling`.
    """
    components = np.asarray(preparation.spatial_components_, float)
    if not preparation.standardize:
        return components, np.ones(components.shape[1])
    return components, np.sqrt(_falling(components))


def _mixed(mixing, by_input, preparation):
    """From inputs and lags to channels and lags, shape (n_channels * n_lags, n_features)."""
    n_lags = preparation.n_embeddings
    by_lag = by_input.reshape(mixing.shape[1], n_lags, -1)
    return np.einsum("ci,ijd->cjd", mixing, by_lag).reshape(len(mixing) * n_lags, -1)


def feature_patterns(
    preparation: FittedPreparation, alignment: Alignment | None = None
) -> np.ndarray:
    """Tell what one unit of a feature is in the embedded channels.

    Shapes: returns ``patterns`` (n_channels * n_lags, n_features).
    """
    patterns = input_patterns(preparation)
    if preparation.spatial_components_ is None and alignment is None:
        return patterns
    return _mixed(spatial_patterns(preparation, alignment), patterns, preparation)


def _directions_and_scales(preparation):
    """Orthonormal directions, and how much of each makes a feature of 1."""
    if preparation.components_ is None:
        # Embedded channels that were standardized once are so again, but for the ends of spans.
        n = preparation.n_features_
        deviations = np.sqrt(_channel_variances(preparation))
        return np.eye(n), np.repeat(deviations, preparation.n_embeddings)
    components = np.asarray(preparation.components_, float)
    norms = np.linalg.norm(components, axis=0)  # not 1 where components are whitened
    directions = components / norms
    if not preparation.standardize:
        return directions, 1 / norms
    return directions, np.sqrt(_variances(preparation, directions, norms))


def _channel_variances(preparation):
    """Variances of what is embedded: 1 where it was standardized and not aligned after that."""
    if preparation.aligned_to_ is None or not preparation.standardize:
        return np.ones(preparation.n_inputs_)
    return np.diag(preparation.aligned_to_)


def _variances(preparation, directions, norms):
    """Mean variance of each component before it was standardized, about ``(n_features,)``.

    Variances of all components together, with those that were left out, are those of the channels
    times the number of lags.
    """
    total = preparation.n_embeddings * _channel_variances(preparation).sum()
    relative = None
    if preparation.eigenvalues_ is not None:
        relative = np.asarray(preparation.eigenvalues_, float)
    elif preparation.whiten:
        relative = norms**-2
    if relative is not None:
        return relative * (total * preparation.explained_variance_ / relative.sum())
    return _falling(directions)


def _falling(directions):
    """Variances of components that came without eigenvalues, as some published ones do.

    What is known is that they fall, and that those of each row add up to the variance 1, or less.
    """
    falling = np.triu(np.ones((directions.shape[1],) * 2))
    steps, _ = nnls(directions**2 @ falling, np.ones(len(directions)))
    return np.maximum(falling @ steps, 1e-6)


def embedded_covariances(covariances: np.ndarray, patterns: np.ndarray) -> np.ndarray:
    """Covariances of the embedded channels.

    Shapes: ``covariances`` (..., n_features, n_features), ``patterns`` (n_channels *
    n_lags, n_features); returns ``embedded`` (..., n_channels * n_lags, n_channels *
    n_lags).
    """
    return patterns @ covariances @ patterns.T


def zero_lag(embedded: np.ndarray, n_lags: int) -> np.ndarray:
    """Covariances of the channels at the same time, from the middle of the embedding.

    Shapes: ``embedded`` (..., n_channels * n_lags, n_channels * n_lags); returns
    ``covariances`` (..., n_channels, n_channels).
    """
    center = slice(n_lags // 2, None, n_lags)
    return embedded[..., center, center]


def lag_mean(embedded: np.ndarray, n_lags: int) -> np.ndarray:
    """Mean covariances of the channels over all pairs of lags.

    Shapes: ``embedded`` (..., n_channels * n_lags, n_channels * n_lags); returns
    ``covariances`` (..., n_channels, n_channels).
    """
    blocks = _blocks(embedded, n_lags)
    means = blocks.mean(axis=(-3, -1))
    same = np.arange(means.shape[-1])
    variances = np.diagonal(blocks, axis1=-3, axis2=-1).mean(axis=-1)
    means[..., same, same] = variances[..., same, same]
    return means


def by_lag(embedded: np.ndarray, n_lags: int) -> np.ndarray:
    """Autocovariances of the channels, from all pairs of lags with one difference.

    Shapes: ``embedded`` (..., n_channels * n_lags, n_channels * n_lags); returns
    ``autocovariances`` (..., n_channels, n_channels, 2 * n_lags - 1).
    """
    blocks = _blocks(embedded, n_lags)
    means = [
        np.diagonal(blocks, offset=lag, axis1=-3, axis2=-1).mean(axis=-1)
        for lag in range(1 - n_lags, n_lags)
    ]
    return np.stack(means, axis=-1)


def _blocks(embedded, n_lags):
    """View with an axis for the lag after that for the channel."""
    n_channels = embedded.shape[-1] // n_lags
    return embedded.reshape(*embedded.shape[:-2], n_channels, n_lags, n_channels, n_lags)
