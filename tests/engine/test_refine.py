"""The search: which states are merged, what a merged state is, and what it all costs."""

from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from oracle import draw_samples, draw_states, random_model

from mne_hmm.engine import Parameters, Prior, Samples, UpdateRule
from mne_hmm.engine import refine as refine_module
from mne_hmm.engine.coordinates import Coordinates
from mne_hmm.engine.distribute import ALONE
from mne_hmm.engine.em import Run, Statistics
from mne_hmm.engine.gaussian import Moments
from mne_hmm.engine.part import Part
from mne_hmm.engine.refine import (
    MOST_PASSES,
    N_AFTER_MERGE,
    N_AFTER_SPLIT,
    N_BEST,
    N_LAST,
    TOO_MANY,
    WIDTHS,
    Search,
    Way,
    cheapest_merges,
    merged,
    n_states_to_begin_with,
)
from mne_hmm.engine.start import pooled_parameters

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
    one, other = ([values[k] for values in moments] for k in (i, j))
    both = [a + b for a, b in zip(one, other, strict=True)]
    return nats(*both) - nats(*one) - nats(*other)


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
    like = pooled_parameters(N_STATES, N_FEATURES)
    got = merged(Run(like, statistics=statistics), i, j, rule, prior)
    # Every state that stays, in its order, and what it is made of.
    members = [[k, j] if k == i else [k] for k in range(N_STATES) if k != j]
    initial = [sum(statistics.initial[k] for k in some) + prior.initial for some in members]
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
    for place, some in enumerate(members):
        weight, sums, products = (sum(values[k] for k in some) for values in statistics.moments)
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
    run = Run(pooled_parameters(N_STATES, N_FEATURES))
    run.statistics = statistics._replace(transitions=steps)
    got = merged(run, 0, 2, rule)
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
    like = pooled_parameters(N_STATES, N_FEATURES)
    one = merged(Run(like, statistics=statistics), 0, 2, rule)  # leaves 0+2, 1, 3
    other = merged(Run(like, statistics=renamed), 0, 1, rule)  # leaves 2+0, 1, 3
    for a, b in zip(one, other, strict=True):
        assert_allclose(a, b, rtol=1e-13, atol=1e-13)
    other = merged(Run(like, statistics=renamed), 1, 3, rule)  # of old names: leaves 2, 0+3, 1
    one = merged(Run(like, statistics=statistics), 0, 3, rule)  # leaves 0+3, 1, 2
    back = np.array([1, 2, 0])
    assert_allclose(one.initial_probs, other.initial_probs[back], rtol=1e-13, atol=0)
    steps = other.transition_matrix[np.ix_(back, back)]
    assert_allclose(one.transition_matrix, steps, rtol=1e-13, atol=0)
    assert_allclose(one.means, other.means[back], rtol=0, atol=1e-13)
    assert_allclose(one.covariances, other.covariances[back], rtol=0, atol=1e-13)


# What it costs


def _part(n_samples=1500, n_states=3, seed=0):
    """All of some small data, without merges in mind."""
    rng = np.random.default_rng(seed)
    initial, transition, means, covariances = random_model(rng, n_states, N_FEATURES, spread=0.5)
    states = draw_states(rng, n_samples, initial, transition)
    x = draw_samples(rng, states, means, covariances).astype(np.float32)
    samples = Samples([x], [[n_samples]])
    coordinates = Coordinates.whitening(samples, centered=True, covariance_type="full")
    return Part.of(samples, coordinates, n_states, ALONE)


def _made(name, step):
    """Make every step: nothing is remembered."""
    return step()


def _stubbed_search(monkeypatch, way, part, rng):
    """Search with runs that take all updates they may, and never come to the same optimum.

    Walks after the first help no more.
    """

    def converge(data, run, rule, *, max_iter, tol, prior):
        value = 5.0 if max_iter == N_LAST else 10.0 + rng.random() * 100
        run.free_energy = [value + max_iter - n for n in range(max_iter + 1)]
        if max_iter == N_LAST:
            run.free_energy[-1] += 2e-3 * rng.integers(1, 3)
        run.seconds = [0.0] * (max_iter + 1)
        n_states = len(run.parameters.initial_probs)
        run.statistics = _statistics(int(rng.integers(1e6)), rule, rng.uniform(50, 99, n_states))
        return run

    monkeypatch.setattr(refine_module, "converge", converge)
    told = []
    search = Search(part, way, UpdateRule(learn_means=True), told=told.append)
    start = pooled_parameters(way.begin, N_FEATURES)
    runs = []
    for _ in range(way.n_models):
        run = converge(part.data, Run(start), search.rule, max_iter=8, tol=0, prior=None)
        runs.append(run)
    found = search.refine(runs, np.random.default_rng(0), _made)
    return search, found, told


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("begin", "end"), [(6, 3), (5, 3), (4, 3), (10, 5)])
@pytest.mark.parametrize("n_models", [1, 3])
def test_a_way_knows_what_the_search_costs(monkeypatch, width, begin, end, n_models):
    part = _part()
    way = Way(begin, end, n_models, *width)
    search, found, told = _stubbed_search(monkeypatch, way, part, np.random.default_rng(1))
    # Nothing is saved where every run takes all its updates and no two are alike.
    merges = found.moves
    spare = 2 * max(N_BEST - way.beam, 0)  # models at the end of both walks that are not there
    assert len(told) == way.n_runs - spare
    assert {move["round"] for move in merges} == {1, 2}
    # One pass of those that are counted beforehand is a posterior, which is no run.
    passes = way.n_passes - begin / end - spare * (1 + N_LAST)
    assert search.n_passes == pytest.approx(passes, rel=1e-12)
    # Every merge is on record, with how many were left and who went on.
    n_merges = sum(n for n_given in (n_models, 1) for _, n in way.runs(n_given))
    assert len(merges) == n_merges
    for number, n_given in ((1, n_models), (2, 1)):
        for left, n in way.runs(n_given):
            tried = [m for m in merges if m["round"] == number and m["n_states"] == left]
            assert len(tried) == n
            assert sum(move["kept"] for move in tried) == min(way.beam, n)
            for move in tried:
                i, j = move["merged"]
                assert 0 <= i < j <= left
            worst = max(move["free_energy"] for move in tried if move["kept"])
            assert all(move["free_energy"] >= worst for move in tried if not move["kept"])
    last = [run for run in told if run.n_updates == N_LAST]
    assert len(last) == 2 * min(N_BEST, way.beam, way.runs(1)[-1][1])
    assert len(found.best) <= N_BEST
    assert found.best[0].free_energy[-1] == min(run.free_energy[-1] for run in last)


def test_a_real_search_costs_no_more_than_its_way():
    part = _part()
    rule = UpdateRule(learn_means=True)
    way = Way(6, 3, 1, 3, 4)
    part.data.n_slots = 6
    told = []
    search = Search(part, way, rule, told=told.append)
    rng = np.random.default_rng(2)
    _, _, means, covariances = random_model(rng, 6, N_FEATURES, spread=0.3)
    like = pooled_parameters(6, N_FEATURES)
    start = search.run(like._replace(means=means, covariances=covariances), 8)
    assert told == [start]
    assert search.n_passes == pytest.approx(9 * 6 / 3 * part.share)
    before = search.n_passes
    rounds = []

    def known(name, step):
        rounds.append(name)
        return step()

    found = search.refine([start], rng, known)
    n_rounds = sum(name.endswith("best") for name in rounds)
    assert n_rounds >= 2
    # The bound is for two walks; each more costs no more than half of it.
    assert len(told) - 1 <= way.n_runs * n_rounds / 2
    assert 0 < search.n_passes - before <= way.n_passes * n_rounds / 2
    passes = sum(len(run.free_energy) * len(run.parameters.initial_probs) / 3 for run in told)
    assert search.n_passes == pytest.approx(passes * part.share, rel=1e-12)
    # After a merge, after a split, and at the end: no run takes more.
    most = {N_AFTER_MERGE, N_AFTER_SPLIT, N_LAST}
    assert {run.n_updates for run in told[1:]} <= set(range(N_LAST + 1))
    assert max(run.n_updates for run in told[1:]) <= max(most)
    assert [len(run.parameters.initial_probs) for run in found.best] == [3] * len(found.best)
    ends = [run.free_energy[-1] for run in found.best]
    assert ends == sorted(ends)
    assert ends[0] < start.free_energy[-1] + 0.1


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("end", [2, 6, 12])
def test_the_widest_way_within_means_is_taken(share, end):
    way = Way.within_means(2 * end, end, 3, share)
    widths = [(way.beam, way.n_merges) == width for width in WIDTHS]
    chosen = widths.index(True)
    passes = [share * Way(2 * end, end, 3, *width).n_passes for width in WIDTHS]
    assert passes == sorted(passes, reverse=True)
    assert passes[chosen] <= MOST_PASSES or chosen == len(WIDTHS) - 1
    assert all(more > MOST_PASSES for more in passes[:chosen])
    assert Way(4, 4, 3, 3, 4).n_runs == 0


def test_a_search_begins_with_as_many_states_as_data_allow():
    part = _part()
    full, diagonal = UpdateRule(True), UpdateRule(True, covariance_type="diag")
    assert n_states_to_begin_with(part, 3, full) == TOO_MANY * 3
    # Two samples per state and feature at least, of three features: 250 states in 1,500 samples.
    assert n_states_to_begin_with(part, 200, full) == 250
    assert n_states_to_begin_with(part, 300, full) == 300
    # Five samples per state at least.
    assert n_states_to_begin_with(part, 200, diagonal) == 300
    assert n_states_to_begin_with(part, 100, diagonal) == 200


@pytest.mark.parametrize("rule", [RULES["full, means"], RULES["diag, zero means"]], ids=str)
def test_splitting_halves_every_state(rule):
    # From three states to six, by the power of their samples, and to five where there is room
    # for no more: then the smallest stays whole.
    part = _part()
    rng = np.random.default_rng(3)
    initial, transition, means, covariances = random_model(rng, 3, N_FEATURES, spread=0.5)
    if rule.covariance_type == "diag":
        covariances = covariances * np.eye(N_FEATURES)
    parameters = Parameters(initial, transition, means * rule.learn_means, covariances)
    for begin in (6, 5):
        part.data.n_slots = 6
        search = Search(part, Way(begin, 3, 1, 1, 2), rule)
        run = search._split(parameters, part.log_power(), np.random.default_rng(4))
        assert run.parameters.means.shape == (begin, N_FEATURES)
        assert run.statistics.moments.weights.sum() == pytest.approx(1500, rel=1e-9)
        assert run.n_updates <= N_AFTER_SPLIT
        assert np.isfinite(run.free_energy).all()
        if not rule.learn_means:
            assert_array_equal(run.parameters.means, 0)
