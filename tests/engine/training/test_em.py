"""Expectation-maximization: known answers, and what must hold whatever the data."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from oracle import (
    draw_samples,
    draw_states,
    gaussian_log_densities,
    per_chain,
    plain_smooth,
    random_model,
)
from training_settings import RULES

from mne_hmm.engine import Data, Parameters, Samples, UpdateRule, infer
from mne_hmm.engine.inference import samples as samples_module
from mne_hmm.engine.inference.compilation import _compiled  # its cache counts
from mne_hmm.engine.inference.gaussian import Moments
from mne_hmm.engine.training.em import (
    MIN_SHARE_LEFT,
    MIN_STATE_WEIGHT,
    OVERRELAXATION,
    ROUNDING,
    VARIANCE_FLOOR,
    EMRun,
    PassMonitor,
    Statistics,
    _extrapolate,  # what training does with sums that no data have cannot be seen in a fit
    converge,
    expect,
    has_converged,
    largest_rise,
    posterior,
    update,
    update_emissions,
)
from mne_hmm.engine.training.initialization import parameters_from_labels

# The shape of the reference: one compilation serves all tests.
LENGTHS, N_SAMPLES, N_STATES = [600, 500, 400], 1500, 3


def _data(x, lengths=(LENGTHS,)):
    splits = np.cumsum([sum(of_recording) for of_recording in lengths])[:-1]
    arrays = np.split(x.astype(np.float32), splits)
    return Data(Samples(arrays, lengths), N_STATES * x.shape[1])


def _standardized(x):
    return (x - x.mean(0)) / x.std(0)


def _random_data(seed, n_features=6):
    """No HMM at all: heavy tails, and shifts that last for ten samples."""
    rng = np.random.default_rng(seed)
    shifts = np.repeat(rng.normal(size=(150, n_features)), 10, axis=0)
    return _standardized(rng.standard_t(5, size=(N_SAMPLES, n_features)) + 0.5 * shifts)


def _random_labels(seed, n_states=N_STATES):
    return np.repeat(np.random.default_rng(seed).integers(0, n_states, 150), 10)


def _start(data, labels, rule):
    return EMRun(parameters_from_labels(data, labels, N_STATES, rule))


def _simulated(seed=0, n_features=4, **kwargs):
    """Samples of an HMM and its parameters."""
    rng = np.random.default_rng(seed)
    initial, transition, means, covariances = random_model(rng, N_STATES, n_features, **kwargs)
    states = draw_states(rng, N_SAMPLES, initial, transition)
    x = draw_samples(rng, states, means, covariances)
    return x, Parameters(initial, transition, means, covariances)


def _flat(statistics):
    """All that statistics hold, one after another."""
    return (*statistics[:3], *statistics.moments)


def _check_never_rises(run):
    # The bound training itself goes by is ten times wider.
    values = np.array(run.free_energy)
    assert np.isfinite(values).all()
    assert (np.diff(values) <= ROUNDING * np.abs(values[1:])).all()
    assert largest_rise(run.free_energy) == 0


# Known answers


@pytest.mark.parametrize("prefix", ["", "zero_mean_"])
def test_equals_the_reference(reference, prefix):
    truth = reference("em")
    learn = prefix == ""
    start = Parameters(*(truth[f"start_{name}"] for name in Parameters._fields))
    start = start._replace(means=start.means * learn)
    n_iter = int(truth["n_iter"])
    # A negative tolerance: nothing but rounding may end this early.
    run = converge(
        _data(truth["x"]), EMRun(start, step=1), UpdateRule(learn), max_iter=n_iter, tol=-1
    )
    assert run.n_updates == n_iter
    # Log densities of single precision: 2e-4 of 8,590 nats, say the reference arrays' notes.
    log_evidence = -np.multiply(run.free_energy, N_SAMPLES)
    assert_allclose(log_evidence, truth[f"{prefix}log_likelihood"], rtol=0, atol=4e-4)
    # The data and their products, too, are in single precision: sums over some 500 samples are
    # good to 1e-6 of what is summed, and a product of features may be 10.
    atol = {"initial_probs": 1e-6, "transition_matrix": 1e-6, "means": 5e-6, "covariances": 1e-5}
    for name in Parameters._fields:
        want = np.zeros((3, 4)) if name == "means" and not learn else truth[prefix + name]
        assert_allclose(getattr(run.parameters, name), want, rtol=0, atol=atol[name], err_msg=name)
    if learn:  # the first states are certain: nothing keeps the others' probabilities up
        assert (np.sort(run.parameters.initial_probs)[:2] < 1e-15).all()


def test_states_renamed_in_a_3_cycle():
    x, parameters = _simulated()
    parameters = parameters._replace(means=parameters.means + 0.5)
    order = np.array([1, 2, 0])
    renamed = Parameters(
        parameters.initial_probs[order],
        parameters.transition_matrix[np.ix_(order, order)],
        parameters.means[order],
        parameters.covariances[order],
    )
    rule = UpdateRule(learn_means=True)
    original, other = (
        converge(_data(x), EMRun(p), rule, max_iter=3, tol=-1).parameters
        for p in (parameters, renamed)
    )
    # The same sums, of three states in another order.
    close = {"rtol": 1e-6, "atol": 1e-7}
    assert_allclose(other.initial_probs, original.initial_probs[order], **close)
    transition = original.transition_matrix[np.ix_(order, order)]
    assert_allclose(other.transition_matrix, transition, **close)
    assert_allclose(other.means, original.means[order], **close)
    assert_allclose(other.covariances, original.covariances[order], **close)


def _float64_update(x, expected, parameters, rule):
    """Compute the closed form from its textbook, around whatever means are used."""
    gamma = expected.probabilities
    weights = gamma.sum(0)
    means = gamma.T @ x / weights[:, None] if rule.learn_means else parameters.means
    covariances = []
    for k in range(N_STATES):
        centered = x - means[k]
        covariances.append((centered * gamma[:, [k]]).T @ centered / weights[k])
    covariances = np.array(covariances)
    if rule.covariance_type == "diag":
        covariances = covariances * np.eye(x.shape[1])
    return Parameters(
        expected.initial / len(LENGTHS),
        expected.transitions / expected.transitions.sum(1, keepdims=True),
        means,
        covariances,
    )


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_one_update_is_the_closed_form(rule):
    # Means that are not learned are not zero here: covariances are about what is given.
    x, parameters = _simulated()
    data = _data(x)
    expected = posterior(data, parameters, rule.covariance_type)
    got = update(parameters, expect(data, parameters, rule), rule)
    x = x.astype(np.float32).astype(float)
    # Sums of squares up to 50 over some 500 samples, in single precision. The chain is from sums
    # of the posterior before that is rounded; what starts chains is summed after.
    for name, atol in zip(Parameters._fields, (1e-7, 1e-12, 5e-6, 5e-5), strict=True):
        want = getattr(_float64_update(x, expected, parameters, rule), name)
        assert_allclose(getattr(got, name), want, rtol=0, atol=atol, err_msg=name)


def test_posterior_is_that_of_the_oracle():
    x, parameters = _simulated()
    got = posterior(_data(x), parameters)
    log_b = gaussian_log_densities(x.astype(np.float32), parameters.means, parameters.covariances)
    truth = per_chain(
        plain_smooth, log_b, LENGTHS, parameters.transition_matrix, parameters.initial_probs
    )
    # Log densities of single precision: some 1e-6 nats each, the root of 600 times that each chain.
    assert_allclose(got.log_evidence, truth.log_evidence, rtol=0, atol=3e-4)
    assert_allclose(got.probabilities, truth.probabilities, rtol=0, atol=1e-5)
    assert_allclose(got.transitions, truth.transitions, rtol=0, atol=1e-3)


# Sums over the data, in batches


def _oracle_statistics(x, lengths, parameters, covariance_type="full"):
    """Sum up what an update needs from the plain recursion, all in float64."""
    x = x.astype(np.float32).astype(float)
    covariances = parameters.covariances
    if covariance_type == "diag":
        covariances = covariances * np.eye(x.shape[1])
    log_b = gaussian_log_densities(x, parameters.means, covariances)
    chain = parameters.transition_matrix, parameters.initial_probs
    truth = per_chain(plain_smooth, log_b, lengths, *chain)
    gamma = truth.probabilities
    products = np.einsum("tk,ti,tj->kij", gamma, x, x, optimize=True)
    if covariance_type == "diag":
        products = np.einsum("kii->ki", products)
    moments = Moments(gamma.sum(0), gamma.T @ x, products)
    return Statistics(truth.log_evidence.sum(), truth.transitions, truth.initial, moments)


def _check_statistics(got, want, n_samples):
    # Densities of single precision err by some 1e-6 nats each, in either direction, which is as
    # much in a posterior. Of sums over n samples the root of n times that is left, and some more
    # for what is shared by neighbors; a product of features may be 50.
    size = 1e-6 * np.sqrt(n_samples)
    assert_allclose(got.log_evidence, want.log_evidence, rtol=0, atol=10 * size)
    assert_allclose(got.transitions, want.transitions, rtol=0, atol=3 * size)
    assert_allclose(got.initial, want.initial, rtol=0, atol=size)
    assert_allclose(got.moments.weights, want.moments.weights, rtol=0, atol=3 * size)
    assert_allclose(got.moments.sums, want.moments.sums, rtol=2e-6, atol=20 * size)
    assert_allclose(got.moments.products, want.moments.products, rtol=2e-6, atol=150 * size)


# Six recordings, of which some are one chain and others several; one is a single sample.
RECORDINGS = [[600], [1], [120, 1, 179], [200], [90, 9], [300]]


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_sums_over_batches_are_those_of_the_oracle(monkeypatch, covariance_type):
    x, parameters = _simulated()
    lengths = [n for of_recording in RECORDINGS for n in of_recording]
    rule = UpdateRule(learn_means=True, covariance_type=covariance_type)
    want = _oracle_statistics(x, lengths, parameters, covariance_type)
    for batch_length, n_batches in ((2**15, 1), (400, 3), (1, 6)):
        monkeypatch.setattr(samples_module, "BATCH_LENGTH", batch_length)
        data = _data(x, RECORDINGS)
        assert len(list(data)) == n_batches
        # Every recording is met once, in order, and so is every row.
        assert [i_recording for batch in data for i_recording in batch.recordings] == list(range(6))
        rows = np.concatenate([block for batch in data for block in batch.blocks])
        assert_array_equal(rows, x.astype(np.float32))
        assert [n for batch in data for n in batch.layout.lengths] == lengths
        _check_statistics(expect(data, parameters, rule), want, N_SAMPLES)


def test_many_short_recordings_at_once_are_as_one_by_one():
    # A hundred recordings of one to nine samples in one batch.
    rng = np.random.default_rng(1)
    x, parameters = _simulated()
    lengths = rng.integers(1, 10, 100)
    x = x[: lengths.sum()]
    data = _data(x, [[int(n)] for n in lengths])
    assert len(list(data)) == 1
    rule = UpdateRule(learn_means=True)
    got = expect(data, parameters, rule)
    alone = [
        _oracle_statistics(part, [len(part)], parameters)
        for part in np.split(x, np.cumsum(lengths)[:-1])
    ]
    moments = Moments(*map(sum, zip(*(inference.moments for inference in alone), strict=True)))
    want = Statistics(*map(sum, list(zip(*alone, strict=True))[:3]), moments)
    _check_statistics(got, want, len(x))
    each = posterior(data, parameters)
    evidence = [inference.log_evidence for inference in alone]
    assert_allclose(each.log_evidence, evidence, rtol=0, atol=2e-5)
    # The engine, too, must not know who shares a batch: to the bit, but for the sums.
    for chains in (slice(0, 50), slice(50, 100)):
        rows = slice(lengths[: chains.start].sum(), lengths[: chains.stop].sum())
        part = x[rows].astype(np.float32)
        by_half = infer(Samples([part], [lengths[chains].tolist()]), parameters)
        assert_allclose(each.log_evidence[chains], by_half.log_evidence, rtol=0, atol=2e-5)
        assert_allclose(each.probabilities[rows], by_half.probabilities, rtol=0, atol=1e-6)


def test_recursions_are_compiled_once_for_lengths_alike():
    # Recordings of nearly equal lengths, and several passes. Other tests may have compiled it.
    rng = np.random.default_rng(2)
    before = _compiled.cache_info()
    rule, n_calls = UpdateRule(learn_means=True), 0
    for length in (1500, 1494, 1481, 1423):
        x = rng.normal(size=(length, 4))
        data = _data(x, [[length]])
        run = EMRun(Parameters(*random_model(rng, N_STATES, 4)))
        converge(data, run, rule, max_iter=2, tol=-1)
        n_calls += len(run.free_energy)
    after = _compiled.cache_info()
    assert after.misses - before.misses <= 1
    assert after.hits - before.hits >= n_calls - 1


# What an update must not do


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("seed", [0, 1])
def test_free_energy_never_rises(rule, seed):
    data = _data(_random_data(seed))
    start = _start(data, _random_labels(seed), rule)
    run = converge(data, start, rule, max_iter=25, tol=0)
    _check_never_rises(run)
    assert run.n_updates >= 20
    assert run.free_energy[0] - run.free_energy[-1] > 0.05  # there was something to learn


@pytest.mark.parametrize(
    "fixed", [{"learn_transitions": False}, {"learn_covariances": False}, {"learn_means": False}]
)
@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_what_is_not_learned_stays(fixed, covariance_type):
    x, parameters = _simulated()
    if covariance_type == "diag":
        parameters = parameters._replace(covariances=parameters.covariances * np.eye(4))
    # Far from the optimum, so that whatever is learned must move.
    parameters = parameters._replace(
        initial_probs=np.array([0.5, 0.3, 0.2]),
        transition_matrix=np.array([[0.8, 0.15, 0.05], [0.1, 0.7, 0.2], [0.3, 0.1, 0.6]]),
        means=parameters.means + 0.3,
        covariances=1.5 * parameters.covariances,
    )
    rule = UpdateRule(**({"learn_means": True} | fixed), covariance_type=covariance_type)
    run = converge(_data(x), EMRun(parameters), rule, max_iter=3, tol=-1)
    held = {
        "learn_transitions": ("initial_probs", "transition_matrix"),
        "learn_covariances": ("covariances",),
        "learn_means": ("means",),
    }[next(iter(fixed))]
    for name in Parameters._fields:
        before, after = getattr(parameters, name), getattr(run.parameters, name)
        if name in held:
            assert_array_equal(after, before, err_msg=name)
        else:
            assert np.abs(after - before).max() > 1e-3, name
    _check_never_rises(run)


def test_nothing_but_the_chain_needs_no_sums_over_the_data():
    x, parameters = _simulated()
    rule = UpdateRule(learn_means=False, learn_covariances=False)
    assert not rule.learn_emissions
    statistics = expect(_data(x), parameters, rule)
    assert statistics.moments.sums.size == statistics.moments.products.size == 0
    whole = expect(_data(x), parameters, UpdateRule(learn_means=True))
    assert_array_equal(statistics.transitions, whole.transitions)
    assert_array_equal(statistics.moments.weights, whole.moments.weights)
    assert statistics.log_evidence == whole.log_evidence
    got = update(parameters, statistics, rule)
    assert_array_equal(got.means, parameters.means)
    assert_array_equal(got.covariances, parameters.covariances)
    assert_allclose(got.transition_matrix.sum(1), 1, rtol=1e-12, atol=0)
    assert np.abs(got.transition_matrix - parameters.transition_matrix).max() > 1e-3


# States with few samples or none


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_a_state_that_loses_its_samples_keeps_its_parameters(covariance_type):
    x, parameters = _simulated()
    means = parameters.means.copy()
    means[1] = 1e3  # nothing is near
    covariances = parameters.covariances
    if covariance_type == "diag":
        covariances = covariances * np.eye(4)
    start = parameters._replace(means=means, covariances=covariances)
    rule = UpdateRule(learn_means=True, covariance_type=covariance_type)
    run = converge(_data(x), EMRun(start), rule, max_iter=10, tol=-1)
    assert run.statistics.moments.weights[1] < MIN_STATE_WEIGHT
    assert_array_equal(run.parameters.means[1], start.means[1])
    assert_array_equal(run.parameters.covariances[1], start.covariances[1])
    for value in (*run.parameters, *_flat(run.statistics), run.free_energy):
        assert np.isfinite(value).all()
    assert_allclose(run.parameters.transition_matrix.sum(1), 1, rtol=1e-12, atol=0)
    assert_allclose(run.parameters.initial_probs.sum(), 1, rtol=1e-12, atol=0)
    # The other two go on.
    assert np.abs(run.parameters.means[[0, 2]] - start.means[[0, 2]]).max() > 1e-2
    _check_never_rises(run)


def test_a_state_is_lost_below_a_thousandth_of_a_sample():
    rng = np.random.default_rng(0)
    parameters = _simulated()[1]
    weights = np.array([700.0, 0.9 * MIN_STATE_WEIGHT, 1.1 * MIN_STATE_WEIGHT])
    means = rng.normal(size=(3, 4))
    second = 2 * np.eye(4) + means[:, :, None] * means[:, None, :]
    moments = Moments(weights, weights[:, None] * means, weights[:, None, None] * second)
    got = update_emissions(parameters, moments, UpdateRule(learn_means=True))
    want = np.array([means[0], parameters.means[1], means[2]])
    assert_allclose(got.means, want, rtol=1e-12, atol=0)
    want = np.array([2 * np.eye(4), parameters.covariances[1], 2 * np.eye(4)])
    assert_allclose(got.covariances, want, rtol=0, atol=1e-12)


def _with_few(n_few, spread, seed, n_features=10):
    """Draw data, and labels by which the last state has few samples, far from all others."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N_SAMPLES, n_features))
    few = slice(700, 700 + n_few)
    x[few] = 20 + spread * rng.normal(size=(n_few, n_features))
    labels = _random_labels(seed, n_states=2)
    labels[few] = 2
    return _standardized(x), labels


# Numbers of few samples and seeds. Were sums in single precision, free energy would rise, for some
# spreads, where these are eight to ten.
FEW = [(1, 0), (4, 0), (8, 3), (9, 1), (10, 2), (12, 0)]
# Of each rule, spreads of these with which its tests are not slow.
FAST = {
    "full, means": [[6.0], [2.0], [0.02], [0.02], [0.02], [0.02]],
    "full, zero means": [[0.02], [6.0], [2.0], [2.0, 6.0], [2.0], []],
    "diag, means": [[0.02], [], [], [2.0], [], []],
    "diag, zero means": [[2.0], [], [], [], [], [6.0]],
}


@pytest.mark.parametrize(
    ("name", "n_few", "seed", "spread"),
    [
        pytest.param(name, *few, spread, marks=() if spread in fast else pytest.mark.slow)
        for name, of_rule in FAST.items()
        for few, fast in zip(FEW, of_rule, strict=True)
        for spread in (0.02, 2.0, 6.0)
    ],
)
def test_a_state_with_few_samples_stays_finite(name, n_few, seed, spread):
    # Fewer samples than features, or hardly more: without a floor the covariance is singular,
    # and were its sums rounded to single precision, the free energy would rise by 1e-4 of
    # itself, for the seeds that were chosen here.
    rule = RULES[name]
    x, labels = _with_few(n_few, spread, seed)
    data = _data(x)
    run = converge(data, _start(data, labels, rule), rule, max_iter=20, tol=-1)
    for value in (*run.parameters, *_flat(run.statistics)):
        assert np.isfinite(value).all()
    _check_never_rises(run)
    variances = np.linalg.eigvalsh(run.parameters.covariances)
    # Eigenvalues up to 1e3 are known to 1e-13 each.
    assert (variances > VARIANCE_FLOOR - 1e-11).all()
    if rule.covariance_type == "full" and n_few < 9:
        # There are directions in which these samples do not vary at all.
        assert variances[2, 0] == pytest.approx(VARIANCE_FLOOR, rel=1e-4)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_the_floor_lifts_what_is_below_and_nothing_else(covariance_type):
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(4, 4)))[0] if covariance_type == "full" else np.eye(4)
    variances = np.array([1e-9, 1e-7, 2e-6, 3.0])
    covariance = (basis * variances) @ basis.T
    products = np.stack([covariance, np.eye(4), 5 * np.eye(4)])
    if covariance_type == "diag":
        products = np.einsum("kii->ki", products)
    moments = Moments(np.ones(3), np.zeros((3, 4)), products)
    zero_means = _simulated()[1]._replace(means=np.zeros((3, 4)))
    rule = UpdateRule(learn_means=False, covariance_type=covariance_type)
    got = update_emissions(zero_means, moments, rule).covariances
    want = (basis * np.maximum(variances, VARIANCE_FLOOR)) @ basis.T
    # Eigenvalues of 3 are known to 1e-15.
    assert_allclose(got[0], want, rtol=0, atol=1e-14)
    assert_allclose(got[1:], [np.eye(4), 5 * np.eye(4)], rtol=0, atol=1e-14)


def test_transitions_of_a_state_that_is_never_left_stay():
    parameters = _simulated()[1]
    steps = np.array([[2.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 3.0, 1.0]])
    nothing = Moments(np.zeros(3), np.zeros(0), np.zeros(0))
    statistics = Statistics(0.0, steps, np.array([1.0, 0.0, 2.0]), nothing)
    rule = UpdateRule(learn_means=False, learn_covariances=False)
    got = update(parameters, statistics, rule)
    want = [[0.5, 0.25, 0.25], parameters.transition_matrix[1], [0.0, 0.75, 0.25]]
    assert_allclose(got.transition_matrix, want, rtol=1e-14, atol=0)
    assert_allclose(got.initial_probs, [1 / 3, 0, 2 / 3], rtol=1e-14, atol=0)


# The loop


def test_a_run_goes_on_where_it_stopped():
    data, rule = _data(_random_data(0)), UpdateRule(learn_means=True)
    whole, parts = (_start(data, _random_labels(0), rule) for _ in range(2))
    converge(data, whole, rule, max_iter=5, tol=-1)
    seen = []

    class Watching(PassMonitor):
        def after_pass(self, run):
            assert run is parts
            seen.append((run.n_updates, run.free_energy[-1]))

    for max_iter in (0, 2, 2, 5):
        converge(data, parts, rule, max_iter=max_iter, tol=-1, monitor=Watching())
        assert parts.n_updates == max_iter
    for name, expected, other in zip(
        Parameters._fields, whole.parameters, parts.parameters, strict=True
    ):
        assert_array_equal(expected, other, err_msg=name)
    assert whole.free_energy == parts.free_energy
    assert seen == list(enumerate(whole.free_energy))
    assert len(parts.seconds) == 6


def test_statistics_and_free_energy_are_those_of_the_last_parameters():
    x, parameters = _simulated()
    data, rule = _data(x), UpdateRule(learn_means=True)
    run = converge(data, EMRun(parameters), rule, max_iter=2, tol=-1)
    again = expect(data, run.parameters, rule)
    for first, other in zip(_flat(run.statistics), _flat(again), strict=True):
        assert_array_equal(first, other)
    assert run.free_energy[-1] == -again.log_evidence / N_SAMPLES
    assert again.log_evidence == posterior(data, run.parameters).log_evidence.sum()


def test_a_run_ends_when_it_has_settled():
    x, parameters = _simulated()
    data, rule = _data(x), UpdateRule(learn_means=True)
    start = parameters._replace(means=parameters.means + 0.5)
    run = converge(data, EMRun(start), rule, max_iter=100, tol=1e-2)
    assert run.converged
    assert 2 <= run.n_updates < 100
    assert [has_converged(run.free_energy[:n], 1e-2) for n in range(1, run.n_updates + 2)] == [
        False
    ] * run.n_updates + [True]
    n_passes = len(run.free_energy)
    assert len(converge(data, run, rule, max_iter=100, tol=1e-2).free_energy) == n_passes


@pytest.mark.parametrize(
    ("free_energy", "tol", "settled"),
    [
        ([10.0], 1.0, False),  # nothing to compare with
        ([10.0, 5.0], 1e-4, False),
        ([10.0, 5.0, 4.9996], 1e-4, True),  # 0.0004 of 5.0004
        ([10.0, 5.0, 4.9994], 1e-4, False),  # 0.0006 of 5.0006
        ([-90.0, -95.0, -95.0004], 1e-4, True),  # other units, same answer
        ([-90.0, -95.0, -95.0006], 1e-4, False),
        ([10.0, 5.0, 5.0 - 4e-7], 0.0, True),  # rounding of single precision
        ([10.0, 5.0, 5.0 - 6e-7], 0.0, False),
        ([10.0, 5.0, 5.1], 1e-4, True),  # no use in going on
    ],
)
def test_has_settled(free_energy, tol, settled):
    assert has_converged(free_energy, tol) is settled


def test_what_earlier_runs_gained_counts():
    # 0.0004 is all there was to gain in this run, but next to nothing of 5 nats before it.
    assert not has_converged([5.0, 4.9996], 1e-4)
    assert has_converged([5.0, 4.9996], 1e-4, before=5.0)
    assert not has_converged([5.0, 4.9996], 1e-4, before=3.0)
    x, parameters = _simulated()
    data, rule = _data(x), UpdateRule(learn_means=True)
    run = converge(data, EMRun(parameters, before=1e6), rule, max_iter=20, tol=1e-4)
    assert run.converged
    assert run.n_updates == 1
    run = converge(data, EMRun(parameters, before=1e-9), rule, max_iter=20, tol=1e-4)
    assert run.n_updates > 1


def test_rises():
    assert largest_rise([3.0]) == 0
    assert largest_rise([3.0, 2.0, 2.0, -5.0]) == 0
    # Rounding is a millionth of the free energy, or a millionth of a nat where that is near 0.
    assert largest_rise([90.0, 90.0 + 8e-5]) == 0
    assert largest_rise([90.0, 90.0 + 1e-4]) == pytest.approx(1e-5, rel=1e-3)
    assert largest_rise([-90.0, -90.0 + 8e-5]) == 0
    assert largest_rise([0.0, 9e-7]) == 0
    assert largest_rise([0.0, 2e-6]) == pytest.approx(1e-6, rel=1e-6)
    # The largest of several, wherever it is.
    assert largest_rise([5.0, 5.5, 4.0, 4.75, 4.7, 4.8]) == pytest.approx(0.75, rel=1e-4)


class _Counted(Data):
    """Data that tell how often somebody went through them."""

    n_passes = 0

    def __iter__(self):
        self.n_passes += 1
        return super().__iter__()


@pytest.mark.parametrize("step", [OVERRELAXATION, 30.0])
def test_every_pass_over_the_data_is_counted(step):
    rule = UpdateRule(True)
    x, labels = _with_few(12, 2.0, 0, n_features=4)
    of_recording = np.split(x.astype(np.float32), np.cumsum(LENGTHS)[:-1])
    data = _Counted(Samples(of_recording, [[n] for n in LENGTHS]), N_STATES * x.shape[1])
    run = _start(data, labels, rule)
    run.step, data.n_passes = step, 0  # a start needs sums, too
    converge(data, run, rule, max_iter=12, tol=-1)
    assert (run.n_taken_back > 0) == (step == 30.0)
    # Also where a state has few samples, which nobody knows before the first pass.
    assert run.n_passes == data.n_passes == len(run.free_energy) + run.n_taken_back


# Beyond the update


def _slow(seed):
    """Samples of states that are hard to tell apart, and a start far away: a long way to go."""
    x, _ = _simulated(seed, spread=0.2)
    return x, _random_labels(seed)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
@pytest.mark.parametrize("learn_means", [True, False])
def test_going_beyond_comes_to_the_same_optimum_sooner(covariance_type, learn_means):
    rule = UpdateRule(learn_means, covariance_type=covariance_type)
    x, labels = _slow(0 if covariance_type == "full" else 3)  # some 30 to 60 plain updates
    data = _data(x)
    start = _start(data, labels, rule).parameters
    plain = converge(data, EMRun(start, step=1), rule, max_iter=400, tol=1e-6)
    beyond = converge(data, EMRun(start), rule, max_iter=400, tol=1e-6)
    _check_never_rises(beyond)
    assert beyond.n_passes == len(beyond.free_energy) + beyond.n_taken_back
    assert plain.n_taken_back == 0
    assert beyond.n_passes < 0.75 * plain.n_passes
    # Where the plain run has settled to one part in a million of its decrease per pass, it has some
    # hundred times that left.
    assert beyond.free_energy[-1] < plain.free_energy[-1] + 1e-4


def test_an_update_that_goes_too_far_is_taken_back():
    rule = UpdateRule(True)
    x, labels = _slow(1)
    data = _data(x)
    start = _start(data, labels, rule).parameters
    run = converge(data, EMRun(start, step=30.0), rule, max_iter=12, tol=-1)
    _check_never_rises(run)
    assert run.n_taken_back > 0
    # The step comes halfway down to the plain update each time.
    assert run.step == pytest.approx(1 + 29 / 2**run.n_taken_back, rel=1e-12)


def test_sums_that_no_samples_have_are_not_followed():
    rule = UpdateRule(False)
    weights = np.array([10.0, 20.0, 30.0])
    steps, initial = np.ones((3, 3)), np.ones(3)

    def statistics(scale):
        products = scale * weights[:, None, None] * np.eye(2)
        return Statistics(0.0, steps, initial, Moments(weights, np.zeros((3, 2)), products))

    assert _extrapolate(statistics(1.0), statistics(0.9), 1.8, rule) is not None
    # Twice the way from 1 to 0.4 is below nothing.
    assert _extrapolate(statistics(1.0), statistics(0.4), 1.8, rule) is None
    # Less than a sample says nothing.
    lost = Moments(*(values.copy() for values in statistics(1.0).moments))
    for values in lost:
        values[0] *= 0.05
    lost = statistics(1.0)._replace(moments=lost)
    assert _extrapolate(lost, lost, 1.8, rule) is None
    # Steps and starts never fall below a share of what the data say.
    more = statistics(1.0)._replace(transitions=10 * steps, initial=10 * initial)
    beyond = _extrapolate(more, statistics(1.0), 1.8, rule)
    assert_allclose(beyond.transitions, MIN_SHARE_LEFT * steps, rtol=1e-13, atol=0)
    assert_allclose(beyond.initial, MIN_SHARE_LEFT * initial, rtol=1e-13, atol=0)
    beyond = _extrapolate(statistics(1.0), more, 1.8, rule)
    assert_allclose(beyond.transitions, (1 + 1.8 * 9) * steps, rtol=1e-13, atol=0)


def test_a_run_stops_when_it_is_told_that_it_is_enough():
    rule = UpdateRule(True)
    x, labels = _slow(2)
    data = _data(x)
    run = _start(data, labels, rule)

    class ThreeUpdates(PassMonitor):
        def is_enough(self, run):
            return run.n_updates >= 3

    converge(data, run, rule, max_iter=20, tol=-1, monitor=ThreeUpdates())
    assert run.n_updates == 3
    assert not run.converged
    whole = converge(data, _start(data, labels, rule), rule, max_iter=6, tol=-1)
    converge(data, run, rule, max_iter=6, tol=-1)
    assert run.free_energy == whole.free_energy  # it goes on as if nothing had been
