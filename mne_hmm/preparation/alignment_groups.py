"""Which recordings are aligned together, and what of them their covariance is taken from."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from mne.utils import logger

from .._utils.checks import check_group, check_number, listed, plural
from .._utils.mne_private import warn
from ..io.inputs import to_recordings
from ..io.parcel_inputs import AtlasArguments, with_parcels
from ..io.recording import Recording
from .covariance_alignment import (
    Alignment,
    Scatter,
    alignment_to,
    mean_covariance,
    pooled,
    rank_of,
    scatter_of,
)
from .settings import Preparation
from .signals import Signals, prepare_signals

# A covariance needs as many samples as this for each of its dimensions ...
MIN_SAMPLES_PER_DIMENSION = 2
# ... and one that has fewer dimensions than others may be short of samples with less than this.
MIN_SAMPLES_IF_UNSURE = 20

ADVICE_IF_TOO_SHORT = (
    "Join it with other recordings of the same person (group=...), give a longer one to align on "
    "(align_on=...), use fewer channels, or leave it out"
)

Period = tuple[float, float]


@dataclass(frozen=True, eq=False)
class AlignmentGroups:
    """Groups of recordings that are aligned together.

    Parameters
    ----------
    recordings : sequence of Recording
        All recordings.
    names : tuple
        Label of each group.
    members : tuple of tuple of int
        Indices of the recordings of each group.
    references : tuple of None | tuple of float | Recording
        What the covariance of each recording is taken from: all of it, a period in seconds, or
        another recording.
    way_out : str
        What to do about a group that is too short, in words.
    """

    recordings: Sequence[Recording]
    names: tuple[Hashable, ...]
    members: tuple[tuple[int, ...], ...]
    references: tuple[Period | Recording | None, ...]
    way_out: str = ADVICE_IF_TOO_SHORT
    _scatters: dict[int, Scatter] = field(default_factory=dict, repr=False)

    @property
    def are_recordings(self) -> bool:
        """Whether each recording is aligned by itself."""
        return all(len(members) == 1 for members in self.members)

    def group_of(self, i_recording: int) -> int:
        """Find the index of the group that a recording is in."""
        return next(i for i, members in enumerate(self.members) if i_recording in members)

    def scatter(self, signals: Signals, i_recording: int, preparation: Preparation) -> Scatter:
        """Get what the covariance of a recording is made of."""
        reference = self.references[i_recording]
        if reference is None:
            return scatter_of(signals.spans)
        if isinstance(reference, Recording):
            if id(reference) not in self._scatters:  # one recording may be the reference of all
                spans = prepare_signals(reference, preparation, 1).spans
                self._scatters[id(reference)] = scatter_of(spans)
            return self._scatters[id(reference)]
        return scatter_of(_within(signals, reference))

    def fit_mean(self, scatters: Sequence[Scatter], kind: str) -> np.ndarray:
        """Average the covariances of the groups, in as many dimensions as all of them have.

        Shapes: returns ``mean`` (n_channels, n_channels).
        """
        by_group = [[scatters[i] for i in members] for members in self.members]
        sums = [pooled(group_scatters) for group_scatters in by_group]
        ranks = [_rank(total, parts) for total, parts in zip(sums, by_group, strict=True)]
        max_rank, rank = max(ranks), min(ranks)
        for i_group, total in enumerate(sums):
            self._check_length(i_group, total, ranks[i_group], max_rank)
        if rank < max_rank:
            lower = [self._name(i) for i, group_rank in enumerate(ranks) if group_rank < max_rank]
            warn(
                f"Recordings have between {rank} and {max_rank} dimensions (independent components "
                "taken out, or interpolated channels, do that), and all are aligned in those "
                f"{rank} that are common; fewest in {listed(lower, 4)}. Clean all in the same way "
                "to keep more"
            )
        logger.info(
            f"Aligning {plural(len(self.recordings), 'recording')} in "
            f"{plural(len(self.members), 'group')} and {rank} dimensions ({kind} mean)"
        )
        return mean_covariance([total.covariance for total in sums], rank, kind)

    def alignments(self, scatters: Sequence[Scatter], mean: np.ndarray) -> list[Alignment]:
        """Find the maps of all recordings to the mean, shape (n_channels, n_channels)."""
        alignments: dict[int, Alignment] = {}
        for i_group, members in enumerate(self.members):
            alignment = self.alignment([scatters[i] for i in members], i_group, mean)
            alignments |= dict.fromkeys(members, alignment)
        return [alignments[i] for i in range(len(self.recordings))]

    def alignment(self, scatters: Sequence[Scatter], i_group: int, mean: np.ndarray) -> Alignment:
        """Find the map of one group to the mean, shape (n_channels, n_channels)."""
        total = pooled(scatters)
        rank, wanted = _rank(total, scatters), rank_of(mean, of_mean=True)
        self._check_length(i_group, total, rank, wanted)
        if rank < wanted:
            warn(
                f"{self._name(i_group)} has {rank} dimensions, fewer than the {wanted} that the "
                "others were aligned in (independent components taken out, or interpolated "
                "channels, do that); it is aligned within these"
            )
        return alignment_to(mean, total.covariance)

    def _name(self, i_group: int) -> str:
        """Name a group in messages."""
        members = self.members[i_group]
        if len(members) == 1:
            return self.recordings[members[0]].label
        return f"group {self.names[i_group]!r} ({plural(len(members), 'recording')})"

    def _check_length(self, i_group: int, scatter: Scatter, rank: int, wanted: int) -> None:
        """Check that a group has samples enough for the dimensions that are wanted."""
        short = scatter.n_samples < MIN_SAMPLES_PER_DIMENSION * wanted
        unsure = rank < wanted and scatter.n_samples < MIN_SAMPLES_IF_UNSURE * wanted
        if not (short or unsure):
            return
        where = "" if self.references[self.members[i_group][0]] is None else " in align_on"
        raise ValueError(
            f"{self._name(i_group)} is too short to be aligned: it has "
            f"{plural(scatter.n_samples, 'good sample')}{where}, and their covariance has {rank} "
            f"of {wanted} dimensions; it takes {MIN_SAMPLES_PER_DIMENSION * wanted} samples at the "
            f"least, and more where they are smooth. {self.way_out}"
        )


def make_groups(
    recordings: Sequence[Recording],
    preparation: Preparation,
    group: Any,
    align_on: Any,
    *,
    reject_by_annotation: bool,
    sfreq: float | None,
    atlas_arguments: AtlasArguments,
) -> AlignmentGroups | None:
    """Check which recordings are aligned together, and on what."""
    if not preparation.aligns:
        for name, value in (("group", group), ("align_on", align_on)):
            if value is not None:
                raise ValueError(
                    f"{name} is for recordings that are aligned, but preparation.align is "
                    f'{preparation.align!r}; set Preparation(align="euclidean"), or leave {name} '
                    "out"
                )
        return None
    labels = check_group(group, len(recordings))
    if labels is None:
        labels = list(range(len(recordings)))
        if getattr(preparation, "grouped_", False) and len(recordings) > 1:
            warn(
                "This preparation was fitted to groups of recordings that were aligned together, "
                f"but these {len(recordings)} recordings are aligned one by one; pass group=... "
                "with a label for each (different ones, if no two belong together)"
            )
    members: dict[Hashable, list[int]] = {}
    for i_recording, label in enumerate(labels):
        members.setdefault(label, []).append(i_recording)
    options = {
        "ch_names": recordings[0].ch_names,
        "reject_by_annotation": reject_by_annotation,
        "sfreq": sfreq,
    }
    return AlignmentGroups(
        recordings,
        tuple(members),
        tuple(map(tuple, members.values())),
        tuple(_references(align_on, recordings, atlas_arguments, options)),
    )


def _references(
    align_on: Any,
    recordings: Sequence[Recording],
    atlas_arguments: AtlasArguments,
    options: dict[str, Any],
) -> list[Period | Recording | None]:
    """Check what covariances are taken from, one entry per recording."""
    n = len(recordings)
    if align_on is None or _is_period(align_on):
        return [_check_period(align_on)] * n
    if isinstance(align_on, (list, tuple)):
        if len(align_on) != n:
            raise ValueError(
                "align_on must be a period (tmin, tmax) in seconds, a recording, or a list with "
                f"one of these for each of {plural(n, 'recording')}, got a list of {len(align_on)}"
            )
        return [
            _check_period(reference)
            if reference is None or _is_period(reference)
            else _recording(reference, f"align_on of {recording.label}", atlas_arguments, options)
            for reference, recording in zip(align_on, recordings, strict=True)
        ]
    return [_recording(align_on, "align_on", atlas_arguments, options)] * n


def _is_period(value: Any) -> bool:
    """Tell whether a value is a pair of numbers."""
    kinds = (int, float, np.integer, np.floating)
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(edge, kinds) and not isinstance(edge, bool) for edge in value)
    )


def _check_period(period: Any) -> Period | None:
    """Check that a period is one, or None."""
    if period is None:
        return None
    tmin, tmax = (
        check_number(edge, "align_on", rule="a period (tmin, tmax) in seconds") for edge in period
    )
    if tmin >= tmax:
        raise ValueError(f"align_on must be a period (tmin, tmax) with tmin < tmax, got {period}")
    return tmin, tmax


def _recording(
    inst: Any, name: str, atlas_arguments: AtlasArguments, options: dict[str, Any]
) -> Recording:
    """Turn another input into the recording on whose covariance is aligned."""
    try:
        parcels = with_parcels(inst, atlas_arguments, remembered=True)
        recordings = to_recordings(parcels, picks=None, **options)
    except (TypeError, ValueError, OSError) as error:
        raise type(error)(f"{name}: {error}") from error
    if len(recordings) > 1:
        raise ValueError(
            f"{name} must be one recording, got {len(recordings)}; give a list with one for each "
            "recording that is aligned"
        )
    label = recordings[0].label.replace("the recording", name)
    return replace(recordings[0], label=label)


def _within(signals: Signals, period: Period) -> list[np.ndarray]:
    """Take the samples of a recording that lie in a period, span by span."""
    recording, time_map = signals.recording, signals.time_map(0)
    times = time_map.times
    timeline = recording.timeline
    if timeline.epochs is not None:  # seconds from the event of each
        length = timeline.epochs.shape[1] / timeline.sfreq
        times = timeline.epochs.times[0] + np.mod(times + 1e-9, length) - 1e-9
    tmin, tmax = period
    chosen = (times >= tmin - 1e-9) & (times <= tmax + 1e-9)
    if not chosen.any():
        raise ValueError(
            f"align_on=({tmin:g}, {tmax:g}): {recording.label} has no good sample in this period "
            "(in seconds from its first sample, or from the event of epochs); give another one"
        )
    rows = (slice(*span.rows) for span in time_map.spans)
    return [x[chosen[at]] for x, at in zip(signals.spans, rows, strict=True)]


def _rank(total: Scatter, scatters: Sequence[Scatter]) -> int:
    """Count the dimensions of a group: of all its recordings, but no more than any one has.

    Of an average reference, say, each z-scored recording lacks another dimension, and together
    they seem to lack none.
    """
    rank = rank_of(total.values)
    long = [
        scatter for scatter in scatters if scatter.n_samples >= MIN_SAMPLES_PER_DIMENSION * rank
    ]
    return min(rank, max((rank_of(scatter.values) for scatter in long), default=rank))
