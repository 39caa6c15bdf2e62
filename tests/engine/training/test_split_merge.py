"""Moves: which states are split and merged, what becomes of them, and what it costs."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from oracle import draw_samples, draw_states

from mne_hmm.engine import Parameters, Prior, Samples, UpdateRule
from mne_hmm.engine.inference.gaussian import Moments, weighted_moments
from mne_hmm.engine.runtime.workers import ALONE
from mne_hmm.engine.training.em import (
    EMRun,
    Statistics,
    converge,
    expect,
    update,
    update_emissions,
)
from mne_hmm.engine.training.initialization import STRIDE, pooled_parameters
from mne_hmm.engine.training.split_merge import (
    MIN_PER_FEATURE,
    MIN_PER_HALF,
    N_HALVING,
    N_UPDATES,
    SplitMergeSearch,
    cheapest_merges,
    have_same_states,
    merge_states,
    split_statistics,
)
from mne_hmm.engine.training.subsample import Subsample
from mne_hmm.engine.training.whitening import Whitening

N_STATES, N_FEATURES = 4, 3
RULES = {
    f"{form}, {'means' if learn else 'zero means'}": UpdateRule(learn, covariance_type=form)
    for form in ("full", "diag")
    for learn in (True, False)
}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def _statistics(seed, rule, weights=(400.0, 90.0, 1500.0, 120.0)):
    """Sums over samples that were never drawn."""
    rng = np.random.default_rng(seed)
    weights = np.array(weights)
    n_states = len(weights)
    means = rng.normal(size=(n_states, N_FEATURES)) * rule.learn_means
    mixing = rng.normal(size=(n_states, N_FEATURES, N_FEATURES))
    second = mixing @ mixing.transpose(0, 2, 1) + 0.2 * np.eye(N_FEATURES)
    second = second + means[:, :, None] * means[:, None, :]
    if rule.covariance_type == "diag":
        second = np.einsum("kii->ki", second)
    scale = weights.reshape(-1, *[1] * (second.ndim - 1))
    moments = Moments(weights, weights[:, None] * means, scale * second)
    steps = rng.gamma(2.0, 50.0, size=(n_states, n_states))
    return Statistics(-1.0, steps, rng.gamma(1.0, 2.0, size=n_states), moments)


def _covariance(weight, sums, products, rule):
    """Covariance of samples with these sums, in float64."""
    second = (np.diag(products) if products.ndim == 1 else products) / weight
    covariance = second - np.outer(sums, sums) / weight**2 * rule.learn_means
    return np.diag(np.diag(covariance)) if rule.covariance_type == "diag" else covariance


def _loss(statistics, i, j, rule):
    """Log likelihood, given the states, that is lost when two are one."""

    def nats(weight, sums, products):
        return 0.5 * weight * np.linalg.slogdet(_covariance(weight, sums, products, rule))[1]

    moments = statistics.moments
    first, other = ([values[k] for values in moments] for k in (i, j))
    both = [a + b for a, b in zip(first, other, strict=True)]
    return nats(*both) - nats(*first) - nats(*other)


@every_rule
@pytest.mark.parametrize("seed", range(4))
def test_the_cheapest_merge_comes_first(rule, seed):
    statistics = _statistics(seed, rule)
    losses = {pair: _loss(statistics, *pair, rule) for pair in combinations(range(N_STATES), 2)}
    assert min(losses.values()) > 0  # a merge never gains
    assert cheapest_merges(statistics, rule) == sorted(losses, key=losses.get)


@every_rule
def test_states_alike_and_states_of_nothing_are_cheapest(rule):
    # The second and the fourth are one, and the third has lost its samples.
    statistics = _statistics(5, rule, (400.0, 90.0, 0.0, 120.0))
    moments = Moments(*(values.copy() for values in statistics.moments))
    for values in moments[1:]:
        values[3] = values[1] * (120 / 90)
    pairs = cheapest_merges(statistics._replace(moments=moments), rule)
    assert set(pairs[:4]) == {(0, 2), (1, 2), (2, 3), (1, 3)}


@every_rule
@pytest.mark.parametrize("prior", [Prior(), Prior(2.0, 30.0, 15.0, 10.0)], ids=["no prior", "all"])
@pytest.mark.parametrize("pair", [(0, 1), (1, 3), (0, 3), (2, 1)])
def test_a_merged_state_has_the_sums_of_both(rule, prior, pair):
    i, j = pair
    statistics = _statistics(6, rule)
    got = merge_states(statistics, i, j, rule, prior)
    # Every state that stays, in its order, and what it is made of.
    members = [[k, j] if k == i else [k] for k in range(N_STATES) if k != j]
    initial = [sum(statistics.initial[k] for k in group) + prior.initial for group in members]
    assert_allclose(got.initial_probs, np.divide(initial, sum(initial)), rtol=1e-13, atol=0)
    steps = np.array(
        [
            [sum(statistics.transitions[a, b] for a in m for b in n) for n in members]
            for m in members
        ]
    )
    assert steps.sum() == pytest.approx(statistics.transitions.sum(), rel=1e-13)
    # Nine of ten pseudo-counts stay.
    steps = steps + prior.transitions * (0.05 + 0.85 * np.eye(len(members)))
    rows = steps / steps.sum(1, keepdims=True)
    assert_allclose(got.transition_matrix, rows, rtol=1e-12, atol=0)
    n_means = prior.means * rule.learn_means
    for place, group in enumerate(members):
        weight, sums, products = (sum(values[k] for k in group) for values in statistics.moments)
        products = np.diag(products) if products.ndim == 1 else products
        mean = sums / (weight + n_means) * rule.learn_means
        assert_allclose(got.means[place], mean, rtol=0, atol=1e-12)
        around = products - (weight + n_means) * np.outer(mean, mean)
        around = around + prior.covariances * np.eye(N_FEATURES)
        covariance = around / (weight + prior.covariances + (n_means > 0))
        if rule.covariance_type == "diag":
            covariance = np.diag(np.diag(covariance))
        assert_allclose(got.covariances[place], covariance, rtol=0, atol=1e-12)


def test_a_merged_state_that_is_never_left_has_steps():
    rule = UpdateRule(learn_means=True)
    statistics = _statistics(7, rule)
    steps = statistics.transitions.copy()
    steps[[0, 2]] = 0.0
    got = merge_states(statistics._replace(transitions=steps), 0, 2, rule)
    assert_allclose(got.transition_matrix.sum(1), 1, rtol=1e-13, atol=0)
    assert (got.transition_matrix[0] > 0).all()


def _renamed(statistics, order):
    moments = Moments(*(values[order] for values in statistics.moments))
    steps = statistics.transitions[np.ix_(order, order)]
    return Statistics(statistics.log_evidence, steps, statistics.initial[order], moments)


@every_rule
def test_names_of_states_change_nothing(rule):
    # A 3-cycle: a permutation that is not its own inverse.
    statistics = _statistics(8, rule)
    order = np.array([2, 0, 1, 3])  # new state k is old state order[k]
    renamed = _renamed(statistics, order)
    pairs = [tuple(sorted(order[list(pair)])) for pair in cheapest_merges(renamed, rule)]
    assert pairs == cheapest_merges(statistics, rule)
    merged = merge_states(statistics, 0, 2, rule)  # leaves 0+2, 1, 3
    other = merge_states(renamed, 0, 1, rule)  # leaves 2+0, 1, 3
    for a, b in zip(merged, other, strict=True):
        assert_allclose(a, b, rtol=1e-13, atol=1e-13)
    other = merge_states(renamed, 1, 3, rule)  # of old names: leaves 2, 0+3, 1
    merged = merge_states(statistics, 0, 3, rule)  # leaves 0+3, 1, 2
    back = np.array([1, 2, 0])
    assert_allclose(merged.initial_probs, other.initial_probs[back], rtol=1e-13, atol=0)
    steps = other.transition_matrix[np.ix_(back, back)]
    assert_allclose(merged.transition_matrix, steps, rtol=1e-13, atol=0)
    assert_allclose(merged.means, other.means[back], rtol=0, atol=1e-13)
    assert_allclose(merged.covariances, other.covariances[back], rtol=0, atol=1e-13)


# A state that is divided


def _halves(statistics, state, rule, share=0.3, of=0.2):
    """Halves of some of a state's samples, which together are as the state is."""
    rng = np.random.default_rng(9)
    weight, sums, products = (of * values[state] for values in statistics.moments)
    mean = rng.normal(size=N_FEATURES) * rule.learn_means
    second = 0.1 * products / weight + (mean**2 if products.ndim == 1 else np.outer(mean, mean))
    first = share * weight, share * weight * mean, share * weight * second
    pairs = zip(first, (weight, sums, products), strict=True)
    return Moments(*(np.stack([half, whole - half]) for half, whole in pairs))


@every_rule
@pytest.mark.parametrize("state", [0, 2, 3])
def test_halves_that_are_merged_again_are_the_state(rule, state):
    statistics = _statistics(10, rule)
    steps = np.array([[30.0, 4.0], [5.0, 61.0]])
    halves = _halves(statistics, state, rule)
    more = split_statistics(statistics, state, steps, halves)
    assert_allclose(more.moments.weights[[state, -1]].sum(), statistics.moments.weights[state])
    shares = more.moments.weights[[state, -1]] / statistics.moments.weights[state]
    assert_allclose(shares, [0.3, 0.7], rtol=1e-12, atol=0)
    assert_allclose(more.transitions.sum(), statistics.transitions.sum(), rtol=1e-13, atol=0)
    assert_allclose(more.initial.sum(), statistics.initial.sum(), rtol=1e-13, atol=0)
    # Steps between the halves are in proportion to those that were counted, and steps to and
    # from others are shared out.
    between = more.transitions[np.ix_([state, -1], [state, -1])]
    whole = statistics.transitions[state, state]
    assert_allclose(between, whole * steps / 100, rtol=1e-13, atol=0)
    other = 1
    assert_allclose(
        more.transitions[[state, -1], other],
        statistics.transitions[state, other] * np.array([0.3, 0.7]),
        rtol=1e-12,
        atol=0,
    )
    assert_allclose(
        more.transitions[other, [state, -1]],
        statistics.transitions[other, state] * np.array([0.3, 0.7]),
        rtol=1e-12,
        atol=0,
    )
    back = merge_states(more, state, N_STATES, rule)
    want = update(pooled_parameters(N_STATES, N_FEATURES), statistics, rule)
    for name, a, b in zip(Parameters._fields, back, want, strict=True):
        assert_allclose(a, b, rtol=0, atol=1e-11, err_msg=name)


def test_what_is_divided_is_left_as_it_was():
    rule = UpdateRule(True)
    statistics = _statistics(11, rule)
    before = [values.copy() for values in (*statistics[1:3], *statistics.moments)]
    split_statistics(statistics, 1, np.ones((2, 2)), _halves(statistics, 1, rule))
    for value, same in zip((*statistics[1:3], *statistics.moments), before, strict=True):
        assert_array_equal(value, same)


# Out of an optimum


def _model(seed, rule, n_samples=4000, stay=0.9):
    """Samples of four states that are far apart, and where they are on."""
    rng = np.random.default_rng(seed)
    variances = np.array([[9, 1, 1], [1, 9, 1], [1, 1, 9], [0.05, 0.05, 0.05]])
    means = 2 * np.log(variances) * rule.learn_means
    transition = stay * np.eye(N_STATES) + (1 - stay) / N_STATES
    states = draw_states(rng, n_samples, np.full(N_STATES, 1 / N_STATES), transition)
    covariances = variances[:, :, None] * np.eye(N_FEATURES)
    x = draw_samples(rng, states, means, covariances).astype(np.float32)
    samples = Samples([x], [[n_samples]])
    whitening = Whitening.fit(
        samples, centered=rule.learn_means, covariance_type=rule.covariance_type
    )
    return Subsample.of(samples, whitening, N_STATES, ALONE), states


def _fitted(part, labels, rule, n_updates=0):
    """A run that begins where labels say."""
    weights = np.equal(labels[:, None], np.arange(N_STATES)).astype(np.float32)
    like = pooled_parameters(N_STATES, N_FEATURES)
    moments = weighted_moments(part.data, weights, rule.covariance_type)
    start = update_emissions(like, moments, rule)
    return converge(part.data, EMRun(start), rule, max_iter=n_updates, tol=0)


@pytest.fixture(scope="module", params=RULES.values(), ids=RULES)
def optimum(request):
    """What to learn, samples, their states, and a run that began there: not to be changed."""
    part, states = _model(4, request.param)
    return request.param, part, states, _fitted(part, states, request.param, 20)


@pytest.fixture(scope="module")
def begun():
    """The same with two updates, for one rule."""
    rule = UpdateRule(False)
    part, states = _model(4, rule)
    return rule, part, _fitted(part, states, rule, 2)


def test_the_best_move_leads_to_the_true_states(optimum):
    rule, part, states, truth = optimum
    # States 0 and 1 are one, and every second sample of state 2 is another state's.
    labels = np.array([0, 0, 1, 3])[states]
    labels[(states == 2) & (np.arange(len(states)) % 2 == 1)] = 2
    stuck = _fitted(part, labels, rule, 2)
    assert stuck.free_energy[-1] > truth.free_energy[-1] + 0.02
    runs = []
    search = SplitMergeSearch(
        part, N_STATES, rule, brief_runs=SimpleNamespace(after_run=runs.append)
    )
    moves = search.best_moves(stuck, np.random.default_rng(0))
    best, value, _ = moves[0]
    # The two that are alike become one, or one of them becomes half of the first.
    assert best.split == 0
    assert {1, 2} & set(best.merged)
    assert (
        value == min(move.free_energy for move in moves) == min(run.free_energy[-1] for run in runs)
    )
    # A few updates more, and it is there.
    run = converge(part.data, EMRun(best.parameters), rule, max_iter=20, tol=0)
    assert_allclose(run.free_energy[-1], truth.free_energy[-1], rtol=0, atol=2e-3)


def test_halves_settle_where_power_changes_fast():
    # Visits of three samples are blurred where power is averaged over 25.
    rule = UpdateRule(False)
    part, states = _model(4, rule, stay=0.6)
    search = SplitMergeSearch(part, N_STATES, rule)
    of_both = (states < 2).astype(float)
    # The halves as they are when split, before any update of the whole model.
    _, halves = search._split_state(of_both, np.random.default_rng(0))
    covariances = halves.products / halves.weights[:, None, None]
    truth = _fitted(part, states, rule).statistics.moments
    truth = (truth.products / truth.weights[:, None, None])[:2]
    errors = [np.abs(covariances[order] - truth).max() for order in ([0, 1], [1, 0])]
    # Variances are up to 3, and some 1,500 samples of each state overlap a little.
    assert min(errors) < 0.3


def test_a_move_never_merges_what_it_has_split(begun):
    rule, part, run = begun
    search = SplitMergeSearch(part, N_STATES, rule)
    moves = search.moves(run, np.random.default_rng(0))
    for move in moves:
        i, j = move.merged
        assert 0 <= i < j <= N_STATES
        assert (i, j) != (move.split, N_STATES)
        assert len(move.parameters.initial_probs) == N_STATES
    counts = np.bincount([move.split for move in moves], minlength=N_STATES)
    assert_array_equal(counts, search.n_merges)


def test_the_same_seed_gives_the_same_moves(begun):
    rule, part, run = begun
    moves, same, other = (
        SplitMergeSearch(part, N_STATES, rule).best_moves(run, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    for a, b in zip(moves, same, strict=True):
        assert a.move[:2] == b.move[:2]
        assert a[1:] == b[1:]
        for values, again in zip(a.move.parameters, b.move.parameters, strict=True):
            assert_array_equal(values, again)
    assert [move.free_energy for move in moves] != [move.free_energy for move in other]


def test_moves_that_lead_back_are_known(optimum):
    # Out of the optimum: what becomes one again, by way of halves, is back in it before long.
    rule, part, _, truth = optimum
    moves = SplitMergeSearch(part, N_STATES, rule).best_moves(truth, np.random.default_rng(0))
    assert {move.leads_back for move in moves} == {True, False}
    for move, value, leads_back in moves:
        if leads_back:
            # The same states, of a finite number of updates.
            run = converge(part.data, EMRun(move.parameters), rule, max_iter=6, tol=0)
            assert abs(run.free_energy[-1] - truth.free_energy[-1]) < 1e-2
        else:
            # What is far above it is not there yet.
            assert value > truth.free_energy[-1] + 1e-3


@pytest.mark.parametrize(
    ("labels", "others", "same"),
    [
        ([0, 0, 1, 1, 2, 2], [2, 2, 0, 0, 1, 1], True),
        ([0, 0, 1, 1, 2, 2], [2, 2, 0, 0, 0, 1], False),
        # States that no sample is in do not count, on either side.
        ([0, 0, 3, 3], [1, 1, 2, 2], True),
        # One state of 20 samples in which 6 or 2 are another's.
        ([0] * 20 + [1] * 20, [0] * 14 + [1] * 26, False),
        ([0] * 20 + [1] * 20, [0] * 18 + [1] * 22, True),
        # A state is lost: the others have no less of what they had.
        ([0] * 50 + [1] * 50 + [2] * 2, [0] * 50 + [1] * 52, False),
        ([0] * 50 + [1] * 52, [0] * 50 + [1] * 50 + [2] * 2, False),
    ],
)
def test_the_same_states(labels, others, same):
    assert have_same_states(np.array(labels), np.array(others)) == same


def test_passes_are_counted(begun):
    rule, part, run = begun
    runs = []
    search = SplitMergeSearch(
        part, N_STATES, rule, brief_runs=SimpleNamespace(after_run=runs.append)
    )
    moves = search.best_moves(run, np.random.default_rng(0))
    assert len(runs) == len(moves) == search.n_merges * N_STATES
    assert {run.n_updates for run in runs} == {N_UPDATES}
    # Those of the proposals, one for where the states are on, and two states' densities of each
    # state's samples; densities of some samples under the model and each proposal.
    n_passes = sum(part.share * run.n_passes for run in runs) + part.share
    n_passes += (len(moves) + 1) * part.share / STRIDE
    halving = N_HALVING * part.share * 2 / N_STATES
    assert n_passes + 0.9 * halving < search.n_passes <= n_passes + halving


@pytest.mark.parametrize(("n_states", "n_merges"), [(2, 3), (6, 3), (8, 3), (9, 2), (30, 2)])
def test_proposals_are_some_two_dozen(n_states, n_merges):
    part, _ = _model(4, UpdateRule(False), 300)
    assert SplitMergeSearch(part, n_states, UpdateRule(False)).n_merges == n_merges


def test_states_of_few_samples_stay_whole():
    full, diagonal = UpdateRule(False), UpdateRule(False, covariance_type="diag")
    part, _ = _model(4, full, 300)
    least = {full: 2 * MIN_PER_FEATURE * N_FEATURES, diagonal: 2 * MIN_PER_HALF}
    for rule, n in least.items():
        weights = np.array([n - 0.5, n + 0.5, 0.0, 300 - 2 * n])
        # The statistics are those of ten times the data.
        run = EMRun(pooled_parameters(N_STATES, N_FEATURES))
        run.statistics = _statistics(12, rule, 10 * weights)
        assert SplitMergeSearch(part, N_STATES, rule).divisible_states(run) == [1, 3]
    run = EMRun(pooled_parameters(N_STATES, N_FEATURES))
    run.statistics = _statistics(12, full, np.full(N_STATES, 10.0))
    part, _ = _model(4, full, 40)
    assert SplitMergeSearch(part, N_STATES, full).moves(run, np.random.default_rng(0)) == []


def test_a_state_of_one_sample_in_two_halves_is_none():
    # All samples but one are the same: k-means and the two halves come to one of next to nothing.
    rule = UpdateRule(False)
    rng = np.random.default_rng(3)
    x = 1e-3 * rng.standard_normal((4000, N_FEATURES)).astype(np.float32)
    x[200] = 50.0
    whitening = Whitening.identity(N_FEATURES)
    part = Subsample.in_memory(Samples([x], [[4000]]), whitening, N_STATES, 4000)
    search = SplitMergeSearch(part, N_STATES, rule)
    parameters = pooled_parameters(N_STATES, N_FEATURES)
    parameters.means[1:] = 1e3  # so that all samples are in the first state
    run = EMRun(parameters, statistics=expect(part.data, parameters, rule))
    assert search.divisible_states(run) == [0]
    assert search.moves(run, rng) == []
