"""Everything a reader of the README and the quick start can type works."""

import re
import runpy
from pathlib import Path

import mne
import pytest

import mne_hmm
from mne_hmm.demo import match_labels

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    """Get the code blocks of the README in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """Be in an empty folder, and close what is drawn."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    from matplotlib import pyplot as plt

    plt.close("all")


def test_two_commands():
    """One command installs and runs the main job, one installs and passes the tests."""
    commands = [line for block in blocks("sh") for line in block.splitlines() if line]
    assert commands == ["pip install . && mne-hmm demo", 'pip install ".[test]" && pytest']


def test_links_point_somewhere():
    """Files the README names are there."""
    targets = re.findall(r"\]\(([^)]+)\)", README)
    files = [target for target in targets if not target.startswith("http")]
    assert "docs/_static/demo.png" in files
    assert [target for target in files if not (ROOT / target).exists()] == []


def test_ten_lines(empty_folder, capsys):
    """The code at the top runs as it stands."""
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line]) == 10
    for number, fname in enumerate(re.findall(r'"([^"]+_parc-raw\.fif)"', code)):
        raw, _ = mne_hmm.simulate_raw(duration=30.0, random_state=number)
        raw.save(fname)
    names = {}
    exec(code, names)
    raw = mne.io.read_raw_fif("sub-01_states-raw.fif")
    found = set(raw.annotations.description.tolist())
    assert found == {f"hmm/state_{k}" for k in range(6)}
    assert names["states"].labels.shape == raw.times.shape
    assert "occupancy" in capsys.readouterr().out


def test_quick_start(empty_folder, capsys):
    """So does the code of the quick start, and it finds what was simulated."""
    names = runpy.run_path(str(ROOT / "docs" / "quickstart.py"))
    order, shared = match_labels(names["states"].labels, names["truth"].labels, 3)
    assert shared[range(3), order].sum() / shared.sum() > 0.8
    assert 0 < len(names["epochs"]["hmm/state_0"]) < len(names["epochs"])
    assert "HMM" in capsys.readouterr().out


def test_large_and_small_data(empty_folder, capsys):
    """So does the code of the page on large and small data, and it does what the page says."""
    names = runpy.run_path(str(ROOT / "docs" / "large_data.py"))
    assert (empty_folder / "prepared" / "index.json").exists()
    assert any((empty_folder / "checkpoints").iterdir())
    assert list((empty_folder / "logs").glob("*/events*"))
    # Mini-batches come first, full passes finish: the same optimum.
    assert abs(names["quick"].free_energy_ - names["hmm"].free_energy_) < 0.01
    assert names["estimate"].covariances.shape == (3, 20, 20)


def test_networks(empty_folder, capsys):
    """So does the code of the page on spectra, networks and groups."""
    names = runpy.run_path(str(ROOT / "docs" / "networks.py"))
    assert names["spectra"].csd.shape == names["from_model"].csd.shape == (3, 8, 8, 89)
    assert (names["strongest"].values != 0).sum() < (names["networks"].values != 0).sum() / 5
    assert (empty_folder / "states.html").stat().st_size > 500_000
    assert "cycle strength" in capsys.readouterr().out


@pytest.mark.slow
def test_figure(tmp_path):
    """The script that made the picture runs."""
    script = runpy.run_path(str(ROOT / "docs" / "make_figure.py"))
    script["make_figure"](tmp_path / "demo.png")
    for fname in (tmp_path / "demo.png", ROOT / "docs" / "_static" / "demo.png"):
        assert fname.read_bytes().startswith(b"\x89PNG")
        assert 20_000 < fname.stat().st_size < 200_000
