"""Priors: what is believed of the parameters before any data.

All are conjugate, so that updates stay in closed form. They are given as if so many samples
had been seen before: pseudo-counts for the chain (Dirichlet), samples with the pooled
covariance for covariances (inverse Wishart), samples at the pooled mean for means (normal,
given the covariance). See Gauvain & Lee (1994, *IEEE Transactions on Speech and Audio
Processing* 2(2), 291-298).
"""

from dataclasses import dataclass

import numpy as np

from .gaussian import DIAGONAL, Parameters
from .linalg import inverse_of_lower, cholesky


@dataclass(frozen=True)
class Prior:
    """Strengths of the priors; 0 is none.

    Parameters
    ----------
    initial : float
        Pseudo-counts of each state at the start of a chain.
    transitions : array, shape (n_states, n_states) | float
        Pseudo-counts of each step.
    covariances : float
        Samples with the pooled covariance that each state is thought to have beforehand.
    means : float
        Samples at the pooled mean that each state is thought to have beforehand.
    """

    initial: float = 0.0
    transitions: np.ndarray | float = 0.0
    covariances: float = 0.0
    means: float = 0.0

    def log_density(self, parameters: Parameters, rule) -> float:
        """Log density of the parameters in the engine's coordinates, but for a constant.

        Parameters
        ----------
        parameters : Parameters
            In coordinates in which the pooled data have mean 0 and unit covariance.
        rule : UpdateRule
            What is learned: what is not has no prior.

        Returns
        -------
        log_density : float
            In nats.
        """
        total = 0.0
        if rule.learn_transitions:
            total += _weighted_log(self.initial, parameters.initial_probs)
            total += _weighted_log(self.transitions, parameters.transition_matrix)
        n_means = self.means if rule.learn_means else 0.0
        if not (self.covariances or n_means):
            return total
        covariances = parameters.covariances
        if rule.covariance_type == DIAGONAL:
            variances = np.einsum("kii->ki", covariances)
            log_det, trace = np.log(variances).sum(1), (1 / variances).sum(1)
            square = (parameters.means**2 / variances).sum(1)
        else:
            factors = cholesky(covariances)
            inverses = inverse_of_lower(factors)
            log_det = 2 * np.log(np.einsum("kii->ki", factors)).sum(1)
            trace = (inverses**2).sum((1, 2))
            square = (np.einsum("kij,kj->ki", inverses, parameters.means) ** 2).sum(1)
        if rule.learn_covariances:
            total -= 0.5 * self.covariances * float((log_det + trace).sum())
        if n_means:
            total -= 0.5 * float((n_means * square + log_det).sum())
        return total


NO_PRIOR = Prior()


def _weighted_log(counts, probabilities):
    counts = np.broadcast_to(counts, probabilities.shape)
    some = counts > 0
    return float(counts[some] @ np.log(probabilities[some]))
