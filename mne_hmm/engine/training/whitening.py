"""Whitening of the features, after which training is well posed whatever the features are.

Features may depend on each other (average reference, signal-space separation, removed
components) or differ in size by orders of magnitude. The engine trains on features that are
mapped so that the pooled data have unit covariance, and leaves out directions in which they do
not vary at all. There, products in float32 keep their digits and one floor on the
states' variances has one meaning. Parameters are carried back afterwards.
"""

from dataclasses import dataclass

import numpy as np

from ..._utils.arrays import row_blocks
from ..inference.gaussian import DIAGONAL, Parameters
from ..inference.samples import Data, Samples, block_length
from ..runtime._tensorflow import tf
from ..runtime.workers import ALONE, Workers

# Directions with less than this share of the variance of the strongest one are left out,
# after each feature has been scaled to unit variance: what is below is the rounding of
# data that were stored in float32 or as 16-bit integers somewhere on their way.
RANK_TOLERANCE = 1e-8
# Variance given to the directions that are left out, as a share of the features' own: too
# little to show in a state's covariance, enough for densities in float32 to keep their digits.
SILENT_SHARE = 1e-4

# Blocks that are worked on in float64 have some 8,000 rows, as if they had so many columns.
FLOAT64_COLUMNS = 1024


@dataclass(frozen=True)
class Whitening:
    """An affine map of the features, ``z = (x - center) @ forward``.

    Parameters
    ----------
    center : array, shape (n_features,)
        Where the origin goes.
    forward : array, shape (n_features, rank)
        The map.
    backward : array, shape (rank, n_features)
        Its inverse on the directions in which the data vary.
    silent : array, shape (n_features, n_features)
        Covariance given to all states alike in the remaining directions; they say
        nothing about the states.
    """

    center: np.ndarray
    forward: np.ndarray
    backward: np.ndarray
    silent: np.ndarray

    @property
    def rank(self) -> int:
        """Number of directions in which the data vary."""
        return self.forward.shape[1]

    @classmethod
    def identity(cls, n_features: int) -> "Whitening":
        """Leave everything as it is."""
        eye = np.eye(n_features)
        return cls(np.zeros(n_features), eye, eye, np.zeros_like(eye))

    @classmethod
    def fit(
        cls,
        samples: Samples,
        *,
        centered: bool,
        covariance_type: str,
        workers: Workers = ALONE,
    ) -> "Whitening":
        """Find the whitening after which the pooled data have unit covariance."""
        center, covariance = _pooled_moments(samples, centered, workers)
        scale = np.sqrt(np.diagonal(covariance))
        if covariance_type == DIAGONAL:
            return cls(center, np.diag(1 / scale), np.diag(scale), np.zeros_like(covariance))
        values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
        varies = values > RANK_TOLERANCE * values[-1]
        root = np.sqrt(values[varies])
        backward = (vectors[:, varies] * root).T * scale
        left_out = vectors[:, ~varies] * scale[:, None]
        silent = SILENT_SHARE * left_out @ left_out.T
        forward = vectors[:, varies] / root / scale[:, None]
        return cls(center, forward, backward, silent)

    @property
    def log_volume(self) -> float:
        """Nats to add to a log density of whitened features to have one of features."""
        n_features = len(self.center)
        covariance = self.backward.T @ self.backward + self.silent
        silent = 0.5 * (n_features - self.rank) * np.log(2 * np.pi)
        return -0.5 * np.linalg.slogdet(covariance)[1] - silent

    def apply(self, samples: Samples, n_columns: int, workers: Workers = ALONE) -> Data:
        """Whiten data; arguments as for `Data`."""
        center, forward = tf.constant(self.center), tf.constant(self.forward)
        return Data(samples, n_columns, transform=lambda x: (x - center) @ forward, workers=workers)

    def whiten_means(self, means: np.ndarray) -> np.ndarray:
        """Whiten means of features."""
        return (means - self.center) @ self.forward

    def whiten_covariances(self, covariances: np.ndarray) -> np.ndarray:
        """Whiten covariances of features."""
        return self.forward.T @ covariances @ self.forward

    def unwhiten_parameters(self, parameters: Parameters) -> Parameters:
        """Get parameters for features from those for whitened features."""
        covariances = self.backward.T @ parameters.covariances @ self.backward + self.silent
        return parameters._replace(
            means=parameters.means @ self.backward + self.center,
            covariances=(covariances + covariances.transpose(0, 2, 1)) / 2,
        )


def _pooled_moments(
    samples: Samples, centered: bool, workers: Workers
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of all samples, in float64; the mean is 0 unless `centered`.

    Both are made of sums over the data, which are read once. Products are formed around the
    first sample of all, so that a large mean takes no digits off them.
    """
    n_features = samples.n_features
    origin = np.zeros(n_features)
    if centered:
        origin = next(samples.stream([0]))[1][0].astype(float)
    sums, products = np.zeros(n_features), np.zeros((n_features, n_features))
    length = block_length(FLOAT64_COLUMNS)
    for _, array in samples.stream(workers.share(samples.sizes)):
        for rows in row_blocks(len(array), length):
            block = tf.cast(array[rows], tf.float64) - origin
            sums += tf.reduce_sum(block, 0).numpy()
            products += tf.matmul(block, block, transpose_a=True).numpy()
    sums, products = workers.total([sums, products])
    mean = sums / samples.n_samples if centered else np.zeros(n_features)
    return origin + mean, products / samples.n_samples - np.outer(mean, mean)
