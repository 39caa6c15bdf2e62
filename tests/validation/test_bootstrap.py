"""Bootstrap intervals: coverage of the truth, and what is counted."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm.model.file import Learned
from mne_hmm.simulation.state_sequences import markov_labels, markov_statistics
from mne_hmm.states.visits import stationary_occupancy
from mne_hmm.validation.bootstrap import _count_decoded, _count_visits  # sums, not shares

SFREQ = 100.0
CHAIN = np.array([[0.96, 0.03, 0.01], [0.04, 0.94, 0.02], [0.02, 0.03, 0.95]])


def model(transitions, spread=10.0):
    """Three states that features of three channels tell apart, the better the larger spread is."""
    covariances = np.array([np.diag(np.where(np.arange(3) == k, spread, 1.0)) for k in range(3)])
    names = ("a", "b", "c")
    preparation = mne_hmm.FittedPreparation(
        **mne_hmm.Preparation.as_is().settings, ch_names_=names, rank_=3, sfreq_=SFREQ
    )
    n_states = len(transitions)
    return mne_hmm.HMM(
        np.full(n_states, 1 / n_states),
        transitions,
        np.zeros((n_states, 3)),
        covariances[:n_states],
        preparation,
        learned=Learned(False),
    )


TRUE_OCCUPANCY = np.linalg.matrix_power(CHAIN, 5000)[0]
TRUE_LIFETIME = 1 / (1 - np.diag(CHAIN)) / SFREQ


def held(bootstrap):
    """Which intervals hold the truth."""
    return np.concatenate(
        [
            (low <= truth) & (truth <= high)
            for (low, high), truth in (
                (bootstrap.occupancy_interval, TRUE_OCCUPANCY),
                (bootstrap.lifetime_interval, TRUE_LIFETIME),
            )
        ]
    )


def coverage(n_truths, n_boot, rng):
    """Share of truths in the intervals of models that were estimated from their states."""
    out = []
    for _ in range(n_truths):
        labels = markov_labels(CHAIN, 3000, rng)
        steps = np.zeros((3, 3))
        np.add.at(steps, (labels[:-1], labels[1:]), 1)
        hmm = model(steps / steps.sum(1, keepdims=True))
        out.append(
            held(
                mne_hmm.bootstrap_statistics(
                    hmm, 30.0, n_boot=n_boot, random_state=rng, verbose="ERROR"
                )
            )
        )
    return np.mean(out, axis=0).reshape(2, 3).mean(axis=1)


def test_coverage():
    """95 % intervals hold 90 to 99 % of truths.

    Of 120 recordings of three states each; with 95 % in truth the standard error of the mean is 1
    to 2 %, as states of a recording are not independent.
    """
    shares = coverage(120, 150, np.random.default_rng(0))
    assert (shares >= 0.90).all(), shares
    assert (shares <= 0.99).all(), shares


@pytest.mark.slow
def test_coverage_of_many():
    """The same of 1000 recordings; the standard error is less than 0.7 %."""
    shares = coverage(1000, 1000, np.random.default_rng(1))
    assert (shares >= 0.92).all(), shares
    assert (shares <= 0.98).all(), shares


@pytest.mark.slow
def test_coverage_of_models_that_were_fitted():
    """From data all the way: simulate, fit, match, bootstrap. States are told apart well here.

    60 fits: the standard error of a mean over three states is 2 to 3 %, and three of them are
    allowed for below 90 %.
    """
    truth = model(CHAIN, spread=40.0)
    out = []
    for seed in range(60):
        features, _ = truth.sample(3000, random_state=seed)
        hmm = mne_hmm.fit_hmm(
            features.T,
            3,
            preparation=mne_hmm.Preparation.as_is(),
            sfreq=SFREQ,
            learn_means=False,
            n_init=1,
            refine=False,
            random_state=seed,
            verbose="ERROR",
        )
        hmm = hmm.reorder_states(mne_hmm.match_states(hmm, _named_as(truth, hmm)))
        bootstrap = mne_hmm.bootstrap_statistics(hmm, 30.0, n_boot=500, random_state=seed)
        out.append(held(bootstrap))
    shares = np.mean(out, axis=0).reshape(2, 3).mean(axis=1)
    assert (shares >= 0.90 - 0.08).all(), shares
    assert (shares <= 0.99 + 0.01).all(), shares


def _named_as(truth, hmm):
    """The truth, with the channels of the fit."""
    same = truth.copy()
    same.preparation_ = hmm.preparation_
    return same


def test_what_is_told():
    """Values of the model, quantiles of the simulations, a row per state."""
    hmm = model(CHAIN).rename_states(["rest", "alpha", "beta"])
    bootstrap = mne_hmm.bootstrap_statistics(
        hmm, 60.0, n_boot=400, confidence=0.8, random_state=0, verbose="ERROR"
    )
    assert_allclose(bootstrap.fractional_occupancy, TRUE_OCCUPANCY, rtol=1e-9)
    assert_allclose(bootstrap.mean_lifetime, TRUE_LIFETIME, rtol=1e-9)
    assert bootstrap.simulated_occupancy.shape == bootstrap.simulated_lifetime.shape == (400, 3)
    assert_allclose(bootstrap.simulated_occupancy.sum(1), 1)
    assert_allclose(
        bootstrap.occupancy_interval, np.quantile(bootstrap.simulated_occupancy, [0.1, 0.9], axis=0)
    )
    inside = bootstrap.simulated_lifetime[:, 1] <= bootstrap.lifetime_interval[1, 1]
    assert inside.mean() == pytest.approx(0.9, abs=0.003)
    # The mean of n visits of a geometric duration is known to 1 / sqrt(n) of it: 15 seconds of
    # 0.2 s make about 80 visits and an 80 % interval of 1.28 times 11 %, to either side.
    half = np.diff(bootstrap.lifetime_interval[:, 1])[0] / 2
    n_visits = 60 * TRUE_OCCUPANCY[1] / TRUE_LIFETIME[1]
    assert half == pytest.approx(1.28 * TRUE_LIFETIME[1] / np.sqrt(n_visits), rel=0.15)
    frame = bootstrap.to_data_frame()
    assert frame["state"].tolist() == ["rest", "alpha", "beta"]
    assert_array_equal(frame["lifetime_high"], bootstrap.lifetime_interval[1])
    assert "400 simulations of 60 s in 1 recording, simulated states, 80 % int" in str(bootstrap)
    again = mne_hmm.bootstrap_statistics(
        hmm, 60.0, n_boot=400, confidence=0.8, random_state=0, verbose="ERROR"
    )
    assert_array_equal(again.simulated_lifetime, bootstrap.simulated_lifetime)


def test_longer_is_surer():
    """Four times the data make intervals half as wide, be they of one recording or of several."""
    hmm = model(CHAIN)
    widths = [
        np.diff(
            mne_hmm.bootstrap_statistics(hmm, duration, random_state=0).occupancy_interval, axis=0
        )
        for duration in (60.0, 240.0, [60.0, 60.0, 50.0, 70.0])
    ]
    assert_allclose(widths[1], widths[0] / 2, rtol=0.2)
    assert_allclose(widths[2], widths[1], rtol=0.2)


def test_states_that_are_hardly_seen():
    """Without whole visits nothing is known of lifetimes; a state that is never left lasts."""
    rare = np.array([[0.9999, 0.0001], [0.5, 0.5]])
    bootstrap = mne_hmm.bootstrap_statistics(model(rare), 2.0, n_boot=300, random_state=0)
    assert bootstrap.share_unseen[1] > 0.9
    assert np.isfinite(bootstrap.lifetime_interval[:, 1]).all()
    bootstrap = mne_hmm.bootstrap_statistics(model(np.eye(2)), 2.0, n_boot=50, random_state=0)
    assert np.isnan(bootstrap.lifetime_interval).all()
    assert_array_equal(bootstrap.mean_lifetime, np.inf)
    assert_array_equal(bootstrap.share_unseen, 1)
    assert "inf" in str(bootstrap)


def test_counts_by_hand():
    """Visits that a span cuts off are no lifetimes, but are on."""
    labels = np.array([0, 0, 1, 1, 1, 0, 2, 2, -1, 1, 0, 0, 1])
    occupied, whole, n = _count_visits(labels, [(0, 8), (9, 13)], 3)
    assert_array_equal(occupied, [5, 5, 2])
    assert_array_equal(whole, [3, 3, 0])
    assert_array_equal(n, [2, 1, 0])


def test_where_recordings_begin():
    """Anywhere in the chain, whatever the model's first states were; all of them count."""
    occupied = markov_statistics(CHAIN, 1, 20_000, np.random.default_rng(0)).occupied
    assert_allclose(occupied.mean(0), TRUE_OCCUPANCY, rtol=0, atol=0.02)
    assert np.abs(TRUE_OCCUPANCY - 1 / 3).max() > 0.05
    # Of two samples none is a whole visit: one began before, the other goes on.
    assert not markov_statistics(CHAIN, 2, 1000, np.random.default_rng(0)).n_whole.any()
    told_apart = model(CHAIN, spread=20.0)
    told_apart.initial_probs_ = np.array([1.0, 0.0, 0.0])
    bootstrap = mne_hmm.bootstrap_statistics(
        told_apart, [0.01] * 4, n_boot=20, decode=True, random_state=0, verbose="ERROR"
    )
    # Four recordings of a sample each.
    assert bootstrap.simulated_occupancy[:, 0].mean() < 0.9
    assert set(bootstrap.simulated_occupancy.ravel()) >= {0.25, 0.5}


def test_decoded_states():
    """States that are found again in features are those of the simulation, or nearly."""
    clear = model(CHAIN, spread=2000.0)
    plain, decoded = (
        mne_hmm.bootstrap_statistics(
            clear, [30.0, 30.0], n_boot=6, decode=decode, random_state=0, verbose="ERROR"
        )
        for decode in (False, True)
    )
    assert decoded.decoded
    assert decoded.simulated_occupancy.shape == (6, 3)
    # Two means of 6; lifetimes of single simulations spread by some 15 %.
    ratio = decoded.simulated_lifetime.mean(0) / plain.simulated_lifetime.mean(0)
    assert (np.abs(ratio - 1) < 0.3).all()
    unclear = mne_hmm.bootstrap_statistics(
        model(CHAIN, spread=4.0), 30.0, n_boot=6, decode=True, random_state=0, verbose="ERROR"
    )
    # Where features say little, short visits are missed.
    assert (unclear.simulated_lifetime.mean(0) > 1.15 * plain.simulated_lifetime.mean(0)).all()


def test_decoded_signals(fitted):
    """A model of embedded data makes signals, prepares them, and finds states in them."""
    bootstrap = mne_hmm.bootstrap_statistics(
        fitted, 20.0, n_boot=2, decode=True, random_state=0, verbose="ERROR"
    )
    assert_allclose(bootstrap.simulated_occupancy.sum(1), 1)
    assert_allclose(
        bootstrap.fractional_occupancy, stationary_occupancy(fitted.transition_matrix_), rtol=1e-12
    )
    # So long as was asked for, although embedding takes samples off.
    occupied, *_ = _count_decoded(fitted, [1000], 1, np.random.default_rng(0))
    assert occupied.sum() == 1000
    # No signals are simulated with means of embedded data: features are.
    with_means = fitted.copy()
    with_means.means_[0, 0] = 1.0
    occupied, *_ = _count_decoded(with_means, [1000], 1, np.random.default_rng(0))
    assert occupied.sum() == 1000


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"hmm": "model.h5"}, TypeError, "hmm must be a model, .* got str"),
        ({"duration": -1}, ValueError, "duration must be a number of seconds above 0, or one"),
        ({"duration": []}, ValueError, "duration must be .* but it is empty"),
        ({"duration": [10.0, "a"]}, TypeError, "duration must be a number of seconds above 0"),
        ({"duration": 0.001}, ValueError, "at least a sample of the model, 0.01 s, got 0.001"),
        ({"n_boot": 1}, ValueError, "n_boot must be a whole number ≥ 2, got 1"),
        ({"confidence": 95}, ValueError, "confidence must be a share between 0 and 1, got 95"),
        ({"confidence": 1.0}, ValueError, "confidence must be .* got 1; no interval holds"),
        ({"decode": "yes"}, ValueError, "decode must be one of True, False, got 'yes'"),
        ({"random_state": -1}, ValueError, "random_state must be None"),
    ],
)
def test_errors(changes, kind, message):
    arguments = {"hmm": model(CHAIN), "duration": 10.0, **changes}
    with pytest.raises(kind, match=message):
        mne_hmm.bootstrap_statistics(**arguments)
