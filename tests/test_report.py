"""The report of a model, and what it warns of."""

import re
import shutil
import subprocess
from dataclasses import replace

import mne
import numpy as np
import pytest
from helpers import states_of

import mne_hmm
from mne_hmm import report as report_module
from mne_hmm.report import find_cautions

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

TITLES = [
    *("Warnings", "What was done", "Model", "Training", "Starts", "States", "States over time"),
    *("States and signals", "Statistics", "Lifetimes", "Transitions", "Transition graph"),
    *("Cycle of states", "Power spectra", "Coherence", "Maps of power", "Networks"),
]


def titles(report):
    return [element.name for element in report._content]


def text_of(report, title):
    """Text of an entry, without its tags."""
    (html,) = (element.html for element in report._content if element.name == title)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def course(seconds):
    """States that are on for so many seconds each, one after another."""
    return states_of(
        np.repeat(np.arange(len(seconds)), np.round(100 * np.array(seconds)).astype(int)), 3
    )


@pytest.fixture(scope="module")
def report(fitted, simulated):
    return fitted.report(simulated[0], verbose="ERROR")


def test_everything_is_there(report, fitted, simulated):
    """The entries, in order, with numbers that were computed elsewhere."""
    assert titles(report) == TITLES
    done = text_of(report, "What was done")
    for name, value in fitted.preparation_.settings.items():
        assert f"{name} {'none' if value is None else value}" in done
    states = fitted.predict(simulated[0])
    n_left_out = int((states.labels < 0).sum())
    assert n_left_out == 14
    assert "samples 15,000 (60.0 s)" in done
    assert f"left out (bad spans, edges of spans) {n_left_out} " in done
    occupancy = 100 * states.statistics().fractional_occupancy
    table = text_of(report, "States")
    for name, share in zip(fitted.state_names, occupancy, strict=True):
        assert f"{name} {share:.4g} " in table
    starts = fitted.history_["starts"]
    assert text_of(report, "Starts").count("kmeans") == len(starts)
    assert f"{starts[0]['free_energy'][-1]:.4f}" in text_of(report, "Starts")
    assert text_of(report, "Maps of power").count("no positions on the head") == 1
    assert "None." in text_of(report, "Warnings")


def test_several_recordings_in_a_report_that_is_there(fitted, simulated, tmp_path, monkeypatch):
    """A section of its own, means with deviations, and states that were found before."""
    # Networks of all bands are drawn for one recording, which takes long.
    monkeypatch.setattr(report_module, "BANDS", {"alpha": report_module.BANDS["alpha"]})
    raw, _ = simulated
    raws = [raw.copy().crop(0, 20), raw.copy().crop(20, 59)]
    states = fitted.predict(raws)
    report = mne.Report(title="Study", verbose="ERROR")
    report.add_html("<p>Before</p>", "First")
    fnames = [tmp_path / f"{i}_raw.fif" for i in range(2)]
    for recording, fname in zip(raws, fnames, strict=True):
        recording.save(fname)
    mne_hmm.add_hmm_to_report(report, fitted, fnames, states=states, section="Rest")
    place = TITLES.index("States") + 1
    assert titles(report) == ["First", *TITLES[:place], "States and recordings", *TITLES[place:]]
    dependence = mne_hmm.compute_recording_dependence(states)
    lives = text_of(report, "States and recordings")
    assert f"{100 * dependence.explained:.0f} % of the variance of state occupancy" in lives
    largest = dependence.shares[:, 1].argmax()
    share = f"{100 * dependence.shares[largest, 1]:.0f} %"
    assert f"state_1 {share} {largest}" in lives
    occupancy = [100 * sequence.statistics().fractional_occupancy[0] for sequence in states]
    spread = f"{np.mean(occupancy):.4g} ± {np.std(occupancy, ddof=1):.3g}"
    assert f"state_0 {spread}" in text_of(report, "States")
    assert {element.section for element in report._content[1:]} == {"Rest"}


def test_slow_signals_have_no_spectra():
    """What fMRI has: means and their maps, but no frequencies above 1 Hz."""
    rng = np.random.default_rng(0)
    on = np.repeat(rng.integers(0, 2, 20), 10)
    x = rng.standard_normal((4, 200)) + 2 * on
    hmm = mne_hmm.fit_hmm(
        x,
        2,
        sfreq=0.5,
        preparation=mne_hmm.Preparation.standardized(),
        n_init=1,
        refine=False,
        random_state=0,
        verbose="ERROR",
    )
    report = hmm.report(x, sfreq=0.5, verbose="ERROR")
    assert "no frequencies above 1 Hz" in text_of(report, "Spectra")
    assert "no positions on the head" in text_of(report, "Maps of means")
    assert "three states or more" in text_of(report, "Cycle of states")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"report": None}, TypeError, r"report must be an mne.Report, got NoneType; hmm.report"),
        ({"hmm": "hmm.h5"}, TypeError, "hmm must be an HMM, got str"),
        ({"names": "sub-01"}, ValueError, "names must be a list .* 1 recording, got 'sub-01'"),
        ({"sessions": [1, 2]}, ValueError, "sessions must be a list .* 1 recording, got 2"),
        ({"states": "all"}, TypeError, "states must be a StateTimeCourse or a list"),
    ],
)
def test_wrong_arguments(fitted, simulated, change, error, message):
    arguments = {"report": mne.Report(verbose="ERROR"), "hmm": fitted, "inst": simulated[0]}
    with pytest.raises(error, match=message):
        mne_hmm.add_hmm_to_report(**(arguments | change))


# Warnings


def test_nothing_to_say(fitted):
    courses = [course([5, 3, 2]), course([4, 4, 2]), course([5, 2, 3])]
    assert find_cautions(fitted, courses, names=[0, 1, 2]) == []


def test_rare_and_never_on(fitted):
    courses = [course([9.92, 0.08]), course([9.9, 0.1])]
    rare, never = find_cautions(fitted, courses, names=[0, 1])
    assert rare == "state_1 is on for 0.9 % of the time; its map and spectrum rest on 0.18 s."
    assert never == "state_2 is never on."


def test_in_one_recording(fitted):
    courses = [course([5, 5]), course([4, 4, 2]), course([5, 5])]
    only, remedy = find_cautions(fitted, courses, names=["a", "b", "c"])
    assert remedy.startswith("States may be recordings")
    assert only == "state_2 lives in one recording only: b has 100.0 % of its time."
    # One recording alone cannot be the only one.
    assert find_cautions(fitted, courses[1:2], names=["b"]) == []


def test_tied_to_a_session(fitted):
    courses = [course([5, 4, 1]), course([5, 4, 1]), course([2, 2, 6]), course([5, 4, 1])]
    names = ["a", "b", "c", "d"]
    (tied,) = find_cautions(fitted, courses, names=names)
    assert tied == "state_2 is tied to one session: c has 67 % of its time, and 25 % of all data."
    # Two recordings of one session are half of the data, which is what would be expected.
    assert find_cautions(fitted, courses, names=names, sessions=[1, 1, 2, 2]) == []
    same = find_cautions(fitted, courses, names=names, sessions=[1, 1, 2, 1])
    assert same == ["state_2 is tied to one session: 2 has 67 % of its time, and 25 % of all data."]


def test_not_converged(fitted):
    hmm = fitted.copy()
    hmm.converged_ = False
    (first,) = find_cautions(hmm, [course([5, 3, 2])], names=[0])
    n_updates = len(hmm.history_["free_energy"]) - 1
    assert first.startswith(f"Training had not converged after {n_updates} updates; fit again")


# In a browser


@pytest.fixture
def console(tmp_path):
    """Open a page in Chromium, and get what it writes to its console and the page it made."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("there is no Chromium to open the report in")

    def opened(fname):
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        command += [f"--user-data-dir={tmp_path}/profile", "--enable-logging=stderr", "--v=0"]
        done = subprocess.run(
            [*command, fname.as_uri()], capture_output=True, text=True, timeout=600, check=True
        )
        return [line for line in done.stderr.splitlines() if "CONSOLE" in line], done.stdout

    return opened


@pytest.mark.slow
def test_report_of_real_eeg_in_a_browser(eegbci, console, tmp_path):
    """The page shows every entry, and its scripts complain of nothing."""
    # Without the silence at the end of the file.
    raws = [raw.crop(tmax=60.0, include_tmax=False) for raw in eegbci(1, 2, preload=True)]
    montages = mne.channels.get_builtin_montages()
    montage = "colin27_1005" if "colin27_1005" in montages else "standard_1005"
    for raw in raws:
        mne.datasets.eegbci.standardize(raw)
        raw.set_montage(montage)
    hmm = mne_hmm.fit_hmm(raws, 4, n_init=1, refine=False, random_state=0)
    report = hmm.report(raws, names=["open", "closed"], title="Open and closed eyes")
    assert titles(report) == TITLES
    report.save(tmp_path / "report.html", open_browser=False)
    messages, page = console(tmp_path / "report.html")
    assert messages == []
    assert "Open and closed eyes" in page
    assert all(title in page for title in TITLES)
    # Maps of five bands, in one entry with a slider.
    assert page.count("data:image/") >= len(TITLES) - 5 + 4 + 4 + 4
    (tmp_path / "wrong.html").write_text("<script>undefined_function()</script>")
    messages, _ = console(tmp_path / "wrong.html")
    assert len(messages) == 1


@pytest.mark.slow
def test_parcels_in_a_glass_brain(test_data):
    """Maps of parcels are drawn where their atlas says."""
    raw, _ = mne_hmm.simulate_raw(3, n_channels=38, duration=20.0, random_state=0)
    hmm = mne_hmm.fit_hmm(raw, 3, n_init=1, refine=False, random_state=0)
    (atlas,) = (test_data / "parcellation").glob("*38*.nii.gz")
    report = hmm.report(raw, atlas=atlas)
    assert "Left out" not in text_of(report, "Maps of power")
    wrong = hmm.report(raw, atlas=next((test_data / "parcellation").glob("*52*.nii.gz")))
    assert "38 channels" in text_of(wrong, "Maps of power")


def test_states_must_fit(fitted, simulated):
    """States of other names would be counted under the wrong ones."""
    states = fitted.predict(simulated[0])
    other = replace(states, state_names=("a", "b", "c"))
    with pytest.raises(ValueError, match=r"states are of a, b, c, but the model has state_0"):
        fitted.report(simulated[0], states=other)
