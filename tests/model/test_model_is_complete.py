"""A model is complete when it is constructed: its attributes are listed, and nobody sets them."""

import ast
from pathlib import Path

from numpydoc.docscrape import ClassDoc

import mne_hmm
from mne_hmm.model.hmm import copy_with

PACKAGE = Path(mne_hmm.__file__).parent


def attributes_set(source: str) -> list[str]:
    """Attributes of something called hmm, model or new that code sets, as `hmm.x`."""
    targets: list[ast.expr] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
            targets.append(node.target)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setattr":
            targets.append(ast.Attribute(node.args[0], "setattr"))
    nodes = [node for target in targets for node in ast.walk(target)]
    return [
        f"{node.value.id}.{node.attr}"
        for node in nodes
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("hmm", "model", "new")
    ]


def test_attributes_are_documented(fitted):
    """The docstring lists all attributes, and none that is not there."""
    documented = {entry.name for entry in ClassDoc(mne_hmm.HMM)["Attributes"]}
    properties = {
        name for name in documented if isinstance(getattr(mne_hmm.HMM, name, 0), property)
    }
    assert documented - properties == set(vars(fitted))


def test_copy_with_keeps_everything(fitted):
    """A model that is constructed anew has all attributes of the first, but shares none."""
    again = copy_with(fitted, free_energy=3.0)
    assert vars(again).keys() == vars(fitted).keys()
    for name, value in vars(fitted).items():
        if name != "free_energy_":
            assert repr(vars(again)[name]) == repr(value)
    assert again.free_energy_ == 3
    assert again.means_ is not fitted.means_
    assert again.annotations_[0] is not fitted.annotations_[0]


def test_nobody_sets_attributes():
    """No module sets an attribute of a model."""
    differences = {
        str(path.relative_to(PACKAGE)): attributes
        for path in PACKAGE.rglob("*.py")
        if (attributes := attributes_set(path.read_text(encoding="utf-8")))
    }
    assert differences == {}


def test_what_sets_attributes_is_found():
    """The check finds assignments of all kinds."""
    assert attributes_set("hmm.annotations_ = []") == ["hmm.annotations_"]
    assert attributes_set("a, hmm.x = 1, 2") == ["hmm.x"]
    assert attributes_set("hmm.x += 1") == ["hmm.x"]
    assert attributes_set("setattr(hmm, 'x', 1)") == ["hmm.setattr"]
    assert attributes_set("x = hmm.x\nself.hmm = hmm") == []
