"""What tells one call of `prepare` from another, so that folders are never mixed."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mne.io import BaseRaw

from .._utils.arrays import row_blocks
from .._utils.checks import listed
from ..io.epochs import EpochGrid
from ..io.recording import Recording
from .alignment_groups import AlignmentGroups
from .settings import FittedPreparation, Preparation

# Samples that are hashed at once.
HASHED_BLOCK_LENGTH = 2**16

# Parts of a recording's identity, as errors name them.
PARTS_OF_RECORDING = {
    "files": "files (names, sizes or times of change)",
    "samples": "signals",
    "projections": "projections or compensation",
    "ch_names": "channels",
    "timeline": "sampling rate, number of samples or start",
    "good": "annotations (the good spans)",
    "epochs": "epochs (their events, times or metadata)",
}
# Parts of a call that say how recordings are aligned.
PARTS_OF_ALIGNMENT = {
    "groups": "group (which recordings are aligned together)",
    "align_on": "align_on (what recordings are aligned on)",
}


def identity_of(
    recordings: Sequence[Recording], preparation: Preparation, groups: AlignmentGroups | None
) -> dict[str, Any]:
    """Describe a call in values that JSON keeps exactly."""
    fitted = preparation if isinstance(preparation, FittedPreparation) else None
    identity = {
        "settings": preparation.settings,
        "fitted": None if fitted is None else _digest_of_fitted(fitted),
        "recordings": [_identity_of_recording(recording) for recording in recordings],
        "groups": None if groups is None else groups.members,
        "align_on": None if groups is None else _identity_of_references(groups),
    }
    return json.loads(json.dumps(identity, default=lambda number: number.item()))


def differences(there: dict[str, Any], here: dict[str, Any], labels: Sequence[str]) -> list[str]:
    """Name what differs between two calls."""
    out = []
    for name, value in here["settings"].items():
        if repr(there["settings"].get(name)) != repr(value):  # 1 component is not a share of 1.0
            out.append(f"{name}={value!r} (there {there['settings'].get(name)!r})")
    if there["fitted"] != here["fitted"]:
        out.append("the fitted preparation")
    for name in ("groups", "align_on"):
        if there.get(name) != here[name]:
            out.append(PARTS_OF_ALIGNMENT[name])
    n_there, n_here = len(there["recordings"]), len(here["recordings"])
    if n_there != n_here:
        return [*out, f"the number of recordings, {n_here} (there {n_there})"]
    for label, old, new in zip(labels, there["recordings"], here["recordings"], strict=True):
        parts = [words for name, words in PARTS_OF_RECORDING.items() if old.get(name) != new[name]]
        if parts:
            out.append(f"{label}: {listed(parts)}")
    return out


def _digest_of_fitted(fitted: FittedPreparation) -> str:
    digest = hashlib.sha256()
    for name in ("components_", "eigenvalues_", "template_", "spatial_components_", "aligned_to_"):
        value = getattr(fitted, name)
        if value is not None:
            digest.update(np.ascontiguousarray(value).data)
    rest = (fitted.ch_names_, fitted.rank_, fitted.sfreq_, fitted.explained_variance_)
    digest.update(json.dumps([str(value) for value in rest]).encode())
    return digest.hexdigest()


def _identity_of_recording(recording: Recording) -> dict[str, Any]:
    raw, timeline = recording.raw, recording.timeline
    in_files = not raw.preload and all(fname is not None for fname in raw.filenames)
    meas_date = timeline.meas_date
    return {
        "files": [_identity_of_file(fname) for fname in raw.filenames] if in_files else None,
        "samples": None if in_files else _digest_of_samples(recording),
        "projections": _digest_of_projections(raw),
        "ch_names": list(recording.ch_names),
        "timeline": [
            timeline.sfreq,
            timeline.n_times,
            timeline.first_samp,
            None if meas_date is None else meas_date.isoformat(),
        ],
        "good": [_digest_of_spans(recording.segments), _digest_of_spans(recording.spans)],
        "epochs": _digest_of_epochs(timeline.epochs),
    }


def _identity_of_references(groups: AlignmentGroups) -> list[Any] | None:
    """Describe what covariances are taken from; None if from the recordings themselves."""
    if all(reference is None for reference in groups.references):
        return None
    identities: dict[int, Any] = {}  # one recording may be the reference of all
    for reference in groups.references:
        if isinstance(reference, Recording) and id(reference) not in identities:
            identities[id(reference)] = _identity_of_recording(reference)
    return [identities.get(id(reference), reference) for reference in groups.references]


def _identity_of_file(fname: Path) -> list[Any]:
    stat = fname.stat()
    return [fname.name, stat.st_size, stat.st_mtime_ns]


def _digest_of_samples(recording: Recording) -> str:
    digest = hashlib.sha256()
    for rows in row_blocks(recording.timeline.n_times, HASHED_BLOCK_LENGTH):
        block = recording.read(rows.start, rows.stop)
        digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()


def _digest_of_projections(raw: BaseRaw) -> str | None:
    """Hash projections, which change what is read from a file and are not kept in it."""
    active = [p["data"]["data"] for p in raw.info["projs"] if p["active"]]
    if not active and raw.compensation_grade is None:
        return None
    digest = hashlib.sha256(str(raw.compensation_grade).encode())
    for vectors in active:
        digest.update(np.ascontiguousarray(vectors).data)
    return digest.hexdigest()


def _digest_of_epochs(grid: EpochGrid | None) -> str | None:
    """Hash all that goes into the folder with the features of epochs."""
    return None if grid is None else hashlib.sha256(json.dumps(grid.content()).encode()).hexdigest()


def _digest_of_spans(spans: Sequence[tuple[int, int]]) -> str:
    return hashlib.sha256(np.array(spans, "<i8").tobytes()).hexdigest()
