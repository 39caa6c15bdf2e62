"""Chains: forward-backward and Viterbi, exact whatever the chunks."""

import numpy as np
import pytest
from hmmlearn.hmm import GaussianHMM
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from oracle import (
    enumerate_paths,
    per_chain,
    plain_decode,
    plain_smooth,
    random_model,
)
from scipy.stats import multivariate_normal

from mne_hmm.engine import Parameters, Samples, decode, infer, most_probable_path, smooth
from mne_hmm.engine.inference import compilation
from mne_hmm.engine.inference.chain import smooth_rows
from mne_hmm.engine.inference.chunks import ChunkLayout
from mne_hmm.engine.inference.compilation import (
    GROUP_SIZES_ALONE,
    GROUP_SIZES_TOGETHER,
    # How often a shape is compiled, only the caches know.
    _compiled,
    _traced_on_groups,
)
from mne_hmm.engine.inference.forward_backward import TINY
from mne_hmm.engine.runtime._tensorflow import tf  # without start-up notes

# Every shape of the chunks is compiled once, which takes a second or two. So tests put
# many chains into one call, and share shapes where they can.
CHAINS = (8, 1, 5, 7, 2, 6)

LEFT_RIGHT = np.array([[0.7, 0.3, 0.0], [0.0, 0.6, 0.4], [0.0, 0.0, 1.0]])
CYCLE = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])  # no step back, no stay


@pytest.fixture(autouse=True)
def _no_retracing(caplog):
    # TensorFlow tells of functions that are traced again and again, but only twice each: so
    # every test listens.
    yield
    messages = [record.getMessage() for record in caplog.get_records("call")]
    assert not [message for message in messages if "retracing" in message]


def _random_chain(rng, n_states):
    return rng.dirichlet(np.ones(n_states), n_states), rng.dirichlet(np.ones(n_states))


def _log_densities(rng, n_samples, n_states, size=3.0):
    return size * rng.normal(size=(n_samples, n_states))


def _check_posterior(got, truth, *, rtol=0.0, atol=1e-10):
    assert_allclose(got.log_evidence, truth.log_evidence, rtol=rtol, atol=atol)
    assert_allclose(got.probabilities, truth.probabilities, rtol=0, atol=atol)
    assert_allclose(got.transitions, truth.transitions, rtol=0, atol=atol)
    assert_allclose(got.initial, truth.initial, rtol=0, atol=atol)


def _path_log_probability(labels, log_b, lengths, transition, initial):
    """Joint log probability of a given path and the data, per chain."""
    log_p, log_pi = np.log(np.maximum(transition, TINY)), np.log(np.maximum(initial, TINY))
    scores = []
    for path, chain in zip(
        np.split(labels, np.cumsum(lengths)[:-1]),
        np.split(log_b, np.cumsum(lengths)[:-1]),
        strict=True,
    ):
        steps = log_p[path[:-1], path[1:]].sum()
        scores.append(log_pi[path[0]] + steps + chain[np.arange(len(path)), path].sum())
    return np.array(scores)


# Enumeration of all paths


@pytest.mark.parametrize(("n_states", "chunk_length"), [(1, 3), (3, 1), (3, 3), (3, 8), (3, None)])
def test_equals_the_sum_over_all_paths(n_states, chunk_length):
    rng = np.random.default_rng(n_states)
    transition, initial = _random_chain(rng, n_states)
    log_b = _log_densities(rng, sum(CHAINS), n_states)
    truth = per_chain(enumerate_paths, log_b, CHAINS, transition, initial)
    # 1e-10: float64 rounding of some ten steps is 1e-14; any real mistake is far larger.
    _check_posterior(smooth(log_b, CHAINS, transition, initial, chunk_length=chunk_length), truth)
    path = decode(log_b, CHAINS, transition, initial, chunk_length=chunk_length)
    assert_array_equal(path.labels, truth.labels)
    assert_allclose(path.log_probability, truth.log_probability, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("transition", "initial"),
    [
        (LEFT_RIGHT, [1.0, 0.0, 0.0]),
        (LEFT_RIGHT, [0.5, 0.5, 0.0]),
        (CYCLE, [0.2, 0.3, 0.5]),
        (np.eye(3), [0.2, 0.3, 0.5]),
    ],
    ids=["left-right", "left-right, two starts", "3-cycle", "no step at all"],
)
def test_zero_transitions_equal_the_sum_over_all_paths(transition, initial):
    # The oracle takes the zeros as they are. What the engine puts in their place must not
    # show: it is 1e-140 of the evidence.
    rng = np.random.default_rng(0)
    initial = np.array(initial)
    log_b = _log_densities(rng, sum(CHAINS), 3)
    truth = per_chain(enumerate_paths, log_b, CHAINS, transition, initial)
    for chunk_length in (3, 8):
        got = smooth(log_b, CHAINS, transition, initial, chunk_length=chunk_length)
        _check_posterior(got, truth)
        assert_allclose(got.transitions[transition == 0], 0, rtol=0, atol=1e-100)
        path = decode(log_b, CHAINS, transition, initial, chunk_length=chunk_length)
        assert_array_equal(path.labels, truth.labels)
        assert_allclose(path.log_probability, truth.log_probability, rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [1e3, 1e5])
@pytest.mark.parametrize("transition", ["dense", LEFT_RIGHT, CYCLE, np.eye(3)])
def test_huge_differences_of_density(transition, size):
    # Data this clear push impossible steps on the chain. Their probability is TINY by
    # definition, so here the oracle takes it too.
    rng = np.random.default_rng(int(size))
    dense, initial = _random_chain(rng, 3)
    transition = np.maximum(dense if isinstance(transition, str) else transition, TINY)
    for _ in range(3):
        log_b = _log_densities(rng, sum(CHAINS), 3, size)
        truth = per_chain(enumerate_paths, log_b, CHAINS, transition, initial)
        for chunk_length in (3, 8):
            got = smooth(log_b, CHAINS, transition, initial, chunk_length=chunk_length)
            # The oracle's own logarithms are of size 1e6 here, with a rounding of 1e-10.
            _check_posterior(got, truth, rtol=1e-12, atol=1e-8)
            path = decode(log_b, CHAINS, transition, initial, chunk_length=chunk_length)
            assert_array_equal(path.labels, truth.labels)
            assert_allclose(path.log_probability, truth.log_probability, rtol=1e-12, atol=0)


@pytest.mark.parametrize("outlier", [100.0, 600.0, 700.0, 1000.0, 1e5])
def test_one_outlier_in_a_state_that_cannot_be_reached(outlier):
    # One sample (an artifact) speaks for a state that no step leads to or from. Either the
    # path stays and pays for the sample, or it takes two impossible steps; the smaller loss
    # must win, although both are below anything exp can show, and nothing may be NaN.
    transition = np.array([[0.7, 0.0, 0.3], [0.0, 1.0, 0.0], [0.4, 0.0, 0.6]])
    initial = np.array([0.5, 0.0, 0.5])
    log_b = np.zeros((sum(CHAINS), 3))
    log_b[:, 1] = -900.0
    log_b[2] = [-outlier, 0.0, -outlier - 1]
    truth = per_chain(enumerate_paths, log_b, CHAINS, np.maximum(transition, TINY), initial)
    for chunk_length in (1, 3, 8):
        got = smooth(log_b, CHAINS, transition, initial, chunk_length=chunk_length)
        _check_posterior(got, truth)
        # Two steps of TINY cost 645 nats: only then the outlier is believed.
        assert got.probabilities[2, 1] == pytest.approx(float(outlier > 645), abs=1e-9)


# Plain recursions, for chains too long to enumerate


# All of them are one group of eight chunks.
SPANS = [
    (1,),
    (7,),
    (8,),
    (9,),
    (8 * 4 - 1,),
    (8 * 4,),
    (8 * 4 + 1,),
    (8 * 8,),  # all chunks of a group
    (8 * 5, 8 * 2, 8),
    (1, 7, 8, 9, 17),
    (1, 32, 2, 15),
]


@pytest.mark.parametrize("lengths", SPANS, ids=str)
def test_chunks_equal_the_plain_recursion(lengths):
    rng = np.random.default_rng(sum(lengths))
    transition, initial = _random_chain(rng, 3)
    log_b = _log_densities(rng, sum(lengths), 3)
    # 1e-9: rounding of some ten steps is 1e-14.
    truth = per_chain(plain_smooth, log_b, lengths, transition, initial)
    _check_posterior(smooth(log_b, lengths, transition, initial, chunk_length=8), truth, atol=1e-9)
    # Integers and equal steps: many paths are best, exactly, and one rule must choose.
    ties = rng.integers(-1, 2, size=log_b.shape).astype(float)
    for densities, steps, first in (
        (log_b, transition, initial),
        (ties, np.full((3, 3), 1 / 3), np.full(3, 1 / 3)),
    ):
        plain = [
            plain_decode(chain, steps, first)
            for chain in np.split(densities, np.cumsum(lengths)[:-1])
        ]
        path = decode(densities, lengths, steps, first, chunk_length=8)
        assert_array_equal(path.labels, np.concatenate([labels for labels, _ in plain]))
        truth = [score for _, score in plain]
        assert_allclose(path.log_probability, truth, rtol=0, atol=1e-9)
        again = _path_log_probability(path.labels, densities, lengths, steps, first)
        assert_allclose(path.log_probability, again, rtol=0, atol=1e-9)


DYADIC = st.integers(-3, 3).map(lambda n: n / 2)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), lengths=st.sampled_from([(26,), (9, 17), (1, 8, 16, 1), (25, 1)]))
def test_ties_are_broken_as_in_the_plain_recursion(data, lengths):
    # All logarithms are halves, so that sums are exact and paths tie exactly: within chunks,
    # across their borders and at the ends of chains.
    log_b = data.draw(arrays(float, (26, 3), elements=DYADIC), "log densities")
    log_p = data.draw(arrays(float, (3, 3), elements=DYADIC), "log transitions")
    log_pi = data.draw(arrays(float, 3, elements=DYADIC), "log initial")
    if data.draw(st.booleans(), "two states alike"):
        log_b[:, 2], log_pi[2] = log_b[:, 1], log_pi[1]
        log_p[2], log_p[:, 2] = log_p[1], log_p[:, 1]
        log_p[2, 2] = log_p[1, 1]
    # What the engine and the oracle take the logarithm of: it gives the halves back.
    transition, initial = _exact_exp(log_p), _exact_exp(log_pi)
    truth = [
        plain_decode(chain, transition, initial)
        for chain in np.split(log_b, np.cumsum(lengths)[:-1])
    ]
    path = decode(log_b, lengths, transition, initial, chunk_length=8)
    assert_array_equal(path.labels, np.concatenate([labels for labels, _ in truth]))
    # Sums of halves have no rounding at all.
    assert_array_equal(path.log_probability, [score for _, score in truth])


def _exact_exp(logarithms):
    """Numbers whose logarithms are these to the bit."""
    near = np.exp(logarithms)
    for values in (near, np.nextafter(near, np.inf), np.nextafter(near, 0)):
        near = np.where(np.log(values) == logarithms, values, near)
    assert_array_equal(np.log(near), logarithms)
    return near


def test_states_renamed_in_a_3_cycle():
    # A permutation that is not its own inverse: rows and columns, or from and to, mixed up
    # somewhere would show.
    rng = np.random.default_rng(3)
    transition, initial = _random_chain(rng, 3)
    log_b = _log_densities(rng, sum(CHAINS), 3)
    order = np.array([1, 2, 0])
    first = smooth(log_b, CHAINS, transition, initial, chunk_length=3)
    second = smooth(
        log_b[:, order],
        CHAINS,
        transition[np.ix_(order, order)],
        initial[order],
        chunk_length=3,
    )
    assert_allclose(second.probabilities, first.probabilities[:, order], rtol=0, atol=1e-12)
    assert_allclose(second.transitions, first.transitions[np.ix_(order, order)], rtol=0, atol=1e-12)
    assert_allclose(second.initial, first.initial[order], rtol=0, atol=1e-12)


def test_single_precision_densities_are_taken_as_they_are():
    rng = np.random.default_rng(4)
    transition, initial = _random_chain(rng, 3)
    log_b = _log_densities(rng, sum(CHAINS), 3).astype(np.float32)
    got = smooth(log_b, CHAINS, transition, initial, chunk_length=3)
    same = smooth(log_b.astype(float), CHAINS, transition, initial, chunk_length=3)
    for array, other in zip(got, same, strict=True):
        assert array.dtype == np.float64
        assert_array_equal(array, other)


def _rows(log_b, dtype=np.float32):
    return tf.constant(log_b, dtype)


LAYOUT = ChunkLayout(CHAINS, 3)


def test_the_posterior_of_single_precision_rows_is_in_single_precision():
    # Constants are added in float64, so that rows may be small where densities are huge.
    rng = np.random.default_rng(6)
    transition, initial = _random_chain(rng, 3)
    constants = np.array([1e6, 1e6 + 1 / 3, 1e6 - 2])
    rows = _log_densities(rng, sum(CHAINS), 3).astype(np.float32)
    truth = per_chain(enumerate_paths, rows.astype(float) + constants, CHAINS, transition, initial)
    for dtype, atol in ((np.float32, 1e-7), (np.float64, 1e-9)):
        got = smooth_rows(_rows(rows, dtype), constants, LAYOUT, transition, initial)
        assert got.posteriors.dtype == dtype
        # Rounded once, at the end: half of the last digit below 1 is 3e-8.
        assert_allclose(got.posteriors, truth.probabilities, rtol=0, atol=atol)
        # The sums come from before the rounding. The oracle's logarithms of size 1e7 are known
        # to 1e-9.
        assert_allclose(got.transitions, truth.transitions, rtol=0, atol=1e-8)
        assert_allclose(got.weights, truth.probabilities.sum(0), rtol=0, atol=1e-8)
        assert_allclose(got.initial, truth.initial, rtol=0, atol=10 * atol)
        assert_allclose(got.log_evidence, truth.log_evidence, rtol=1e-14, atol=0)
        for sums in got[1:]:
            assert sums.dtype == np.float64


# Other people's numbers


def test_equals_hmmlearn():
    rng = np.random.default_rng(5)
    # The shape of the reference.
    initial, transition, means, covariances = random_model(rng, 4, 5, spread=0.5)
    model = GaussianHMM(4, "full", implementation="log")
    model.startprob_, model.transmat_ = initial, transition
    model.means_, model.covars_ = means, covariances
    x, _ = model.sample(700, random_state=6)
    log_b = np.stack(
        [
            multivariate_normal(mean, cov).logpdf(x)
            for mean, cov in zip(means, covariances, strict=True)
        ],
        axis=1,
    )
    evidence, probabilities = model.score_samples(x)
    log_probability, labels = model.decode(x)
    got = smooth(log_b, [700], transition, initial)
    # Float64 on both sides; their densities come from other factorizations than scipy's.
    assert_allclose(got.log_evidence, [evidence], rtol=1e-11, atol=0)
    assert_allclose(got.probabilities, probabilities, rtol=0, atol=1e-10)
    path = decode(log_b, [700], transition, initial)
    assert_array_equal(path.labels, labels)
    assert_allclose(path.log_probability, [log_probability], rtol=1e-11, atol=0)
    assert np.mean(got.probabilities.max(1) < 0.99) > 0.1  # not a trivial case


@pytest.mark.parametrize("suffix", ["", "_chains"])
def test_equals_the_reference(reference, suffix):
    # Tolerances are those the reference arrays were made for: float64 throughout.
    truth = reference("posterior")
    lengths = truth[f"lengths{suffix}"]
    chain = truth["transition_matrix"], truth["initial_probs"]
    got = smooth(truth["log_densities"], lengths, *chain)
    evidence = truth[f"log_likelihood{suffix}"]
    assert_allclose(got.log_evidence.sum(), evidence, rtol=1e-12, atol=0)
    assert_allclose(got.probabilities, truth[f"posterior{suffix}"], rtol=0, atol=1e-10)
    # Each entry for itself: some are 1e-7 of the others, and floors would show in them.
    assert_allclose(got.transitions, truth[f"xi_sum{suffix}"], rtol=1e-9, atol=0)
    firsts = np.cumsum([0, *lengths[:-1]])
    assert_allclose(got.initial, truth[f"posterior{suffix}"][firsts].sum(0), rtol=0, atol=1e-10)
    path = decode(truth["log_densities"], lengths, *chain)
    assert_array_equal(path.labels, truth[f"viterbi{suffix}"])
    assert_allclose(
        path.log_probability.sum(), truth[f"viterbi_log_prob{suffix}"], rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("suffix", ["", "_chains"])
def test_inference_from_data_equals_the_reference(reference, suffix):
    # From single-precision data: 1e-4 nats in the evidence, 1e-6 in posteriors, 2e-5 in
    # expected steps are what that costs, as the reference arrays' notes say.
    truth = reference("posterior")
    samples = Samples([truth["x"].astype(np.float32)], [truth[f"lengths{suffix}"].tolist()])
    parameters = Parameters(
        truth["initial_probs"], truth["transition_matrix"], truth["means"], truth["covariances"]
    )
    got = infer(samples, parameters)
    evidence = truth[f"log_likelihood{suffix}"]
    assert_allclose(got.log_evidence.sum(), evidence, rtol=2e-8, atol=0)
    assert_allclose(got.probabilities, truth[f"posterior{suffix}"], rtol=0, atol=1e-6)
    assert_allclose(got.transitions, truth[f"xi_sum{suffix}"], rtol=0, atol=2e-5)
    path = most_probable_path(samples, parameters)
    assert_array_equal(path.labels, truth[f"viterbi{suffix}"])


# Chunks and compilation


@settings(deadline=None)  # nothing slow in here, but machines may be busy
@given(
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=9),
    chunk_length=st.integers(1, 20),
)
def test_rows_find_their_way_into_chunks_and_back(lengths, chunk_length):
    layout = ChunkLayout.for_lengths(lengths, chunk_length)
    rows = np.arange(1.0, sum(lengths) + 1)[:, None] * [1, -1]
    chunks = layout.scatter(rows).numpy()
    n_valid, is_first = layout.flags()
    assert chunks.shape == (layout.n_chunks, chunk_length, 2)
    assert_array_equal(layout.gather(chunks), rows)
    # Valid rows come first in every chunk, and chunks in the order of time.
    valid = np.arange(chunk_length) < n_valid[:, None]
    assert_array_equal(chunks[valid], rows)
    # What pads is of no chain, and may be any row: it must be finite, and that is all.
    assert np.isin(chunks[~valid], [0, *rows.ravel()]).all()
    # A chain begins where a chunk says so, and nowhere else.
    begins = chunks[is_first & (n_valid > 0), 0, 0]
    assert_array_equal(begins, np.cumsum([0, *lengths[:-1]]) + 1)


@settings(deadline=None)
@given(typical=st.integers(1, 300), n_chains=st.integers(1, 300))
def test_chosen_chunks_are_few_and_pad_little(typical, n_chains):
    lengths = [typical] * n_chains
    layout = ChunkLayout.for_lengths(lengths)
    # For the sake of few shapes, few chunks at most become four times as many, and many half more.
    n = layout.chunks_per_chain.sum()
    assert n <= layout.n_chunks < max(8 + 1, 4 * n if n <= GROUP_SIZES_ALONE[-1] else 1.5 * n)
    assert {*layout.groups} <= {*GROUP_SIZES_ALONE, *GROUP_SIZES_TOGETHER}
    # Many short chains in long chunks would be padding for the most part.
    assert layout.chunk_length <= max(2 * typical, 8)
    # One long chain in short chunks would be many chunks to walk, one after another.
    long = ChunkLayout.for_lengths([1000 * typical])
    n = max(1000 * typical / 256, 4 * long.chunk_length) + 1
    assert long.n_chunks <= max(8, 2 * n)


@pytest.fixture
def _groups_of_64(monkeypatch):
    # However many chunks there are, so that few samples make groups between the first and the last.
    monkeypatch.setattr(compilation, "GROUP_SIZES_TOGETHER", (64,))


@pytest.mark.usefixtures("_groups_of_64")
@pytest.mark.parametrize("lengths", [(1000,), (500, 500), (700, 5, 1, 250)])
def test_groups_of_chunks_are_one_recursion(lengths):
    # The same chains in many chunks, which are smoothed in groups, and in few, in one, which has
    # the shape of the reference.
    rng = np.random.default_rng(0)
    initial, transition = random_model(rng, 4, 1)[:2]
    log_b = 4 * rng.standard_normal((sum(lengths), 4))
    many, few = (ChunkLayout.for_lengths(lengths, n).groups for n in (5, 32))
    assert (few, many) == ([32], [64] * 4)
    got = smooth(log_b, lengths, transition, initial, chunk_length=5)
    want = smooth(log_b, lengths, transition, initial, chunk_length=32)
    # Rounding of some hundred steps.
    assert_allclose(got.probabilities, want.probabilities, rtol=0, atol=1e-12)
    assert_allclose(got.transitions, want.transitions, rtol=0, atol=1e-9)
    assert_allclose(got.initial, want.initial, rtol=0, atol=1e-12)
    assert_allclose(got.log_evidence, want.log_evidence, rtol=1e-13, atol=0)
    paths = [decode(log_b, lengths, transition, initial, chunk_length=n) for n in (5, 32)]
    assert_array_equal(paths[0].labels, paths[1].labels)
    assert_allclose(paths[0].log_probability, paths[1].log_probability, rtol=1e-13, atol=0)


@pytest.mark.usefixtures("_groups_of_64")  # compiled already
def test_scores_lose_no_digits_along_a_chain():
    # Paths that never change their state, and one sample that speaks for the last of them by
    # 1e-7 nats: little beside the 3e9 nats that all samples before it have cost every path.
    log_b = np.full((1000, 4), -3e6)
    log_b[990, 2] += 1e-7
    path = decode(log_b, (1000,), np.eye(4), np.full(4, 1 / 4), chunk_length=5)
    assert_array_equal(path.labels, 2)


def test_every_shape_is_compiled_once(monkeypatch):
    # Chunks of a length that no other test has for one state, so that all shapes are new. More
    # than five of them: that is when TensorFlow would warn. Fewer sizes of groups than there are,
    # because each takes its time.
    monkeypatch.setattr(compilation, "GROUP_SIZES_ALONE", (8, 32))
    monkeypatch.setattr(compilation, "GROUP_SIZES_TOGETHER", (32,))
    transition, initial = np.ones((1, 1)), np.ones(1)
    lengths = [(40 * 2**n,) for n in range(6)]  # eight chunks of five, and twice as many, ...
    before = _compiled.cache_info()
    for length in lengths:
        decode(np.zeros((sum(length), 1)), length, transition, initial, chunk_length=5)
    once, traced = _compiled.cache_info(), _traced_on_groups.cache_info()
    # Five functions for groups of 8 and 32 chunks; 64 are two groups, and 256 are eight. The two
    # walks do not depend on the length of chunks, so other tests may have compiled them before.
    assert 3 * 2 <= once.misses - before.misses <= 5 * 2
    for length in [(40,), (3,), (79,), (161, 7), (2, 2, 2, 112)]:
        path = decode(np.zeros((sum(length), 1)), length, transition, initial, chunk_length=5)
        assert len(path.labels) == sum(length)
    assert _compiled.cache_info() == once
    assert _traced_on_groups.cache_info().misses == traced.misses


def test_lengths_share_shapes():
    # Recordings of different lengths must not each cost a compilation, nor must memory grow with
    # every recording: whatever the lengths, there are as many shapes as group sizes.
    sizes = set()
    for n in range(1, 1_000_000, 997):
        sizes |= {*ChunkLayout.for_lengths([n], 128).groups}
    assert sizes == {*GROUP_SIZES_ALONE, *GROUP_SIZES_TOGETHER}
    before = _compiled.cache_info()
    rng = np.random.default_rng(9)
    for n in rng.integers(1, 8 * 8, 40):  # up to eight chunks of eight
        smooth(np.zeros((n, 3)), [n], np.full((3, 3), 1 / 3), np.full(3, 1 / 3), chunk_length=8)
    after = _compiled.cache_info()
    assert after.misses - before.misses <= 1  # unless another test has compiled it before
    assert after.hits - before.hits >= 39
