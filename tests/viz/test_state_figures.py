"""Figures of statistics over recordings and of state-evoked responses."""

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose

import mne_hmm
from mne_hmm import viz
from mne_hmm.viz._drawing import state_colors  # has no public name

plt = pytest.importorskip("matplotlib.pyplot")
pytest.importorskip("pandas")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def states():
    return [
        mne_hmm.simulate_raw(3, n_channels=2, duration=20.0, random_state=seed)[1]
        for seed in range(6)
    ]


@pytest.fixture(scope="module")
def test(states):
    events = mne.make_fixed_length_events(states[0].to_raw(), start=1.0, stop=18.0, duration=1.7)
    events[::2, 2] = 2
    return mne_hmm.cluster_test_state_evoked(
        states[0], events, {"a": 1, "b": 2}, threshold=1.0, n_permutations=20, random_state=0
    )


@pytest.mark.parametrize("measure", ["fractional_occupancy", "mean_lifetime", "n_visits"])
def test_statistics(states, measure):
    fig = viz.plot_statistics(states, measure, show=False)
    (axes,) = fig.axes
    factor = {"fractional_occupancy": 100, "mean_lifetime": 1000, "n_visits": 1}[measure]
    values = factor * mne_hmm.summarize_states(states)[measure].to_numpy(float).reshape(6, 3)
    assert len(axes.lines) == 3
    for line, column, color in zip(axes.lines, values.T, state_colors(3), strict=True):
        assert_allclose(line.get_ydata(), column, rtol=1e-12)
        assert_allclose(plt.matplotlib.colors.to_rgba(line.get_color()), color)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(states[0].state_names)
    assert len(viz.plot_statistics(states[0], measure, show=False).axes[0].lines) == 3
    with pytest.raises(ValueError, match="measure must be one of 'fractional_occupancy'"):
        viz.plot_statistics(states, "mean", show=False)


def test_lifetimes(states):
    _, axes = plt.subplots()
    fig = viz.plot_lifetimes(states, axes=axes, show=False)
    assert fig is axes.figure
    visits = mne_hmm.list_visits(states)
    whole = visits[~visits["censored"]]
    medians = [line.get_segments()[0][0, 1] for line in axes.collections[1::2]]
    expected = whole.groupby("state")["duration"].median()
    # A violin is on the logarithms; of an even number the median lies between two.
    assert_allclose(10 ** np.array(medians) / 1000, expected, rtol=0.02)
    low, high = axes.get_ylim()
    shown = [float(tick.get_text()) for tick in axes.get_yticklabels()]
    assert sum(10**low <= value <= 10**high for value in shown) >= 2


def test_occupancy_over_time(states):
    fig = viz.plot_occupancy_over_time(states[:2], 2.0, show=False)
    assert len(fig.axes) == 2
    for axes in fig.axes:
        total = np.sum([line.get_ydata() for line in axes.lines], axis=0)
        assert_allclose(total, 100, rtol=1e-12)
        assert len(total) == 10
    with pytest.raises(ValueError, match="axes must be 2, got 1"):
        viz.plot_occupancy_over_time(states[:2], 2.0, axes=fig.axes[:1], show=False)


def test_responses_and_clusters(test):
    fig = test.plot(alpha=1.0, show=False)
    titles = [axes.get_title() for axes in fig.axes]
    assert titles == [f"{n} ({e.nave} events)" for n, e in test.evokeds.items()] + ["a - b"]
    assert_allclose(fig.axes[1].lines[2].get_ydata(), test.evokeds["b"].data[2])
    bars = fig.axes[2].collections
    assert len(bars) == len(test.p) > 1
    assert not fig.axes[0].collections
    assert len(test.plot(alpha=0.0, show=False).axes[2].collections) == 0
    # Bars lie below all curves.
    lowest = min(line.get_ydata().min() for line in fig.axes[2].lines[:3])
    assert max(bar.get_segments()[0][0, 1] for bar in bars) < lowest
    assert len(viz.plot_state_evoked(test.evokeds, show=False).axes) == 2
    with pytest.raises(ValueError, match="alpha must be a number from 0 to 1"):
        test.plot(alpha=2, show=False)
