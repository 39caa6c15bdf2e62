"""Recordings paired with their states: the same channels, the same grid, the spans of both."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from .._utils.checks import listed, plural
from ..io.file_search import expanded
from ..io.inputs import as_list, to_recordings
from ..io.parcel_inputs import AtlasArguments, with_parcels
from ..io.recording import MAX_VALUE, Recording
from ..model.hmm import HMM
from ..preparation.prepared_data import PreparedData
from ..states.time_course import StateTimeCourse, as_courses


def pair_with_states(
    inst: Any,
    states: StateTimeCourse | HMM | Sequence[StateTimeCourse],
    *,
    reject_by_annotation: bool = True,
    sfreq: float | None = None,
    n_jobs: int | None = None,
) -> tuple[list[Recording], Iterator[StateTimeCourse]]:
    """Get recordings, with the channels their states were found in, and these states."""
    if any(isinstance(entry, PreparedData) for entry in as_list(inst)):
        raise TypeError(
            "inst is PreparedData, whose signals are features already; pass the recordings "
            "they were made of"
        )
    atlas = states.atlas_arguments if isinstance(states, HMM) else AtlasArguments()
    inst = with_parcels(inst, atlas, remembered=True)
    entries = [file for entry in as_list(inst) for file in expanded(entry)]
    ch_names: Sequence[str] | None
    channels_from = ""
    if isinstance(states, HMM):
        if states.preparation_.grouped_:
            raise ValueError(
                "states is a model of groups of recordings that were aligned together; find the "
                "states first, with the groups: hmm.predict(inst, group=...)"
            )
        ch_names = states.preparation_.ch_names_
        channels_from = states.preparation_.channels_from_
    else:
        courses = as_courses(states)
        _check_lengths(courses, entries)
        ch_names = courses[0].ch_names or None
    recordings = to_recordings(
        entries,
        ch_names=ch_names,
        channels_from=channels_from,
        reject_by_annotation=reject_by_annotation,
        sfreq=sfreq,
    )
    if isinstance(states, HMM):
        return recordings, _predict_one_by_one(states, entries, reject_by_annotation, sfreq, n_jobs)
    for recording, course in zip(recordings, courses, strict=True):
        _check_same_grid(recording, course)
    return recordings, iter(courses)


def _predict_one_by_one(
    hmm: HMM,
    entries: list[Any],
    reject_by_annotation: bool,
    sfreq: float | None,
    n_jobs: int | None,
) -> Iterator[StateTimeCourse]:
    """Find the states of one recording after another."""
    for entry in entries:
        yield from hmm.predict(
            [entry], reject_by_annotation=reject_by_annotation, sfreq=sfreq, n_jobs=n_jobs
        )


def _check_lengths(courses: Sequence[StateTimeCourse], entries: list[Any]) -> None:
    """Check that there are as many states as recordings."""
    if len(courses) != len(entries):
        raise ValueError(
            f"states must have one entry per recording, got {len(courses)} for "
            f"{plural(len(entries), 'recording')}; pass hmm.predict(inst) of the same inst"
        )


def _check_same_grid(recording: Recording, course: StateTimeCourse) -> None:
    """Check that states lie on the grid of a recording."""
    grid = recording.timeline
    if (grid.n_times, grid.sfreq) != (course.labels.size, course.timeline.sfreq):
        raise ValueError(
            f"states must be those of the recording, but {recording.label} has {grid.n_times} "
            f"samples at {grid.sfreq:g} Hz and its states {course.labels.size} at "
            f"{course.timeline.sfreq:g} Hz; pass hmm.predict(inst) of the same inst"
        )


def common_spans(
    recording: Recording, states: StateTimeCourse
) -> list[tuple[int, int, list[tuple[int, int]]]]:
    """Find the spans of a recording that are good and were modeled, by piece of the file.

    Each entry has the first and last sample to read, and the spans in between.
    """
    starts = [start for start, _ in recording.segments]
    spans = _intersection(states.spans, recording.spans)
    # Good spans never cross from one piece to the next.
    by_piece = groupby(spans, key=lambda span: bisect_right(starts, span[0]))
    out = [(inside[0][0], inside[-1][1], inside) for inside in (list(g) for _, g in by_piece)]
    if not out:
        raise ValueError(
            f"{recording.label} has no good sample whose states are known; look at its "
            "annotations, or pass reject_by_annotation=False"
        )
    return out


def _intersection(
    first: Sequence[tuple[int, int]], second: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Intersect two lists of spans, each in order."""
    out, i, j = [], 0, 0
    while i < len(first) and j < len(second):
        start, stop = max(first[i][0], second[j][0]), min(first[i][1], second[j][1])
        if start < stop:
            out.append((start, stop))
        if first[i][1] < second[j][1]:
            i += 1
        else:
            j += 1
    return out


def check_finite(
    signals: np.ndarray, weights: np.ndarray, recording: Recording, start: int, stop: int
) -> None:
    """Check signals (n_channels, n_times) and weights (n_states, n_times) of a span."""
    where = f"{recording.label} {recording.timeline.where(start)}"
    seconds = (stop - start) / recording.timeline.sfreq
    good = np.abs(signals) <= MAX_VALUE
    if not good.all():
        wrong = np.array(recording.ch_names)[~good.all(axis=1)]
        raise ValueError(
            f"{where} ({seconds:g} s) holds NaN or infinite values, or values beyond "
            f"±{MAX_VALUE:g}, in {listed(wrong)}; annotate them as bad, or interpolate the channels"
        )
    if not np.isfinite(weights).all():
        raise ValueError(
            f"states.probabilities of {where} ({seconds:g} s) hold NaN within states.spans; only "
            "samples outside of the spans may"
        )
