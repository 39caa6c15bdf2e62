"""Where training begins: a first assignment of samples to states."""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.ndimage import uniform_filter1d

from ..inference.gaussian import Parameters, weighted_moments
from ..inference.samples import Data, Samples
from .em import update_emissions
from .prior import NO_PRIOR, Prior, sticky_chain
from .update_rule import UpdateRule

# Samples over which power is averaged, for one start after another. Networks last some
# 50 to 200 ms: about 25 samples at 250 Hz.
POWER_WINDOWS = (25, 13, 51)
# Smoothed power changes slowly: every fifth sample says it all.
STRIDE = 5
# As many samples, drawn at random, say where the clusters are.
MAX_CLUSTERED = 50_000


def kmeans_labels(
    samples: Samples,
    n_states: int,
    rng: np.random.Generator,
    *,
    attempt: int = 0,
    use_means: bool = False,
) -> np.ndarray:
    """Cluster the logarithm of smoothed power.

    Shapes: returns ``labels`` (n_samples,).
    """
    window = POWER_WINDOWS[attempt % len(POWER_WINDOWS)]
    if use_means and window == POWER_WINDOWS[0]:
        features = np.concatenate(samples.arrays).astype(float)
        features -= features.mean(0)
        spread = features.std(0)
        return cluster(features / np.where(spread > 0, spread, 1.0), n_states, rng)
    power = log_power(samples.arrays, samples.lengths, window)
    return spread_strides(cluster(power, n_states, rng), samples.chains)


def cluster(features: np.ndarray, n_clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Find clusters by k-means.

    Shapes: ``features`` (n, n_features); returns ``labels`` (n,).
    """
    subset = features
    if len(features) > MAX_CLUSTERED:
        subset = features[np.sort(rng.choice(len(features), MAX_CLUSTERED, replace=False))]
    with warnings.catch_warnings():
        # An empty cluster is a state without samples; training deals with those.
        warnings.filterwarnings("ignore", "One of the clusters is empty")
        centers, _ = kmeans2(subset, n_clusters, iter=30, minit="++", rng=rng)
    return np.argmin((centers**2).sum(1) - 2 * features @ centers.T, axis=1)


def log_power(
    arrays: Sequence[np.ndarray], lengths: Sequence[Sequence[int]], window: int
) -> np.ndarray:
    """Get the logarithm of smoothed power at every fifth sample of every chain.

    Shapes: ``arrays`` (n_samples, n_features); returns ``log_power`` (n, n_features).
    """
    out = []
    for array, of_recording in zip(arrays, lengths, strict=True):
        for chain in np.split(array, np.cumsum(of_recording)[:-1]):
            power = np.square(chain, dtype=np.float32)
            uniform_filter1d(power, min(window, len(chain)), axis=0, output=power)
            out.append(np.log(power[::STRIDE] + 1e-6, dtype=float))
    return np.concatenate(out)


def spread_strides(labels: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
    """Give every sample the label of the fifth sample it belongs to, chain by chain."""
    counts = [-(-length // STRIDE) for length in lengths]
    parts = np.split(labels, np.cumsum(counts)[:-1])
    chains = zip(parts, lengths, strict=True)
    return np.concatenate([np.repeat(part, STRIDE)[:length] for part, length in chains])


def random_labels(
    chains: Sequence[int], transition: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw a random state time course of chains of some lengths from a transition matrix.

    Every chain is drawn afresh, visit by visit.
    """
    n_states = len(transition)
    return np.concatenate(
        [
            sample_states(length, np.full(n_states, 1 / n_states), transition, rng)
            for length in chains
        ]
    )


def sample_states(
    n_samples: int, initial: np.ndarray, transition: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw a state sequence from a Markov chain.

    Shapes: ``initial`` (n_states,), ``transition`` (n_states, n_states); returns ``states``
    (n_samples,).
    """
    # Each sample's next state for every state it may be in is drawn at once; following
    # them is a look-up per visit, not per sample.
    leave = 1 - np.diagonal(transition)
    onward = np.where(np.eye(len(leave), dtype=bool), 0.0, transition)
    cumulative = np.cumsum(onward, axis=1)
    visited, durations, total = [], [], 0
    state = int(rng.choice(len(initial), p=initial))
    while total < n_samples:
        stays = leave[state] <= 0
        duration = n_samples if stays else int(rng.geometric(min(leave[state], 1.0)))
        visited.append(state)
        durations.append(min(duration, n_samples - total))
        total += durations[-1]
        if not stays:
            draw = rng.random() * cumulative[state, -1]
            state = int(np.searchsorted(cumulative[state], draw, side="right"))
    return np.repeat(visited, durations)


def pooled_parameters(n_states: int, n_features: int) -> Parameters:
    """Get parameters of states that are all alike, as the pooled data are when whitened."""
    return Parameters(
        *sticky_chain(n_states),
        np.zeros((n_states, n_features)),
        np.tile(np.eye(n_features), (n_states, 1, 1)),
    )


def parameters_from_labels(
    data: Data,
    labels: np.ndarray,
    n_states: int,
    rule: UpdateRule,
    prior: Prior = NO_PRIOR,
) -> Parameters:
    """Get parameters that fit a hard assignment of samples to states.

    A state without samples starts as the pooled data.
    """
    weights = np.equal(labels[:, None], np.arange(n_states)).astype(np.float32)
    moments = weighted_moments(data, weights, rule.covariance_type)
    learn_all = UpdateRule(rule.learn_means, True, True, rule.covariance_type)
    start = pooled_parameters(n_states, data.n_features)
    return update_emissions(start, moments, learn_all, prior)
