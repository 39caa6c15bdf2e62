"""Where training begins: a first assignment of samples to states."""

import warnings

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.ndimage import uniform_filter1d

from .em import UpdateRule, updated_emissions
from .gaussian import Parameters, weighted_moments
from .samples import Blocks, Samples

# Probability of staying in a state before anything has been learnt.
STAY = 0.9
# Samples over which power is averaged, for one start after another. Networks last some
# 50 to 200 ms: about 25 samples at 250 Hz.
POWER_WINDOWS = (25, 13, 51)
# Smoothed power changes slowly: every fifth sample says it all.
STRIDE = 5
# As many samples say where the clusters are.
MOST_CLUSTERED = 50_000


def sticky_chain(n_states: int) -> tuple[np.ndarray, np.ndarray]:
    """Get initial probabilities and transition matrix before anything has been learnt."""
    transition = np.full((n_states, n_states), (1 - STAY) / (n_states - 1))
    np.fill_diagonal(transition, STAY)
    return np.full(n_states, 1 / n_states), transition


def kmeans_labels(
    samples: Samples,
    n_states: int,
    rng: np.random.Generator,
    *,
    attempt: int = 0,
    use_means: bool = False,
) -> np.ndarray:
    """Cluster the logarithm of smoothed power.

    Parameters
    ----------
    samples : Samples
        The data.
    n_states : int
        Number of clusters.
    rng : numpy.random.Generator
        Source of the first cluster centers.
    attempt : int
        Number of the start; starts differ in the width of smoothing.
    use_means : bool
        Whether states differ in their means too. The first start then clusters the
        samples themselves.

    Returns
    -------
    labels : array of int, shape (n_samples,)
        Cluster of each sample.
    """
    if use_means and attempt % len(POWER_WINDOWS) == 0:
        features, stride = np.concatenate(samples.arrays).astype(float), 1
    else:
        window = POWER_WINDOWS[attempt % len(POWER_WINDOWS)]
        features, stride = _log_power(samples, window), STRIDE
    features -= features.mean(0)
    if stride == 1:
        features /= np.maximum(features.std(0), np.finfo(np.float32).tiny)
    some = features
    if len(features) > MOST_CLUSTERED:
        some = features[np.sort(rng.choice(len(features), MOST_CLUSTERED, replace=False))]
    with warnings.catch_warnings():
        # An empty cluster is a state without samples; training deals with those.
        warnings.filterwarnings("ignore", "One of the clusters is empty")
        centers, _ = kmeans2(some, n_states, iter=30, minit="++", rng=rng)
    nearest = np.argmin((centers**2).sum(1) - 2 * features @ centers.T, axis=1)
    return _every(nearest, samples, stride)


def _log_power(samples, window):
    """Logarithm of smoothed power at every fifth sample of every chain."""
    out = []
    for chain in _chains(samples):
        power = uniform_filter1d(
            np.square(chain, dtype=np.float32), min(window, len(chain)), axis=0
        )
        out.append(np.log(power[::STRIDE] + 1e-6, dtype=float))
    return np.concatenate(out)


def _chains(samples):
    for array, lengths in zip(samples.arrays, samples.lengths, strict=True):
        yield from np.split(array, np.cumsum(lengths)[:-1])


def _every(labels, samples, stride):
    """Undo taking every `stride`-th sample of every chain."""
    if stride == 1:
        return labels
    counts = [-(-length // stride) for length in samples.chains]
    parts = np.split(labels, np.cumsum(counts)[:-1])
    chains = zip(parts, samples.chains, strict=True)
    return np.concatenate([np.repeat(part, stride)[:length] for part, length in chains])


def random_labels(samples: Samples, transition: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a random state time course from a transition matrix, shape (n_samples,).

    Every chain is drawn afresh, visit by visit.
    """
    n_states = len(transition)
    return np.concatenate(
        [
            sample_states(length, np.full(n_states, 1 / n_states), transition, rng)
            for length in samples.chains
        ]
    )


def sample_states(
    n_samples: int, initial: np.ndarray, transition: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw a state sequence from a Markov chain.

    Parameters
    ----------
    n_samples : int
        Length of the sequence.
    initial : array, shape (n_states,)
        Probabilities of the first state.
    transition : array, shape (n_states, n_states)
        Transition probabilities.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    states : array of int, shape (n_samples,)
        The sequence.
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
    """All states alike, as the pooled data are in the engine's coordinates."""
    return Parameters(
        *sticky_chain(n_states),
        np.zeros((n_states, n_features)),
        np.tile(np.eye(n_features), (n_states, 1, 1)),
    )


def parameters_from_labels(
    blocks: Blocks, labels: np.ndarray, n_states: int, rule: UpdateRule
) -> Parameters:
    """Parameters that fit a hard assignment of samples to states.

    A state without samples starts as the pooled data.
    """
    weights = np.equal(labels[:, None], np.arange(n_states)).astype(np.float32)
    moments = weighted_moments(blocks, weights, rule.covariance_type)
    learn_all = UpdateRule(rule.learn_means, True, True, rule.covariance_type)
    return updated_emissions(pooled_parameters(n_states, blocks.n_features), moments, learn_all)
