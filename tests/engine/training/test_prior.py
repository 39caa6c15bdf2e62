"""Priors: updates that maximize what they should, and densities that are those of the books."""

from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import dirichlet, invwishart, multivariate_normal

from mne_hmm.engine import Data, Parameters, Prior, Samples, UpdateRule
from mne_hmm.engine.inference.gaussian import Moments
from mne_hmm.engine.training.em import ROUNDING, EMRun, Statistics, converge, expect, update
from mne_hmm.engine.training.initialization import parameters_from_labels
from mne_hmm.engine.training.prior import STAY, sticky_chain

# The shape the EM tests use: nothing new is compiled for these.
LENGTHS, N_SAMPLES, N_STATES, N_FEATURES = [600, 500, 400], 1500, 3, 4

STRENGTHS = {"initial": 3.0, "transitions": 40.0, "covariances": 60.0, "means": 25.0}
PRIORS = {name: Prior(**{name: value}) for name, value in STRENGTHS.items()}
PRIORS |= {"all": Prior(**STRENGTHS), "none": Prior()}
RULES = {
    f"{form}, {'means' if learn else 'zero means'}": UpdateRule(learn, covariance_type=form)
    for form in ("full", "diag")
    for learn in (True, False)
}

every_prior = pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def _random_data(seed=0):
    """No HMM at all: heavy tails, and shifts that last for ten samples."""
    rng = np.random.default_rng(seed)
    shifts = np.repeat(rng.normal(size=(150, N_FEATURES)), 10, axis=0)
    x = rng.standard_t(5, size=(N_SAMPLES, N_FEATURES)) + 0.5 * shifts
    x = (x - x.mean(0)) / x.std(0)
    return Data(Samples([x.astype(np.float32)], [LENGTHS]), N_STATES * N_FEATURES)


def _start(data, rule, prior, seed=0):
    labels = np.repeat(np.random.default_rng(seed).integers(0, N_STATES, 150), 10)
    return parameters_from_labels(data, labels, N_STATES, rule, prior)


def _random_statistics(rng, rule):
    """Sums over samples that were never drawn, with a few chains."""
    weights = np.array([400.0, 900.0, 30.0])
    means = rng.normal(size=(N_STATES, N_FEATURES))
    mixing = rng.normal(size=(N_STATES, N_FEATURES, N_FEATURES))
    second = mixing @ mixing.transpose(0, 2, 1) + 0.3 * np.eye(N_FEATURES)
    second = second + means[:, :, None] * means[:, None, :]
    if rule.covariance_type == "diag":
        second = np.einsum("kii->ki", second)
    scale = weights.reshape(-1, *[1] * (second.ndim - 1))
    moments = Moments(weights, weights[:, None] * means, scale * second)
    steps = rng.gamma(2.0, 50.0, size=(N_STATES, N_STATES))
    return Statistics(0.0, steps, np.array([0.7, 1.1, 1.2]), moments)


def _expected_log_likelihood(parameters, statistics, rule):
    """Of samples and states, from the sums over them, state by state."""
    total = statistics.initial @ np.log(parameters.initial_probs)
    total += (statistics.transitions * np.log(parameters.transition_matrix)).sum()
    for weight, sums, products, mean, covariance in zip(
        *statistics.moments, parameters.means, parameters.covariances, strict=True
    ):
        if rule.covariance_type == "diag":
            products, covariance = np.diag(products), np.diag(np.diag(covariance))
            cross = np.diag(mean * sums)  # what is off the diagonal has no part in it
            outer = np.diag(mean**2)
        else:
            cross, outer = np.outer(mean, sums), np.outer(mean, mean)
        around = products - cross - cross.T + weight * outer
        total -= 0.5 * np.trace(np.linalg.solve(covariance, around))
        total -= 0.5 * weight * np.linalg.slogdet(2 * np.pi * covariance)[1]
    return total


def _log_prior(parameters, prior, rule):
    """Log density by scipy, and the part of it that does not depend on the parameters.

    Strengths that make no proper distribution have no such density: those here do.
    """
    total = 0.0
    sticky = np.full((N_STATES, N_STATES), (1 - STAY) / 2)
    np.fill_diagonal(sticky, STAY)
    if prior.initial:
        total += dirichlet.logpdf(parameters.initial_probs, np.full(N_STATES, 1 + prior.initial))
    if prior.transitions:
        for row, pseudo in zip(parameters.transition_matrix, sticky, strict=True):
            total += dirichlet.logpdf(row, 1 + prior.transitions * pseudo)
    for mean, covariance in zip(parameters.means, parameters.covariances, strict=True):
        diagonal = rule.covariance_type == "diag"
        # Samples believed in have unit covariance: n of them have a scatter of n.
        blocks = [[[v]] for v in np.diag(covariance)] if diagonal else [covariance]
        for block in map(np.array, blocks if prior.covariances else []):
            df = prior.covariances - len(block) - 1
            total += invwishart.logpdf(block, df, prior.covariances * np.eye(len(block)))
        if prior.means and rule.learn_means:
            used = np.diag(np.diag(covariance)) if diagonal else covariance
            total += multivariate_normal.logpdf(mean, np.zeros(N_FEATURES), used / prior.means)
    return total


def _random_parameters(rng, rule):
    mixing = rng.normal(size=(N_STATES, N_FEATURES, N_FEATURES))
    covariances = mixing @ mixing.transpose(0, 2, 1) + 0.3 * np.eye(N_FEATURES)
    if rule.covariance_type == "diag":
        covariances = covariances * np.eye(N_FEATURES)
    return Parameters(
        rng.dirichlet(np.full(N_STATES, 5.0)),
        rng.dirichlet(np.full(N_STATES, 5.0), N_STATES),
        rng.normal(size=(N_STATES, N_FEATURES)) * rule.learn_means,
        covariances,
    )


@every_rule
@every_prior
def test_log_density_is_that_of_scipy_but_for_a_constant(prior, rule):
    rng = np.random.default_rng(0)
    models = [_random_parameters(rng, rule) for _ in range(5)]
    got = np.array([prior.log_density(parameters, rule) for parameters in models])
    want = np.array([_log_prior(parameters, prior, rule) for parameters in models])
    # Both in float64, of a size of some hundred nats.
    assert_allclose(got - got[0], want - want[0], rtol=0, atol=1e-9)
    if prior == Prior() or (prior == PRIORS["means"] and not rule.learn_means):
        assert not got.any()
    else:
        assert np.ptp(got) > 0.1


def _feasible(rng, rule):
    """Draw a direction in which parameters may go."""
    start = rng.normal(size=N_STATES)
    steps = rng.normal(size=(N_STATES, N_STATES))
    around = rng.normal(size=(N_STATES, N_FEATURES, N_FEATURES))
    around = around + around.transpose(0, 2, 1)
    if rule.covariance_type == "diag":
        around = around * np.eye(N_FEATURES)
    means = rng.normal(size=(N_STATES, N_FEATURES)) * rule.learn_means
    return Parameters(start - start.mean(), steps - steps.mean(1, keepdims=True), means, around)


@every_rule
@every_prior
def test_an_update_is_where_nothing_leads_further_up(prior, rule):
    rng = np.random.default_rng(1)
    statistics = _random_statistics(rng, rule)
    best = update(_random_parameters(rng, rule), statistics, rule, prior)

    def objective(parameters):
        likelihood = _expected_log_likelihood(parameters, statistics, rule)
        return likelihood + _log_prior(parameters, prior, rule)

    at_best = objective(best)
    for i_way in range(40):
        way = list(_feasible(rng, rule))
        if i_way < 4 * 4:  # each parameter alone, then all at once
            way = [value * (place == i_way % 4) for place, value in enumerate(way)]
        small = 1e-4 * min(best.initial_probs.min(), best.transition_matrix.min())
        up, down = (
            objective(Parameters(*(a + sign * small * b for a, b in zip(best, way, strict=True))))
            for sign in (1, -1)
        )
        # Some 1e4 nats in float64: 1e-11 each, of which a few are added.
        assert max(up, down) <= at_best + 1e-10
        # A maximum, and not just a slope too flat to see: what is lost on both sides is alike,
        # but for the third order, a thousandth of the second.
        bend = 2 * at_best - up - down
        assert abs(up - down) <= 0.02 * bend + 1e-10


def _float64_update(statistics, prior, rule):
    """Write the closed form down, state by state."""
    sticky = np.full((N_STATES, N_STATES), (1 - STAY) / 2)
    np.fill_diagonal(sticky, STAY)
    initial = statistics.initial + prior.initial
    steps = statistics.transitions + prior.transitions * sticky
    n_means = prior.means * rule.learn_means
    means, covariances = [], []
    for weight, sums, products in zip(*statistics.moments, strict=True):
        mean = sums / (weight + n_means) if rule.learn_means else np.zeros(N_FEATURES)
        if rule.covariance_type == "diag":
            products = np.diag(products)
        scatter = products - np.outer(sums, mean) - np.outer(mean, sums)
        scatter = scatter + (weight + n_means) * np.outer(mean, mean)
        covariance = scatter + prior.covariances * np.eye(N_FEATURES)
        covariance = covariance / (weight + prior.covariances + (1 if n_means else 0))
        means.append(mean)
        covariances.append(
            np.diag(np.diag(covariance)) if rule.covariance_type == "diag" else covariance
        )
    rows = steps / steps.sum(1, keepdims=True)
    return Parameters(initial / initial.sum(), rows, np.array(means), np.array(covariances))


@every_rule
@every_prior
def test_an_update_is_the_closed_form(prior, rule):
    rng = np.random.default_rng(2)
    statistics = _random_statistics(rng, rule)
    start = _random_parameters(rng, rule)
    got = update(start, statistics, rule, prior)
    want = _float64_update(statistics, prior, rule)
    for name in Parameters._fields:
        assert_allclose(getattr(got, name), getattr(want, name), rtol=0, atol=1e-12, err_msg=name)


@every_rule
def test_priors_of_no_strength_change_no_bit(rule):
    rng = np.random.default_rng(3)
    statistics = _random_statistics(rng, rule)
    start = _random_parameters(rng, rule)
    without = update(start, statistics, rule)
    for names in (n for size in range(4) for n in combinations(STRENGTHS, size)):
        prior = Prior(**{name: STRENGTHS[name] for name in names})
        got = update(start, statistics, rule, prior)
        changes = {
            "initial_probs": "initial" in names,
            "transition_matrix": "transitions" in names,
            "means": "means" in names and rule.learn_means,
            "covariances": "covariances" in names or ("means" in names and rule.learn_means),
        }
        for name, changed in changes.items():
            same = np.array_equal(getattr(got, name), getattr(without, name))
            assert same is not changed, (names, name)
    assert Prior().log_density(start, rule) == 0.0
    data = _random_data()
    runs = [
        converge(data, EMRun(_start(data, rule, prior)), rule, max_iter=3, tol=-1, prior=prior)
        for prior in (Prior(), Prior(0.0, 0.0, 0.0, 0.0))
    ]
    without = converge(data, EMRun(_start(data, rule, Prior())), rule, max_iter=3, tol=-1)
    for run in runs:
        assert run.free_energy == without.free_energy
        for value, other in zip(run.parameters, without.parameters, strict=True):
            assert_array_equal(value, other)


@every_rule
def test_priors_of_great_strength_are_all_there_is(rule):
    statistics = _random_statistics(np.random.default_rng(4), rule)
    start = _random_parameters(np.random.default_rng(4), rule)
    got = update(start, statistics, rule, Prior(1e12, 1e12, 1e12, 1e12))
    initial, steps = sticky_chain(N_STATES)
    # The data are some thousand samples, and their squares several times as much.
    assert_allclose(got.initial_probs, initial, rtol=0, atol=1e-8)
    assert_allclose(got.transition_matrix, steps, rtol=0, atol=1e-8)
    assert_allclose(got.means, 0, rtol=0, atol=1e-8)
    covariances = np.tile(np.eye(N_FEATURES), (N_STATES, 1, 1))
    assert_allclose(got.covariances, covariances, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("prior", "rule"),
    # All priors for every rule, and each by itself. Without any of them, see the tests of EM.
    [pytest.param(PRIORS["all"], rule, id=f"all-{name}") for name, rule in RULES.items()]
    + [pytest.param(PRIORS[name], RULES["full, means"], id=name) for name in STRENGTHS]
    + [pytest.param(PRIORS["covariances"], RULES["diag, zero means"], id="covariances-diag")],
)
def test_free_energy_with_a_prior_never_rises(prior, rule):
    data = _random_data()
    start = _start(data, rule, prior)
    run = converge(data, EMRun(start), rule, max_iter=20, tol=-1, prior=prior)
    assert run.n_updates == 20 or run.converged
    values = np.array(run.free_energy)
    assert np.isfinite(values).all()
    assert (np.diff(values) <= ROUNDING * np.abs(values[1:])).all()
    assert values[0] - values[-1] > 0.005  # there was something to learn
    # The number is what it says: evidence and density of the last parameters.
    evidence = expect(data, run.parameters, rule).log_evidence
    objective = evidence + prior.log_density(run.parameters, rule)
    assert_allclose(run.free_energy[-1], -objective / N_SAMPLES, rtol=1e-12, atol=0)


def test_what_is_not_learned_has_no_prior():
    rng = np.random.default_rng(5)
    rule = UpdateRule(learn_means=True, learn_covariances=False, learn_transitions=False)
    start = _random_parameters(rng, rule)
    prior = PRIORS["all"]
    got = update(start, _random_statistics(rng, rule), rule, prior)
    for name in ("initial_probs", "transition_matrix", "covariances"):
        assert_array_equal(getattr(got, name), getattr(start, name))
    density = prior.log_density(start, rule)
    changed = start._replace(initial_probs=sticky_chain(3)[0], transition_matrix=np.eye(3))
    assert prior.log_density(changed, rule) == density
    # The chain alone: what is left are two terms.
    rule = UpdateRule(learn_means=False, learn_covariances=False)
    with np.errstate(all="raise"):
        density = prior.log_density(start, rule)
    steps = prior.transitions * sticky_chain(N_STATES)[1]
    want = prior.initial * np.log(start.initial_probs).sum()
    want += (steps * np.log(start.transition_matrix)).sum()
    assert density == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_a_prior_keeps_states_of_few_samples_from_shrinking(covariance_type):
    # Four samples that are almost one: what was believed in beforehand decides.
    rule = UpdateRule(learn_means=True, covariance_type=covariance_type)
    rng = np.random.default_rng(6)
    few = 2 + 1e-9 * rng.normal(size=(4, N_FEATURES))
    products = few.T @ few
    if covariance_type == "diag":
        products = np.diag(products)
    moments = Moments(np.full(3, 4.0), np.tile(few.sum(0), (3, 1)), np.stack([products] * 3))
    statistics = Statistics(0.0, np.ones((3, 3)), np.ones(3), moments)
    start = _random_parameters(rng, rule)
    got = update(start, statistics, rule, Prior(covariances=12.0))
    # Twelve samples of variance 1 and four of none.
    want = np.tile(0.75 * np.eye(N_FEATURES), (N_STATES, 1, 1))
    assert_allclose(got.covariances, want, rtol=0, atol=1e-12)
    assert_allclose(got.means, 2, rtol=0, atol=1e-8)


def test_a_step_that_is_impossible_at_first_is_no_end_of_it():
    # As in parameters that were learned without a prior: their zeros have a density of next to
    # nothing, which is finite, or training would settle at once.
    data, rule, prior = _random_data(), RULES["full, means"], PRIORS["all"]
    start = _start(data, rule, prior)._replace(
        initial_probs=np.array([1.0, 0.0, 0.0]),
        transition_matrix=np.array([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.1, 0.0, 0.9]]),
    )
    run = converge(data, EMRun(start), rule, max_iter=5, tol=1e-4, prior=prior)
    assert np.isfinite(run.free_energy).all()
    assert run.n_updates > 1
    assert (np.diff(run.free_energy) < 0).all()
    assert (run.parameters.transition_matrix > 0).all()
