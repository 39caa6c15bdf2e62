"""The search on windows: what it values, which moves it makes, and where it ends."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from oracle import draw_samples, draw_states
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from training_settings import RULES

from mne_hmm.engine import Samples
from mne_hmm.engine.training.whitening import Whitening
from mne_hmm.engine.training.window_mixtures import (
    MAX_UPDATES,
    MIN_DECREASE,
    MIN_PER_FEATURE,
    MIN_PER_STATE,
    Mixture,
    goes_on,
)
from mne_hmm.engine.training.window_moves import N_TRIED, divide, propose, ways_to_divide
from mne_hmm.engine.training.window_search import WindowSearch
from mne_hmm.engine.training.window_sums import WindowSums

N_STATES, N_FEATURES = 4, 3
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
VARIANCES = np.array([[9, 1, 1], [1, 9, 1], [1, 1, 9], [0.05, 0.05, 0.05]])


def _data(rule, n_samples=8000, stay=0.98, n_recordings=1, seed=4):
    """Samples of four states that are far apart, and the states."""
    rng = np.random.default_rng(seed)
    means = 2 * np.log(VARIANCES) * rule.learn_means
    transition = stay * np.eye(N_STATES) + (1 - stay) / N_STATES
    states = draw_states(rng, n_samples, np.full(N_STATES, 1 / N_STATES), transition)
    x = draw_samples(rng, states, means, VARIANCES[:, :, None] * np.eye(N_FEATURES))
    arrays = np.split(x.astype(np.float32), n_recordings)
    return Samples(arrays, [[len(array)] for array in arrays]), states


def _search(rule, n_states=N_STATES, length=10, **kwargs):
    """Begin a search, with the state that most samples of each window are in."""
    samples, states = _data(rule, **kwargs)
    whitening = Whitening.fit(
        samples, centered=rule.learn_means, covariance_type=rule.covariance_type
    )
    windows = WindowSums.of(samples, whitening, rule, length=length)
    labels = states[np.arange(len(windows.values)) * length + length // 2]
    return WindowSearch(windows, n_states, 1e-4), labels, samples, whitening


@pytest.fixture(scope="module", params=RULES.values(), ids=RULES)
def settled(request):
    """A search, the states of its windows, and the mixture that begins there: not to be changed."""
    search, labels, _, _ = _search(request.param)
    return search, labels, search.settle(labels)


@every_rule
def test_a_mixture_is_worth_what_its_samples_are(rule):
    """Free energy and probabilities are those of whole windows in states, window by window."""
    search, labels, samples, whitening = _search(rule, n_samples=400)
    totals = search.windows.totals(np.equal(labels, np.arange(N_STATES)[:, None]))
    free_energy, probabilities = search.em.evaluate(totals[None])
    mixture = Mixture(totals, 0.0, labels)
    states = search.parameters(mixture)
    z = (samples.arrays[0].astype(float) - whitening.center) @ whitening.forward
    log = np.array(
        [
            [
                multivariate_normal(mean, covariance).logpdf(rows).sum()
                for mean, covariance in zip(states.means, states.covariances, strict=True)
            ]
            for rows in z.reshape(-1, 10, N_FEATURES)
        ]
    )
    log += np.log(totals[:, 0] / totals[:, 0].sum())
    # Densities of 10 samples are some 50 nats, in single precision.
    assert_allclose(free_energy, [-logsumexp(log, axis=1).sum() / 400], rtol=0, atol=1e-4)
    want = np.exp(log - logsumexp(log, axis=1, keepdims=True))
    assert_allclose(probabilities[0].T, want, rtol=0, atol=1e-3)


def test_what_a_mixture_is_worth_does_not_depend_on_the_samples_it_was_found_on(settled):
    """It goes on with shorter windows, which may be of fewer samples."""
    search, _, mixture = settled
    free_energy, probabilities = search.em.evaluate(mixture.totals[None])
    of_more, same = search.em.evaluate(2 * mixture.totals[None])
    assert_allclose(of_more, free_energy, rtol=1e-6, atol=0)
    assert_allclose(same, probabilities, rtol=0, atol=1e-4)


def test_mixtures_are_updated_together_as_alone(settled):
    search, labels, _ = settled
    rng = np.random.default_rng(0)
    totals = np.array(
        [
            search.windows.totals(np.equal(rng.permutation(labels), np.arange(N_STATES)[:, None]))
            for _ in range(3)
        ]
    )
    together, free_energy, probabilities = search.em.update(totals)
    for i in range(3):
        alone, of_one, of_windows = search.em.update(totals[[i]])
        # Products of another shape add up in another order, in single precision.
        assert_allclose(together[i], alone[0], rtol=1e-4, atol=1e-2)
        assert_allclose(free_energy[i], of_one[0], rtol=1e-6, atol=0)
        assert_allclose(probabilities[i], of_windows[0], rtol=0, atol=1e-3)


def test_updates_never_raise_the_free_energy(settled):
    search, labels, mixture = settled
    rng = np.random.default_rng(1)
    totals = search.windows.totals(np.equal(rng.permutation(labels), np.arange(N_STATES)[:, None]))
    course = []
    totals = totals[None]
    for _ in range(20):
        totals, free_energy, _ = search.em.update(totals)
        course.append(free_energy[0])
    assert np.diff(course).max() < 1e-6  # rounding of densities in single precision
    assert course[-1] < course[0] - 0.01
    again, _, _ = search.em.update(mixture.totals[None])
    assert_allclose(again[0], mixture.totals, rtol=0.01, atol=5)  # it has settled


def test_moves_lead_to_the_true_states(settled):
    search, labels, truth = settled
    # States 0 and 1 are one, and nothing is in state 3.
    stuck = search.settle(np.array([0, 0, 1, 2])[labels])
    assert stuck.free_energy > truth.free_energy + 0.02
    found, moves = search.improve(stuck, np.random.default_rng(0))
    assert_allclose(found.free_energy, truth.free_energy, rtol=0, atol=1e-3)
    made = [move for move in moves if move["kept"]]
    # What is recorded is what was done, and never more than one move a round.
    assert [move["round"] for move in made] == list(range(1, len(made) + 1))
    assert made[-1]["free_energy"] == found.free_energy
    assert max(move["round"] for move in moves) == len(made) + 1
    for move in moves:
        i, j = move["merged"]
        assert 0 <= i < j <= N_STATES
        assert 0 <= move["split"] < N_STATES
        assert (i, j) != (move["split"], N_STATES)
    shares = [
        np.mean(found.labels[labels == k] == np.bincount(found.labels[labels == k]).argmax())
        for k in range(N_STATES)
    ]
    assert min(shares) > 0.8  # one in seven windows is of two states


def test_what_is_known_already_is_not_searched_on(settled):
    search, _, truth = settled
    before = search.em.n_multiplications
    found, moves = search.improve(truth, np.random.default_rng(0), known=truth.free_energy + 5e-5)
    assert found is truth
    assert moves == []
    assert search.em.n_multiplications == before
    _, moves = search.improve(truth, np.random.default_rng(0), known=truth.free_energy + 5e-3)
    assert len(moves) > 0


def test_a_move_must_gain_something(settled):
    search, labels, truth = settled
    stuck = search.settle(np.array([0, 0, 1, 2])[labels])
    least = stuck.free_energy - truth.free_energy
    for min_gain, n_made in ((0.5 * least, 1), (1.5 * least, 0)):
        picky = WindowSearch(search.windows, N_STATES, min_gain)
        found, moves = picky.improve(stuck, np.random.default_rng(0))
        assert sum(move["kept"] for move in moves) == n_made
        assert (found is stuck) == (n_made == 0)


def test_a_mixture_goes_on_with_other_windows():
    rule = RULES["full, zero means"]
    search, labels, samples, whitening = _search(rule, length=20)
    longer = search.settle(labels)
    windows = WindowSums.of(samples, whitening, rule, length=10)
    shorter = WindowSearch(windows, N_STATES, 1e-4)
    mixture = shorter.go_on(longer)
    # Visits last 50 samples: what windows of 20 lose at their ends is more than what they know.
    assert mixture.free_energy < longer.free_energy
    shares = mixture.totals[:, 0], longer.totals[:, 0]
    assert_allclose(*shares, rtol=0, atol=0.1 * 8000)


def test_proposals_are_what_they_say(settled):
    search, _, truth = settled
    moves = propose(search.em, truth, np.random.default_rng(0))
    assert 0 < len(moves) <= N_TRIED
    changes = [move.change for move in moves]
    assert changes == sorted(changes)
    for move in moves:
        i, j = move.merged
        assert 0 <= i < j <= N_STATES
        assert (i, j) != (move.split, N_STATES)
        # All samples are in a state, before and after; halves are of the windows that are likeliest
        # in a state, and are not quite the state.
        assert_allclose(move.totals[:, 0].sum(), truth.totals[:, 0].sum(), rtol=1e-12, atol=0)
        assert_allclose(move.totals.sum(0), truth.totals.sum(0), rtol=0, atol=0.01 * 8000)
        untouched = [k for k in range(N_STATES) if k not in (move.split, i, j)]
        for k in untouched:
            assert any(np.array_equal(of_state, truth.totals[k]) for of_state in move.totals)
    # From the truth every move is upwards.
    assert min(changes) > 0


def test_what_a_move_costs_is_exact():
    """Where halves do not overlap, a move changes the likelihood by what it says."""
    rule = RULES["full, zero means"]
    search, labels, _, _ = _search(rule)
    poor = search.settle(np.array([0, 0, 1, 2])[labels])
    moves = [m for m in propose(search.em, poor, np.random.default_rng(0)) if m.split == 0]

    def nats(totals):
        """Log likelihood of all, the states of windows given, but for a constant."""
        return -0.5 * totals[:, 0] @ search.windows.log_determinants(totals)

    n_samples = search.windows.n_samples.sum()
    best = moves[0]
    change = (nats(poor.totals) - nats(best.totals)) / n_samples
    # Up to what choosing between states takes: below log(2) for each window of ten samples.
    assert_allclose(best.change, change, rtol=0, atol=np.log(2) / 10)
    assert best.change < -0.1


def test_the_same_seed_gives_the_same_moves(settled):
    search, labels, _ = settled
    stuck = search.settle(np.array([0, 0, 1, 2])[labels])
    moves, same, other = (
        propose(search.em, stuck, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert [move[:3] for move in moves] == [move[:3] for move in same]
    for a, b in zip(moves, same, strict=True):
        assert_array_equal(a.totals, b.totals)
    assert [move.change for move in moves] != [move.change for move in other]


@pytest.mark.parametrize("rule", [RULES["full, zero means"], RULES["diag, means"]])
def test_states_of_few_samples_are_given_up(rule):
    search, labels, _, _ = _search(rule, n_states=5)
    least = MIN_PER_FEATURE * N_FEATURES if rule.covariance_type == "full" else MIN_PER_STATE
    assert search.em.min_per_state == least
    labels = labels.copy()
    search.windows.values[0] *= (least - 1) / 10  # one window, of too few samples
    labels[0] = 4
    mixture = search.settle(labels)
    assert mixture.totals[4, 0] == 0
    assert not (mixture.labels == 4).any()
    assert np.isfinite(mixture.free_energy)
    assert divide(search.em, mixture, 4, np.random.default_rng(0)) == []
    # The state is of use again: another is split, and this one is merged into any.
    moves = propose(search.em, mixture, np.random.default_rng(0))
    assert 4 in moves[0].merged
    found, _ = search.improve(mixture, np.random.default_rng(0))
    assert found.free_energy <= mixture.free_energy
    parameters = search.parameters(found)
    assert np.isfinite(parameters.covariances).all()


def test_one_state_has_no_moves():
    search, labels, _, _ = _search(RULES["full, means"], n_states=1)
    mixture = search.settle(np.zeros_like(labels))
    assert propose(search.em, mixture, np.random.default_rng(0)) == []
    assert search.improve(mixture, np.random.default_rng(0)) == (mixture, [])


def test_people_are_told_apart():
    """A state that is two recordings' is divided by recording, in one way at least."""
    search, _, _, _ = _search(RULES["full, zero means"], n_recordings=8)
    windows = search.windows
    # Recordings 0, 3, 5 have ten times the power in one feature.
    loud = np.isin(windows.recordings, [0, 3, 5])
    windows.values[loud, 1] *= 10
    ways = list(ways_to_divide(windows, np.random.default_rng(0)))
    agreement = [max(np.mean(way == loud), np.mean(way != loud)) for way in ways]
    assert max(agreement) == 1
    assert all(way.dtype == bool and 0 < way.sum() < len(way) for way in ways)
    # Of one recording, or two, there are fewer ways.
    for n in (1, 2):
        some = windows.take(np.flatnonzero(windows.recordings < n))
        assert len(list(ways_to_divide(some, np.random.default_rng(0)))) == len(ways) - 3 + n


@pytest.mark.parametrize(
    ("free_energy", "goal", "goes"),
    [
        ([5.0], None, True),
        ([5.0, 4.9], None, True),
        ([5.0, 5.0 - MIN_DECREASE / 2], None, False),
        ([5.0, 4.9], 4.0, True),  # twenty such updates would be below
        ([5.0, 4.99], 4.0, False),
        ([5.0, 3.0], 4.0, True),
        ([3.01, 3.0], 4.0, False),  # so far below that a hundredth of it is little
        ([3.999, 3.99], 4.0, True),
    ],
)
def test_a_mixture_goes_on_while_there_is_hope(free_energy, goal, goes):
    assert goes_on(free_energy, goal) == goes


def test_every_round_is_told_of():
    told = []
    search, labels, _, _ = _search(RULES["full, zero means"])
    search.after_round = lambda mixture, seconds: told.append((mixture.free_energy, seconds))
    found, moves = search.improve(
        search.settle(np.array([0, 0, 1, 2])[labels]), np.random.default_rng(0)
    )
    values = [value for value, _ in told]
    assert values == sorted(values, reverse=True)
    assert len(values) == 1 + sum(move["kept"] for move in moves)
    assert values[-1] == found.free_energy
    assert all(seconds > 0 for _, seconds in told)


def test_more_states_are_merged_down():
    """States that were each cut in two come together again."""
    search, labels, _, _ = _search(RULES["full, zero means"])
    truth = search.settle(labels)
    halves = 2 * labels + np.arange(len(labels)) % 2
    mixture = search.settle(halves)
    assert len(mixture.totals) == N_STATES
    assert_allclose(mixture.free_energy, truth.free_energy, rtol=0, atol=1e-3)


def test_multiplications_are_counted():
    search, labels, _, _ = _search(RULES["full, zero means"])
    of_update = 2 * search.windows.values.size * N_STATES
    search.settle(labels)
    n_updates = search.em.n_multiplications / of_update
    assert n_updates == round(n_updates)
    assert 2 <= n_updates <= MAX_UPDATES
    before = search.em.n_multiplications
    search.em.update(search.settle(labels).totals[None])
    search.em.n_multiplications = 0.0
    search.em.update(search.settle(labels).totals[None])
    assert search.em.n_multiplications - of_update == before
