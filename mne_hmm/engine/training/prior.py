"""Priors: what is believed of the parameters before any data.

All are conjugate, so that updates stay in closed form. They are given as if so many samples
had been seen before: pseudo-counts for the chain (Dirichlet), samples with the pooled
covariance for covariances (inverse Wishart), samples at the pooled mean for means (normal,
given the covariance). See Gauvain & Lee (1994, *IEEE Transactions on Speech and Audio
Processing* 2(2), 291-298).
"""

from dataclasses import dataclass

import numpy as np

from ..inference.forward_backward import TINY
from ..inference.gaussian import DIAGONAL, Parameters
from ..inference.linalg import cholesky_factors, invert_lower, log_determinants_of_factors
from .update_rule import UpdateRule

# Probability of staying in a state before anything has been learned.
STAY = 0.9


@dataclass(frozen=True)
class Prior:
    """Strengths of the priors; 0 is none.

    Parameters
    ----------
    initial : float
        Pseudo-counts of each state at the start of a chain.
    transitions : float
        Pseudo-counts of steps from each state, shared out as `sticky_chain` does.
    covariances : float
        Samples with the pooled covariance that each state is thought to have beforehand.
    means : float
        Samples at the pooled mean that each state is thought to have beforehand.
    """

    initial: float = 0.0
    transitions: float = 0.0
    covariances: float = 0.0
    means: float = 0.0

    def steps(self, n_states: int) -> np.ndarray:
        """Pseudo-counts of steps between states, shape (n_states, n_states)."""
        return self.transitions * sticky_chain(n_states)[1]

    def log_density(self, parameters: Parameters, rule: UpdateRule) -> float:
        """Log density of the parameters of whitened features, but for a constant."""
        total = 0.0
        covariances = parameters.covariances
        if rule.learn_transitions:
            initial = np.full(len(covariances), self.initial)
            total += _weighted_log(initial, parameters.initial_probs)
            total += _weighted_log(self.steps(len(covariances)), parameters.transition_matrix)
        n_means = self.means if rule.learn_means else 0.0
        if not (self.covariances or n_means):
            return total
        if rule.covariance_type == DIAGONAL:
            variances = np.einsum("kii->ki", covariances)
            log_det, trace = np.log(variances).sum(1), (1 / variances).sum(1)
            square = (parameters.means**2 / variances).sum(1)
        else:
            factors = cholesky_factors(covariances)
            inverses = invert_lower(factors)
            log_det = log_determinants_of_factors(factors)
            trace = (inverses**2).sum((1, 2))
            square = (np.einsum("kij,kj->ki", inverses, parameters.means) ** 2).sum(1)
        if rule.learn_covariances:
            total -= 0.5 * self.covariances * float((log_det + trace).sum())
        if n_means:
            total -= 0.5 * float((n_means * square + log_det).sum())
        return total


NO_PRIOR = Prior()


def sticky_chain(n_states: int) -> tuple[np.ndarray, np.ndarray]:
    """Get initial probabilities and transition matrix before anything has been learned."""
    transition = np.full((n_states, n_states), (1 - STAY) / max(n_states - 1, 1))
    np.fill_diagonal(transition, STAY)
    return np.full(n_states, 1 / n_states), transition


def _weighted_log(counts: np.ndarray, probabilities: np.ndarray) -> float:
    # What is impossible has the probability that the recursions give it.
    return float((counts * np.log(np.maximum(probabilities, TINY))).sum())
