"""State time courses."""

from dataclasses import replace

import numpy as np

from .._utils.arrays import end_to_end
from .._utils.checks import check_number, plural
from .._utils.mne_private import unit_of
from ..io.inputs import to_recordings
from ._colors import figure_of, show_if, state_colors


def plot_states(states, *, start=0.0, duration=10.0, axes=None, show=True):
    """Plot state probabilities over time, stacked.

    Parameters
    ----------
    states : StateTimeCourse
        The states.
    start : float
        Where to begin, in seconds.
    duration : float
        How many seconds to show.
    axes : matplotlib.axes.Axes | None
        Where to plot. None makes a new figure.
    show : bool
        Whether to show the figure.

    Returns
    -------
    fig : matplotlib.figure.Figure
        The figure. Where the recording was not modeled it is left white.
    """
    start, stop, shown = _window(states, start, duration)
    sfreq = states.timeline.sfreq
    probabilities = end_to_end(states.probabilities)
    fig, axes = figure_of(axes, (10, 2.5))
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
    _legend(axes, states)
    show_if(show)
    return fig


def plot_states_with_data(
    states, inst, *, picks=None, start=0.0, duration=10.0, sfreq=None, axes=None, show=True
):
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
    axes : matplotlib.axes.Axes | None
        Where to plot. None makes a new figure.
    show : bool
        Whether to show the figure.

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
    fig, axes = figure_of(axes, (10, 1.2 + 0.4 * len(names)))
    colors = state_colors(states.n_states)
    rate = states.timeline.sfreq
    visits = states.visits
    inside = (visits.stops > shown[0]) & (visits.starts <= shown[-1])
    for state in range(states.n_states):
        own = inside & (visits.states == state)
        # A sample is at the middle of its share of time.
        runs = np.stack([visits.starts[own] - 0.5, visits.stops[own] - visits.starts[own]], axis=1)
        axes.broken_barh(
            runs / rate,
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
    _legend(axes, states)
    show_if(show)
    return fig


def _recording_of(states, inst, picks, sfreq):
    """Get the recording of the states, with the channels to show."""
    names = states.ch_names or None
    found = to_recordings(
        inst, ch_names=None if picks is not None else names, picks=picks, sfreq=sfreq
    )
    if len(found) != 1:
        raise ValueError(
            f"inst must be the one recording of the states, got {plural(len(found), 'recording')}"
        )
    recording = found[0]
    ours, theirs = states.timeline, recording.timeline
    if (ours.n_times, ours.sfreq) != (theirs.n_times, theirs.sfreq):
        raise ValueError(
            f"inst must be the recording of the states, which has {ours.n_times:,} samples at "
            f"{ours.sfreq:g} Hz, got {theirs.n_times:,} at {theirs.sfreq:g} Hz; give what was "
            "given to predict"
        )
    if picks is None:
        some = np.unique(np.linspace(0, len(recording.picks) - 1, 8).round().astype(int))
        recording = replace(recording, picks=recording.picks[some])
    return recording


def _scaled(recording, signals):
    """Signals that mostly stay within half of one, and what a whole one is for each kind."""
    signals = signals - np.nanmedian(signals, axis=1, keepdims=True)
    kinds = np.array(recording.raw.get_channel_types(recording.picks))
    heights = []
    for kind in np.unique(kinds):
        height = 2 * np.nanpercentile(np.abs(signals[kinds == kind]), 99)
        signals[kinds == kind] /= height if height > 0 else 1.0
        factor, unit = unit_of(kind)
        heights.append(f"{factor * height:.3g} {unit}")
    return signals, " or ".join(heights)


def _window(states, start, duration):
    """First and last second to show, and the samples in between."""
    sfreq = states.timeline.sfreq
    length = states.labels.size / sfreq
    rule = f"seconds from 0 to the end of the recording ({length:.3f} s)"
    start = check_number(start, "start", rule=rule, low=0, high=length)
    duration = check_number(duration, "duration", rule="seconds above 0", above=0)
    first, last = round(start * sfreq), round((start + duration) * sfreq)
    shown = np.arange(first, min(last + 1, states.labels.size))
    return start, min(start + duration, length), shown


def _time_label(states):
    return "Time (s)" if states.timeline.epochs is None else "Time (s), epochs end to end"


def _legend(axes, states):
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        ncols=-(-states.n_states // 10),
        frameon=False,
        fontsize="small",
    )
