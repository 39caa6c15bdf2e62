"""Small factorizations on TensorFlow's threads.

NumPy's and SciPy's own threads keep spinning for some 20 ms after a factorization, and
take a core from the matrix products that follow. In a pass of 100 ms that is a third.
Where nothing else is TensorFlow's, one function here needs only NumPy.
"""

import numpy as np

from ..runtime._tensorflow import tf

# Factors of matrices of a larger condition number, features of one size taken for granted, are
# refined. Rounding of a factor in float64 is a share of 1e-16 of the largest variance, and so of
# 1e-10 of the smallest one below that.
WELL_CONDITIONED = 1e6
# Triangular matrices up to this size are inverted row by row.
MAX_BLOCK = 10
# Each refinement takes the error to its square, and it is a hundredth in the worst case.
N_REFINEMENTS = 2


def cholesky(matrices: np.ndarray) -> np.ndarray | None:
    """Lower Cholesky factors, shape (n, d, d); None if a matrix is not positive definite."""
    try:
        factors = tf.linalg.cholesky(tf.constant(matrices, tf.float64)).numpy()
    except tf.errors.InvalidArgumentError:
        return None
    return factors if np.isfinite(factors).all() else None


def cholesky_factors(matrices: np.ndarray) -> np.ndarray:
    """Lower Cholesky factors, shape (n, d, d); an error if a matrix is not positive definite."""
    factors = cholesky(matrices)
    if factors is None:
        raise np.linalg.LinAlgError("a matrix is not positive definite")
    return factors


def refined_cholesky_factors(matrices: np.ndarray) -> np.ndarray:
    """Lower Cholesky factors that have nearly all digits, whatever the condition of the matrices.

    The usual factors are those of matrices that differ by rounding of their largest entries. The
    inverse of a matrix of condition 1e12 shows that in its fourth digit. Here what is left of the
    matrices is found with twice the digits, and made up for in the factors.
    """
    factors = cholesky_factors(matrices)
    for _ in range(N_REFINEMENTS):
        inverses = invert_lower(factors)
        scaled = inverses * np.sqrt(np.einsum("kii->ki", matrices))[:, None, :]
        ill = matrices.shape[-1] * np.square(scaled).sum((1, 2)) > WELL_CONDITIONED
        if not ill.any():
            break
        inverses, unrefined = inverses[ill], factors[ill]
        change = inverses @ _remainder(matrices[ill], unrefined) @ inverses.transpose(0, 2, 1)
        change = np.tril(change) - 0.5 * np.einsum("kii->ki", change)[:, :, None] * np.eye(
            matrices.shape[-1]
        )
        factors[ill] = unrefined + unrefined @ change
    return factors


def _remainder(matrices: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Get what products of factors leave of the matrices, with twice the digits.

    Products and sums are split into their rounded value and the rounding (Dekker, 1971, *Numerische
    Mathematik* 18(3), 224-242; Knuth's sum).
    """
    high, low = matrices.copy(), np.zeros_like(matrices)
    for column in np.moveaxis(factors, 2, 0):
        product, rounding = _exact_product(-column[:, :, None], column[:, None, :])
        total = high + product
        grown = total - high
        low += (high - (total - grown)) + (product - grown) + rounding
        high = total
    return high + low


def _exact_product(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Get the product of two numbers, and what rounding took off it."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    rounding = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)
    return product, rounding


def _halves(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split numbers into two of half the digits."""
    carried = (2.0**27 + 1) * a
    high = carried - (carried - a)
    return high, a - high


def invert_lower(factors: np.ndarray) -> np.ndarray:
    """Inverses of lower triangular matrices, shape (n, d, d)."""
    identity = tf.eye(factors.shape[-1], batch_shape=[len(factors)], dtype=tf.float64)
    return tf.linalg.triangular_solve(tf.constant(factors, tf.float64), identity).numpy()


def invert_lower_in_blocks(factors: np.ndarray) -> np.ndarray:
    """Inverses of lower triangular matrices, shape (n, d, d), by NumPy's products alone.

    Blocks on the diagonal are inverted row by row, and then put together two by two.
    """
    n, n_rows = factors.shape[:2]
    n_halvings = max(int(np.ceil(np.log2(n_rows / MAX_BLOCK))), 0)
    size = -(-n_rows // 2**n_halvings)
    padded = np.zeros((n, size << n_halvings, size << n_halvings))
    padded[:, :n_rows, :n_rows] = factors
    rest = np.arange(n_rows, padded.shape[1])
    padded[:, rest, rest] = 1.0
    blocks = _blocks(padded, size, 0)
    inverses = np.zeros_like(blocks)
    for row in range(size):
        inverse = 1 / blocks[..., row, row, None]
        above = blocks[..., row, None, :row] @ inverses[..., :row, :row]
        inverses[..., row, :row] = -above[..., 0, :] * inverse
        inverses[..., row, row] = inverse[..., 0]
    while inverses.shape[1] > 1:
        first, second = inverses[:, ::2], inverses[:, 1::2]
        merged = np.zeros((n, len(first[0]), 2 * size, 2 * size))
        merged[..., :size, :size], merged[..., size:, size:] = first, second
        merged[..., size:, :size] = -second @ _blocks(padded, size, size)[:, ::2] @ first
        inverses, size = merged, 2 * size
    return inverses[:, 0, :n_rows, :n_rows]


def _blocks(matrices: np.ndarray, size: int, below: int) -> np.ndarray:
    """Get blocks on the diagonal, or so many rows below it, shape (n, n_blocks, size, size)."""
    starts = np.arange(0, matrices.shape[1] - below, size)[:, None]
    rows, columns = starts + below + np.arange(size), starts + np.arange(size)
    return matrices[:, rows[:, :, None], columns[:, None, :]]


def log_determinants(matrices: np.ndarray) -> np.ndarray:
    """Log determinants of positive definite matrices, shape (n,)."""
    return log_determinants_of_factors(cholesky_factors(matrices))


def log_determinants_of_factors(factors: np.ndarray) -> np.ndarray:
    """Log determinants of the matrices that have these Cholesky factors, shape (n,)."""
    return 2 * np.log(np.einsum("kii->ki", factors)).sum(1)


def eigh(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of symmetric matrices, shapes (n, d) and (n, d, d)."""
    values, vectors = tf.linalg.eigh(tf.constant(matrices, tf.float64))
    return values.numpy(), vectors.numpy()
