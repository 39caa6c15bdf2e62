"""The file of a model: HDF5, without pickles."""

import platform
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mne
import numpy as np

from .._utils.hdf5 import read_model_file, write_model_file
from .._utils.typing import FileName
from ..preparation.covariance_alignment import Alignment
from ..preparation.settings import preparation_content, preparation_from
from .training_reference import Reference

FORMAT_VERSION = 1
TITLE = "mne_hmm"


@dataclass(frozen=True)
class Learned:
    """Which parameters were learned, and the form of the covariances."""

    means: bool
    covariances: bool = True
    transitions: bool = True
    covariance_type: str = "full"


def write_model(path: Path, hmm: Any, overwrite: bool) -> None:
    """Write all that a model holds."""
    write_model_file(path, _to_content(hmm), TITLE, overwrite=overwrite)


def read_model(fname: FileName) -> dict[str, Any]:
    """Read a model's arguments."""
    content = read_model_file(fname, TITLE, FORMAT_VERSION)
    try:
        arguments = _from_content(content)
        _check_parameters(arguments)
    except Exception as error:  # a file that somebody changed may hold anything
        raise OSError(f"{fname} is damaged ({error!r}); save the model again") from error
    return arguments


def _check_parameters(arguments: dict[str, Any]) -> None:
    """Check that parameters belong together and are what a model can have."""
    d, k = arguments["preparation"].n_features_, len(arguments["state_names"])
    shapes = {
        "initial_probs": (k,),
        "transition_matrix": (k, k),
        "means": (k, d),
        "covariances": (k, d, d),
    }
    for name, shape in shapes.items():
        array = arguments[name]
        if not isinstance(array, np.ndarray) or array.shape != shape:
            raise ValueError(f"{name} must be an array of shape {shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite")
    for name in ("initial_probs", "transition_matrix"):
        array = arguments[name]
        if (array < 0).any() or not np.allclose(array.sum(-1), 1, rtol=0, atol=1e-6):
            raise ValueError(f"{name} must be probabilities that sum to 1")


def _to_content(hmm: Any) -> dict[str, Any]:
    """Put all that a model holds into a dictionary that HDF5 can hold."""
    return {
        "format_version": FORMAT_VERSION,
        "parameters": {
            "initial_probs": hmm.initial_probs_,
            "transition_matrix": hmm.transition_matrix_,
            "means": hmm.means_,
            "covariances": hmm.covariances_,
        },
        "learned": vars(hmm.learned),
        "preparation": preparation_content(hmm.preparation_),
        "state_names": list(hmm.state_names),
        "history": hmm.history_,
        "free_energy": hmm.free_energy_,
        "converged": hmm.converged_,
        "annotations": [_annotations_content(a) for a in hmm.annotations_],
        "random_state": _seed_content(hmm.random_state),
        "versions": hmm.versions,
        "reference": None if hmm.reference is None else vars(hmm.reference),
        "alignments": [alignment.content() for alignment in hmm.alignments_],
        "explained_by_recording": hmm.explained_by_recording_,
    }


def _from_content(content: dict[str, Any]) -> dict[str, Any]:
    """Make the arguments of a model of the content of its file."""
    learned = content["learned"]
    for name in ("means", "covariances", "transitions"):
        learned[name] = bool(learned[name])
    history = content["history"]
    for attempt in (*history.get("starts", []), *history.get("moves", [])):
        names = ("kept", "all_data", "leads_back")  # the last in files of earlier versions
        attempt |= {name: bool(attempt[name]) for name in names if name in attempt}
    search = history.get("search", {})
    if "complete" in search:
        search["complete"] = bool(search["complete"])
    versions = content["versions"]
    if "onednn" in versions:
        versions["onednn"] = bool(versions["onednn"])
    return dict(
        **content["parameters"],
        preparation=preparation_from(content["preparation"]),
        learned=Learned(**learned),
        history=history,
        free_energy=content["free_energy"],
        converged=content["converged"],
        annotations=[_annotations_from(a) for a in content["annotations"]],
        state_names=content["state_names"],
        random_state=_seed_from(content["random_state"]),
        versions=versions,
        reference=None if content["reference"] is None else Reference(**content["reference"]),
        alignments=[Alignment.from_content(alignment) for alignment in content["alignments"]],
        explained_by_recording=content["explained_by_recording"],
    )


def _seed_content(seed: int | None) -> int | str | None:
    """Write a seed as text where it is larger than whole numbers in files may be."""
    return str(seed) if seed is not None and seed >= 2**63 else seed


def _seed_from(content: int | str | None) -> int | None:
    """Get the seed that `_seed_content` wrote."""
    return int(content) if isinstance(content, str) else content


def _annotations_content(annotations: mne.Annotations) -> dict[str, Any]:
    """Put annotations into a dictionary, each description once."""
    names, codes = np.unique(annotations.description, return_inverse=True)
    orig_time = annotations.orig_time
    return {
        "onset": annotations.onset,
        "duration": annotations.duration,
        "names": [str(name) for name in names],
        "codes": codes,
        "orig_time": None if orig_time is None else orig_time.isoformat(),
    }


def _annotations_from(content: dict[str, Any]) -> mne.Annotations:
    """Make the annotations that `_annotations_content` put into a dictionary."""
    names = np.array(content["names"], dtype=str)
    orig_time = content["orig_time"]
    return mne.Annotations(
        content["onset"],
        content["duration"],
        names[content["codes"]] if len(names) else [],
        orig_time=None if orig_time is None else datetime.fromisoformat(orig_time),
    )


def software_versions() -> dict[str, Any]:
    """Versions a model was trained with, and settings its bits depend on."""
    from ..engine import runtime_settings

    try:
        mne_hmm_version = version("mne-hmm")
    except PackageNotFoundError:
        mne_hmm_version = "unknown"
    return {
        "mne_hmm": mne_hmm_version,
        "mne": mne.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        **runtime_settings(),
    }
