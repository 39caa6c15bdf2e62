"""EM of mixtures of states over windows, many mixtures at once."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..._utils.arrays import row_blocks
from ..inference.gaussian import FULL
from .prior import NO_PRIOR, Prior
from .window_sums import WindowSums

# Samples that a state must have, per feature, and at all where covariances are diagonal.
MIN_PER_FEATURE, MIN_PER_STATE = 2, 5
# States that are updated together: their matrices take some 10 MB each time they are copied.
MAX_TOGETHER = 360
# Nats per sample that an update must gain for a mixture not to have settled.
MIN_DECREASE = 1e-4
# What is far below the present mixture need not settle before it is moved on: its updates end when
# they gain less than this share of what it is below.
MIN_SHARE = 0.05
# A move is given up if so many updates like its last would not bring it below the present mixture.
N_HOPED_UPDATES = 20
# Updates until a mixture has settled, at most.
MAX_UPDATES = 60


class Mixture(NamedTuple):
    """States of windows that know nothing of time."""

    totals: np.ndarray
    """What the windows of each state add up to, shape (n_states, n_numbers)."""
    free_energy: float
    """Nats per sample."""
    labels: np.ndarray
    """The likeliest state of each window, shape (n_windows,)."""


class Update(NamedTuple):
    """What mixtures become by an update, and what they were worth before it."""

    totals: np.ndarray
    """Shape (n_mixtures, n_states, n_numbers)."""
    free_energy: np.ndarray
    """Before the update, nats per sample, shape (n_mixtures,)."""
    probabilities: np.ndarray
    """Of the states before the update, shape (n_mixtures, n_states, n_windows)."""


@dataclass
class MixtureEM:
    """Updates mixtures of states over windows.

    Parameters
    ----------
    windows : WindowSums
        The windows.
    prior : Prior
        Prior of the states' densities.
    """

    windows: WindowSums
    prior: Prior = NO_PRIOR
    n_multiplications: float = 0.0
    """Multiplications so far."""

    @property
    def min_per_state(self) -> int:
        """Samples that a state must have."""
        full = self.windows.rule.covariance_type == FULL
        return MIN_PER_FEATURE * self.windows.n_features if full else MIN_PER_STATE

    def losses(self, totals: np.ndarray) -> np.ndarray:
        """Weigh the log determinant of each state's covariance."""
        return 0.5 * totals[:, 0] * self.windows.log_determinants(totals, self.prior)

    def evaluate(self, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Get free energies of mixtures, and probabilities of their states.

        What mixtures add up to may be of other windows than these, and of more or fewer samples.
        """
        n_mixtures, n_states, n_numbers = totals.shape
        log = np.empty((n_mixtures, n_states, len(self.windows.values)), np.float32)
        for rows in row_blocks(n_mixtures, max(MAX_TOGETHER // n_states, 1)):
            of_states = totals[rows].reshape(-1, n_numbers)
            coefficients = self.windows.coefficients(of_states, self.prior)
            log[rows] = self.windows.log_densities(coefficients).reshape(log[rows].shape)
        self.n_multiplications += log.size * n_numbers
        weights = totals[:, :, 0]
        with np.errstate(divide="ignore"):  # a state without samples
            log_weights = np.log(weights / np.maximum(weights.sum(1, keepdims=True), 1))
        log += log_weights[:, :, None].astype(np.float32)
        evidence, probabilities = normalized(log)
        return -evidence / self.windows.n_samples.sum(), probabilities

    def update(self, totals: np.ndarray) -> Update:
        """Update mixtures."""
        free_energy, probabilities = self.evaluate(totals)
        flat = probabilities.reshape(-1, probabilities.shape[-1])
        updated = self.without_small(self.add_up(flat).reshape(totals.shape))
        return Update(updated, free_energy, probabilities)

    def add_up(self, weights: np.ndarray) -> np.ndarray:
        """Add up weighted windows, shape (n, n_windows)."""
        self.n_multiplications += weights.size * self.windows.n_numbers
        return self.windows.totals(weights)

    def follow(
        self, totals: np.ndarray, goal: float | None = None, least: float = MIN_DECREASE
    ) -> list[Mixture]:
        """Update mixtures together, each until it has settled or has no hope."""
        n_mixtures = len(totals)
        histories: list[list[float]] = [[] for _ in range(n_mixtures)]
        ended: dict[int, Mixture] = {}
        going = list(range(n_mixtures))
        for i_update in range(1, MAX_UPDATES + 1):
            update = self.update(totals)
            for i, free_energy in zip(going, update.free_energy.tolist(), strict=True):
                histories[i].append(free_energy)
            left = [
                place
                for place, i in enumerate(going)
                if i_update < MAX_UPDATES and goes_on(histories[i], goal, least)
            ]
            for place in set(range(len(going))) - set(left):
                labels = update.probabilities[place].argmax(0)
                ended[going[place]] = Mixture(totals[place], histories[going[place]][-1], labels)
            if not left:
                break
            totals = update.totals[left]
            going = [going[place] for place in left]
        return [ended[i] for i in range(n_mixtures)]

    def without_small(self, totals: np.ndarray) -> np.ndarray:
        """Take their samples from states of too few, which would shrink onto these.

        The state of most samples keeps them, however few these are.
        """
        weights = totals[..., :1]
        is_small = (weights < self.min_per_state) & (weights < weights.max(-2, keepdims=True))
        return np.where(is_small, 0.0, totals)


def normalized(log: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Get the log evidence of all windows of each mixture, and, in place, probabilities.

    Shapes: ``log`` (n_mixtures, n_states, n_windows).
    """
    top = log.max(1, keepdims=True)
    log -= top
    np.exp(log, out=log)
    total = log.sum(1, keepdims=True)
    log /= total
    return (np.log(total) + top).sum((1, 2), dtype=float), log


def goes_on(
    free_energy: list[float], goal: float | None = None, least: float = MIN_DECREASE
) -> bool:
    """Whether a mixture has not settled, and may come below a goal."""
    if len(free_energy) < 2:
        return True
    before, last = free_energy[-2:]
    decrease = before - last
    if goal is None:
        return decrease >= least
    is_hoped_for = last - N_HOPED_UPDATES * decrease < goal
    return is_hoped_for and decrease >= max(least, MIN_SHARE * (goal - last))
