"""Features of recordings, in memory or in a folder, and the map back to their times."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from .._utils.checks import listed, plural
from .._utils.feature_sequence import (
    FeatureSequence,
    lengths_of,
    n_features_of,
    stream_features,
)
from ..io.inputs import as_list
from ..io.timeline import TimeMap
from .covariance_alignment import Alignment
from .settings import FittedPreparation


@dataclass(frozen=True, eq=False)
class PreparedData:
    """Features of one or more recordings, and the map back to their times.

    Made by `prepare` and `read_prepared`; goes wherever recordings go.

    Parameters
    ----------
    data : sequence of array, shape (n_samples, n_features)
        Features of each recording in float32, its spans one after another. A list, or,
        where the features lie in a folder, a sequence that reads an array when it is asked
        for.
    preparation : FittedPreparation
        What made them.
    time_maps : list of TimeMap
        Where they lie in time, per recording.
    names : list of str
        What to call the recordings.
    alignments : list of Alignment
        The map of each recording's channels to those of the group; empty where the preparation
        does not align.
    """

    data: Sequence[np.ndarray] = field(repr=False)
    preparation: FittedPreparation
    time_maps: list[TimeMap] = field(repr=False)
    names: list[str] = field(default_factory=list)
    alignments: list[Alignment] = field(default_factory=list, repr=False)

    def recording(self, number: int) -> "PreparedData":
        """Get one recording alone, as ``prepared[number]`` does.

        Parameters
        ----------
        number : int
            Which one.

        Returns
        -------
        prepared : PreparedData
            The recording.
        """
        return self[number]

    @property
    def spans(self) -> list[list[tuple[int, int]]]:
        """First row, and the one after the last, of each span of each recording."""
        return [[span.rows for span in time_map.spans] for time_map in self.time_maps]

    @property
    def n_features(self) -> int:
        """Number of features."""
        return n_features_of(self.data)

    @property
    def n_samples(self) -> int:
        """Number of samples of all recordings."""
        return sum(lengths_of(self.data))

    @property
    def ch_names(self) -> list[str]:
        """Names of the channels the features come from."""
        return list(self.preparation.ch_names_)

    @property
    def sfreq(self) -> float:
        """Sampling rate of the features in hertz."""
        return self.preparation.sfreq_

    @property
    def times(self) -> list[np.ndarray]:
        """Seconds from each recording's first sample to each row; epochs count end to end."""
        return [time_map.times for time_map in self.time_maps]

    @property
    def seconds_left_out(self) -> list[float]:
        """Seconds of each recording without a feature."""
        out = []
        for time_map in self.time_maps:
            n_modeled = sum(stop - start for start, stop in time_map.modeled())
            out.append((time_map.timeline.n_times - n_modeled) / time_map.timeline.sfreq)
        return out

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> "PreparedData":
        """Get one recording alone; scikit-learn picks rows so."""
        if not isinstance(index, (int, np.integer)):
            raise TypeError(
                f"PreparedData are indexed by the number of a recording, got {index!r}; for "
                "several, make a list: [prepared[i] for i in numbers]"
            )
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {plural(len(self), 'recording')}, got index {index}")
        index = int(index) % len(self)
        data: Any = SingleRecording(self.data, index)
        return PreparedData(
            list(data) if isinstance(self.data, list) else data,
            self.preparation,
            [self.time_maps[index]],
            [self.names[index]] if self.names else [],
            [self.alignments[index]] if self.alignments else [],
        )

    def __str__(self) -> str:
        n_spans, seconds = sum(map(len, self.spans)), self.n_samples / self.sfreq
        left_out = sum(self.seconds_left_out)
        total = sum(
            time_map.timeline.n_times / time_map.timeline.sfreq for time_map in self.time_maps
        )
        return "\n".join(
            [
                f"PreparedData: {plural(len(self), 'recording')} in {plural(n_spans, 'span')}",
                f"  channels   {len(self.ch_names)} ({listed(self.ch_names)})",
                f"  features   {self.n_features}",
                f"  samples    {self.n_samples:,} at {self.sfreq:g} Hz ({seconds:.1f} s)",
                f"  left out   {left_out:.1f} of {total:.1f} s ({left_out / total:.1%})",
            ]
        )

    __repr__ = __str__


class SingleRecording(FeatureSequence):
    """One of several arrays, which is read when it is asked for."""

    def __init__(self, data: Sequence[np.ndarray], index: int):
        self.data, self.i_recording = data, index
        self.lengths = [lengths_of(data)[index]]
        self.n_features = n_features_of(data)

    def __getitem__(self, index: Any) -> Any:
        return self.data[[self.i_recording][index]]

    def stream(self, order: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the recording, as often as it is asked for."""
        order = list(order)
        read = stream_features(self.data, [[self.i_recording][index] for index in order])
        for index, (_, features) in zip(order, read, strict=True):
            yield index, features


class JoinedRecordings(FeatureSequence):
    """Several sequences of arrays as one, without reading any of them."""

    def __init__(self, parts: Sequence[Sequence[np.ndarray]]):
        self.parts = list(parts)
        self.lengths = [length for part in self.parts for length in lengths_of(part)]
        self.n_features = n_features_of(self.parts[0])
        self._places = [(p, i) for p, part in enumerate(self.parts) for i in range(len(part))]

    def __getitem__(self, index: Any) -> Any:
        part, place = self._places[index]
        return self.parts[part][place]

    def stream(self, order: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield recordings in a given order, reading ahead where a part can."""
        places = [(*self._places[index], index) for index in order]
        for i_part, run in groupby(places, key=lambda place: place[0]):
            wanted = list(run)
            read = stream_features(self.parts[i_part], [place for _, place, _ in wanted])
            for (_, _, index), (_, features) in zip(wanted, read, strict=True):
                yield index, features


def as_prepared(inst: Any) -> PreparedData | None:
    """Take PreparedData, or a list of them, as one; None if the input is not prepared."""
    entries = as_list(inst)
    n_prepared = sum(isinstance(entry, PreparedData) for entry in entries)
    if n_prepared == 0:
        return None
    if n_prepared < len(entries):
        raise TypeError(
            "inst must be a list of one kind, but PreparedData are mixed with others; prepare "
            "all recordings in one call"
        )
    first = entries[0]
    if any(not same_features(other.preparation, first.preparation) for other in entries):
        raise ValueError(
            "inst: these PreparedData were fitted one by one, so their features differ; "
            "prepare all recordings in one call, or with the first one's preparation: "
            "prepare(recordings, prepared.preparation)"
        )
    in_memory = all(isinstance(entry.data, list) for entry in entries)
    return PreparedData(
        [x for entry in entries for x in entry.data]
        if in_memory
        else JoinedRecordings([entry.data for entry in entries]),
        first.preparation,
        [time_map for entry in entries for time_map in entry.time_maps],
        [name for entry in entries for name in entry.names],
        [alignment for entry in entries for alignment in entry.alignments],
    )


def same_features(ours: FittedPreparation, theirs: FittedPreparation) -> bool:
    """Tell whether two preparations make the same features of a recording."""
    if ours is theirs:
        return True
    if (ours.settings, ours.ch_names_, ours.sfreq_) != (
        theirs.settings,
        theirs.ch_names_,
        theirs.sfreq_,
    ):
        return False
    return all(
        _same_array(getattr(ours, name), getattr(theirs, name))
        for name in ("components_", "template_", "spatial_components_", "aligned_to_")
    )


def _same_array(ours: np.ndarray | None, theirs: np.ndarray | None) -> bool:
    """Tell whether two arrays, either of which may be missing, are equal."""
    if ours is None or theirs is None:
        return ours is theirs
    return np.array_equal(ours, theirs)
