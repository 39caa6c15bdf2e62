"""The transformer: scikit-learn's own checks, numbers by another way, classes told apart."""

import copy
import sys

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import fractional_matrix_power, logm
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import mne_hmm
from mne_hmm.model.file import Learned
from mne_hmm.model.recording_features import KINDS, TangentSpace, transitions_of
from mne_hmm.sklearn import HMMTransformer
from mne_hmm.states.matching import compare_states

AS_IS = mne_hmm.Preparation.as_is()
SFREQ = 100.0
QUICK = {"preparation": AS_IS, "sfreq": SFREQ, "n_init": 1, "refine": False, "tol": 1e-2}


def model(variances, stay=0.9, means=None, covariance_type="full"):
    """Make a model of features as they are, from the variances (n_states, n_channels)."""
    covariances = np.array([np.diag(diagonal) for diagonal in np.atleast_2d(variances)], float)
    n_states, n_channels = covariances.shape[:2]
    transitions = np.full((n_states, n_states), (1 - stay) / (n_states - 1))
    np.fill_diagonal(transitions, stay)
    names = tuple(f"channel_{i}" for i in range(n_channels))
    preparation = mne_hmm.FittedPreparation(
        **AS_IS.settings, ch_names_=names, rank_=n_channels, sfreq_=SFREQ
    )
    return mne_hmm.HMM(
        np.full(n_states, 1 / n_states),
        transitions,
        np.zeros((n_states, n_channels)) if means is None else means,
        covariances,
        preparation,
        learned=Learned(False, covariance_type=covariance_type),
    )


# Scikit-learn's own checks

REASONS = {
    "check_estimators_dtypes": "among its rows of five small whole numbers are constant ones, and "
    "recordings that are flat are refused; see test_kinds_of_numbers",
}
GIVEN = HMMTransformer(hmm=model([[0.5], [5.0]]), sfreq=SFREQ)
TRAINED = HMMTransformer(2, verbose="ERROR", **QUICK)


@pytest.mark.slow
@parametrize_with_checks([GIVEN, TRAINED], expected_failed_checks=lambda _: REASONS)
def test_estimator_checks(estimator, check):
    """All of them, with a model that is there and with one that is trained each time."""
    check(estimator)


# The checks mix tables and arrays.
@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names")
@pytest.mark.parametrize(
    "name",
    [
        "check_no_attributes_set_in_init",
        "check_estimators_unfitted",
        "check_get_params_invariance",
        "check_set_params",
        "check_complex_data",
        "check_estimator_sparse_array",
        "check_estimators_nan_inf",
        "check_fit2d_1feature",
        "check_fit2d_predict1d",
        "check_n_features_in_after_fitting",
        "check_transformer_data_not_an_array",
        "check_methods_subset_invariance",
        "check_estimators_pickle",
        # Those that scikit-learn keeps for its own estimators.
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
        pytest.param("check_set_output_transform_pandas", marks=pytest.mark.slow),
    ],
)
def test_some_estimator_checks(name):
    """One of each kind, quickly."""
    with mne.use_log_level("ERROR"):
        getattr(estimator_checks, name)("HMMTransformer", clone(GIVEN))


def test_kinds_of_numbers():
    """What is stored in other ways gives the same features."""
    x = np.random.default_rng(0).integers(-9, 9, (4, 1, 200))
    expected = GIVEN.fit_transform(x.astype(float))
    for kind in (">f8", np.float32, np.int16, object):
        assert_allclose(clone(GIVEN).fit_transform(x.astype(kind)), expected, rtol=1e-6)
    assert_array_equal(clone(GIVEN).fit_transform(np.asfortranarray(x, float)), expected)


# The numbers


def recordings(n, rng, stay=(0.9, 0.9), n_samples=600):
    """Two channels, each louder in one of two states."""
    out = []
    for _ in range(n):
        labels, state = np.empty(n_samples, int), 0
        for t in range(n_samples):
            state = state if rng.random() < stay[state] else 1 - state
            labels[t] = state
        loud = np.where(labels == np.arange(2)[:, np.newaxis], 3.0, 1.0)
        out.append(rng.standard_normal((2, n_samples)) * loud)
    return out


TWO = model([[9.0, 1.0], [1.0, 9.0]])


def test_every_number():
    """Each is what the model itself says of the recording; all are finite."""
    x = recordings(3, np.random.default_rng(1))
    transformer = HMMTransformer(hmm=TWO, sfreq=SFREQ).fit(x)
    features = transformer.transform(x)
    names = transformer.get_feature_names_out()
    assert features.shape == (3, len(names)) == (3, 2 + 2 + 4 + 2 * 3)
    assert names.tolist() == [
        *("occupancy_state_0", "occupancy_state_1", "lifetime_state_0", "lifetime_state_1"),
        *(f"transition_state_{i}_to_state_{j}" for i in (0, 1) for j in (0, 1)),
        *(f"covariance_state_{k}_{entry}" for k in (0, 1) for entry in ("0_0", "0_1", "1_1")),
    ]
    for row, states, dual in zip(
        features, TWO.predict(x, sfreq=SFREQ), TWO.dual_estimate(x, sfreq=SFREQ), strict=True
    ):
        statistics = states.statistics()
        assert_allclose(row[:2], statistics.fractional_occupancy)
        assert_allclose(row[2:4], statistics.mean_lifetime)
        transitions = row[4:8].reshape(2, 2)
        assert_allclose(transitions.sum(1), 1)
        # Soft counts and those of the most probable states differ by little here.
        steps = np.zeros((2, 2))
        np.add.at(steps, (states.labels[:-1], states.labels[1:]), 1)
        assert_allclose(transitions, steps / steps.sum(1, keepdims=True), atol=0.04)
        for k in range(2):
            n = dual.weights[k] * SFREQ
            mixed = (n * dual.covariances[k] + 2 * TWO.covariances_[k]) / (n + 2)
            root = fractional_matrix_power(TWO.covariances_[k], -0.5)
            expected = logm(root @ mixed @ root)
            vector = row[8 + 3 * k : 11 + 3 * k]
            # Features are in float32.
            assert_allclose(
                vector, expected[[0, 0, 1], [0, 1, 1]] * [1, np.sqrt(2), 1], rtol=1e-4, atol=1e-5
            )
            distance = compare_states(TWO.covariances_[k : k + 1], mixed[np.newaxis], "riemannian")
            assert np.linalg.norm(vector) == pytest.approx(distance[0, 0], rel=1e-4)


def test_states_that_are_never_visited():
    """No NaN: occupancy and lifetime of 0, and what the model has for the rest."""
    far = model([[9.0, 1.0], [1.0, 9.0], [1e12, 1e12]])
    x = recordings(2, np.random.default_rng(2))
    with np.errstate(all="raise"):
        row = HMMTransformer(hmm=far, sfreq=SFREQ).fit(x).transform(x)[0]
    assert np.isfinite(row).all()
    assert row[2] == row[5] == 0
    assert_allclose(row[6:15].reshape(3, 3)[2], far.transition_matrix_[2], atol=1e-6)
    assert_allclose(row[15:].reshape(3, 3)[2], 0, atol=1e-6)
    whole = HMMTransformer(hmm=model([[9.0, 1.0], [1e12, 1e12]], 0.999), sfreq=SFREQ).fit(x)
    # One visit, which both ends of the recording cut off.
    assert_allclose(whole.transform(x)[0][:4], [1, 0, 6.0, 0])


def test_transitions_by_hand():
    probabilities = transitions_of(np.array([[8.0, 2.0], [0.0, 0.0]]), TWO)
    assert_allclose(probabilities, [[8.9 / 11, 2.1 / 11], [0.1, 0.9]])


@pytest.mark.parametrize("metric", ["riemannian", "log_euclidean"])
def test_tangent_space(metric):
    """Vectors are those of matrix logarithms, in any rank and any units."""
    rng = np.random.default_rng(3)
    group, individual = (np.cov(rng.standard_normal((4, 40))) for _ in range(2))
    hmm = model(np.ones((2, 4)))
    hmm.covariances_ = np.array([group, group])
    scale = np.sqrt(np.diag(group))

    def vector(hmm, covariance, weight):
        unknown = np.full_like(covariance, np.nan)
        vectors = TangentSpace(hmm, metric).vectors(
            np.array([covariance, unknown]), np.array([weight, 0.0])
        )
        assert_array_equal(np.isfinite(vectors), True)
        assert_allclose(vectors[1], 0, atol=1e-12)
        return vectors[0]

    mixed = (6 * individual + 4 * group) / 10
    if metric == "riemannian":
        root = fractional_matrix_power(group / np.outer(scale, scale), -0.5)
        expected = logm(root @ (mixed / np.outer(scale, scale)) @ root)
    else:
        expected = logm(mixed / np.outer(scale, scale)) - logm(group / np.outer(scale, scale))
    rows, columns = np.triu_indices(4)
    expected = expected[rows, columns] * np.where(rows == columns, 1, np.sqrt(2))
    assert_allclose(vector(hmm, individual, 6.0), expected, atol=1e-12)
    # In other units.
    units = np.array([1e-6, 1.0, 1e3, 1e-3])
    other = copy.deepcopy(hmm)
    other.covariances_ = hmm.covariances_ * np.outer(units, units)
    assert_allclose(vector(other, individual * np.outer(units, units), 6.0), expected, atol=1e-9)
    # A channel that is twice in there adds nothing to the length.
    twice = np.eye(4)[[0, 1, 2, 3, 0]]
    low = model(np.ones((2, 5)))
    low.covariances_ = twice @ hmm.covariances_ @ twice.T
    ours = vector(low, twice @ individual @ twice.T, 6.0 * 5 / 4)  # the same mixture
    if metric == "riemannian":
        assert np.linalg.norm(ours) == pytest.approx(np.linalg.norm(expected), rel=1e-9)
    # So few samples that the covariance has no inverse.
    covariance = np.outer(scale, scale)
    assert (
        np.linalg.norm(vector(hmm, covariance, 1e4))
        > np.linalg.norm(vector(hmm, covariance, 1.0))
        > 0
    )


def test_diagonal_covariances():
    """A number per feature: the logarithm of how much more variance there is."""
    hmm = model([[4.0, 1.0], [1.0, 4.0]], covariance_type="diag")
    covariances = np.array([np.diag([8.0, 1.0]), np.diag([1.0, 1.0])])
    vectors = TangentSpace(hmm, "riemannian").vectors(covariances, np.array([1e9, 1e9]))
    assert_allclose(vectors, [[np.log(2), 0], [0, -np.log(4)]], atol=1e-6)
    x = recordings(2, np.random.default_rng(4))
    transformer = HMMTransformer(hmm=hmm, features="covariances", sfreq=SFREQ).fit(x)
    assert transformer.get_feature_names_out().tolist() == [
        f"covariance_state_{k}_{i}_{i}" for k in (0, 1) for i in (0, 1)
    ]
    assert transformer.transform(x).shape == (2, 4)


# What goes in


def test_ways_in(simulated, fitted):
    """Raw objects, their arrays, object arrays and prepared data give the same rows."""
    raw, _ = simulated
    raws = [raw.copy().crop(start, start + 14.9) for start in (0, 15, 30)]
    transformer = HMMTransformer(hmm=fitted)
    expected = transformer.fit_transform(raws)
    assert not hasattr(transformer, "n_features_in_")
    several = np.empty(3, object)
    several[:] = raws
    assert_array_equal(transformer.transform(several), expected)
    prepared = mne_hmm.prepare(raws, fitted.preparation_)
    assert_array_equal(transformer.transform(prepared), expected)
    assert_array_equal(transformer.transform([prepared[2], prepared[0]]), expected[[2, 0]])
    whole = mne_hmm.HMM.copy(fitted)
    arrays = np.array([raw.get_data() for raw in raws])
    transformer = HMMTransformer(hmm=whole, sfreq=250.0).fit(arrays)
    assert transformer.n_features_in_ == 8
    assert_allclose(transformer.transform(arrays), expected, rtol=1e-9, atol=1e-12)
    assert_array_equal(transformer.transform(list(arrays)), transformer.transform(arrays))


def test_one_of_prepared(tmp_path):
    """Prepared recordings are indexed one by one, in memory or in a folder."""
    x = recordings(3, np.random.default_rng(5))
    kept = mne_hmm.prepare(x, AS_IS, sfreq=SFREQ, cache_dir=tmp_path / "prepared")
    for prepared in (mne_hmm.prepare(x, AS_IS, sfreq=SFREQ), kept):
        last = prepared[-1]
        assert (len(last), last.names, last.n_samples) == (1, ["recording 2"], 600)
        assert_array_equal(last.data[0], prepared.data[2])
        assert_allclose(TWO.score(last), TWO.score(x[2], sfreq=SFREQ))
        assert [len(each) for each in prepared] == [1, 1, 1]
        with pytest.raises(IndexError, match="there are 3 recordings, got index 3"):
            prepared[3]
        with pytest.raises(TypeError, match="indexed by the number of a recording, got slice"):
            prepared[:2]


# Pipelines


def two_classes(n_each, seed=0):
    """Recordings of two groups: in the second, state 1 is on for longer."""
    rng = np.random.default_rng(seed)
    x = recordings(n_each, rng, (0.94, 0.94)) + recordings(n_each, rng, (0.94, 0.97))
    return x, np.repeat(["control", "patient"], n_each)


def test_classes_are_told_apart():
    """Trained on other recordings each time, a classifier tells the groups, and not made-up ones.

    By chance 16 of 20 or more are right in 0.6 % of cases.
    """
    x, y = two_classes(10)
    pipeline = make_pipeline(
        HMMTransformer(2, features=("occupancy", "lifetimes"), random_state=0, **QUICK),
        StandardScaler(),
        LogisticRegression(),
    )
    folds = StratifiedKFold(2, shuffle=True, random_state=0)
    scores = cross_val_score(pipeline, x, y, cv=folds, error_score="raise")
    assert scores.mean() >= 0.8
    made_up = np.tile(["a", "b"], 10)
    assert cross_val_score(pipeline, x, made_up, cv=2).mean() < 0.75


def test_search_over_parameters():
    """GridSearchCV sets, clones and indexes, with prepared recordings as rows."""
    x, y = two_classes(6, seed=1)
    prepared = mne_hmm.prepare(x, AS_IS, sfreq=SFREQ)
    pipeline = make_pipeline(HMMTransformer(hmm=TWO), StandardScaler(), LogisticRegression())
    search = GridSearchCV(
        pipeline,
        {
            "hmmtransformer__features": ["occupancy", KINDS],
            "hmmtransformer__metric": ["log_euclidean"],
        },
        cv=2,
        error_score="raise",
    ).fit(prepared, y)
    assert search.cv_results_["mean_test_score"].max() >= 0.7
    assert len(search.cv_results_["params"]) == 2
    assert set(search.predict([prepared[0], prepared[11]])) <= {"control", "patient"}


@pytest.mark.slow
def test_eyes_open_and_closed(eegbci):
    """Five seconds of real EEG, in blocks of time that the model and the classifier do not know.

    24 segments; chance has 19 or more right in 0.3 % of cases.
    """
    segments, labels, blocks = [], [], []
    for raw, label in zip(eegbci(1, 2, preload=True), ("open", "closed"), strict=True):
        mne.datasets.eegbci.standardize(raw)
        for i_segment in range(12):
            segments.append(raw.copy().crop(5 * i_segment, 5 * i_segment + 4.99))
            labels.append(label)
            blocks.append(i_segment // 3)  # 15 s, of both runs alike
    # The filter is longer than that, so recordings are filtered before they are cut.
    pipeline = make_pipeline(
        HMMTransformer(
            4,
            features=("occupancy", "lifetimes", "transitions"),
            preparation=mne_hmm.Preparation(l_freq=None, h_freq=None, n_components=30, sfreq=160.0),
            n_init=1,
            refine=False,
            random_state=0,
            verbose="ERROR",
        ),
        StandardScaler(),
        LogisticRegression(),
    )
    scores = cross_val_score(
        pipeline, segments, labels, groups=blocks, cv=GroupKFold(4), error_score="raise"
    )
    assert scores.mean() * 24 >= 19


# Errors


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"features": "entropy"}, ValueError, "features must be one of 'occupancy', 'lifetimes'"),
        ({"features": ()}, ValueError, r"features must be different ones of .*, got \(\)"),
        ({"features": ("occupancy",) * 2}, ValueError, "features must be different ones of"),
        ({"metric": "cosine"}, ValueError, "metric must be one of 'riemannian', 'log_euclidean'"),
        ({"hmm": "model.h5"}, TypeError, "hmm must be a model, .* or None to train one, got str"),
        (
            {"hmm": TWO},
            ValueError,
            "preparation cannot be given with hmm, which has its own; leave",
        ),
        ({"n_states": 1}, ValueError, "n_states must be a whole number ≥ 2, got 1"),
    ],
)
def test_wrong_parameters(changes, kind, message):
    """Said by fit, as scikit-learn has it."""
    transformer = HMMTransformer(**{"n_states": 2, **QUICK, **changes})
    with pytest.raises(kind, match=message):
        transformer.fit(recordings(2, np.random.default_rng(6)))


def test_wrong_recordings(simulated, fitted, tmp_path):
    raw, _ = simulated
    transformer = HMMTransformer(hmm=fitted)
    with pytest.raises(TypeError, match=r"X must be a list .* got RawArray; put a single"):
        transformer.fit(raw)
    epochs = mne.make_fixed_length_epochs(raw, 10.0, preload=True, verbose="ERROR")
    with pytest.raises(TypeError, match=r"give epochs, for a row each, as \[epochs\[i\] for i"):
        transformer.fit(epochs)
    with pytest.raises(ValueError, match=r"X must be a list .* got an array of shape \(2, 2, 8"):
        transformer.fit(np.ones((2, 2, 8, 100)))
    prepared = mne_hmm.prepare([raw, raw], fitted.preparation_)
    with pytest.raises(ValueError, match="but PreparedData 0, 1 hold several; give the"):
        transformer.fit([prepared, prepared])
    for i_recording in range(2):
        np.save(tmp_path / f"{i_recording}.npy", raw.get_data())
    with pytest.raises(ValueError, match="X has 1 row, but its entries stand for 2 recordings"):
        HMMTransformer(hmm=fitted, sfreq=250.0).fit([tmp_path])
    with pytest.raises(ValueError, match="input_features should have length equal"):
        clone(GIVEN).fit(np.random.default_rng(0).random((3, 9))).get_feature_names_out(["a"])


def test_without_scikit_learn(monkeypatch):
    """Says how to install it."""
    monkeypatch.delitem(sys.modules, "mne_hmm.sklearn")
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(ImportError, match=r'sklearn is needed for mne_hmm.*"mne-hmm\[sklearn\]"'):
        import mne_hmm.sklearn  # noqa: F401
