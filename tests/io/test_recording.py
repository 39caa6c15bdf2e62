"""Any input becomes recordings, with the right channels and good spans, and stays as it was."""

from datetime import UTC, datetime
from functools import partial

import helpers
import mne
import numpy as np
import pytest
from helpers import annotate
from numpy.testing import assert_array_equal

from mne_hmm import Preparation, prepare
from mne_hmm.io.inputs import to_recordings
from mne_hmm.io.recording import cut

SFREQ = 100.0
DATE = datetime(2021, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
# Keeps the signals, so that what comes out can be compared with what went in.
make_raw = partial(helpers.make_raw, n_times=1000, ch_names="abc", sfreq=SFREQ)
AS_IS = Preparation.as_is()


def spans_of(raw, **kwargs):
    """Good spans of one recording."""
    return list(to_recordings(raw, **kwargs)[0].spans)


# Channels


def test_no_picks_take_the_good_data_channels():
    raw = make_raw(ch_names="abcde", ch_types=["eeg", "misc", "mag", "stim", "grad"])
    raw.info["bads"] = ["c"]
    assert to_recordings(raw)[0].ch_names == ("a", "e")


def test_no_picks_take_the_good_misc_channels_where_there_are_no_others():
    raw = make_raw(ch_names="abcd", ch_types=["misc", "stim", "misc", "misc"])
    raw.info["bads"] = ["c"]
    assert to_recordings(raw)[0].ch_names == ("a", "d")


@pytest.mark.parametrize(
    ("picks", "expected"),
    [
        ("mag", ("c",)),
        (["c", "a", "d"], ("c", "a", "d")),  # in the order they are named
        ([3, 0, 2], ("d", "a", "c")),
        (slice(1, 3), ("b", "c")),
        (["b"], ("b",)),  # named channels are taken even if they are marked as bad
    ],
)
def test_picks_are_those_of_mne(picks, expected):
    raw = make_raw(ch_names="abcd", ch_types=["eeg", "eeg", "mag", "eeg"])
    raw.info["bads"] = ["b"]
    assert to_recordings(raw, picks=picks)[0].ch_names == expected


def test_recordings_of_a_list_are_reordered_by_name():
    first, second = make_raw(ch_names="abc"), make_raw(ch_names="abc", seed=1)
    turned = second.copy().reorder_channels(["b", "c", "a"])
    assert [r.ch_names for r in to_recordings([first, turned])] == [("a", "b", "c")] * 2
    expected = prepare([first, second], AS_IS).data
    for got, want in zip(prepare([first, turned], AS_IS).data, expected, strict=True):
        assert_array_equal(got, want)


def test_a_fitted_preparation_finds_its_channels_by_name():
    raw = make_raw(ch_names="abc")
    fitted = prepare(raw, AS_IS).preparation
    other = make_raw(ch_names="cxab", seed=1)
    got = prepare(other, fitted).data[0]
    assert_array_equal(got, other.get_data(["a", "b", "c"]).T.astype(np.float32))


def test_channels_of_arrays_are_taken_in_their_order():
    x = make_raw().get_data()
    recording = to_recordings(x, sfreq=SFREQ)[0]
    assert not recording.named
    assert_array_equal(recording.read(10, 20), x[:, 10:20])
    picked = to_recordings(x, sfreq=SFREQ, picks=[2, 0, 1])[0]
    assert_array_equal(picked.read(10, 20), x[[2, 0, 1], 10:20])


# Good spans


@pytest.mark.parametrize(
    ("cuts", "expected"),
    [
        ([], [(5, 20)]),
        ([(8, 10)], [(5, 8), (10, 20)]),
        ([(10, 10)], [(5, 10), (10, 20)]),  # a cut of no length still cuts
        ([(5, 5)], [(5, 20)]),
        ([(20, 20)], [(5, 20)]),
        ([(12, 15), (6, 8), (7, 13)], [(5, 6), (15, 20)]),  # in any order, overlapping
        ([(6, 18), (8, 10)], [(5, 6), (18, 20)]),  # one inside another
        ([(0, 7), (18, 30)], [(7, 18)]),
        ([(0, 3), (25, 30)], [(5, 20)]),
        ([(0, 30)], []),
        ([(8, 10), (10, 12)], [(5, 8), (12, 20)]),
        ([(8, 12), (10, 10)], [(5, 8), (12, 20)]),
    ],
)
def test_cut(cuts, expected):
    assert cut((5, 20), cuts) == expected


@pytest.mark.parametrize("meas_date", [None, DATE])
@pytest.mark.parametrize("first_samp", [0, 12_345])
def test_good_spans_are_what_mne_calls_good(first_samp, meas_date):
    raw = make_raw(first_samp=first_samp, meas_date=meas_date)
    # Also between samples, overlapping, in small letters, and over both ends.
    annotate(
        raw, (0, 30, "bad start"), (100.4, 140.6, "BAD_x"), (130, 150, "Bad y"), (300, 310, "ok")
    )
    raw.annotations.append(raw.annotations.onset[0] + 9, 1.0, "BAD end")
    good = np.isfinite(raw.get_data([0], reject_by_annotation="NaN")[0])
    expected = np.zeros(raw.n_times, bool)
    for start, stop in spans_of(raw):
        assert not expected[start:stop].any()
        expected[start:stop] = True
    assert_array_equal(expected, good)
    assert spans_of(raw) == [(30, 100), (150, 900)]
    assert spans_of(raw, reject_by_annotation=False) == [(0, 1000)]


def test_a_crop_moves_the_spans_along():
    raw = annotate(make_raw(meas_date=DATE, first_samp=77), (300, 350, "BAD_x"))
    raw.crop(2.5, 8.0)
    assert spans_of(raw) == [(0, 50), (100, 551)]


def test_a_concatenation_cuts_but_its_parts_are_all_there():
    raw = mne.concatenate_raws(
        [make_raw(n_times=400), make_raw(n_times=301, seed=1), make_raw(n_times=100, seed=2)]
    )
    expected = [(0, 400), (400, 701), (701, 801)]
    assert spans_of(raw) == expected
    assert list(to_recordings(raw)[0].segments) == expected
    assert spans_of(raw, reject_by_annotation=False) == expected


def test_bad_spans_are_no_jumps_but_interruptions_are():
    raw = annotate(
        make_raw(),
        (100, 150, "BAD_blink"),
        (400, 450, "BAD_ACQ_SKIP"),
        (600, 600, "EDGE boundary"),
        (800, 800, "BAD_mark"),
    )
    recording = to_recordings(raw)[0]
    assert list(recording.segments) == [(0, 400), (450, 600), (600, 1000)]
    assert list(recording.spans) == [(0, 100), (150, 400), (450, 600), (600, 800), (800, 1000)]
    assert spans_of(raw, reject_by_annotation=False) == [(0, 400), (450, 600), (600, 1000)]


def test_no_filter_can_cross_bad_spans_that_hold_no_numbers():
    raw = annotate(make_raw(), (100, 150, "BAD_x"), (400, 450, "BAD_nan"))
    raw._data[1, 420:430] = np.nan
    recording = to_recordings(raw)[0]
    assert list(recording.segments) == [(0, 400), (450, 1000)]
    assert list(recording.spans) == [(0, 100), (150, 400), (450, 1000)]


# Kinds of input


@pytest.mark.parametrize("as_type", [str, lambda path: path])
def test_fif_files(tmp_path, as_type):
    raw = annotate(make_raw(first_samp=50, meas_date=DATE), (300, 350, "BAD_x"))
    fname = tmp_path / "sub-01_raw.fif"
    raw.save(fname, fmt="double")
    from_file, from_raw = prepare(as_type(fname), AS_IS), prepare(raw, AS_IS)
    assert_array_equal(from_file.data[0], from_raw.data[0])
    assert from_file.spans == from_raw.spans == [[(0, 300), (300, 950)]]
    assert from_file.names == ["the recording (sub-01_raw.fif)"]


def test_npy_files_and_arrays(tmp_path):
    arrays = [make_raw(seed=i).get_data() for i in range(2)]
    fnames = [tmp_path / f"{i}.npy" for i in range(2)]
    for fname, array in zip(fnames, arrays, strict=True):
        np.save(fname, array)
    from_files = prepare(fnames, AS_IS, sfreq=SFREQ)
    from_arrays = prepare(tuple(arrays), AS_IS, sfreq=SFREQ)
    for x, y, array in zip(from_files.data, from_arrays.data, arrays, strict=True):
        assert_array_equal(x, array.T.astype(np.float32))
        assert_array_equal(y, x)
    assert from_files.names == ["recording 0 (0.npy)", "recording 1 (1.npy)"]
    assert from_arrays.names == ["recording 0", "recording 1"]


@pytest.mark.parametrize("dtype", [np.float32, np.int16, ">f8"])
def test_arrays_of_any_real_type(dtype):
    x = (100 * make_raw().get_data()).astype(dtype)
    got = prepare(x, AS_IS, sfreq=SFREQ).data[0]
    assert got.dtype == np.float32
    assert_array_equal(got, x.T.astype(np.float32))


def test_arrays_stay_as_they_were():
    x = make_raw().get_data()
    before = x.copy()
    x.setflags(write=False)
    prepare(x, Preparation(n_components=3, h_freq=40), sfreq=SFREQ)
    assert_array_equal(x, before)


def state_of(raw):
    """All that must not change when a recording is used."""
    return (
        raw.preload,
        raw.get_data(),
        mne.utils.object_hash(dict(raw.info)),
        raw.annotations.copy(),
        raw.first_samp,
        raw.times,
    )


def assert_same_state(before, after):
    for old, new in zip(before, after, strict=True):
        if isinstance(old, np.ndarray):
            assert_array_equal(new, old)
        else:
            assert new == old


@pytest.mark.parametrize("preparation", [Preparation(n_components=5, h_freq=40), AS_IS])
def test_a_raw_stays_as_it_was(preparation):
    raw = annotate(make_raw(first_samp=9, meas_date=DATE), (300, 350, "BAD_x"))
    before = state_of(raw)
    prepare(raw, preparation)
    assert_same_state(before, state_of(raw))


# These files end in 0.8 s of padding, which is left out with a warning.
padded = pytest.mark.filterwarnings("ignore:(0.80|1.60) s without any signal:RuntimeWarning")
LIGHT = Preparation(n_embeddings=3, n_components=10)


@padded
def test_real_recordings_stay_as_they_were(eegbci):
    raw = eegbci(1)[0]
    before = state_of(raw)
    prepare(raw, LIGHT)
    assert_same_state(before, state_of(raw))
    assert not raw.preload


@padded
def test_real_recordings_preloaded_or_not_or_as_paths_are_the_same(eegbci):
    lazy, loaded = eegbci(1)[0], eegbci(1, preload=True)[0]
    expected = prepare(lazy, LIGHT)
    for inst in (loaded, lazy.filenames[0], str(lazy.filenames[0]), [lazy]):
        got = prepare(inst, LIGHT)
        assert_array_equal(got.data[0], expected.data[0])
        assert got.spans == expected.spans
        assert_array_equal(got.times[0], expected.times[0])


@padded
def test_real_recordings_together_in_any_order_of_channels(eegbci):
    first, second = eegbci(1, 2, preload=True)
    turned = second.copy().reorder_channels(second.ch_names[5:] + second.ch_names[:5])
    expected, got = prepare([first, second], LIGHT), prepare([first, turned], LIGHT)
    for x, y in zip(got.data, expected.data, strict=True):
        assert_array_equal(x, y)
