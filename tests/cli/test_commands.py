"""The commands of the command line, on what their page in the documentation says."""

import hashlib
import inspect
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import mne
import numpy as np
import pytest
from command_runs import fails, run
from helpers import three_states

import mne_hmm
from mne_hmm import report
from mne_hmm._utils import locks  # for the moment when a lock has just been taken
from mne_hmm.cli.config import NOT_IN_FILES
from mne_hmm.cli.inputs import digests, names_of
from mne_hmm.cli.main import main
from mne_hmm.cli.options import APPLY, FIT
from mne_hmm.engine.runtime.checkpoint import Journal

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "command_line.rst").read_text(encoding="utf-8")
QUICK = shlex.split("--n-states 3 --n-components 12 --n-init 1 --no-refine --tol 0.01 --seed 0")
# Two options that make the commands of the page quick.
QUICKER = ["--n-init", "1", "--no-refine"]

pytest.importorskip("pandas")


def documented():
    """Commands in the blocks of the page."""
    blocks = re.findall(r"\.\. code-block:: sh\n\n((?:   .*\n|\n)+)", PAGE)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with three short recordings, and the page's file of options.

    One recording and two of them are cut into chunks of one length, and into groups of one size.
    """
    folder = tmp_path_factory.mktemp("commands")
    for i_subject in range(3):
        raw, _ = mne_hmm.simulate_raw(
            3, n_channels=4, duration=8.0, mean_lifetime=0.3, snr=4.0, random_state=i_subject
        )
        raw.set_meas_date(1_000_000_000 + i_subject).save(
            folder / f"sub-0{i_subject + 1}_parc-raw.fif"
        )
    shutil.copy(DOCS / "settings.yml", folder)
    return folder


@pytest.fixture(scope="module")
def printed(folder):
    """Run all commands of the page, in order; give what each of them printed.

    Only the search for the best optimum is left out, which takes long, and so do the maps and
    networks of all bands but one.
    """
    out = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(report, "BANDS", {"alpha": report.BANDS["alpha"]})
        for program, *argv in documented():
            assert program == "mne-hmm"
            out[" ".join(argv[:2])] = run(*argv, *(QUICKER if argv[0] == "fit" else []))
    return out


def contents(folder):
    """Get the bytes of all files in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# What the page says


def test_fit_leaves_what_the_page_says(folder, printed):
    """Model, annotations, tables and the run, and nothing else."""
    results = folder / "results"
    names = ["sub-01_parc-raw", "sub-02_parc-raw"]
    annotations = {f"{name}-annot.txt" for name in names}
    others = {"hmm.h5", "recordings.tsv", "states.tsv", "run.json"}
    assert set(contents(results)) == annotations | others | {"report.html"}
    hmm = mne_hmm.read_hmm(results / "hmm.h5")
    assert (hmm.n_states, hmm.n_features, hmm.random_state) == (3, 12, 0)
    raws = [mne.io.read_raw(folder / f"{name}.fif") for name in names]
    for name, raw, of_model in zip(names, raws, hmm.annotations_, strict=True):
        read = mne.read_annotations(results / f"{name}-annot.txt")
        assert read.orig_time == of_model.orig_time == raw.info["meas_date"]
        np.testing.assert_array_equal(read.onset, of_model.onset)
        np.testing.assert_array_equal(read.duration, of_model.duration)
        assert read.description.tolist() == of_model.description.tolist()
        assert len(raw.set_annotations(read).annotations) == len(of_model)
    import pandas as pd

    states = hmm.predict(raws, verbose=False)
    for fname, summarize in (
        ("recordings.tsv", mne_hmm.summarize_recordings),
        ("states.tsv", mne_hmm.summarize_states),
    ):
        table = pd.read_csv(results / fname, sep="\t", na_values="n/a")
        pd.testing.assert_frame_equal(table, summarize(states, names=names), rtol=1e-12)


def test_fit_is_that_of_python(folder, printed):
    """The same call in Python gives the same model, to the bit."""
    files = [folder / f"sub-0{subject}_parc-raw.fif" for subject in (1, 2)]
    theirs = mne_hmm.read_hmm(folder / "results" / "hmm.h5")
    ours = mne_hmm.fit_hmm(
        files,
        3,
        preparation=mne_hmm.Preparation(n_components=12),
        n_init=1,
        refine=False,
        random_state=0,
        verbose=False,
    )
    np.testing.assert_array_equal(ours.covariances_, theirs.covariances_)
    assert ours.free_energy_ == theirs.free_energy_


def test_apply(folder, printed):
    """States of a new recording are those of predict, as annotations and probabilities."""
    new = folder / "new"
    states = mne_hmm.read_hmm(folder / "results" / "hmm.h5").predict(
        folder / "sub-03_parc-raw.fif", verbose=False
    )
    with np.load(new / "sub-03_parc-raw-states.npz") as arrays:
        np.testing.assert_array_equal(
            arrays["probabilities"], states.probabilities.astype(np.float32)
        )
        np.testing.assert_array_equal(arrays["labels"], states.labels)
        assert arrays["state_names"].tolist() == list(states.state_names)
        assert arrays["sfreq"] == states.timeline.sfreq
        assert arrays["first_samp"] == states.timeline.first_samp
        assert str(arrays["meas_date"]) == states.timeline.meas_date.isoformat()
    read = mne.read_annotations(new / "sub-03_parc-raw-annot.txt")
    np.testing.assert_array_equal(read.onset, states.to_annotations().onset)
    record = json.loads((new / "run.json").read_text())
    assert record["command"] == "apply"
    assert record["arguments"]["model"] == str(folder / "results" / "hmm.h5")
    assert record["other_inputs"]["model"] == digests(folder / "results" / "hmm.h5")
    assert "sub-03_parc-raw" in printed["apply results"]


def test_config(folder, printed):
    """A file holds the names of Python, and the command line wins over it."""
    record = json.loads((folder / "other" / "run.json").read_text())
    arguments = record["arguments"]
    assert arguments["random_state"] == 8, "the command line wins"
    assert arguments["tol"] == 1e-3, "which YAML takes for text"
    assert (arguments["n_states"], arguments["refine"]) == (3, False)
    preparation = mne_hmm.Preparation(l_freq=2.0, h_freq=40.0, n_components=12)
    assert mne_hmm.Preparation(**arguments["preparation"]) == preparation
    assert arguments["max_iter"] == 100, "defaults are written down"
    assert record["names"] == ["sub-01_parc-raw", "sub-02_parc-raw"]


def test_run_file(folder, printed):
    """It tells of all files what they hold, and of everything the bits depend on."""
    record = json.loads((folder / "results" / "run.json").read_text())
    for output in record["outputs"]:
        data = (folder / "results" / output["path"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (output["size"], output["sha256"])
    assert len(record["outputs"]) == 5
    for source, subject in zip(record["inputs"], (1, 2), strict=True):
        path = folder / f"sub-0{subject}_parc-raw.fif"
        assert source["path"] == str(path)
        (file,) = source["files"]
        assert file["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    names = {*inspect.signature(mne_hmm.fit_hmm).parameters} - {*NOT_IN_FILES}
    elsewhere = {"n_jobs", "checkpoint_dir", "log_dir"}
    assert set(record["arguments"]) == names - elsewhere
    assert record["environment"]["intra_op_threads"] > 0


def test_repeated_to_the_bit(folder, printed):
    """Every file is the same, that of the run itself too."""
    before, after = contents(folder / "results"), contents(folder / "again")
    del before["report.html"]
    assert set(after) == set(before)
    assert [name for name in before if before[name] != after[name]] == []
    assert "All 5 files" in printed["repeat results/run.json"]


def test_apply_repeated_to_the_bit(folder, printed, tmp_path):
    """So are the files of apply, from the folder of a run."""
    run("repeat", folder / "new", "-o", tmp_path / "new")
    assert contents(tmp_path / "new") == contents(folder / "new")


def test_report(folder, printed):
    """The report is of the recordings the run began with, and has no date."""
    text = (folder / "results" / "report.html").read_text(encoding="utf-8")
    assert "Created via" in text
    assert "Created on" not in text
    assert all(title in text for title in ("Power spectra", "Transitions", "Warnings"))
    assert "report.html" in printed["report results"]


def test_info(folder, printed):
    """Everything is told for what it is."""
    assert "4 misc" in printed["info sub-01_parc-raw.fif"]
    assert "8.0 s" in printed["info sub-01_parc-raw.fif"]
    assert "n_states       3" in printed["info again"]
    assert "changed since  none" in printed["info again"]
    assert "3 (state_0, state_1, state_2)" in run("info", folder / "results" / "hmm.h5")


# Options


def test_every_parameter_has_an_option():
    """A new parameter gets an option, or is named here as one for files."""
    only_in_files = {
        "initial_means",
        "initial_covariances",
        "initial_transition_matrix",
        "initial_probs",
        "priors",
    }
    of_fit = set(inspect.signature(mne_hmm.fit_hmm).parameters)
    of_preparation = {field.name for field in fields(mne_hmm.Preparation)}
    of_priors = {field.name for field in fields(mne_hmm.Priors)}
    names = {option.name for option in FIT}
    plain = {name for name in names if "." not in name}
    assert plain - {"cache_dir"} == of_fit - {*NOT_IN_FILES} - only_in_files
    for outer, inner in (("preparation", of_preparation), ("priors", of_priors)):
        ours = {name.partition(".")[2] for name in names if name.startswith(f"{outer}.")}
        assert ours == inner - only_in_files
    of_apply = {*inspect.signature(mne_hmm.HMM.predict).parameters} - {*NOT_IN_FILES}
    assert {option.name for option in APPLY} == of_apply | {"atlas", "src", "subjects_dir"}


@pytest.mark.parametrize("suffix", [".json", ".toml"])
def test_config_and_presets(folder, tmp_path, suffix):
    """Recordings, a preparation by name and priors may stand in a file; so may none."""
    values = {
        "inst": str(folder / "sub-01_parc-raw.fif"),
        "n_states": 3,
        "preparation": "amplitude_envelope",
        "priors": {"covariances": "auto"},
        "n_init": 1,
        "refine": False,
        "tol": 0.01,
    }
    config = tmp_path / f"settings{suffix}"
    toml = "\n".join(
        f"{name} = {json.dumps(value)}"
        if not isinstance(value, dict)
        else f'{name} = {{covariances = "auto"}}'
        for name, value in values.items()
    )
    config.write_text(json.dumps(values) if suffix == ".json" else toml)
    run("fit", "--config", config, "-o", tmp_path / "out", "--l-freq", "none", "--no-standardize")
    arguments = json.loads((tmp_path / "out" / "run.json").read_text())["arguments"]
    expected = mne_hmm.Preparation.amplitude_envelope(l_freq=None, standardize=False)
    assert mne_hmm.Preparation(**arguments["preparation"]) == expected
    assert mne_hmm.Priors(**arguments["priors"]) == mne_hmm.Priors(covariances="auto")
    seed = arguments["random_state"]
    assert isinstance(seed, int), "drawn and written down"
    assert mne_hmm.read_hmm(tmp_path / "out" / "hmm.h5").random_state == seed


def test_prepared_data_and_cache(folder, tmp_path):
    """Features in a folder give the same bits, whether fit prepares them or they were there."""
    files = [folder / "sub-01_parc-raw.fif", folder / "sub-02_parc-raw.fif"]
    run("fit", *files, *QUICK, "-o", tmp_path / "plain")
    run("fit", *files, *QUICK, "-o", tmp_path / "cached", "--cache-dir", tmp_path / "cache")
    assert contents(tmp_path / "plain") == contents(tmp_path / "cached")
    without = [argument for argument in QUICK if argument not in ("--n-components", "12")]
    run("fit", tmp_path / "cache", *without, "-o", tmp_path / "prepared", "--quiet")
    plain, prepared = contents(tmp_path / "plain"), contents(tmp_path / "prepared")
    assert plain["hmm.h5"] == prepared["hmm.h5"]
    assert plain["states.tsv"] == prepared["states.tsv"]
    run("repeat", tmp_path / "prepared", "-o", tmp_path / "again")
    assert "PreparedData: 2 recordings" in run("info", tmp_path / "cache")


def test_names_and_files(tmp_path):
    """Recordings are told apart by their folders; files that belong together count together."""
    paths = [Path(f"/data/sub-0{n}/meg/rest_raw.fif.gz") for n in (1, 2)]
    assert names_of(paths) == ["sub-01_meg_rest_raw", "sub-02_meg_rest_raw"]
    assert names_of([Path("a.fif"), Path("b.fif")]) == ["a", "b"]
    assert len(set(names_of([Path("/a.fif"), Path("/A.edf"), Path("/a.edf")]))) == 3
    for name in ("x-lh.stc", "x-rh.stc", "y-lh.stc", "r.vhdr", "r.eeg", "r.vmrk", "r.txt"):
        (tmp_path / name).write_text(name)
    names = {
        name: [Path(digest["path"]).name for digest in digests(tmp_path / name)]
        for name in ("x", "x-rh.stc", "r.vhdr")
    }
    assert names == {
        "x": ["x-lh.stc", "x-rh.stc"],
        "x-rh.stc": ["x-lh.stc", "x-rh.stc"],
        "r.vhdr": ["r.eeg", "r.vhdr", "r.vmrk"],
    }
    (tmp_path / "case.ds").mkdir()
    (tmp_path / "case.ds" / "case.meg4").write_text("4")
    assert [Path(digest["path"]).name for digest in digests(tmp_path / "case.ds")] == ["case.meg4"]


def test_quiet_and_log(folder, tmp_path, capsys):
    """The log goes to stderr; with --quiet there is none."""
    fit = ["fit", str(folder / "sub-01_parc-raw.fif"), *QUICK]
    assert main([*fit, "-o", str(tmp_path / "a")]) == 0
    out, err = capsys.readouterr()
    assert "Free energy" in err
    assert out.startswith("HMM\n")
    assert main([*fit, "-o", str(tmp_path / "b"), "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("HMM\n")


@pytest.mark.filterwarnings("always")
def test_warnings_take_one_line(folder, tmp_path, capsys):
    """Warnings are lines on stderr, without code."""
    argv = ["fit", str(folder / "sub-01_parc-raw.fif"), *QUICK, "-o", str(tmp_path), "--quiet"]
    assert main([*argv, "--max-iter", "1"]) == 0
    assert capsys.readouterr().err == (
        "mne-hmm: warning: Training had not settled after max_iter=1 updates; raise max_iter, or "
        "tol\n"
    )


# Errors: one line on stderr, and a code


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["fit", "--n-states", "2", "-o", "out"], "no recordings"),
        (["fit", "sub-01_parc-raw.fif", "-o", "out"], "--n-states is needed"),
        (["fit", "sub-01_parc-raw.fif", "--n-states", "2"], "-o/--output"),
        (["fit", "x.fif", "--n-states", "many", "-o", "out"], "must be a number"),
        (["fit", "x.fif", "--n-state", "2", "-o", "out"], "did you mean --n-states?"),
        (["fit", "x.fif", "--zzz", "2", "-o", "out"], "there are -h, --help"),
        (["fit", "x.fif", "--n-components", "few", "-o", "out"], "a number, auto or none"),
        (["fit", "x.fif", "--learn-means", "often", "-o", "out"], "yes, no or auto"),
        (["select", "x.fif", "--n-states", "4-x", "-o", "out"], "as in 4-16 or 4,6,8"),
        (["info", "x", "y"], "too many arguments: y"),
        (["fit", "x.fif", "--quiet", "--verbose", "INFO", "-o", "out"], "not allowed with"),
    ],
)
def test_wrong_usage(folder, monkeypatch, capsys, argv, says):
    """Wrong usage leaves with code 2 and says what there is."""
    monkeypatch.chdir(folder)
    assert says in fails(capsys, *argv, code=2)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["fit", "none.fif", *QUICK, "-o", "out"], "there is no file none.fif"),
        (["fit", "none-*.fif", *QUICK, "-o", "out"], "stands for no file"),
        (["fit", "settings.yml", *QUICK, "-o", "out"], "cannot be read"),
        (["fit", "sub-01_parc-raw.fif", *QUICK, "-o", "settings.yml"], "is a file"),
        (["fit", "sub-01_parc-raw.fif", *QUICK, "-o", "settings.yml/a"], "is a file"),
        (["fit", "sub-01_parc-raw.fif", "./sub-01_parc-raw.fif", *QUICK, "-o", "out"], "once"),
        (["fit", "sub-01_parc-raw.fif", "--n-states", "1", "-o", "out"], "whole number ≥ 2"),
        (["fit", "sub-01_parc-raw.fif", *QUICK, "--n-embeddings", "4", "-o", "out"], "odd"),
        (["fit", "sub-01_parc-raw.fif", *QUICK, "--init", "a.h5", "-o", "out"], "no such file"),
        (["fit", "sub-01_parc-raw.fif", *QUICK, "--preparation", "tde", "-o", "out"], "one of"),
        (
            ["fit", "a.fif", *QUICK, "--preparation", "as_is", "--config", "none.yml", "-o", "out"],
            "none.yml",
        ),
        (["fit", "sub-01_parc-raw.fif", *QUICK, "--config", "hmm.txt", "-o", "out"], ".toml"),
        (["apply", "none.h5", "sub-01_parc-raw.fif", "-o", "out"], "there is no such file"),
        (["apply", "settings.yml", "sub-01_parc-raw.fif", "-o", "out"], "no HDF5 file"),
        (["report", "none"], "none"),
        (["report", "."], "holds no run.json"),
        (["repeat", "settings.yml", "-o", "out"], "no JSON file"),
        (["info", "none"], "there is no none"),
        (["info", "settings.yml"], "cannot be read"),
        (["convert", "none", "hmm.h5"], "there is no none"),
        (["convert", ".", "hmm.txt"], "must end in .h5"),
        (["convert", "sub-01_parc-raw.fif", "osl"], "no HDF5 file"),
        (["convert", "settings.yml", "osl", "--sfreq", "250"], "--sfreq is for model folders"),
    ],
)
def test_wrong_input(folder, monkeypatch, capsys, argv, says):
    """A wrong input ends with code 1 and one line."""
    monkeypatch.chdir(folder)
    assert says in fails(capsys, *argv)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("n_stats: 3", "'n_stats' is no option (did you mean n_states?); there are atlas, batch"),
        ("preparation: {l_freqs: 1}", "no option of preparation (did you mean l_freq?)"),
        ("preparation: 3", "preparation must hold names with values"),
        ("preparation: {n_components: few}", "preparation.n_components must be a number, auto"),
        ("- 3", "must hold names with values, as in n_states: 8, got a list"),
        ("n_states: [", "cannot be read"),
        ("max_iter: -1", "max_iter must be a whole number ≥ 1"),
        ("refine: 3", "refine must be one of True, False"),
    ],
)
def test_wrong_config(folder, tmp_path, capsys, text, says):
    """A file of options that is wrong is told so, with what there is."""
    config = tmp_path / "settings.yaml"
    config.write_text(text)
    file = folder / "sub-01_parc-raw.fif"
    without = [
        argument for argument in QUICK if argument not in ("--n-components", "12", "--no-refine")
    ]
    argv = ["fit", file, *without, "--config", config, "-o", tmp_path / "out"]
    assert says in fails(capsys, *argv)


def test_empty_config_and_preset(folder, tmp_path, capsys):
    """An empty file changes nothing; a preparation that does nothing takes no settings."""
    config = tmp_path / "settings.yml"
    config.write_text("# nothing yet\n")
    file = folder / "sub-01_parc-raw.fif"
    argv = ["fit", file, *QUICK, "--config", config, "-o", tmp_path / "out"]
    assert "as_is does nothing" in fails(capsys, *argv, "--preparation", "as_is")


def test_nothing_is_overwritten(folder, printed, tmp_path, capsys):
    """What is there is safe without --overwrite, and of other commands even with it."""
    new, before = folder / "new", contents(folder / "new")
    file, model = folder / "sub-03_parc-raw.fif", folder / "results" / "hmm.h5"
    said = fails(capsys, "apply", model, file, "-o", new)
    assert "run.json" in said
    assert "--overwrite" in said
    assert "mne-hmm apply left" in fails(capsys, "fit", file, *QUICK, "-o", new, "--overwrite")
    assert contents(new) == before
    assert "report.html already" in fails(capsys, "report", folder / "results")
    run("apply", model, file, "-o", new, "--overwrite", "--quiet")
    assert contents(new) == before


@pytest.mark.skipif(sys.platform == "win32", reason="folders have other rights there")
def test_folder_that_cannot_be_written(folder, tmp_path, monkeypatch, capsys):
    """It is found before anything is done."""
    import os

    # The rights of files do not bind those who run tests as root.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    argv = ["fit", folder / "sub-01_parc-raw.fif", *QUICK, "-o", tmp_path / "a" / "b"]
    assert "cannot be written to" in fails(capsys, *argv)


def test_without_pandas(folder, tmp_path, monkeypatch, capsys):
    """What tables need is looked for before anything is done."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    argv = ["fit", folder / "sub-01_parc-raw.fif", *QUICK, "-o", tmp_path / "out"]
    assert 'pip install "mne-hmm[cli]"' in fails(capsys, *argv)


def test_names_that_files_cannot_hold(folder, fitted, tmp_path, capsys):
    """Commas separate columns in files of annotations."""
    fitted.rename_states(["a,b", "c", "d"]).save(tmp_path / "hmm.h5")
    argv = ["apply", tmp_path / "hmm.h5", folder / "sub-01_parc-raw.fif", "-o", tmp_path / "out"]
    assert "rename_states" in fails(capsys, *argv)


def test_inputs_that_changed(folder, printed, tmp_path, capsys):
    """A run whose files are not as they were is neither repeated nor reported on."""
    record = json.loads((folder / "new" / "run.json").read_text())
    other = tmp_path / "run.json"

    def changed(change):
        copy = json.loads(json.dumps(record))
        change(copy)
        other.write_text(json.dumps(copy))
        return fails(capsys, "repeat", other, "-o", tmp_path / "out")

    def of_file(copy):
        copy["inputs"][0]["files"][0]["sha256"] = "0" * 64

    def of_model(copy):
        copy["other_inputs"]["model"][0]["size"] += 1

    def gone(copy):
        copy["inputs"][0]["files"][0]["path"] += ".gone"

    assert "sub-03_parc-raw.fif changed since the run" in changed(of_file)
    assert "other_inputs" not in (said := fails(capsys, "report", tmp_path)), said
    assert "hmm.h5 changed since the run" in changed(of_model)
    assert "is there no more" in changed(gone)
    assert "of a newer mne-hmm" in changed(lambda copy: copy.update(format_version=99))
    assert "does not describe a run" in changed(lambda copy: copy.pop("format"))
    assert "cannot be repeated" in changed(lambda copy: copy.update(command="report"))
    assert "the folder of the run itself" in fails(
        capsys, "repeat", folder / "new", "-o", folder / "new", "--overwrite"
    )
    assert not (tmp_path / "out").exists()


def test_other_bits_are_told(folder, printed, tmp_path, capsys):
    """A repeated run that comes out otherwise ends with code 1 and says why it may be."""
    record = json.loads((folder / "new" / "run.json").read_text())
    for output in record["outputs"]:
        if output["path"] == "states.tsv":
            output["sha256"] = "0" * 64
    record["environment"]["numpy"] = "1.0"
    (tmp_path / "run.json").write_text(json.dumps(record))
    said = fails(capsys, "repeat", tmp_path, "-o", tmp_path / "out")
    assert "1 of 4 files are not as in" in said
    assert "states.tsv" in said
    assert f"numpy is {np.__version__}, was 1.0" in said


def test_info_of_changed_outputs(folder, printed, tmp_path):
    """Outputs that are not as they were written are named."""
    shutil.copytree(folder / "new", tmp_path / "new")
    (tmp_path / "new" / "states.tsv").write_text("")
    assert "changed since  states.tsv" in run("info", tmp_path / "new")


def test_prepared_data_do_not_mix(folder, tmp_path, capsys):
    """Prepared data stand alone, are not prepared again, and cannot be reported on."""
    file = folder / "sub-01_parc-raw.fif"
    preparation = mne_hmm.Preparation(n_components=12)
    mne_hmm.prepare([file], preparation, cache_dir=tmp_path / "cache", verbose=False)
    without = [argument for argument in QUICK if argument not in ("--n-components", "12")]
    fit = ["fit", tmp_path / "cache", *without, "-o", tmp_path / "out"]
    assert "cannot be given with other files" in fails(capsys, *fit, file)
    assert "leave it out" in fails(capsys, *fit, "--cache-dir", tmp_path / "other")
    assert "preparation cannot be given" in fails(capsys, *fit, "--l-freq", "2")
    run(*fit)
    assert (tmp_path / "out" / "sub-01_parc-raw-annot.txt").exists()
    assert "began with prepared data" in fails(capsys, "report", tmp_path / "out")


def interrupt_after(monkeypatch, owner, name):
    """Press Ctrl-C once, as soon as a function of the program has done its work."""
    original = getattr(owner, name)

    def interrupted(*args, **kwargs):
        result = original(*args, **kwargs)
        monkeypatch.setattr(owner, name, original)
        signal.raise_signal(signal.SIGINT)
        return result

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.filterwarnings("ignore:Training had not settled")
def test_interrupted(folder, tmp_path, monkeypatch, capsys):
    """Ctrl-C ends with code 130; the same command goes on, and ends with the same bits."""
    file = folder / "sub-01_parc-raw.fif"
    checkpoints = tmp_path / "checkpoints"
    fit = ["fit", file, "--n-states", "3", "--n-components", "12", "--no-refine", "--tol", "0"]
    fit += ["--n-init", "3", "--max-iter", "20"]
    assert "--checkpoint-dir needs --seed" in fails(
        capsys, *fit, "--checkpoint-dir", checkpoints, "-o", tmp_path / "out"
    )
    fit += ["--seed", "0"]
    argv = [*fit, "--checkpoint-dir", checkpoints, "-o", tmp_path / "out"]
    # What a shell runs in the background ignores Ctrl-C, and so does all that it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        # The lock of the folder has just been taken, and must not stay; a step has been finished.
        for owner, name, n_finished in ((locks, "_write_holder", 0), (Journal, "finish", 1)):
            interrupt_after(monkeypatch, owner, name)
            message = fails(capsys, *argv, code=130)
            assert "interrupted; the same command goes on from" in message
            assert len(list(checkpoints.glob("*.result"))) == n_finished
            assert not (tmp_path / "out").exists()
    finally:
        signal.signal(signal.SIGINT, before)
    run(*argv)
    run(*fit, "-o", tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_debug_shows_where(folder, capsys):
    """A traceback is there for those who ask for it."""
    assert main(["info", "none", "--verbose", "DEBUG"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("mne-hmm: there is no none")


# The command that is installed


def installed(*argv):
    """Run the command that pip made."""
    program = Path(sys.executable).with_name("mne-hmm")
    return subprocess.run(
        [program, *map(str, argv)], capture_output=True, text=True, check=False, timeout=600
    )


def test_installed_command(folder, tmp_path):
    """Codes, stdout and stderr of the process are as the page says."""
    done = installed("info", folder / "sub-01_parc-raw.fif", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(str(folder / "sub-01_parc-raw.fif"))
    done = installed("info", tmp_path / "none")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"mne-hmm: there is no .*none; .*\n", done.stderr)


# How many states


def test_select(tmp_path, capsys):
    """The recommendation is that of Python; table, figure and text are left, the same again."""
    # Chunks of the whole and of its halves are as long, and in groups as large.
    np.save(tmp_path / "x.npy", three_states(3600).T)
    argv = shlex.split("--n-states 2,3 --n-folds 2 --n-repeats 2 --n-init 1 --seed 0")
    argv += ["--max-iter", "30", "--tol", "0.3", "--no-refine"]
    argv = ["select", tmp_path / "x.npy", "--sfreq", "100", "--preparation", "as_is", *argv]
    text = run(*argv, "-o", tmp_path / "out")
    selection = mne_hmm.select_n_states(
        tmp_path / "x.npy",
        (2, 3),
        n_folds=2,
        n_repeats=2,
        n_init=1,
        max_iter=30,
        tol=0.3,
        refine=False,
        sfreq=100.0,
        preparation=mne_hmm.Preparation.as_is(),
        random_state=0,
    )
    assert selection.recommend().n_states == 3
    left = contents(tmp_path / "out")
    assert sorted(left) == ["recommendation.txt", "run.json", "selection.png", "selection.tsv"]
    assert left["recommendation.txt"].decode().rstrip() == str(selection.recommend())
    assert text.startswith(str(selection.recommend()))
    head, *rows = left["selection.tsv"].decode().splitlines()
    table = selection.to_data_frame()
    assert head.split("\t") == list(table)
    assert [row.split("\t")[0] for row in rows] == ["2", "3"]
    assert "selection.tsv" in fails(capsys, *argv, "-o", tmp_path / "out")
    run("repeat", tmp_path / "out", "-o", tmp_path / "again")
    assert contents(tmp_path / "again") == left


# Models of osl-dynamics

OSL_MODEL = Path(__file__).parents[1] / "data" / "osl_model"


def test_convert(fitted, tmp_path):
    """A folder becomes a file and a file a folder."""
    assert "there.h5" in run("convert", OSL_MODEL, tmp_path / "there.h5", "--sfreq", "250")
    there = mne_hmm.read_hmm(tmp_path / "there.h5")
    expected = mne_hmm.read_osl_hmm(OSL_MODEL, sfreq=250.0)
    np.testing.assert_array_equal(there.covariances_, expected.covariances_)
    assert there.preparation_.sfreq_ == 250
    fitted.save(tmp_path / "hmm.h5")
    assert "osl" in run("convert", tmp_path / "hmm.h5", tmp_path / "osl")
    argv = ["convert", tmp_path / "osl", tmp_path / "back.h5"]
    run(*argv, "--preparation", tmp_path / "hmm.h5")
    back = mne_hmm.read_hmm(tmp_path / "back.h5")
    assert back.preparation_.ch_names_ == fitted.preparation_.ch_names_
    # osl-dynamics keeps single precision.
    np.testing.assert_allclose(back.covariances_, fitted.covariances_, rtol=0, atol=1e-5)


def test_convert_needs_a_rate(tmp_path, capsys):
    """Model folders do not tell the rate."""
    assert "sfreq" in fails(capsys, "convert", OSL_MODEL, tmp_path / "there.h5")


# The real thing


@pytest.mark.slow
# These files end in zeros, and few updates do not settle.
@pytest.mark.filterwarnings("ignore:.*(without any signal|had not settled):RuntimeWarning")
def test_all_runs_of_a_person(eegbci, tmp_path):
    """Fit, apply and report on real EEG, and all of it again to the same bits."""
    files = [raw.filenames[0] for raw in eegbci(*range(1, 15))]
    fit = ["--n-states", "6", "--max-iter", "10", "--n-init", "1", "--no-refine"]
    run("fit", *files, *fit, "-o", tmp_path / "fit")
    run("apply", tmp_path / "fit", *files, "-o", tmp_path / "apply")
    names = [f"S001R{run_number:02}" for run_number in range(1, 15)]
    for name, raw in zip(names, eegbci(*range(1, 15)), strict=True):
        first, second = (
            mne.read_annotations(tmp_path / command / f"{name}-annot.txt")
            for command in ("fit", "apply")
        )
        np.testing.assert_array_equal(first.onset, second.onset)
        assert first.description.tolist() == second.description.tolist()
        with np.load(tmp_path / "apply" / f"{name}-states.npz") as arrays:
            assert arrays["probabilities"].shape == (6, raw.n_times)
    for command in ("fit", "apply"):
        run("repeat", tmp_path / command, "-o", tmp_path / "again" / command)
        assert contents(tmp_path / "again" / command) == contents(tmp_path / command)
    for folder in (tmp_path / "fit", tmp_path / "again" / "fit"):
        run("report", folder)
    pages = [folder / "fit" / "report.html" for folder in (tmp_path, tmp_path / "again")]
    assert pages[0].read_bytes() == pages[1].read_bytes()


@pytest.mark.slow
def test_page_as_it_stands(folder, tmp_path, monkeypatch):
    """The commands of the page work with the search for the best optimum, too."""
    for path in [*folder.glob("*.fif"), folder / "settings.yml"]:
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    for _, *argv in documented():
        run(*argv)
    assert contents(tmp_path / "again")["hmm.h5"] == contents(tmp_path / "results")["hmm.h5"]
