"""Models of recordings that are aligned: shared states, and the way back to own channels."""

from dataclasses import replace

import mne
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import expm

import mne_hmm
from mne_hmm import Preparation
from mne_hmm.preparation.embedding import embed
from mne_hmm.preparation.patterns import feature_patterns, input_filters
from mne_hmm.states.agreement import cross_table
from mne_hmm.states.matching import best_match

SFREQ = 250.0
SETTINGS = Preparation(n_components=18)
ALIGNED = replace(SETTINGS, align="euclidean")


def spd(rng, n, size):
    """Draw a mixing that is symmetric and positive, as that of neighbors is."""
    x = size * rng.standard_normal((n, n))
    return expm((x + x.T) / 2)


def simulate(n_recordings, seconds, n_channels, seed, **kwargs):
    """Cut a recording with known states into several; give them and their states."""
    raw, truth = mne_hmm.simulate_raw(
        3, n_channels=n_channels, duration=n_recordings * seconds, snr=4.0, mean_lifetime=0.4,
        random_state=seed, **kwargs,
    )  # fmt: skip
    return (
        np.split(raw.get_data(), n_recordings, axis=1),
        np.split(truth.labels, n_recordings),
    )


def share_right(states, truth):
    """Share of the samples of all recordings in their true state, with one matching for all."""
    table = sum(
        cross_table(course.labels[course.labels >= 0], labels[course.labels >= 0], 3, 3)
        for course, labels in zip(states, truth, strict=True)
    )
    return table[np.arange(3), best_match(table)].sum() / table.sum()


def fit(arrays, settings, **kwargs):
    """Train quickly."""
    options = {"n_init": 1, "refine": False, "random_state": 0, "sfreq": SFREQ}
    return mne_hmm.fit_hmm(arrays, 3, preparation=settings, **(options | kwargs))


@pytest.fixture(scope="module")
def group():
    """Five recordings of the same states, each mixed in its own way, and the truth."""
    arrays, truth = simulate(5, 16.0, 6, seed=3)
    rng = np.random.default_rng(0)
    return [spd(rng, 6, 0.7) @ x for x in arrays], truth


@pytest.fixture(scope="module")
def model(group):
    """A model of the aligned group."""
    return fit(group[0], ALIGNED)


# States that are shared


def test_states_are_recordings_unless_these_are_aligned(group, model):
    """Without alignment a warning says so; with it nine samples of ten are right everywhere."""
    arrays, truth = group
    with pytest.warns(RuntimeWarning, match="States may be recordings") as caught:
        hmm = fit(arrays, SETTINGS)
    text = str(caught[0].message)
    assert 'Preparation(align="euclidean")' in text
    assert "group=" in text
    assert hmm.explained_by_recording_ > 0.8
    assert share_right(hmm.predict(arrays, sfreq=SFREQ), truth) < 0.7
    states = model.predict(arrays, sfreq=SFREQ)
    assert share_right(states, truth) > 0.9
    assert (
        min(share_right([course], [labels]) for course, labels in zip(states, truth, strict=True))
        > 0.85
    )
    assert model.explained_by_recording_ < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("align", ["euclidean", "riemannian"])
@pytest.mark.parametrize("kind", ["symmetric", "any"])
def test_ten_recordings(align, kind):
    """The whole: ten recordings of half a minute, the search for the best optimum as it is.

    What is left after alignment is a rotation. It is small where mixings are symmetric, however
    strong, and only these are shown to make states recordings if nothing is aligned. With any
    other, not far from none, more samples are right than without alignment.
    """
    arrays, truth = simulate(10, 30.0, 8, seed=5)
    rng = np.random.default_rng(1)
    if kind == "symmetric":
        mixings = [spd(rng, 8, 0.5) for _ in arrays]
    else:
        mixings = [np.eye(8) + 0.35 * rng.standard_normal((8, 8)) for _ in arrays]
    mixed = [b @ x for b, x in zip(mixings, arrays, strict=True)]
    settings = Preparation(n_components=24)
    hmm = fit(mixed, replace(settings, align=align), refine=True, n_init=3)
    states = hmm.predict(mixed, sfreq=SFREQ)
    right = share_right(states, truth)
    assert right > 0.9
    assert (
        min(share_right([course], [labels]) for course, labels in zip(states, truth, strict=True))
        > 0.85
    )
    assert hmm.explained_by_recording_ < 0.1
    if kind == "symmetric":
        with pytest.warns(RuntimeWarning, match="States may be recordings"):
            hmm = fit(mixed, settings, refine=True, n_init=3)
        assert share_right(hmm.predict(mixed, sfreq=SFREQ), truth) < 0.7
    else:
        hmm = fit(mixed, settings, refine=True, n_init=3)
        assert share_right(hmm.predict(mixed, sfreq=SFREQ), truth) < right - 0.02


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*without any signal:RuntimeWarning")
def test_real_runs_of_one_person_lose_nothing(eegbci):
    """Fourteen runs, each aligned by itself, or together as those of one person."""
    raws = eegbci(*range(1, 15), preload=True)
    occupancy, labels = {}, {}
    cases = {"none": (None, None), "each": ("euclidean", None), "one": ("euclidean", [0] * 14)}
    for name, (align, group) in cases.items():
        prepared = mne_hmm.prepare(raws, Preparation(align=align), group=group)
        hmm = mne_hmm.fit_hmm(prepared, 6, n_init=1, refine=False, random_state=0)
        states = hmm.predict(prepared)
        dependence = mne_hmm.compute_recording_dependence(states)
        assert not dependence.are_recordings
        occupancy[name] = dependence.occupancy
        labels[name] = states
    # As one group they have the mean already, so nothing changes but for rounding.
    assert mne_hmm.compute_agreement(labels["none"], labels["one"]).kappa > 0.99
    # Runs 1 and 2 are eyes open and closed. What tells them apart does not become less.
    strongest = {}
    for name, (eyes_open, eyes_closed, *tasks) in occupancy.items():
        strongest[name] = max(np.max(eyes_closed / eyes_open), np.max(eyes_open / eyes_closed))
        alike = np.corrcoef(tasks)[np.triu_indices(12, 1)].mean()
        assert np.max(eyes_closed / eyes_open) > 3
        assert alike > 0.95  # occupancies of the twelve task runs
    assert strongest["each"] >= strongest["none"]


# New recordings, files


def test_new_recordings_and_groups(group, model):
    """One that is mixed in another way has the same states; so have pieces that go together."""
    arrays, truth = group
    rng = np.random.default_rng(9)
    new = spd(rng, 6, 0.5) @ arrays[0]
    assert share_right([model.predict(new, sfreq=SFREQ)], truth[:1]) > 0.85
    pieces = np.split(new, [3000], axis=1)
    together = model.predict(pieces, sfreq=SFREQ, group=["a", "a"])
    assert share_right(together, np.split(truth[0], [3000])) > 0.85
    on_first = model.predict(pieces, sfreq=SFREQ, align_on=pieces[0])
    assert_array_equal(
        on_first[0].probabilities, model.predict(pieces[0], sfreq=SFREQ).probabilities
    )
    assert share_right(on_first, np.split(truth[0], [3000])) > 0.85
    score = model.score(pieces, sfreq=SFREQ, group=["a", "a"])
    assert score == -model.free_energy(pieces, sfreq=SFREQ, group=["a", "a"])
    prepared = mne_hmm.prepare(pieces, model.preparation_, sfreq=SFREQ, group=["a", "a"])
    assert score == model.score(prepared)


def test_prepared_data_are_aligned_already(model, group):
    """Labels come too late for them."""
    prepared = mne_hmm.prepare(group[0][:2], model.preparation_, sfreq=SFREQ)
    for name, value in (("group", [0, 0]), ("align_on", (0, 5))):
        with pytest.raises(ValueError, match=f"{name} cannot be given with PreparedData"):
            model.predict(prepared, **{name: value})
    with pytest.raises(ValueError, match="group cannot be given with PreparedData"):
        mne_hmm.fit_hmm(prepared, 3, group=[0, 0])
    other = mne_hmm.prepare(group[0][:2], ALIGNED, sfreq=SFREQ)
    with pytest.raises(ValueError, match="prepared otherwise than the model's own"):
        model.predict(other)


def test_a_model_of_groups_asks_for_them(group):
    """Where it finds states recording by recording, which would align each alone."""
    hmm = fit(group[0], ALIGNED, group=[0, 0, 1, 1, 2], max_iter=3, tol=0.5)
    info = mne.create_info([f"channel_{i}" for i in range(6)], SFREQ, "misc")
    raws = [mne.io.RawArray(x, info, verbose="ERROR") for x in group[0][:2]]
    with pytest.raises(ValueError, match=r"hmm.predict\(inst, group=...\)"):
        mne_hmm.compute_state_spectra(raws, hmm)
    states = hmm.predict(raws, group=[0, 0])
    assert mne_hmm.compute_state_spectra(raws, states).psd.shape[1] == 6
    with pytest.warns(RuntimeWarning, match="aligned one by one; pass group"):
        hmm.predict(raws)


def test_file_and_text_have_all(tmp_path, group, model):
    """The mean, the maps of the recordings and the share come back; the model tells of them."""
    model.save(tmp_path / "hmm.h5")
    again = mne_hmm.read_hmm(tmp_path / "hmm.h5")
    assert len(again.alignments_) == len(model.alignments_) == 5
    for ours, theirs in zip(again.alignments_, model.alignments_, strict=True):
        assert_array_equal(ours.content(), theirs.content())
    assert_array_equal(again.preparation_.aligned_to_, model.preparation_.aligned_to_)
    assert again.preparation_.grouped_ is False
    assert again.explained_by_recording_ == model.explained_by_recording_
    assert_array_equal(
        again.predict(group[0][1], sfreq=SFREQ).probabilities,
        model.predict(group[0][1], sfreq=SFREQ).probabilities,
    )
    share = f"{100 * model.explained_by_recording_:.0f} % of the variance of state occupancy"
    assert f"5, aligned (euclidean mean), {share} explained by recording" in str(model)


def test_models_that_align_and_others_side_by_side(group, model):
    """Groups are for those that align; what all share is prepared once."""
    other = fit(group[0][:1], SETTINGS, max_iter=2, tol=0.5)
    agreement = model.agreement(other, group[0][:2], sfreq=SFREQ, group=[0, 0])
    expected = mne_hmm.compute_agreement(
        model.predict(group[0][:2], sfreq=SFREQ, group=[0, 0]),
        other.predict(group[0][:2], sfreq=SFREQ),
    )
    assert agreement.kappa == expected.kappa
    consensus = mne_hmm.compute_consensus(
        [model, model.copy()], group[0][:2], sfreq=SFREQ, group=[0, 0]
    )
    assert_allclose(consensus.agreement, 1)
    with pytest.raises(ValueError, match="group is for recordings that are aligned"):
        other.agreement(other.copy(), group[0][:2], sfreq=SFREQ, group=[0, 0])


def test_selection_checks_groups(group):
    """Labels reach the preparation."""
    with pytest.raises(ValueError, match="2 labels for 3 recordings"):
        mne_hmm.select_n_states(group[0][:3], [2], preparation=ALIGNED, sfreq=SFREQ, group=[0, 1])


@pytest.mark.slow
def test_selection_aligns(group):
    """The share that is explained by recording is known for each number, and told of once."""
    options = {"n_folds": 2, "n_repeats": 1, "n_init": 1, "random_state": 0, "sfreq": SFREQ}
    selection = mne_hmm.select_n_states(
        group[0], [3], preparation=ALIGNED, group=range(5), **options
    )
    assert (selection.explained_by_recording < 0.3).all()
    assert "explained_by_recording" in selection.to_data_frame()
    with pytest.warns(RuntimeWarning, match="States may be recordings in 1 of 1 fits"):
        selection = mne_hmm.select_n_states(group[0], [3], preparation=SETTINGS, **options)
    assert (selection.explained_by_recording > 0.5).all()


# Back to the channels of each recording


def z_scored(x):
    """Z-score of each channel."""
    return (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)


def filtered(x):
    """What the preparation filters, by MNE-Python."""
    return mne.filter.filter_data(x, SFREQ, 1.0, 45.0, verbose="ERROR")


@pytest.mark.parametrize("align", ["euclidean", "riemannian"])
def test_covariances_and_means_in_own_channels(group, align):
    """Of one lag and all components they are those of the recording's own z-scores, exactly."""
    arrays = [filtered(x) for x in group[0][:3]]
    # Means of states that are not zero.
    arrays = [x + np.repeat([[0.0], [2.0]], 3, axis=0) * x.std() * envelope for x, envelope in zip(
        arrays, [np.sign(np.sin(np.arange(4000) / 90))] * 3, strict=True)]  # fmt: skip
    settings = replace(Preparation.standardized(), align=align)
    hmm = fit(arrays, settings, max_iter=4, tol=0.1)
    (dual, *_) = hmm.dual_estimate(arrays, sfreq=SFREQ)
    weights = hmm.predict(arrays[0], sfreq=SFREQ).probabilities
    x = z_scored(arrays[0])
    got = mne_hmm.model_autocovariance(hmm, dual=dual)
    maps = mne_hmm.mean_maps(hmm, dual=dual)
    for state, state_weights in enumerate(weights):
        mean = x @ state_weights / state_weights.sum()
        covariance = (x * state_weights) @ x.T / state_weights.sum() - np.outer(mean, mean)
        # Signals and features were rounded to float32.
        assert_allclose(got.covariances[state], covariance, rtol=0, atol=1e-4)
        assert_allclose(maps.values[state], mean, rtol=0, atol=1e-4)
    # Those of the mean are others, and lie apart by the map of the recording.
    of_mean = mne_hmm.model_autocovariance(hmm)
    aligned = mne_hmm.model_autocovariance(hmm, alignment=hmm.alignments_[0])
    back = hmm.alignments_[0].from_mean
    assert_allclose(aligned.covariances, back @ of_mean.covariances @ back.T, rtol=0, atol=1e-10)
    assert np.abs(aligned.covariances - of_mean.covariances).max() > 0.1
    aligned = mne_hmm.mean_maps(hmm, alignment=hmm.alignments_[0])
    assert_allclose(aligned.values, mne_hmm.mean_maps(hmm).values @ back.T, rtol=0, atol=1e-10)


@pytest.mark.parametrize("align", ["euclidean", "riemannian"])
def test_embedded_covariances_in_own_channels(group, align):
    """With lags the sum over states is the covariance of the recording at zero lag, nearly."""
    settings = replace(SETTINGS, align=align, n_components=60)
    hmm = fit(group[0], settings, max_iter=4, tol=0.1)
    for x, dual in zip(group[0], hmm.dual_estimate(group[0], sfreq=SFREQ), strict=True):
        expected = np.corrcoef(filtered(x))
        individual = mne_hmm.model_autocovariance(hmm, dual=dual)
        total = np.tensordot(dual.weights / dual.weights.sum(), individual.covariances, 1)
        # Features of each recording are standardized, but go back by the deviations of all.
        assert np.abs(total - expected).max() < 0.12
        elsewhere = mne_hmm.model_autocovariance(hmm, dual=replace(dual, alignment=None))
        total = np.tensordot(dual.weights / dual.weights.sum(), elsewhere.covariances, 1)
        assert np.abs(total - expected).max() > 0.25
        mean = hmm.preparation_.aligned_to_
        assert np.abs(total - mean).max() < 0.12


def test_one_of_several_prepared_recordings(group, model):
    """A recording that is taken out of prepared data keeps its map to the mean channels."""
    prepared = mne_hmm.prepare(group[0], ALIGNED, sfreq=SFREQ)
    together = model.dual_estimate(prepared)
    for index, expected in enumerate(together):
        for recording in (prepared[index], prepared[index - 5], prepared.recording(index)):
            (alone,) = model.dual_estimate(recording)
            assert_array_equal(alone.alignment.content(), prepared.alignments[index].content())
            assert_array_equal(alone.covariances, expected.covariances)
            individual = mne_hmm.model_autocovariance(model, dual=alone)
            both = mne_hmm.model_autocovariance(model, dual=expected)
            assert_array_equal(individual.covariances, both.covariances)


def test_filters_of_own_channels_make_the_features(group, model):
    """Weights on the recording's own embedded channels give what was prepared; patterns invert."""
    prepared = mne_hmm.prepare(group[0], ALIGNED, sfreq=SFREQ)
    alignment = prepared.alignments[2]
    by_lag = input_filters(prepared.preparation).reshape(6, 15, 18)
    filters = np.einsum("ci,cjd->ijd", alignment.to_mean, by_lag).reshape(6 * 15, 18)
    embedded = embed(z_scored(filtered(group[0][2])).T, 15)
    features = embedded @ filters
    for ours, theirs in zip(features.T, prepared.data[2].T, strict=True):
        assert np.corrcoef(ours, theirs)[0, 1] > 1 - 1e-8
    patterns = feature_patterns(prepared.preparation, alignment)
    assert_allclose(filters.T @ patterns, np.eye(18), rtol=0, atol=1e-5)


def test_spectra_of_a_model_in_own_channels(group, model):
    """Densities of the mean's channels go to the recording's by its map; powers become its own."""
    of_mean = mne_hmm.compute_model_spectra(model, resolution=2.0)
    alignment = model.alignments_[1]
    individual = mne_hmm.compute_model_spectra(model, resolution=2.0, alignment=alignment)
    back = alignment.from_mean
    expected = np.einsum("ai,kijf,bj->kabf", back, of_mean.csd, back)
    assert_allclose(individual.csd, expected, rtol=0, atol=1e-10 * np.abs(expected).max())
    # By channel and state, as of the signals themselves.
    (states,) = model.predict(group[0][1:2], sfreq=SFREQ)
    signals = z_scored(filtered(group[0][1]))
    truth = mne_hmm.compute_state_spectra(signals, states, sfreq=SFREQ, fmin=2.0, fmax=44.0)
    (dual,) = model.dual_estimate(group[0][1:2], sfreq=SFREQ)
    spectra = mne_hmm.compute_model_spectra(model, resolution=2.0, dual=dual)
    elsewhere = mne_hmm.compute_model_spectra(
        model, resolution=2.0, dual=replace(dual, alignment=None)
    )

    def power(spectra):
        return spectra.power(2, 44).ravel()

    alike = np.corrcoef(power(truth), power(spectra))[0, 1]
    assert alike > 0.8
    assert alike > np.corrcoef(power(truth), power(elsewhere))[0, 1] + 0.1


def test_simulated_recordings_have_the_channels_of_the_mean(model):
    """They are aligned on themselves, as all others, and have the states they were made with."""
    raw, truth = mne_hmm.simulate_raw(model=model, duration=30.0, random_state=1)
    covariance = np.corrcoef(raw.get_data())
    mean = model.preparation_.aligned_to_
    deviations = np.sqrt(np.diag(mean))
    expected = mean / np.outer(deviations, deviations)
    # Half a minute is no long time, and components leave something out.
    assert np.abs(covariance - expected).max() < 0.35
    agreement = mne_hmm.compute_agreement(model.predict(raw), truth)
    assert agreement.kappa > 0.5


@pytest.mark.parametrize(
    ("alignment", "error", "says"),
    [
        (np.eye(6), TypeError, "must be the map of a recording, got ndarray.*hmm.alignments_"),
        (mne_hmm.Alignment(np.eye(3), np.eye(3)), ValueError, "a map of 3 channels, but the .* 6"),
    ],
)
def test_wrong_maps(model, alignment, error, says):
    """The error says where to take one from."""
    with pytest.raises(error, match=says):
        mne_hmm.model_autocovariance(model, alignment=alignment)
    with pytest.raises(error, match=says):
        mne_hmm.compute_model_spectra(model, alignment=alignment)


def test_models_that_do_not_align_have_no_maps(fitted):
    """A map of another model is not applied to them."""
    alignment = mne_hmm.Alignment(np.eye(8), np.eye(8))
    with pytest.raises(ValueError, match=r"preparation_\.align=None"):
        mne_hmm.model_autocovariance(fitted, alignment=alignment)
    assert fitted.alignments_ == []
    assert np.isnan(fitted.explained_by_recording_)
