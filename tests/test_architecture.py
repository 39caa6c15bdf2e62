"""The order of the layers: a module imports only from modules above it in the list."""

import ast
import re
import sys
from pathlib import Path

import pytest

import mne_hmm

PACKAGE = Path(mne_hmm.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.rst"

# From the ground up. A package comes after its own modules, which its __init__ gathers.
LAYERS = [
    "",  # the package itself: lazy names only
    "_utils",
    "_utils.docs",
    "_utils.check",
    "_utils._mne",
    "_utils.files",
    "_utils.locks",
    "_utils.plain_hdf5",
    "_utils.model_hdf5",
    "_utils.jobs",
    "epoch_grid",
    "timeline",
    "parcellation",
    "parcellation.parcels",
    "parcellation.volume",
    "parcellation.atlas",
    "parcellation.leakage",
    "parcellation.basis",
    "parcellation.spool",
    "parcellation.pieces",
    "parcellation.parcellate",
    "parcellation.fmri",
    "array_files",
    "file_search",
    "epochs_raw",
    "file_raw",
    "bids_input",
    "channels",
    "recording",
    "parcel_inputs",
    "settings",
    "signals",
    "embedding",
    "alignment",
    "parcellation.sign_search",
    "parcellation.sign_check",
    "parcellation.signs",
    "features",
    "groups",
    "prepared",
    "engine._tensorflow",
    "engine.checkpoint",
    "engine.log",
    "engine.cluster",
    "engine.distribute",
    "engine.shards",
    "engine.chain",
    "engine.samples",
    "engine.linalg",
    "engine.memory",
    "engine.gaussian",
    "engine.coordinates",
    "engine.prior",
    "engine.em",
    "engine.start",
    "engine.part",
    "engine.steps",
    "engine.interrupt",
    "engine.stochastic",
    "engine.plan",
    "engine.refine",
    "engine.candidates",
    "engine.train",
    "engine.dual",
    "engine",
    "reference",
    "model_file",
    "identity",
    "cache",
    "preparation",
    "statistics",
    "states",
    "recording_dependence",
    "matching",
    "agreement",
    "calibration",
    "dual_estimate",
    "causal_filter",
    "fixed_lag",
    "calibrating",
    "online",
    "streaming",
    "hmm",
    "osl_folder",
    "osl_format",
    "consensus",
    "priors",
    "progress",
    "fit",
    "folds",
    "model_pairs",
    "selection_fits",
    "recommendation",
    "selection",
    "cross_validation",
    "recording_features",
    "sklearn",
    "workers",
    "paired",
    "multitaper",
    "lagged_covariance",
    "state_spectra",
    "spectra",
    "model_spectra",
    "maps",
    "components",
    "edges",
    "networks",
    "tables",
    "permutation",
    "contrasts",
    "evoked",
    "evoked_clusters",
    "cycles",
    "tinda",
    "viz._colors",
    "viz.evoked",
    "viz.maps",
    "viz.model",
    "viz.networks",
    "viz.reference",
    "viz.selection",
    "viz.spectra",
    "viz.states",
    "viz.statistics",
    "viz.tinda",
    "viz.training",
    "viz",
    "cautions",
    "report",
    "bids_annotations",
    "bids_output",
    "switching_var",
    "visit_sequences",
    "simulation_presets",
    "simulation_networks",
    "simulation",
    "bootstrap",
    "datasets._cache",
    "datasets._download",
    "datasets._registry",
    "datasets.atlases",
    "datasets._osf_api",
    "datasets._unzip",
    "datasets._contents",
    "datasets.osf",
    "datasets.published",
    "datasets.canonical",
    "datasets",
    "demo",
    "commands.options",
    "commands.config",
    "commands.inputs",
    "commands.outputs",
    "commands.bids",
    "commands.run_file",
    "commands.fitting",
    "commands.applying",
    "commands.selecting",
    "commands.repeating",
    "commands.reporting",
    "commands.converting",
    "commands.info",
    "commands.parser",
    "commands",
    "cli",
]

# What the engine may import besides itself and the standard library.
ENGINE_NEEDS = {"numpy", "scipy", "tensorflow"}


def module_names(package):
    """Dotted name, below the package, of each of its modules, and the module's file."""
    out = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        out[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return out


def gathered(init):
    """Names that the __init__ of a package takes from its modules; they hide modules so named."""
    if not init.exists():
        return set()
    tree = ast.parse(init.read_text(encoding="utf-8"))
    taken = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
    return {alias.asname or alias.name for node in taken for alias in node.names}


def imports(path, name):
    """Everything a module imports: (dotted absolute name, whether inside a function)."""
    is_package = path.name == "__init__.py"
    home = [PACKAGE.name, *(name.split(".") if name else [])]
    found = []

    def visit(node, inside):
        if isinstance(node, ast.Import):
            found.extend((alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            n_up = node.level - is_package
            base = home[: len(home) - n_up] if node.level else []
            base = [*base, *((node.module or "").split(".") if node.module else [])]
            for alias in node.names:
                found.append((_module_of(base, alias.name), inside))
        inside = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    return found


def _module_of(base, name):
    """Tell what `from base import name` imports: a module of ours, or a name from one."""
    folder = PACKAGE.joinpath(*base[1:])
    if base[0] == PACKAGE.name and name not in gathered(folder / "__init__.py"):
        candidate = folder / name
        if candidate.with_suffix(".py").exists() or (candidate / "__init__.py").exists():
            return ".".join([*base, name])
    return ".".join(base)


def below(module):
    """Name of a module below the package."""
    return module.removeprefix(PACKAGE.name).removeprefix(".")


def violations(modules):
    """Every import that breaks a rule, in words."""
    out = []
    for name, path in modules.items():
        in_engine = name.split(".")[0] == "engine"
        for target, inside in imports(path, name):
            root = target.split(".")[0]
            says = f"{name or '__init__'} imports {target}"
            if root == PACKAGE.name:
                layer = below(target)
                draws = inside and layer.split(".")[0] in ("viz", "report")
                if LAYERS.index(layer) >= LAYERS.index(name) and not draws:
                    out.append(f"{says}, which is not above it")
                if layer.split(".")[0] == "engine" and not in_engine:
                    if layer != "engine":
                        out.append(f"{says}; the layers above use `from .engine import ...`")
                    if not inside:
                        out.append(f"{says} outside a function, which loads TensorFlow")
                if in_engine and layer.split(".")[0] != "engine":
                    out.append(f"{says}; the engine has not heard of the rest of the package")
            elif root == "tensorflow" and name != "engine._tensorflow":
                out.append(f"{says}; take it from engine/_tensorflow.py, which keeps it quiet")
            elif root == "matplotlib" and not inside:
                out.append(f"{says} outside a function")
            elif in_engine and root not in ENGINE_NEEDS | sys.stdlib_module_names:
                out.append(f"{says}; the engine needs only {', '.join(sorted(ENGINE_NEEDS))}")
    return out


def test_every_module_has_its_place():
    """A new module is entered in the list."""
    there = set(module_names(PACKAGE))
    assert there - set(LAYERS) == set(), "give these their place in LAYERS"
    assert set(LAYERS) - there == set(), "these are gone: take them out of LAYERS"
    assert len(LAYERS) == len(set(LAYERS))


def test_imports_go_up():
    """No module imports from one below it, and heavy libraries stay where they belong."""
    assert violations(module_names(PACKAGE)) == []


def test_architecture_page_lists_the_same():
    """The page in the documentation has every module, in the same order."""
    text = PAGE.read_text(encoding="utf-8")
    table = text[text.index(".. list-table::") : text.index("What is exact")]
    files = re.findall(r"``([\w/]+)\.py``", table)
    listed = [name.replace("/", ".").removesuffix("__init__").strip(".") for name in files]
    assert listed == [name for name in LAYERS if name != "_utils"]


@pytest.mark.parametrize(
    ("name", "source", "complaint"),
    [
        ("recording", "from .signals import Signals", "not above it"),
        ("recording", "def f():\n    from .hmm import HMM", "not above it"),
        ("settings", "from . import fit", "not above it"),
        ("timeline", "import mne_hmm.io.recording", "not above it"),
        ("_utils.check", "from ..states import PREFIX", "not above it"),
        ("states", "from .viz import plot_states", "not above it"),
        ("engine.gaussian", "from .em import update", "not above it"),
        ("engine.em", "from . import train", "not above it"),
        ("engine.em", "from ..timeline import TimeMap", "not heard of"),
        ("engine.em", "def f():\n    import mne", "needs only"),
        ("engine.em", "import tensorflow as tf", "keeps it quiet"),
        ("hmm", "def f():\n    from tensorflow import function", "keeps it quiet"),
        ("hmm", "from .engine import infer", "loads TensorFlow"),
        ("hmm", "def f():\n    from .engine.chain import smooth", "from .engine import"),
        ("viz.states", "import matplotlib.pyplot as plt", "outside a function"),
        ("", "from .fit import fit_hmm", "not above it"),
    ],
)
def test_each_rule_bites(name, source, complaint, tmp_path):
    """The check finds what it is there to find."""
    path = tmp_path / ("module.py" if name else "__init__.py")
    path.write_text(source, encoding="utf-8")
    found = violations({name: path})
    assert any(complaint in one for one in found), found


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("states", "def f():\n    from .viz import plot_states"),
        ("hmm", "def f():\n    from .engine import infer"),
        ("engine.em", "import numpy as np\nfrom scipy.linalg import cholesky\nimport time"),
        ("viz.states", "def f():\n    import matplotlib"),
        ("cli", "from .fit import fit_hmm"),
    ],
)
def test_what_is_allowed(name, source, tmp_path):
    """The check does not complain of what is right."""
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    assert violations({name: path}) == []
