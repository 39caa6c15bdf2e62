"""Numbers of single recordings under one model, without gaps: what classifiers take."""

from collections.abc import Sequence

import numpy as np

from .._utils.typing import GaussianHMM
from ..io.timeline import TimeMap
from ..preparation.prepared_data import PreparedData
from ..states.matching import RANK_TOLERANCE
from ..states.time_course import StateTimeCourse
from .dual_estimate import estimate_recording
from .inference import engine_parameters, infer_by_recording

OCCUPANCY, LIFETIMES = "occupancy", "lifetimes"
TRANSITIONS, COVARIANCES = "transitions", "covariances"
KINDS = (OCCUPANCY, LIFETIMES, TRANSITIONS, COVARIANCES)
METRICS = ("riemannian", "log_euclidean")

# Steps that the model's own transition probabilities count for in each row.
PRIOR_STEPS = 1.0


def compute_recording_features(
    hmm: GaussianHMM, prepared: PreparedData, kinds: Sequence[str], metric: str
) -> np.ndarray:
    """Compute numbers of each recording.

    Shapes: returns ``features`` (n_recordings, n_numbers).
    """
    parameters = engine_parameters(hmm)
    tangent = TangentSpace(hmm, metric) if COVARIANCES in kinds else None
    rows = []
    for i_recording, (_, (posterior,)) in enumerate(
        infer_by_recording([parameters], prepared, hmm.learned.covariance_type)
    ):
        features: dict[str, np.ndarray] = {TRANSITIONS: transitions_of(posterior.transitions, hmm)}
        features[OCCUPANCY], features[LIFETIMES] = _occupancy_and_lifetimes(
            hmm, posterior.probabilities, prepared.time_maps[i_recording]
        )
        if tangent is not None:
            # In samples, not in seconds: what is believed before is counted in samples, too.
            estimate = estimate_recording(
                hmm, prepared.data[i_recording], posterior.probabilities, sfreq=1.0
            )
            features[COVARIANCES] = tangent.vectors(estimate.covariances, estimate.weights)
        rows.append(np.concatenate([features[kind].ravel() for kind in kinds]))
    return np.array(rows)


def recording_feature_names(hmm: GaussianHMM, kinds: Sequence[str]) -> list[str]:
    """Name the numbers of a recording."""
    states = hmm.state_names
    entries = [f"{i}_{j}" for i, j in zip(*entries_of(hmm), strict=True)]
    names = {
        OCCUPANCY: [f"occupancy_{state}" for state in states],
        LIFETIMES: [f"lifetime_{state}" for state in states],
        TRANSITIONS: [f"transition_{one}_to_{two}" for one in states for two in states],
        COVARIANCES: [f"covariance_{state}_{entry}" for state in states for entry in entries],
    }
    return [name for kind in kinds for name in names[kind]]


def transitions_of(steps: np.ndarray, hmm: GaussianHMM) -> np.ndarray:
    """Estimate transition probabilities of a recording.

    Shapes: ``steps`` (n_states, n_states); returns ``transitions`` (n_states, n_states).
    """
    counts = steps + PRIOR_STEPS * hmm.transition_matrix_
    return counts / counts.sum(axis=1, keepdims=True)


def _occupancy_and_lifetimes(
    hmm: GaussianHMM, probabilities: np.ndarray, time_map: TimeMap
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the occupancies and mean lifetimes of a recording, (n_states,) each."""
    states = StateTimeCourse.from_rows(
        probabilities, probabilities.argmax(1), time_map, hmm.state_names
    )
    complete = states.statistics(include_censored=False)
    censored = states.statistics(include_censored=True)
    lifetimes = np.where(
        np.isnan(complete.mean_lifetime), censored.mean_lifetime, complete.mean_lifetime
    )
    return complete.fractional_occupancy, np.nan_to_num(lifetimes, nan=0.0)


def entries_of(hmm: GaussianHMM) -> tuple[np.ndarray, np.ndarray]:
    """Get the rows and columns of a covariance that the numbers of a state come from."""
    if hmm.learned.covariance_type == "diag":
        return np.arange(hmm.n_features), np.arange(hmm.n_features)
    return np.triu_indices(hmm.n_features)


class TangentSpace:
    """Covariances of recordings as vectors, whose origin is the covariance of the group."""

    def __init__(self, hmm: GaussianHMM, metric: str):
        self.entries = entries_of(hmm)
        self.diagonal = hmm.learned.covariance_type == "diag"
        self.metric = metric
        variances = np.diagonal(hmm.covariances_, axis1=1, axis2=2).mean(axis=0)
        # So that features of small variance are not taken for none.
        self.scale = np.sqrt(np.where(variances > 0, variances, 1.0))
        self.group = hmm.covariances_ / np.outer(self.scale, self.scale)
        self.varies = [_varying(covariance) for covariance in self.group]

    def vectors(self, covariances: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Get the vectors of a recording's covariances.

        Shapes: ``covariances`` (n_states, n_features, n_features), ``weights`` (n_states,);
        returns ``vectors`` (n_states, n_entries).
        """
        n_features = covariances.shape[1]
        rows, columns = self.entries
        # A covariance is symmetric, so what is not on its diagonal counts twice.
        twice = np.where(rows == columns, 1.0, np.sqrt(2.0))
        out = np.empty((len(covariances), len(rows)))
        for state, (own, weight) in enumerate(zip(covariances, weights, strict=True)):
            group, (values, basis) = self.group[state], self.varies[state]
            own = np.nan_to_num(own) / np.outer(self.scale, self.scale)
            # As many samples of the group as features, or few samples would have no logarithm.
            mixed = (weight * own + n_features * group) / (weight + n_features)
            if self.diagonal:
                known = np.diag(group) > RANK_TOLERANCE
                ratio = np.divide(
                    np.diag(mixed), np.diag(group), where=known, out=np.ones(len(rows))
                )
                out[state] = np.log(ratio)
                continue
            inside = basis.T @ mixed @ basis
            if self.metric == "riemannian":
                inside = inside / np.sqrt(np.outer(values, values))
                difference = _logarithm(inside)
            else:
                difference = _logarithm(inside) - np.diag(np.log(values))
            out[state] = twice * (basis @ difference @ basis.T)[rows, columns]
        return out


def _varying(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances and directions in which data vary."""
    values, vectors = np.linalg.eigh(covariance)
    varies = values > RANK_TOLERANCE * values[-1]
    return values[varies], vectors[:, varies]


def _logarithm(covariance: np.ndarray) -> np.ndarray:
    """Compute the logarithm of a symmetric matrix."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return (vectors * np.log(values)) @ vectors.T
