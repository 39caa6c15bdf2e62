"""The states of recordings under models: what every method that looks at data goes through."""

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._utils.typing import GaussianHMM
from ..io.parcel_inputs import with_parcels
from ..io.timeline import TimeMap
from ..preparation.prepare import prepare
from ..preparation.prepared_data import PreparedData, as_prepared, same_features
from ..states.time_course import StateTimeCourse

if TYPE_CHECKING:
    from ..engine import Parameters, Path, Posterior, Samples


class Options(NamedTuple):
    """How recordings are prepared for inference, as many methods of a model take it."""

    reject_by_annotation: bool = True
    sfreq: float | None = None
    n_jobs: int | None = None
    group: Sequence[Hashable] | None = None
    align_on: Any = None


def features_for(hmm: GaussianHMM, inst: Any, options: Options) -> PreparedData:
    """Prepare recordings as a model needs them, or check that they are."""
    prepared = as_prepared(inst)
    if prepared is None:
        return prepare(
            with_parcels(inst, hmm.atlas_arguments, remembered=True, n_jobs=options.n_jobs),
            hmm.preparation_,
            **options._asdict(),
        )
    for name in ("group", "align_on"):
        if getattr(options, name) is not None:
            raise ValueError(
                f"{name} cannot be given with PreparedData, which are aligned already; "
                f"give it to prepare(recordings, hmm.preparation_, {name}=...)"
            )
    if not same_features(hmm.preparation_, prepared.preparation):
        raise ValueError(
            "these data were prepared otherwise than the model's own "
            f"({prepared.n_features} features against {hmm.n_features}, or other channels, "
            "settings, rate or components); use mne_hmm.prepare(recordings, hmm.preparation_)"
        )
    return prepared


def engine_parameters(hmm: GaussianHMM) -> "Parameters":
    """Give a model's parameters as the engine takes them."""
    from ..engine import Parameters

    return Parameters(hmm.initial_probs_, hmm.transition_matrix_, hmm.means_, hmm.covariances_)


def chain_lengths(time_map: TimeMap) -> list[int]:
    """Count the samples of each of a recording's spans."""
    return [len(span) for span in time_map.spans]


def engine_samples(data: Sequence[np.ndarray], time_maps: Sequence[TimeMap]) -> "Samples":
    """Give features, (n_samples, n_features) per recording, as the engine takes them."""
    from ..engine import Samples

    return Samples(data, [chain_lengths(time_map) for time_map in time_maps])


def infer_recording(
    models: "Sequence[Parameters]", samples: "Samples", covariance_type: str
) -> "list[Posterior]":
    """Infer the states of a recording by several models."""
    from ..engine import infer

    return [infer(samples, parameters, covariance_type=covariance_type) for parameters in models]


def infer_by_recording(
    models: "Sequence[Parameters]", prepared: PreparedData, covariance_type: str
) -> "Iterator[tuple[Samples, list[Posterior]]]":
    """Infer the states of one recording after another by several models."""
    for i_recording, time_map in enumerate(prepared.time_maps):
        samples = engine_samples([prepared.data[i_recording]], [time_map])
        yield samples, infer_recording(models, samples, covariance_type)


def infer_posterior(hmm: GaussianHMM, features: np.ndarray, time_map: TimeMap) -> "Posterior":
    """Infer the probabilities of a model's states in a recording."""
    samples = engine_samples([features], [time_map])
    (posterior,) = infer_recording([engine_parameters(hmm)], samples, hmm.learned.covariance_type)
    _check_evidence(posterior.log_evidence, hmm, features)
    return posterior


def infer_path(hmm: GaussianHMM, features: np.ndarray, time_map: TimeMap) -> "Path":
    """Infer the most probable path through a model's states in a recording."""
    from ..engine import most_probable_path

    path = most_probable_path(
        engine_samples([features], [time_map]),
        engine_parameters(hmm),
        covariance_type=hmm.learned.covariance_type,
    )
    _check_evidence(path.log_probability, hmm, features)
    return path


def _check_evidence(evidence: np.ndarray, hmm: GaussianHMM, features: np.ndarray) -> None:
    """Check that a recording's log evidence is a number, span by span."""
    if not np.isfinite(evidence).all():
        raise ValueError(
            f"the features, up to {np.abs(features).max():.3g}, are so far from all states of "
            "the model that no state can be told from another (variances of its features are "
            f"up to {np.einsum('kii->ki', hmm.covariances_).max():.3g}); give recordings in "
            "the unit of those the model was trained on"
        )


def log_evidence(hmm: GaussianHMM, features: np.ndarray, time_map: TimeMap) -> float:
    """Compute the log evidence of a recording under a model, in nats."""
    return float(infer_posterior(hmm, features, time_map).log_evidence.sum())


def state_time_course(
    hmm: GaussianHMM, prepared: PreparedData, i_recording: int, method: str
) -> StateTimeCourse:
    """Find the states of a recording, by ``method="posterior"`` or ``"viterbi"``."""
    features, time_map = prepared.data[i_recording], prepared.time_maps[i_recording]
    names, ch_names = hmm.state_names, hmm.preparation_.ch_names_
    if method == "viterbi":
        path = infer_path(hmm, features, time_map)
        return StateTimeCourse.from_labels(path.labels, time_map, names, ch_names)
    probabilities = infer_posterior(hmm, features, time_map).probabilities
    labels = probabilities.argmax(1)
    return StateTimeCourse.from_rows(probabilities, labels, time_map, names, ch_names)


def predictions(hmms: Sequence[Any], inst: Any, options: Options) -> list[Any]:
    """Find the states of recordings by several models, preparing once if features are the same."""
    first = hmms[0]
    if all(same_features(hmm.preparation_, first.preparation_) for hmm in hmms[1:]):
        prepared = features_for(first, inst, options)
        return [hmm.predict(prepared) for hmm in hmms]
    if not any(hmm.preparation_.aligns for hmm in hmms):
        return [hmm.predict(inst, **options._asdict()) for hmm in hmms]
    unaligned = options._replace(group=None, align_on=None)
    return [
        hmm.predict(inst, **(options if hmm.preparation_.aligns else unaligned)._asdict())
        for hmm in hmms
    ]


def draw_features(hmm: GaussianHMM, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw features (n_samples, n_features) of a model, given its states (n_samples,)."""
    features = rng.standard_normal((len(labels), hmm.n_features))
    for state in range(hmm.n_states):
        is_on = labels == state
        factor = np.linalg.cholesky(hmm.covariances_[state])
        features[is_on] = features[is_on] @ factor.T + hmm.means_[state]
    return features
