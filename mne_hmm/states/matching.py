"""Which state of one model is which of another: distances, and the best one-to-one match."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import linear_sum_assignment

from .._utils.arrays import end_to_end
from .._utils.checks import check_option
from .._utils.docs import fill_doc
from .._utils.typing import GaussianHMM, RecordingLike
from ..preparation.prepared_data import same_features
from .time_course import StateTimeCourse, as_courses

DISTANCES = ("riemannian", "wasserstein", "frobenius")
SIMILARITIES = ("correlation", "rv_coefficient")
TIME_COURSES = "time_courses"
METRICS = (*DISTANCES, *SIMILARITIES, TIME_COURSES)

# Directions with less of the variance than this are those in which the data do not vary.
RANK_TOLERANCE = 1e-8


@fill_doc
def match_states(
    hmm: GaussianHMM,
    reference: GaussianHMM | StateTimeCourse | Sequence[StateTimeCourse],
    *,
    metric: str = "riemannian",
    inst: RecordingLike | Sequence[RecordingLike] | None = None,
    sfreq: float | None = None,
) -> np.ndarray:
    """Find which state of a model belongs to which state of a reference.

    Parameters
    ----------
    hmm : HMM
        The model whose states are to be put in order.
    reference : HMM | StateTimeCourse | list of StateTimeCourse
        The model whose order they take. With ``metric="time_courses"`` also the states of
        ``inst``, such as the truth of a simulation.
    metric : str
        What tells how alike two states are. ``"riemannian"``: the affine-invariant distance
        :footcite:`PennecEtAl2006`, the same in any units and in any mixture of the features.
        ``"wasserstein"``: the distance of optimal transport :footcite:`DowsonLandau1982`, which
        features of large variance rule. ``"frobenius"``, ``"correlation"`` and
        ``"rv_coefficient"``: those of osl-dynamics, between covariances alone.
        ``"time_courses"``: the correlation of state probabilities over ``inst``.
    inst : object | None
        With ``metric="time_courses"``, the recordings, as for :meth:`HMM.predict`.
    %(sfreq)s

    Returns
    -------
    order : array of int, shape (n_states,)
        ``order[i]`` is the state of ``hmm`` that belongs to state ``i`` of the reference, so that
        ``hmm.reorder_states(order)`` lines up. States that are left over, where ``hmm`` has more,
        come last in their own order.

    Raises
    ------
    TypeError
        If ``hmm`` or ``reference`` is of a wrong kind.
    ValueError
        If ``hmm`` has fewer states than the reference, the two have other features, there is no
        ``inst`` where one is needed, or one where it is not used.

    See Also
    --------
    HMM.agreement : How much the states of two models have in common.

    Notes
    -----
    The best of all one-to-one matches is taken, by the sum over states (the Hungarian method
    :footcite:`Kuhn1955`). Where models learned means, these count: the Wasserstein distance is that
    of Gaussians, and for the Riemannian distance means are an additional row and column of the
    covariances :footcite:`CalvoOller1990`.

    References
    ----------
    .. footbibliography::
    """
    check_option(metric, "metric", METRICS)
    check_model(hmm, "hmm")
    if metric == TIME_COURSES:
        if inst is None:
            raise ValueError(
                'metric="time_courses" needs inst, the recordings whose states are compared'
            )
        values = course_correlations(*_courses_of(hmm, reference, inst, sfreq))
    else:
        if inst is not None or sfreq is not None:
            raise ValueError(
                f'inst and sfreq are for metric="time_courses" only; metric={metric!r} compares '
                "what the models hold"
            )
        reference = check_model(reference, "reference", ', or states, with metric="time_courses"')
        if not same_features(hmm.preparation_, reference.preparation_):
            raise ValueError(
                "hmm and reference were trained on other features (channels, settings, rate or "
                "components), so their covariances do not compare; train both on the same "
                'prepared data, or use metric="time_courses" with inst'
            )
        values = compare_states(
            reference.covariances_, hmm.covariances_, metric, reference.means_, hmm.means_
        )
    n_reference, n_states = values.shape
    if n_states < n_reference:
        raise ValueError(
            f"hmm has {n_states} states and reference {n_reference}, so no order of the former "
            "lines up with the latter; exchange the two, or use hmm.agreement(reference, inst), "
            "which says what has no partner"
        )
    matched = best_match(values, smallest=metric in DISTANCES)
    rest = np.setdiff1d(np.arange(n_states), matched)
    return np.concatenate([matched, rest])


def check_model(value: Any, name: str, more: str = "") -> GaussianHMM:
    """Return an argument that must be a model."""
    # Models are recognized by what they hold: their module comes after this one.
    if not hasattr(value, "covariances_"):
        raise TypeError(
            f"{name} must be a model, as fit_hmm and read_hmm give{more}, got "
            f"{type(value).__name__}"
        )
    return value


def _courses_of(
    hmm: GaussianHMM, reference: Any, inst: Any, sfreq: float | None
) -> tuple[list[StateTimeCourse], list[StateTimeCourse]]:
    """States of recordings by the reference and by the model."""
    if isinstance(reference, (StateTimeCourse, list, tuple)):
        expected = as_courses(reference)
    else:
        reference = check_model(reference, "reference", ", or states")
        expected = as_courses(reference.predict(inst, sfreq=sfreq))
    return expected, as_courses(hmm.predict(inst, sfreq=sfreq))


def best_match(values: np.ndarray, *, smallest: bool = False) -> np.ndarray:
    """Find the best one-to-one match of rows and columns: the column of each row, or -1."""
    cost = np.array(values if smallest else -np.asarray(values), float)
    finite = np.isfinite(cost)
    worst = cost[finite].max() if finite.any() else 0.0
    cost[~finite] = worst + 1
    rows, columns = linear_sum_assignment(cost)
    match = np.full(len(cost), -1)
    match[rows] = columns
    return match


# States as Gaussians


def compare_states(
    first: np.ndarray,
    second: np.ndarray,
    metric: str,
    first_means: np.ndarray | None = None,
    second_means: np.ndarray | None = None,
) -> np.ndarray:
    """Compare each state of one set with each of another, shape (n_first, n_second).

    States are covariances, shape (n_states, n_features, n_features), and means, 0 where there are
    none.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    n_features = first.shape[-1]
    means = [
        np.zeros((len(covariances), n_features)) if values is None else np.asarray(values, float)
        for covariances, values in ((first, first_means), (second, second_means))
    ]
    if metric == "riemannian":
        return _riemannian(first, second, *means)
    if metric == "wasserstein":
        return _wasserstein(first, second, *means)
    if metric == "rv_coefficient":
        first, second = first @ first, second @ second
    rows, columns = first.reshape(len(first), -1), second.reshape(len(second), -1)
    if metric == "frobenius":
        return np.linalg.norm(rows[:, np.newaxis] - columns, axis=-1)
    if metric == "correlation":
        rows, columns = (x - x.mean(1, keepdims=True) for x in (rows, columns))
    norms = np.outer(np.linalg.norm(rows, axis=1), np.linalg.norm(columns, axis=1))
    return (rows @ columns.T) / norms


def _riemannian(
    first: np.ndarray, second: np.ndarray, first_means: np.ndarray, second_means: np.ndarray
) -> np.ndarray:
    """Affine-invariant distances, means being a row and column of the covariances."""
    basis = _varying(np.concatenate([first, second]), np.concatenate([first_means, second_means]))
    first = _with_means(basis.T @ first @ basis, first_means @ basis)
    second = _with_means(basis.T @ second @ basis, second_means @ basis)
    factors = np.linalg.cholesky(second)
    out = np.empty((len(first), len(second)))
    for i, covariance in enumerate(first):
        for j, factor in enumerate(factors):
            half = solve_triangular(factor, covariance, lower=True)
            whitened = solve_triangular(factor, half.T, lower=True)
            logs = np.log(np.linalg.eigvalsh(whitened))
            out[i, j] = np.sqrt(np.square(logs).sum())
    return out


def _varying(covariances: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Basis of the directions in which the data vary, whitened by all states together."""
    pooled = (covariances + means[:, :, np.newaxis] * means[:, np.newaxis]).mean(axis=0)
    scale = np.sqrt(np.diag(pooled))
    scale[scale == 0] = 1.0
    values, vectors = np.linalg.eigh(pooled / np.outer(scale, scale))
    varies = values > RANK_TOLERANCE * values[-1]
    return vectors[:, varies] / np.sqrt(values[varies]) / scale[:, np.newaxis]


def _with_means(covariances: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Covariances and means as one matrix for each state."""
    n_states, n_features = means.shape
    out = np.empty((n_states, n_features + 1, n_features + 1))
    out[:, :-1, :-1] = covariances + means[:, :, np.newaxis] * means[:, np.newaxis]
    out[:, :-1, -1] = out[:, -1, :-1] = means
    out[:, -1, -1] = 1.0
    return out


def _wasserstein(
    first: np.ndarray, second: np.ndarray, first_means: np.ndarray, second_means: np.ndarray
) -> np.ndarray:
    """Wasserstein distances of Gaussians."""
    values, vectors = np.linalg.eigh(first)
    roots = (vectors * np.sqrt(values.clip(0))[:, np.newaxis]) @ vectors.swapaxes(1, 2)
    out = np.empty((len(first), len(second)))
    for i, root in enumerate(roots):
        shared = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum(axis=1)
        squares = np.trace(first[i]) + np.trace(second, axis1=1, axis2=2) - 2 * shared
        squares += np.square(first_means[i] - second_means).sum(axis=1)
        out[i] = np.sqrt(squares.clip(0))  # of equal states rounding may leave less than nothing
    return out


# States as time courses


def course_correlations(
    first: Sequence[StateTimeCourse], second: Sequence[StateTimeCourse]
) -> np.ndarray:
    """Correlate state probabilities over all samples modeled in both, shape (n_first, n_second)."""
    pairs = [common_samples(a, b) for a, b in same_recordings(first, second)]
    return correlations([(a.probabilities, b.probabilities) for a, b in pairs])


def correlations(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Correlate rows of pairs of arrays over the samples of several recordings.

    Shapes: each pair (n_first, n_times) and (n_second, n_times); returns (n_first, n_second).
    """
    n = sum(x.shape[1] for x, _ in pairs)
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    means = [sum(x.sum(1, dtype=float) for x in side) / n for side in sides]
    constant = [
        np.max([x.max(1) for x in side if x.size], axis=0)
        == np.min([x.min(1) for x in side if x.size], axis=0)
        for side in sides
    ]
    products: Any = 0.0
    squares: list[Any] = [0.0, 0.0]
    for pair in pairs:
        x, y = (values - mean[:, np.newaxis] for values, mean in zip(pair, means, strict=True))
        products = products + x @ y.T
        squares = [squares[0] + np.square(x).sum(1), squares[1] + np.square(y).sum(1)]
    norms = [np.sqrt(np.where(c, np.nan, s)) for c, s in zip(constant, squares, strict=True)]
    return products / np.outer(*norms)


def same_recordings(
    first: Sequence[StateTimeCourse], second: Sequence[StateTimeCourse]
) -> list[tuple[StateTimeCourse, StateTimeCourse]]:
    """Pair the states of each recording; raises where recordings differ."""
    if len(first) != len(second):
        raise ValueError(
            f"states must be of the same recordings, but there are those of {len(first)} and of "
            f"{len(second)}"
        )
    for i_recording, (a, b) in enumerate(zip(first, second, strict=True)):
        if a.labels.shape != b.labels.shape or a.timeline.sfreq != b.timeline.sfreq:
            grids = [f"{x.labels.shape} at {x.timeline.sfreq:g} Hz" for x in (a, b)]
            raise ValueError(
                f"states must be on the same time grid, but those of recording {i_recording} are "
                f"of shape {grids[0]} and {grids[1]}; find both in the same recording"
            )
    return list(zip(first, second, strict=True))


class ModeledSamples(NamedTuple):
    """States at samples that two state time courses model, epochs end to end."""

    probabilities: np.ndarray
    """Shape (n_states, n_samples)."""
    labels: np.ndarray
    """Shape (n_samples,)."""


def common_samples(
    first: StateTimeCourse, second: StateTimeCourse
) -> tuple[ModeledSamples, ModeledSamples]:
    """Get the states of both at the samples that both model."""
    in_both = (first.labels.ravel() >= 0) & (second.labels.ravel() >= 0)
    if not in_both.any():
        raise ValueError("the two have no sample of a recording in common that both model")
    return _samples_of(first, in_both), _samples_of(second, in_both)


def _samples_of(states: StateTimeCourse, chosen: np.ndarray) -> ModeledSamples:
    """Get the states at some samples, epochs end to end."""
    return ModeledSamples(
        end_to_end(states.probabilities)[:, chosen], states.labels.ravel()[chosen]
    )
