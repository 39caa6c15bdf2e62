"""Signs of channels: the numbers of osl-dynamics, flips that are known, real EEG, bad input."""

from itertools import product

import mne
import numpy as np
import pytest
from helpers import raises
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm import align_signs
from mne_hmm.preparation.embedding import embed
from mne_hmm.preparation.sign_search import (
    Similarity,
    best_flips,
    compared_entries,
    lagged_covariance,
    starts_of_search,
)

SFREQ = 250.0


def parcels_raw(data, **kwargs):
    """Parcels, shape (n_channels, n_times), as a recording."""
    info = mne.create_info(len(data), SFREQ, "misc")
    return mne.io.RawArray(data, info, verbose="ERROR", **kwargs)


def structure(seed, n_times=3000, n_channels=6, mixing_seed=0):
    """Channels that follow each other with lags, the same for every seed; the noise differs."""
    mixing = np.random.default_rng(mixing_seed).standard_normal((2, n_channels, n_channels))
    rng = np.random.default_rng(seed)
    sources = rng.standard_normal((n_channels, n_times + 2))
    noise = rng.standard_normal((n_channels, n_times))
    return mixing[0] @ sources[:, 2:] + mixing[1] @ sources[:, :-2] + noise


def group(n_recordings=5, n_channels=6):
    """Recordings of one structure with random signs, and the signs."""
    rng = np.random.default_rng(1)
    flips = rng.choice([-1, 1], (n_recordings, n_channels))
    raws = [
        parcels_raw(structure(i + 1, n_channels=n_channels) * flip[:, np.newaxis])
        for i, flip in enumerate(flips)
    ]
    return raws, flips


def by_definition(spans, n_lags):
    """Covariance of the embedded channels, from the embedded matrix itself."""
    x = np.concatenate([embed(span, n_lags) for span in spans])
    x = (x - x.mean(0)) / x.std(0)
    return np.cov(x.T)


def relative(flips, to=None):
    """Flips up to the sign of a recording as a whole."""
    flips = flips if to is None else flips * to
    return flips * flips[:, :1]


# The numbers of osl-dynamics


@pytest.fixture(scope="module")
def published(reference):
    return reference("signs")


@pytest.fixture(scope="module")
def published_raws(published):
    return [parcels_raw(published[f"x_{i}"].T.astype(float)) for i in range(4)]


def test_reference_numbers(published, published_raws):
    """The tolerance the reference names for float64."""
    aligned = align_signs(published_raws, n_embeddings=5, random_state=0)
    assert aligned.reference == published["template"]
    assert_array_equal(relative(aligned.flips), relative(published["flips"]))
    for got, expected in (
        (aligned.template, published["covariances"][published["template"]]),
        (aligned.similarity_before, published["metric_before"]),
        (aligned.similarity_after, published["metric_after"]),
    ):
        assert_allclose(got, expected, rtol=0, atol=1e-10)


def test_reference_covariances(published):
    for i in range(4):
        got = lagged_covariance([published[f"x_{i}"].astype(float)], 5)
        assert_allclose(got, published["covariances"][i], rtol=0, atol=1e-10)


# Covariances, similarity and search


def test_covariance_of_spans():
    """Nothing is embedded across a gap; channels far from 0 lose no digits."""
    x = structure(1, 700).T + 1e4
    spans = [x[:300], x[310:330], x[330:345], x[400:]]
    got = lagged_covariance(spans, 15)
    # Rounding of numbers of size 1e4 is 1e-12 of them, and squares twice that.
    assert_allclose(got, by_definition(spans, 15), rtol=0, atol=1e-10)


@pytest.mark.parametrize("n_lags", [1, 2, 5])
def test_similarity_is_the_correlation(n_lags):
    """The short way by pairs of channels gives the correlation of all entries."""
    covariances = [by_definition([structure(i).T], n_lags) for i in (1, 2)]
    entries = compared_entries(6, n_lags)
    similarity = Similarity(*map(entries.of, covariances), entries)
    flips = np.random.default_rng(0).choice([-1, 1], (7, 6))
    one_more = similarity.after_each_flip(flips)

    def expected(signs):
        signs = np.repeat(signs, n_lags)
        upper = np.triu_indices(6 * n_lags, k=n_lags)
        a, b = covariances[0] * np.outer(signs, signs), covariances[1]
        return np.corrcoef(a[upper], b[upper])[0, 1]

    assert_allclose(similarity.of(flips), [expected(s) for s in flips], rtol=0, atol=1e-13)
    for channel in range(6):
        changed = flips * np.where(np.arange(6) == channel, -1, 1)
        wanted = [expected(s) for s in changed]
        assert_allclose(one_more[:, channel], wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize("seed", range(5))
def test_search_finds_the_best_of_all(seed):
    """Even where recordings have nothing in common and the landscape is rough."""
    n_channels, entries = 9, compared_entries(9, 2)
    values = [
        entries.of(by_definition([structure(seed, 500, n_channels, mixing_seed=i).T], 2))
        for i in (1, 2)
    ]
    similarity = Similarity(*values, entries)
    everything = np.array(list(product([-1, 1], repeat=n_channels)))
    starts = starts_of_search(20, n_channels, np.random.default_rng(0))
    got = best_flips(similarity, starts)
    assert_allclose(similarity.of(got), similarity.of(everything).max(), rtol=0, atol=1e-12)
    assert got.sum() > 0


def test_more_starts_are_never_worse():
    """And here one alone is not enough."""
    entries = compared_entries(20, 1)
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2, len(entries.rows)))
    similarity = Similarity(*values, entries)
    starts = starts_of_search(50, 20, rng)
    reached = [similarity.of(best_flips(similarity, starts[:n])) for n in (1, 10, 50)]
    assert np.all(np.diff(reached) >= 0)
    assert reached[-1] > reached[0] + 0.01


def test_channels_that_do_not_matter_are_not_flipped():
    """Of equal ends, the one from the signs as they are counts."""
    entries = compared_entries(4, 2)
    covariance = np.eye(8)
    covariance[:4, :4] += structure(0, 4, 4)[:4, :4]
    values = entries.of(covariance)  # channels 2 and 3 are unlike all others
    starts = starts_of_search(20, 4, np.random.default_rng(0))
    assert_array_equal(best_flips(Similarity(values, values, entries), starts), [1, 1, 1, 1])


def test_canonical_template(test_data):
    """A published template with 38 parcels, with random signs."""
    folder = test_data / "Canonical-HMM-Networks" / "models" / "Giles38"
    template = np.load(folder / "template_cov.npy").astype(float)
    entries = compared_entries(38, 15)
    rng = np.random.default_rng(0)
    flips = rng.choice([-1, 1], 38)
    columns = np.repeat(flips, 15)
    similarity = Similarity(
        entries.of(template * np.outer(columns, columns)), entries.of(template), entries
    )
    got = best_flips(similarity, starts_of_search(20, 38, rng))
    assert_array_equal(relative(got[np.newaxis]), relative(flips[np.newaxis]))
    assert_allclose(similarity.of(got), 1, rtol=1e-12)


# Groups


def test_known_flips_are_found():
    raws, flips = group()
    aligned = align_signs(raws, random_state=0)
    assert_array_equal(relative(aligned.flips), relative(flips, flips[aligned.reference]))
    assert np.all(aligned.flips.sum(1) >= 0)
    for raw, new, signs in zip(raws, aligned.raws, aligned.flips, strict=True):
        assert_array_equal(new.get_data(), raw.get_data() * signs[:, np.newaxis])
    others = np.arange(5) != aligned.reference
    assert np.all(aligned.similarity_after[others] > aligned.similarity_before[others])
    assert_allclose(aligned.similarity_after[aligned.reference], 1, rtol=1e-12)
    # What was aligned is left alone.
    again = align_signs(aligned.raws, random_state=1)
    assert np.all(again.flips == 1)
    assert_array_equal(again.similarity_before, again.similarity_after)


def test_unpacks_and_says_what_it_did():
    raws, _ = group(3)
    aligned = align_signs(raws, 1, random_state=0)
    new, flips, before, after = aligned
    assert new is aligned.raws
    assert flips is aligned.flips
    assert before is aligned.similarity_before
    assert after is aligned.similarity_after
    n_flipped = np.sum(aligned.flips == -1)
    assert f"3 recordings, 6 channels, {n_flipped} of 18 flipped" in repr(aligned)
    assert "to recording 1 from" in repr(aligned)
    assert "to a template from" in repr(align_signs(raws, aligned.template, random_state=0))


def test_every_kind_of_reference():
    """A place, the recording there and its covariance are the same template."""
    raws, flips = group()
    by_place = align_signs(raws, 2, random_state=0)
    by_raw = align_signs(raws, raws[2], random_state=0)
    by_array = align_signs(raws, by_place.template, random_state=0)
    assert by_place.reference == 2
    assert by_raw.reference is None
    assert by_array.reference is None
    for other in (by_raw, by_array):
        assert_array_equal(other.flips, by_place.flips)
        assert_array_equal(other.similarity_after, by_place.similarity_after)
    assert_array_equal(relative(by_place.flips), relative(flips, flips[2]))
    # One more recording can join the group later.
    alone = align_signs(raws[4], by_place.template, random_state=0)
    assert_array_equal(alone.flips, by_place.flips[4:])


def test_random_state():
    """The same seed gives the same bits, and order does not matter."""
    raws, _ = group(4, 7)
    first = align_signs(raws, 0, n_init=3, random_state=5)
    again = align_signs(raws, 0, n_init=3, random_state=np.random.default_rng(5))
    assert_array_equal(again.flips, first.flips)
    assert_array_equal(again.similarity_after, first.similarity_after)
    turned = align_signs([raws[0], *raws[:0:-1]], 0, n_init=3, random_state=5)
    assert_array_equal(turned.flips[[0, 3, 2, 1]], first.flips)


def test_recordings_are_never_changed(tmp_path):
    """Copies keep annotations, times and the channels that were not picked."""
    raws, flips = group(3)
    date = 1_600_000_000
    full = []
    for i, raw in enumerate(raws):
        data = np.vstack([np.arange(raw.n_times), raw.get_data()])
        recording = parcels_raw(data, first_samp=1000 * i)
        recording.set_meas_date(date)
        recording.set_annotations(
            mne.Annotations(1.0 + 4 * i, 2.0, "BAD_move", recording.info["meas_date"])
        )
        full.append(recording)
    fname = tmp_path / "one_raw.fif"
    full[2].save(fname, fmt="double", verbose="ERROR")
    full[2] = mne.io.read_raw_fif(fname, verbose="ERROR")
    before = [raw.get_data() for raw in full]
    picks = full[0].ch_names[1:]
    aligned = align_signs(full, picks=picks, random_state=0)
    assert aligned.ch_names == tuple(picks)
    assert not full[2].preload
    for raw, data, new, signs in zip(full, before, aligned.raws, aligned.flips, strict=True):
        assert_array_equal(raw.get_data(), data)
        assert_array_equal(new.get_data()[0], data[0])
        assert_array_equal(new.get_data()[1:], data[1:] * signs[:, np.newaxis])
        assert new.first_samp == raw.first_samp
        assert new.annotations == raw.annotations
        assert new.info["meas_date"] == raw.info["meas_date"]
    assert_array_equal(relative(aligned.flips), relative(flips, flips[aligned.reference]))


def test_channels_are_matched_by_name():
    raws, flips = group(3)
    order = [3, 0, 5, 1, 4, 2]
    raws[1].reorder_channels([raws[1].ch_names[i] for i in order])
    aligned = align_signs(raws, 0, random_state=0)
    assert_array_equal(relative(aligned.flips), relative(flips, flips[0]))
    signs = aligned.flips[1][order][:, np.newaxis]
    assert_array_equal(aligned.raws[1].get_data(), raws[1].get_data() * signs)
    # A reference outside the list is matched, too.
    by_raw = align_signs([raws[0], raws[2]], raws[1], random_state=0)
    assert_array_equal(relative(by_raw.flips), relative(flips[[0, 2]], flips[1]))


def test_bad_spans_are_left_out():
    """What is annotated as bad may be anything, even other signs or no numbers."""
    raws, _ = group(3)
    spoiled = [raw.copy() for raw in raws]
    spoiled[1]._data[:, 1000:1500] = np.nan
    spoiled[1].set_annotations(mne.Annotations(1000 / SFREQ, 500 / SFREQ, "BAD_jump"))
    # A span of 10 samples is too short for 15 lags.
    spoiled[1].annotations.append(1510 / SFREQ, 100 / SFREQ, "BAD_move")
    aligned = align_signs(spoiled, 1, random_state=0)
    x = raws[1].get_data().T
    expected = by_definition([x[:1000], x[1610:]], 15)
    assert_allclose(aligned.template, expected, rtol=0, atol=1e-12)


# Bad input


def check(error, parts, raws, reference=None, **kwargs):
    """Expect an error whose message has all parts, in this order."""
    with raises(error, parts):
        align_signs(raws, reference, **{"random_state": 0, **kwargs})


@pytest.fixture
def pair():
    return group(2)[0]


@pytest.mark.parametrize("raws", [[], ()])
def test_no_recordings(raws):
    check(ValueError, ["raws is an empty list", "pass the recordings"], raws)


def test_no_raw(pair):
    arrays = [raw.get_data() for raw in pair]
    check(TypeError, ["raws must be", "ndarray at place 0", "RawArray", "read_raw"], arrays)
    check(TypeError, ["str at place 1", "read_raw"], [pair[0], "parcels_raw.fif"])


def test_one_recording(pair):
    check(ValueError, ["one recording and reference is None", "pass several"], pair[:1])


def test_one_channel(pair):
    check(ValueError, ["1 channel × 15 lags", "nothing to compare"], pair, picks=[0])
    check(ValueError, ["2 channels × 1 lag"], pair, picks=[0, 1], n_embeddings=1)


def test_other_channels(pair):
    check(ValueError, ["recording 0 lacks 5"], [pair[0].copy().drop_channels("5"), pair[1]])
    reference = pair[1].copy().drop_channels("5")
    check(ValueError, ["reference lacks 5", "recording 0", "picks="], pair, reference)
    reference = pair[1].copy()
    reference.info["bads"] = ["3"]
    check(ValueError, ["reference lacks 3", "bad"], pair, reference)


def test_other_rates(pair):
    other = pair[1].copy().resample(125, verbose="ERROR")
    parts = ["recording 0 has 250 Hz", "recording 1 125 Hz", "raw.resample"]
    check(ValueError, parts, [pair[0], other])
    check(ValueError, ["250 Hz", "reference 125 Hz"], pair, other)


@pytest.mark.parametrize("reference", [-1, 2, np.int64(7)])
def test_place_that_does_not_exist(pair, reference):
    parts = [f"reference={reference} is none of the 2 recordings", "from 0 to 1"]
    check(ValueError, parts, pair, reference)


@pytest.mark.parametrize("reference", [True, 1.0, "median", [0, 1]])
def test_reference_of_another_kind(pair, reference):
    check(TypeError, ["reference must be None", "place", repr(reference)], pair, reference)


def test_array_that_is_no_template(pair):
    parts = ["shape (30, 30)", "6 channels × 15 lags has (90, 90)"]
    check(ValueError, parts, pair, np.eye(30))
    check(ValueError, ["one value in all entries"], pair, np.eye(90))
    check(ValueError, ["NaN"], pair, np.full((90, 90), np.nan))


@pytest.mark.parametrize("name", ["n_embeddings", "n_init"])
def test_numbers_out_of_range(pair, name):
    check(ValueError, [f"{name} must be a whole number ≥ 1, got 0"], pair, **{name: 0})
    check(TypeError, [f"{name} must be", "2.5"], pair, **{name: 2.5})


def test_too_many_lags(pair):
    parts = ["recording 1", "no good span", "n_embeddings=101", "annotations"]
    check(ValueError, parts, [pair[0], pair[1].crop(0, 100 / SFREQ)], n_embeddings=101)


def test_flat_and_not_finite(pair):
    flat = pair[1].copy()
    flat._data[2] = 3.0
    check(ValueError, ["recording 1", "flat in 2 ", "picks="], [pair[0], flat])
    lost = pair[1].copy()
    lost._data[4, 100] = np.nan
    check(ValueError, ["recording 1", "NaN", "in 4;", "BAD_nan"], [pair[0], lost])


# Real EEG


@pytest.fixture(scope="module")
def parcels(eegbci):
    """Ten recordings of parcels from fourteen runs of one person; four have two runs."""
    raws = eegbci(*range(1, 15), preload=True)
    for raw in raws:
        names = raw.ch_names[::3][:20]
        raw.pick(names).set_channel_types(dict.fromkeys(names, "misc"), on_unit_change="ignore")
        raw.crop(0, 60.0)  # before the zeros that files end in
    return raws[4:10] + [
        mne.concatenate_raws([raws[i], raws[10 + i]], verbose="ERROR") for i in range(4)
    ]


def flipped(raws, flips):
    return [
        raw.copy().apply_function(
            lambda x, signs=signs: x * signs[:, np.newaxis], picks="all", channel_wise=False
        )
        for raw, signs in zip(raws, flips, strict=True)
    ]


@pytest.fixture(scope="module")
def random_flips():
    return np.random.default_rng(0).choice([-1, 1], (10, 20))


def test_flips_of_real_recordings_are_found(parcels, random_flips):
    """All flips, up to the sign of a recording as a whole."""
    aligned = align_signs(flipped(parcels, random_flips), random_state=0)
    expected = relative(random_flips, random_flips[aligned.reference])
    assert_array_equal(relative(aligned.flips), expected)
    others = np.arange(10) != aligned.reference
    assert np.all(aligned.similarity_before[others] < 0.5)
    assert np.all(aligned.similarity_after > 0.8)


PREPARATION = mne_hmm.Preparation(n_components=20)


def test_preparation_tells_of_signs(parcels, random_flips, tmp_path):
    """In memory and in a folder, once."""
    raws = flipped(parcels[:4], random_flips[:4])
    for options in ({}, {"cache_dir": tmp_path / "features"}):
        with pytest.warns(RuntimeWarning, match=r"signs.* recording .*align_signs") as caught:
            mne_hmm.prepare(raws, PREPARATION, **options)
        assert sum("signs" in str(warning.message) for warning in caught) == 1


def test_preparation_tells_of_one_recording(parcels):
    """Where a quarter of the channels of one among others is flipped."""
    flips = np.ones((4, 20), int)
    flips[2, :5] = -1
    with pytest.warns(RuntimeWarning, match=r"flipped, recording 2 \(\S+\) would"):
        mne_hmm.prepare(flipped(parcels[:4], flips), PREPARATION)


def test_preparation_is_silent_where_signs_agree(parcels, random_flips):
    """Warnings are errors here."""
    mne_hmm.prepare(parcels, PREPARATION)
    aligned = align_signs(flipped(parcels, random_flips), random_state=0)
    mne_hmm.prepare(aligned.raws, PREPARATION)


@pytest.mark.parametrize(
    ("kind", "preparation"),
    [
        ("eeg", PREPARATION),  # the signs of sensors are known
        ("misc", mne_hmm.Preparation(envelope=True, n_components=20)),  # envelopes have none
        ("misc", mne_hmm.Preparation(n_embeddings=1, n_components=20)),
    ],
)
def test_preparation_is_silent_where_signs_do_not_matter(parcels, random_flips, kind, preparation):
    raws = flipped(parcels[:3], random_flips[:3])
    for raw in raws:
        raw.set_channel_types(dict.fromkeys(raw.ch_names, kind), on_unit_change="ignore")
    mne_hmm.prepare(raws, preparation)


@pytest.mark.parametrize("n_channels", [3, 8])
def test_preparation_is_silent_on_recordings_that_have_nothing_in_common(n_channels):
    """Some flips always make them a little more similar."""
    raws = [parcels_raw(structure(i, 3000, n_channels, mixing_seed=i)) for i in range(5)]
    mne_hmm.prepare(raws, mne_hmm.Preparation(n_components=10))
