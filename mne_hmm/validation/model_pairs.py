"""How much the states of pairs of models have in common, added up recording by recording."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._utils.arrays import row_blocks
from ..states.agreement import aligned, cohen_kappa, cross_table
from ..states.matching import best_match, compare_states

if TYPE_CHECKING:
    from ..engine import Parameters

METRICS = ("riemannian", "wasserstein")

# Samples worked on at once: products are in float64, and long recordings have many samples.
BLOCK_LENGTH = 65_536


class PairAgreement(NamedTuple):
    """How much the states of each pair of models have in common, shape (n_pairs,) each.

    States are matched for each measure by that measure, over all one-to-one matches.
    """

    kappa: np.ndarray
    """Share of samples alike corrected for chance; NaN where that is certain."""
    correlation: np.ndarray
    """Mean over states of the correlation of partners' probabilities. A state that never changes
    in one of the two is like none, and counts as 0."""
    distance: np.ndarray
    """Mean over states of the distance of partners' covariances (and means)."""


class PairSums:
    """Sums over samples that tell how much models of as many states have in common."""

    def __init__(self, models: Sequence["Parameters"], pairs: Sequence[tuple[int, int]]):
        self.models, self.pairs = models, pairs
        self.n_states = len(models[0].initial_probs)
        n = len(models) * self.n_states
        self.tables = np.zeros((len(pairs), self.n_states, self.n_states))
        self.n_samples = 0
        self.sums, self.products = np.zeros(n), np.zeros((n, n))
        self.smallest, self.largest = np.full(n, np.inf), np.full(n, -np.inf)

    def add(self, probabilities: Sequence[np.ndarray]) -> None:
        """Add a recording.

        Shapes: ``probabilities`` (n_samples, n_states), of each model.
        """
        labels = [of_model.argmax(1) for of_model in probabilities]
        for i_pair, (i, j) in enumerate(self.pairs):
            self.tables[i_pair] += cross_table(labels[i], labels[j], self.n_states, self.n_states)
        n_samples = len(probabilities[0])
        for block in row_blocks(n_samples, BLOCK_LENGTH):
            rows = np.hstack([of_model[block] for of_model in probabilities]).astype(float)
            self.sums += rows.sum(0)
            self.products += rows.T @ rows
            self.smallest = np.minimum(self.smallest, rows.min(0))
            self.largest = np.maximum(self.largest, rows.max(0))
        self.n_samples += n_samples

    def agreement(self, metric: str) -> PairAgreement:
        """Compute how much the models of each pair have in common."""
        # Matched by what they have in common, which is what kappa counts.
        kappa = [cohen_kappa(aligned(table, best_match(table))) for table in self.tables]
        correlations = self._correlations()
        n = self.n_states
        correlation, distance = [], []
        for i, j in self.pairs:
            of_pair = correlations[i * n : (i + 1) * n, j * n : (j + 1) * n]
            match = best_match(of_pair)
            correlation.append(np.nan_to_num(of_pair[np.arange(n), match]).mean())
            first, second = self.models[i], self.models[j]
            distances = compare_states(
                first.covariances, second.covariances, metric, first.means, second.means
            )
            match = best_match(distances, smallest=True)
            distance.append(distances[np.arange(n), match].mean())
        return PairAgreement(*map(np.array, (kappa, correlation, distance)))

    def _correlations(self) -> np.ndarray:
        """Correlate all states of all models; NaN for those that never change."""
        covariances = self.products - np.outer(self.sums, self.sums) / self.n_samples
        variances = np.where(self.largest > self.smallest, np.diag(covariances), np.nan)
        return covariances / np.sqrt(np.outer(variances, variances))
