"""The command line on recordings of BIDS data sets: derivatives come out that validate."""

import csv
import inspect
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import mne
import numpy as np
import pytest
from command_runs import fails, run
from helpers import bids_errors

import mne_hmm
from mne_hmm import report
from mne_hmm.cli.config import collect_bids
from mne_hmm.cli.options import BIDS
from mne_hmm.cli.parser import parse

mne_bids = pytest.importorskip("mne_bids")
pd = pytest.importorskip("pandas")

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*without any signal:RuntimeWarning", "ignore:Training had not settled"
)
STEMS = [f"sub-01/eeg/sub-01_task-rest_run-{run}_desc-hmm_" for run in (2, 10)]
OF_ALL = {
    *("dataset_description.json", "README.md", ".bidsignore", "descriptions.tsv"),
    *("desc-hmm_model.h5", "desc-hmm_model.json", "recordings.tsv", "states.tsv", "run.json"),
}
ENDS = ("annotations.tsv", "annotations.json", "raw.fif")
# Three channels of 61 s, and little of everything that takes long.
QUICK = "--n-states 2 --picks O1..,Oz..,O2.. --h-freq 30 --preparation-sfreq 80 --n-embeddings 5"
QUICK = f"{QUICK} --n-components 10 --max-iter 3 --n-init 1 --no-refine --seed 0".split()


@pytest.fixture(scope="module")
def data_set(eegbci, tmp_path_factory):
    """Two runs of real EEG as MNE-BIDS writes them, and the derivatives that fit leaves."""
    root = tmp_path_factory.mktemp("commands_bids") / "ds"
    for run_number, raw in zip((2, 10), eegbci(1, 2), strict=True):
        raw.info["line_freq"] = 60
        raw.info["bads"] = ["Fc5."] if run_number == 10 else []
        path = mne_bids.BIDSPath(
            subject="01", task="rest", run=run_number, datatype="eeg", root=root
        )
        mne_bids.write_raw_bids(raw, path, verbose="ERROR")
    choice = ["--bids", root, "--subject", "01", "--task", "rest"]
    run("fit", *choice, *QUICK, "-o", root / "derivatives" / "mne-hmm")
    return root


@pytest.fixture(scope="module")
def results(data_set):
    return data_set / "derivatives" / "mne-hmm"


def contents(folder):
    """Get the bytes of all files below a folder, but the report."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*")}
    return {name: path.read_bytes() for name, path in files.items() if path.suffix != ".html"}


# Derivatives


def test_fit_leaves_derivatives(data_set, results):
    """Model, states and tables are those of Python, under the names of derivatives."""
    expected = OF_ALL | {f"{stem}{end}" for stem in STEMS for end in ENDS}
    assert set(contents(results)) == expected
    hmm = mne_hmm.read_hmm(results / "desc-hmm_model.h5")
    assert (hmm.n_states, hmm.random_state) == (2, 0)
    paths = mne_hmm.find_bids_recordings(data_set)
    states = hmm.predict(paths, verbose=False)
    for stem, course in zip(STEMS, states, strict=True):
        table = results / f"{stem}annotations.tsv"
        assert mne_hmm.read_bids_annotations(table) == course.to_annotations()
        raw = mne.io.read_raw(results / f"{stem}raw.fif")
        # They are written in single precision.
        np.testing.assert_allclose(raw.get_data(), course.probabilities, rtol=0, atol=1e-7)
    names = [path.fpath.stem for path in paths]
    table = pd.read_csv(results / "recordings.tsv", sep="\t", na_values="n/a")
    ours = mne_hmm.summarize_recordings(states, names=names)
    pd.testing.assert_frame_equal(table, ours, rtol=1e-12)
    with open(results / "states.tsv", encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file, delimiter="\t"))) == 4


def test_fit_is_that_of_python(data_set, results):
    """The same call in Python gives the same model, to the bit."""
    preparation = mne_hmm.Preparation(h_freq=30, sfreq=80, n_embeddings=5, n_components=10)
    hmm = mne_hmm.fit_hmm(
        mne_hmm.find_bids_recordings(data_set, subject="01", task="rest"),
        2,
        preparation=preparation,
        picks=["O1..", "Oz..", "O2.."],
        max_iter=3,
        n_init=1,
        refine=False,
        random_state=0,
        verbose=False,
    )
    theirs = mne_hmm.read_hmm(results / "desc-hmm_model.h5")
    np.testing.assert_array_equal(hmm.covariances_, theirs.covariances_)


def test_run_file(data_set, results):
    """It tells of the recordings, and of the files that are read with them."""
    record = json.loads((results / "run.json").read_text())
    for source, run_number in zip(record["inputs"], (2, 10), strict=True):
        stem = f"sub-01_task-rest_run-{run_number}"
        assert source["path"] == str(data_set / "sub-01" / "eeg" / f"{stem}_eeg.edf")
        assert source["bids"]["root"] == str(data_set)
        assert source["bids"]["run"] == str(run_number)
        files = {Path(file["path"]).name for file in source["files"]}
        ends = ("eeg.edf", "eeg.json", "channels.tsv", "events.tsv", "events.json")
        of_all = {"dataset_description.json", "sub-01_scans.tsv"}
        assert files == {f"{stem}_{end}" for end in ends} | of_all
    assert record["environment"]["mne_bids"] == mne_bids.__version__
    left = {output["path"] for output in record["outputs"]}
    assert left == set(contents(results)) - {"run.json", "dataset_description.json"}
    assert "changed since  none" in run("info", results)


def test_apply_and_repeat(data_set, results, tmp_path):
    """Choices from a file; the model of a folder of derivatives; all again to the bit."""
    config = tmp_path / "settings.json"
    config.write_text(json.dumps({"bids": {"root": str(data_set), "task": "rest", "run": [2, 10]}}))
    run("apply", results, "--config", config, "--run", "10", "-o", tmp_path / "new")
    new = contents(tmp_path / "new")
    assert set(new) == OF_ALL | {f"{STEMS[1]}{end}" for end in ENDS}
    before = contents(results)
    for end in ENDS:
        assert new[f"{STEMS[1]}{end}"] == before[f"{STEMS[1]}{end}"]
    model = json.loads(new["run.json"])["arguments"]["model"]
    assert model == str(results / "desc-hmm_model.h5")
    printed = run("repeat", tmp_path / "new", "-o", data_set / "derivatives" / "again")
    assert "All 10 files" in printed
    again = contents(data_set / "derivatives" / "again")
    # It tells where the source data set lies.
    differ = [name for name in again if again[name] != new[name]]
    assert differ == ["dataset_description.json"]
    assert json.loads(again[differ[0]])["DatasetLinks"] == {"source": "../.."}
    # The model came along.
    assert (
        mne_hmm.read_hmm(tmp_path / "new" / "desc-hmm_model.h5").free_energy_
        == mne_hmm.read_hmm(model).free_energy_
    )


def test_fit_repeated_and_reported(results, tmp_path, monkeypatch):
    """A fit comes out the same, and its recordings are found for a report."""
    # Networks of one band are enough here; drawing takes long.
    monkeypatch.setattr(report, "BANDS", {"alpha": report.BANDS["alpha"]})
    again = tmp_path / "again"
    assert "All 13 files" in run("repeat", results / "run.json", "-o", again)
    before, after = contents(results), contents(again)
    assert [name for name in before if before[name] != after[name]] == ["dataset_description.json"]
    assert "desc-hmm_report.html" in run("report", again)
    text = (again / "desc-hmm_report.html").read_text(encoding="utf-8")
    assert "Power spectra" in text


def test_validator_passes(results, tmp_path):
    """With a report, too; and it would find what .bidsignore names."""
    folder = shutil.copytree(results, tmp_path / "copy")
    (folder / "desc-hmm_report.html").write_text("<html></html>")
    assert bids_errors(folder) == set()
    (folder / ".bidsignore").write_text("")
    places = {place for _, place in bids_errors(folder)}
    assert {"/run.json", "/recordings.tsv", "/states.tsv", "/desc-hmm_report.html"} <= places


def test_cache(data_set, results, tmp_path):
    """Features in a folder give the same bits."""
    fit = ["fit", "--bids", data_set, *QUICK, "--cache-dir", tmp_path / "cache"]
    run(*fit, "-o", data_set / "derivatives" / "cached")
    assert contents(data_set / "derivatives" / "cached") == contents(results)


def test_epochs(fitted, simulated, tmp_path):
    """Epochs of derivatives have probabilities, and no annotations."""
    folder = tmp_path / "pipeline" / "sub-01" / "meg"
    folder.mkdir(parents=True)
    raw = simulated[0].copy().crop(0.0, 20.0)
    epochs = mne.make_fixed_length_epochs(raw, 4.0, preload=True, verbose="ERROR")
    epochs.save(folder / "sub-01_task-rest_proc-clean_epo.fif", verbose="ERROR")
    (folder / "sub-01_task-rest_proc-clean_raw.fif").touch()
    fitted.save(tmp_path / "hmm.h5")
    argv = ["apply", tmp_path / "hmm.h5", "--bids", tmp_path / "pipeline", "--suffix", "epo"]
    run(*argv, "-o", tmp_path / "out")
    name = "sub-01/meg/sub-01_task-rest_proc-clean_desc-hmm_epo.fif"
    assert set(contents(tmp_path / "out")) == OF_ALL | {name}
    assert len(mne.read_epochs(tmp_path / "out" / name, verbose="ERROR")) == len(epochs)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert len(record["inputs"][0]["files"]) == 1, "FIF files of derivatives tell all themselves"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*(had not settled|settled in time)")
def test_select(data_set, tmp_path):
    """Recordings of a data set arrive; what is found are plain files."""
    quick = shlex.split("--n-states 2,3 --n-folds 2 --n-repeats 2 --n-init 1 --max-iter 3 --seed 0")
    quick += shlex.split("--n-components 4 --n-embeddings 3 --gap 0.1")
    run("select", "--bids", data_set, "--run", "2", *quick, "-o", tmp_path / "out")
    left = contents(tmp_path / "out")
    assert sorted(left) == ["recommendation.txt", "run.json", "selection.png", "selection.tsv"]
    (recording,) = mne_hmm.find_bids_recordings(data_set, run=2)
    (source,) = json.loads(left["run.json"])["inputs"]
    assert source["path"] == str(recording.fpath)
    run("repeat", tmp_path / "out", "-o", tmp_path / "again")
    assert contents(tmp_path / "again") == left


def test_page():
    """What the page says can be typed, and stand in a file."""
    page = (Path(__file__).parents[2] / "docs" / "command_line.rst").read_text(encoding="utf-8")
    (block,) = re.findall(r"\.\. code-block:: bash\n\n((?:   .*\n)+)", page)
    for line in block.splitlines():
        parse(shlex.split(line)[1:], "0")
    yaml = pytest.importorskip("yaml")
    (example,) = re.findall(r"^   bids: .*$", page, re.MULTILINE)
    in_file = yaml.safe_load(example)["bids"]
    expected = {"root": "ds", "subject": ["01", "02"], "task": "rest"}
    assert collect_bids({}, in_file, BIDS) == expected
    assert collect_bids({"bids.task": "go"}, "ds", BIDS) == {"root": "ds", "task": "go"}
    choices = {"root", *inspect.signature(mne_hmm.find_bids_recordings).parameters}
    assert {option.name for option in BIDS} == {f"bids.{name}" for name in choices}


# Errors


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["a.fif", "--bids", "ds"], "FILES and --bids exclude each other"),
        (["a.fif", "--subject", "01"], "FILES and --bids exclude each other"),
        (["--subject", "01"], "name its folder with --bids ROOT"),
        (["--config", "both.json"], "inst and bids in the file of --config exclude each other"),
        ([], "name FILES, or --bids ROOT"),
    ],
)
def test_wrong_usage(tmp_path, monkeypatch, capsys, argv, says):
    """Recordings are files or those of a data set, not both."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "both.json").write_text('{"inst": "a.fif", "bids": "ds"}')
    said = fails(capsys, "fit", *argv, "--n-states", "2", "-o", "out", code=2)
    assert says in said


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--bids", "none"], "'none' is no folder"),
        (["--bids", "."], "holds no recording of a BIDS data set"),
        (["--bids", "ds", "--subject", "02,03"], "none with subject=02, 03; there are: subject 01"),
        (["--config", "wrong.json"], "'tasks' is no option of bids (did you mean task?)"),
        (["--config", "number.json"], "bids must be a folder, or hold names with values, got 3"),
    ],
)
def test_wrong_input(data_set, tmp_path, monkeypatch, capsys, argv, says):
    """What is not there is told with what there is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ds").symlink_to(data_set)
    (tmp_path / "wrong.json").write_text('{"bids": {"root": "ds", "tasks": "rest"}}')
    (tmp_path / "number.json").write_text('{"bids": 3}')
    if argv[1] == ".":
        (tmp_path / "empty").mkdir()
        monkeypatch.chdir(tmp_path / "empty")
    assert says in fails(capsys, "fit", *argv, "--n-states", "2", "-o", "out")
    assert not (tmp_path / "out").exists()


def test_command_line_wins(data_set, tmp_path, capsys):
    """Over a file that names other recordings, of either kind."""
    config = tmp_path / "settings.json"
    fit = ["fit", "--n-states", "2", "--config", config, "-o", tmp_path / "out"]
    config.write_text('{"bids": {"root": "none", "subject": "02"}}')
    assert "no file a.fif" in fails(capsys, *fit, "a.fif")
    assert "with subject=02" in fails(capsys, *fit, "--bids", data_set)
    config.write_text('{"inst": "a.fif"}')
    assert "with task=go" in fails(capsys, *fit, "--bids", data_set, "--task", "go")


def test_foreign_folders(data_set, results, tmp_path, capsys):
    """Derivatives go neither into other data sets nor among the files of one."""
    before = contents(data_set)
    fit = ["fit", "--bids", data_set, *QUICK, "--overwrite", "-o"]
    assert f"--output '{data_set}' holds another data set" in fails(capsys, *fit, data_set)
    for place in ("out", "sub-01/eeg"):
        said = fails(capsys, *fit, data_set / place)
        assert f"lies among the files of the data set {data_set}" in said
        assert "derivatives/mne-hmm" in said
    other = tmp_path / "other"
    other.mkdir()
    (other / "dataset_description.json").write_text('{"Name": "Cleaned"}')
    assert "another data set (Cleaned)" in fails(capsys, *fit, other)
    assert f"--output '{results / 'run.json'}' is a file" in fails(
        capsys, *fit, results / "run.json"
    )
    assert contents(data_set) == before


def test_nothing_is_overwritten(data_set, results, capsys):
    """What is there is safe without --overwrite, and of other commands even with it."""
    before = contents(results)
    fit = ["fit", "--bids", data_set, *QUICK, "-o", results]
    assert "pass --overwrite" in fails(capsys, *fit)
    apply = ["apply", results, "--bids", data_set, "--overwrite", "-o", results]
    assert "mne-hmm fit left" in fails(capsys, *apply)
    assert contents(results) == before


def test_sidecars_that_changed(results, tmp_path, capsys):
    """Files that are read with a recording are part of the run."""
    record = json.loads((results / "run.json").read_text())
    file = record["inputs"][1]["files"][3]
    assert file["path"].endswith("run-10_channels.tsv")
    file["sha256"] = "0" * 64
    (tmp_path / "run.json").write_text(json.dumps(record))
    said = fails(capsys, "repeat", tmp_path, "-o", tmp_path / "out")
    assert "run-10_channels.tsv changed since the run" in said
    assert not (tmp_path / "out").exists()


def test_without_mne_bids(data_set, results, tmp_path, monkeypatch, capsys):
    """One line says how to install it."""
    monkeypatch.setitem(sys.modules, "mne_bids", None)
    fit = ["fit", "--bids", data_set, *QUICK, "-o", tmp_path / "out"]
    for argv in (fit, ["repeat", results, "-o", tmp_path / "out"], ["report", results]):
        assert 'pip install "mne-hmm[bids]"' in fails(capsys, *argv)
