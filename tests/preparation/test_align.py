"""Recordings that are aligned: the arithmetic, preparing, and what is refused."""

import re
import shutil
from dataclasses import replace

import mne
import numpy as np
import pytest
from child_processes import run_script
from helpers import assert_same_prepared
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import expm, fractional_matrix_power, logm, null_space, subspace_angles

import mne_hmm
from mne_hmm import Preparation, prepare
from mne_hmm.preparation import prepare as prepare_module
from mne_hmm.preparation.covariance_alignment import (
    Scatter,
    alignment_to,
    mean_covariance,
    rank_of,
    scatter_of,
)
from mne_hmm.preparation.embedding import embed, lagged_moments
from mne_hmm.preparation.prepared_data import as_prepared, same_features
from mne_hmm.validation import folds

SFREQ = 100.0
KINDS = ["euclidean", "riemannian"]
# Standardized channels and their alignment, and nothing else: features are aligned channels.
BARE = replace(Preparation.standardized(), align="euclidean")
# The same without z-scores.
RAW = replace(BARE, standardize=False)


def spd(seed, n=5, size=1.0):
    """Exponential of a random symmetric matrix."""
    x = size * np.random.default_rng(seed).standard_normal((n, n))
    return expm((x + x.T) / 2)


def signals(seed, n_times=2000, n=5, mixing=None):
    """Smooth noise, mixed."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, n_times))
    x[:, 1:] += 0.5 * x[:, :-1]
    return (spd(seed + 100, n) if mixing is None else mixing) @ x


def covariance_of(features):
    """Covariance of features about their mean, in double precision."""
    return np.cov(np.asarray(features, float).T, bias=True)


def arrays(align=BARE, n=3, **kwargs):
    """Prepare three recordings with covariances of their own."""
    return prepare([signals(i) for i in range(n)], align, sfreq=SFREQ, verbose="ERROR", **kwargs)


# Arithmetic, against closed forms


def test_products_of_mapped_signals_need_no_signals():
    """They are the products of the embedded matrix of signals that were mapped, over all spans."""
    rng = np.random.default_rng(0)
    spans = [rng.standard_normal((n, 4)) for n in (40, 7, 5, 300)]
    mapping = rng.standard_normal((4, 4))
    expected = sum(embed(x @ mapping.T, 5).T @ embed(x @ mapping.T, 5) for x in spans)
    got = lagged_moments(spans, 5).mapped(mapping).products()
    assert_allclose(got, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_scatter_is_about_the_mean():
    """As by NumPy, over spans, in double precision: the mean is far larger than the signals."""
    x = (1000 + signals(1).T).astype(np.float32)
    scatter = scatter_of([x[:700], x[700:701], x[701:]])
    assert scatter.n_samples == 2000
    expected = covariance_of(x)
    assert_allclose(scatter.covariance, expected, rtol=0, atol=1e-10 * expected.max())


def test_means_are_those_of_closed_forms():
    """The arithmetic one, and the exponential of the mean of SciPy's logarithms."""
    covariances = [spd(seed) for seed in range(4)]
    euclidean = mean_covariance(covariances, 5, "euclidean")
    assert_allclose(euclidean, np.mean(covariances, axis=0), rtol=1e-12, atol=1e-13)
    riemannian = mean_covariance(covariances, 5, "riemannian")
    assert_allclose(riemannian, expm(np.mean([logm(c) for c in covariances], axis=0)), rtol=1e-10)
    # Of variances alone it is the geometric mean, which no logarithm of a matrix is needed for.
    variances = np.array([[1.0, 4.0, 9.0], [4.0, 1.0, 1.0]])
    got = mean_covariance([np.diag(diagonal) for diagonal in variances], 3, "riemannian")
    assert_allclose(got, np.diag([2.0, 2.0, 3.0]), rtol=1e-12, atol=1e-14)


def test_the_map_is_that_of_the_papers():
    """It is M^(1/2) C^(-1/2), as by SciPy; there and back is nothing."""
    mean, covariance = spd(0), spd(1)
    got = alignment_to(mean, covariance)
    expected = fractional_matrix_power(mean, 0.5) @ fractional_matrix_power(covariance, -0.5)
    assert_allclose(got.to_mean, expected, rtol=1e-10, atol=1e-12)
    assert_allclose(got.to_mean @ covariance @ got.to_mean.T, mean, rtol=1e-10)
    assert_allclose(got.from_mean @ got.to_mean, np.eye(5), rtol=0, atol=1e-12)


def test_units_do_not_matter():
    """Of signals in volts dimensions count as of those in microvolts, and the map is the same."""
    basis = null_space(np.ones((1, 5)))
    for covariance, n in ((spd(0), 5), (basis @ spd(0, 4) @ basis.T, 4)):
        assert rank_of(1e-12 * covariance) == rank_of(1e12 * covariance) == n
    got, expected = (alignment_to(size * spd(0), size * spd(1)) for size in (1e-12, 1))
    assert_allclose(got.to_mean, expected.to_mean, rtol=1e-9, atol=1e-12)


def test_the_same_dimensions_are_left_as_they_are():
    """With a common null space the map is that within the rest, as by SciPy in its basis."""
    basis = null_space(np.ones((1, 5)))
    small = [spd(seed, 4) for seed in range(3)]
    covariances = [basis @ covariance @ basis.T for covariance in small]
    for kind in KINDS:
        mean = mean_covariance(covariances, 4, kind)
        within = mean_covariance(small, 4, kind)
        assert_allclose(mean, basis @ within @ basis.T, rtol=0, atol=1e-12)
        root = fractional_matrix_power(within, 0.5) @ fractional_matrix_power(small[1], -0.5)
        got = alignment_to(mean, covariances[1])
        assert_allclose(got.to_mean, basis @ root @ basis.T, rtol=0, atol=1e-11)
        assert_allclose(got.from_mean @ got.to_mean, basis @ basis.T, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_other_dimensions_are_turned_to_those_of_the_mean(kind):
    """An average reference after z-scores: each recording lacks another dimension."""
    covariances = []
    for seed in range(4):
        x = signals(seed)
        x -= x.mean(axis=0)
        covariances.append(np.corrcoef(x))
    assert {rank_of(covariance) for covariance in covariances} == {4}
    assert rank_of(np.mean(covariances, axis=0)) == 5
    mean = mean_covariance(covariances, 4, kind)
    assert rank_of(mean, of_mean=True) == 4
    for covariance in covariances:
        got = alignment_to(mean, covariance)
        assert_allclose(got.to_mean @ covariance @ got.to_mean.T, mean, rtol=0, atol=1e-10)
        # Back and forth is the identity within the recording's own dimensions.
        values, vectors = np.linalg.eigh(covariance)
        eigenvectors = vectors[:, values > 1e-10]
        assert_allclose(
            got.from_mean @ got.to_mean @ eigenvectors, eigenvectors, rtol=0, atol=1e-10
        )
        # The turn is the smallest: its angles are those between the two spaces.
        turned = np.linalg.svd(eigenvectors.T @ np.linalg.eigh(mean)[1][:, -4:])[1]
        angles = subspace_angles(eigenvectors, np.linalg.eigh(mean)[1][:, -4:])
        assert_allclose(np.sort(np.arccos(np.clip(turned, -1, 1))), np.sort(angles), atol=1e-6)


def test_fewer_dimensions_than_the_mean():
    """What there is gets the covariance of the mean in as many dimensions."""
    mean, covariance = spd(0), spd(1)
    basis = np.linalg.eigh(covariance)[1][:, 1:]
    lower = basis @ (basis.T @ covariance @ basis) @ basis.T
    got = alignment_to(mean, lower)
    white = fractional_matrix_power(mean, -0.5) @ got.to_mean
    assert_allclose(np.linalg.eigvalsh(white @ lower @ white.T), [0, 1, 1, 1, 1], atol=1e-9)


# Preparing


@pytest.mark.filterwarnings("ignore:logm result may be inaccurate:RuntimeWarning")  # by 1e-13
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("standardize", [True, False])
def test_every_recording_has_the_covariance_of_the_mean(kind, standardize):
    """At zero lag, to rounding in float32; and the mean is what it says."""
    settings = replace(BARE, align=kind, standardize=standardize)
    prepared = arrays(settings)
    mean = prepared.preparation.aligned_to_
    covariances = []
    for i, (features, alignment) in enumerate(zip(prepared.data, prepared.alignments, strict=True)):
        x = signals(i)
        if standardize:
            x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
        covariances.append(np.cov(x, bias=True))
        aligned = alignment.apply(x.T)
        assert aligned.dtype == np.float32
        assert_allclose(covariance_of(aligned), mean, rtol=0, atol=1e-5 * np.abs(mean).max())
        # Aligned channels are z-scored in the end, as all features are.
        deviations = np.sqrt(np.diag(mean)) if standardize else np.ones(len(mean))
        expected = mean / np.outer(deviations, deviations)
        assert_allclose(covariance_of(features), expected, rtol=0, atol=1e-5 * expected.max())
    expected = (
        np.mean(covariances, axis=0)
        if kind == "euclidean"
        else expm(np.mean([logm(covariance) for covariance in covariances], axis=0))
    )
    # Signals were rounded to float32.
    assert_allclose(mean, expected, rtol=0, atol=1e-5 * expected.max())


def test_recordings_of_a_group_move_together():
    """They have one map, and together the covariance of the mean; each group counts once."""
    xs = [signals(i) for i in range(4)]
    prepared = prepare(xs, RAW, sfreq=SFREQ, group=["a", "b", "a", "a"])
    first, _, third, fourth = prepared.alignments
    assert first is third is fourth
    mean = prepared.preparation.aligned_to_
    centered = [x - x.mean(axis=1, keepdims=True) for x in xs]
    pooled = np.cov(np.concatenate([centered[i] for i in (0, 2, 3)], axis=1), bias=True)
    expected = (pooled + np.cov(xs[1], bias=True)) / 2
    assert_allclose(mean, expected, rtol=0, atol=1e-5 * expected.max())
    together = np.mean([covariance_of(prepared.data[i]) for i in (0, 2, 3)], axis=0)
    assert_allclose(together, mean, rtol=0, atol=1e-5 * mean.max())
    assert np.abs(covariance_of(prepared.data[0]) - mean).max() > 0.1 * mean.max()
    assert prepared.preparation.grouped_


def test_bad_spans_do_not_count():
    """Neither for the covariance nor for anything else."""
    x = signals(0)
    info = mne.create_info(5, SFREQ, "eeg")
    clean = mne.io.RawArray(x[:, :1500], info, verbose="ERROR")
    x[:, 1500:] = 1000 * signals(3)[:, 1500:]
    spoiled = mne.io.RawArray(x, info, verbose="ERROR")
    spoiled.set_annotations(mne.Annotations([15.0], [5.0], ["BAD_movement"]))
    other = mne.io.RawArray(signals(1), info, verbose="ERROR")
    got, expected = prepare([spoiled, other], BARE), prepare([clean, other], BARE)
    assert_array_equal(got.alignments[0].content(), expected.alignments[0].content())
    assert_array_equal(got.data[0], expected.data[0])


@pytest.mark.parametrize("n_components", [None, 8])
def test_an_average_reference(n_components):
    """Dimensions are those of the data, and all recordings have the covariance of the mean."""
    xs = [x - x.mean(axis=0) for x in map(signals, range(3))]
    settings = Preparation(
        l_freq=None, h_freq=None, sfreq=None, align="euclidean", n_embeddings=3,
        n_components=n_components,
    )  # fmt: skip
    with pytest.warns(RuntimeWarning, match="The 5 channels have rank 4"):
        prepared = prepare(xs, settings, sfreq=SFREQ)
    mean = prepared.preparation.aligned_to_
    assert prepared.preparation.rank_ == rank_of(mean) == 4
    for x, alignment in zip(xs, prepared.alignments, strict=True):
        z = (x / x.std(axis=1, keepdims=True)).T
        assert_allclose(covariance_of(alignment.apply(z)), mean, rtol=0, atol=1e-5)


def test_components_are_of_aligned_signals():
    """As found from the aligned signals themselves."""
    settings = replace(BARE, n_embeddings=5, n_components=7, standardize=False)
    prepared = arrays(settings)
    embedded = [
        embed(alignment.apply(signals(i).T.astype(np.float32)).astype(float), 5)
        for i, alignment in enumerate(prepared.alignments)
    ]
    values, vectors = np.linalg.eigh(sum(x.T @ x for x in embedded))
    got = prepared.preparation
    assert_allclose(got.eigenvalues_, values[::-1][:7], rtol=1e-5)
    overlap = np.abs(np.sum(got.components_ * vectors[:, ::-1][:, :7], axis=0))
    assert_allclose(overlap, 1, rtol=0, atol=1e-4)
    projected = embedded[1] @ got.components_
    atol = 1e-5 * np.abs(projected).max()
    assert_allclose(prepared.data[1], projected, rtol=0, atol=atol)


# What theory says of mixtures


@pytest.mark.parametrize("kind", KINDS)
def test_mixtures_are_the_same_up_to_a_rotation(kind):
    """Of any mixture of the same signals the whitened channels are the same, but for a rotation.

    With x = B s, and s of covariance S, the rotation is C^(-1/2) B S^(1/2). What is no other for a
    rotation, such as the total power at each sample, is the same.
    """
    s = signals(0, mixing=np.eye(5))
    rng = np.random.default_rng(7)
    mixtures = [rng.standard_normal((5, 5)) for _ in range(3)]
    prepared = prepare([b @ s for b in mixtures], replace(RAW, align=kind), sfreq=SFREQ)
    unmix = fractional_matrix_power(prepared.preparation.aligned_to_, -0.5)
    white = fractional_matrix_power(np.cov(s, bias=True), -0.5) @ s
    for b, features in zip(mixtures, prepared.data, strict=True):
        covariance = b @ np.cov(s, bias=True) @ b.T
        rotation = (
            fractional_matrix_power(covariance, -0.5)
            @ b
            @ fractional_matrix_power(np.cov(s, bias=True), 0.5)
        )
        assert_allclose(rotation @ rotation.T, np.eye(5), rtol=0, atol=1e-10)
        # Weak directions of a mixture lose digits in float32: condition numbers are some 30.
        assert_allclose(unmix @ features.T, rotation @ white, rtol=0, atol=1e-4)
        power = np.square(unmix @ features.T).sum(axis=0)
        assert_allclose(power, np.square(white).sum(axis=0), rtol=0, atol=1e-3)


def test_symmetric_mixtures_of_white_signals_are_undone():
    """There the rotation is none, and the features of all recordings are the same."""
    s = signals(0, mixing=np.eye(5))
    s = fractional_matrix_power(np.cov(s, bias=True), -0.5) @ (s - s.mean(axis=1, keepdims=True))
    prepared = prepare([spd(seed) @ s for seed in range(4)], RAW, sfreq=SFREQ)
    expected = fractional_matrix_power(prepared.preparation.aligned_to_, 0.5) @ s
    for features in prepared.data:
        assert_allclose(features.T, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


# New recordings, and what they are aligned on


def test_new_recordings_are_aligned_on_themselves():
    """To the mean that was fitted; those of the fit come out as they did."""
    prepared = arrays()
    again = prepare([signals(i) for i in range(3)], prepared.preparation, sfreq=SFREQ)
    for got, expected in zip(again.data, prepared.data, strict=True):
        assert_array_equal(got, expected)
    new = prepare(signals(9), prepared.preparation, sfreq=SFREQ)
    mean = prepared.preparation.aligned_to_
    assert_allclose(covariance_of(new.data[0]), mean, rtol=0, atol=1e-5)
    assert new.preparation.aligned_to_ is mean


def test_a_period_to_align_on():
    """Both ends are in it, and only good samples; standardization is that of all."""
    prepared = arrays(RAW)
    x = signals(9)
    got = prepare(x, prepared.preparation, sfreq=SFREQ, align_on=(2.0, 8.0))
    expected = alignment_to(prepared.preparation.aligned_to_, np.cov(x[:, 200:801], bias=True))
    assert_allclose(got.alignments[0].to_mean, expected.to_mean, rtol=0, atol=1e-4)
    raw = mne.io.RawArray(x, mne.create_info(5, SFREQ, "misc"), verbose="ERROR")
    raw.set_annotations(mne.Annotations([3.0], [1.0], ["BAD_x"]))
    named = replace(prepared.preparation, ch_names_=tuple(raw.ch_names))
    got = prepare(raw, named, align_on=(2.0, 8.0))
    covariance = np.cov(x[:, np.r_[200:300, 400:801]], bias=True)
    expected = alignment_to(prepared.preparation.aligned_to_, covariance)
    assert_allclose(got.alignments[0].to_mean, expected.to_mean, rtol=0, atol=1e-4)


def test_a_period_of_epochs_counts_from_the_event():
    """The same period of each of them, such as their baseline."""
    x = signals(9, n_times=3000)
    info = mne.create_info(5, SFREQ, "eeg")
    data = x.reshape(5, 30, 100).swapaxes(0, 1)
    epochs = mne.EpochsArray(data, info, tmin=-0.4, verbose="ERROR")
    raws = [mne.io.RawArray(signals(i), info, verbose="ERROR") for i in range(2)]
    prepared = prepare(raws, RAW)
    got = prepare(epochs, prepared.preparation, align_on=(-0.4, 0.0))
    covariance = np.cov(np.concatenate(data[:, :, :41], axis=1), bias=True)
    expected = alignment_to(prepared.preparation.aligned_to_, covariance)
    assert_allclose(got.alignments[0].to_mean, expected.to_mean, rtol=0, atol=1e-4)


def test_another_recording_to_align_on(tmp_path):
    """One for all, or one for each; files as well; also where the mean is fitted."""
    prepared = arrays()
    x, rest = signals(9), signals(8)
    on_rest = prepare(x, prepared.preparation, sfreq=SFREQ, align_on=rest)
    of_rest = prepare(rest, prepared.preparation, sfreq=SFREQ)
    assert_array_equal(on_rest.alignments[0].content(), of_rest.alignments[0].content())
    np.save(tmp_path / "rest.npy", rest)
    both = prepare(
        [x, x], prepared.preparation, sfreq=SFREQ, align_on=[tmp_path / "rest.npy", None]
    )
    assert_array_equal(both.data[0], on_rest.data[0])
    assert_array_equal(both.data[1], prepare(x, prepared.preparation, sfreq=SFREQ).data[0])
    fitted = prepare([x, rest], BARE, sfreq=SFREQ, align_on=rest)
    expected = prepare([rest, rest], BARE, sfreq=SFREQ).preparation.aligned_to_
    assert_allclose(fitted.preparation.aligned_to_, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rejects", [True, False])
def test_bad_spans_of_what_is_aligned_on(rejects):
    """They count for the covariance if bad spans of the recordings count."""
    info = mne.create_info(5, SFREQ, "eeg")
    rest = mne.io.RawArray(signals(8), info, verbose="ERROR")
    cropped = rest.copy().crop(tmax=15.0, include_tmax=False)
    marked = rest.copy().set_annotations(mne.Annotations([15.0], [5.0], ["BAD_movement"]))
    raws = [mne.io.RawArray(signals(i), info, verbose="ERROR") for i in range(2)]
    got = prepare(raws, BARE, align_on=marked, reject_by_annotation=rejects)
    expected = prepare(raws, BARE, align_on=cropped if rejects else rest)
    for alignment, other in zip(got.alignments, expected.alignments, strict=True):
        assert_array_equal(alignment.content(), other.content())


def test_one_recording_to_align_on(tmp_path):
    """A folder of several is none: which of them is meant?"""
    for i_recording in range(2):
        np.save(tmp_path / f"rest-{i_recording}.npy", signals(i_recording))
    with pytest.raises(ValueError, match="align_on must be one recording, got 2; give a list"):
        arrays(align_on=tmp_path)


def test_groups_that_are_forgotten_are_asked_for():
    """A preparation that was fitted to groups says so, once, where recordings come without."""
    xs = [signals(i) for i in range(3)]
    prepared = prepare(xs, BARE, sfreq=SFREQ, group=[0, 0, 1])
    with pytest.warns(RuntimeWarning, match=r"3 recordings are aligned one by one; pass group"):
        prepare(xs, prepared.preparation, sfreq=SFREQ)
    again = prepare(xs, prepared.preparation, sfreq=SFREQ, group=["x", "x", "y"])
    for got, expected in zip(again.data, prepared.data, strict=True):
        assert_array_equal(got, expected)
    prepare(xs[0], prepared.preparation, sfreq=SFREQ)  # alone there is nothing to forget


def test_different_ranks_are_told_of():
    """The mean has the dimensions of the poorest; later recordings may be poorer still."""
    xs = [signals(i) for i in range(3)]
    basis = np.linalg.eigh(np.cov(xs[1]))[1][:, 1:]
    xs[1] = basis @ basis.T @ xs[1]
    with pytest.warns(RuntimeWarning) as caught:
        prepared = prepare(xs, BARE, sfreq=SFREQ)
    first, second = (str(warning.message) for warning in caught)
    assert "between 4 and 5 dimensions" in first
    assert "fewest in recording 1" in first
    assert "The 5 channels have rank 4" in second
    mean = prepared.preparation.aligned_to_
    for features in prepared.data:
        deviations = np.sqrt(np.diag(mean))
        expected = mean / np.outer(deviations, deviations)
        assert_allclose(covariance_of(features), expected, rtol=0, atol=1e-5)
    full = arrays()
    with pytest.warns(RuntimeWarning, match="has 4 dimensions, fewer than the 5"):
        prepare(xs[1], full.preparation, sfreq=SFREQ)


def test_sessions_of_one_average_reference_have_its_rank():
    """Pooled they seem to be of full rank, since each lacks another dimension."""
    xs = [x - x.mean(axis=0) for x in map(signals, range(4))]
    with pytest.warns(RuntimeWarning, match="The 5 channels have rank 4"):
        prepared = prepare(xs, BARE, sfreq=SFREQ, group=[0, 0, 1, 1])
    assert rank_of(prepared.preparation.aligned_to_) == 4


# In a folder

SETTINGS = Preparation(n_embeddings=5, n_components=6, align="riemannian", sfreq=None, h_freq=40)


@pytest.fixture(scope="module")
def fnames(tmp_path_factory):
    """Four recordings as files, one of which has a bad span."""
    folder = tmp_path_factory.mktemp("aligned")
    fnames = []
    for i in range(4):
        raw = mne.io.RawArray(
            signals(i, n_times=800 + 100 * i), mne.create_info(5, SFREQ, "misc"), verbose="ERROR"
        )
        if i == 1:
            raw.set_annotations(mne.Annotations([3.0], [0.5], ["BAD_x"]))
        fnames.append(folder / f"{i}_raw.fif")
        raw.save(fnames[-1], fmt="double")
    return fnames


CALLS = [{}, {"group": [0, 1, 1, 0]}, {"align_on": (1.0, 5.0)}, {"group": "abab", "align_on": 0}]


@pytest.mark.parametrize("call", [0, 1, 2, 3])
def test_folder_holds_what_memory_would(tmp_path, fnames, call):
    """To the bit, also by a fitted preparation, and read again."""
    kwargs = dict(CALLS[call])
    if call == 3:
        kwargs = {"group": list("abab"), "align_on": fnames[2]}
    expected = prepare(fnames, SETTINGS, **kwargs)
    got = prepare(fnames, SETTINGS, cache_dir=tmp_path / "a", n_jobs=1 + call % 2, **kwargs)
    assert_same_prepared(got, expected)
    assert_same_prepared(mne_hmm.read_prepared(tmp_path / "a"), expected)
    assert_same_prepared(
        prepare(fnames, got.preparation, cache_dir=tmp_path / "b", **kwargs), expected
    )
    # Features, maps, index and preparation, and nothing that was needed on the way.
    assert len(list((tmp_path / "a").iterdir())) == 4 + 4 + 2


def test_folders_are_read_twice_for_groups(tmp_path, fnames, monkeypatch):
    """Once if the preparation is fitted and each is aligned by itself."""
    fitted = prepare(fnames, SETTINGS).preparation
    counts = []

    def counted(*args):
        counts.append(1)
        return original(*args)

    original = prepare_module.prepare_signals
    monkeypatch.setattr(prepare_module, "prepare_signals", counted)
    expected = {"a": (SETTINGS, None, 8), "b": (fitted, None, 4), "c": (fitted, [0, 0, 1, 2], 6)}
    for name, (settings, group, n_read) in expected.items():
        counts.clear()
        prepare(fnames, settings, cache_dir=tmp_path / name, group=group)
        assert len(counts) == n_read


# One process loads what it needs, and branches of it are killed.
KILLED = """
import os, signal, sys
from pathlib import Path
from mne_hmm import Preparation, engine, prepare
from mne_hmm.preparation import prepare as prepare_module
from mne_hmm.preparation.prepare import PreparedFolder

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def third(function):
    calls = []
    def wrapped(*args, **kwargs):
        calls.append(1)
        return die() if len(calls) == 3 else function(*args, **kwargs)
    return wrapped

root, *fnames = sys.argv[1:]
settings = Preparation(n_embeddings=5, n_components=6, align="riemannian", sfreq=None, h_freq=40)
for where in ("first pass", "mean", "maps", "second pass"):
    branch = os.fork()
    if branch:
        code = os.waitstatus_to_exitcode(os.waitpid(branch, 0)[1])
        assert code == -signal.SIGKILL, (where, code)
        continue
    if where == "first pass":
        prepare_module.prepare_signals = third(prepare_module.prepare_signals)
    elif where == "mean":
        prepare_module.fit_components = die
    elif where == "maps":
        PreparedFolder.keep_alignment = third(PreparedFolder.keep_alignment)
    else:
        engine.write_shard = third(engine.write_shard)
    prepare(fnames, settings, cache_dir=Path(root) / where, group=[0, 1, 1, 0])
    sys.exit("was not killed")
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory, fnames):
    """Folders that calls have left which were killed, named by where."""
    root = tmp_path_factory.mktemp("killed")
    run_script(KILLED, root, *fnames)
    return root


@pytest.mark.parametrize(
    ("where", "n_read"), [("first pass", 6), ("mean", 4), ("maps", 4), ("second pass", 2)]
)
def test_a_killed_call_goes_on(tmp_path, fnames, monkeypatch, killed, where, n_read):
    """Where it stopped, with the same bits."""
    folder = shutil.copytree(killed / where, tmp_path / "folder")
    counts = []

    def counted(*args):
        counts.append(1)
        return original(*args)

    original = prepare_module.prepare_signals
    monkeypatch.setattr(prepare_module, "prepare_signals", counted)
    group = [0, 1, 1, 0]
    got = prepare(fnames, SETTINGS, cache_dir=folder, group=group)
    assert len(counts) == n_read
    assert_same_prepared(got, prepare(fnames, SETTINGS, group=group))
    assert len(list(folder.iterdir())) == 4 + 4 + 2


def test_damaged_maps_and_moments(tmp_path, fnames):
    """They are found, and made anew with the same bits."""
    folder = tmp_path / "folder"
    expected = prepare(fnames, SETTINGS, cache_dir=folder, group=[0, 0, 1, 2])
    for i_recording in (0, 2):
        path = folder / f"alignment-{i_recording:05d}.npy"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(OSError, match=f"{path.name}, the map of .* is missing or damaged"):
            mne_hmm.read_prepared(folder)
        if i_recording == 0:  # what is left of an earlier call is not whole
            (folder / "moments-00000.npz").write_bytes(b"PK\x03\x04 cut off")
        assert_same_prepared(
            prepare(fnames, SETTINGS, cache_dir=folder, group=[0, 0, 1, 2]), expected
        )


@pytest.fixture(scope="module")
def finished(tmp_path_factory, fnames):
    """A finished folder."""
    folder = tmp_path_factory.mktemp("finished")
    prepare(fnames, SETTINGS, cache_dir=folder, group=[0, 0, 0, 1])
    return folder


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"group": [0, 1, 0, 0]}, r"group \(which recordings are aligned together\)"),
        ({"group": None}, r"group \(which"),
        ({"align_on": (0.0, 5.0)}, r"align_on \(what recordings are aligned on\)"),
        ({"preparation": replace(SETTINGS, align="euclidean")}, "align='euclidean'"),
        ({"preparation": replace(SETTINGS, align=None), "group": None}, "align=None"),
    ],
)
def test_another_call_is_refused(tmp_path, fnames, finished, change, says):
    """What is aligned how is part of what a folder is."""
    folder = shutil.copytree(finished, tmp_path / "folder")
    call = {"preparation": SETTINGS, "cache_dir": folder, "group": [0, 0, 0, 1]}
    with pytest.raises(ValueError, match=f"another call of prepare; what differs: .*{says}"):
        prepare(fnames, **(call | change))
    # What groups are called does not matter.
    prepare(fnames, **(call | {"group": ["a", "a", "a", "b"]}))


# Joined and alone


def test_maps_go_with_their_recordings(tmp_path, fnames):
    """In lists of prepared data, single recordings, and folds."""
    whole = prepare(fnames, SETTINGS)
    parts = [
        prepare(fnames[:2], whole.preparation),
        prepare(fnames[2:], whole.preparation, cache_dir=tmp_path / "rest"),
    ]
    joined = as_prepared(parts)
    # A name holds the place in the list that a recording was given in.
    assert_same_prepared(joined, whole, names=False)
    alone = prepare(fnames[2], whole.preparation)
    assert_same_prepared(whole.recording(2), alone, names=False)
    (fold, *_) = folds.make_folds(whole, 2, 0.1)
    taken = folds.select_rows(whole, fold.held_out)
    expected = [whole.alignments[part.recording] for part in fold.held_out]
    assert taken.alignments == expected
    other = prepare(fnames[:3], SETTINGS).preparation
    assert not same_features(
        whole.preparation, replace(whole.preparation, aligned_to_=other.aligned_to_)
    )


# What is refused

SHORT = "too short to be aligned"


@pytest.mark.parametrize(
    ("kwargs", "error", "says"),
    [
        ({"group": [0, 1]}, ValueError, "2 labels for 3 recordings"),
        ({"group": "abc"}, TypeError, "one label for each recording.*got 'abc'"),
        ({"group": 3}, TypeError, "one label for each recording.*got 3"),
        ({"group": ["a", None, "b"]}, TypeError, "a name or a number, got None"),
        ({"group": ["a", ["b"], "b"]}, TypeError, r"a name or a number, got \['b'\]"),
        ({"group": ["a", np.nan, "b"]}, TypeError, "a name or a number, got nan"),
        ({"align_on": (5, 2)}, ValueError, r"tmin < tmax, got \(5, 2\)"),
        ({"align_on": (2, 2)}, ValueError, r"tmin < tmax, got \(2, 2\)"),
        ({"align_on": (0, np.inf)}, ValueError, r"align_on must be a period.*got inf"),
        ({"align_on": [None, None]}, ValueError, "one of these for each of 3 rec.*list of 2"),
        ({"align_on": (50, 60)}, ValueError, "recording 0 has no good sample in this period"),
        ({"align_on": (0, 0.05)}, ValueError, f"{SHORT}.*6 good samples in align_on"),
        ({"align_on": "nowhere.npy"}, FileNotFoundError, "align_on.*nowhere.npy"),
        ({"align_on": signals(0)[:3]}, ValueError, "align_on.* has 3"),
        ({"align_on": {"a": 1}}, TypeError, "align_on: .*inst must be a Raw"),
    ],
)
def test_wrong_arguments(kwargs, error, says):
    """Each says the argument, the rule and what was given."""
    with pytest.raises(error, match=re.compile(says, re.DOTALL)):
        arrays(**kwargs)


@pytest.mark.parametrize("name", ["group", "align_on"])
def test_nothing_to_align(name):
    """Groups are not dropped in silence where nothing is aligned."""
    value = {"group": [0, 1, 2], "align_on": (0, 5)}[name]
    with pytest.raises(ValueError, match=rf"{name} is for recordings that are aligned.*euclidean"):
        arrays(Preparation.standardized(), **{name: value})


def test_too_short():
    """With fewer samples than a covariance needs, or with fewer dimensions for want of them."""
    xs = [signals(0), signals(1), signals(2)[:, :9]]
    with pytest.raises(ValueError, match=rf"recording 2 is {SHORT}: it has 9 good samples.*10"):
        prepare(xs, BARE, sfreq=SFREQ)
    with pytest.raises(ValueError, match=r"Join it with other recordings.*group=.*align_on="):
        prepare(xs, BARE, sfreq=SFREQ)
    prepare(xs, BARE, sfreq=SFREQ, group=[0, 1, 1])
    few = signals(2)[:, :40]  # long enough, but of three dimensions as yet
    few[3:] = few[:2]
    with pytest.raises(ValueError, match=rf"{SHORT}: it has 40 good samples.* has 3 of 5 dim"):
        prepare([*xs[:2], few], BARE, sfreq=SFREQ)
    fitted = prepare(xs[:2], BARE, sfreq=SFREQ).preparation
    with pytest.raises(ValueError, match=f"the recording is {SHORT}: it has 9 good samples"):
        prepare(xs[2], fitted, sfreq=SFREQ)
    pieces = [xs[2][:, :4], xs[0], xs[2][:, 4:]]
    with pytest.raises(ValueError, match=r"group 'b' \(2 recordings\) is too short"):
        prepare(pieces, fitted, sfreq=SFREQ, group=["b", "a", "b"])


def test_settings_are_checked():
    """Options are listed; fitted preparations have what they need, and nothing else."""
    with pytest.raises(ValueError, match="align must be one of None, 'euclidean', 'riemannian'"):
        Preparation(align="procrustes")
    fitted = arrays().preparation
    with pytest.raises(ValueError, match="align='euclidean' and no aligned_to_ do not go together"):
        replace(fitted, aligned_to_=None)
    with pytest.raises(ValueError, match="align=None and an aligned_to_ do not go together"):
        replace(fitted, align=None)
    with pytest.raises(ValueError, match="spatial_components_"):
        replace(fitted, spatial_components_=np.eye(5))


def test_scatter_of_nothing():
    """An empty one has no covariance, and does not divide by zero."""
    assert_array_equal(Scatter(0, np.zeros((2, 2))).covariance, 0)
