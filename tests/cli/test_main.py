"""The command line, and the demonstration it runs."""

import contextlib
import functools
import io
import re
from importlib.metadata import entry_points, version

import mne
import pytest

import mne_hmm
from mne_hmm.cli import demo as demonstration
from mne_hmm.cli.main import main

FILES = ["demo-hmm.h5", "demo-raw.fif", "demo.png"]


class Demo:
    """What the demonstration left, printed, and worked on."""

    def __init__(self, folder, n_states, n_times):
        self.folder, self.n_states, self.n_times = folder, n_states, n_times
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert main(["demo", "--out", str(folder)]) == 0
        self.printed = printed.getvalue()


@pytest.fixture(scope="module", params=["short", pytest.param("whole", marks=pytest.mark.slow)])
def demo(request, tmp_path_factory):
    """Run the demonstration once, as it is, or on less data that have fewer states."""
    folder = tmp_path_factory.mktemp("demo") / "made" / "for it"
    if request.param == "whole":
        return Demo(folder, 6, 75_000)
    # Its figure begins after a minute. With so few states there is one optimum, not to be sought.
    simulate = functools.partial(demonstration.simulate_raw, 3, duration=66.0)
    fit = functools.partial(demonstration.fit_hmm, refine=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demonstration, "simulate_raw", simulate)
        patch.setattr(demonstration, "fit_hmm", fit)
        return Demo(folder, 3, 16_500)


def test_installed_command():
    """The command the package installs is this one."""
    (command,) = entry_points(group="console_scripts", name="mne-hmm")
    assert command.load() is main


def test_version(capsys):
    """The version is that of the package."""
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out.strip() == version("mne-hmm") == mne_hmm.__version__


def test_help(capsys):
    """Help tells every option."""
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["demo", "--help"])
    text = capsys.readouterr().out
    assert all(option in text for option in ("--out", "--seed", "--overwrite", "mne-hmm-demo"))


@pytest.mark.parametrize("argv", [[], ["nothing"], ["demo", "--seed", "many"]])
def test_wrong_arguments(argv, capsys):
    """Wrong arguments end with code 2 and a message, not a traceback."""
    with pytest.raises(SystemExit, match=r"^2$"):
        main(argv)
    assert "usage: mne-hmm" in capsys.readouterr().err


def test_demo_finds_the_states(demo):
    """The demonstration says how much it recovered, and it is most."""
    (share,) = re.findall(r"^([\d.]+)% of all samples are in the right state", demo.printed, re.M)
    assert float(share) > 90
    named = set(re.findall(r"\bstate_\d+", demo.printed))
    assert named == {f"state_{k}" for k in range(demo.n_states)}


def test_demo_files(demo):
    """It leaves the annotated recording, the model and a figure, and nothing else."""
    folder = demo.folder
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert all(str(folder / name) in demo.printed for name in FILES)
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "demo.png").stat().st_size > 20_000


def test_demo_reads_back(demo):
    """Recording and model are whole, and belong together."""
    raw = mne.io.read_raw_fif(demo.folder / "demo-raw.fif")
    hmm = mne_hmm.read_hmm(demo.folder / "demo-hmm.h5")
    assert (len(raw.ch_names), raw.n_times) == (38, demo.n_times)
    assert set(raw.annotations.description) == {f"hmm/state_{k}" for k in range(demo.n_states)}
    assert len(raw.annotations) == len(hmm.annotations_[0])
    assert (hmm.n_states, hmm.n_features, hmm.random_state) == (demo.n_states, 80, 0)


def test_demo_does_not_overwrite(demo, capsys):
    """Files of an earlier demonstration are safe, and the message says what to do."""
    folder = demo.folder
    before = [(folder / name).read_bytes() for name in FILES]
    assert main(["demo", "--out", str(folder)]) == 1
    message = capsys.readouterr().err
    assert message.startswith("mne-hmm: ")
    assert all(text in message for text in ("demo-raw.fif", "--overwrite", "--out"))
    assert [(folder / name).read_bytes() for name in FILES] == before
