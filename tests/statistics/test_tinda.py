"""Asymmetry of transitions, and the cycle of states."""

from itertools import permutations

import numpy as np
import pytest
from helpers import states_of
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm.statistics import tinda_order


def path(rng, n_samples, cycle, tendency, mean_visit=8):
    """Draw visits that go on to the next state of a cycle more often than not."""
    n_states = len(cycle)
    n_visits = 3 * n_samples // mean_visit
    steps = np.where(rng.random(n_visits) < tendency, 1, rng.integers(1, n_states, n_visits))
    places = np.cumsum(steps) % n_states
    lengths = rng.geometric(1 / mean_visit, n_visits)
    return np.repeat(np.array(cycle)[places], lengths)[:n_samples]


def plain_densities(labels, spans, n_states, weighting):
    """Count, interval by interval."""
    density = np.full((n_states, n_states, 2), np.nan)
    for i in range(n_states):
        halves = ([], [])
        for start, stop in spans:
            on = np.flatnonzero(labels[start:stop] == i) + start
            for a, b in zip(on[:-1] + 1, on[1:], strict=True):
                if b - a >= 2:
                    n = -(-(b - a) // 2)
                    halves[0].append(labels[a : a + n])
                    halves[1].append(labels[b - n : b])
        for half in (0, 1):
            if not halves[half]:
                continue
            for j in set(range(n_states)) - {i}:
                shares = [np.mean(part == j) for part in halves[half]]
                lengths = [len(part) for part in halves[half]]
                weights = lengths if weighting == "samples" else None
                density[i, j, half] = np.average(shares, weights=weights)
    return density


# Published numbers


@pytest.fixture(scope="module")
def published(reference):
    return reference("tinda")


@pytest.mark.parametrize("weighting", ["samples", "intervals"])
def test_reference(published, weighting):
    """Numbers of osl-dynamics, but that our sequence runs with time and theirs against it."""
    both = [states_of(published[f"labels_{i}"]) for i in range(2)]
    tinda = mne_hmm.compute_tinda(both, weighting=weighting)
    name = "fo_density" if weighting == "samples" else "fo_density_equal"
    # The reference is exact; sums of whole numbers, divided once.
    assert_allclose(tinda.occupancy_density, published[name], rtol=0, atol=1e-13)
    if weighting == "intervals":
        return
    assert_allclose(tinda.asymmetry, published["asymmetry"], rtol=0, atol=1e-13)
    theirs = published["sequence"]
    assert_array_equal(tinda.sequence, [theirs[0], *theirs[:0:-1]])
    assert_array_equal(tinda.sequence, published["cycle"])
    ours = np.exp(1j * (tinda.angles - tinda.angles[:, None]))
    assert_allclose(ours, published["circle_angles"], rtol=0, atol=1e-13)
    assert_allclose(tinda.cycle_strength, published["cycle_strength"], rtol=0, atol=1e-13)
    absolute = published["cycle_strength_absolute"]
    assert_allclose(tinda.absolute_cycle_strength, absolute, rtol=0, atol=1e-13)


# Densities


def test_by_hand():
    """Intervals of one sample are dropped; the middle sample of odd ones is in both halves."""
    #                    0  1  2  3  4  5  6  7  8  9
    tinda = mne_hmm.compute_tinda(states_of([0, 1, 0, 1, 2, 2, 0, 1, 2, 0]))
    # Between visits to 0: (1), dropped; (1, 2, 2); (1, 2).
    assert_array_equal(tinda.n_intervals[0], [2])
    assert_allclose(tinda.occupancy_density[0, 1, :, 0], [2 / 3, 0 / 3])
    assert_allclose(tinda.occupancy_density[0, 2, :, 0], [1 / 3, 3 / 3])
    equal = mne_hmm.compute_tinda(states_of([0, 1, 0, 1, 2, 2, 0, 1, 2, 0]), weighting="intervals")
    assert_allclose(equal.occupancy_density[0, 1, :, 0], [(1 / 2 + 1) / 2, 0])
    assert np.isnan(tinda.occupancy_density[0, 0]).all()
    # Nothing follows anything but in this order.
    assert_array_equal(tinda.sequence, [0, 1, 2])
    assert_allclose(tinda.angles, [np.pi / 2, -np.pi / 6, -5 * np.pi / 6])


@pytest.mark.parametrize("weighting", ["samples", "intervals"])
@pytest.mark.parametrize("seed", range(4))
def test_against_counting(seed, weighting):
    """With gaps that no interval crosses, and a state that is hardly there."""
    rng = np.random.default_rng(seed)
    labels = path(rng, 600, rng.permutation(4), 0.5, mean_visit=3)
    labels[rng.choice(600, 3)] = 4
    spans = [(3, 200), (200, 340), (350, 351), (360, 600)]
    for a, b in [(0, 3), (340, 350), (351, 360)]:
        labels[a:b] = -1
    tinda = mne_hmm.compute_tinda(states_of(labels, 5, spans=spans), weighting=weighting)
    expected = plain_densities(labels, spans, 5, weighting)
    assert_allclose(tinda.occupancy_density[..., 0], expected, rtol=0, atol=1e-13)


def test_recordings_are_apart(simulated, fitted):
    """A list gives what each gives alone, under one sequence; pieces of epochs count as spans."""
    raw = simulated[0]
    parts = [raw.copy().crop(0, 20), raw.copy().crop(20, 59)]
    states = fitted.predict(parts)
    both = mne_hmm.compute_tinda(states)
    for i, course in enumerate(states):
        alone = mne_hmm.compute_tinda(course)
        assert_array_equal(both.asymmetry[..., i], alone.asymmetry[..., 0])
        assert_array_equal(both.n_intervals[:, i], alone.n_intervals[:, 0])
        assert abs(both.cycle_strength[i]) <= alone.cycle_strength[0] + 1e-12
    import mne

    epochs = mne.make_fixed_length_epochs(raw, 4.0, preload=True, verbose="ERROR")
    states = fitted.predict(epochs)
    assert states.labels.ndim == 2
    density = mne_hmm.compute_tinda(states).occupancy_density[..., 0]
    expected = plain_densities(states.labels.ravel(), states.spans, 3, "samples")
    assert_allclose(density, expected, rtol=0, atol=1e-13)


def test_what_cannot_be_said_is_nan():
    """And takes nothing from the rest."""
    rng = np.random.default_rng(0)
    long, short = path(rng, 3000, [0, 1, 2], 0.8), [0, 0, 1, 1]
    without = states_of(np.where(long == 2, 0, long), n_states=3)
    tinda = mne_hmm.compute_tinda([states_of(long), states_of(short, n_states=3), without])
    assert np.isnan(tinda.cycle_strength).tolist() == [False, True, False]
    assert np.isnan(tinda.absolute_cycle_strength[1])
    assert np.isnan(tinda.asymmetry[2, :, 2]).all()
    assert_array_equal(tinda.n_intervals[:, 1], [0, 0, 0])
    # One of two recordings that say something knows of state 2.
    asymmetry = tinda.asymmetry[2, 0, 0] / 2
    assert_allclose(tinda.mean_asymmetry[2, 0], asymmetry, rtol=1e-14)
    assert np.isnan(np.diag(tinda.mean_asymmetry)).all()
    assert_array_equal(tinda.sequence, [0, 1, 2])


# The cycle


@pytest.mark.parametrize("n_states", [3, 4, 6, 9, 12, 16])
def test_known_cycle(n_states):
    """Found for many states, too; against time it is the same one backwards."""
    rng = np.random.default_rng(n_states)
    cycle = [0, *rng.permutation(np.arange(1, n_states))]
    labels = path(rng, 30_000, cycle, 0.7)
    tinda = mne_hmm.compute_tinda(states_of(labels))
    assert_array_equal(tinda.sequence, cycle)
    back = mne_hmm.compute_tinda(states_of(labels[::-1]))
    assert_array_equal(back.sequence, [0, *cycle[:0:-1]])
    assert_allclose(back.cycle_strength, tinda.cycle_strength, rtol=1e-12)
    both = mne_hmm.compute_tinda([states_of(labels), states_of(labels), states_of(labels[::-1])])
    # A recording that goes the other way has the same strength with the other sign.
    assert_allclose(both.cycle_strength, tinda.cycle_strength * [1, 1, -1], rtol=1e-12)


def strength_of(sequence, asymmetry):
    """By the definition: sine of the way around the circle, times asymmetry."""
    place = {state: i for i, state in enumerate(sequence)}
    return sum(
        np.sin(2 * np.pi * (place[j] - place[i]) / len(sequence)) * asymmetry[i, j]
        for i in place
        for j in place
    )


def test_best_of_all_orders():
    """For noise, which has no cycle that is easy to find."""
    matrices = np.random.default_rng(0).standard_normal((5, 5, 5))
    sequences, strengths = tinda_order.best_sequences(matrices)
    for matrix, sequence, strength in zip(matrices, sequences, strengths, strict=True):
        orders = [(0, *rest) for rest in permutations(range(1, 5))]
        best = max(orders, key=lambda order, m=matrix: strength_of(order, m))
        assert tuple(sequence) == best
        assert_allclose(strength, strength_of(best, matrix), rtol=1e-12)


@pytest.mark.parametrize("n_states", [5, 8, 9])
def test_search_finds_the_best(n_states, monkeypatch):
    """The search for many states, where all orders can still be tried, on noise."""
    matrices = np.random.default_rng(n_states).standard_normal((60, n_states, n_states))
    exact, _ = tinda_order.best_sequences(matrices)
    monkeypatch.setattr(tinda_order, "MAX_EXHAUSTIVE", n_states - 1)
    searched, _ = tinda_order.best_sequences(matrices)
    assert_array_equal(searched, exact)


def test_search_goes_by_no_names():
    """Twelve states under other names, and in other company, have the same cycle."""
    rng = np.random.default_rng(0)
    matrices = rng.standard_normal((20, 12, 12))
    sequences, strengths = tinda_order.best_sequences(matrices)
    assert_array_equal(sequences[:, 0], 0)
    assert_array_equal(np.sort(sequences, axis=1), np.tile(np.arange(12), (20, 1)))
    alone, _ = tinda_order.best_sequences(matrices[7:8])
    assert_array_equal(alone[0], sequences[7])
    order = rng.permutation(12)
    _, renamed = tinda_order.best_sequences(matrices[:, order][:, :, order])
    assert_allclose(renamed, strengths, rtol=1e-9)


# The test of a cycle


def test_common_cycle_is_found():
    """None of the permutations is as strong; the same seed gives the same."""
    rng = np.random.default_rng(0)
    tinda = mne_hmm.compute_tinda(
        [states_of(path(rng, 2000, [0, 2, 1, 3, 4], 0.6)) for _ in range(6)]
    )
    test = tinda.test(199, random_state=1)
    assert test.p_value == 1 / 200
    assert_allclose(test.strength, tinda.cycle_strength.mean(), rtol=1e-12)
    assert test.null_strengths.shape == (199,)
    assert (test.null_strengths < test.strength).all()
    again = tinda.test(199, random_state=1)
    assert_array_equal(again.null_strengths, test.null_strengths)
    assert "p = 0.005, 199 permutations" in str(test)


def test_null_is_that_of_renamed_states():
    """Permuting the asymmetry is computing it from renamed states; all of it is met."""
    rng = np.random.default_rng(0)
    first, other = (path(rng, 2000, range(4), 0.6) for _ in range(2))
    expected = [
        np.mean(
            mne_hmm.compute_tinda(
                [states_of(first), states_of(np.array(names)[other])]
            ).cycle_strength
        )
        for names in permutations(range(4))
    ]
    null = mne_hmm.compute_tinda([states_of(first), states_of(other)]).test(500, 0)
    distance = np.abs(null.null_strengths[:, None] - expected)
    # Sums in another order.
    assert distance.min(1).max() < 1e-12
    assert distance.min(0).max() < 1e-12
    # Ties are counted: the names as they are come back once in 24.
    same = np.abs(null.null_strengths - null.strength) < 1e-12
    assert same.sum() >= 5
    as_strong = (null.null_strengths >= null.strength - 1e-12).sum()
    assert null.p_value == (1 + as_strong) / 501


@pytest.mark.slow
@pytest.mark.parametrize(("n_states", "n_permutations"), [(5, 199), (11, 99)])
def test_p_values_are_uniform_without_a_common_cycle(n_states, n_permutations):
    """Every recording has a cycle, but each one of its own; by all orders, and by the search."""
    from scipy.stats import kstest

    rng = np.random.default_rng(5)
    p_values = []
    for _ in range(200):
        subset = [
            states_of(path(rng, 1500, rng.permutation(n_states), 0.5), n_states=n_states)
            for _ in range(5)
        ]
        p_values.append(mne_hmm.compute_tinda(subset).test(n_permutations, rng).p_value)
    # They lie on a grid; half a step off keeps the distance of a uniform one.
    assert kstest(np.array(p_values) - 0.5 / (n_permutations + 1), "uniform").pvalue > 0.05
    assert 2 <= np.sum(np.array(p_values) <= 0.05) <= 20  # of 10 expected


# What users see


def test_table(published):
    """One row per recording and pair, named."""
    pytest.importorskip("pandas")
    tinda = mne_hmm.compute_tinda([states_of(published[f"labels_{i}"]) for i in range(2)])
    table = tinda.to_data_frame()
    assert len(table) == 2 * 4 * 3
    row = table.query("recording == 1 and interval_state == 'state_2' and state == 'state_0'")
    expected = published["fo_density"][2, 0, :, 1]
    assert_allclose(row[["first_half", "second_half"]].to_numpy()[0], expected, atol=1e-13)
    assert_allclose(row["asymmetry"], expected[0] - expected[1], rtol=0, atol=1e-13)
    text = "4 states, 2 recordings, cycle strength 0.114: state_0 → state_2 → state_1 → state_3"
    assert text in str(tinda)


def test_figure(published):
    """States lie clockwise in the order of the cycle; arrows point with time."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Circle, FancyArrowPatch

    from mne_hmm.viz._drawing import state_colors  # has no public name

    tinda = mne_hmm.compute_tinda([states_of(published[f"labels_{i}"]) for i in range(2)])
    fig, axes = plt.subplots()
    assert tinda.plot(axes=axes, show=False) is fig
    assert axes.get_title() == "Cycle strength 0.114, mean of 2 recordings"
    disks = [patch for patch in axes.patches if isinstance(patch, Circle)]
    assert_allclose([disk.get_facecolor() for disk in disks], state_colors(4))
    places = np.array([disk.center for disk in disks])
    # The cycle is 0, 2, 1, 3: at the top, on the right, at the bottom, on the left.
    assert_allclose(places, [[0, 1], [0, -1], [1, 0], [-1, 0]], atol=1e-12)
    assert [text.get_text() for text in axes.texts] == list(tinda.state_names)
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    drawn = [
        tuple(int(np.linalg.norm(places - end, axis=1).argmin()) for end in arrow._posA_posB)
        for arrow in arrows
    ]
    assert sorted(drawn) == [(0, 2), (1, 3), (2, 1), (3, 0)]
    plt.close("all")


@pytest.mark.parametrize(
    ("states", "error", "message"),
    [
        ([], ValueError, "empty list; pass the states of at least one"),
        ("states", TypeError, "StateTimeCourse or a list of them, as hmm.predict.* got str"),
        ([1], TypeError, "StateTimeCourse or a list of them"),
        (states_of([0, 1, 0, 1]), ValueError, "three states or more, got 2"),
        (
            [states_of([0, 1, 2]), states_of([0, 1, 3])],
            ValueError,
            "one model, but state_names are state_0, state_1, state_2 in .*state_3 in recording 1",
        ),
        (states_of([0, 1, 2, 2]), ValueError, "no intervals; use longer recordings"),
    ],
)
def test_wrong_states(states, error, message):
    """Each error says what is wrong."""
    with pytest.raises(error, match=message):
        mne_hmm.compute_tinda(states)


def test_wrong_arguments():
    """Of the function and of the test."""
    states = states_of(path(np.random.default_rng(0), 500, range(3), 0.5))
    with pytest.raises(ValueError, match="weighting must be one of 'samples', 'intervals'"):
        mne_hmm.compute_tinda(states, weighting="equal")
    tinda = mne_hmm.compute_tinda(states)
    with pytest.raises(ValueError, match=r"two recordings or more .* got 1: .*parts of one"):
        tinda.test()
    both = mne_hmm.compute_tinda([states, states])
    with pytest.raises(ValueError, match="n_permutations must be a whole number ≥ 1, got 0"):
        both.test(0)
