"""One recording: signals, channels, sampling, and its good spans."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from mne.io import BaseRaw

from .lazy_raw import EpochsRaw
from .timeline import Timeline

# First sample, and the one after the last, of each segment or span.
Bounds: TypeAlias = tuple[tuple[int, int], ...]

# Annotations of a jump in time, which no filter may cross. A concatenation
# leaves "EDGE boundary", an interrupted acquisition "BAD_ACQ_SKIP".
DISCONTINUITIES = ("EDGE", "BAD_ACQ_SKIP")
BAD_OR_JUMP = ("BAD", "EDGE")
# Values beyond are no signals in any unit, and their products are beyond all numbers.
MAX_VALUE = 1e30


@dataclass(frozen=True)
class Recording:
    """One recording, whatever it came as.

    Parameters
    ----------
    raw : BaseRaw
        The signals. They are read where needed and never changed.
    picks : array of int
        Which channels to use, in the order of use.
    spans : tuple of tuple of int
        Good spans: first sample, and the one after the last.
    segments : tuple of tuple of int
        Segments without a jump in time, in the same form.
    label : str
        What to call the recording in messages.
    named : bool
        Whether the channels' names mean anything; those of arrays do not, but for tables
        that name their columns.
    """

    raw: BaseRaw
    picks: np.ndarray
    spans: Bounds
    segments: Bounds
    label: str
    named: bool = True

    @property
    def ch_names(self) -> tuple[str, ...]:
        """Names of the channels, in the order of use."""
        return tuple(self.raw.ch_names[pick] for pick in self.picks)

    @property
    def timeline(self) -> Timeline:
        """The recording's own time grid."""
        raw = self.raw
        return Timeline(
            float(raw.info["sfreq"]),
            raw.n_times,
            int(raw.first_samp),
            raw.info["meas_date"],
            raw.grid if isinstance(raw, EpochsRaw) else None,
        )

    def read(self, start: int, stop: int) -> np.ndarray:
        """Signals of the used channels, shape (n_channels, stop - start)."""
        return self.raw.get_data(picks=self.picks, start=start, stop=stop)


def _annotated(raw: BaseRaw, kinds: tuple[str, ...]) -> list[tuple[int, int]]:
    """Find the first sample, and the one after the last, of every annotation of some kinds."""
    annotations = raw.annotations
    chosen = [d.upper().startswith(kinds) for d in annotations.description]
    onsets = annotations.onset[chosen] - raw.first_time
    ends = onsets + annotations.duration[chosen]
    starts = raw.time_as_index(onsets, use_rounding=True)
    stops = raw.time_as_index(ends, use_rounding=True)
    inside = np.clip(np.stack([starts, stops], axis=1), 0, raw.n_times)
    return [(int(start), int(stop)) for start, stop in inside]


def cut(bounds: tuple[int, int], cuts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Get what is left of a segment after cuts; a cut of no length still cuts."""
    start, end = bounds
    out = []
    for cut_start, cut_stop in sorted(cuts):
        if cut_start > start:
            out.append((start, min(cut_start, end)))
        start = max(start, cut_stop)
        if start >= end:
            break
    if start < end:
        out.append((start, end))
    return [(a, b) for a, b in out if a < b]


def segments_and_spans(
    raw: BaseRaw, picks: np.ndarray, reject_by_annotation: bool
) -> tuple[Bounds, Bounds]:
    """Find segments without a jump in time, and good spans."""
    if isinstance(raw, EpochsRaw):
        return raw.bounds, raw.bounds
    jumps = _annotated(raw, DISCONTINUITIES)
    bad = _annotated(raw, BAD_OR_JUMP) if reject_by_annotation else jumps

    def holds_no_numbers(start: int, stop: int) -> bool:
        return not np.isfinite(raw.get_data(picks=picks, start=start, stop=stop)).all()

    whole = (0, raw.n_times)
    # Bad spans that hold no numbers cannot be filtered across: they are jumps too.
    jumps = jumps + [(a, b) for a, b in bad if a < b and holds_no_numbers(a, b)]
    return tuple(cut(whole, jumps)), tuple(cut(whole, bad + jumps))
