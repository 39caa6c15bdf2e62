"""Windows: what they hold, where they lie, and what they are worth under states."""

import numpy as np
import pytest
from fake_workers import together
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal
from training_settings import RULES

from mne_hmm.engine import Prior, Samples
from mne_hmm.engine.training import window_sums
from mne_hmm.engine.training.em import update_emissions
from mne_hmm.engine.training.initialization import pooled_parameters
from mne_hmm.engine.training.whitening import Whitening
from mne_hmm.engine.training.window_sums import (
    WindowSums,
    window_lengths,
    window_starts,
)

N_FEATURES = 3
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
LENGTHS = [[33, 90], [1], [64, 2, 300], [20]]


def _samples(lengths=LENGTHS, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(N_FEATURES, N_FEATURES))
    sizes = [sum(of_recording) for of_recording in lengths]
    x = [rng.normal(size=(n, N_FEATURES)) @ mixing + [5, -2, 0.1] for n in sizes]
    return Samples([array.astype(np.float32) for array in x], lengths)


def _whitening(samples, rule):
    return Whitening.fit(samples, centered=rule.learn_means, covariance_type=rule.covariance_type)


def _windows_one_by_one(samples, whitening, length):
    """Cut whitened chains by hand."""
    parts, recordings = [], []
    for i, (array, lengths) in enumerate(zip(samples.arrays, samples.lengths, strict=True)):
        z = (array.astype(float) - whitening.center) @ whitening.forward
        for chain in np.split(z, np.cumsum(lengths)[:-1]):
            for start in range(0, len(chain), length):
                parts.append(chain[start : start + length])
                recordings.append(i)
    return parts, recordings


def _numbers(rows, rule):
    """What a window should hold, in float64."""
    products = rows.T @ rows
    if rule.covariance_type == "diag":
        products = np.diag(products)
    else:
        products = products[np.tril_indices(N_FEATURES)]
    sums = rows.sum(0) if rule.learn_means else np.zeros(0)
    return np.concatenate([[len(rows)], sums, products])


@every_rule
def test_windows_hold_their_sums(rule):
    samples = _samples()
    whitening = _whitening(samples, rule)
    windows = WindowSums.of(samples, whitening, rule, length=15)
    parts, recordings = _windows_one_by_one(samples, whitening, 15)
    want = np.array([_numbers(rows, rule) for rows in parts])
    # Sums of 15 products in single precision, of numbers up to 5.
    assert_allclose(windows.values, want, rtol=0, atol=1e-4)
    assert windows.values.dtype == np.float32
    assert_array_equal(windows.recordings, recordings)
    assert_array_equal(windows.n_samples, [len(rows) for rows in parts])
    power = [(rows**2).sum(0) for rows in parts]
    assert_allclose(windows.power, power, rtol=0, atol=1e-4)
    if rule.learn_means:
        assert_allclose(windows.sums, [rows.sum(0) for rows in parts], rtol=0, atol=1e-4)
    assert windows.share == 1
    assert windows.labels is None
    some = windows.take(np.array([4, 1]))
    assert_array_equal(some.values, windows.values[[4, 1]])
    assert_array_equal(some.recordings, windows.recordings[[4, 1]])


def test_windows_end_where_states_change():
    rng = np.random.default_rng(1)
    samples = _samples()
    labels = {
        i: np.repeat(rng.integers(0, 3, size), 7)[:size] for i, size in enumerate(samples.sizes)
    }
    whitening = _whitening(samples, RULES["full, means"])
    windows = WindowSums.of(samples, whitening, RULES["full, means"], length=10, labels=labels)
    # Every sample is in a window of its own state, and no window is longer than 10.
    for state in range(3):
        of_state = windows.values[windows.labels == state, 0].sum()
        assert of_state == sum((values == state).sum() for values in labels.values())
    assert windows.values[:, 0].max() == 10
    for i, lengths in enumerate(samples.lengths):
        starts = window_starts(lengths, 10, labels[i])
        stops = np.append(starts[1:], sum(lengths))
        ends = np.cumsum(lengths)
        for start, stop in zip(starts, stops, strict=True):
            assert len(set(labels[i][start:stop])) == 1
            assert not ((start < ends) & (ends < stop)).any()


@every_rule
@pytest.mark.parametrize("prior", [Prior(), Prior(2.0, 30.0, 15.0, 10.0)], ids=["no prior", "all"])
def test_windows_are_worth_what_their_samples_are(rule, prior):
    """Log densities are those of the states that an update makes of the same sums."""
    samples = _samples()
    whitening = _whitening(samples, rule)
    windows = WindowSums.of(samples, whitening, rule, length=15)
    weights = np.random.default_rng(2).dirichlet(np.ones(2), len(windows.values)).T
    totals = windows.totals(weights)
    assert_allclose(totals, weights @ windows.values.astype(float), rtol=1e-5, atol=1e-4)
    moments = windows.moments(totals)
    states = update_emissions(pooled_parameters(2, N_FEATURES), moments, rule, prior)
    densities = windows.log_densities(windows.coefficients(totals, prior))
    parts, _ = _windows_one_by_one(samples, whitening, 15)
    want = [
        [
            multivariate_normal(mean, covariance).logpdf(rows).sum()
            for mean, covariance in zip(states.means, states.covariances, strict=True)
        ]
        for rows in parts
    ]
    # Sums of some 100 nats in single precision, of covariances that are a millionth larger.
    assert densities.dtype == np.float32
    assert_allclose(densities.T, want, rtol=0, atol=2e-3)
    log_dets = np.linalg.slogdet(states.covariances)[1]
    # A millionth on each variance, and sums in single precision.
    assert_allclose(windows.log_determinants(totals, prior), log_dets, rtol=0, atol=2e-5)


@every_rule
def test_states_of_nothing_and_of_one_sample_are_finite(rule):
    samples = _samples()
    windows = WindowSums.of(samples, _whitening(samples, rule), rule, length=15)
    one = windows.values[windows.recordings == 1].astype(float)
    totals = np.concatenate([np.zeros_like(one), one])
    assert np.isfinite(windows.log_densities(windows.coefficients(totals))).all()
    log_dets = windows.log_determinants(totals)
    assert log_dets[0] == pytest.approx(0, abs=1e-12)  # as the pooled data
    assert -60 < log_dets[1] < 10  # no variance is below a millionth


def test_sums_that_rounding_has_spoiled_have_states():
    rule = RULES["full, zero means"]
    samples = _samples()
    windows = WindowSums.of(samples, _whitening(samples, rule), rule)
    # A variance that is 1e-5 below nothing.
    totals = np.array([[100.0, 100.0, 0.0, 100.0, 0.0, 0.0, -1e-3]])
    assert np.isfinite(windows.coefficients(totals)).all()
    totals[0, -1] = -1e3
    with pytest.raises(np.linalg.LinAlgError, match="not of samples"):
        windows.coefficients(totals)


def test_many_windows_are_chosen_at_even_distances(monkeypatch):
    rule = RULES["full, means"]
    samples = _samples([[400], [800, 400], [400]])
    whitening = _whitening(samples, rule)
    whole = WindowSums.of(samples, whitening, rule)
    assert len(whole.values) == 100
    monkeypatch.setattr(window_sums, "MAX_WINDOWS", 25)
    some = WindowSums.of(samples, whitening, rule)
    assert_array_equal(some.values, whole.values[::4])
    assert_array_equal(np.bincount(some.recordings), [5, 15, 5])
    assert some.share == 0.25
    # What a window takes counts, too.
    monkeypatch.setattr(window_sums, "MAX_NUMBERS", 10 * whole.n_numbers + 3)
    assert len(WindowSums.of(samples, whitening, rule).values) == 10
    monkeypatch.setattr(window_sums, "MAX_NUMBERS", 1)
    assert len(WindowSums.of(samples, whitening, rule).values) == 1


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("cut", [False, True])
def test_all_workers_have_the_windows_of_one(monkeypatch, size, cut):
    # More workers than recordings, too: some then have nothing to read.
    monkeypatch.setattr(window_sums, "SHARED_SIZE", 50)  # several at a time
    rule = RULES["full, means"]
    samples = _samples()
    whitening = _whitening(samples, rule)
    labels = {i: np.arange(n) // 8 % 3 for i, n in enumerate(samples.sizes)}

    def work(workers):
        of_mine = {i: labels[i] for i in workers.share(samples.sizes)}
        return WindowSums.of(
            samples, whitening, rule, labels=of_mine if cut else None, workers=workers
        )

    alone = WindowSums.of(samples, whitening, rule, labels=labels if cut else None)
    for windows in together(work, size):
        # Sums of one number and zeros have no rounding.
        assert_array_equal(windows.values, alone.values)
        assert_array_equal(windows.recordings, alone.recordings)
        assert windows.share == alone.share
        if cut:
            assert_array_equal(windows.labels, alone.labels)


@pytest.mark.parametrize(
    ("n_samples", "n_states", "lengths"),
    [
        (100_000, 6, [20, 10, 5]),
        (6000, 6, [20, 10, 5]),
        (5999, 6, [10, 5]),
        (1600, 6, [5]),
        (10, 2, [5]),
    ],
)
def test_windows_of_few_samples_are_short(n_samples, n_states, lengths):
    assert window_lengths(n_samples, n_states) == lengths
