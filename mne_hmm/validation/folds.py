"""Folds of prepared data: whole recordings, or long blocks of few recordings with gaps between."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .._utils.checks import check_group, plural
from .._utils.feature_sequence import FeatureSequence, n_features_of, stream_features
from ..io.timeline import TimeMap
from ..preparation.prepared_data import PreparedData

# First row, and the one after the last, of each contiguous segment, in order.
Segments = tuple[tuple[int, int], ...]


class RecordingSegments(NamedTuple):
    """Rows of one recording."""

    recording: int
    """Index of the recording."""
    segments: Segments
    """Where the rows lie, in order."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return sum(stop - start for start, stop in self.segments)


class Fold(NamedTuple):
    """What a model is trained on, and what it is tested on."""

    training: tuple[RecordingSegments, ...]
    held_out: tuple[RecordingSegments, ...]


def describe_folds(prepared: PreparedData, n_folds: int, group: list[int] | None) -> str:
    """Say what folds are, as ``5 folds of recordings``."""
    if group is not None:
        return f"{n_folds} folds of groups of recordings"
    return f"{n_folds} folds of {'' if len(prepared) >= n_folds else 'blocks of '}recordings"


def number_groups(group: Any, n_recordings: int, n_folds: int) -> list[int] | None:
    """Check the groups of recordings, and number them in the order in which they come."""
    labels = check_group(group, n_recordings)
    if labels is None:
        return None
    index = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    if len(index) < n_folds:
        raise ValueError(
            f"group has {plural(len(index), 'group')}, which cannot be divided into {n_folds} "
            "folds; use fewer folds, or leave group out for folds of recordings or blocks"
        )
    return [index[label] for label in labels]


def make_folds(
    prepared: PreparedData, n_folds: int, gap: float, group: list[int] | None = None
) -> list[Fold]:
    """Divide data into folds of about the same length."""
    if group is not None or len(prepared) >= n_folds:
        lengths = [time_map.n_rows for time_map in prepared.time_maps]
        return _folds_of_recordings(lengths, n_folds, group or range(len(lengths)))
    return _folds_of_blocks(prepared, n_folds, gap)


def _folds_of_recordings(lengths: list[int], n_folds: int, group: Sequence[int]) -> list[Fold]:
    """Hold out whole recordings; those of one group are in one fold."""
    recordings = [_whole_recording(i, length) for i, length in enumerate(lengths)]
    return [
        Fold(
            tuple(rows for rows in recordings if rows.recording not in members),
            tuple(recordings[i] for i in members),
        )
        for members in _balanced(lengths, n_folds, group)
    ]


def _folds_of_blocks(prepared: PreparedData, n_folds: int, gap: float) -> list[Fold]:
    """Hold out long blocks of the recordings laid end to end, with gaps on both sides."""
    lengths = [time_map.n_rows for time_map in prepared.time_maps]
    reach = prepared.preparation.n_embeddings - 1
    n_gap = max(int(np.ceil(gap * prepared.sfreq)), reach)
    folds = []
    if n_folds <= sum(lengths):
        edges = np.round(np.linspace(0, sum(lengths), n_folds + 1)).astype(int).tolist()
        folds = [_hold_out_block(lengths, start, stop, n_gap) for start, stop in pairwise(edges)]
    if not folds or not all(fold.training and fold.held_out for fold in folds):
        seconds = sum(lengths) / prepared.sfreq
        raise ValueError(
            f"{seconds:.1f} s of data cannot be cut into {plural(n_folds, 'block')} with gaps "
            f"of {n_gap / prepared.sfreq:.2f} s; use fewer folds, a smaller gap or more data"
        )
    return folds


def split_halves(
    prepared: PreparedData, gap: float, group: list[int] | None = None
) -> list[tuple[RecordingSegments, ...]]:
    """Divide data into two halves, as `make_folds` does."""
    return [fold.training for fold in make_folds(prepared, 2, gap, group)]


def select_rows(prepared: PreparedData, rows: Sequence[RecordingSegments]) -> PreparedData:
    """Select rows of recordings; segments that were apart stay so, as chains of their own."""
    data: Any = SelectedRows(prepared.data, rows)
    if isinstance(prepared.data, list):
        data = list(data)
    return PreparedData(
        data,
        prepared.preparation,
        [_cut_time_map(prepared.time_maps[own.recording], own.segments) for own in rows],
        [prepared.names[own.recording] for own in rows],
        [prepared.alignments[own.recording] for own in rows] if prepared.alignments else [],
    )


class SelectedRows(FeatureSequence):
    """Some rows of some recordings, which are read when they are asked for."""

    def __init__(self, data: Sequence[np.ndarray], rows: Sequence[RecordingSegments]):
        self.data, self.rows = data, list(rows)
        self.lengths = [own.n_rows for own in rows]
        self.n_features = n_features_of(data)

    def __getitem__(self, index: Any) -> Any:
        rows = self.rows[index]
        return _cut_features(self.data[rows.recording], rows.segments)

    def stream(self, order: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield recordings in a given order with their indices, reading ahead."""
        order = list(order)
        stream = stream_features(self.data, [self.rows[index].recording for index in order])
        for index, (_, features) in zip(order, stream, strict=True):
            yield index, _cut_features(features, self.rows[index].segments)


def _cut_features(features: np.ndarray, segments: Segments) -> np.ndarray:
    """Cut segments out of features, shape (n_samples, n_features)."""
    if len(segments) == 1:
        return features[slice(*segments[0])]  # a view: most folds need no copy
    return np.concatenate([features[start:stop] for start, stop in segments])


def _cut_time_map(time_map: TimeMap, segments: Segments) -> TimeMap:
    """Say where rows that were selected lie in time; each segment within a span is a span."""
    spans, row = [], 0
    for start, stop in segments:
        for span in time_map.spans:
            begin, end = max(start, span.rows[0]), min(stop, span.rows[1])
            if begin < end:
                first = span.first + begin - span.rows[0]
                spans.append(replace(span, rows=(row, row + end - begin), first=first))
                row += end - begin
    return TimeMap(time_map.timeline, tuple(spans))


def _whole_recording(i_recording: int, n_rows: int) -> RecordingSegments:
    return RecordingSegments(i_recording, ((0, n_rows),))


def _balanced(lengths: list[int], n_folds: int, group: Sequence[int]) -> list[list[int]]:
    """Divide recordings into folds of about the same length, the longest groups first."""
    members: dict[int, list[int]] = {}
    for i_recording, label in enumerate(group):
        members.setdefault(label, []).append(i_recording)
    totals = {label: sum(lengths[i] for i in indices) for label, indices in members.items()}
    folds: list[list[int]] = [[] for _ in range(n_folds)]
    sizes = np.zeros(n_folds)
    for label in sorted(members, key=lambda label: -totals[label]):
        smallest = int(sizes.argmin())
        folds[smallest] += members[label]
        sizes[smallest] += totals[label]
    return [sorted(fold) for fold in folds]


def _hold_out_block(lengths: list[int], start: int, stop: int, n_gap: int) -> Fold:
    """Hold out a block of the recordings laid end to end."""
    training, held_out, offset = [], [], 0
    for i_recording, length in enumerate(lengths):
        begin, end = (min(max(edge - offset, 0), length) for edge in (start, stop))
        offset += length
        if begin == end:
            training.append(_whole_recording(i_recording, length))
            continue
        held_out.append(RecordingSegments(i_recording, ((begin, end),)))
        # Another recording is no neighbor, so the gap ends with this one.
        around = (0, begin - n_gap), (end + n_gap, length)
        segments = tuple((first, last) for first, last in around if first < last)
        if segments:
            training.append(RecordingSegments(i_recording, segments))
    return Fold(tuple(training), tuple(held_out))
