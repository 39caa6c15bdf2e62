"""Published models: how they are applied, to what, and what came with them."""

import os
import re
from dataclasses import replace

import mne
import numpy as np
import pytest

import mne_hmm
from mne_hmm.datasets.canonical import hmm_from
from mne_hmm.datasets.published import Published
from mne_hmm.preparation.embedding import embed, principal_components
from mne_hmm.preparation.prepared_data import same_features
from mne_hmm.preparation.sign_search import flips_to_template
from mne_hmm.report import _add_reference, _Page  # this part alone needs no model

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

N_LAGS = 15


@pytest.fixture(scope="session")
def cache(test_data, tmp_path_factory):
    """Cache folder in which the files of Giles38 lie already."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "canonical-hmm").mkdir()
    os.symlink(test_data / "Canonical-HMM-Networks" / "models", folder / "canonical-hmm" / "models")
    return folder


@pytest.fixture(scope="session")
def published(test_data):
    """Load one of the published arrays as it is."""
    folder = test_data / "Canonical-HMM-Networks" / "models" / "Giles38"

    def load(name):
        in_model = folder / "08_states" / f"{name}.npy"
        return np.load(in_model if in_model.exists() else folder / f"{name}.npy").astype(float)

    return load


@pytest.fixture(scope="session")
def hmm(cache):
    """The model of 38 parcels and 8 states. Shared: copy before you change it."""
    return mne_hmm.datasets.fetch_canonical_hmm("Giles38", 8, path=cache)


@pytest.fixture(scope="session")
def parcels(hmm):
    """Parcels simulated from it, long enough to tell their signs, and the true states."""
    return mne_hmm.simulate_raw(model=hmm, duration=60.0, random_state=0)


@pytest.fixture(scope="session")
def states(hmm, parcels):
    """What the model says of them."""
    return hmm.predict(parcels[0])


def test_what_is_fetched(hmm, published):
    """Parameters and preparation are those of the files."""
    preparation = hmm.preparation_
    np.testing.assert_allclose(hmm.covariances_, published("covs"), atol=1e-6)
    np.testing.assert_allclose(hmm.transition_matrix_, published("trans_prob"), atol=1e-6)
    np.testing.assert_allclose(hmm.transition_matrix_.sum(axis=1), 1, atol=1e-15)
    assert not hmm.means_.any()
    np.testing.assert_array_equal(preparation.components_, published("pca_components"))
    np.testing.assert_array_equal(preparation.template_, published("template_cov"))
    assert preparation.ch_names_[:2] == ("parcel_00", "parcel_01")
    assert (len(preparation.ch_names_), preparation.n_embeddings, preparation.sfreq_) == (
        38,
        N_LAGS,
        250.0,
    )
    assert preparation.align == "signs"
    np.testing.assert_array_equal(hmm.reference.free_energy, published("fe"))
    assert len(hmm.reference.free_energy) == 1849


def features_of(x, components):
    """Embed, project and standardize channels, all in double precision."""
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    n_rows = len(x) - N_LAGS + 1
    columns = [x[N_LAGS - 1 - j :][:n_rows, c] for c in range(x.shape[1]) for j in range(N_LAGS)]
    features = np.stack(columns, axis=1) @ components
    return (features - features.mean(axis=0)) / features.std(axis=0)


def decode(features, initial, transition, covariances):
    """Probabilities of states by the plain recursions, and the log evidence."""
    n_samples = len(features)
    log_density = np.empty((n_samples, len(initial)))
    for state, covariance in enumerate(covariances):
        distance = np.einsum("td,de,te->t", features, np.linalg.inv(covariance), features)
        log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
        log_density[:, state] = -(log_det + distance) / 2
    highest = log_density.max(axis=1, keepdims=True)
    density = np.exp(log_density - highest)
    forward, backward = np.empty_like(density), np.ones_like(density)
    evidence, message = highest.sum(), initial
    for t in range(n_samples):
        message = message * density[t]
        evidence += np.log(message.sum())
        forward[t] = message / message.sum()
        message = forward[t] @ transition
    for t in range(n_samples - 2, -1, -1):
        message = transition @ (density[t + 1] * backward[t + 1])
        backward[t] = message / message.sum()
    probabilities = forward * backward
    return probabilities / probabilities.sum(axis=1, keepdims=True), evidence


@pytest.fixture(scope="session")
def decoded(parcels, published):
    """What an independent decoder says of the same parcels, from the published files."""
    features = features_of(parcels[0].get_data().T, published("pca_components"))
    return decode(
        features,
        published("initial_state_probs"),
        published("trans_prob"),
        published("covs"),
    )


def test_states_are_found_back(states, parcels):
    """Of parcels that the model makes, it finds most samples' states; chance is an eighth."""
    has_state = states.labels >= 0
    assert has_state.sum() == 60 * 250 - 14
    assert np.mean(states.labels[has_state] == parcels[1].labels[has_state]) > 0.5


def test_probabilities_are_those_of_an_independent_decoder(states, decoded):
    """Single precision of the features is all that differs."""
    probabilities, _ = decoded
    np.testing.assert_allclose(states.probabilities[:, 7:-7].T, probabilities, rtol=0, atol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_signs_of_parcels_do_not_matter(hmm, parcels, states, seed):
    """Whatever parcels are flipped, the alignment undoes it, to the bit."""
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (38, 1))
    flipped = hmm.predict(parcels[0].get_data() * signs, sfreq=250.0)
    np.testing.assert_array_equal(flipped.probabilities, states.probabilities)


def test_without_alignment_signs_matter(hmm, parcels, states):
    """The test before can fail."""
    other = hmm.copy()
    other.preparation_ = replace(hmm.preparation_, align=None, template_=None)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (38, 1))
    flipped = other.predict(parcels[0].get_data() * signs, sfreq=250.0)
    assert np.nanmax(np.abs(flipped.probabilities - states.probabilities)) > 0.5


def test_alignment_finds_the_signs_of_the_template(simulated):
    """Signs are given back, up to all together, whichever they were."""
    raw, _ = simulated
    x = raw.get_data().T.astype(np.float32)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    columns = embed(x.astype(float), N_LAGS)
    template = np.cov(columns.T)
    rng = np.random.default_rng(0)
    for _ in range(10):
        signs = rng.choice([-1, 1], 8)
        flips, before, after = flips_to_template([x * signs.astype(np.float32)], template, N_LAGS)
        assert abs(flips @ signs) == 8
        assert after > 0.999 >= before or abs(signs.sum()) == 8


def test_in_a_folder(hmm, parcels, tmp_path):
    """Features are the same in memory and in a folder, whose preparation is the model's."""
    x = parcels[0].get_data()[:, :2000]
    both = [x, -2 * x[:, 500:]]
    alone = mne_hmm.prepare(both, hmm.preparation_, sfreq=250.0)
    folder = mne_hmm.prepare(both, hmm.preparation_, sfreq=250.0, cache_dir=tmp_path / "there")
    for i in range(2):
        np.testing.assert_array_equal(folder.data[i], alone.data[i])
    np.testing.assert_array_equal(folder.preparation.template_, hmm.preparation_.template_)
    assert same_features(folder.preparation, hmm.preparation_)
    other = replace(hmm.preparation_, template_=hmm.preparation_.template_ + 1e-3)
    assert not same_features(other, hmm.preparation_)
    with pytest.raises(ValueError, match="fitted preparation"):
        mne_hmm.prepare(both, other, sfreq=250.0, cache_dir=tmp_path / "there")


@pytest.mark.slow
def test_side_by_side(hmm, parcels):
    """Features are the same with two jobs."""
    x = parcels[0].get_data()
    alone, jobs = (
        mne_hmm.prepare([x, -x], hmm.preparation_, sfreq=250.0, n_jobs=n_jobs) for n_jobs in (1, 2)
    )
    for array, other in zip(alone.data, jobs.data, strict=True):
        np.testing.assert_array_equal(array, other)


def test_a_file_keeps_it_all(hmm, parcels, states, tmp_path):
    """A model that was saved and read says the same."""
    hmm.save(tmp_path / "model.h5")
    again = mne_hmm.read_hmm(tmp_path / "model.h5")
    np.testing.assert_array_equal(again.predict(parcels[0]).probabilities, states.probabilities)
    np.testing.assert_array_equal(again.reference.free_energy, hmm.reference.free_energy)
    assert again.reference.source == hmm.reference.source
    for name in ("ch_names_", "channels_from_", "band_", "align", "spatial_components_"):
        assert getattr(again.preparation_, name) == getattr(hmm.preparation_, name)


# Channels


def with_names(x, names):
    return mne.io.RawArray(x, mne.create_info(names, 250.0, "misc"), verbose="ERROR")


def test_names_without_zeros(hmm, parcels, states):
    """Other programs write parcel_0 for parcel_00, and keep further channels."""
    x = np.vstack([np.zeros(15_000), parcels[0].get_data()])
    raw = with_names(x, ["STI101", *(f"parcel_{i}" for i in range(38))])
    np.testing.assert_array_equal(hmm.predict(raw).probabilities, states.probabilities)


EXPECTED = "38 parcels of Giles38 .atlas file atlas-Giles_nparc-38_space-MNI_res-8x8x8.nii.gz"


@pytest.mark.parametrize(
    ("n", "stem", "complaint"),
    [
        (39, "parcel_{:02d}", f"has 39 parcels, but .* {EXPECTED}"),
        (37, "parcel_{:02d}", f"lacks parcel_37, but .* {EXPECTED}"),
        (38, "EEG{:03d}", f"lacks parcel_00, .* {EXPECTED}"),
        (39, None, f"has 39 channels, but .* {EXPECTED}"),
    ],
)
def test_other_channels(hmm, n, stem, complaint):
    """Parcels of another atlas are an error that says what is expected and how to make it."""
    x = np.random.default_rng(0).standard_normal((n, 500))
    if stem is None:
        call = {"inst": x, "sfreq": 250.0}
    else:
        call = {"inst": with_names(x, [stem.format(i) for i in range(n)])}
    with pytest.raises(ValueError, match=complaint) as info:
        hmm.predict(**call)
    assert "mne_hmm.parcellate(stc" in str(info.value)


def test_bad_parcels(hmm, parcels):
    """A parcel that is marked as bad is told."""
    raw = parcels[0].copy()
    raw.info["bads"] = ["parcel_03"]
    with pytest.raises(ValueError, match="has parcel_03 marked as bad"):
        hmm.predict(raw)


def test_names_of_the_parcels_of_the_atlas(hmm, test_data):
    """Parcels of the atlas's file are named as the model has them."""
    nib = pytest.importorskip("nibabel")
    folder = test_data / "parcellation"
    atlas = next(folder.rglob("atlas-Giles_nparc-38_space-MNI_res-8x8x8.nii.gz"))
    img = nib.load(atlas)
    rng = np.random.default_rng(0)
    image = nib.Nifti1Image(
        rng.standard_normal((*img.shape[:3], 50)).astype(np.float32), img.affine
    )
    image.header.set_zooms((*img.header.get_zooms()[:3], 1.0))
    image.header.set_xyzt_units("mm", "sec")
    raw = mne_hmm.parcellate_nifti(image, atlas)
    assert tuple(raw.ch_names) == hmm.preparation_.ch_names_


def test_atlas_that_is_there(cache, test_data, tmp_path):
    """An atlas that has been fetched is known to the model, for its maps."""
    os.symlink(cache / "canonical-hmm", tmp_path / "canonical-hmm")
    where = tmp_path / "parcellation" / "osl_dynamics" / "files" / "parcellation"
    where.mkdir(parents=True)
    assert mne_hmm.datasets.fetch_canonical_hmm(path=tmp_path).atlas_arguments.atlas is None
    name = "atlas-Giles_nparc-38_space-MNI_res-8x8x8.nii.gz"
    os.symlink(next((test_data / "parcellation").rglob(name)), where / name)
    hmm = mne_hmm.datasets.fetch_canonical_hmm(path=tmp_path)
    assert hmm.atlas_arguments.atlas == where / name


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("Giles39", 8), "parcellation must be .*Giles38.*Glasser52.*DK54.*Elekta.*'Giles39'"),
        (("Giles38", 3), "n_states must be one of 4, 5, .*15.*16.* got 3"),
        (("Giles38", "8"), "n_states must be one of 4, .* got '8'"),
        (("DK54", 17), "DK54 with these numbers of states, got 17"),
    ],
)
@pytest.mark.parametrize("fetch", ["fetch_canonical_hmm", "fetch_canonical_results"])
def test_what_there_is_not(fetch, arguments, complaint, tmp_path):
    """Errors list the models there are."""
    with pytest.raises(ValueError, match=complaint):
        getattr(mne_hmm.datasets, fetch)(*arguments, path=tmp_path)


def test_align_needs_a_template(hmm):
    """Signs cannot be aligned to nothing, and a template is not left unused."""
    with pytest.raises(ValueError, match=r"mne_hmm\.align_signs"):
        mne_hmm.Preparation(align="signs")
    with pytest.raises(ValueError, match="and no template_"):
        replace(hmm.preparation_, template_=None)
    with pytest.raises(ValueError, match="align=None and a template_"):
        replace(hmm.preparation_, align=None)


# The reference


def test_comparison(hmm, parcels, decoded, published):
    """Free energy is that of the independent decoder, and percentile and z are by definition."""
    _, evidence = decoded
    other = parcels[0].copy().apply_function(np.negative, picks=[1, 2])
    comparison = hmm.compare_to_reference([parcels[0], other])
    assert len(comparison) == 2
    value, reference = comparison.free_energy[0], published("fe")
    # Single precision of the features changes some 1e-7 of each of some 100 nats.
    np.testing.assert_allclose(value, -evidence / (15_000 - 14), rtol=1e-5)
    assert comparison.percentiles[0] == 100 * np.mean(reference < value)
    np.testing.assert_allclose(
        comparison.z_scores[0], (value - reference.mean()) / reference.std(ddof=1), rtol=1e-12
    )
    assert np.abs(comparison.z_scores[0]) < 2
    assert comparison.verdicts[0].startswith("like 95 % of 1,849 Cam-CAN MEG recordings")
    assert "recording 1: " in str(comparison)
    assert comparison.to_data_frame().shape == (2, 5)
    fig = comparison.plot(show=False)
    assert len(fig.axes[0].lines) == 2
    plt.close(fig)


def test_verdicts_on_recordings_unlike_those_of_the_training(hmm, parcels):
    """Noise is told from what the model describes."""
    noise = np.random.default_rng(0).standard_normal((38, 15_000))
    comparison = hmm.compare_to_reference(noise, sfreq=250.0)
    assert comparison.percentiles[0] > 99
    assert comparison.verdicts[0].startswith("worse described by the model than")
    low = replace(comparison, free_energy=np.array([50.0]))
    assert low.percentiles[0] == 0
    assert low.verdicts[0].startswith("simpler than")


def test_models_without_a_reference(fitted, simulated):
    """It is told that only published models have one."""
    with pytest.raises(ValueError, match="this model has no reference"):
        fitted.compare_to_reference(simulated[0])


def text_of(report, title):
    """Text of an entry, without its tags."""
    (html,) = (element.html for element in report._content if element.name == title)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def test_reference_in_a_report():
    """A report has the numbers of each recording, under the names that were given."""
    reference = mne_hmm.Reference(np.array([1.0, 3.0, 4.0, 5.0]), "4 others")
    report = mne.Report(verbose="ERROR")
    comparison = reference.compare(np.array([2.0]), ["the recording"])
    _add_reference(_Page(report, "HMM"), comparison, ["somebody"])
    text = text_of(report, "Against the training recordings")
    assert "somebody 2.00 25.0 -0.73 like 95 % of 4 others" in text
    assert [element.name for element in report._content][1:] == [
        "Free energy of the training recordings"
    ]


@pytest.mark.slow
def test_report_of_a_published_model(hmm, parcels, states):
    """A report can be had, of a model whose training nobody has seen."""
    report = hmm.report(parcels[0], states=states, verbose="ERROR")
    assert "came without a history" in text_of(report, "Training")
    assert "Cam-CAN" in text_of(report, "Against the training recordings")
    assert "Power spectra" in [element.name for element in report._content]


# What else was published, and what can be computed


def test_published_results(cache, published):
    """Spectra, maps and networks are those of the files."""
    results = mne_hmm.datasets.fetch_canonical_results("Giles38", 8, path=cache)
    np.testing.assert_allclose(results.spectra.psd, published("psds"), rtol=1e-6)
    np.testing.assert_array_equal(results.spectra.freqs, published("f"))
    np.testing.assert_allclose(results.power.values, published("pow_maps"), rtol=1e-6)
    np.testing.assert_allclose(results.power.values, results.spectra.power(), rtol=1e-5)
    coherence = published("coh_nets")
    coherence[:, np.arange(38), np.arange(38)] = 0
    np.testing.assert_allclose(results.networks.values, coherence, rtol=1e-6)
    assert np.isnan(results.spectra.coherence[:, 0, 1]).all()
    results.spectra.plot(show=False)
    results.networks.relative().threshold(percentile=98).plot_matrix(show=False)
    plt.close("all")


@pytest.mark.slow
def test_spectra_and_estimates(hmm, parcels, states, published):
    """Spectra of the recording, of the model alone, and its own covariances can be had."""
    spectra = mne_hmm.compute_state_spectra(parcels[0], states, fmin=1, fmax=45)
    alone = mne_hmm.compute_model_spectra(hmm, fmin=3, fmax=40)
    assert spectra.psd.shape[:2] == alone.psd.shape[:2] == (8, 38)
    inside = np.isin(published("f"), alone.freqs)
    likeness = [
        np.corrcoef(psd.ravel(), other[:, inside].ravel())[0, 1]
        for psd, other in zip(alone.psd, published("psds"), strict=True)
    ]
    # As the documentation of compute_model_spectra has it.
    assert min(likeness) > 0.9
    assert hmm.dual_estimate(parcels[0]).covariances.shape == (8, 80, 80)
    assert hmm.score(parcels[0]) == -hmm.free_energy(parcels[0])


# Sensors: the files of these models are not among the test data. Here are such of the same form,
# of principal components of simulated sensors, with fewer components than the published ones.


@pytest.fixture(scope="module")
def sensors():
    """Sensors of rank 12, and arrays as a model of them has."""
    raw, _ = mne_hmm.simulate_raw(3, n_channels=12, duration=16.0, snr=4.0, random_state=5)
    rng = np.random.default_rng(5)
    x = raw.get_data().T @ rng.standard_normal((12, 306))
    x += 0.01 * x.std() * rng.standard_normal(x.shape)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    spatial = principal_components(z.T @ z)[1][:, :12]
    inputs = z @ spatial
    inputs /= inputs.std(axis=0)
    columns = embed(inputs, N_LAGS)
    components = principal_components(columns.T @ columns)[1][:, :30]
    features = features_of(inputs, components)
    halves = np.array_split(features, 2)
    arrays = {
        "initial_state_probs": np.full(2, 0.5),
        "trans_prob": np.array([[0.9, 0.1], [0.2, 0.8]]),
        "means": np.zeros((2, 30)),
        "covs": np.array([np.cov(half.T) for half in halves]),
        "pca_components_1": spatial,
        "pca_components_2": components,
    }
    return x, {name: array.astype(np.float32) for name, array in arrays.items()}, features


@pytest.fixture(scope="module")
def sensor_hmm(sensors):
    """A model of these sensors."""
    return hmm_from(Published("Elekta", 8), sensors[1])


def test_sensors_go_through_spatial_components(sensor_hmm, sensors):
    """Channels, components of them, their lags, components of these: each standardized."""
    x, arrays, features = sensors
    prepared = mne_hmm.prepare(x.T, sensor_hmm.preparation_, sfreq=250.0)
    assert prepared.n_features == 30
    # Products in single precision, of numbers about 1.
    np.testing.assert_allclose(prepared.data[0], features, rtol=0, atol=2e-4)
    states = sensor_hmm.predict(x.T, sfreq=250.0)
    expected, _ = decode(
        features,
        *(arrays[name].astype(float) for name in ("initial_state_probs", "trans_prob", "covs")),
    )
    np.testing.assert_allclose(states.probabilities[:, 7:-7].T, expected, rtol=0, atol=1e-3)


def test_sensors_are_known_by_name(sensor_hmm, sensors):
    """With and without the space that older files have in names; others are an error."""
    x = sensors[0].T
    names = list(sensor_hmm.preparation_.ch_names_)
    assert names[:3] == ["MEG0113", "MEG0112", "MEG0111"]
    alone = sensor_hmm.predict(x, sfreq=250.0).probabilities
    order = np.random.default_rng(0).permutation(306)
    shuffled = with_names(x[order], [names[i].replace("MEG", "MEG ") for i in order])
    np.testing.assert_array_equal(sensor_hmm.predict(shuffled).probabilities, alone)
    with pytest.raises(ValueError, match=r"lacks MEG0113.*306 MEG sensors of Elekta"):
        sensor_hmm.predict(with_names(x[1:], names[1:]))


def test_sensors_come_back(sensor_hmm, sensors, tmp_path):
    """What the model says of channels is what the recording has in them."""
    x, _, _ = sensors
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    autocovariance = mne_hmm.model_autocovariance(sensor_hmm)
    truth = np.array([np.cov(half.T) for half in np.array_split(z, 2)])
    for covariance, other in zip(autocovariance.covariances, truth, strict=True):
        assert np.corrcoef(covariance.ravel(), other.ravel())[0, 1] > 0.9
    sensor_hmm.save(tmp_path / "sensors.h5")
    again = mne_hmm.read_hmm(tmp_path / "sensors.h5")
    np.testing.assert_array_equal(
        again.preparation_.spatial_components_, sensor_hmm.preparation_.spatial_components_
    )
    spectra = mne_hmm.compute_model_spectra(again, fmin=4, fmax=40, resolution=4)
    assert spectra.psd.shape == (2, 306, 10)
    assert (spectra.psd > 0).all()
    raw, _ = mne_hmm.simulate_raw(model=again, duration=5.0, random_state=0)
    assert raw.get_data().shape == (306, 1250)
    with pytest.raises(ValueError, match="no reference"):
        again.compare_to_reference(raw)
