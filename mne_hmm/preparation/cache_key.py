"""What tells one call of `prepare` from another, so that folders are never mixed."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from mne.io import BaseRaw

from .._utils.arrays import row_blocks
from .._utils.checks import listed
from ..io.recording import Recording
from .alignment_groups import Groups
from .settings import FittedPreparation, Preparation

# Samples that are hashed at once.
BLOCK_LENGTH = 2**16

# Parts of a recording's identity, as errors name them.
WORDS = {
    "files": "files (names, sizes or times of change)",
    "samples": "signals",
    "projections": "projections or compensation",
    "ch_names": "channels",
    "timeline": "sampling rate, number of samples or start",
    "good": "annotations (the good spans)",
    "epochs": "epochs (their events, times or metadata)",
}
ALIGNED = {
    "groups": "group (which recordings are aligned together)",
    "align_on": "align_on (what recordings are aligned on)",
}


def identity_of(
    recordings: Sequence[Recording], preparation: Preparation, groups: Groups | None
) -> dict[str, Any]:
    """Describe a call in values that JSON keeps exactly."""
    fitted = preparation if isinstance(preparation, FittedPreparation) else None
    identity = {
        "settings": preparation.settings,
        "fitted": None if fitted is None else _digest_of_fitted(fitted),
        "recordings": [_identity_of_one(recording) for recording in recordings],
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
            out.append(ALIGNED[name])
    n_there, n_here = len(there["recordings"]), len(here["recordings"])
    if n_there != n_here:
        return [*out, f"the number of recordings, {n_here} (there {n_there})"]
    for label, old, new in zip(labels, there["recordings"], here["recordings"], strict=True):
        parts = [words for name, words in WORDS.items() if old.get(name) != new[name]]
        if parts:
            out.append(f"{label}: {listed(parts)}")
    return out


def _digest_of_fitted(fitted):
    digest = hashlib.sha256()
    for name in ("components_", "eigenvalues_", "template_", "spatial_components_", "aligned_to_"):
        value = getattr(fitted, name)
        if value is not None:
            digest.update(np.ascontiguousarray(value).data)
    rest = (fitted.ch_names_, fitted.rank_, fitted.sfreq_, fitted.explained_variance_)
    digest.update(json.dumps([str(value) for value in rest]).encode())
    return digest.hexdigest()


def _identity_of_one(recording):
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


def _identity_of_references(groups):
    """Tell what covariances are taken from; None if from the recordings themselves."""
    if all(reference is None for reference in groups.references):
        return None
    known: dict[int, Any] = {}  # one recording may stand for all
    for one in groups.references:
        if isinstance(one, Recording) and id(one) not in known:
            known[id(one)] = _identity_of_one(one)
    return [known.get(id(one), one) for one in groups.references]


def _identity_of_file(fname):
    stat = fname.stat()
    return [fname.name, stat.st_size, stat.st_mtime_ns]


def _digest_of_samples(recording):
    digest = hashlib.sha256()
    for rows in row_blocks(recording.timeline.n_times, BLOCK_LENGTH):
        block = recording.read(rows.start, rows.stop)
        digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()


def _digest_of_projections(raw: BaseRaw):
    """They change what is read from a file, and are not kept in it."""
    active = [p["data"]["data"] for p in raw.info["projs"] if p["active"]]
    if not active and raw.compensation_grade is None:
        return None
    digest = hashlib.sha256(str(raw.compensation_grade).encode())
    for vectors in active:
        digest.update(np.ascontiguousarray(vectors).data)
    return digest.hexdigest()


def _digest_of_epochs(grid):
    """All that goes into the folder with their features."""
    return None if grid is None else hashlib.sha256(json.dumps(grid.content()).encode()).hexdigest()


def _digest_of_spans(spans):
    return hashlib.sha256(np.array(spans, "<i8").tobytes()).hexdigest()
