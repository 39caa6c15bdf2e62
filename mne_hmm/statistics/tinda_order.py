"""The order of states on a circle that goes best with which follows which."""

from functools import cache
from itertools import permutations

import numpy as np

from .._utils.arrays import row_blocks

# Up to so many states all orders are tried: 40,320 for nine.
MAX_EXHAUSTIVE = 9
# Where there are more states, orders that the search for the best begins with.
N_STARTS = 64
# Numbers in one temporary of the search over many matrices.
BLOCK_SIZE = 2**22


def angles_of(sequence: np.ndarray) -> np.ndarray:
    """Angles of states that lie on a circle, clockwise and evenly from the top."""
    places = np.argsort(sequence, axis=-1)
    return np.pi / 2 - 2 * np.pi * places / sequence.shape[-1]


def cycle_weights(sequence: np.ndarray) -> np.ndarray:
    """Weight of each pair of states in the strength of a cycle, shape (n_states, n_states)."""
    angles = angles_of(sequence)
    return np.sin(angles[:, np.newaxis] - angles)


def best_sequences(asymmetry: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the order in which states follow each other around a circle best.

    Shapes: ``asymmetry`` (n_matrices, n_states, n_states); returns ``sequences``
    (n_matrices, n_states), ``strengths`` (n_matrices,).
    """
    n_matrices, n_states = asymmetry.shape[:2]
    exact = n_states <= MAX_EXHAUSTIVE
    search = _try_all if exact else _exchange
    per_matrix = _all_orders(n_states)[0].shape[0] if exact else N_STARTS * n_states**2
    step = max(1, BLOCK_SIZE // per_matrix)
    blocks = [search(asymmetry[rows]) for rows in row_blocks(n_matrices, step)]
    sequences = np.concatenate(blocks)
    weights = np.array([cycle_weights(sequence) for sequence in sequences])
    return sequences, np.einsum("nij,nij->n", weights, asymmetry)


@cache
def _all_orders(n_states: int) -> tuple[np.ndarray, np.ndarray]:
    """All orders from state 0 on, and the weight of each pair of states in each of them."""
    orders = np.array([(0, *rest) for rest in permutations(range(1, n_states))])
    places = np.argsort(orders, axis=1)
    first, second = np.triu_indices(n_states, 1)
    return orders, np.sin(2 * np.pi / n_states * (places[:, second] - places[:, first]))


def _try_all(asymmetry: np.ndarray) -> np.ndarray:
    """Find the best of all orders, shape (n_matrices, n_states)."""
    orders, weights = _all_orders(asymmetry.shape[1])
    first, second = np.triu_indices(asymmetry.shape[1], 1)
    net = asymmetry[:, first, second] - asymmetry[:, second, first]
    return orders[(net @ weights.T).argmax(1)]


def _exchange(asymmetry: np.ndarray) -> np.ndarray:
    """Exchange two states as long as that makes the cycle stronger, from several starts."""
    net = asymmetry - asymmetry.transpose(0, 2, 1)
    n_matrices, n_states = net.shape[:2]
    min_gain = 1e-10 * np.abs(net).max(axis=(1, 2))
    places = _initial_places(net).reshape(-1, n_states)
    matrix = np.repeat(np.arange(n_matrices), len(places) // n_matrices)
    active = np.arange(len(places))
    while len(active):
        z = np.exp(2j * np.pi * places[active] / n_states)
        # The strength is half the imaginary part of z^H net z, so this is what it gains.
        pull = np.einsum("nij,nj->ni", net[matrix[active]], z)
        gain = np.conj(z[:, None] - z[:, :, None]) * (pull[:, :, None] - pull[:, None])
        gain = gain.imag.reshape(len(active), -1)
        best = gain.argmax(1)
        # A gain below rounding is none, and the next exchange might take it back.
        better = gain.max(1) > min_gain[matrix[active]]
        active, best = active[better], best[better]
        first, second = best // n_states, best % n_states
        places[active, first], places[active, second] = (
            places[active, second],
            places[active, first],
        )
    z = np.exp(2j * np.pi * places / n_states)
    strengths = np.einsum("ni,nij,nj->n", z.conj(), net[matrix], z).imag.reshape(n_matrices, -1)
    by_matrix = places.reshape(n_matrices, -1, n_states)
    chosen = by_matrix[range(n_matrices), strengths.argmax(1)]
    return np.argsort((chosen - chosen[:, :1]) % n_states, axis=1)


def _initial_places(net: np.ndarray) -> np.ndarray:
    """Places of states that the search begins with, shape (n_matrices, n_starts, n_states)."""
    n_matrices, n_states = net.shape[:2]
    # Without the rule that states lie evenly on the circle, the best angles are those of the
    # leading eigenvector. The others are good starts, too.
    vectors = np.linalg.eigh(-1j * net)[1][:, :, : -(n_states // 2) - 1 : -1]
    phases = np.angle(vectors).transpose(0, 2, 1)
    spectral = np.argsort(np.argsort(phases, axis=-1), axis=-1)
    rng = np.random.default_rng(0)  # fixed, so that the same matrix gives the same order
    drawn = np.array([rng.permutation(n_states) for _ in range(N_STARTS - spectral.shape[1])])
    return np.concatenate([spectral, np.broadcast_to(drawn, (n_matrices, *drawn.shape))], axis=1)
