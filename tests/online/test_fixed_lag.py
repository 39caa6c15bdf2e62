"""Forward filter and fixed-lag smoothing, against the definition, sample by sample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mne_hmm.online.fixed_lag import MIN_PROBABILITY, FixedLagSmoother


def logsumexp(terms, axis=None):
    """Logarithm of a sum of exponentials."""
    return np.logaddexp.reduce(terms, axis)


def by_definition(initial, transition, log_densities, lag):
    """p(s_t | x_1 ... x_(t + lag)), by the recursions of the textbook, in logarithms."""
    start = np.log(np.maximum(initial, MIN_PROBABILITY))
    steps = np.log(np.maximum(transition, MIN_PROBABILITY))
    forward = [start + log_densities[0]]
    for row in log_densities[1:]:
        forward.append(logsumexp(forward[-1][:, np.newaxis] + steps, axis=0) + row)
    out = []
    for t in range(len(log_densities)):
        backward = np.zeros(len(initial))
        for row in log_densities[t + 1 : t + 1 + lag][::-1]:
            backward = logsumexp(steps + row + backward, axis=1)
        joint = forward[t] + backward
        out.append(np.exp(joint - logsumexp(joint)))
    return np.array(out)


def chain(n_states, n_samples, scale, stay, rng):
    """Make a chain whose states last, and log densities that differ by some nats."""
    transition = rng.dirichlet(np.ones(n_states), n_states)
    transition = stay * np.eye(n_states) + (1 - stay) * transition
    return (
        rng.dirichlet(np.ones(n_states)),
        transition,
        scale * rng.normal(size=(n_samples, n_states)),
    )


def in_blocks(smoother, log_densities, sizes):
    """Push samples in blocks, the rest at once, and flush."""
    parts, begin = [], 0
    for size in sizes:
        parts.append(smoother.push(log_densities[begin : begin + size]))
        begin += size
    return np.concatenate([*parts, smoother.push(log_densities[begin:]), smoother.flush()])


@settings(deadline=None, max_examples=60)
@given(
    n_states=st.integers(1, 5),
    n_samples=st.integers(1, 60),
    lag=st.integers(0, 20),
    scale=st.sampled_from([1.0, 30.0, 1e5]),
    stay=st.sampled_from([0.0, 0.9, 1 - 1e-9, 1.0]),
    sizes=st.lists(st.integers(0, 25), max_size=12),
    seed=st.integers(0, 2**32 - 1),
)
def test_definition(n_states, n_samples, lag, scale, stay, sizes, seed):
    """Whatever the blocks, and also where data are sure and steps next to impossible."""
    initial, transition, rows = chain(n_states, n_samples, scale, stay, np.random.default_rng(seed))
    smoother = FixedLagSmoother(initial, transition, lag)
    smoothed = in_blocks(smoother, rows, sizes)
    # Logarithms of some 1e6 have 16 digits, so probabilities have 9 at the least.
    assert_allclose(smoothed, by_definition(initial, transition, rows, lag), rtol=0, atol=1e-8)
    # After the flush another chain begins.
    again = in_blocks(smoother, rows, [])
    assert_allclose(again, smoothed, rtol=0, atol=1e-8)


def test_long_block():
    """Blocks longer than what goes through at once."""
    initial, transition, rows = chain(3, 4300, 2.0, 0.95, np.random.default_rng(0))
    smoothed = in_blocks(FixedLagSmoother(initial, transition, 3), rows, [4200])
    expected = by_definition(initial, transition, rows, 3)
    assert_allclose(smoothed, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("lag", [0, 3])
@pytest.mark.parametrize("size", [1, 2000])
def test_nothing_builds_up_in_a_long_stream(size, lag):
    """What all densities share adds up, within blocks and from one to the next: no digit goes."""
    initial, transition, rows = chain(3, 2000, 1.0, 0.9, np.random.default_rng(2))
    sizes = [size] * (2000 // size)
    smoothed = in_blocks(FixedLagSmoother(initial, transition, lag), rows - 1e6, sizes)
    # Of each density 1e-10 is lost to rounding; of the sum of all it would be 1e-7 and more.
    expected = by_definition(initial, transition, rows, lag)
    assert_allclose(smoothed, expected, rtol=0, atol=1e-8)


def test_what_comes_when():
    """A state is told as soon as the samples of the lag are there, and not before."""
    initial, transition, rows = chain(2, 30, 1.0, 0.9, np.random.default_rng(1))
    smoother = FixedLagSmoother(initial, transition, 4)
    assert [len(smoother.push(rows[t : t + 1])) for t in range(30)] == [0] * 4 + [1] * 26
    assert len(smoother.flush()) == 4
    assert len(smoother.flush()) == 0


def test_impossible_steps_cost_what_they_cost_offline():
    """Or streams and recordings would have other states where models have zeros."""
    from mne_hmm.engine.inference.forward_backward import TINY  # which loads TensorFlow

    assert MIN_PROBABILITY == TINY


@pytest.mark.parametrize("lag", [0, 3])
def test_states_out_of_reach_come_back(lag):
    """A state whose probability underflows is found again when the data speak for it."""
    transition = np.array([[1.0, 0.0], [0.0, 1.0]])
    rows = np.zeros((40, 2))
    rows[:20, 1], rows[20:, 0] = -1000.0, -2000.0
    smoothed = in_blocks(FixedLagSmoother(np.array([0.5, 0.5]), transition, lag), rows, [1, 7])
    # Until as much speaks for the second state; steps count as next to impossible, not as 0.
    expected = by_definition(np.array([0.5, 0.5]), transition, rows, lag)
    assert_allclose(smoothed, expected, rtol=0, atol=1e-9)
    assert smoothed[10, 0] > 0.999
    assert smoothed[-1, 1] > 0.999
