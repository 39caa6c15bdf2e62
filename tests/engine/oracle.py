"""Slow, plain and in float64: what the engine's results are held against.

Nothing in here comes from the engine. `enumerate_paths` sums over every path there is;
`plain_smooth` and `plain_decode` are the textbook recursions, one sample after another,
for chains too long to enumerate; `digital_log_densities` and `plain_evidence` are for the
extremes, where even float64 or a recursion in logarithms will not do.
"""

from decimal import Decimal, localcontext
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp


class Truth(NamedTuple):
    """What the engine should find, for one chain or for several put together."""

    log_evidence: np.ndarray
    """Shape (n_chains,)."""
    probabilities: np.ndarray
    """Shape (n_samples, n_states)."""
    transitions: np.ndarray
    """Summed over chains, shape (n_states, n_states)."""
    initial: np.ndarray
    """Summed over chains, shape (n_states,)."""
    labels: np.ndarray
    """The best path, shape (n_samples,)."""
    log_probability: np.ndarray
    """Of the best path, shape (n_chains,)."""


def _logs(transition, initial):
    with np.errstate(divide="ignore"):  # the log of an exact zero is minus infinity, as it should
        return np.log(transition), np.log(initial)


@cache
def _all_paths(n_states, n_samples):
    """List every path, shape (n_paths, n_samples), and which state it is in, one-hot."""
    paths = np.array(list(product(range(n_states), repeat=n_samples)))
    return paths, (paths[..., None] == np.arange(n_states)).astype(float)


def enumerate_paths(log_b, transition, initial):
    """Score every path through one chain."""
    n_samples, n_states = log_b.shape
    log_p, log_pi = _logs(transition, initial)
    paths, visits = _all_paths(n_states, n_samples)
    scores = log_pi[paths[:, 0]] + log_b[np.arange(n_samples), paths].sum(1)
    scores += log_p[paths[:, :-1], paths[:, 1:]].sum(1)
    log_evidence = logsumexp(scores)
    weighted = np.exp(scores - log_evidence)[:, None, None] * visits
    probabilities = weighted.sum(0)
    return Truth(
        log_evidence=np.array([log_evidence]),
        probabilities=probabilities,
        transitions=np.tensordot(weighted[:, :-1], visits[:, 1:], ((0, 1), (0, 1))),
        initial=probabilities[0],
        labels=paths[scores.argmax()],
        log_probability=np.array([scores.max()]),
    )


def plain_smooth(log_b, transition, initial):
    """Forward-backward in logarithms, one sample after another; labels are left out."""
    n_samples, n_states = log_b.shape
    log_p, log_pi = _logs(transition, initial)
    ahead, behind = np.empty_like(log_b), np.zeros_like(log_b)
    ahead[0] = log_pi + log_b[0]
    for t in range(1, n_samples):
        ahead[t] = logsumexp(ahead[t - 1][:, None] + log_p, axis=0) + log_b[t]
    for t in range(n_samples - 2, -1, -1):
        behind[t] = logsumexp(log_p + log_b[t + 1] + behind[t + 1], axis=1)
    log_evidence = logsumexp(ahead[-1])
    probabilities = np.exp(ahead + behind - log_evidence)
    transitions = np.zeros((n_states, n_states))
    for t in range(n_samples - 1):
        step = ahead[t][:, None] + log_p + log_b[t + 1] + behind[t + 1]
        transitions += np.exp(step - log_evidence)
    return Truth(
        np.array([log_evidence]),
        probabilities,
        transitions,
        probabilities[0],
        np.full(n_samples, -1),
        np.array([np.nan]),
    )


def plain_decode(log_b, transition, initial):
    """Viterbi in logarithms: labels and log probability. Ties go to the lower state."""
    log_p, log_pi = _logs(transition, initial)
    score, origins = log_pi + log_b[0], []
    for row in log_b[1:]:
        options = score[:, None] + log_p
        origins.append(np.argmax(options, axis=0))
        score = options.max(0) + row
    labels = [int(np.argmax(score))]
    for origin in reversed(origins):
        labels.append(int(origin[labels[-1]]))
    return np.array(labels[::-1]), score.max()


def per_chain(function, log_b, lengths, transition, initial):
    """Put the truth about several chains together."""
    parts = [
        function(chain, transition, initial) for chain in np.split(log_b, np.cumsum(lengths)[:-1])
    ]
    return Truth(
        log_evidence=np.concatenate([part.log_evidence for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        transitions=sum(part.transitions for part in parts),
        initial=sum(part.initial for part in parts),
        labels=np.concatenate([part.labels for part in parts]),
        log_probability=np.concatenate([part.log_probability for part in parts]),
    )


def gaussian_log_densities(x, means, covariances):
    """Log density of each sample under each state, by triangular solves in float64.

    Unlike scipy's, it does not mistake features of very different sizes for dependent ones.
    """
    out = []
    for mean, covariance in zip(means, covariances, strict=True):
        factor = np.linalg.cholesky(covariance)
        z = solve_triangular(factor, (np.asarray(x, float) - mean).T, lower=True)
        log_det = 2 * np.log(np.diagonal(factor)).sum()
        out.append(-0.5 * ((z**2).sum(0) + log_det + x.shape[1] * np.log(2 * np.pi)))
    return np.stack(out, axis=1)


LOG_TWO_PI = Decimal("1.83787706640934548356065947281123527972279494727556682563")


def digital_log_densities(x, means, covariances, *, digits=50):
    """Log densities with as many digits as one likes: a last word where float64 has too few.

    Twelve of the sixteen digits of a Cholesky factor in float64 are gone where a covariance has a
    condition number of 1e12.
    """
    with localcontext() as context:
        context.prec = digits
        columns = [
            _decimals(mean, covariance, x)
            for mean, covariance in zip(means, covariances, strict=True)
        ]
    return np.array(columns, float).T


def _decimals(mean, covariance, x):
    size = len(mean)
    factor = [[Decimal(0)] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            rest = Decimal(float(covariance[i][j]))
            rest -= sum((factor[i][k] * factor[j][k] for k in range(j)), Decimal(0))
            factor[i][j] = rest.sqrt() if i == j else rest / factor[j][j]
    constant = size * LOG_TWO_PI + 2 * sum(factor[i][i].ln() for i in range(size))
    out = []
    for row in x:
        z: list[Decimal] = []
        for i in range(size):
            rest = Decimal(float(row[i])) - Decimal(float(mean[i]))
            rest -= sum((factor[i][k] * z[k] for k in range(i)), Decimal(0))
            z.append(rest / factor[i][i])
        out.append(-(sum(value * value for value in z) + constant) / 2)
    return out


def plain_evidence(log_b, transition, initial):
    """Log evidence by the scaled recursion, one sample after another: for a million of them."""
    peaks = log_b.max(1)
    relative = np.exp(log_b - peaks[:, None])
    sizes = np.empty(len(log_b))
    message = np.asarray(initial, float)
    for t, row in enumerate(relative):
        message = message * row
        sizes[t] = size = message.sum()
        message = (message / size) @ transition
    return np.log(sizes).sum() + peaks.sum()


def random_model(rng, n_states, n_features, *, zero_means=False, spread=2.0):
    """Draw the parameters of states that differ in their covariances, and in their means."""
    transition = 0.9 * np.eye(n_states) + 0.1 * rng.dirichlet(np.ones(n_states), n_states)
    mixing = rng.normal(size=(n_states, n_features, n_features)) / np.sqrt(n_features)
    covariances = mixing @ mixing.transpose(0, 2, 1) + 0.2 * np.eye(n_features)
    means = spread * rng.normal(size=(n_states, n_features)) * (not zero_means)
    return rng.dirichlet(np.full(n_states, 3.0)), transition, means, covariances


def draw_states(rng, n_samples, initial, transition):
    """Draw a path, one sample after another."""
    cumulative = np.cumsum(transition, axis=1)
    draws = rng.random(n_samples) * cumulative[0, -1]
    state = int(np.searchsorted(np.cumsum(initial), draws[0]))
    states = [state]
    for draw in draws[1:]:
        state = min(int(np.searchsorted(cumulative[state], draw)), len(transition) - 1)
        states.append(state)
    return np.array(states)


def draw_samples(rng, states, means, covariances):
    """Draw samples of the states of a path."""
    factors = np.linalg.cholesky(covariances)
    noise = rng.normal(size=(len(states), means.shape[1]))
    return means[states] + np.einsum("tij,tj->ti", factors[states], noise)
