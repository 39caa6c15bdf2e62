"""Visits to states as tables of annotations, as BIDS has them, and reading them back."""

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import mne
import numpy as np

from .._utils.checks import listed
from .._utils.files import check_path
from .._utils.typing import FileName
from ..states.time_course import PREFIX, StateTimeCourse

COLUMNS = ["onset", "duration", "trial_type"]


def write_annotations(fname: Path, states: StateTimeCourse) -> None:
    """Write the visits to states of a recording as a table."""
    annotations = states.to_annotations()
    # In whole microseconds, as MNE-Python counts, so that reading gives back the same.
    onsets = np.round(1e6 * annotations.onset).astype(np.int64) - _first_microsecond(states)
    columns = onsets / 1e6, annotations.duration, annotations.description
    with fname.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        for onset, duration, name in zip(*columns, strict=True):
            writer.writerow((f"{onset:.6f}", f"{duration:.6f}", name))


def annotations_sidecar(states: StateTimeCourse, *, source: str, model: str) -> dict[str, Any]:
    """Describe the table of a recording, as BIDS does of events."""
    date = states.timeline.meas_date
    return {
        "onset": {
            "Description": "Start of a visit to a state, from the first sample",
            "Units": "s",
        },
        "duration": {"Description": "How long the visit lasted", "Units": "s"},
        "trial_type": {
            "Description": "The state",
            "Levels": {
                PREFIX + name: f"state {i} of {states.n_states}, counted from 0"
                for i, name in enumerate(states.state_names)
            },
        },
        "Description": "Visits to the states of a hidden Markov model",
        "Sources": [source],
        "Model": model,
        "SamplingFrequency": float(states.timeline.sfreq),
        "MeasurementDate": None if date is None else date.isoformat(),
        "FirstSampleTime": _first_microsecond(states) / 1e6,
    }


def read_bids_annotations(fname: FileName) -> mne.Annotations:
    """Read the states of a recording, as `write_bids_derivatives` wrote them.

    Parameters
    ----------
    fname : path-like
        A file that ends in ``_annotations.tsv``. The ``.json`` file beside it tells when the
        recording began.

    Returns
    -------
    annotations : mne.Annotations
        What :meth:`StateTimeCourse.to_annotations` gave: they add to those of the recording,
        ``raw.set_annotations(raw.annotations + annotations)``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file lacks the columns ``onset``, ``duration`` and ``trial_type``, or does not
        hold numbers where it should.

    Notes
    -----
    Without the ``.json`` file onsets count from the recording's first sample
    (``orig_time=None``), as they do for recordings without a measurement date.
    """
    path = check_path(fname, "fname")
    if not path.is_file():
        raise FileNotFoundError(
            f"fname={str(path)!r}: there is no such file (the working folder is {Path.cwd()})"
        )
    with path.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file, delimiter="\t", restval="")
        rows, columns = list(table), list(table.fieldnames or [])
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise ValueError(
            f"fname={str(path)!r} lacks the columns {listed(missing)}; it has {listed(columns)}. "
            "Pass a file that write_bids_derivatives wrote"
        )
    try:
        onsets, durations = (
            np.array([float(row[name]) for row in rows]) for name in ("onset", "duration")
        )
    except ValueError as error:
        raise ValueError(
            f"fname={str(path)!r}: onset and duration must be numbers, {error}"
        ) from None
    sidecar = path.with_suffix(".json")
    described = json.loads(sidecar.read_text(encoding="utf-8")) if sidecar.is_file() else {}
    date = described.get("MeasurementDate")
    first = 0.0 if date is None else float(described["FirstSampleTime"])
    return mne.Annotations(
        np.round(first + onsets, 6),
        durations,
        [row["trial_type"] for row in rows],
        orig_time=None if date is None else datetime.fromisoformat(date),
    )


def _first_microsecond(states: StateTimeCourse) -> int:
    """Get the time of the first sample, where onsets of annotations count from a date."""
    timeline = states.timeline
    return 0 if timeline.meas_date is None else round(1e6 * timeline.first_time)
