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
SAMPLES_PER_DIMENSION = 2
# ... and one that has fewer dimensions than others may be short of samples with less than this.
SAMPLES_TO_BE_SURE = 20

WAY_OUT = (
    "Join it with other recordings of the same person (group=...), give a longer one to align on "
    "(align_on=...), use fewer channels, or leave it out"
)

Period = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of recordings that are aligned together.

    Parameters
    ----------
    recordings : sequence of Recording
        All recordings.
    names : tuple
        Label of each group.
    members : tuple of tuple of int
        Numbers of the recordings of each group.
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
    way_out: str = WAY_OUT
    _known: dict[int, Scatter] = field(default_factory=dict, repr=False)

    @property
    def are_recordings(self) -> bool:
        """Whether each recording is aligned by itself."""
        return all(len(numbers) == 1 for numbers in self.members)

    def place_of(self, number: int) -> int:
        """Tell which group a recording is in."""
        return next(place for place, own in enumerate(self.members) if number in own)

    def scatter(self, one: Signals, number: int, preparation: Preparation) -> Scatter:
        """Get what the covariance of a recording is made of."""
        reference = self.references[number]
        if reference is None:
            return scatter_of(one.spans)
        if isinstance(reference, Recording):
            if id(reference) not in self._known:  # one may stand for all
                spans = prepare_signals(reference, preparation, 1).spans
                self._known[id(reference)] = scatter_of(spans)
            return self._known[id(reference)]
        return scatter_of(_within(one, reference))

    def fit_mean(self, scatters: Sequence[Scatter], kind: str) -> np.ndarray:
        """Average the covariances of the groups, in as many dimensions as all of them have.

        Shapes: returns ``mean`` (n_channels, n_channels).
        """
        by_group = [[scatters[number] for number in numbers] for numbers in self.members]
        sums = [pooled(own) for own in by_group]
        ranks = [_rank(one, own) for one, own in zip(sums, by_group, strict=True)]
        most, rank = max(ranks), min(ranks)
        for place, one in enumerate(sums):
            self._check_length(place, one, ranks[place], most)
        if rank < most:
            lower = [self._name(place) for place, own in enumerate(ranks) if own < most]
            warn(
                f"Recordings have between {rank} and {most} dimensions (independent components "
                "taken out, or interpolated channels, do that), and all are aligned in those "
                f"{rank} that are common; fewest in {listed(lower, 4)}. Clean all in the same way "
                "to keep more"
            )
        logger.info(
            f"Aligning {plural(len(self.recordings), 'recording')} in "
            f"{plural(len(self.members), 'group')} and {rank} dimensions ({kind} mean)"
        )
        return mean_covariance([one.covariance for one in sums], rank, kind)

    def alignments(self, scatters: Sequence[Scatter], mean: np.ndarray) -> list[Alignment]:
        """Find the maps of all recordings; parameters as of `fit_mean` and `alignment`."""
        out: dict[int, Alignment] = {}
        for place, numbers in enumerate(self.members):
            own = self.alignment([scatters[number] for number in numbers], place, mean)
            out |= dict.fromkeys(numbers, own)
        return [out[number] for number in range(len(self.recordings))]

    def alignment(self, scatters: Sequence[Scatter], place: int, mean: np.ndarray) -> Alignment:
        """Find the map of one group.

        Shapes: ``mean`` (n_channels, n_channels).
        """
        one = pooled(scatters)
        rank, wanted = _rank(one, scatters), rank_of(mean, of_mean=True)
        self._check_length(place, one, rank, wanted)
        if rank < wanted:
            warn(
                f"{self._name(place)} has {rank} dimensions, fewer than the {wanted} that the "
                "others were aligned in (independent components taken out, or interpolated "
                "channels, do that); it is aligned within these"
            )
        return alignment_to(mean, one.covariance)

    def _name(self, place):
        """Name a group in messages."""
        numbers = self.members[place]
        if len(numbers) == 1:
            return self.recordings[numbers[0]].label
        return f"group {self.names[place]!r} ({plural(len(numbers), 'recording')})"

    def _check_length(self, place, one, rank, wanted):
        short = one.n_samples < SAMPLES_PER_DIMENSION * wanted
        unsure = rank < wanted and one.n_samples < SAMPLES_TO_BE_SURE * wanted
        if not (short or unsure):
            return
        where = "" if self.references[self.members[place][0]] is None else " in align_on"
        raise ValueError(
            f"{self._name(place)} is too short to be aligned: it has "
            f"{plural(one.n_samples, 'good sample')}{where}, and their covariance has {rank} of "
            f"{wanted} dimensions; it takes {SAMPLES_PER_DIMENSION * wanted} samples at the least, "
            f"and more where they are smooth. {self.way_out}"
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
) -> Groups | None:
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
    for number, label in enumerate(labels):
        members.setdefault(label, []).append(number)
    options = {
        "ch_names": recordings[0].ch_names,
        "reject_by_annotation": reject_by_annotation,
        "sfreq": sfreq,
    }
    return Groups(
        recordings,
        tuple(members),
        tuple(map(tuple, members.values())),
        tuple(_references(align_on, recordings, atlas_arguments, options)),
    )


def _references(align_on, recordings, atlas_arguments, options):
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
            _check_period(one)
            if one is None or _is_period(one)
            else _recording(one, f"align_on of {recording.label}", atlas_arguments, options)
            for one, recording in zip(align_on, recordings, strict=True)
        ]
    return [_recording(align_on, "align_on", atlas_arguments, options)] * n


def _is_period(value):
    numbers = (int, float, np.integer, np.floating)
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(one, numbers) and not isinstance(one, bool) for one in value)
    )


def _check_period(period):
    if period is None:
        return None
    tmin, tmax = (
        check_number(one, "align_on", rule="a period (tmin, tmax) in seconds") for one in period
    )
    if tmin >= tmax:
        raise ValueError(f"align_on must be a period (tmin, tmax) with tmin < tmax, got {period}")
    return tmin, tmax


def _recording(inst, name, atlas_arguments, options):
    try:
        parcels = with_parcels(inst, atlas_arguments, remembered=True)
        found = to_recordings(parcels, picks=None, **options)
    except (TypeError, ValueError, OSError) as error:
        raise type(error)(f"{name}: {error}") from error
    if len(found) > 1:
        raise ValueError(
            f"{name} must be one recording, got {len(found)}; give a list with one for each "
            "recording that is aligned"
        )
    label = found[0].label.replace("the recording", name)
    return replace(found[0], label=label)


def _within(one, period):
    """Rows of a recording's signals that lie in a period, span by span."""
    recording, time_map = one.recording, one.time_map(0)
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
    return [x[chosen[at]] for x, at in zip(one.spans, rows, strict=True)]


def _rank(total, scatters):
    """Dimensions of a group: of all its recordings, but no more than any one has.

    Of an average reference, say, each z-scored recording lacks another dimension, and together
    they seem to lack none.
    """
    rank = rank_of(total.values)
    long = [one for one in scatters if one.n_samples >= SAMPLES_PER_DIMENSION * rank]
    return min(rank, max((rank_of(one.values) for one in long), default=rank))
