"""The tutorials and the tools of the documentation. Tutorials are executed when it is built."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES_ON_THE_CODE = ("architecture", "numerics", "design_history", "releasing")
TUTORIALS = sorted((ROOT / "tutorials").glob("*.py"))


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorials_have_what_pages_need(path):
    """A number for their place, a label to refer to, a title, and a summary that is a sentence."""
    assert re.fullmatch(r"\d\d_[a-z_]+", path.stem)
    code = path.read_text(encoding="utf-8")
    compile(code, str(path), "exec")
    label, title, summary = code.split('"""')[1].strip().split("\n\n")[:3]
    assert label == f".. _{path.stem[3:]}:"
    heading, rule = title.split("\n")
    assert rule == "=" * len(heading)
    assert summary.endswith(".")


def test_numbers_of_tutorials_differ():
    """The order of the gallery is that of the numbers."""
    numbers = [path.stem[:2] for path in TUTORIALS]
    assert len(set(numbers)) == len(numbers) >= 6


def test_dead_links_are_found(tmp_path):
    """Files and anchors that are not there, and none of those that are."""
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "template.html").write_text('<a href="{{ nothing }}">')
    (tmp_path / "one.html").write_text(
        '<h1 id="top">One</h1><a href="sub/two.html#end">two</a> <a href="#top">top</a>'
        '<a href="https://mne.tools/none.html">elsewhere</a> <img src="none.png">'
        '<a href="sub/three.html">three</a> <a href="sub/two.html#middle">two</a>'
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "two.html").write_text('<a name="end"></a><a href="../one.html">one</a>')
    check = runpy.run_path(str(ROOT / "docs" / "check_links.py"))
    dead, n_pages = check["dead_links"](tmp_path)
    assert dead == [
        "one.html: none.png",
        "one.html: sub/three.html",
        "one.html: sub/two.html#middle",
    ]
    assert n_pages == 2


def test_versions_and_needs_stand_once():
    """The conda recipe and the citation say what pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert recipe["context"]["version"] == citation["version"] == project["version"]
    python, *needs = recipe["requirements"]["run"]
    lowest = recipe["context"]["python_min"]
    assert python == "python >=${{ python_min }},<3.14"
    assert project["requires-python"] == f">={lowest},<3.14"
    # Conda's packages without what a graphical interface needs have names of their own.
    theirs = [need.replace("-base ", " ").replace(" ", "") for need in needs]
    assert sorted(theirs) == sorted(project["dependencies"])


def test_what_the_sdist_includes_is_there():
    """A file that has moved would be left out of the sdist without a word."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    include = settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert [name for name in include if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(
    "page",
    ["CONTRIBUTING.md", "SECURITY.md", *[f"docs/{name}.rst" for name in PAGES_ON_THE_CODE]],
)
def test_files_that_pages_name_are_there(page):
    """Pages name files as they lie in the repository, or below the package."""
    text = (ROOT / page).read_text(encoding="utf-8")
    quoted = re.findall(r"`([\w.-]+(?:/[\w.-]+)*/?)`", text)
    endings = (".py", ".rst", ".md", ".pyi", ".yml", ".yaml", ".toml", ".cff")
    named = {
        name for name in quoted if "/" in name or (name.endswith(endings) and not name[0].isdigit())
    }
    missing = [
        name
        for name in sorted(named)
        if not any((folder / name).exists() for folder in (ROOT, ROOT / "mne_hmm", ROOT / "tests"))
    ]
    assert missing == []


def test_every_folder_has_a_line_in_where_things_go():
    """No folder of the package is missing from the table of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("## Where things go")[2].partition("### ")[0]
    listed = set(re.findall(r"\| `([\w/.]+)` \|$", table, re.MULTILINE))
    package = ROOT / "mne_hmm"
    folders = {
        path.parent.relative_to(package).as_posix() for path in package.rglob("*/__init__.py")
    }
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    assert listed == folders - {".", "engine"} | modules
