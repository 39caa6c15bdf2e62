"""Docstrings of everything public: numpydoc's rules, and the parameters that there are."""

import inspect
import re

import pytest
from numpydoc.docscrape import ClassDoc, FunctionDoc
from numpydoc.validate import validate

import mne_hmm
import mne_hmm.sklearn  # not loaded by itself

# Numpydoc's rules, less what the house does otherwise: results have names (RT02), and not
# everything needs an extended summary, an example or a See Also section (ES01, EX01, SA01).
RULES = {
    *("GL01", "GL02", "GL03", "GL05", "GL06", "GL07", "GL08", "GL09", "GL10"),
    *("SS01", "SS02", "SS03", "SS04", "SS05", "SS06"),
    *("PR01", "PR02", "PR03", "PR04", "PR05", "PR06", "PR07", "PR08", "PR09", "PR10"),
    *("RT01", "RT03", "RT04", "RT05", "YD01"),
    *("SA02", "SA03", "SA04"),
}

# Functions that must show how they are used.
WITH_EXAMPLE = (
    "mne_hmm.fit_hmm",
    "mne_hmm.prepare",
    "mne_hmm.simulate_raw",
    "mne_hmm.cross_validate",
    "mne_hmm.bootstrap_statistics",
    "mne_hmm.sklearn.HMMTransformer",
)


def _functions_of(module):
    return [f"{module.__name__}.{name}" for name in module.__all__]


def _members_of(cls):
    """Public methods and properties a class defines itself, or in its mixins."""
    kinds = (property, classmethod, staticmethod)
    mixins = [parent for parent in cls.__bases__ if parent.__name__ == "InferenceMixin"]
    return [
        name
        for parent in (*mixins, cls)
        for name, value in vars(parent).items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, kinds))
    ]


def _public_names():
    """Dotted name of every public function, class, method and property."""
    out = []
    for name in (*mne_hmm.__all__, "sklearn.HMMTransformer"):
        value = _resolve(f"mne_hmm.{name}")
        if inspect.ismodule(value):
            out += _functions_of(value)
            continue
        out.append(f"mne_hmm.{name}")
        if inspect.isclass(value):
            out += [f"mne_hmm.{name}.{member}" for member in _members_of(value)]
    return out


def _resolve(dotted):
    value = mne_hmm
    for part in dotted.split(".")[1:]:
        value = (
            inspect.getattr_static(value, part) if inspect.isclass(value) else getattr(value, part)
        )
    return value.__func__ if isinstance(value, (classmethod, staticmethod)) else value


def _module_of(name):
    """Module that defines what a public name stands for, or the class it is a member of."""
    value = _resolve(name)
    return (value.fget if isinstance(value, property) else value).__module__


def _by_module():
    """Public names of each module."""
    modules = {}
    for name in _public_names():
        modules.setdefault(_module_of(name), []).append(name)
    return modules


BY_MODULE = _by_module()
each_module = pytest.mark.parametrize("names", BY_MODULE.values(), ids=BY_MODULE)


def _documented(value):
    """Names of the parameters a docstring describes, those of parent classes included."""
    if not inspect.isclass(value):
        return _names(FunctionDoc(value)["Parameters"])
    parents = [cls for cls in reversed(value.__mro__) if cls.__module__.startswith("mne_hmm")]
    return [name for cls in parents for name in _names(ClassDoc(cls)["Parameters"])]


def _names(parameters):
    return [name.strip().lstrip("*") for p in parameters for name in p.name.split(",")]


def _complaints(name):
    """What numpydoc has to say of a docstring."""
    value = _resolve(name)
    codes, parent = RULES, getattr(value, "__base__", None)
    if inspect.isclass(value) and "Parameters\n" in (parent.__doc__ or ""):
        # The parameters of the parent are described there; see the test below.
        codes = RULES - {"PR01"}
    return [f"{name}: {code} {text}" for code, text in validate(name)["errors"] if code in codes]


@each_module
def test_numpydoc(names):
    """Numpydoc finds nothing to complain of."""
    assert [complaint for name in names for complaint in _complaints(name)] == []


@each_module
def test_parameters_are_those_of_the_signature(names):
    """Every parameter is documented, in order, and none that does not exist."""
    for name in names:
        value = _resolve(name)
        if isinstance(value, property):
            continue
        signature = [p for p in inspect.signature(value).parameters if p not in ("self", "cls")]
        assert _documented(value) == signature, name


@each_module
def test_no_placeholder_is_left(names):
    """Shared parameter texts were filled in."""
    left = [name for name in names if re.search(r"%\(|%%", inspect.getdoc(_resolve(name)))]
    assert left == []


@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_examples(name):
    """The main functions show how they are used."""
    assert ">>> " in inspect.getdoc(_resolve(name))
