"""BIDS data sets: finding and reading recordings, and derivatives that validate."""

import csv
import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import mne
import numpy as np
import pytest
from helpers import bids_errors

import mne_hmm
from mne_hmm.model.file import Learned

mne_bids = pytest.importorskip("mne_bids")

PICKS = ["O1..", "Oz..", "O2.."]
DATE = datetime(2020, 2, 29, 23, 59, 58, 765432, tzinfo=UTC)


def make_files(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names_of(bids_paths):
    return [path.basename for path in bids_paths]


def read_table(fname):
    with open(fname, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def model_of(prepared, names):
    """A model nobody trained, of data that were prepared."""
    n = len(names)
    return mne_hmm.HMM(
        np.full(n, 1 / n),
        np.full((n, n), 1 / n),
        np.zeros((n, prepared.n_features)),
        np.array([(1 + state) * np.eye(prepared.n_features) for state in range(n)]),
        prepared.preparation,
        learned=Learned(means=False),
        state_names=names,
    )


def states_of(prepared, model):
    """States drawn by chance, with visits of 5 samples and their multiples."""
    rng = np.random.default_rng(0)
    out = []
    for time_map in prepared.time_maps:
        labels = np.repeat(rng.integers(model.n_states, size=time_map.n_rows // 5 + 1), 5)
        names = model.state_names, prepared.preparation.ch_names_
        made = mne_hmm.StateTimeCourse.from_labels(labels[: time_map.n_rows], time_map, *names)
        out.append(made)
    return out


@pytest.fixture(scope="module")
def eeg_root(eegbci, tmp_path_factory):
    """Two runs of real EEG as MNE-BIDS writes them, the second with a bad channel."""
    root = tmp_path_factory.mktemp("eeg")
    for run, raw in zip((2, 10), eegbci(1, 2), strict=True):
        raw.info["line_freq"] = 60
        raw.info["bads"] = ["Fc5."] if run == 10 else []
        path = mne_bids.BIDSPath(
            subject="01", task="rest", run=run, datatype="eeg", root=root, check=True
        )
        mne_bids.write_raw_bids(raw, path, verbose="ERROR")
    return root


@pytest.fixture(scope="module")
def eeg_prepared(eeg_root):
    preparation = mne_hmm.Preparation(n_embeddings=1, n_components=None, sfreq=None)
    with pytest.warns(RuntimeWarning, match="without any signal"):
        return mne_hmm.prepare(mne_hmm.find_bids_recordings(eeg_root), preparation, picks=PICKS)


@pytest.fixture(scope="module")
def eeg_model(eeg_prepared):
    return model_of(eeg_prepared, ["state_0", "state_1"])


@pytest.fixture(scope="module")
def eeg_states(eeg_prepared, eeg_model):
    return states_of(eeg_prepared, eeg_model)


@pytest.fixture(scope="module")
def derivatives(simulated, tmp_path_factory):
    """Parcels as MNE-BIDS-Pipeline names files: cropped, with and without a date, and epochs."""
    root = tmp_path_factory.mktemp("derivatives")
    folder = root / "sub-01" / "meg"
    folder.mkdir(parents=True)
    description = {"Name": "Cleaned", "BIDSVersion": "1.9.0", "DatasetType": "derivative"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    for task, date in (("rest", DATE), ("eyes", None)):
        raw = simulated[0].copy().crop(7.004, 19.0)
        raw.set_meas_date(date)
        first = 0 if date is None else raw.first_time
        raw.set_annotations(mne.Annotations(first + 3.0, 1.5, "BAD_jump", orig_time=date))
        raw.info["bads"] = raw.ch_names[:1]
        raw.save(folder / f"sub-01_task-{task}_proc-clean_raw.fif", verbose="ERROR")
    raw = simulated[0].copy().crop(20.0, 30.0)
    epochs = mne.make_fixed_length_epochs(raw, 2.0, preload=True, verbose="ERROR")
    epochs.save(folder / "sub-01_task-rest_proc-clean_epo.fif", verbose="ERROR")
    return root


@pytest.fixture(scope="module")
def parcels(derivatives):
    """A model of seven parcels, one being bad, and the states of both recordings."""
    paths = mne_hmm.find_bids_recordings(derivatives, suffix="raw")
    prepared = mne_hmm.prepare(paths, mne_hmm.Preparation(n_embeddings=3, n_components=6))
    model = model_of(prepared, ["calm", "busy"])
    states = states_of(prepared, model)
    return model, {
        path.task: ([path], [course]) for path, course in zip(paths, states, strict=True)
    }


# Which recordings there are


def test_natural_order_and_choices(tmp_path):
    """Run 2 before run 10; every choice takes what it says, one value or several."""
    for subject in ("2", "10"):
        for run in ("01", "02", "10"):
            make_files(
                tmp_path,
                f"sub-{subject}/ses-a/meg/sub-{subject}_ses-a_task-rest_run-{run}_meg.fif",
            )
    make_files(tmp_path, "sub-2/ses-b/eeg/sub-2_ses-b_task-go_eeg.vhdr")
    find = mne_hmm.find_bids_recordings
    stem = "_ses-a_task-rest_run-"
    runs = [f"sub-2{stem}{run}_meg.fif" for run in ("01", "02", "10")]
    others = [f"sub-10{stem}{run}_meg.fif" for run in ("01", "02", "10")]
    go = "sub-2_ses-b_task-go_eeg.vhdr"
    assert names_of(find(tmp_path)) == [*runs, go, *others]
    assert names_of(find(str(tmp_path), subject="10")) == others
    assert names_of(find(tmp_path, run=2)) == [runs[1], others[1]]
    assert names_of(find(tmp_path, run=["01", 10], subject="2")) == [runs[0], runs[2]]
    assert names_of(find(tmp_path, session="b")) == [go]
    assert names_of(find(tmp_path, task=("go", "stop"))) == [go]
    assert names_of(find(tmp_path, datatype="eeg")) == [go]
    assert names_of(find(tmp_path, suffix="eeg")) == [go]
    assert names_of(find(tmp_path, extension=".fif", subject="10")) == others


def test_what_is_no_recording(tmp_path):
    """Files beside recordings, later parts, the empty room, and data sets in folders below."""
    make_files(
        tmp_path,
        "sub-01/meg/sub-01_task-rest_split-01_meg.fif",
        "sub-01/meg/sub-01_task-rest_split-02_meg.fif",
        "sub-01/meg/sub-01_task-noise_meg.fif",
        "sub-01/meg/sub-01_acq-crosstalk_meg.fif",
        "sub-01/meg/sub-01_acq-calibration_meg.dat",
        "sub-01/meg/sub-01_task-rest_proc-ica_ica.fif",
        "sub-01/meg/sub-01_task-rest_events.tsv",
        "sub-02/eeg/sub-02_task-rest_eeg.vhdr",
        "sub-02/eeg/sub-02_task-rest_eeg.eeg",
        "sub-02/eeg/sub-02_task-rest_eeg.json",
        "sub-emptyroom/ses-20200229/meg/sub-emptyroom_ses-20200229_task-noise_meg.fif",
        "derivatives/x/sub-01/meg/sub-01_task-rest_meg.fif",
        "sourcedata/sub-01/meg/sub-01_task-rest_meg.fif",
    )
    (tmp_path / "sub-03/meg/sub-03_task-rest_meg.ds").mkdir(parents=True)
    find = mne_hmm.find_bids_recordings
    assert names_of(find(tmp_path)) == [
        "sub-01_task-rest_split-01_meg.fif",
        "sub-02_task-rest_eeg.vhdr",
        "sub-03_task-rest_meg.ds",
    ]
    assert names_of(find(tmp_path, task="noise")) == [
        "sub-01_task-noise_meg.fif",
        "sub-emptyroom_ses-20200229_task-noise_meg.fif",
    ]


def test_one_file_per_recording(tmp_path):
    """Files before and after cleaning are not taken for two recordings."""
    stem = "sub-01/meg/sub-01_task-rest"
    make_files(tmp_path, f"{stem}_run-01_proc-filt_raw.fif", f"{stem}_run-01_proc-clean_raw.fif")
    make_files(tmp_path, f"{stem}_proc-clean_epo.fif")
    find = mne_hmm.find_bids_recordings
    with pytest.raises(ValueError, match=r"choose by processing \(clean, filt\)"):
        find(tmp_path)
    with pytest.raises(ValueError, match=r"choose by .*suffix \(epo, raw\)"):
        find(tmp_path, processing="clean")
    clean = ["sub-01_task-rest_run-01_proc-clean_raw.fif"]
    assert names_of(find(tmp_path, processing="clean", suffix="raw")) == clean
    assert names_of(find(tmp_path, suffix="epo")) == ["sub-01_task-rest_proc-clean_epo.fif"]


def test_nothing_found(tmp_path):
    """The error says what there is."""
    find = mne_hmm.find_bids_recordings
    with pytest.raises(FileNotFoundError, match="is no folder"):
        find(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="holds no recording"):
        find(tmp_path)
    make_files(tmp_path, "sub-01/eeg/sub-01_task-rest_run-1_eeg.edf")
    make_files(tmp_path, "sub-07/eeg/sub-07_task-sleep_eeg.edf")
    message = (
        r"holds 2 recordings, but none with subject=03, task=rest; there are: "
        r"subject 01, 07; task rest, sleep; run 1; datatype eeg; suffix eeg; extension .edf"
    )
    with pytest.raises(FileNotFoundError, match=message):
        find(tmp_path, subject="03", task="rest")


def test_without_mne_bids(tmp_path, monkeypatch):
    """It is an extra, and nothing else needs it."""
    monkeypatch.setitem(sys.modules, "mne_bids", None)
    with pytest.raises(ImportError, match=r'pip install "mne-hmm\[bids\]"'):
        mne_hmm.find_bids_recordings(tmp_path)
    mne_hmm.prepare(mne_hmm.simulate_raw(2, n_channels=3, duration=5.0, random_state=0)[0])


# Reading them


def test_raw_data_are_read_as_mne_bids_does(eeg_root, eegbci):
    """Bad channels of channels.tsv, annotations of events.tsv, signals of the file."""
    paths = mne_hmm.find_bids_recordings(eeg_root)
    assert [path.run for path in paths] == ["2", "10"]
    raw = mne_hmm.read_bids_recording(paths[1])
    assert raw.info["bads"] == ["Fc5."]
    original = eegbci(2)[0]
    np.testing.assert_array_equal(raw.get_data(stop=300), original.get_data(stop=300))
    np.testing.assert_allclose(raw.annotations.onset, original.annotations.onset, rtol=0, atol=1e-6)
    assert raw.info["meas_date"] == original.info["meas_date"]


def test_derivatives_are_read_as_they_are(derivatives, simulated):
    """FIF files know their bad channels and annotations; epochs are epochs."""
    (path,) = mne_hmm.find_bids_recordings(derivatives, task="rest", suffix="raw")
    raw = mne_hmm.read_bids_recording(path)
    assert raw.info["bads"] == simulated[0].ch_names[:1]
    assert list(raw.annotations.description) == ["BAD_jump"]
    assert raw.first_samp == 1751
    (path,) = mne_hmm.find_bids_recordings(derivatives, suffix="epo")
    epochs = mne_hmm.read_bids_recording(path)
    assert isinstance(epochs, mne.BaseEpochs)
    assert len(epochs) == 5


def test_other_derivatives_need_no_sidecars(eeg_root, tmp_path):
    """Files of other formats are read with what lies beside them, or without."""
    folder = tmp_path / "sub-01" / "eeg"
    folder.mkdir(parents=True)
    stem = "sub-01_task-rest_desc-preproc"
    shutil.copy(eeg_root / "sub-01/eeg/sub-01_task-rest_run-10_eeg.edf", folder / f"{stem}_eeg.edf")
    (tmp_path / "dataset_description.json").write_text('{"DatasetType": "derivative"}')
    (path,) = mne_hmm.find_bids_recordings(tmp_path, description="preproc")
    assert mne_hmm.read_bids_recording(path).info["bads"] == []
    shutil.copy(
        eeg_root / "sub-01/eeg/sub-01_task-rest_run-10_channels.tsv",
        folder / f"{stem}_channels.tsv",
    )
    assert mne_hmm.read_bids_recording(path).info["bads"] == ["Fc5."]


def test_what_cannot_be_read(derivatives, tmp_path):
    """Errors say what to pass."""
    with pytest.raises(TypeError, match=r"must be an mne_bids.BIDSPath, got str"):
        mne_hmm.read_bids_recording("sub-01_task-rest_eeg.edf")
    (path,) = mne_hmm.find_bids_recordings(derivatives, task="eyes")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        mne_hmm.read_bids_recording(path.copy().update(task="other"))
    make_files(tmp_path, "sub-01/meg/sub-01_task-rest_raw.fif")
    with pytest.raises(OSError, match=r"the recording \(sub-01_task-rest_raw.fif\): .* cannot be"):
        mne_hmm.prepare(mne_hmm.find_bids_recordings(tmp_path))


def test_bids_paths_are_recordings(eeg_root, eeg_prepared):
    """A list of them is a list of recordings, with bad channels, and names in messages."""
    paths = mne_hmm.find_bids_recordings(eeg_root)
    raws = [mne_hmm.read_bids_recording(path) for path in paths]
    with pytest.warns(RuntimeWarning, match="without any signal"):
        prepared = mne_hmm.prepare(raws, eeg_prepared.preparation)
    for mine, other in zip(eeg_prepared.data, prepared.data, strict=True):
        np.testing.assert_array_equal(mine, other)
    with pytest.raises(ValueError, match=r"1 \(sub-01_task-rest_run-10_eeg.edf\) has Fc5. marked"):
        mne_hmm.prepare(paths)
    with pytest.warns(RuntimeWarning, match=r"the recording \(sub-01_task-rest_run-2_eeg.edf\)"):
        mne_hmm.prepare(paths[0], eeg_prepared.preparation)


# Derivatives


def test_files_of_derivatives(eeg_root, eeg_model, eeg_states, tmp_path):
    """Every visit stands in the table; the files say what they are of, and by what model."""
    paths = mne_hmm.find_bids_recordings(eeg_root)
    root = tmp_path / "new" / "mne-hmm"
    written = mne_hmm.write_bids_derivatives(eeg_model, eeg_states, paths, root)
    stems = [root / "sub-01/eeg" / f"sub-01_task-rest_run-{run}_desc-hmm_" for run in (2, 10)]
    ends = ("annotations.tsv", "annotations.json", "raw.fif")
    expected = [f"{stem}{end}" for stem in stems for end in ends]
    of_all = ["dataset_description.json", "README.md", ".bidsignore", "descriptions.tsv"]
    of_all += ["desc-hmm_model.h5", "desc-hmm_model.json"]
    assert [str(path) for path in written] == [*(str(root / name) for name in of_all), *expected]
    assert sorted(written) == sorted(path for path in root.rglob("*") if path.is_file())
    for stem, states, path in zip(stems, eeg_states, paths, strict=True):
        labels = np.full(9760, -1)
        for row in read_table(f"{stem}annotations.tsv"):
            start = float(row["onset"]) * 160
            stop = start + float(row["duration"]) * 160
            # The table holds microseconds.
            assert abs(start - round(start)) < 1e-3
            labels[round(start) : round(stop)] = int(row["trial_type"].removeprefix("hmm/state_"))
        np.testing.assert_array_equal(labels, states.labels)
        sidecar = json.loads(Path(f"{stem}annotations.json").read_text())
        assert sidecar["Sources"] == [f"bids:source:sub-01/eeg/{path.basename}"]
        assert (root / sidecar["Model"].removeprefix("bids::")).is_file()
        assert list(sidecar["trial_type"]["Levels"]) == ["hmm/state_0", "hmm/state_1"]
        probabilities = mne.io.read_raw(f"{stem}raw.fif", verbose="ERROR")
        np.testing.assert_allclose(
            probabilities.get_data(), states.probabilities, rtol=0, atol=1e-7
        )  # single precision
    described = json.loads((root / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"
    assert described["GeneratedBy"][0]["Name"] == "mne-hmm"
    assert described["GeneratedBy"][0]["Version"] == mne_hmm.__version__
    assert described["SourceDatasets"] == [{"URL": eeg_root.resolve().as_uri()}]
    model = mne_hmm.read_hmm(root / "desc-hmm_model.h5")
    np.testing.assert_array_equal(model.covariances_, eeg_model.covariances_)
    description = json.loads((root / "desc-hmm_model.json").read_text())
    assert description["NumberOfStates"] == 2
    assert description["Channels"] == PICKS
    assert description["FreeEnergy"] is None


def test_validator_passes(eeg_root, eeg_model, eeg_states, tmp_path):
    """The validator finds no error, and would: names that .bidsignore has are none of BIDS's."""
    data_set = shutil.copytree(eeg_root, tmp_path / "ds")
    paths = mne_hmm.find_bids_recordings(data_set)
    root = data_set / "derivatives" / "mne-hmm"
    report = mne.Report(verbose="ERROR")
    report.add_html("<p>States</p>", "States")
    mne_hmm.write_bids_derivatives(eeg_model, eeg_states, paths, root, report=report)
    assert "States" in (root / "desc-hmm_report.html").read_text(encoding="utf-8")
    links = json.loads((root / "dataset_description.json").read_text())["DatasetLinks"]
    assert links == {"source": "../.."}
    assert bids_errors(root) == set()
    # BIDS knows tables of events: those of annotations pass as such, with their sidecars.
    folder = root / "sub-01" / "eeg"
    for path in list(folder.glob("*_annotations.*")):
        path.rename(path.with_name(path.name.replace("_annotations.", "_events.")))
    assert bids_errors(root, "--max-rows", "-1") == set()
    ignored = (root / ".bidsignore").read_text().splitlines()
    (root / ".bidsignore").unlink()
    errors = bids_errors(root)
    assert {code for code, _ in errors} == {"NOT_INCLUDED"}
    assert {Path(place).name for _, place in errors} == {
        "desc-hmm_model.h5",
        "desc-hmm_model.json",
        "desc-hmm_report.html",
        *(f"sub-01_task-rest_run-{run}_desc-hmm_raw.fif" for run in (2, 10)),
    }
    assert len(ignored) == 10


@pytest.mark.parametrize("task", ["rest", "eyes"])
def test_annotations_round_trip(parcels, tmp_path, task):
    """Cropped recordings, with a date and without: the same annotations, to the microsecond."""
    model, recordings = parcels
    paths, states = recordings[task]
    written = mne_hmm.write_bids_derivatives(model, states, paths, tmp_path / "out")
    table = tmp_path / "out/sub-01/meg" / f"sub-01_task-{task}_proc-clean_desc-hmm_annotations.tsv"
    assert table in written
    # Times count from the recording's first sample, whatever MNE-Python counts from.
    first_visit = states[0].visits.starts[0]
    row = read_table(table)[0]
    assert float(row["onset"]) == pytest.approx(first_visit / 250, rel=0, abs=1e-6)
    assert 0 < first_visit < 25
    annotations = mne_hmm.read_bids_annotations(table)
    assert annotations == states[0].to_annotations()
    assert set(annotations.description) == {"hmm/calm", "hmm/busy"}
    raw = mne_hmm.read_bids_recording(paths[0])
    if task == "eyes":  # else mne-tools/mne-python#11731
        raw.set_annotations(None)
    raw.set_annotations(raw.annotations + annotations)
    spread = np.full(raw.n_times, -1)
    for annotation in raw.annotations[[name[:3] == "hmm" for name in raw.annotations.description]]:
        start = round((annotation["onset"] - raw.first_time) * 250)
        stop = start + round(annotation["duration"] * 250)
        spread[start:stop] = ["hmm/calm", "hmm/busy"].index(annotation["description"])
    np.testing.assert_array_equal(spread, states[0].labels)
    assert (spread == -1)[round(3.0 * 250) : round(4.5 * 250)].all()
    # Probabilities lie on the same grid.
    kept = mne.io.read_raw(str(table).replace("annotations.tsv", "raw.fif"), verbose="ERROR")
    assert kept.first_samp == raw.first_samp
    assert kept.info["meas_date"] == raw.info["meas_date"]


def test_annotations_of_a_table_alone(tmp_path):
    """Without its sidecar onsets count from the first sample; what is wrong is named."""
    table = tmp_path / "sub-01_task-rest_desc-hmm_annotations.tsv"
    table.write_text("onset\tduration\ttrial_type\n0.25\t0.5\thmm/state_1\n")
    annotations = mne_hmm.read_bids_annotations(str(table))
    assert annotations.orig_time is None
    assert annotations.onset.tolist() == [0.25]
    assert annotations.duration.tolist() == [0.5]
    assert annotations.description.tolist() == ["hmm/state_1"]
    table.write_text("onset\tduration\ttrial_type\n")
    assert len(mne_hmm.read_bids_annotations(table)) == 0
    table.write_text("onset\tlabel\n0.25\tx\n")
    with pytest.raises(ValueError, match="lacks the columns duration, trial_type; it has onset"):
        mne_hmm.read_bids_annotations(table)
    table.write_text("onset\tduration\ttrial_type\nn/a\t0.5\thmm/state_1\n")
    with pytest.raises(ValueError, match=r"onset and duration must be numbers.*n/a"):
        mne_hmm.read_bids_annotations(table)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        mne_hmm.read_bids_annotations(tmp_path / "absent_annotations.tsv")


def test_epochs_have_probabilities(derivatives, tmp_path):
    """States of epochs are written as epochs, without annotations."""
    (path,) = mne_hmm.find_bids_recordings(derivatives, suffix="epo")
    unfiltered = mne_hmm.Preparation(l_freq=None, h_freq=None, n_embeddings=3, n_components=6)
    prepared = mne_hmm.prepare(path, unfiltered)
    model = model_of(prepared, ["calm", "busy"])
    (states,) = states_of(prepared, model)
    written = mne_hmm.write_bids_derivatives(model, states, path, tmp_path)
    assert [path.name for path in written[-2:]] == [
        "desc-hmm_model.json",
        "sub-01_task-rest_proc-clean_desc-hmm_epo.fif",
    ]
    epochs = mne.read_epochs(written[-1], verbose="ERROR")
    np.testing.assert_allclose(epochs.get_data(), states.probabilities, rtol=0, atol=1e-7)


def test_nothing_is_replaced_unasked(derivatives, parcels, tmp_path):
    """Files stay unless overwrite is True, and other data sets in any case."""
    parcels_model, recordings = parcels
    paths, states = recordings["rest"]
    write = mne_hmm.write_bids_derivatives
    written = write(parcels_model, states, paths, tmp_path)
    written[1].write_text("mine")
    with pytest.raises(FileExistsError, match=r"9 files there already.*overwrite=True"):
        write(parcels_model, states, paths, tmp_path)
    assert written[1].read_text() == "mine"
    assert write(parcels_model, states, paths, tmp_path, overwrite=True) == written
    assert written[1].read_text() != "mine"
    before = (derivatives / "dataset_description.json").read_bytes()
    with pytest.raises(FileExistsError, match=r"another data set \(Cleaned\)"):
        write(parcels_model, states, paths, derivatives, overwrite=True)
    assert (derivatives / "dataset_description.json").read_bytes() == before
    with pytest.raises(FileExistsError, match="is a file"):
        write(parcels_model, states, paths, written[1])


def test_what_does_not_belong_together(eeg_root, eeg_model, parcels, tmp_path):
    """Models, states and recordings must be of each other; nothing is written else."""
    find = mne_hmm.find_bids_recordings
    parcels_model, recordings = parcels
    paths, states = recordings["rest"]
    write, root = mne_hmm.write_bids_derivatives, tmp_path / "out"
    with pytest.raises(TypeError, match="hmm must be an HMM, got str"):
        write("model.h5", states, paths, root)
    with pytest.raises(TypeError, match=r"report must be an mne.Report or None, got str"):
        write(parcels_model, states, paths, root, report="report.html")
    with pytest.raises(ValueError, match="states are of calm, busy, but the model has state_0"):
        write(eeg_model, states, paths, root)
    with pytest.raises(ValueError, match="has 2 recordings and states 1"):
        write(parcels_model, states, paths + find(eeg_root, run=2), root)
    with pytest.raises(ValueError, match="must be of one data set, got the roots"):
        write(parcels_model, states * 2, paths + find(eeg_root, run=2), root)
    with pytest.raises(TypeError, match=r"must be mne_bids.BIDSPath objects, got str"):
        write(parcels_model, states, ["sub-01_task-rest_raw.fif"], root)
    other = paths[0].copy().update(description="other")
    with pytest.raises(ValueError, match="both be written to sub-01_task-rest_proc-clean_desc-hmm"):
        write(parcels_model, states * 2, [paths[0], other], root)
    assert not root.exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*without any signal:RuntimeWarning")
def test_from_a_data_set_to_a_report(eeg_root, tmp_path):
    """One call each, on real EEG."""
    paths = mne_hmm.find_bids_recordings(eeg_root, task="rest")
    preparation = mne_hmm.Preparation(n_embeddings=3, n_components=6)
    hmm = mne_hmm.fit_hmm(
        paths, 3, preparation=preparation, picks=PICKS, n_init=1, refine=False, random_state=0
    )
    states = hmm.predict(paths)
    report = hmm.report(paths)
    root = tmp_path / "mne-hmm"
    mne_hmm.write_bids_derivatives(hmm, states, paths, root, report=report)
    assert bids_errors(root) == set()
    for annotations, run in zip(hmm.annotations_, (2, 10), strict=True):
        table = root / f"sub-01/eeg/sub-01_task-rest_run-{run}_desc-hmm_annotations.tsv"
        assert mne_hmm.read_bids_annotations(table) == annotations
