"""Make the picture of the README: signals, the states found in them, and the true ones.

Run as ``python docs/make_figure.py`` to replace ``docs/_static/demo.png``, or with the name
of another file.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import mne_hmm
from mne_hmm.cli.demo import match_labels

START, DURATION = 20.0, 4.0
N_SHOWN = 6  # parcels


def make_figure(fname):
    """Simulate a recording, find its states and draw both."""
    raw, truth = mne_hmm.simulate_raw(n_states=6, duration=60.0, random_state=3)
    hmm = mne_hmm.fit_hmm(raw, n_states=6, random_state=0, verbose="WARNING")
    order, _ = match_labels(hmm.predict(raw, verbose="WARNING").labels, truth.labels, 6)
    states = hmm.reorder_states(order).predict(raw, verbose="WARNING")

    fig = Figure(figsize=(9, 4.6), layout="constrained")
    FigureCanvasAgg(fig)
    signals, found, true = fig.subplots(3, 1, sharex=True, height_ratios=[4, 1, 0.35])
    for course, axes in ((states, found), (truth, true)):
        course.plot(start=START, duration=DURATION, axes=axes, show=False)
        axes.get_legend().remove()
        axes.set(yticks=[], xlabel="", ylabel="")
    colors = [band.get_facecolor()[0] for band in found.collections]
    _draw_signals(signals, raw, states, colors)

    for axes, name in ((signals, "parcels"), (found, "states found"), (true, "true states")):
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
        axes.tick_params(length=0, labelbottom=axes is true)
    true.set_xlabel("Time (s)")
    fig.savefig(fname, dpi=110)


def _draw_signals(axes, raw, states, colors):
    """Signals one above the other, over the colors of the states found."""
    sfreq = raw.info["sfreq"]
    first, last = round(START * sfreq), round((START + DURATION) * sfreq)
    data, times = raw[:N_SHOWN, first : last + 1]
    offsets = 7 * data.std() * np.arange(N_SHOWN)[::-1]
    axes.plot(times, data.T + offsets, color="0.15", lw=0.7)
    visits = states.visits
    for state, start, stop in zip(visits.states, visits.starts, visits.stops, strict=True):
        if stop > first and start < last:
            axes.axvspan(start / sfreq, stop / sfreq, color=colors[state], alpha=0.35, lw=0)
    axes.set(yticks=[], xlim=(START, START + DURATION))


if __name__ == "__main__":
    here = Path(__file__).parent / "_static" / "demo.png"
    make_figure(sys.argv[1] if len(sys.argv) > 1 else here)
