"""Training: known states are found, and every way to start is what it says."""

from types import SimpleNamespace

import numpy as np
import pytest
from fake_workers import together
from numpy.testing import assert_allclose, assert_array_equal
from oracle import (
    draw_samples,
    draw_states,
    gaussian_log_densities,
    per_chain,
    plain_smooth,
    random_model,
)
from scipy.optimize import linear_sum_assignment
from training_settings import settings_for

from mne_hmm._utils.feature_sequence import FeatureSequence  # a base to count readings
from mne_hmm.engine import (
    InitialParameters,
    Parameters,
    Samples,
    TrainingMonitor,
    UpdateRule,
    infer,
    sample_states,
    train,
)
from mne_hmm.engine.inference import samples as samples_module
from mne_hmm.engine.training import em as em_module
from mne_hmm.engine.training import search as search_module
from mne_hmm.engine.training import subsample
from mne_hmm.engine.training import train as train_module
from mne_hmm.engine.training.em import EMRun, has_converged
from mne_hmm.engine.training.initialization import (
    kmeans_labels,
    random_labels,
    spread_strides,
)
from mne_hmm.engine.training.prior import STAY, sticky_chain
from mne_hmm.engine.training.search import N_BRIEF_UPDATES, OptimumSearch, different_optima
from mne_hmm.engine.training.train import (
    MAX_TRIAL_UPDATES,
    MIN_GAIN,
    MIN_TRIAL_UPDATES,
    _Trainer,  # which of several models goes on, alone; whole trainings would be slow
    is_judged,
)
from mne_hmm.engine.training.window_sums import WindowSums

# The shape the EM tests use: nothing new is compiled for the small cases.
LENGTHS, N_STATES, N_FEATURES = [[600, 500], [400]], 3, 4
N_SAMPLES = 1500

# A cycle with a direction: its transpose is far away.
CYCLE_4 = 0.94 * np.eye(4) + sum(
    p * np.roll(np.eye(4), steps, axis=1) for steps, p in ((1, 0.04), (2, 0.015), (3, 0.005))
)


def _train(samples, n_states, rule, *, rng=None, report=None, **kwargs):
    """Train without moves, unless they are asked for."""
    rng = np.random.default_rng(0) if rng is None else rng
    settings = settings_for(n_states, rule, **kwargs)
    return train(samples, settings, rng=rng, monitor=TrainingMonitor(report=report))


def _probabilities(samples, training, rule):
    """Posterior of the states under the model that training came to."""
    return infer(samples, training.parameters, covariance_type=rule.covariance_type).probabilities


def _match(states, probabilities):
    """Find the trained state of every true one, and the share of samples that are right."""
    labels, n_states = probabilities.argmax(1), probabilities.shape[1]
    both = np.zeros((n_states, n_states))
    np.add.at(both, (states, labels), 1)
    true, order = linear_sum_assignment(-both)
    return order, both[true, order].sum() / len(states)


def _samples(x, lengths=LENGTHS):
    splits = np.cumsum([sum(of_recording) for of_recording in lengths])[:-1]
    return Samples([part.astype(np.float32) for part in np.split(x, splits)], lengths)


def _simulated(seed=0, **kwargs):
    """Samples of an HMM with three states, their true states, and its parameters."""
    rng = np.random.default_rng(seed)
    initial, transition, means, covariances = random_model(rng, N_STATES, N_FEATURES, **kwargs)
    states = draw_states(rng, N_SAMPLES, initial, transition)
    x = draw_samples(rng, states, means, covariances)
    return x, states, Parameters(initial, transition, means, covariances)


def _check_same_bits(training, other):
    for name, a, b in zip(Parameters._fields, training.parameters, other.parameters, strict=True):
        assert_array_equal(a, b, err_msg=name)
    assert training.free_energy == other.free_energy


MEANS, ZERO_MEANS = UpdateRule(learn_means=True), UpdateRule(learn_means=False)


# Recovery


@pytest.mark.parametrize("rule", [MEANS, ZERO_MEANS], ids=["means", "zero means"])
def test_known_states_are_found(rule, monkeypatch):
    monkeypatch.setattr(subsample, "WINDOW", 1500)  # a part that is not all there is
    rng = np.random.default_rng(7)
    zero_means = not rule.learn_means
    _, _, means, covariances = random_model(rng, 4, 10, zero_means=zero_means, spread=0.7)
    states = draw_states(rng, 16_000, np.full(4, 0.25), CYCLE_4)
    x = draw_samples(rng, states, means, covariances)
    samples = _samples(x, [[4000, 4000], [8000]])
    training = _train(samples, 4, rule, n_init=2)
    order, share = _match(states, _probabilities(samples, training, rule))
    assert share > 0.97
    estimate = training.parameters
    # Some 4,000 samples per state: 0.003 is the standard error of a probability of 0.04 ...
    transition = estimate.transition_matrix[np.ix_(order, order)]
    assert_allclose(transition, CYCLE_4, rtol=0, atol=0.01)
    # ... and 0.015 to 0.03 that of means and covariances of variances of 1 to 2.
    if zero_means:
        assert_array_equal(estimate.means, 0)
    else:
        assert_allclose(estimate.means[order], means, rtol=0, atol=0.1)
    assert_allclose(estimate.covariances[order], covariances, rtol=0, atol=0.15)
    assert training.converged
    assert training.rise == 0
    assert training.lost == []
    assert training.rank == 10


def test_diagonal_covariances_are_found():
    rng = np.random.default_rng(8)
    x, states, parameters = _simulated(1)
    covariances = parameters.covariances * np.eye(N_FEATURES)
    x = draw_samples(rng, states, parameters.means, covariances)
    rule = UpdateRule(learn_means=True, covariance_type="diag")
    samples = _samples(x)
    training = _train(samples, N_STATES, rule)
    order, share = _match(states, _probabilities(samples, training, rule))
    assert share > 0.97
    estimate = training.parameters.covariances[order]
    assert_array_equal(estimate * (1 - np.eye(N_FEATURES)), 0)
    # At least 400 samples per state: standard errors of 7 percent.
    diagonals = np.einsum("kii->ki", estimate), np.einsum("kii->ki", covariances)
    assert_allclose(*diagonals, rtol=0.25, atol=0)


def test_free_energy_is_that_of_the_parameters():
    # The history is in nats per sample of the features, whatever coordinates were used inside.
    x, _, _ = _simulated()
    x = x * [1e-6, 1.0, 1e3, 1e-2]
    samples = _samples(x)
    training = _train(samples, N_STATES, MEANS, n_init=1)
    log_b = gaussian_log_densities(
        np.concatenate(samples.arrays), training.parameters.means, training.parameters.covariances
    )
    chain = training.parameters.transition_matrix, training.parameters.initial_probs
    truth = per_chain(plain_smooth, log_b, samples.chains, *chain)
    # Log densities of single precision are good to 1e-6 nats.
    free_energy = -truth.log_evidence.sum() / N_SAMPLES
    assert_allclose(training.free_energy[-1], free_energy, rtol=0, atol=2e-6)
    probabilities = _probabilities(samples, training, MEANS)
    assert_allclose(probabilities, truth.probabilities, rtol=0, atol=1e-4)


# The same answer again


@pytest.mark.parametrize("init", ["kmeans", "random"])
def test_the_same_seed_gives_the_same_bits(init):
    samples = _samples(_simulated()[0])
    kwargs = {"init": init, "n_init": 2, "max_iter": 12}
    first = _train(samples, N_STATES, MEANS, rng=np.random.default_rng(1), **kwargs)
    same = _train(samples, N_STATES, MEANS, rng=np.random.default_rng(1), **kwargs)
    other = _train(samples, N_STATES, MEANS, rng=np.random.default_rng(2), **kwargs)
    _check_same_bits(first, same)
    assert first.starts == same.starts
    if init == "random":  # k-means may well find the same clusters from other centers
        assert first.starts[0]["free_energy"] != other.starts[0]["free_energy"]
        assert not np.array_equal(first.parameters.means, other.parameters.means)


def test_nothing_else_is_random():
    # NumPy's global state is not touched, so it plays no part either.
    samples = _samples(_simulated()[0])
    before = np.random.get_state()  # noqa: NPY002
    for init in ("kmeans", "random"):
        _train(samples, N_STATES, MEANS, init=init, n_init=2, max_iter=3)
    after = np.random.get_state()  # noqa: NPY002
    assert_array_equal(after[1], before[1])
    assert after[2:] == before[2:]


# Starts


def test_starts_are_recorded_and_the_best_is_kept():
    x = _simulated(spread=0.3)[0]
    reports = []
    training = _train(
        _samples(x),
        N_STATES,
        MEANS,
        init="random",
        n_init=3,
        tol=1e-6,
        max_iter=50,
        report=lambda *args: reports.append(args),
    )
    assert len(training.starts) == 3
    assert [start["init"] for start in training.starts] == ["random"] * 3
    assert [start["n_states"] for start in training.starts] == [N_STATES] * 3
    assert training.moves == training.batches == []
    courses = [start["free_energy"] for start in training.starts]
    assert len({tuple(course) for course in courses}) == 3
    assert max(len(course) for course in courses) == N_BRIEF_UPDATES + 1
    kept = [i_start for i_start, start in enumerate(training.starts) if start["kept"]]
    assert kept == [int(np.argmin([course[-1] for course in courses]))]
    assert len(training.seconds) == len(training.free_energy)
    # Every start was told of when it was over, and every pass over all data, in nats per sample
    # of the features, with how many there may be.
    of_search = [report for report in reports if report[0] == "search, starts"]
    assert [(count, most) for _, count, _, _, most in of_search] == [(1, 3), (2, 3), (3, 3)]
    ends = [course[-1] for course in courses]
    assert_allclose([value for _, _, value, _, _ in of_search], ends, rtol=1e-14, atol=0)
    of_training = reports[3:]
    assert [report[:3] for report in of_training] == [
        ("training", n, value) for n, value in enumerate(training.free_energy)
    ]
    assert [report[3] for report in of_training] == training.seconds
    assert {report[4] for report in of_training} == {50}


def test_labels_say_where_to_start():
    x, states, _ = _simulated()
    order = np.array([1, 2, 0])  # a 3-cycle: state k of the labels is called order[k]
    training = _train(_samples(x), N_STATES, MEANS, init=order[states], n_init=3, max_iter=0)
    assert len(training.free_energy) == 1  # nothing was updated
    (start,) = training.starts  # there was nothing to choose from
    assert start["init"] == "given"
    assert start["free_energy"] == training.free_energy
    assert training.n_passes == 1
    estimate = training.parameters
    for k in range(N_STATES):
        mine = x[states == k]
        # Sums of single precision over some 500 samples.
        mean, covariance = mine.mean(0), np.cov(mine.T, bias=True)
        assert_allclose(estimate.means[order[k]], mean, rtol=0, atol=1e-5)
        assert_allclose(estimate.covariances[order[k]], covariance, rtol=0, atol=1e-4)
    assert_allclose(estimate.initial_probs, 1 / 3, rtol=1e-14, atol=0)
    want = np.full((3, 3), (1 - STAY) / 2) + (STAY - (1 - STAY) / 2) * np.eye(3)
    assert_allclose(estimate.transition_matrix, want, rtol=1e-14, atol=0)
    # And training from there keeps the names.
    training = _train(_samples(x), N_STATES, MEANS, init=order[states])
    probabilities = _probabilities(_samples(x), training, MEANS)
    assert np.mean(probabilities.argmax(1) == order[states]) > 0.97


def test_a_start_on_a_subset_goes_on_on_all_of_the_part(monkeypatch):
    monkeypatch.setattr(subsample, "WINDOW", 100)
    samples = _samples(_simulated()[0])
    training = _train(samples, N_STATES, MEANS, init="subset", n_init=3)
    courses = [start["free_energy"] for start in training.starts]
    assert len({tuple(course) for course in courses}) == 3
    assert sum(start["kept"] for start in training.starts) == 1
    assert training.rise == 0
    same = _train(samples, N_STATES, MEANS, init="subset", n_init=3)
    _check_same_bits(training, same)


def test_parameters_say_where_to_start():
    x, _, parameters = _simulated()
    samples = _samples(x)
    training = _train(samples, N_STATES, MEANS, init=parameters, n_init=3, max_iter=0)
    assert [start["init"] for start in training.starts] == ["given"]
    for name, got, want in zip(Parameters._fields, training.parameters, parameters, strict=True):
        # To coordinates and back, in float64.
        assert_allclose(got, want, rtol=0, atol=1e-12, err_msg=name)
    log_b = gaussian_log_densities(
        np.concatenate(samples.arrays), parameters.means, parameters.covariances
    )
    chain = parameters.transition_matrix, parameters.initial_probs
    truth = per_chain(plain_smooth, log_b, samples.chains, *chain)
    free_energy = -truth.log_evidence.sum() / N_SAMPLES
    # Log densities of single precision are good to 1e-6 nats.
    assert_allclose(training.free_energy, [free_energy], rtol=0, atol=2e-6)
    # Single values replace those of the whole.
    steps = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.0, 0.5, 0.5]])
    initial = InitialParameters(transition_matrix=steps)
    training = _train(samples, N_STATES, MEANS, init=parameters, initial=initial, max_iter=0)
    assert_array_equal(training.parameters.transition_matrix, steps)
    assert_allclose(training.parameters.means, parameters.means, rtol=0, atol=1e-12)


def test_given_values_replace_those_of_the_start():
    x, _, parameters = _simulated()
    steps = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.0, 0.5, 0.5]])
    initial = np.array([0.2, 0.5, 0.3])
    fixed = InitialParameters(initial, steps, parameters.means)
    samples = _samples(x)
    training = _train(samples, N_STATES, MEANS, initial=fixed, n_init=2, max_iter=0)
    assert len(training.starts) == 2  # covariances are left to find
    assert_array_equal(training.parameters.initial_probs, initial)
    assert_array_equal(training.parameters.transition_matrix, steps)
    assert_allclose(training.parameters.means, parameters.means, rtol=0, atol=1e-12)
    learned = _train(samples, N_STATES, MEANS, n_init=2, max_iter=0).parameters
    assert np.abs(learned.means - parameters.means).max() > 0.1
    # With all emissions given there is nothing to search.
    fixed = InitialParameters(means=parameters.means, covariances=parameters.covariances)
    training = _train(samples, N_STATES, MEANS, initial=fixed, n_init=2, max_iter=0)
    assert [start["init"] for start in training.starts] == ["given"]
    assert_allclose(training.parameters.covariances, parameters.covariances, rtol=0, atol=1e-12)
    assert_array_equal(training.parameters.transition_matrix, sticky_chain(N_STATES)[1])


def test_given_values_that_are_not_learned_are_there_afterwards():
    x, _, parameters = _simulated()
    samples = _samples(x)
    rule = UpdateRule(learn_means=False, learn_covariances=False)
    initial = InitialParameters(means=parameters.means, covariances=parameters.covariances)
    training = _train(samples, N_STATES, rule, initial=initial)
    assert_array_equal(training.parameters.means, parameters.means)
    # Symmetrized, which is exact here but for the last bit.
    assert_allclose(training.parameters.covariances, parameters.covariances, rtol=1e-15, atol=0)
    assert training.free_energy[-1] < training.free_energy[0] - 1e-3  # the chain was learned
    initial = InitialParameters(
        initial_probs=parameters.initial_probs, transition_matrix=parameters.transition_matrix
    )
    rule = UpdateRule(learn_means=True, learn_transitions=False)
    training = _train(samples, N_STATES, rule, initial=initial, n_init=1)
    assert_array_equal(training.parameters.transition_matrix, parameters.transition_matrix)
    assert_array_equal(training.parameters.initial_probs, parameters.initial_probs)
    # Means that are given, not zero, and not learned: the covariances are about them.
    rule = UpdateRule(learn_means=False)
    initial = InitialParameters(means=parameters.means + 1)
    training = _train(samples, N_STATES, rule, initial=initial, n_init=1)
    assert_allclose(training.parameters.means, parameters.means + 1, rtol=0, atol=1e-12)
    gamma = _probabilities(samples, training, rule)
    for k in range(N_STATES):
        centered = x - parameters.means[k] - 1
        second = (centered * gamma[:, [k]]).T @ centered / gamma[:, k].sum()
        # One pass before the last: it had settled to 1e-4 of what there was to gain.
        assert_allclose(training.parameters.covariances[k], second, rtol=0, atol=0.05)


# What it costs, and what is on record


class _Counted:
    """Passes over data, in shares of all of them and of the states asked for."""

    def __init__(self, monkeypatch, n_samples, n_states):
        self.n_passes = 0.0
        real = em_module.expect_batches

        def expect_batches(data, batches, parameters, *args):
            statistics = real(data, batches, parameters, *args)
            met = statistics.moments.weights.sum() / n_samples
            self.n_passes += met * len(parameters.initial_probs) / n_states
            return statistics

        monkeypatch.setattr(em_module, "expect_batches", expect_batches)


def _long(seed, n_states=3, n_samples=3840, n_features=4, spread=0.3):
    """Draw samples of several recordings, of states that are hard to tell apart."""
    rng = np.random.default_rng(seed)
    initial, _, means, covariances = random_model(rng, n_states, n_features, spread=spread)
    transition = 0.95 * np.eye(n_states) + 0.05 * rng.dirichlet(np.ones(n_states), n_states)
    states = draw_states(rng, n_samples, initial, transition)
    x = draw_samples(rng, states, means, covariances)
    return _samples(x, [[n_samples // 4, n_samples // 12], [n_samples // 3], [n_samples // 3]])


@pytest.mark.parametrize(("n_features", "seed"), [(4, 0), (30, 4)])
def test_what_a_start_gains_counts_up_to_a_nat(n_features, seed, monkeypatch):
    """A random start of many features gains some nats, a thousandth of which is no trifle."""
    monkeypatch.setattr(search_module, "N_BRIEF_UPDATES", 4)  # so that there is a way to go
    samples = _long(seed, n_features=n_features)
    tol = 1e-3
    training = _train(samples, N_STATES, MEANS, init="random", n_init=1, tol=tol)
    (start,), course = training.starts, training.free_energy
    gained = start["free_energy"][0] - start["free_energy"][-1]
    assert (gained > 1) == (n_features == 30)
    assert has_converged(course, tol, min(gained, 1))
    assert not any(has_converged(course[:n], tol, min(gained, 1)) for n in range(len(course)))
    # Another measure would have been another number of updates.
    if gained > 1:
        assert has_converged(course[:-1], tol, gained)
    else:
        assert not has_converged(course, tol)


@pytest.mark.parametrize("init", ["kmeans", "subset"])
def test_passes_are_counted(monkeypatch, init):
    monkeypatch.setattr(subsample, "WINDOW", 300)  # a part that is not all there is
    samples = _long(0)
    counted = _Counted(monkeypatch, samples.n_samples, N_STATES)
    reports = []
    report = lambda *args: reports.append(args)  # noqa: E731
    training = _train(samples, N_STATES, MEANS, init=init, n_init=2, report=report)
    # Sums of posteriors are those of samples to 1e-7.
    assert training.n_passes == pytest.approx(counted.n_passes, abs=1e-5)
    # Every run of EM was told of: starts, starts on all of the part, and passes.
    counts = {}
    for stage, count, *_ in reports:
        counts.setdefault(stage, []).append(count)
    of_starts = counts.pop("search, starts")
    assert of_starts == list(range(1, 5 if init == "subset" else 3))
    assert [start["init"] for start in training.starts] == [init] * 2
    assert [start["n_states"] for start in training.starts] == [N_STATES] * 2
    assert sum(start["kept"] for start in training.starts) == 1
    assert set(counts) == {"training"}
    assert training.moves == []
    assert training.search == {}


@pytest.mark.parametrize("init", ["kmeans", "random", "subset"])
def test_the_search_is_counted_and_told_of(monkeypatch, init):
    samples = _long(1, n_states=4, n_features=6)
    counted = _Counted(monkeypatch, samples.n_samples, 4)
    n_multiplications = []
    real = {name: getattr(WindowSums, name) for name in ("totals", "log_densities")}

    def count(name):
        def method(windows, values):
            result = real[name](windows, values)
            n_multiplications.append(windows.values.size * len(result))
            return result

        return method

    for name in real:
        monkeypatch.setattr(WindowSums, name, count(name))
    reports = []
    report = lambda *args: reports.append(args)  # noqa: E731
    training = _train(samples, 4, MEANS, init=init, n_init=3, refine=True, report=report)
    n_rounds = 1 + sum(bool(m.get("all_data") and m["kept"]) for m in training.moves)
    n_proposed = len({m["round"] for m in training.moves if "start" not in m})
    # Windows are whitened and summed up two or three times at first, until their length is found,
    # and once a round, which looks at all data once. First totals of a mixture, and of halves, are
    # products by themselves.
    besides = training.n_passes - counted.n_passes
    of_pass = samples.n_samples * 6**2 * (4 + 1)
    at_most = sum(n_multiplications) / of_pass + n_rounds + (n_rounds + 3) * 2 / 5
    assert 0.7 * at_most < besides <= at_most
    assert n_proposed <= n_rounds
    # Starts.
    starts = training.starts
    assert [start["init"] for start in starts] == [init] * len(starts)
    ends = [start["free_energy"][-1] for start in starts]
    assert [start["kept"] for start in starts] == [end == min(ends) for end in ends]
    n_same = training.search["n_same"]
    assert training.search == {"n_starts": len(starts), "n_same": n_same, "complete": True}
    # Two that agree could not be outvoted by the third.
    assert (len(starts), n_same) in ((2, 2), (3, 1), (3, 2))
    # Mixtures and moves were told of in nats per sample of the features.
    values = {}
    for stage, _, value, *_ in reports:
        values.setdefault(stage, []).append(value)
    assert values["search, starts"] == [value for start in starts for value in start["free_energy"]]
    made = [move for move in training.moves if "start" in move and move["kept"]]
    for i_start, start in enumerate(starts):
        of_start = [move["free_energy"] for move in made if move["start"] == i_start]
        assert of_start == start["free_energy"][1:]
    # The course is that of the last model that was kept, and of none that was not.
    of_all = [move for move in training.moves if move.get("all_data")]
    assert not {m["free_energy"] for m in of_all if not m["kept"]} & set(training.free_energy)
    assert {m["round"] for m in of_all if m["kept"]} == set(range(1, n_rounds))
    settling = {f"search, round {n}" for n in range(1, n_rounds + 1)}
    tried = {stage for stage in values if ", move " in stage}
    assert len(tried) == len(of_all)
    moving = {stage for stage in values if stage.endswith(", moves")}
    assert set(values) - settling - tried - moving - {"search, starts"} <= {"training"}
    assert training.rise == 0


@pytest.mark.parametrize(
    ("ends", "kept"),
    [
        ([1.1, 0.997, 1.2], 1),
        ([0.997, 0.998, 0.5], 2),
        ([0.5, 0.997], 0),
        ([1 - MIN_GAIN / 2], None),  # what is gained so may be gained by waiting
        ([], None),
    ],
)
def test_the_best_of_what_is_tried_on_all_data_goes_on(ends, kept):
    names = []

    def run(name, data, start, is_enough):
        names.append(name)
        return start

    settings = SimpleNamespace(n_states=3)
    trainer = SimpleNamespace(_run=run, settings=settings, moves=[])
    runs = [EMRun(None, [end]) for end in ends]
    best = _Trainer._try_on_all(trainer, None, EMRun(None, [1.0]), runs, 2)
    assert best is (None if kept is None else runs[kept])
    assert names == [f"search, round 2, move {place}" for place in range(1, len(ends) + 1)]
    assert [(move["free_energy"], move["kept"]) for move in trainer.moves] == [
        (end, place == kept) for place, end in enumerate(ends)
    ]
    assert all(move["all_data"] and move["round"] == 2 for move in trainer.moves)


@pytest.mark.parametrize(
    ("n_updates", "before", "last", "judged"),
    [
        (MIN_TRIAL_UPDATES - 1, 1.2, 0.9, False),
        (MIN_TRIAL_UPDATES, 1.2, 0.9, True),  # it is below
        (MIN_TRIAL_UPDATES, 1.2, 1.1, False),  # it will soon be
        (MIN_TRIAL_UPDATES, 1.201, 1.2, True),  # it will not
        (MAX_TRIAL_UPDATES, 1.2, 1.1, True),
    ],
)
def test_a_model_is_judged_early(n_updates, before, last, judged):
    run = EMRun(None, [2.0] * (n_updates - 1) + [before, last])
    assert is_judged(1.0, run) == judged


@pytest.mark.parametrize(
    ("free_energies", "chosen"),
    [
        ([5.0], [0]),
        ([5.0, 4.0], [1]),  # too far behind to be of hope
        ([5.02, 5.0, 5.0005, 5.021], [1, 0]),  # the others are the same as these
        ([5.02, 5.0, 5.01, 5.06], [1, 2, 0]),
    ],
)
def test_optima_that_differ_are_tried(free_energies, chosen):
    assert different_optima(np.array(free_energies), 0.005) == chosen


def test_windows_are_as_long_as_states_allow(monkeypatch):
    """States that last 100 samples need no shorter windows, and some that last 5 do."""
    lengths = {}
    for n_stay in (100, 5):
        rng = np.random.default_rng(2)
        states = np.repeat(rng.integers(0, 2, 10_000 // n_stay), n_stay)
        x = rng.standard_normal((len(states), 3)) * np.array([[1, 1, 1], [6, 6, 6]])[states]
        of_sums = []
        real = WindowSums.of.__func__

        def of(cls, *args, real=real, of_sums=of_sums, **kwargs):
            of_sums.append(kwargs["length"])
            return real(cls, *args, **kwargs)

        monkeypatch.setattr(WindowSums, "of", classmethod(of))
        samples = _samples(x, [[len(x)]])
        _train(samples, 2, ZERO_MEANS, n_init=1, refine=True)
        monkeypatch.undo()
        lengths[n_stay] = of_sums
    # The last are those of visits.
    assert lengths[100] == [20, 10, 20]
    assert lengths[5] == [20, 10, 5, 5]


@pytest.mark.parametrize(
    ("ends", "n_starts", "n_same"),
    [
        ([5.0, 5.0, 5.0, 5.0, 5.0], 3, 3),
        ([5.1, 5.0, 5.0, 5.0, 5.0], 4, 3),
        ([5.0, 5.0, 4.9, 5.0, 5.0], 5, 1),
        ([4.9, 5.0, 5.1, 4.9, 5.0], 5, 2),
    ],
)
def test_starts_end_when_most_have_come_to_the_best(monkeypatch, ends, n_starts, n_same):
    samples = _long(1, n_states=2, n_features=3)
    real = OptimumSearch._start
    values = iter(ends)

    def start(search, *args):
        content = real(search, *args)
        content["free_energy"][-1] = next(values)
        return content

    monkeypatch.setattr(OptimumSearch, "_start", start)
    training = _train(samples, 2, ZERO_MEANS, n_init=5, refine=True)
    assert len(training.starts) == n_starts
    assert training.search == {"n_starts": n_starts, "n_same": n_same, "complete": True}


class _Knows(TrainingMonitor):
    """Recalls one step of an earlier training."""

    def __init__(self, step, content):
        super().__init__()
        self.known = {step: content}

    def recall_or_compute(self, step, compute):
        if step in self.known:
            return self.known[step], True
        content = compute()
        self.known.setdefault("first", content)
        return content, False


def test_windows_are_counted_once_where_training_goes_on():
    """One that was killed once their length was known sums them up again, at no cost of its own."""
    samples = _long(1, n_states=2, n_features=3)
    settings = settings_for(2, ZERO_MEANS, n_init=1, refine=True)
    whole = _Knows("none", {})
    n_passes = [train(samples, settings, rng=np.random.default_rng(0), monitor=whole).n_passes]
    later = _Knows("windows", whole.known["first"])
    n_passes.append(train(samples, settings, rng=np.random.default_rng(0), monitor=later).n_passes)
    assert n_passes[1] == pytest.approx(n_passes[0], rel=1e-12)


@pytest.mark.parametrize(("n_samples", "n_features"), [(300, 20), (60, 8), (40, 30)])
def test_few_samples_for_many_states_are_no_failure(n_samples, n_features):
    """Not all states can have samples enough to be searched for; none is the same as another."""
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.standard_normal((n_samples, n_features)), axis=0) / 5
    x += rng.standard_normal(x.shape)
    samples = _samples(x, [[n_samples]])
    training = _train(samples, 5, ZERO_MEANS, n_init=2, refine=True)
    assert np.isfinite(training.free_energy).all()
    covariances = training.parameters.covariances
    assert np.isfinite(covariances).all()
    for i in range(5):
        for j in range(i):
            assert not np.allclose(covariances[i], covariances[j], rtol=1e-3)


def test_a_search_that_was_cut_short_says_so(monkeypatch):
    samples = _long(1, n_states=4, n_features=6)
    monkeypatch.setattr(train_module, "MAX_ROUNDS", 1)
    monkeypatch.setattr(
        _Trainer, "_try_on_all", lambda self, data, run, others, i_round: run
    )  # as if every round had gained something
    training = _train(samples, 4, MEANS, n_init=1, refine=True)
    assert training.search["complete"] is False


def test_moves_never_end_worse():
    # The second of these has starts that are stuck, 0.1 nats per sample above the best.
    gains = []
    for seed in (5, 1):
        samples = _long(seed, n_states=4, n_features=6)
        without, refined = (
            _train(samples, 4, MEANS, n_init=2, refine=refine) for refine in (False, True)
        )
        # Every end has settled to 1e-4 of what there was to gain.
        decrease = without.free_energy[0] - without.free_energy[-1]
        decrease += without.starts[0]["free_energy"][0] - without.starts[0]["free_energy"][-1]
        assert refined.free_energy[-1] <= without.free_energy[-1] + 1e-3 * decrease
        assert refined.rise == without.rise == 0
        gains.append(without.free_energy[-1] - refined.free_energy[-1])
    assert max(gains) > 0.05


class _Streamed(FeatureSequence):
    """Recordings that are read anew in every pass."""

    def __init__(self, arrays):
        self.rows, self.n_features, self.n_read = arrays, arrays[0].shape[1], 0
        self.lengths = [len(array) for array in arrays]

    def __getitem__(self, index):
        raise AssertionError("recordings are streamed")

    def stream(self, order):
        for i_recording in order:
            self.n_read += 1
            yield i_recording, self.rows[i_recording].copy()


def test_streamed_data_give_the_same_bits(monkeypatch):
    monkeypatch.setattr(samples_module, "BATCH_LENGTH", 1000)
    monkeypatch.setattr(subsample, "WINDOW", 300)
    samples = _long(1)
    streamed = Samples(_Streamed(samples.arrays), samples.lengths)
    assert streamed.streamed
    assert not samples.streamed
    results = [
        _train(source, N_STATES, MEANS, init="subset", n_init=2, refine=True)
        for source in (samples, streamed)
    ]
    _check_same_bits(*results)
    assert results[0].starts == results[1].starts
    assert results[0].moves == results[1].moves
    # Once for the coordinates (and the first sample), once for the windows, once for each pass.
    n_passes = len(results[0].free_energy)
    assert streamed.arrays.n_read >= 3 * (2 + n_passes)


@pytest.mark.slow
def test_several_workers_come_to_what_one_does(monkeypatch):
    # Four workers on three recordings: one of them has nothing to do.
    monkeypatch.setattr(subsample, "WINDOW", 300)
    samples = _long(0)
    plan = settings_for(N_STATES, MEANS, n_init=2, refine=True)

    def work(workers):
        return train(samples, plan, rng=np.random.default_rng(0), workers=workers)

    alone = _train(samples, N_STATES, MEANS, n_init=2, refine=True)
    trainings = together(work, 4)
    for training in trainings:
        # All of them go on with the same bits.
        _check_same_bits(training, trainings[0])
        # Sums in another order: rounding, of densities in single precision.
        assert len(training.free_energy) == len(alone.free_energy)
        assert_allclose(training.free_energy, alone.free_energy, rtol=1e-6, atol=0)
        for name in Parameters._fields:
            expected, other = (getattr(t.parameters, name) for t in (alone, training))
            assert_allclose(other, expected, rtol=0, atol=1e-4, err_msg=name)
        assert training.n_passes == pytest.approx(alone.n_passes, rel=1e-12)
        assert training.starts == trainings[0].starts
        assert training.moves == trainings[0].moves
        assert training.search == alone.search
    # All have the same windows, and starts come to the same; then sums are in another order, which
    # may turn what rounding decides.
    for start, same in zip(trainings[0].starts, alone.starts, strict=True):
        assert start["kept"] == same["kept"]
        assert_allclose(start["free_energy"], same["free_energy"], rtol=1e-12, atol=0)


def test_a_lost_state_is_told_of():
    x, _, parameters = _simulated()
    means = parameters.means.copy()
    means[1] = 1e3
    training = _train(_samples(x), N_STATES, MEANS, init=parameters._replace(means=means))
    assert training.lost == [1]
    assert_allclose(training.parameters.means[1], 1e3, rtol=1e-12, atol=0)
    assert np.isfinite(_probabilities(_samples(x), training, MEANS)).all()
    assert training.rise == 0


# Features that depend on each other


@pytest.mark.parametrize("rule", [MEANS, ZERO_MEANS], ids=["means", "zero means"])
def test_a_duplicate_feature_changes_nothing(rule):
    x, states, _ = _simulated(zero_means=not rule.learn_means)
    rng = np.random.default_rng(3)
    labels = np.where(rng.random(N_SAMPLES) < 0.2, rng.integers(0, 3, N_SAMPLES), states)
    single = _train(_samples(x), N_STATES, rule, init=labels, tol=0, max_iter=20)
    double = x[:, [0, 1, 2, 3, 1]] * [1, 1, 1, 1, -1e3]
    other = _train(_samples(double), N_STATES, rule, init=labels, tol=0, max_iter=20)
    assert single.rank == other.rank == N_FEATURES
    for value in (*other.parameters, other.free_energy):
        assert np.isfinite(value).all()
    # Both took as many updates, by the same path but for rounding (which may decide when to stop).
    posteriors = [
        _probabilities(_samples(data), training, rule)
        for data, training in ((x, single), (double, other))
    ]
    assert_allclose(posteriors[1], posteriors[0], rtol=0, atol=1e-3)
    assert_allclose(other.parameters.means[:, :4], single.parameters.means, rtol=0, atol=1e-3)
    copy = -1e3 * single.parameters.means[:, 1]
    assert_allclose(other.parameters.means[:, 4], copy, rtol=0, atol=1.0)  # 1e-3 of its size
    # What all states are given where the data do not vary is 1e-4 of a feature's variance.
    extra = other.parameters.covariances[:, :4, :4] - single.parameters.covariances
    assert_allclose(extra, 0, rtol=0, atol=1e-3)
    # The covariances of all features are fit for use: positive definite.
    scale = np.sqrt(np.einsum("kii->ki", other.parameters.covariances))
    scaled = other.parameters.covariances / (scale[:, :, None] * scale[:, None, :])
    assert np.linalg.eigvalsh(scaled).min() > 1e-6


@pytest.mark.parametrize("rule", [MEANS, ZERO_MEANS], ids=["means", "zero means"])
def test_clusters_of_dependent_features(rule):
    x, states, _ = _simulated(zero_means=not rule.learn_means)
    samples = _samples(np.concatenate([x, x[:, :1] + x[:, 1:2], x[:, 2:3]], axis=1))
    training = _train(samples, N_STATES, rule, n_init=2)
    assert training.rank == N_FEATURES
    assert np.isfinite(training.free_energy).all()
    assert training.rise == 0
    share = _match(states, _probabilities(samples, training, rule))[1]
    assert share > (0.97 if rule.learn_means else 0.85)


# Where training begins


def test_clusters_know_the_ends_of_chains():
    # Every chain is quiet or loud throughout, and none is a whole number of strides long. Power
    # smoothed across their ends would show.
    lengths = [[7, 13, 101], [99, 1, 26], [52]]
    loud = [0, 1, 0, 1, 0, 1, 0]
    rng = np.random.default_rng(0)
    counts = [n for of_recording in lengths for n in of_recording]
    truth = np.repeat(loud, counts)
    x = rng.choice([-1.0, 1.0], size=(sum(counts), 3)) * 10.0 ** truth[:, None]
    samples = _samples(x, lengths)
    for attempt in range(4):
        labels = kmeans_labels(samples, 2, np.random.default_rng(attempt), attempt=attempt)
        assert_array_equal(labels == labels[0], truth == truth[0])


def test_the_way_back_from_strides():
    # A chain of 7 samples has two strides, of 5 and 2 samples, and so on.
    labels = np.arange(8)
    got = spread_strides(labels, [7, 1, 15, 6])
    assert_array_equal(got, np.repeat(labels, [5, 2, 1, 5, 5, 5, 5, 1]))


def test_random_labels_begin_anew_in_every_chain():
    samples = Samples([np.zeros((4000, 1), np.float32)], [[2] * 2000])
    # From 0 to 1 to 2 to 0, always.
    steps = np.roll(np.eye(3), 1, axis=1)
    labels = random_labels(samples.chains, steps, np.random.default_rng(0)).reshape(-1, 2)
    assert_array_equal(labels[:, 1], (labels[:, 0] + 1) % 3)
    # Every state is as likely to be first, 667 of 2,000, with a standard error of 21; and none
    # more so because of where the chain before it ended.
    assert_allclose(np.bincount(labels[:, 0]), 2000 / 3, rtol=0, atol=100)
    steps = (labels[1:, 0] - labels[:-1, 1]) % 3
    assert_allclose(np.bincount(steps), 2000 / 3, rtol=0, atol=100)


def test_drawn_states_follow_the_chain():
    rng = np.random.default_rng(0)
    steps = np.array([[0.9, 0.1, 0.0], [0.0, 0.7, 0.3], [0.2, 0.3, 0.5]])
    states = sample_states(30_000, np.array([0.0, 0.0, 1.0]), steps, rng)
    assert states.shape == (30_000,)
    assert states[0] == 2
    counts = np.zeros((3, 3))
    np.add.at(counts, (states[:-1], states[1:]), 1)
    # At least 5,000 steps out of each state: standard errors of 0.007 and less.
    assert_allclose(counts / counts.sum(1, keepdims=True), steps, rtol=0, atol=0.025)
    assert_array_equal(counts[steps == 0], 0)
    # A state without a way out is where it ends.
    steps = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]])
    states = sample_states(1000, np.array([1.0, 0.0, 0.0]), steps, rng)
    assert states[0] == 0
    assert (np.diff(states) >= 0).all()
    assert (states[-900:] == 2).all()
