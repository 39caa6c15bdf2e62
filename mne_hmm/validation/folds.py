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


class Part(NamedTuple):
    """Rows of one recording."""

    recording: int
    """Number of the recording."""
    runs: tuple[tuple[int, int], ...]
    """First row, and the one after the last, of each run, in order."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return sum(stop - start for start, stop in self.runs)


class Fold(NamedTuple):
    """What a model is trained on, and what it is tested on."""

    training: tuple[Part, ...]
    held_out: tuple[Part, ...]


def folds_in_words(prepared: PreparedData, n_folds: int, group: list[int] | None) -> str:
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
    lengths = [time_map.n_rows for time_map in prepared.time_maps]
    if group is not None or len(prepared) >= n_folds:
        held_out = _balanced(lengths, n_folds, group or range(len(lengths)))
        every = [_whole(number, length) for number, length in enumerate(lengths)]
        return [
            Fold(
                tuple(part for part in every if part.recording not in group),
                tuple(every[number] for number in group),
            )
            for group in held_out
        ]
    reach = prepared.preparation.n_embeddings - 1
    n_gap = max(int(np.ceil(gap * prepared.sfreq)), reach)
    folds = []
    if n_folds <= sum(lengths):
        edges = np.round(np.linspace(0, sum(lengths), n_folds + 1)).astype(int).tolist()
        folds = [_block(lengths, start, stop, n_gap) for start, stop in pairwise(edges)]
    if not folds or not all(fold.training and fold.held_out for fold in folds):
        seconds = sum(lengths) / prepared.sfreq
        raise ValueError(
            f"{seconds:.1f} s of data cannot be cut into {plural(n_folds, 'block')} with gaps "
            f"of {n_gap / prepared.sfreq:.2f} s; use fewer folds, a smaller gap or more data"
        )
    return folds


def split_halves(
    prepared: PreparedData, gap: float, group: list[int] | None = None
) -> list[tuple[Part, ...]]:
    """Divide data into two halves, as `make_folds` does."""
    return [fold.training for fold in make_folds(prepared, 2, gap, group)]


def take(prepared: PreparedData, parts: Sequence[Part]) -> PreparedData:
    """Get some rows of some recordings; what was not in a row stays apart."""
    data: Any = SelectedRows(prepared.data, parts)
    if isinstance(prepared.data, list):
        data = list(data)
    return PreparedData(
        data,
        prepared.preparation,
        [_cut(prepared.time_maps[part.recording], part.runs) for part in parts],
        [prepared.names[part.recording] for part in parts],
        [prepared.alignments[part.recording] for part in parts] if prepared.alignments else [],
    )


class SelectedRows(FeatureSequence):
    """Some rows of some recordings, which are read when they are asked for."""

    def __init__(self, data: Sequence[np.ndarray], parts: Sequence[Part]):
        self.data, self.parts = data, list(parts)
        self.lengths = [part.n_rows for part in parts]
        self.n_features = n_features_of(data)

    def __getitem__(self, index: Any) -> Any:
        part = self.parts[index]
        return _rows(self.data[part.recording], part.runs)

    def stream(self, order: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield parts in a given order, reading ahead."""
        order = list(order)
        read = stream_features(self.data, [self.parts[index].recording for index in order])
        for index, (_, features) in zip(order, read, strict=True):
            yield index, _rows(features, self.parts[index].runs)


def _rows(features, runs):
    if len(runs) == 1:
        return features[slice(*runs[0])]  # a view: most folds need no copy
    return np.concatenate([features[start:stop] for start, stop in runs])


def _cut(time_map, runs):
    """Where some rows lie in time; each run within a span is a span."""
    spans, row = [], 0
    for start, stop in runs:
        for span in time_map.spans:
            a, b = max(start, span.rows[0]), min(stop, span.rows[1])
            if a < b:
                first = span.first + a - span.rows[0]
                spans.append(replace(span, rows=(row, row + b - a), first=first))
                row += b - a
    return TimeMap(time_map.timeline, tuple(spans))


def _whole(number, length):
    return Part(number, ((0, length),))


def _balanced(lengths, n_folds, group):
    """Divide recordings into folds of about the same length, the longest groups first."""
    members: dict[int, list[int]] = {}
    for number, label in enumerate(group):
        members.setdefault(label, []).append(number)
    totals = {label: sum(lengths[i] for i in several) for label, several in members.items()}
    folds: list[list[int]] = [[] for _ in range(n_folds)]
    sizes = np.zeros(n_folds)
    for label in sorted(members, key=lambda one: -totals[one]):
        smallest = int(sizes.argmin())
        folds[smallest] += members[label]
        sizes[smallest] += totals[label]
    return [sorted(fold) for fold in folds]


def _block(lengths, start, stop, n_gap):
    """Hold out a block of the recordings laid end to end."""
    training, held_out, offset = [], [], 0
    for number, length in enumerate(lengths):
        a, b = (min(max(edge - offset, 0), length) for edge in (start, stop))
        offset += length
        if a == b:
            training.append(_whole(number, length))
            continue
        held_out.append(Part(number, ((a, b),)))
        # Another recording is no neighbor, so the gap ends with this one.
        runs = tuple((x, y) for x, y in ((0, a - n_gap), (b + n_gap, length)) if x < y)
        if runs:
            training.append(Part(number, runs))
    return Fold(tuple(training), tuple(held_out))
