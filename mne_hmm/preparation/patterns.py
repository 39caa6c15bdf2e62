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


def input_filters(preparation: FittedPreparation) -> np.ndarray:
    """Weights by which what is embedded becomes features: channels, or their spatial components.

    Shapes: returns ``filters`` (n_inputs * n_lags, n_features).
    """
    directions, scales = _directions_and_scales(preparation)
    return directions / scales


def input_patterns(preparation: FittedPreparation) -> np.ndarray:
    """Get what one unit of a feature is in what is embedded: channels, or their spatial components.

    Shapes: returns ``patterns`` (n_inputs * n_lags, n_features).
    """
    directions, scales = _directions_and_scales(preparation)
    return directions * scales


def spatial_patterns(
    preparation: FittedPreparation, alignment: Alignment | None = None
) -> np.ndarray:
    """Get what one unit of what is embedded is in the channels.

    Shapes: returns ``patterns`` (n_channels, n_inputs).
    """
    if alignment is not None:
        return alignment.from_mean
    if preparation.spatial_components_ is None:
        return np.eye(len(preparation.ch_names_))
    components = np.asarray(preparation.spatial_components_, float)
    if not preparation.standardize:
        return components
    # Channels have variance 1; that of their components is not known.
    return components * np.sqrt(_decreasing_variances(components))


def feature_patterns(
    preparation: FittedPreparation, alignment: Alignment | None = None
) -> np.ndarray:
    """Get what one unit of a feature is in the embedded channels.

    Shapes: returns ``patterns`` (n_channels * n_lags, n_features).
    """
    patterns = input_patterns(preparation)
    if preparation.spatial_components_ is None and alignment is None:
        return patterns
    spatial = spatial_patterns(preparation, alignment)
    n_lags = preparation.n_embeddings
    by_input = patterns.reshape(spatial.shape[1], n_lags, -1)
    return np.einsum("ci,ijd->cjd", spatial, by_input).reshape(len(spatial) * n_lags, -1)


def _directions_and_scales(preparation: FittedPreparation) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal directions, and how much of each makes a feature of 1.

    Shapes: returns ``directions`` (n_inputs * n_lags, n_features), ``scales`` (n_features,).
    """
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
    return directions, np.sqrt(_component_variances(preparation, directions, norms))


def _channel_variances(preparation: FittedPreparation) -> np.ndarray:
    """Variances of what is embedded: 1 where it was standardized and not aligned after that.

    Shapes: returns ``variances`` (n_inputs,).
    """
    if preparation.aligned_to_ is None or not preparation.standardize:
        return np.ones(preparation.n_inputs_)
    return np.diag(preparation.aligned_to_)


def _component_variances(
    preparation: FittedPreparation, directions: np.ndarray, norms: np.ndarray
) -> np.ndarray:
    """Mean variance of each principal component before it was standardized, nearly.

    Variances of all components together, with those that were left out, are those of the channels
    times the number of lags.

    Shapes: ``directions`` (n_inputs * n_lags, n_features), ``norms`` (n_features,); returns
    ``variances`` (n_features,).
    """
    total = preparation.n_embeddings * _channel_variances(preparation).sum()
    relative = None
    if preparation.eigenvalues_ is not None:
        relative = np.asarray(preparation.eigenvalues_, float)
    elif preparation.whiten:
        relative = norms**-2
    if relative is not None:
        return relative * (total * preparation.explained_variance_ / relative.sum())
    return _decreasing_variances(directions)


def _decreasing_variances(directions: np.ndarray) -> np.ndarray:
    """Variances of components that came without eigenvalues, as some published ones do.

    They decrease from component to component, and those of each row add up to the variance 1, or
    less.

    Shapes: ``directions`` (n_rows, n_components); returns ``variances`` (n_components,).
    """
    sums = np.triu(np.ones((directions.shape[1],) * 2))
    differences, _ = nnls(directions**2 @ sums, np.ones(len(directions)))
    return np.maximum(sums @ differences, 1e-6)


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


def by_lag(embedded: np.ndarray, n_lags: int) -> np.ndarray:
    """Autocovariances of the channels, from all pairs of lags with one difference.

    Shapes: ``embedded`` (..., n_channels * n_lags, n_channels * n_lags); returns
    ``autocovariances`` (..., n_channels, n_channels, 2 * n_lags - 1).
    """
    n_channels = embedded.shape[-1] // n_lags
    blocks = embedded.reshape(*embedded.shape[:-2], n_channels, n_lags, n_channels, n_lags)
    means = [
        np.diagonal(blocks, offset=lag, axis1=-3, axis2=-1).mean(axis=-1)
        for lag in range(1 - n_lags, n_lags)
    ]
    return np.stack(means, axis=-1)
