"""Everything a reader of the README can type works. Tutorials run when the pages are built."""

import re
import runpy
from pathlib import Path

import mne
import pytest

import mne_hmm

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
    for seed, fname in enumerate(re.findall(r'"([^"]+_parc-raw\.fif)"', code)):
        raw, _ = mne_hmm.simulate_raw(duration=6.0, snr=4.0, random_state=seed)
        raw.save(fname)
    names = {}
    exec(code, names)
    raw = mne.io.read_raw_fif("sub-01_states-raw.fif")
    descriptions = set(raw.annotations.description.tolist())
    assert descriptions == {f"hmm/state_{k}" for k in range(6)}
    assert names["states"].labels.shape == raw.times.shape
    assert "occupancy" in capsys.readouterr().out


@pytest.mark.slow
def test_figure(tmp_path):
    """The script that made the picture runs."""
    script = runpy.run_path(str(ROOT / "docs" / "make_figure.py"))
    script["make_figure"](tmp_path / "demo.png")
    for fname in (tmp_path / "demo.png", ROOT / "docs" / "_static" / "demo.png"):
        assert fname.read_bytes().startswith(b"\x89PNG")
        assert 20_000 < fname.stat().st_size < 200_000
