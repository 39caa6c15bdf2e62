"""Docstrings of everything public: numpydoc's rules, and the parameters that there are."""

import inspect

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


NAMES = _public_names()
CALLABLES = [name for name in NAMES if not isinstance(_resolve(name), property)]


def _documented(value):
    """Names of the parameters a docstring describes, those of parent classes included."""
    if not inspect.isclass(value):
        return _names(FunctionDoc(value)["Parameters"])
    parents = [cls for cls in reversed(value.__mro__) if cls.__module__.startswith("mne_hmm")]
    return [name for cls in parents for name in _names(ClassDoc(cls)["Parameters"])]


def _names(parameters):
    return [name.strip().lstrip("*") for p in parameters for name in p.name.split(",")]


@pytest.mark.parametrize("name", NAMES)
def test_numpydoc(name):
    """Numpydoc finds nothing to complain of."""
    value = _resolve(name)
    found = [(code, text) for code, text in validate(name)["errors"] if code in RULES]
    if (
        inspect.isclass(value)
        and value.__base__.__doc__
        and "Parameters\n" in value.__base__.__doc__
    ):
        # The parameters of the parent are described there; see the test below.
        found = [(code, text) for code, text in found if code != "PR01"]
    assert found == []


@pytest.mark.parametrize("name", CALLABLES)
def test_parameters_are_those_of_the_signature(name):
    """Every parameter is documented, in order, and none that does not exist."""
    value = _resolve(name)
    signature = [p for p in inspect.signature(value).parameters if p not in ("self", "cls")]
    assert _documented(value) == signature


@pytest.mark.parametrize("name", NAMES)
def test_no_placeholder_is_left(name):
    """Shared parameter texts were filled in."""
    doc = inspect.getdoc(_resolve(name))
    assert "%(" not in doc
    assert "%%" not in doc


@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_examples(name):
    """The main functions show how they are used."""
    assert ">>> " in inspect.getdoc(_resolve(name))
