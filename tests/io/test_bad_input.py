"""Bad input gets an error that names what is wrong and what to do about it."""

import mne
import numpy as np
import pytest
from helpers import annotate, make_raw, raises

from mne_hmm import Preparation, Priors, fit_hmm, prepare
from mne_hmm.io.inputs import to_recordings

SFREQ = 250.0
LIGHT = Preparation(n_embeddings=5, n_components=6)


def bad(raw, *ch_names):
    """Mark channels as bad."""
    raw.info["bads"] = list(ch_names)
    return raw


def check(error, parts, inst, preparation=LIGHT, **kwargs):
    """Expect an error whose message has all parts, in this order."""
    with raises(error, parts):
        prepare(inst, preparation, **kwargs)


# What is no recording


@pytest.mark.parametrize("inst", [[], ()])
def test_empty_list(inst):
    check(ValueError, ["inst is an empty list", "at least one recording"], inst)


@pytest.mark.parametrize(
    ("inst", "kind"),
    [
        (3, "builtins.int"),
        (None, "builtins.NoneType"),
        ({"raw": 1}, "builtins.dict"),
    ],
)
def test_unknown_types(inst, kind):
    check(
        TypeError,
        ["inst must be a Raw, Epochs, an array", "a path", "or a list", "got", kind],
        inst,
    )


def test_unknown_type_in_a_list_is_numbered():
    check(TypeError, ["recording 1: inst must be", "got builtins.list"], [make_raw(), [1, 2]])


def test_evoked():
    evoked = mne.make_fixed_length_epochs(make_raw(), 1.0, preload=True).average()
    check(TypeError, ["recording", "inst is an Evoked", "pass the Epochs"], evoked)


def test_mixed_list():
    raw = make_raw()
    parts = ["inst must be a list of one kind", "RawArray (0), ndarray (1)", "mne.io.RawArray"]
    check(TypeError, parts, [raw, raw.get_data()])
    check(TypeError, ["one kind", "ndarray (0), RawArray (1)"], [raw.get_data(), raw])


def test_prepared_data_are_not_prepared_again():
    prepared = prepare(make_raw(), LIGHT)
    parts = ["inst is PreparedData", "prepared already", "fit_hmm or hmm.predict"]
    check(TypeError, parts, prepared)
    check(TypeError, parts, [prepared, prepared])
    with pytest.raises(TypeError, match=r"one kind.*prepare all recordings in one call"):
        fit_hmm([prepared, make_raw()], 2)


@pytest.mark.parametrize("preparation", ["tde", {"h_freq": 30}, Preparation])
def test_what_is_no_preparation(preparation):
    parts = ["preparation must be a Preparation, as in Preparation(h_freq=30)", "got"]
    check(TypeError, parts, make_raw(), preparation)


# Arrays


def test_array_without_rate():
    parts = ["is an array and sfreq is None", "sampling rate in hertz, sfreq=..."]
    check(ValueError, ["the recording", *parts], make_raw().get_data())
    check(ValueError, ["recording 0", *parts], [make_raw().get_data()] * 2)


@pytest.mark.parametrize(
    ("sfreq", "error"),
    [(0, ValueError), (-1.5, ValueError), (np.nan, ValueError), ("9", TypeError)],
)
def test_rate_of_arrays_must_be_one(sfreq, error):
    parts = ["sfreq must be a rate above 0 Hz", f"got {sfreq!r}"]
    check(error, parts, make_raw().get_data(), sfreq=sfreq)


def test_rate_with_a_raw(tmp_path):
    parts = ["sfreq=250", "of arrays", "inst is a Raw", "leave sfreq out", "Preparation(sfreq="]
    check(ValueError, parts, make_raw(), sfreq=250)
    make_raw().save(tmp_path / "x_raw.fif")
    check(ValueError, parts, tmp_path / "x_raw.fif", sfreq=250)


def test_rate_with_epochs():
    epochs = mne.make_fixed_length_epochs(make_raw(), 1.0, preload=True)
    parts = ["sfreq=250", "of arrays", "inst is Epochs", "leave sfreq out", "Preparation(sfreq="]
    check(ValueError, parts, epochs, sfreq=250)


def test_epochs_beside_an_array():
    epochs = mne.make_fixed_length_epochs(make_raw(), 1.0, preload=True)
    check(TypeError, ["one kind", "Epochs (0), ndarray (1)"], [epochs, make_raw().get_data()])


def test_no_good_epoch():
    reject = {"reject": {"eeg": 1e-6}, "preload": False, "baseline": None}
    events = mne.make_fixed_length_events(make_raw(), duration=1.0)
    epochs = mne.Epochs(make_raw(), events, tmin=0, tmax=0.5, **reject)
    parts = ["no good epoch (all 8 were dropped)", "epochs.plot_drop_log()", "reject"]
    check(ValueError, parts, epochs)
    check(ValueError, ["recording 1 has no good epoch;"], [make_raw(), epochs])


def test_complex_epochs():
    info = mne.create_info(2, SFREQ, "misc")
    epochs = mne.EpochsArray(np.full((3, 2, 100), 1j), info, verbose="ERROR")
    check(TypeError, ["real numbers", "got complex", "numpy.abs"], epochs)


def test_values_that_are_not_finite_in_epochs():
    epochs = mne.make_fixed_length_epochs(make_raw(), 1.0, preload=True, verbose="ERROR")
    epochs._data[3, 1, 50] = np.nan
    parts = ["NaN or infinite", "in b, first in epoch 3 at 0.200 s", "epochs.drop"]
    check(ValueError, parts, epochs)


def test_epochs_that_are_too_short():
    epochs = mne.make_fixed_length_epochs(make_raw(), 0.04, preload=True, verbose="ERROR")
    light = Preparation(l_freq=None, h_freq=None, n_embeddings=15, n_components=6)
    check(ValueError, ["no good span long enough: 200 spans", "cut longer epochs"], epochs, light)


@pytest.mark.parametrize("shape", [(10,), (2, 3, 400), ()])
def test_arrays_of_other_shapes(shape):
    parts = ["an array must be of shape (n_channels, n_times)", f"got {shape}", "as a list"]
    check(ValueError, parts, np.zeros(shape), sfreq=SFREQ)


@pytest.mark.parametrize("shape", [(3, 0), (0, 300)])
def test_empty_arrays(shape):
    check(ValueError, ["must not be empty", f"got shape {shape}"], np.zeros(shape), sfreq=SFREQ)


@pytest.mark.parametrize(
    ("dtype", "way_out"),
    [
        (complex, "numpy.abs(array)"),
        (bool, "array.astype(float)"),
        (object, "array.astype(float)"),
        (str, "array.astype(float)"),
    ],
)
def test_arrays_of_other_types(dtype, way_out):
    x = make_raw().get_data().astype(dtype)
    check(TypeError, ["must hold real numbers", f"got {x.dtype}", way_out], x, sfreq=SFREQ)


def test_arrays_with_different_channels():
    x = make_raw().get_data()
    parts = ["recording 1 has 3 channels and recording 0 4", "must have the same channels"]
    check(ValueError, parts, [x, x[:3]], sfreq=SFREQ)


# Files


@pytest.mark.parametrize("as_type", [str, lambda path: path])
@pytest.mark.parametrize("name", ["x_raw.fif", "x.edf", "x.npy"])
def test_path_that_does_not_exist(tmp_path, name, as_type):
    parts = [f"the recording ({name})", "inst", "does not exist", name, "check the path", "folder"]
    check(FileNotFoundError, parts, as_type(tmp_path / name), sfreq=SFREQ)
    there = tmp_path / "there.npy"
    np.save(there, make_raw().get_data())
    parts = [f"recording 1 ({name})", "does not exist"]
    check(FileNotFoundError, parts, [there, tmp_path / name], sfreq=SFREQ)


@pytest.mark.parametrize("name", ["x_raw.fif", "x.edf", "x.npy", "x.txt"])
def test_file_that_is_no_recording(tmp_path, name):
    fname = tmp_path / name
    fname.write_text("no recording")
    parts = [f"the recording ({name})", str(fname), "cannot be read", "complete", "mne.io.read_raw"]
    check(OSError, parts, fname, sfreq=SFREQ)


def test_npy_file_with_a_wrong_array(tmp_path):
    fname = tmp_path / "x.npy"
    np.save(fname, np.zeros((2, 3, 4)))
    check(ValueError, ["(x.npy)", "(2, 3, 4)", "of shape (n_channels, n_times)"], fname, sfreq=1)


# Samples


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(value):
    raw = make_raw(n_times=4000)
    raw._data[1, 1777] = raw._data[3, 1790] = value
    parts = ["the recording", "NaN or infinite", "in b, d,", "at 7.108 s", "BAD_nan", "picks=..."]
    check(ValueError, parts, raw)
    check(ValueError, ["recording 1", "b, d"], [make_raw(), raw])
    # Time counts from the recording's start behind a cut as well.
    check(ValueError, ["b, d", "at 7.108 s"], annotate(raw, (900, 900, "EDGE boundary")))
    # And the ways out are ways out.
    prepare(annotate(raw, (1777, 1791, "BAD_nan")), LIGHT)
    prepare(raw.set_annotations(None), LIGHT, picks=["a", "c"])
    prepare(bad(raw, "b", "d"), LIGHT)


@pytest.mark.parametrize("value", [0.0, 1e-5, -7.0])
def test_flat_channels(value):
    raw = make_raw()
    raw._data[[0, 2]] = value
    parts = ["the recording", "flat in a, c", "one value", 'raw.info["bads"]', "picks=..."]
    check(ValueError, parts, raw)
    check(ValueError, ["recording 1", "flat in a, c"], [make_raw(), raw])
    prepare(bad(raw, "a", "c"), LIGHT)
    # Moving only in a bad span is flat as well.
    raw._data[0, 100:200] = np.arange(100)
    check(ValueError, ["flat in a "], annotate(bad(raw, "c"), (100, 200, "BAD_x")))


def test_all_channels_flat():
    raw = make_raw()
    raw._data[:] = 1
    check(ValueError, ["flat in a, b, c, d"], raw)
    # Also in all that is not bad.
    raw._data[:, :500] = make_raw().get_data()[:, :500]
    check(ValueError, ["flat in a, b, c, d"], annotate(raw, (0, 500, "BAD_x")))


def test_no_good_span_left():
    raw = annotate(make_raw(), (0, 2000, "BAD_x"))
    parts = ["the recording", "no good span", "all of its 8.0 s", "raw.annotations"]
    check(ValueError, [*parts, "reject_by_annotation=False"], raw)
    check(ValueError, ["recording 1 has no good span"], [make_raw(), raw])
    prepare(raw, LIGHT, reject_by_annotation=False)


def test_no_good_span_long_enough():
    cuts = [(start, start + 2, "BAD_x") for start in range(0, 2000, 16)]
    raw = annotate(make_raw(), *cuts)
    parts = [
        "no good span long enough: 125 spans, 7.000 s together",
        "15 lags needs more than 15 samples in a row (0.060 s at 250 Hz)",
        "raw.annotations",
        "n_embeddings",
    ]
    check(ValueError, parts, raw, Preparation())
    prepare(raw, LIGHT)
    # After resampling there are fewer samples.
    parts = ["more than 7 samples in a row (0.070 s at 100 Hz)"]
    check(ValueError, parts, raw, Preparation(n_embeddings=7, sfreq=100))


@pytest.mark.parametrize("n_times", [10, 15])
def test_recordings_that_are_too_short(n_times):
    # One row, of 15 samples, has no standard deviation.
    preparation = Preparation.standardized(n_embeddings=15)
    x = make_raw(n_times=n_times).get_data()
    parts = [f"1 span, {n_times / SFREQ:.3f} s together", "more than 15 samples in a row"]
    check(ValueError, parts, x, preparation, sfreq=SFREQ)


# Rates and frequencies


@pytest.mark.parametrize("sfreq", [60.0, 90.0])
def test_rate_too_low_for_the_filter(sfreq):
    parts = [f"sampling rate={sfreq:g} Hz is too low for h_freq=45 Hz", "above 90 Hz"]
    way_out = f"Preparation(h_freq={0.4 * sfreq:g})"
    check(ValueError, ["the recording", *parts, way_out], make_raw(sfreq=sfreq))
    check(ValueError, ["recording 1", *parts], [make_raw(), make_raw(sfreq=sfreq)])
    prepare(make_raw(sfreq=sfreq), Preparation(h_freq=0.4 * sfreq, n_components=6))


def test_target_rate_too_low_for_the_filter():
    match = r"sfreq=80 Hz is too low for h_freq=45 Hz.*above 90 Hz.*Preparation\(h_freq=32\).*None"
    with pytest.raises(ValueError, match=match):
        Preparation(sfreq=80)
    Preparation(sfreq=80, h_freq=32)


def test_different_rates_that_are_to_stay():
    raws = [make_raw(), make_raw(sfreq=500.0)]
    parts = ["preparation.sfreq is None", "recording 0 has 250 Hz and recording 1 500 Hz"]
    check(ValueError, [*parts, "Preparation(sfreq=250)"], raws, Preparation(sfreq=None))
    fitted = prepare(raws[0], Preparation(sfreq=None, n_components=6)).preparation
    parts = ["has 500 Hz", "trained on data at 250 Hz", "raw.resample(250)"]
    check(ValueError, parts, raws[1], fitted)


# Settings


def refuse(error, parts, **settings):
    with raises(error, parts):
        Preparation(**settings)


@pytest.mark.parametrize("name", ["l_freq", "h_freq", "sfreq"])
def test_frequencies_must_be_some(name):
    refuse(ValueError, [f"{name} must be None or a number above 0 Hz, got 0"], **{name: 0})
    refuse(ValueError, [f"{name} must be", "got nan"], **{name: np.nan})
    refuse(TypeError, [f"{name} must be", "got '45' of type str"], **{name: "45"})


def test_band_must_not_be_empty():
    refuse(ValueError, ["l_freq must be below h_freq", "l_freq=45.0"], l_freq=45)


@pytest.mark.parametrize("n", [2, 14])
def test_even_number_of_lags(n):
    parts = ["n_embeddings must be odd", f"got {n};", f"{n - 1} or {n + 1}"]
    refuse(ValueError, parts, n_embeddings=n)


@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (-3, ValueError), (2.5, TypeError)])
def test_wrong_number_of_lags(n, error):
    refuse(error, ["n_embeddings must be a whole number ≥ 1", f"got {n}"], n_embeddings=n)


@pytest.mark.parametrize(
    ("n", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (0.0, ValueError),
        (1.5, ValueError),
        (True, TypeError),
        ("all", TypeError),
    ],
)
def test_wrong_number_of_components(n, error):
    parts = ['n_components must be "auto", a whole number', "share", "None", f"got {n!r}"]
    refuse(error, parts, n_components=n)


def test_more_components_than_dimensions():
    parts = ["n_components=21 is more than the 20 dimensions", "4 channels × 5 lags"]
    way_out = "pass n_components≤20 or more channels"
    too_many = Preparation(n_embeddings=5, n_components=21)
    check(ValueError, [*parts, way_out], make_raw(), too_many)
    prepare(make_raw(), Preparation(n_embeddings=5, n_components=20))


@pytest.mark.filterwarnings("ignore:The 4 channels have rank 3:RuntimeWarning")
def test_more_components_than_independent_channels_have():
    raw = make_raw()
    raw._data -= raw._data.mean(0)
    settings = Preparation(n_embeddings=5, n_components=16)
    check(ValueError, ["n_components=16 is more than the 15 dim", "n_components≤15"], raw, settings)


@pytest.mark.parametrize("name", ["envelope", "whiten", "standardize"])
def test_switches_are_true_or_false(name):
    refuse(ValueError, [f"{name} must be one of True, False, got 'yes'"], **{name: "yes"})


def test_whitening_needs_components():
    refuse(ValueError, ["whiten=True", "n_components is None"], whiten=True, n_components=None)


def test_unknown_alignment():
    refuse(ValueError, ["align must be one of None, 'euclidean', 'riemannian'"], align="rotation")


# Channels


def test_no_channel_to_take():
    parts = ["picks=None takes the good data or misc channels", "the recording has none"]
    check(ValueError, [*parts, "stim", "picks=..."], make_raw(ch_types="stim"))
    check(ValueError, [*parts, "marked as bad: a, b, c, d"], bad(make_raw(), *"abcd"))


def test_channel_picked_twice():
    check(ValueError, ["picks=['a', 'a']", "more than once"], make_raw(), picks=["a", "a"])


@pytest.mark.parametrize("turned", [False, True])
def test_missing_channels_in_a_list(turned):
    raws = [make_raw(ch_names="abcd"), make_raw(ch_names="cab")]
    lacking = 0 if turned else 1
    parts = [f"recording {lacking} lacks d", f"which recording {1 - lacking} has", "picks=..."]
    check(ValueError, parts, raws[::-1] if turned else raws)
    prepare(raws, LIGHT, picks=["a", "b", "c"])


@pytest.mark.parametrize("turned", [False, True])
def test_channels_marked_as_bad_in_a_list(turned):
    raws = [make_raw(ch_names="abcd"), bad(make_raw(ch_names="cabd"), "b")]
    lacking = 0 if turned else 1
    parts = [f"recording {lacking} has b marked as bad, which recording {1 - lacking} has"]
    check(ValueError, [*parts, "interpolate_bads", "picks=..."], raws[::-1] if turned else raws)


def test_absent_and_bad_channels_together():
    raws = [make_raw(ch_names="abcdef"), bad(make_raw(ch_names="cadb"), "b")]
    check(ValueError, ["recording 1 lacks e, f and recording 1 has b marked as bad"], raws)


def test_channels_of_another_type_are_not_said_to_be_absent():
    raws = [make_raw(ch_names="abc"), make_raw(ch_names="abc", ch_types=["eeg", "misc", "eeg"])]
    parts = ["recording 1 does not pick b (type misc there)", "which recording 0 has"]
    check(ValueError, [*parts, "raw.set_channel_types", "picks=..."], raws)


def test_channels_a_model_needs():
    fitted = prepare(make_raw(ch_names="abcd"), LIGHT).preparation
    end = ["which the model was trained on", "fit_hmm(..., picks=...)"]
    check(ValueError, ["the recording lacks b, d", *end], make_raw(ch_names="cax"), fitted)
    way_out = ["interpolate_bads", "fit_hmm"]
    raw = bad(make_raw(ch_names="dcba"), "c")
    check(ValueError, ["the recording has c marked as bad", *way_out], raw, fitted)
    check(ValueError, ["recording 1 lacks d"], [make_raw(), make_raw(ch_names="abc")], fitted)
    x = make_raw(ch_names="abc").get_data()
    parts = ["the recording has 3 channels", "trained on 4: a, b, c, d"]
    check(ValueError, parts, x, fitted, sfreq=SFREQ)


def test_picks_with_a_fitted_preparation():
    fitted = prepare(make_raw(ch_names="abcd"), LIGHT).preparation
    parts = ["picks='eeg' cannot be given with a fitted preparation", "leave picks out"]
    check(ValueError, parts, make_raw(), fitted, picks="eeg")


def test_nothing_is_read_before_arguments_are_checked():
    # Errors of arguments come at once, not after hours of filtering.
    raw = make_raw()
    raw._data[:] = np.nan
    with pytest.raises(ValueError, match="lacks"):
        to_recordings([raw, make_raw(ch_names="abc")])


# How to train


FEW_STATES = {"preparation": LIGHT, "n_init": 1, "refine": False, "random_state": 0}


def refuse_fit(error, parts, inst=None, **kwargs):
    """Expect an error from a fit, before anything is prepared unless data are given."""
    inst = "nothing is read.fif" if inst is None else inst
    with raises(error, parts):
        fit_hmm(inst, 2, **(FEW_STATES | kwargs))


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (2.5, TypeError), (True, TypeError)])
def test_wrong_size_of_mini_batches(size, error):
    parts = ["batch_size must be None or a whole number ≥ 1", f"got {size!r}"]
    refuse_fit(error, parts, batch_size=size)


@pytest.mark.parametrize(("length", "error"), [(1, ValueError), (-5, ValueError), ("9", TypeError)])
def test_wrong_length_of_sequences(length, error):
    parts = ["sequence_length must be None or a whole number ≥ 2", f"got {length!r}"]
    refuse_fit(error, parts, batch_size=2, sequence_length=length)


def test_sequences_without_mini_batches():
    parts = ["sequence_length=500 is for training on mini-batches only", "batch_size", "leave it"]
    refuse_fit(ValueError, parts, sequence_length=500)


@pytest.mark.parametrize("priors", [True, "auto", {"covariances": "auto"}, Priors])
def test_what_are_no_priors(priors):
    parts = ['priors must be Priors or None, as in Priors(covariances="auto")', f"got {priors!r}"]
    refuse_fit(TypeError, parts, priors=priors)


@pytest.mark.parametrize("strategy", ["mirrored", 2, True])
def test_what_is_no_strategy(strategy):
    parts = ["strategy must be a tf.distribute.Strategy or None", f"got {strategy!r} of type"]
    refuse_fit(TypeError, parts, strategy=strategy)


@pytest.mark.parametrize("name", ["checkpoint_dir", "log_dir"])
def test_folders_that_are_files(tmp_path, name):
    (tmp_path / "file").write_text("precious")
    for way in (str, lambda path: path):
        fname = way(tmp_path / "file")
        parts = [f"{name}={str(fname)!r} is a file", "give a folder"]
        refuse_fit(NotADirectoryError, parts, **{name: fname})
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("name", ["checkpoint_dir", "log_dir"])
@pytest.mark.parametrize("value", [3, True, ["a"]])
def test_folders_that_are_no_paths(name, value):
    parts = [f"{name} must be a path of a folder or None", f"got {value!r} of type"]
    refuse_fit(TypeError, parts, **{name: value})


def test_folder_of_checkpoints_that_is_of_others(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    parts = [f"checkpoint_dir={str(tmp_path)!r} holds other files (thesis.tex)", "empty folder"]
    refuse_fit(FileExistsError, parts, make_raw(), checkpoint_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_folder_of_checkpoints_within_none(tmp_path):
    parts = ["checkpoint_dir=", "there is no folder", str(tmp_path / "a"), "make it first"]
    refuse_fit(FileNotFoundError, parts, make_raw(), checkpoint_dir=tmp_path / "a" / "b")
