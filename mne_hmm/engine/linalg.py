"""Small factorizations on TensorFlow's threads.

NumPy's and SciPy's own threads keep spinning for some 20 ms after a factorization, and
take a core from the matrix products that follow. In a pass of 100 ms that is a third.
"""

import numpy as np

from ._tensorflow import tf


def cholesky(matrices: np.ndarray) -> np.ndarray | None:
    """Lower Cholesky factors, shape (n, d, d); None if a matrix is not positive definite."""
    try:
        factors = tf.linalg.cholesky(tf.constant(matrices, tf.float64)).numpy()
    except tf.errors.InvalidArgumentError:
        return None
    return factors if np.isfinite(factors).all() else None


def factors_of(matrices: np.ndarray) -> np.ndarray:
    """Lower Cholesky factors, shape (n, d, d); an error if a matrix is not positive definite."""
    factors = cholesky(matrices)
    if factors is None:
        raise np.linalg.LinAlgError("a matrix is not positive definite")
    return factors


def inverse_of_lower(factors: np.ndarray) -> np.ndarray:
    """Inverses of lower triangular matrices, shape (n, d, d)."""
    identity = tf.eye(factors.shape[-1], batch_shape=[len(factors)], dtype=tf.float64)
    return tf.linalg.triangular_solve(tf.constant(factors, tf.float64), identity).numpy()


def log_determinants(matrices: np.ndarray) -> np.ndarray:
    """Log determinants of positive definite matrices, shape (n,)."""
    return 2 * np.log(np.einsum("kii->ki", factors_of(matrices))).sum(1)


def eigh(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of symmetric matrices, shapes (n, d) and (n, d, d)."""
    values, vectors = tf.linalg.eigh(tf.constant(matrices, tf.float64))
    return values.numpy(), vectors.numpy()
