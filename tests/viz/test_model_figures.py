"""Figures of a model, and of states with the data."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm.preparation.patterns import feature_patterns
from mne_hmm.states.visits import stationary_occupancy
from mne_hmm.viz._drawing import figure_and_grid, state_colors  # have no public names
from mne_hmm.viz.model import next_state

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402  (after the backend)
from matplotlib.colors import to_rgba  # noqa: E402
from matplotlib.patches import Circle, FancyArrowPatch  # noqa: E402

TRANSITIONS = np.array(
    [[0.98, 0.015, 0.005, 0.0], [0.1, 0.8, 0.0, 0.1], [0.0, 0.5, 0.5, 0.0], [0.25, 0.25, 0.0, 0.5]]
)


def at_zero_lag(preparation):
    n_lags = preparation.n_embeddings
    return feature_patterns(preparation)[n_lags // 2 :: n_lags]


@pytest.fixture(autouse=True)
def figures_are_closed():
    """Close what a test has drawn."""
    yield
    plt.close("all")


@pytest.fixture
def four(fitted):
    """Make a model with four states and known transitions."""
    keep = [0, 1, 2, 2]
    hmm = fitted.copy()
    hmm.initial_probs_ = np.full(4, 0.25)
    hmm.transition_matrix_ = TRANSITIONS
    hmm.means_, hmm.covariances_ = hmm.means_[keep], hmm.covariances_[keep]
    hmm.state_names = ("rest", "task", "b", "c")
    return hmm


# Transitions


def test_next_state():
    """Rows sum to one without the diagonal; of a state that is never left nothing is known."""
    expected = np.array(
        [[np.nan, 0.75, 0.25, 0], [0.5, np.nan, 0, 0.5], [0, 1, np.nan, 0], [0.5, 0.5, 0, np.nan]]
    )
    assert_allclose(next_state(TRANSITIONS), expected, rtol=1e-12)
    assert np.isnan(next_state(np.array([[1.0, 0.0], [0.5, 0.5]]))[0]).all()


def test_stationary_occupancy():
    """Unchanged by a step, and what a long chain comes to; also where states are never left."""
    occupancy = stationary_occupancy(TRANSITIONS)
    assert_allclose(occupancy.sum(), 1, rtol=1e-12)
    later = np.linalg.matrix_power(TRANSITIONS, 10_000)
    # Products of ten thousand matrices.
    assert_allclose(occupancy, later[1], rtol=1e-9)
    apart = stationary_occupancy(np.eye(3))
    assert_allclose(apart.sum(), 1, rtol=1e-12)
    assert (apart >= 0).all()


def test_transition_matrix(four):
    """Percentages beside the diagonal, lifetimes on it, ticks in the states' colors."""
    fig, axes = plt.subplots()
    assert four.plot_transition_matrix(axes=axes, show=False) is fig
    (image,) = axes.images
    assert_allclose(image.get_array().filled(np.nan), 100 * next_state(TRANSITIONS))
    texts = {tuple(map(round, text.get_position()[::-1])): text.get_text() for text in axes.texts}
    # At 250 Hz a probability of 0.02 to leave is 50 samples.
    assert texts[0, 0] == "200 ms"
    assert texts[2, 2] == "8 ms"
    assert (texts[0, 1], texts[0, 2], texts[1, 0]) == ("75", "25", "50")
    assert len(texts) == 16
    for axis in (axes.xaxis, axes.yaxis):
        labels = axis.get_ticklabels()
        assert [label.get_text() for label in labels] == ["rest", "task", "b", "c"]
        assert_allclose([to_rgba(label.get_color()) for label in labels], state_colors(4))
    assert fig.axes[1].get_ylabel() == "Probability when left (%)"


def test_a_state_that_is_never_left(four):
    """It has no next state, and lasts forever."""
    four.transition_matrix_ = np.array([[1.0, 0, 0, 0], *TRANSITIONS[1:]])
    (axes, _) = four.plot_transition_matrix(show=False).axes
    assert "∞" in [text.get_text() for text in axes.texts]
    assert four.plot_transition_graph(show=False) is not None


def test_transition_graph(four):
    """Areas are occupancies; arrows are the transitions above chance, in color of their start."""
    fig, axes = plt.subplots()
    assert four.plot_transition_graph(axes=axes, show=False) is fig
    disks = [patch for patch in axes.patches if isinstance(patch, Circle)]
    places = np.array([disk.center for disk in disks])
    assert_allclose(places, [[0, 1], [1, 0], [0, -1], [-1, 0]], atol=1e-12)
    occupancy = stationary_occupancy(TRANSITIONS)
    areas = np.array([disk.radius for disk in disks]) ** 2
    seen = areas > 0.02**2 * (1 + 1e-9)  # below, disks would not be seen
    assert seen.sum() >= 3
    assert_allclose(areas[seen] / areas[0], occupancy[seen] / occupancy[0], rtol=1e-12)
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    widths = {}
    for arrow in arrows:
        origin, other = (np.linalg.norm(places - end, axis=1).argmin() for end in arrow._posA_posB)
        widths[int(origin), int(other)] = arrow.get_linewidth()
        assert_allclose(arrow.get_edgecolor(), state_colors(4)[origin])
    assert set(widths) == {(0, 1), (1, 0), (1, 3), (2, 1), (3, 0), (3, 1)}
    assert widths[2, 1] > widths[0, 1] > widths[1, 3]
    assert axes.texts[0].get_text() == f"rest\n{100 * occupancy[0]:.0f} %"
    assert axes.texts[2].get_text() == "b\n<1 %"


def test_equal_transitions_are_all_drawn(four):
    """Rounding keeps none away."""
    four.transition_matrix_ = np.full((4, 4), 0.1) + 0.6 * np.eye(4)
    (axes,) = four.plot_transition_graph(show=False).axes
    assert sum(isinstance(patch, FancyArrowPatch) for patch in axes.patches) == 12


# Covariances


def test_covariances(fitted):
    """One panel per state, the same scale in all, correlations between -1 and 1."""
    fig = fitted.plot_covariances(show=False)
    panels = fig.axes[:3]
    for state, axes in enumerate(panels):
        assert_array_equal(axes.images[0].get_array(), fitted.covariances_[state])
        assert axes.get_title() == fitted.state_names[state]
        assert_allclose(to_rgba(axes.title.get_color()), state_colors(3)[state])
    limits = {axes.images[0].get_clim() for axes in panels}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high
    fig, axes = plt.subplots(3)
    assert fitted.plot_covariances(kind="correlation", axes=axes, show=False) is fig
    shown = axes[1].images[0]
    deviations = np.sqrt(np.diag(fitted.covariances_[1]))
    expected = fitted.covariances_[1] / np.outer(deviations, deviations)
    assert_allclose(shown.get_array(), expected, rtol=1e-12)
    assert shown.get_clim() == (-1, 1)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("standardize", [False, True])
def test_channels_at_zero_lag(whiten, standardize):
    """With all components, covariances of one state are those of the signals themselves."""
    raw, _ = mne_hmm.simulate_raw(2, n_channels=4, duration=20.0, random_state=0)
    raw.apply_function(lambda x: 3 * x, picks=[1])
    preparation = mne_hmm.Preparation(
        l_freq=None,
        h_freq=None,
        n_embeddings=3,
        n_components=12,
        whiten=whiten,
        standardize=standardize,
    )
    prepared = mne_hmm.prepare(raw, preparation)
    assert prepared.preparation.n_features_ == 12
    x = raw.get_data()
    x = x / x.std(1, keepdims=True) if standardize else x
    back = at_zero_lag(prepared.preparation)
    covariance = back @ np.cov(prepared.data[0].T.astype(float)) @ back.T
    expected = np.cov(x[:, 1:-1])
    # Features are in float32, and means of the embedding differ from zero by an edge.
    assert_allclose(covariance, expected, rtol=0, atol=1e-3 * expected.max())


def test_channels_without_components():
    """Features are the embedded channels themselves, or the channels."""
    raw, _ = mne_hmm.simulate_raw(2, n_channels=3, duration=10.0, random_state=0)
    lags = mne_hmm.Preparation(n_embeddings=5, n_components=None)
    back = at_zero_lag(mne_hmm.prepare(raw, lags).preparation)
    assert_array_equal(np.argwhere(back), [[0, 2], [1, 7], [2, 12]])
    plain = mne_hmm.prepare(raw, mne_hmm.Preparation.as_is()).preparation
    assert_array_equal(at_zero_lag(plain), np.eye(3))


def test_wrong_covariances(fitted):
    """What to plot, and where."""
    with pytest.raises(ValueError, match="kind must be one of 'covariance', 'correlation'"):
        fitted.plot_covariances(kind="precision")
    with pytest.raises(ValueError, match="space must be one of 'features', 'channels'"):
        fitted.plot_covariances(space="sources")
    with pytest.raises(ValueError, match="axes must be 3, got 2"):
        fitted.plot_covariances(axes=plt.subplots(2)[1])


def test_grid():
    """As many axes as asked for, and no empty ones."""
    for n in (1, 3, 5, 12):
        fig, axes = figure_and_grid(n, None, (1, 1))
        assert len(axes) == len(fig.axes) == n


# States with data


@pytest.fixture(scope="module")
def states(simulated, fitted):
    """Find states in the recording, but not everywhere."""
    import mne

    raw = simulated[0].copy()
    raw.set_annotations(mne.Annotations([5.0], [1.0], ["BAD_movement"]))
    return fitted.predict(raw)


def test_states_with_data(simulated, states):
    """Behind each sample is the color of its state; signals are those of the recording."""
    raw = simulated[0]
    fig, axes = plt.subplots()
    figure = states.plot_with_data(
        raw, picks=[2, 0], start=4.0, duration=3.0, axes=axes, show=False
    )
    assert figure is fig
    colored = np.full(raw.n_times, -1)
    for state, bars in enumerate(axes.collections):
        assert_allclose(bars.get_facecolor()[0, :3], state_colors(3)[state, :3])
        for bar in bars.get_paths():
            low, high = bar.vertices[:, 0].min(), bar.vertices[:, 0].max()
            inside = (raw.times > low) & (raw.times < high)
            assert (colored[inside] == -1).all()
            colored[inside] = state
    shown = slice(1000, 1751)
    assert_array_equal(colored[shown], states.labels[shown])
    assert (states.labels[shown] == -1).sum() > 200
    assert axes.get_xlim() == (4.0, 7.0)
    signals = raw.get_data([2, 0], start=1000, stop=1751)
    for line, signal in zip(axes.lines, signals, strict=True):
        assert_allclose(line.get_xdata(), raw.times[shown], rtol=0, atol=1e-9)
        assert np.corrcoef(line.get_ydata(), signal)[0, 1] > 1 - 1e-9
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["parcel_02", "parcel_00"]
    heights = np.ptp(signals, axis=1) / [np.ptp(line.get_ydata()) for line in axes.lines]
    assert_allclose(heights[0], heights[1], rtol=1e-9)
    assert axes.get_ylabel() == f"Channels, {heights[0]:.3g} AU each"


def test_channels_and_units(eegbci):
    """Eight of the channels the states were found in, with their unit; arrays need a rate."""
    raw = eegbci(1, preload=True)[0].crop(0, 5)
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.integers(0, 3, 20), -(-raw.n_times // 20))[: raw.n_times]
    from mne_hmm.io.timeline import Timeline
    from mne_hmm.states.time_course import StateTimeCourse

    course = StateTimeCourse(
        np.equal.outer(np.arange(3), labels).astype(float),
        labels,
        Timeline(raw.info["sfreq"], raw.n_times),
        [(0, raw.n_times)],
        ("a", "b", "c"),
        tuple(raw.ch_names[:20]),
    )
    (axes,) = mne_hmm.viz.plot_states_with_data(course, raw, duration=2.0, show=False).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [raw.ch_names[i] for i in (0, 3, 5, 8, 11, 14, 16, 19)]
    height = float(axes.get_ylabel().removeprefix("Channels, ").removesuffix(" µV each"))
    signal = raw.get_data([0], stop=321)[0]
    assert_allclose(height, 1e6 * np.ptp(signal) / np.ptp(axes.lines[0].get_ydata()), rtol=0.01)
    (axes,) = course.plot_with_data(raw.get_data(), picks=[1], sfreq=160.0, show=False).axes
    assert len(axes.lines) == 1


def test_epochs_with_data(simulated, fitted):
    """End to end, as their states are."""
    import mne

    epochs = mne.make_fixed_length_epochs(
        simulated[0].copy().crop(0, 16), 4.0, preload=True, verbose="ERROR"
    )
    states = fitted.predict(epochs)
    (axes,) = states.plot_with_data(epochs, picks=[0], start=3.0, duration=3.0, show=False).axes
    assert axes.get_xlabel() == "Time (s), epochs end to end"
    signal = epochs.get_data()[:, 0].ravel()[750:1501]
    assert np.corrcoef(axes.lines[0].get_ydata(), signal)[0, 1] > 1 - 1e-9


def test_wrong_recording(simulated, states):
    """It must be the one the states were found in."""
    raw = simulated[0]
    with pytest.raises(ValueError, match="one recording of the states, got 2 recordings"):
        states.plot_with_data([raw, raw])
    with pytest.raises(ValueError, match="which has 15,000 samples at 250 Hz, got 2,501 at 250 Hz"):
        states.plot_with_data(raw.copy().crop(0, 10))
    with pytest.raises(ValueError, match="start must be seconds from 0 to the end"):
        states.plot_with_data(raw, start=100.0)


def test_history_names_free_energies_in_full(fitted):
    """Without an offset, which would stand in the title."""
    fig = fitted.plot_history(show=False)
    fig.canvas.draw()
    for axes in fig.axes:
        assert axes.yaxis.get_offset_text().get_text() == ""
