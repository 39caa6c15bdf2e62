"""Mini-batches: what they hold, that they are EM where they hold all, and where they lead."""

import numpy as np
import pytest
from fake_workers import together
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from oracle import draw_samples, draw_states, random_model
from training_settings import RULES, settings_for

from mne_hmm._utils.feature_sequence import FeatureSequence  # a base to count readings
from mne_hmm.engine import (
    Data,
    MiniBatches,
    Parameters,
    Prior,
    Samples,
    TrainingMonitor,
    train,
)
from mne_hmm.engine.inference import samples as samples_module
from mne_hmm.engine.runtime.workers import ALONE
from mne_hmm.engine.training import mini_batches
from mne_hmm.engine.training.em import EMRun, converge, expect, update
from mne_hmm.engine.training.mini_batches import (
    MAX_EPOCHS,
    N_SHUFFLED,
    # Which samples a mini-batch has cannot be seen in what is trained on them.
    _mini_batches,
    _n_steps,
    train_on_batches,
)

N_STATES, N_FEATURES = 3, 4
RULE = RULES["full, means"]


class _Streamed(FeatureSequence):
    """Recordings that a function reads, one after another."""

    def __init__(self, lengths, n_features, read):
        self.lengths, self.n_features, self._read = lengths, n_features, read

    def __getitem__(self, index):
        raise AssertionError("recordings are streamed")

    def stream(self, order):
        for index in order:
            yield index, self._read(index)


def _simulated(n_samples, lengths, seed=0):
    """Samples of an HMM, and parameters that are not theirs, but not far from them either."""
    rng = np.random.default_rng(seed)
    initial, _, means, covariances = random_model(rng, N_STATES, N_FEATURES, spread=0.7)
    transition = 0.95 * np.eye(N_STATES) + 0.05 * rng.dirichlet(np.ones(N_STATES), N_STATES)
    states = draw_states(rng, n_samples, initial, transition)
    x = draw_samples(rng, states, means, covariances).astype(np.float32)
    splits = np.cumsum([sum(of_recording) for of_recording in lengths])[:-1]
    samples = Samples(np.split(x, splits), lengths)
    start = Parameters(
        np.full(N_STATES, 1 / N_STATES),
        0.8 * np.eye(N_STATES) + 0.2 / N_STATES,
        means + 0.5 * rng.normal(size=means.shape),
        covariances + np.eye(N_FEATURES),
    )
    return samples, start


def _data(samples, workers=ALONE):
    return Data(samples, N_STATES * N_FEATURES, workers=workers)


def _trained(data, start, batches, *, rule=RULE, seed=0, report=None, **kwargs):
    monitor = TrainingMonitor(report=report, workers=data.workers)
    rng = np.random.default_rng(seed)
    return train_on_batches(data, start, rule, batches, rng=rng, monitor=monitor, **kwargs)


def _own_means(start, rule):
    return start if rule.learn_means else start._replace(means=np.zeros_like(start.means))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("prior", [Prior(), Prior(1.0, 30.0, 20.0, 10.0)], ids=["none", "all"])
def test_one_mini_batch_of_all_chains_is_an_update_of_em(monkeypatch, rule, prior):
    # The first mini-batch takes all of the running sums. Chains are shorter than a sequence.
    monkeypatch.setattr(mini_batches, "MAX_EPOCHS", 1)
    samples, start = _simulated(1500, [[600, 1], [399, 500]])
    start, data = _own_means(start, rule), _data(samples)
    trained = _trained(data, start, MiniBatches(4, 600), rule=rule, prior=prior)
    statistics = expect(data, start, rule)
    want = update(start, statistics, rule, prior)
    # The same sums, of sequences in another order: rounding of single precision.
    for name, value, other in zip(Parameters._fields, trained.parameters, want, strict=True):
        assert_allclose(value, other, rtol=0, atol=2e-6, err_msg=name)
    assert len(trained.free_energy) == trained.n_passes == 1
    evidence = -statistics.log_evidence / 1500
    assert_allclose(trained.free_energy, [evidence], rtol=1e-6, atol=0)


@settings(deadline=None, max_examples=30)
@given(
    lengths=st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=4), min_size=1, max_size=6),
    length=st.integers(1, 50),
    per_worker=st.integers(1, 7),
    seed=st.integers(0, 9),
)
def test_mini_batches_hold_every_sample_once(lengths, length, per_worker, seed):
    n = sum(map(sum, lengths))
    rows = np.stack([np.arange(n), np.arange(n)], 1).astype(np.float32)
    splits = np.cumsum([sum(of_recording) for of_recording in lengths])[:-1]
    data = Data(Samples(np.split(rows, splits), lengths), 2)
    batches = list(_mini_batches(data, per_worker, length, np.random.default_rng(seed)))
    assert len(batches) == _n_steps(data, per_worker, length)
    starts = np.cumsum([0, *data.chains])[:-1]
    sequences = []
    for i_batch, batch in enumerate(batches):
        # All are full but the last.
        assert len(batch.layout.lengths) == per_worker or i_batch == len(batches) - 1
        met = np.concatenate(batch.blocks)[:, 0].astype(int)
        assert len(met) == batch.n_samples
        sequences += np.split(met, np.cumsum(batch.layout.lengths)[:-1])
    assert_array_equal(np.sort(np.concatenate(sequences)), np.arange(n))
    for sequence in sequences:
        # Of one chain, a whole number of sequences after its beginning, and as long as can be.
        chain = np.searchsorted(starts, sequence[0], side="right") - 1
        offset = sequence[0] - starts[chain]
        assert offset % length == 0
        assert len(sequence) == min(length, data.chains[chain] - offset)
        assert_array_equal(np.diff(sequence), 1)


def test_mini_batches_are_drawn_at_random_and_wait_in_few():
    # Sequences of one recording do not come one after another, nor twice in one order; and no
    # more of them are in memory than some mini-batches.
    x = np.arange(4000, dtype=np.float32)[:, None]
    read = []

    def read_one(index):
        read.append(index)
        return x[100 * index : 100 * index + 100]

    data = Data(Samples(_Streamed([100] * 40, 1, read_one), [[100]] * 40), 1)
    orders = []
    for seed in (0, 0, 1):
        read.clear()
        stream = _mini_batches(data, 2, 20, np.random.default_rng(seed))
        batches = [next(stream)]
        # Five sequences each, of which two leave at a time.
        assert 5 * len(read) <= N_SHUFFLED * 2 + 5
        batches += list(stream)
        assert sorted(read) == list(range(40))
        assert read != sorted(read)
        orders.append(np.concatenate([block[:, 0] for b in batches for block in b.blocks]))
        sources = np.stack([block[::20, 0] for b in batches for block in b.blocks]) // 100
        assert np.mean(sources[:, 0] == sources[:, 1]) < 0.5
    assert_array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


@pytest.mark.parametrize("lengths", [[[3900]], [[455, 3, 842], [1300], [1299, 1]]], ids=str)
def test_mini_batches_lead_to_where_em_does(lengths):
    samples, start = _simulated(3900, lengths)
    data = _data(samples)
    full = converge(data, EMRun(start), RULE, max_iter=100, tol=1e-5)
    reports = []
    trained = _trained(data, start, MiniBatches(8, 100), report=lambda *args: reports.append(args))
    got = -expect(data, trained.parameters, RULE).log_evidence / 3900
    assert full.free_energy[0] - full.free_energy[-1] > 0.3  # there was something to learn
    assert full.free_energy[-1] - 1e-4 < got < full.free_energy[-1] + 0.05
    # Every pass was told of, with the mean of its mini-batches.
    n_epochs = int(trained.n_passes)
    assert 2 <= n_epochs <= MAX_EPOCHS
    assert [report[:2] for report in reports] == [
        ("mini-batches", epoch) for epoch in range(1, n_epochs + 1)
    ]
    n_steps = _n_steps(data, 8, 100)
    assert len(trained.free_energy) == n_epochs * n_steps
    means = np.reshape(trained.free_energy, (n_epochs, n_steps)).mean(1)
    assert_allclose([report[2] for report in reports], means, rtol=1e-12, atol=0)
    assert means[-1] < means[0]


def test_chains_shorter_than_a_sequence_are_sequences():
    # A hundred chains of thirty samples, and sequences of as many or of hundreds: all the same.
    samples, start = _simulated(3000, [[30] * 50, [30] * 50])
    data = _data(samples)
    short, other = (_trained(data, start, MiniBatches(50, length)) for length in (30, 500))
    full = converge(data, EMRun(start), RULE, max_iter=100, tol=1e-5)
    got = -expect(data, other.parameters, RULE).log_evidence / 3000
    assert got < full.free_energy[-1] + 0.05
    # Only what is gathered before the first update is counted in whole sequences: here one
    # mini-batch is enough for either.
    assert short.free_energy == other.free_energy
    for a, b in zip(short.parameters, other.parameters, strict=True):
        assert_array_equal(a, b)


def test_the_same_seed_gives_the_same_bits():
    samples, start = _simulated(3900, [[3900]])
    plan = settings_for(N_STATES, RULE, init=start, batches=MiniBatches(8, 100), max_iter=5)
    first, same, other = (
        train(samples, plan, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first.batches == same.batches != other.batches
    assert first.free_energy == same.free_energy
    for a, b in zip(first.parameters, same.parameters, strict=True):
        assert_array_equal(a, b)
    # Passes over mini-batches, then over all data; numbers in nats per sample of the features.
    n_epochs = len(first.batches) / 5
    assert first.n_passes == n_epochs + len(first.free_energy)
    assert first.free_energy[0] == pytest.approx(np.mean(first.batches[-5:]), abs=0.1)
    assert first.rise == 0


def test_streamed_data_give_the_same_bits(monkeypatch):
    monkeypatch.setattr(samples_module, "BATCH_LENGTH", 1000)
    samples, start = _simulated(3900, [[1300], [1300], [1300]])
    streamed = _Streamed([1300] * 3, N_FEATURES, lambda index: samples.arrays[index].copy())
    in_memory, other = (
        _trained(_data(source), start, MiniBatches(8, 100))
        for source in (samples, Samples(streamed, samples.lengths))
    )
    assert in_memory.free_energy == other.free_energy
    for a, b in zip(in_memory.parameters, other.parameters, strict=True):
        assert_array_equal(a, b)


def test_workers_take_as_many_steps_as_who_has_most():
    # Three workers on two recordings of different lengths: who has run out adds nothing.
    samples, start = _simulated(3900, [[2600], [1300]])

    def work(workers):
        return _trained(_data(samples, workers), start, MiniBatches(9, 100))

    full = converge(_data(samples), EMRun(start), RULE, max_iter=100, tol=1e-5)
    trainings = together(work, 3)
    for trained in trainings:
        # Each takes three sequences of 26 at a time.
        assert len(trained.free_energy) == trained.n_passes * 9
        for a, b in zip(trained.parameters, trainings[0].parameters, strict=True):
            assert_array_equal(a, b)
    got = -expect(_data(samples), trainings[0].parameters, RULE).log_evidence / 3900
    assert got < full.free_energy[-1] + 0.05
