"""The trained model: copies, order, names, reports and its file."""

import h5py
import mne
import numpy as np
import pytest
from child_processes import run_script
from h5io import read_hdf5
from helpers import assert_same_model
from numpy.testing import assert_allclose, assert_array_equal

import mne_hmm
from mne_hmm._utils.hdf5 import write_model_file  # for files `save` never would write

ARRAYS = ("initial_probs_", "transition_matrix_", "means_", "covariances_")


@pytest.fixture
def dated(simulated, fitted):
    """A model trained on a recording with a date and a first sample."""
    raw = simulated[0].copy().crop(10.0, 40.0)
    raw.set_meas_date(1_700_000_000.25)
    hmm = fitted.copy()
    hmm.annotations_ = [fitted.predict(raw).to_annotations()]
    return hmm


def test_saved_and_read(tmp_path, simulated, dated):
    """All that a model holds survives its file, and it predicts the same."""
    fname = tmp_path / "rest-hmm.h5"
    dated.save(fname)
    again = mne_hmm.read_hmm(fname)
    assert_same_model(again, dated)
    assert type(again.converged_) is bool
    assert type(again.learned.means) is bool
    assert type(again.history_["starts"][0]["kept"]) is bool
    raw, _ = simulated
    assert_array_equal(again.predict(raw).probabilities, dated.predict(raw).probabilities)
    assert [p.name for p in tmp_path.iterdir()] == ["rest-hmm.h5"]  # no temporary file stays
    again.save(tmp_path / "again.hdf5")
    assert_same_model(mne_hmm.read_hmm(tmp_path / "again.hdf5"), dated)


@pytest.mark.parametrize(
    ("preparation", "refine"),
    [
        (mne_hmm.Preparation.as_is(), True),
        (mne_hmm.Preparation(n_components=0.9, n_embeddings=3, l_freq=None), False),
        (mne_hmm.Preparation.amplitude_envelope(n_components=4, whiten=True), False),
    ],
)
def test_every_kind_of_setting_survives(tmp_path, simulated, preparation, refine):
    """None, whole numbers, shares and words come back as what they were, and so do moves."""
    raw = simulated[0].copy().crop(0, 20)
    kwargs = {"preparation": preparation, "n_init": 1, "refine": refine, "random_state": 0}
    hmm = mne_hmm.fit_hmm(raw, 3, **kwargs)
    assert bool(hmm.history_["moves"]) == refine
    hmm.save(tmp_path / "model.h5")
    again = mne_hmm.read_hmm(tmp_path / "model.h5")
    assert_same_model(again, hmm)
    for name, value in hmm.preparation_.settings.items():
        assert type(again.preparation_.settings[name]) is type(value)


def test_overwrite(tmp_path, fitted):
    """A file is replaced only if that is asked for."""
    fname = tmp_path / "model.h5"
    fname.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="exists already; pass overwrite=True"):
        fitted.save(fname)
    assert fname.read_bytes() == b"precious"
    fitted.save(fname, overwrite=True)
    assert mne_hmm.read_hmm(fname).n_states == 3


def test_write_is_atomic(tmp_path, fitted, monkeypatch):
    """A write that fails half way leaves the old file, and nothing else."""
    fname = tmp_path / "model.h5"
    fitted.save(fname)
    before = fname.read_bytes()

    def fails(path, *args, **kwargs):
        assert path.stat().st_size > 0
        raise OSError("disk full")

    # The last step before a file is moved to its place.
    monkeypatch.setattr("mne_hmm._utils.files._bring_to_disk", fails)
    with pytest.raises(OSError, match="disk full"):
        fitted.save(fname, overwrite=True)
    assert fname.read_bytes() == before
    assert list(tmp_path.iterdir()) == [fname]


def test_file_mode_follows_the_umask(tmp_path, fitted):
    """Others may read the file if they may read other files."""
    fitted.save(tmp_path / "model.h5")
    (tmp_path / "other").touch()
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("model.h5", "other")]
    assert modes[0] == modes[1]


def test_wrong_names(tmp_path, fitted):
    """Names without the suffix, and folders that do not exist, are refused."""
    with pytest.raises(ValueError, match=r"fname must end in \.h5 or \.hdf5"):
        fitted.save(tmp_path / "model.fif")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        fitted.save(tmp_path / "nowhere" / "model.h5")
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        mne_hmm.read_hmm(tmp_path / "model.h5")


def test_files_of_another_kind(tmp_path, fitted):
    """Text, other HDF5 files, cut-off, damaged and newer files are told apart."""
    text = tmp_path / "notes.h5"
    text.write_text("not a model")
    with pytest.raises(OSError, match=r"notes.h5 cannot be read: it is no HDF5 file of mne-hmm"):
        mne_hmm.read_hmm(text)
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = np.arange(3)
    with pytest.raises(ValueError, match="not a model of mne-hmm"):
        mne_hmm.read_hmm(other)
    whole = tmp_path / "model.h5"
    fitted.save(whole)
    content = whole.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        cut = tmp_path / "cut.h5"
        cut.write_bytes(content[: int(share * len(content))])
        with pytest.raises(OSError, match="cut off"):
            mne_hmm.read_hmm(cut)
    parts = read_hdf5(whole, title="mne_hmm")
    lacking = tmp_path / "lacking.h5"
    write_model_file(lacking, {k: v for k, v in parts.items() if k != "learned"}, "mne_hmm")
    with pytest.raises(OSError, match=r"is damaged.*learned"):
        mne_hmm.read_hmm(lacking)
    newer = tmp_path / "newer.h5"
    write_model_file(newer, parts | {"format_version": 99}, "mne_hmm")
    with pytest.raises(ValueError, match=r"format 99.*pip install -U mne-hmm"):
        mne_hmm.read_hmm(newer)


def test_no_pickle_in_the_file(tmp_path, fitted):
    """Every data set is numbers or text."""
    fitted.save(tmp_path / "model.h5")
    kinds = set()
    with h5py.File(tmp_path / "model.h5") as file:
        file.visititems(
            lambda _, item: kinds.add(item.dtype.kind) if isinstance(item, h5py.Dataset) else None
        )
    assert kinds <= set("fiub")
    assert b"cnumpy" not in (tmp_path / "model.h5").read_bytes()


def test_reorder_states_by_a_cycle(simulated, fitted):
    """A 3-cycle, which is not its own inverse: new state i is old state order[i]."""
    raw, _ = simulated
    order = [1, 2, 0]
    new = fitted.reorder_states(order)
    assert_array_equal(new.covariances_, fitted.covariances_[order])
    assert_array_equal(new.initial_probs_, fitted.initial_probs_[order])
    for i in range(3):
        for j in range(3):
            old = fitted.transition_matrix_[order[i], order[j]]
            assert new.transition_matrix_[i, j] == old
    before, after = fitted.predict(raw), new.predict(raw)
    # Sums over states run in another order: rounding of the posterior.
    assert_allclose(after.probabilities, before.probabilities[order], rtol=0, atol=1e-6)
    assert new.state_names == ("state_0", "state_1", "state_2")
    changed = [f"hmm/state_{order.index(int(d[-1]))}" for d in fitted.annotations_[0].description]
    assert new.annotations_[0].description.tolist() == changed
    back = new.reorder_states([2, 0, 1])
    assert_same_model(back, fitted)
    with pytest.raises(ValueError, match="order must be a sequence with each state"):
        fitted.reorder_states([0, 1, 1])


def test_names(fitted):
    """Names go with their states, into annotations and time courses."""
    named = fitted.rename_states({"state_1": "alpha"})
    assert named.state_names == ("state_0", "alpha", "state_2")
    assert fitted.state_names == ("state_0", "state_1", "state_2")
    n_visits = np.sum(named.annotations_[0].description == "hmm/alpha")
    assert n_visits == np.sum(fitted.annotations_[0].description == "hmm/state_1") > 0
    cycled = named.reorder_states([1, 2, 0])
    assert cycled.state_names == ("alpha", "state_1", "state_2")
    assert np.sum(cycled.annotations_[0].description == "hmm/alpha") == n_visits
    swapped = fitted.rename_states(["state_1", "state_2", "state_0"])  # names that change places
    assert_array_equal(
        swapped.annotations_[0].description == "hmm/state_1",
        fitted.annotations_[0].description == "hmm/state_0",
    )
    for wrong in (["a", "b"], ["a", "a", "b"], ["a", "", "b"], [1, 2, 3]):
        with pytest.raises(ValueError, match="names must be 3 different names"):
            fitted.rename_states(wrong)
    with pytest.raises(ValueError, match="there is no state beta"):
        fitted.rename_states({"beta": "x"})


def test_copy_shares_nothing(fitted):
    """What is done to a copy does not reach the model."""
    copy = fitted.copy()
    copy.covariances_[:] = 0
    copy.annotations_[0].delete(0)
    copy.history_["starts"].clear()
    assert fitted.covariances_.any()
    assert len(fitted.annotations_[0]) == len(copy.annotations_[0]) + 1
    assert len(fitted.history_["starts"]) == 2


def test_sample(fitted):
    """Samples have the model's moments and transitions."""
    features, labels = fitted.sample(60_000, random_state=0)
    assert features.shape == (60_000, 12)
    again, _ = fitted.sample(60_000, random_state=0)
    assert_array_equal(features, again)
    for state in range(3):
        x = features[labels == state]
        # 20,000 samples: an entry is known to about 1 % of the variances, times four.
        size = np.diag(fitted.covariances_[state]).max()
        assert_allclose(
            np.cov(x.T, bias=True), fitted.covariances_[state], atol=0.04 * size, rtol=0
        )
    steps = np.zeros((3, 3))
    np.add.at(steps, (labels[:-1], labels[1:]), 1)
    steps /= steps.sum(1, keepdims=True)
    assert_allclose(steps, fitted.transition_matrix_, rtol=0, atol=0.005)
    with pytest.raises(ValueError, match="n_samples must be a whole number ≥ 1, got 0"):
        fitted.sample(0)


def test_reports(fitted, capsys):
    """The summary counts free numbers; text and HTML tell the same facts."""
    fitted.summary()
    table = capsys.readouterr().out
    rows = {line.split()[0]: line for line in table.splitlines() if line}
    assert "(3, 12, 12)" in rows["covariances"]
    assert rows["covariances"].split()[-2:] == ["234", "yes"]  # 3 * 12 * 13 / 2
    assert rows["means"].split()[-2:] == ["0", "no"]
    assert rows["transition_matrix"].split()[-2:] == ["6", "yes"]
    assert "free numbers learned: 242" in table
    text, page = str(fitted), fitted._repr_html_()
    assert repr(fitted) == text
    for fact in ("12 of 8 channels × 15 lags", "250 Hz", "1 - 45 Hz", "converged"):
        assert fact in text
        assert fact in page
    named = fitted.rename_states(["<b>", "one", "two"])
    assert "<b>" not in named._repr_html_().replace("<tbody>", "")
    assert "&lt;b&gt;" in named._repr_html_()


def test_figures(simulated, fitted):
    """Training and state time courses draw what they say."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    raw, _ = simulated
    fig = fitted.plot_history(show=False)
    search, course = fig.axes
    assert_array_equal(course.lines[0].get_ydata(), fitted.history_["free_energy"])
    starts = fitted.history_["starts"]
    for line, start in zip(search.lines, starts, strict=True):
        assert_array_equal(line.get_ydata(), start["free_energy"])
    fig, alone = plt.subplots()
    assert fitted.plot_history(axes=alone, show=False) is fig
    assert_array_equal(alone.lines[0].get_ydata(), fitted.history_["free_energy"])
    with pytest.raises(ValueError, match="axes must be one or two, got 3"):
        fitted.plot_history(axes=plt.subplots(1, 3)[1], show=False)
    searched = fitted.copy()
    move = {"round": 2, "split": 1, "merged": [0, 2], "free_energy": 14.5}
    other = move | {"all_data": True, "free_energy": 14.7, "kept": False}
    searched.history_["moves"] = [move | {"kept": True}, move | {"kept": False}, other]
    search, course = searched.plot_history(show=False).axes
    tried, went_on = search.lines[-2:]
    assert_array_equal(tried.get_xydata(), [[2, 14.5]])
    assert_array_equal(went_on.get_xydata(), [[2, 14.5]])
    assert_array_equal(course.lines[-1].get_ydata(), [14.7, 14.7])
    states = fitted.predict(raw)
    fig, axes = plt.subplots()
    assert states.plot(start=5.0, duration=2.0, axes=axes, show=False) is fig
    assert axes.get_xlim() == (5.0, 7.0)
    assert len(axes.collections) == 3
    drawn = np.concatenate([c.get_paths()[0].vertices for c in axes.collections])
    assert_allclose([drawn[:, 0].min(), drawn[:, 0].max()], [5.0, 7.0], rtol=0, atol=0.005)
    with pytest.raises(ValueError, match="start must be seconds from 0 to the end"):
        states.plot(start=100.0, show=False)
    untrained = fitted.copy()
    untrained.history_ = {}
    with pytest.raises(ValueError, match="has no history"):
        untrained.plot_history(show=False)
    plt.close("all")


def test_bits_do_not_depend_on_the_process(tmp_path, fitted):
    """Another process with the same seed and threads comes to the same bits."""
    code = (
        "import mne_hmm\n"
        "raw, _ = mne_hmm.simulate_raw(\n"
        "    3, n_channels=8, duration=60.0, snr=4.0, mean_lifetime=0.4, random_state=3)\n"
        "p = mne_hmm.Preparation(n_components=12)\n"
        "hmm = mne_hmm.fit_hmm(raw, 3, preparation=p, n_init=2, refine=False, "
        "random_state=3, verbose=False)\n"
        f"hmm.save({str(tmp_path / 'other.h5')!r})\n"
    )
    run_script(code, forked=False)  # hashes of strings differ, too
    other = mne_hmm.read_hmm(tmp_path / "other.h5")
    for name in ARRAYS:
        assert_array_equal(getattr(other, name), getattr(fitted, name))


def test_annotations_of_the_file_fit_the_recording(tmp_path, simulated, dated):
    """Dates survive, so annotations of a model that was read go onto the recording."""
    raw = simulated[0].copy().crop(10.0, 40.0)
    raw.set_meas_date(1_700_000_000.25)
    dated.save(tmp_path / "model.h5")
    (annotations,) = mne_hmm.read_hmm(tmp_path / "model.h5").annotations_
    assert annotations.orig_time == raw.info["meas_date"]
    raw.set_annotations(raw.annotations + annotations)
    assert len(raw.annotations) == len(annotations)
    assert isinstance(raw.annotations, mne.Annotations)
