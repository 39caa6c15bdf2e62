"""State time courses."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.arrays import end_to_end
from .._utils.checks import check_number, plural
from .._utils.docs import fill_doc
from .._utils.mne_private import unit_of
from .._utils.typing import RecordingLike
from ..io.inputs import to_recordings
from ..io.recording import Recording
from ..states.time_course import StateTimeCourse
from ._drawing import figure_and_axes, legend_beside, n_legend_columns, show_if, state_colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@fill_doc
def plot_states(
    states: StateTimeCourse,
    *,
    start: float = 0.0,
    duration: float = 10.0,
    axes: "Axes | None" = None,
    show: bool = True,
) -> "Figure":
    """Plot state probabilities over time, stacked.

    Parameters
    ----------
    states : StateTimeCourse
        The states.
    start : float
        Where to begin, in seconds.
    duration : float
        How many seconds to show.
    %(axes)s
    %(show)s

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Where the recording was not modeled it is left white.
    """
    start, stop, shown = _window(states, start, duration)
    sfreq = states.timeline.sfreq
    probabilities = end_to_end(states.probabilities)
    fig, axes = figure_and_axes(axes, (10, 2.5))
    axes.stackplot(
        shown / sfreq,
        np.nan_to_num(probabilities[:, shown]),
        labels=states.state_names,
        colors=state_colors(states.n_states),
        step="mid",
        linewidth=0,
    )
    axes.set(
        xlim=(start, stop),
        ylim=(0, 1),
        xlabel=_time_label(states),
        ylabel="Probability",
    )
    legend_beside(axes, n_columns=n_legend_columns(states.n_states))
    show_if(show)
    return fig


@fill_doc
def plot_states_with_data(
    states: StateTimeCourse,
    inst: RecordingLike,
    *,
    picks: Any = None,
    start: float = 0.0,
    duration: float = 10.0,
    sfreq: float | None = None,
    axes: "Axes | None" = None,
    show: bool = True,
) -> "Figure":
    """Plot signals, with the colors of the states behind them.

    Parameters
    ----------
    states : StateTimeCourse
        The states.
    inst : Raw | Epochs | array, shape (n_channels, n_times) | path-like
        The recording they were found in.
    picks : str | array-like | slice | None
        Channels to show, as everywhere in MNE-Python. None (default) takes the channels the
        states were found in, evenly thinned out to eight.
    start : float
        Where to begin, in seconds.
    duration : float
        How many seconds to show.
    sfreq : float | None
        Sampling rate of arrays in hertz.
    %(axes)s
    %(show)s

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Each visit has the color of its state; what was not modeled is left white.
        Signals have one scale for all channels of a kind.

    Raises
    ------
    ValueError
        If ``inst`` is more than one recording, or another than that of the states.
    """
    recording = _recording_of(states, inst, picks, sfreq)
    start, stop, shown = _window(states, start, duration)
    signals = recording.read(int(shown[0]), int(shown[-1]) + 1)
    names = recording.ch_names
    fig, axes = figure_and_axes(axes, (10, 1.2 + 0.4 * len(names)))
    colors = state_colors(states.n_states)
    rate = states.timeline.sfreq
    visits = states.visits
    inside = (visits.stops > shown[0]) & (visits.starts <= shown[-1])
    for state in range(states.n_states):
        drawn = inside & (visits.states == state)
        # A sample is at the middle of its share of time.
        lengths = visits.stops[drawn] - visits.starts[drawn]
        bars = np.stack([visits.starts[drawn] - 0.5, lengths], axis=1)
        axes.broken_barh(
            (bars / rate).tolist(),
            (0, len(names)),
            color=colors[state],
            alpha=0.45,
            linewidth=0,
            label=states.state_names[state],
        )
    offsets = len(names) - 0.5 - np.arange(len(names))
    scaled, heights = _scaled(recording, signals)
    axes.plot(shown / rate, (scaled + offsets[:, None]).T, "k", lw=0.7)
    axes.set(xlim=(start, stop), ylim=(0, len(names)), xlabel=_time_label(states))
    axes.set_yticks(offsets, names)
    axes.tick_params("y", length=0)
    axes.set_ylabel(f"Channels, {heights} each")
    legend_beside(axes, n_columns=n_legend_columns(states.n_states))
    show_if(show)
    return fig


def _recording_of(
    states: StateTimeCourse, inst: RecordingLike, picks: Any, sfreq: float | None
) -> Recording:
    """Get the recording of the states, with the channels to show."""
    names = states.ch_names or None
    recordings = to_recordings(
        inst, ch_names=None if picks is not None else names, picks=picks, sfreq=sfreq
    )
    if len(recordings) != 1:
        raise ValueError(
            "inst must be the one recording of the states, got "
            f"{plural(len(recordings), 'recording')}"
        )
    recording = recordings[0]
    ours, theirs = states.timeline, recording.timeline
    if (ours.n_times, ours.sfreq) != (theirs.n_times, theirs.sfreq):
        raise ValueError(
            f"inst must be the recording of the states, which has {ours.n_times:,} samples at "
            f"{ours.sfreq:g} Hz, got {theirs.n_times:,} at {theirs.sfreq:g} Hz; give what was "
            "given to predict"
        )
    if picks is None:
        shown = np.unique(np.linspace(0, len(recording.picks) - 1, 8).round().astype(int))
        recording = replace(recording, picks=recording.picks[shown])
    return recording


def _scaled(recording: Recording, signals: np.ndarray) -> tuple[np.ndarray, str]:
    """Scale signals to mostly stay within ±0.5, and say what 1 is for each kind of channel."""
    signals = signals - np.nanmedian(signals, axis=1, keepdims=True)
    kinds = np.array(recording.raw.get_channel_types(recording.picks))
    heights = []
    for kind in np.unique(kinds):
        height = 2 * np.nanpercentile(np.abs(signals[kinds == kind]), 99)
        signals[kinds == kind] /= height if height > 0 else 1.0
        factor, unit = unit_of(kind)
        heights.append(f"{factor * height:.3g} {unit}")
    return signals, " or ".join(heights)


def _window(
    states: StateTimeCourse, start: float, duration: float
) -> tuple[float, float, np.ndarray]:
    """Get the first and last second to show, and the samples in between."""
    sfreq = states.timeline.sfreq
    length = states.labels.size / sfreq
    rule = f"seconds from 0 to the end of the recording ({length:.3f} s)"
    start = check_number(start, "start", rule=rule, low=0, high=length)
    duration = check_number(duration, "duration", rule="seconds above 0", above=0)
    first, last = round(start * sfreq), round((start + duration) * sfreq)
    shown = np.arange(first, min(last + 1, states.labels.size))
    return start, min(start + duration, length), shown


def _time_label(states: StateTimeCourse) -> str:
    return "Time (s)" if states.timeline.epochs is None else "Time (s), epochs end to end"
