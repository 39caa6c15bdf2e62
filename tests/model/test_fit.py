"""One call from recordings to a trained model."""

import itertools

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm.cli.demo import match_labels

SMALL = mne_hmm.Preparation(n_components=12)


def sampled_chain(seed=0, n_samples=16_000):
    """Draw a sequence from four Gaussian states in ten dimensions."""
    rng = np.random.default_rng(seed)
    n_states, n_features = 4, 10
    # A cycle, so that a transposed matrix is another one.
    transition = 0.95 * np.eye(n_states) + 0.03 * np.roll(np.eye(n_states), 1, axis=1) + 0.005
    means = rng.normal(0, 1.0, (n_states, n_features))
    factors = rng.normal(0, 1, (n_states, n_features, n_features)) / 3 + np.eye(n_features)
    cumulative = transition.cumsum(1)
    draws = rng.random(n_samples)
    states = np.zeros(n_samples, int)
    for t in range(1, n_samples):
        states[t] = min(np.searchsorted(cumulative[states[t - 1]], draws[t]), n_states - 1)
    noise = rng.standard_normal((n_samples, n_features))
    x = means[states] + np.einsum("tij,tj->ti", factors[states], noise)
    return x.T, states, transition


def test_known_model_is_recovered():
    """Samples from a known model: right states, right transition matrix."""
    x, states, transition = sampled_chain()
    hmm = mne_hmm.fit_hmm(
        x, 4, sfreq=100.0, preparation=mne_hmm.Preparation.as_is(), random_state=0
    )
    labels = hmm.predict(x, sfreq=100.0).labels
    order, shared = match_labels(labels, states, 4)
    assert shared[np.arange(4), order].sum() >= 0.97 * len(states)
    recovered = hmm.transition_matrix_[np.ix_(order, order)]
    # With 16,000 samples, 4,000 per state, an entry of 0.955 is known to 0.003.
    assert_allclose(recovered, transition, rtol=0, atol=0.01)
    assert hmm.learned.means  # nothing was embedded


def test_simulated_states_are_recovered(simulated, fitted):
    """Networks of a minute of simulated parcels are found again."""
    raw, truth = simulated
    states = fitted.predict(raw)
    order, shared = match_labels(states.labels, truth.labels, 3)
    assert shared[np.arange(3), order].sum() >= 0.9 * shared.sum()
    assert not fitted.learned.means  # embedded features have zero means
    assert_array_equal(fitted.means_, 0)


def test_same_seed_same_bits(simulated, fitted):
    """The same seed gives the same model, to the last bit, and leaves global seeds alone."""
    raw, _ = simulated
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    kwargs = {"preparation": SMALL, "n_init": 2, "refine": False}
    again = mne_hmm.fit_hmm(raw, 3, random_state=3, **kwargs)
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    for name in ("initial_probs_", "transition_matrix_", "means_", "covariances_"):
        assert_array_equal(getattr(again, name), getattr(fitted, name))
    assert again.free_energy_ == fitted.free_energy_
    other = mne_hmm.fit_hmm(raw, 3, random_state=4, **kwargs | {"n_init": 1, "init": "random"})
    assert not np.array_equal(other.covariances_, fitted.covariances_)


def test_free_energy_never_rises(simulated):
    """Exact EM on simulated data, down to where only rounding is left."""
    raw, _ = simulated
    # From given labels all updates are on all data, and in the course.
    labels = np.random.default_rng(1).integers(0, 3, 14986)
    hmm = mne_hmm.fit_hmm(raw, 3, preparation=SMALL, init=labels, tol=0)
    course = hmm.history_["free_energy"]
    assert hmm.converged_
    # Densities are computed in float32: 1e-7 of the value is rounding.
    assert np.diff(course).max() <= 1e-7 * np.abs(course).max()
    assert abs(course[-1] - course[-2]) <= 1e-7 * course[-1]
    assert course[0] - course[-1] > 0.1


def test_training_that_has_not_settled_says_so(simulated):
    """Too few updates are a warning, and the model is marked."""
    raw, _ = simulated
    labels = np.random.default_rng(1).integers(0, 3, 14986)
    with pytest.warns(RuntimeWarning, match="had not settled after max_iter=2 updates") as caught:
        hmm = mne_hmm.fit_hmm(raw, 3, preparation=SMALL, init=labels, max_iter=2)
    assert caught[0].filename == __file__  # it points at the user's line
    assert not hmm.converged_
    assert len(hmm.history_["free_energy"]) == 3


def test_history_tells_every_start(fitted):
    """Every start is told, one was kept, and its course goes on in the whole course."""
    starts = fitted.history_["starts"]
    assert [start["init"] for start in starts] == ["kmeans", "kmeans"]
    assert sum(start["kept"] for start in starts) == 1
    kept = next(start for start in starts if start["kept"])
    assert kept["free_energy"][-1] == min(start["free_energy"][-1] for start in starts)
    # Starts are brief, and on a part of the data.
    course = fitted.history_["free_energy"]
    assert course[-1] == fitted.free_energy_
    n_part = sum(len(start["free_energy"]) for start in starts)
    assert len(course) < fitted.history_["n_passes"] <= len(course) + n_part
    assert len(fitted.history_["seconds"]) == len(course)
    assert fitted.history_["moves"] == []


# Of a random start that ends in a poor optimum; to be replaced if the random numbers change.
SEED_THAT_GETS_STUCK = 8


def test_refinement_leads_out_of_a_local_optimum():
    """From a poor start, moves find what a good start finds, and are told."""
    rng = np.random.default_rng(1)
    # As many states and features as in the test above, so that nothing is compiled again.
    labels = np.repeat(rng.integers(0, 4, 300), 40)
    factors = rng.normal(0, 1, (4, 10, 10)) / 2 + np.eye(10)
    x = np.einsum("tij,tj->it", factors[labels], rng.standard_normal((len(labels), 10)))
    prepared = mne_hmm.prepare(x, mne_hmm.Preparation.as_is(), sfreq=100.0)
    kwargs = {"learn_means": False, "random_state": SEED_THAT_GETS_STUCK}
    best = mne_hmm.fit_hmm(prepared, 4, init=labels, **kwargs)
    kwargs |= {"init": "random", "n_init": 1}
    stuck = mne_hmm.fit_hmm(prepared, 4, refine=False, **kwargs)
    # This start ends with two states in one; if it no longer does, take another seed.
    assert stuck.free_energy_ > best.free_energy_ + 0.1
    assert stuck.history_["moves"] == []
    refined = mne_hmm.fit_hmm(prepared, 4, **kwargs)
    # Both have settled in the same optimum, each to tol of its own decrease.
    assert_allclose(refined.free_energy_, best.free_energy_, rtol=0, atol=1e-3)
    moves = refined.history_["moves"]
    # Moves were followed on windows, those of the last round to no use.
    of_windows = [move for move in moves if not move.get("all_data")]
    assert 0 <= sum(move["kept"] for move in of_windows) < len(of_windows)
    for move in of_windows:
        assert 0 <= move["split"] < 4
        i, j = move["merged"]
        assert 0 <= i < j <= 4
    assert [start["n_states"] for start in refined.history_["starts"]] == [4]
    assert refined.history_["search"] == {"n_starts": 1, "n_same": 1, "complete": True}
    assert stuck.history_["search"] == {}


def test_refinement_keeps_to_what_is_given(simulated, fitted):
    """No states are moved where the user says where to start or what to hold."""
    raw, _ = simulated
    kwargs = {"preparation": SMALL, "n_init": 1, "random_state": 0}
    for initialization in (
        {"init": fitted},
        {"learn_transitions": False},
        {"learn_covariances": False, "learn_means": True},
    ):
        hmm = mne_hmm.fit_hmm(raw, 3, refine=True, **kwargs, **initialization)
        assert hmm.history_["moves"] == []


def test_free_energy_and_score_of_the_training_data(simulated, fitted):
    """What training reports is what the model says of the same data afterwards."""
    raw, _ = simulated
    # Training works in coordinates of its own and in float32: 1e-6 of some 15 nats.
    assert_allclose(fitted.free_energy(raw), fitted.free_energy_, rtol=1e-6)
    assert fitted.score(raw) == -fitted.free_energy(raw)


def test_free_energy_against_float64(simulated, fitted):
    """An independent float64 recursion gives the same evidence."""
    raw, _ = simulated
    x = mne_hmm.prepare(raw, fitted.preparation_).data[0].astype(float)
    from scipy.stats import multivariate_normal

    log_b = np.stack(
        [
            multivariate_normal(mean, covariance).logpdf(x)
            for mean, covariance in zip(fitted.means_, fitted.covariances_, strict=True)
        ],
        axis=1,
    )
    message, evidence = fitted.initial_probs_, 0.0
    for i, row in enumerate(log_b):
        predicted = message if i == 0 else message @ fitted.transition_matrix_
        joint = predicted * np.exp(row - row.max())
        evidence += np.log(joint.sum()) + row.max()
        message = joint / joint.sum()
    # Densities in float32: some 1e-6 of each, which averages out over samples.
    assert_allclose(fitted.free_energy(raw), -evidence / len(x), rtol=2e-7)


def test_annotations_are_those_of_predict(simulated, fitted):
    """What training annotates is what predict finds."""
    raw, _ = simulated
    expected = fitted.predict(raw).to_annotations()
    (annotations,) = fitted.annotations_
    assert len(annotations) > 50
    # The posterior of a sample in the balance may tip by rounding.
    same = np.isin(np.round(annotations.onset * 250), np.round(expected.onset * 250))
    assert same.mean() > 0.98
    assert set(annotations.description) == {"hmm/state_0", "hmm/state_1", "hmm/state_2"}
    annotated = raw.copy().set_annotations(raw.annotations + annotations)
    assert len(annotated.annotations) == len(annotations)
    _, event_id = mne.events_from_annotations(annotated)
    assert set(event_id) == set(annotations.description)


def test_several_recordings_and_predict_shapes(simulated):
    """A list gives a list, one recording gives one; annotations are a list in both cases."""
    raw, _ = simulated
    raws = [raw.copy().crop(0, 30), raw.copy().crop(31, 59.9)]
    hmm = mne_hmm.fit_hmm(raws, 3, preparation=SMALL, n_init=1, refine=False, random_state=0)
    assert len(hmm.annotations_) == 2
    states = hmm.predict(raws)
    assert isinstance(states, list)
    assert [s.probabilities.shape for s in states] == [(3, len(r.times)) for r in raws]
    for states_of, annotations in zip(states, hmm.annotations_, strict=True):
        expected = states_of.to_annotations()
        # The posterior of a sample in the balance may tip by rounding.
        assert np.isin(np.round(annotations.onset, 3), np.round(expected.onset, 3)).mean() > 0.95
        assert len(annotations) > 20
    alone = hmm.predict(raws[1])
    assert_array_equal(alone.labels, states[1].labels)
    (listed,) = hmm.predict([raws[1]])
    assert_array_equal(listed.labels, alone.labels)


def test_prepared_data_go_wherever_recordings_go(simulated):
    """Prepared or not, the model is the same."""
    raw, _ = simulated
    prepared = mne_hmm.prepare(raw, SMALL)
    kwargs = {"n_init": 1, "refine": False, "random_state": 0}
    from_prepared = mne_hmm.fit_hmm(prepared, 3, **kwargs)
    from_raw = mne_hmm.fit_hmm(raw, 3, preparation=SMALL, **kwargs)
    assert_array_equal(from_prepared.covariances_, from_raw.covariances_)
    (states,) = from_prepared.predict(prepared)
    assert_array_equal(states.labels, from_raw.predict(raw).labels)
    halves = [
        mne_hmm.prepare(part, prepared.preparation)
        for part in (raw.copy().crop(0, 30), raw.copy().crop(31, 59))
    ]
    of_halves = mne_hmm.fit_hmm(halves, 3, **kwargs)
    assert len(of_halves.annotations_) == len(of_halves.predict(halves)) == 2


def test_viterbi_is_the_best_path(simulated, fitted):
    """The path has probabilities of 0 and 1 and mostly agrees with the posterior."""
    raw, _ = simulated
    path = fitted.predict(raw, method="viterbi")
    posterior = fitted.predict(raw)
    modeled = path.labels >= 0
    assert_array_equal(modeled, posterior.labels >= 0)
    assert set(np.unique(path.probabilities[:, modeled])) == {0.0, 1.0}
    assert_array_equal(path.probabilities[:, modeled].argmax(0), path.labels[modeled])
    assert np.mean(path.labels == posterior.labels) > 0.97


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
@pytest.mark.parametrize("learn_means", [True, False])
def test_forms_of_the_model(simulated, covariance_type, learn_means):
    """All forms train, and hold what they promise."""
    raw, _ = simulated
    hmm = mne_hmm.fit_hmm(
        raw,
        3,
        preparation=SMALL,
        covariance_type=covariance_type,
        learn_means=learn_means,
        n_init=1,
        refine=False,
        random_state=0,
    )
    assert np.any(hmm.means_ != 0) == learn_means
    off_diagonal = hmm.covariances_ * (1 - np.eye(12))
    assert np.any(off_diagonal != 0) == (covariance_type == "full")
    assert_allclose(hmm.free_energy(raw), hmm.free_energy_, rtol=1e-6)


def test_initial_values_and_what_is_not_learned(simulated, fitted):
    """What is given and not learned stays; what is given and learned is where it starts."""
    raw, _ = simulated
    initialization = {
        "initial_covariances": fitted.covariances_,
        "initial_transition_matrix": fitted.transition_matrix_,
        "initial_probs": fitted.initial_probs_,
    }
    kept = mne_hmm.fit_hmm(
        raw,
        3,
        preparation=SMALL,
        initial_means=np.zeros((3, 12)),
        learn_covariances=False,
        learn_transitions=False,
        random_state=0,
        **initialization,
    )
    assert_allclose(kept.covariances_, fitted.covariances_, rtol=1e-12)
    assert_allclose(kept.transition_matrix_, fitted.transition_matrix_, rtol=1e-12)
    assert_allclose(kept.initial_probs_, fitted.initial_probs_, rtol=0, atol=1e-12)
    assert_allclose(kept.free_energy_, fitted.free_energy_, rtol=1e-6)
    onward = mne_hmm.fit_hmm(
        raw, 3, preparation=SMALL, initial_means=np.zeros((3, 12)), random_state=0, **initialization
    )
    assert_allclose(onward.history_["free_energy"][0], fitted.free_energy_, rtol=1e-6)
    assert len(onward.history_["starts"]) == 1
    means = np.full((3, 12), 0.25)
    with_means = mne_hmm.fit_hmm(
        raw, 3, preparation=SMALL, initial_means=means, n_init=1, random_state=0
    )
    assert_allclose(with_means.means_, means, rtol=1e-12)


def test_start_from_a_model_and_from_labels(simulated, fitted):
    """Another model, or a state for every prepared sample, is where training starts."""
    raw, truth = simulated
    onward = mne_hmm.fit_hmm(raw, 3, preparation=SMALL, init=fitted, random_state=0)
    assert_allclose(onward.history_["free_energy"][0], fitted.free_energy_, rtol=1e-6)
    labels = truth.labels[7:-7]  # what 15 lags leave
    hmm = mne_hmm.fit_hmm(raw, 3, preparation=SMALL, init=labels, random_state=0)
    decoded = hmm.predict(raw).labels
    both = decoded >= 0
    # States keep the numbers they start with.
    assert np.mean(decoded[both] == truth.labels[both]) > 0.9


def test_state_that_loses_all_samples(simulated):
    """A state far from all data is said to be lost, and nothing is NaN."""
    raw, _ = simulated
    prepared = mne_hmm.prepare(raw, SMALL)
    means = np.zeros((3, 12))
    means[2] = 1e4
    with pytest.warns(RuntimeWarning, match="state_2 lost all samples"):
        hmm = mne_hmm.fit_hmm(
            prepared,
            3,
            initial_means=means,
            initial_covariances=np.stack([np.eye(12), 2 * np.eye(12), np.eye(12)]),
            learn_means=True,
            random_state=0,
        )
    for name in ("initial_probs_", "transition_matrix_", "means_", "covariances_"):
        assert np.isfinite(getattr(hmm, name)).all()
    assert_allclose(hmm.transition_matrix_.sum(1), 1, rtol=1e-12)
    (states,) = hmm.predict(prepared)
    assert states.statistics().fractional_occupancy[2] == 0


def test_rank_deficient_data(simulated):
    """Average-referenced channels train with one warning, and the same states come out."""
    raw, _ = simulated
    data = raw.get_data()
    referenced = data - data.mean(0)
    preparation = mne_hmm.Preparation(n_embeddings=1, n_components=None)
    kwargs = {
        "sfreq": 250.0,
        "preparation": preparation,
        "learn_means": False,
        "refine": False,
        "random_state": 0,
    }
    with pytest.warns(RuntimeWarning, match="8 channels have rank 7") as caught:
        hmm = mne_hmm.fit_hmm(referenced, 3, **kwargs)
    assert len(caught) == 1
    assert np.isfinite(hmm.free_energy_)
    without = mne_hmm.fit_hmm(referenced[:-1], 3, **kwargs)
    course = hmm.predict(referenced, sfreq=250.0)
    other = without.predict(referenced[:-1], sfreq=250.0)
    _, shared = match_labels(course.labels, other.labels, 3)
    # The last channel is minus the sum of the others: the same information.
    assert shared.max(1).sum() > 0.98 * shared.sum()


def test_rank_deficient_features_prepared_elsewhere():
    """A feature that repeats another one is said, and left out of training."""
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.integers(0, 3, 100), 50)
    x = rng.standard_normal((4, 5000)) * 4.0**labels
    x = np.concatenate([x, x[:1]])
    with pytest.warns(RuntimeWarning, match="5 channels have rank 4"):
        hmm = mne_hmm.fit_hmm(
            x,
            3,
            sfreq=100.0,
            preparation=mne_hmm.Preparation.as_is(),
            refine=False,
            random_state=0,
        )
    decoded = hmm.predict(x, sfreq=100.0).labels
    order, shared = match_labels(decoded, labels, 3)
    assert shared[np.arange(3), order].sum() > 0.97 * len(labels)
    assert np.linalg.eigvalsh(hmm.covariances_).min() > 0
    # What is added where the features do not vary hardly shows in what they do.
    state = int(np.argmax(hmm.covariances_[:, 1, 1]))
    expected = np.cov(x[:, decoded == state], bias=True)
    assert_allclose(hmm.covariances_[state], expected, rtol=0, atol=0.02 * expected.max())


def test_generator_as_seed(simulated):
    """A generator is used as it is, and moves on."""
    raw, _ = simulated
    rng = np.random.default_rng(3)
    hmm = mne_hmm.fit_hmm(raw, 3, preparation=SMALL, n_init=2, refine=False, random_state=rng)
    assert hmm.random_state is None
    assert rng.bit_generator.seed_seq.n_children_spawned == 3


WRONG = {
    "n_states is a float": ({"n_states": 2.5}, TypeError, "n_states must be a whole number ≥ 2"),
    "one state": ({"n_states": 1}, ValueError, "n_states must be a whole number ≥ 2, got 1"),
    "bool": ({"n_states": True}, TypeError, "n_states must be"),
    "tol": ({"tol": -1.0}, ValueError, "tol must be a number ≥ 0, got -1.0"),
    "max_iter": ({"max_iter": 0}, ValueError, "max_iter must be a whole number ≥ 1, got 0"),
    "n_init": ({"n_init": 0}, ValueError, "n_init must be a whole number ≥ 1, got 0"),
    "covariance_type": (
        {"covariance_type": "tied"},
        ValueError,
        "covariance_type must be one of 'full', 'diag', got 'tied'",
    ),
    "learn_means": ({"learn_means": "yes"}, ValueError, "learn_means must be one of 'auto'"),
    "seed": ({"random_state": -1}, ValueError, "random_state must be None, a non-negative"),
    "init": (
        {"init": "ward"},
        ValueError,
        "init must be one of 'kmeans', 'random', 'subset', got 'ward'",
    ),
    "labels": (
        {"init": np.zeros(5, int)},
        ValueError,
        r"a whole number for each of the 14,986 prepared samples, got int64 of shape \(5,\)",
    ),
    "labels out of range": (
        {"init": np.full(14_986, 3)},
        ValueError,
        "init must hold states from 0 to 2, got 3 to 3",
    ),
    "shape": (
        {"initial_means": np.zeros((2, 12))},
        ValueError,
        r"initial_means must have shape \(3, 12\), got \(2, 12\)",
    ),
    "rows": (
        {"initial_transition_matrix": np.full((3, 3), 0.3)},
        ValueError,
        "initial_transition_matrix must hold probabilities that sum to 1",
    ),
    "probabilities": (
        {"initial_probs": [1.5, -0.5, 0.0]},
        ValueError,
        "initial_probs must hold probabilities",
    ),
    "covariances": (
        {"initial_covariances": np.stack([np.eye(12), np.eye(12), -np.eye(12)])},
        ValueError,
        "initial_covariances must be symmetric and positive definite, but that of state 2",
    ),
    "not finite": (
        {"initial_means": np.full((3, 12), np.nan)},
        ValueError,
        "initial_means must hold finite numbers",
    ),
    "picks": ({"picks": "data"}, ValueError, "picks cannot be given with PreparedData"),
    "preparation": ({"preparation": SMALL}, ValueError, "preparation cannot be given with Prepa"),
}


@pytest.fixture(scope="module")
def prepared(simulated):
    """Prepare the recording once."""
    return mne_hmm.prepare(simulated[0], SMALL)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(prepared, name):
    """Every wrong argument is named, with the rule and the value."""
    changes, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        mne_hmm.fit_hmm(**{"inst": prepared, "n_states": 3, "random_state": 0, **changes})


def test_more_states_than_the_data_can_feed(prepared):
    """The free parameters are counted, and a number that fits is named."""
    short = mne_hmm.PreparedData(
        [prepared.data[0][:60]], prepared.preparation, prepared.time_maps, prepared.names
    )
    # A state costs 12 * 13 / 2 numbers, and k of them (k - 1) (k + 1) for the chain.
    assert 9 * 78 + 80 > 60 * 12 >= 8 * 78 + 63
    with pytest.raises(ValueError, match=r"n_states=9 has 782 free.*720 values; use n_states≤8"):
        mne_hmm.fit_hmm(short, 9)


def test_mixed_with_prepared(simulated, prepared):
    """PreparedData and recordings in one list, or prepared one by one, are refused."""
    raw, _ = simulated
    with pytest.raises(TypeError, match="PreparedData are mixed with others"):
        mne_hmm.fit_hmm([raw, prepared], 3)
    another, _ = mne_hmm.simulate_raw(3, n_channels=8, duration=20.0, random_state=4)
    other = mne_hmm.prepare(another, SMALL)
    with pytest.raises(ValueError, match="prepare all recordings in one call"):
        mne_hmm.fit_hmm([prepared, other], 3)


def test_predict_refuses_what_does_not_fit(simulated, fitted, prepared):
    """Missing channels, other preparations and unknown methods are named."""
    raw, _ = simulated
    with pytest.raises(ValueError, match="lacks parcel_02, parcel_05, which the model was trained"):
        fitted.predict(raw.copy().drop_channels(["parcel_02", "parcel_05"]))
    with pytest.raises(ValueError, match="has 3 channels, but the model was trained on 8"):
        fitted.predict(raw.get_data()[:3], sfreq=250.0)
    other = mne_hmm.prepare(raw, mne_hmm.Preparation(n_components=12, h_freq=30.0))
    with pytest.raises(ValueError, match=r"use mne_hmm.prepare\(recordings, hmm.preparation_\)"):
        fitted.predict(other)
    with pytest.raises(ValueError, match="method must be one of 'posterior', 'viterbi', got 'map'"):
        fitted.predict(raw, method="map")


def test_predict_reorders_channels(simulated, fitted):
    """Channels are found by name, in any order, and others are not used."""
    raw, _ = simulated
    extra = mne.io.RawArray(
        np.ones((1, len(raw.times))), mne.create_info(["EOG"], 250.0, "eog"), verbose="ERROR"
    )
    names = raw.ch_names
    for order in itertools.islice(itertools.permutations(range(8)), 1, 40_000, 13_000):
        shuffled = raw.copy().reorder_channels([names[i] for i in order])
        shuffled.add_channels([extra.copy()])
        assert_array_equal(fitted.predict(shuffled).labels, fitted.predict(raw).labels)


def test_bad_spans_are_not_modeled(simulated, fitted):
    """States stop short of a bad span by what the embedding takes."""
    raw, _ = simulated
    raw = raw.copy().set_annotations(mne.Annotations([20.0], [2.0], ["BAD_move"]))
    states = fitted.predict(raw)
    assert states.spans == [(7, 4993), (5507, 14_993)]
    assert np.isnan(states.probabilities[:, 4993:5507]).all()
    everywhere = fitted.predict(raw, reject_by_annotation=False)
    assert everywhere.spans == [(7, 14_993)]
