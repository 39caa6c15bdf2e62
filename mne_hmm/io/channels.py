"""Which channels of a recording are used: picked, or those that a model needs."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from mne.io import BaseRaw

from .._utils.checks import listed, plural
from .._utils.mne_private import picks_to_idx

if TYPE_CHECKING:
    from .recording import Recording


class ModelChannels(NamedTuple):
    """What a model was trained on."""

    names: tuple[str, ...]
    """Names of the channels, in the model's order."""
    source: str = ""
    """What they are and how to make them, where the model is not the user's own."""


def picks_of(raw: BaseRaw, picks: Any, label: str) -> np.ndarray:
    """Find the channels to use: those that are picked, or the good data or misc channels."""
    if picks is None:
        for kind in ("data", "misc"):
            chosen = picks_to_idx(raw.info, kind, exclude="bads", allow_empty=True)
            if len(chosen):
                return chosen
        kinds = sorted(set(raw.get_channel_types()))
        raise ValueError(
            f"picks=None takes the good data or misc channels, but {label} has none "
            f"(its channels: {', '.join(kinds)}; marked as bad: "
            f"{listed(raw.info['bads']) or 'none'}); name the channels to use with picks=..."
        )
    chosen = picks_to_idx(raw.info, picks)
    if len(set(chosen.tolist())) < len(chosen):
        raise ValueError(f"picks={picks!r} names a channel more than once in {label}")
    return chosen


def matching_picks(raw: BaseRaw, picks: Any, first: "Recording", label: str) -> np.ndarray:
    """Find the channels of the first recording, in its order, by name."""
    picked = [raw.ch_names[i] for i in picks_of(raw, picks, label)]
    missing = [name for name in first.ch_names if name not in picked]
    if missing:
        raise missing_channels(missing, raw, label, f"which {first.label} has")
    extra = [name for name in picked if name not in first.ch_names]
    if extra:
        raise missing_channels(extra, first.raw, first.label, f"which {label} has")
    return np.array([raw.ch_names.index(name) for name in first.ch_names])


def model_picks(raw: BaseRaw, channels: ModelChannels, label: str, named: bool) -> np.ndarray:
    """Find the channels of a model in a recording.

    Shapes: returns ``picks`` (n_channels,).
    """
    names, source = channels
    if not named:
        if len(raw.ch_names) != len(names):
            raise ValueError(
                f"{label} has {plural(len(raw.ch_names), 'channel')}, but the model was trained on "
                f"{_expected(channels)}"
            )
        return np.arange(len(names))
    places = {name: place for place, name in enumerate(raw.ch_names)}
    plain = {_plain(name): place for name, place in places.items()}
    if all(_plain(name) in plain for name in names) and len(plain) == len(places):
        # Other programs write parcel_0 for parcel_00, and MEG 0111 for MEG0111.
        places |= {name: plain[_plain(name)] for name in names}
    bad = {raw.ch_names.index(name) for name in raw.info["bads"]}
    wrong = [name for name in names if name not in places or places[name] in bad]
    if wrong:
        raise missing_channels(
            [raw.ch_names[places[name]] if name in places else name for name in wrong],
            raw,
            label,
            f"but the model was trained on {source}"
            if source
            else "which the model was trained on",
            "give its channels these names (raw.rename_channels)"
            if source
            else "train a model on channels that all recordings have (fit_hmm(..., picks=...))",
        )
    if source:
        _check_no_more(raw, channels, label)
    return np.array([places[name] for name in names])


def _expected(channels: ModelChannels) -> str:
    return channels.source or f"{len(channels.names)}: {listed(channels.names)}"


def _plain(name: str) -> str:
    """Write a name without spaces and without zeros before its number."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", name.replace(" ", ""))


def _check_no_more(raw: BaseRaw, channels: ModelChannels, label: str) -> None:
    """Check that there are no more parcels than the model has: they would be of another atlas."""
    stems = {name.rstrip("0123456789") for name in channels.names}
    if stems != {"parcel_"}:
        return
    alike = [name for name in raw.ch_names if name.rstrip("0123456789") == "parcel_"]
    if len(alike) > len(channels.names):
        raise ValueError(
            f"{label} has {plural(len(alike), 'parcel')}, but the model was trained on "
            f"{_expected(channels)}"
        )


def missing_channels(
    names: Sequence[str],
    raw: BaseRaw,
    label: str,
    who: str,
    way_out: str = "pick channels that all recordings have (picks=...)",
) -> ValueError:
    """Make the error that tells of channels a recording lacks."""
    bad = [name for name in names if name in raw.info["bads"]]
    absent = [name for name in names if name not in raw.ch_names]
    other = [name for name in names if name not in bad and name not in absent]
    parts = []
    if absent:
        parts.append(f"{label} lacks {listed(absent)}")
    if bad:
        parts.append(f"{label} has {listed(bad)} marked as bad")
    if other:
        kinds = ", ".join(sorted(set(raw.get_channel_types(picks=other))))
        parts.append(f"{label} does not pick {listed(other)} (type {kinds} there)")
        way_out = f"give channels the same types (raw.set_channel_types), or {way_out}"
    if bad:
        way_out = f"interpolate bad channels (raw.interpolate_bads()), or {way_out}"
    return ValueError(f"{' and '.join(parts)}, {who}; {way_out}")
