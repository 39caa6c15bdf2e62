"""How far models agree, in how many fits states recur, and whether probabilities are true."""

import mne
import numpy as np
import pytest
from helpers import states_of
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import metrics

import mne_hmm
from mne_hmm.model.file import Learned
from mne_hmm.states.agreement import adjusted_rand_index, cohen_kappa, cross_table

CYCLE = [1, 2, 0]


@pytest.fixture(scope="module")
def labels():
    """Two sequences of three states that have much in common."""
    rng = np.random.default_rng(0)
    first = np.repeat(rng.integers(0, 3, 100), 10)
    noisy = np.where(rng.random(1000) < 0.2, rng.integers(0, 3, 1000), first)
    return first, noisy


def test_against_scikit_learn(labels):
    """Kappa, the adjusted Rand index and shares are those of scikit-learn."""
    first, second = labels
    shuffled = np.array(CYCLE)[second]  # state k of the first is CYCLE[k] of the other
    agreement = mne_hmm.compute_agreement(
        states_of(first), states_of(shuffled, names=["other_0", "other_1", "other_2"])
    )
    assert_array_equal(agreement.order, CYCLE)
    assert agreement.share_alike == pytest.approx(metrics.accuracy_score(first, second))
    assert agreement.kappa == pytest.approx(metrics.cohen_kappa_score(first, second))
    assert agreement.adjusted_rand == pytest.approx(metrics.adjusted_rand_score(first, second))
    assert_allclose(agreement.overlap, metrics.confusion_matrix(first, shuffled) / 1000)
    assert_allclose(agreement.occupancy, np.bincount(first) / 1000)
    assert_allclose(agreement.other_occupancy, np.bincount(second) / 1000)
    expected = [np.corrcoef(first == k, second == k)[0, 1] for k in range(3)]
    assert_allclose(agreement.correlation, expected, rtol=1e-12)
    frame = agreement.to_data_frame()
    assert list(frame["other"]) == ["other_1", "other_2", "other_0"]
    assert_allclose(frame["difference"], np.bincount(first) / 1000 - np.bincount(second) / 1000)
    assert f"kappa {agreement.kappa:.3f}" in str(agreement)
    assert "other_1" in str(agreement)


def test_more_and_fewer_states(labels):
    """A state without a partner is never alike."""
    first, _ = labels
    split = np.where((first == 2) & (np.arange(1000) % 3 == 0), 3, first)
    agreement = mne_hmm.compute_agreement(states_of(split, 4), states_of(first))
    assert_array_equal(agreement.order, [0, 1, 2, -1])
    assert agreement.share_alike == pytest.approx(np.mean(split != 3))
    assert agreement.kappa == pytest.approx(metrics.cohen_kappa_score(split, first))
    assert np.isnan(agreement.correlation[3])
    assert np.isnan(agreement.other_occupancy[3])
    assert agreement.to_data_frame()["other"].isna().tolist() == [False, False, False, True]
    assert "none" in str(agreement)
    turned = mne_hmm.compute_agreement(states_of(first), states_of(split, 4))
    assert_array_equal(turned.order, [0, 1, 2])
    assert turned.kappa == pytest.approx(agreement.kappa)


def test_only_what_both_model(labels):
    """Samples that one of the two does not model do not count."""
    first, second = (x.copy() for x in labels)
    first[:100], second[500:600] = -1, -1
    both = (first >= 0) & (second >= 0)
    agreement = mne_hmm.compute_agreement(states_of(first), states_of(second))
    assert agreement.share_alike == pytest.approx(np.mean(first[both] == second[both]))


def test_several_recordings(labels):
    """Recordings count by their samples."""
    first, second = labels
    whole = mne_hmm.compute_agreement(states_of(first), states_of(second))
    cut = mne_hmm.compute_agreement(
        *([states_of(x[:300]), states_of(x[300:])] for x in (first, second))
    )
    assert_allclose(cut.overlap, whole.overlap)
    assert_allclose(cut.correlation, whole.correlation, rtol=1e-12)
    assert cut.kappa == pytest.approx(whole.kappa)


def test_what_cannot_be_said():
    """One state all the time agrees by chance alone."""
    table = cross_table(np.zeros(10, int), np.zeros(10, int), 2, 2)
    assert np.isnan(cohen_kappa(table))
    assert np.isnan(adjusted_rand_index(table))


def test_agreement_of_models(fitted, simulated):
    """Two models, the other's preparation the same or not."""
    raw, _ = simulated
    agreement = fitted.agreement(fitted.reorder_states(CYCLE), raw)
    assert_array_equal(agreement.order, np.argsort(CYCLE))
    assert agreement.share_alike == 1.0
    assert_allclose(agreement.correlation, 1.0, rtol=1e-6)  # of float32
    prepared = mne_hmm.prepare(raw, fitted.preparation_)
    assert str(fitted.agreement(fitted, prepared)) == str(fitted.agreement(fitted, raw))
    elsewhere = mne_hmm.fit_hmm(
        raw,
        3,
        preparation=mne_hmm.Preparation(n_embeddings=11, n_components=10),
        n_init=1,
        refine=False,
        random_state=0,
    )
    agreement = fitted.agreement(elsewhere, raw)
    assert agreement.kappa > 0.6  # the same networks, seen through other lags
    expected = mne_hmm.compute_agreement(fitted.predict(raw), elsewhere.predict(raw))
    assert_array_equal(agreement.overlap, expected.overlap)


def test_errors_of_agreement(fitted, simulated):
    raw, truth = simulated
    with pytest.raises(
        TypeError, match=r"other must be a model, .* got StateTimeCourse; .*compute"
    ):
        fitted.agreement(truth, raw)
    with pytest.raises(TypeError, match="states must be a StateTimeCourse"):
        mne_hmm.compute_agreement(truth, fitted)
    halves = [states_of([0, 1, -1, -1], 3), states_of([-1, -1, 2, 1], 3)]
    with pytest.raises(ValueError, match="no sample of a recording in common"):
        mne_hmm.compute_agreement(*halves)


# Consensus


def test_consensus(fitted, simulated):
    """Fits that differ in order alone are one; one with a state of its own differs there."""
    raw, _ = simulated
    odd = fitted.reorder_states([2, 0, 1])
    odd.covariances_[1] *= 1e6  # state 0 of the others, and now hardly ever on
    hmms = [odd, fitted.reorder_states(CYCLE), fitted]
    # Another state takes over what it had, and is no longer quite what it was.
    consensus = mne_hmm.compute_consensus(hmms, raw, min_correlation=0.4)
    assert consensus.reference == 1
    assert_array_equal(consensus.orders[1:], [[0, 1, 2], CYCLE])
    shared = [1, 2]  # of fitted, in whose order they are compared here
    for hmm, order in zip(hmms[1:], consensus.orders[1:], strict=True):
        assert_array_equal(hmm.reorder_states(order).covariances_, hmms[1].covariances_)
    places = [CYCLE.index(state) for state in shared]
    lined_up = odd.reorder_states(consensus.orders[0])
    assert_array_equal(lined_up.covariances_[places], hmms[1].covariances_[places])
    assert consensus.recurs[1:].all()
    assert consensus.correlation[0, CYCLE.index(0)] < 0.2
    assert mne_hmm.compute_consensus(hmms, raw).recurs[0].sum() == 1
    assert_array_equal(consensus.recurrence[places], 1.0)
    assert consensus.recurrence[CYCLE.index(0)] == 0.5
    assert_allclose(consensus.agreement, consensus.agreement.T)
    assert consensus.agreement[1, 2] == 1.0
    assert consensus.agreement[0, 1] == pytest.approx(odd.agreement(fitted, raw).kappa)


def test_states_of_a_consensus(fitted, simulated):
    """Probabilities are averaged, and votes counted, once states are lined up."""
    raw, _ = simulated
    raw = raw.copy().set_annotations(mne.Annotations(10, 1, "BAD_x"))
    odd = fitted.copy()
    odd.covariances_ *= np.array([0.5, 1, 2])[:, np.newaxis, np.newaxis]
    hmms = [fitted, fitted.reorder_states(CYCLE), odd]
    consensus = mne_hmm.compute_consensus(hmms, raw, min_correlation=0.1)
    first, last = fitted.predict(raw), odd.predict(raw)
    (states,), (certainty,) = consensus.states, consensus.certainty
    assert consensus.reference == 0
    assert_allclose(states.probabilities, (2 * first.probabilities + last.probabilities) / 3,
                    rtol=0, atol=1e-6)  # fmt: skip
    decoded = first.labels >= 0
    assert_array_equal(np.isnan(certainty), ~decoded)
    assert states.spans == first.spans
    votes = 2 * (states.labels == first.labels) + (states.labels == last.labels)
    assert_allclose(certainty[decoded], votes[decoded] / 3)
    assert np.isin(np.round(certainty[decoded] * 3), [1, 2, 3]).all()
    assert 0.5 < certainty[decoded].mean() < 1
    frame = consensus.to_data_frame()
    assert_allclose(frame["occupancy"], states.statistics().fractional_occupancy)
    mean_certainty = [certainty[states.labels == k].mean() for k in range(3)]
    assert_allclose(frame["certainty"], mean_certainty)
    assert "Consensus of 3 fits" in str(consensus)
    assert "2 of 2" in str(consensus)


@pytest.mark.slow
def test_consensus_of_epochs(fitted, simulated):
    """Epochs have an axis of their own."""
    raw, _ = simulated
    epochs = mne.make_fixed_length_epochs(raw.copy().crop(0, 20), 4.0, preload=True)
    expected = fitted.predict(epochs)
    consensus = mne_hmm.compute_consensus([fitted, fitted.reorder_states(CYCLE)], epochs)
    assert_array_equal(consensus.states[0].labels, expected.labels)
    assert consensus.certainty[0].shape == expected.labels.shape == (5, 1000)
    assert expected.entropy.shape == (5, 1000)


def test_errors_of_a_consensus(fitted, simulated):
    raw, truth = simulated
    with pytest.raises(TypeError, match=r"hmms must be a list of models, .* got HMM"):
        mne_hmm.compute_consensus(fitted, raw)
    with pytest.raises(TypeError, match=r"list of models, .* got HMM, StateTimeCourse"):
        mne_hmm.compute_consensus([fitted, truth], raw)
    with pytest.raises(ValueError, match="two models or more, got 1 model"):
        mne_hmm.compute_consensus([fitted], raw)
    with pytest.raises(ValueError, match="min_correlation must be a correlation from 0 to 1"):
        mne_hmm.compute_consensus([fitted, fitted], raw, min_correlation=2)
    two = mne_hmm.HMM(
        np.ones(2) / 2,
        np.eye(2),
        fitted.means_[:2],
        fitted.covariances_[:2],
        fitted.preparation_,
        learned=fitted.learned,
    )
    with pytest.raises(ValueError, match=r"same number of states, got 3, 2; .*agreement"):
        mne_hmm.compute_consensus([fitted, two], raw)


# Entropy


def test_entropy():
    """0 where certain, log K where all are the same, by hand between, NaN where not modeled."""
    probabilities = np.array([[1.0, 1 / 3, 0.5, np.nan], [0, 1 / 3, 0.5, np.nan]])
    probabilities = np.vstack([probabilities, [0, 1 / 3, 0, np.nan]])
    states = states_of([0, 0, 1, -1], len(probabilities), probabilities=probabilities)
    assert_allclose(states.entropy, [0, np.log(3), np.log(2), np.nan], rtol=1e-12)


# Calibration


@pytest.fixture(scope="module")
def simulation():
    """A model, a recording drawn from it, and the states it was drawn from."""
    covs = np.array([np.diag([4.0, 1]), np.diag([1.0, 4]), np.diag([1.0, 1])])
    names = ("a", "b")
    preparation = mne_hmm.FittedPreparation(
        **mne_hmm.Preparation.as_is().settings, ch_names_=names, rank_=2, sfreq_=100.0
    )
    stay = np.full((3, 3), 0.05)
    np.fill_diagonal(stay, 0.9)
    hmm = mne_hmm.HMM(
        np.ones(3) / 3, stay, np.zeros((3, 2)), covs, preparation, learned=Learned(False)
    )
    features, labels = hmm.sample(14_986, random_state=0)
    raw = mne.io.RawArray(features.T, mne.create_info(list(names), 100.0, "misc"), verbose=False)
    return hmm, raw, states_of(labels)


def test_probabilities_are_what_they_say(simulation):
    """Of samples called with probability 0.8, 80 % are right."""
    hmm, raw, truth = simulation
    states = hmm.reorder_states(CYCLE).predict(raw)  # matched with the truth first
    calibration = mne_hmm.compute_calibration(states, truth)
    assert calibration.n_samples.sum() == 14_986
    assert (calibration.n_samples[4:] > 300).all()
    used = calibration.n_samples > 300
    # Three standard errors of some 1000 / 10 visits in the smallest bins.
    assert_allclose(calibration.share_right[used], calibration.probability[used], rtol=0, atol=0.04)
    assert 0.8 <= calibration.probability[8] < 0.9
    assert calibration.error < 0.015
    assert list(calibration.to_data_frame().columns) == ["probability", "share_right", "n_samples"]
    assert len(str(calibration).splitlines()) == 1 + np.sum(calibration.n_samples > 0)


def test_overconfidence_is_seen(simulation):
    """A model that takes every sample twice over says more than it knows."""
    hmm, raw, truth = simulation
    states = hmm.predict(raw)
    sharp = states.probabilities**3 / (states.probabilities**3).sum(0)
    sharper = mne_hmm.StateTimeCourse(
        sharp, states.labels, states.timeline, states.spans, states.state_names
    )
    calibration = mne_hmm.compute_calibration(sharper, truth, n_bins=5)
    assert len(calibration.probability) == 5
    assert np.isnan(calibration.probability[0])  # the most probable of three has a third or more
    assert calibration.error > 0.1
    used = calibration.n_samples > 300
    assert (calibration.probability[used] > calibration.share_right[used] + 0.05).all()


def test_errors_of_calibration(simulation):
    _, _, truth = simulation
    with pytest.raises(ValueError, match="n_bins must be a whole number from 1 to 10000, got 0"):
        mne_hmm.compute_calibration(truth, truth, n_bins=0)
    with pytest.raises(TypeError, match="states must be a StateTimeCourse"):
        mne_hmm.compute_calibration(truth, truth.labels)
