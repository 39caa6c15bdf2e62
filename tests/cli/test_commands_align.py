"""Commands on recordings that are aligned together, and on a period of them."""

import shlex

import mne
import numpy as np
import pytest
from command_runs import fails, run

import mne_hmm
from mne_hmm.cli.options import period_or_file
from mne_hmm.cli.outputs import annotations_file

pytest.importorskip("pandas")

QUICK = shlex.split("--n-states 2 --n-components 8 --n-init 1 --no-refine --tol 0.1 --seed 0")
GROUP = ["a", "b", "a"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three recordings, mixed in different ways."""
    folder = tmp_path_factory.mktemp("aligned")
    rng = np.random.default_rng(0)
    for i_recording in range(3):
        raw, _ = mne_hmm.simulate_raw(
            2, n_channels=4, duration=12.0, mean_lifetime=0.3, snr=4.0, random_state=i_recording
        )
        mixing = np.eye(4) + 0.3 * rng.standard_normal((4, 4))
        raw.apply_function(lambda x, mixing=mixing: mixing @ x, picks="all", channel_wise=False)
        raw.save(folder / f"{i_recording}_raw.fif", fmt="double")
    return folder


def labels(path):
    """States of a recording as a command left them."""
    with np.load(path) as file:
        return file["labels"]


@pytest.fixture(scope="module")
def fit(folder):
    """Leave a model of two groups, and the states of its recordings."""
    align = ["--align", "riemannian", "--group", ",".join(GROUP)]
    run("fit", *sorted(folder.glob("*_raw.fif")), *QUICK, *align, "-o", folder / "fit")
    return mne_hmm.read_hmm(folder / "fit" / "hmm.h5")


def test_groups_and_periods(folder, fit):
    """Fit and apply do what Python does with the same arguments."""
    files = sorted(folder.glob("*_raw.fif"))
    assert fit.preparation_.grouped_
    for i_recording in range(3):
        there = mne.read_annotations(folder / "fit" / annotations_file(f"{i_recording}_raw")).onset
        np.testing.assert_allclose(there, fit.annotations_[i_recording].onset, rtol=0, atol=1e-5)
    on = ["--group", ",".join(GROUP), "--align-on", "1,6"]
    run("apply", folder / "fit", *files, *on, "-o", folder / "applied")
    states = fit.predict(files, group=GROUP, align_on=(1.0, 6.0))
    for i_recording, course in enumerate(states):
        np.testing.assert_array_equal(
            labels(folder / "applied" / f"{i_recording}_raw-states.npz"), course.labels
        )


@pytest.mark.slow
def test_folders_files_and_repeats(folder, fit):
    """The same bits from a folder and from Python, and again; a file to align on counts."""
    files = sorted(folder.glob("*_raw.fif"))
    settings = mne_hmm.Preparation(n_components=8, align="riemannian")
    expected = mne_hmm.fit_hmm(
        files, 2, preparation=settings, n_init=1, refine=False, tol=0.1, random_state=0, group=GROUP
    )
    np.testing.assert_array_equal(fit.covariances_, expected.covariances_)
    cached = ["--align", "riemannian", "--group", ",".join(GROUP), "--cache-dir", folder / "cache"]
    run("fit", *files, *QUICK, *cached, "-o", folder / "cached")
    np.testing.assert_array_equal(
        mne_hmm.read_hmm(folder / "cached" / "hmm.h5").covariances_, expected.covariances_
    )
    run("repeat", folder / "fit" / "run.json", "-o", folder / "again")
    run("apply", folder / "fit", files[0], "--align-on", files[1], "-o", folder / "on")
    np.testing.assert_array_equal(
        labels(folder / "on" / "0_raw-states.npz"), fit.predict(files[0], align_on=files[1]).labels
    )
    run("repeat", folder / "on" / "run.json", "-o", folder / "on again")


def test_wrong_labels(folder, capsys):
    """One line says what is wrong."""
    files = sorted(folder.glob("*_raw.fif"))
    line = fails(capsys, "fit", *files, *QUICK, "--group", "a,b,a", "-o", folder / "none")
    assert "group is for recordings that are aligned" in line
    wrong = ["--align", "euclidean", "--group", "a,b"]
    line = fails(capsys, "fit", *files, *QUICK, *wrong, "-o", folder / "none")
    assert "2 labels for 3 recordings" in line


@pytest.mark.parametrize(
    ("text", "value"),
    [("0,60", [0.0, 60.0]), ("-0.5,0", [-0.5, 0.0]), ("a,b.fif", "a,b.fif"), ("none", None)],
)
def test_what_align_on_may_be(text, value):
    assert period_or_file(text) == value
