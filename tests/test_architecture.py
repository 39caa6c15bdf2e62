"""The order of the folders, and no circle inside any of them, computed from the imports."""

import ast
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import mne_hmm

PACKAGE = Path(mne_hmm.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.rst"

# Folders and modules at the top of the package; each imports only from those before it.
ORDER = (
    "_utils",
    "engine",
    "io",
    "preparation",
    "states",
    "viz",
    "online",
    "statistics",
    "model",
    "spectral",
    "simulation",
    "datasets",
    "validation",
    "report",
    "sklearn",
    "cli",
)
# The same inside the engine.
ENGINE_ORDER = ("runtime", "inference", "training")
# A method may call a figure or the report when it runs: `states.plot()`, `hmm.report(raw)`.
CALLED_BY_METHODS = ("viz", "report")
# Figures may name the classes of what they show, for the type checker alone.
NAMES_TYPES = ("viz",)
# What the engine may import besides itself and the standard library.
ENGINE_NEEDS = {"numpy", "scipy", "tensorflow"}
# What it shares with the folders that feed it: the features of recordings that lie in files.
ENGINE_SHARES = {"_utils.arrays", "_utils.feature_sequence"}


def module_names(package: Path) -> dict[str, Path]:
    """Dotted name, below the package, of each of its modules, and the module's file."""
    out = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        out[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return out


def names_taken_by(init: Path) -> set[str]:
    """Names that the __init__ of a package takes from its modules; they hide modules so named."""
    if not init.exists():
        return set()
    tree = ast.parse(init.read_text(encoding="utf-8"))
    taken = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
    return {alias.asname or alias.name for node in taken for alias in node.names}


def imports(path: Path, name: str) -> list[tuple[str, bool]]:
    """Everything a module imports: (dotted absolute name, whether inside a function).

    What is under `if TYPE_CHECKING:` never runs, and counts only where it is of this package.
    """
    is_package = path.name == "__init__.py"
    home = [PACKAGE.name, *(name.split(".") if name else [])]
    edges = []

    def visit(node: ast.AST, inside: bool, for_types: bool) -> None:
        targets = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            n_up = node.level - is_package
            base = home[: len(home) - n_up] if node.level else []
            base = [*base, *((node.module or "").split(".") if node.module else [])]
            targets = [_imported_module(base, alias.name) for alias in node.names]
        if for_types:
            names_any = name.split(".")[0] in NAMES_TYPES
            targets = [target for target in targets if _is_ours(target) and not names_any]
        edges.extend((target, inside) for target in targets)
        inside = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for_types = for_types or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        )
        inside = inside or for_types  # it loads nothing
        for child in ast.iter_child_nodes(node):
            visit(child, inside, for_types)

    visit(ast.parse(path.read_text(encoding="utf-8")), False, False)
    return edges


def _imported_module(base: list[str], name: str) -> str:
    """Name the module that `from base import name` imports: it may be one itself."""
    folder = PACKAGE.joinpath(*base[1:])
    if base[0] == PACKAGE.name and name not in names_taken_by(folder / "__init__.py"):
        candidate = folder / name
        if candidate.with_suffix(".py").exists() or (candidate / "__init__.py").exists():
            return ".".join([*base, name])
    return ".".join(base)


def below(module: str) -> str:
    """Name of a module below the package."""
    return module.removeprefix(PACKAGE.name).removeprefix(".")


def place(module: str) -> tuple[int, int]:
    """Where a module stands in the order; what the engine gathers comes after its folders."""
    folder, _, rest = module.partition(".")
    if folder not in ORDER:
        return -1, 0
    part = rest.partition(".")[0]
    within = ENGINE_ORDER.index(part) if part in ENGINE_ORDER else len(ENGINE_ORDER)
    return ORDER.index(folder), within if folder == "engine" else 0


def violations(modules: dict[str, Path]) -> list[str]:
    """Every import that breaks a rule, in words."""
    out = []
    for name, path in modules.items():
        in_engine = name.split(".")[0] == "engine"
        for target, inside in imports(path, name):
            root = target.split(".")[0]
            says = f"{name or '__init__'} imports {target}"
            if root == PACKAGE.name:
                module = below(target)
                folder = module.split(".")[0]
                by_method = inside and folder in CALLED_BY_METHODS
                if not by_method and (place(module) > place(name) or not name):
                    out.append(f"{says}, which comes after it")
                if folder == "engine" and not in_engine:
                    if module != "engine":
                        out.append(f"{says}; other folders use `from ..engine import ...`")
                    if not inside:
                        out.append(f"{says} outside a function, which loads TensorFlow")
                if in_engine and folder != "engine" and module not in ENGINE_SHARES:
                    out.append(f"{says}; the engine has not heard of the rest of the package")
            elif root == "tensorflow" and name != "engine.runtime._tensorflow":
                out.append(f"{says}; take it from engine/runtime/_tensorflow.py, which is quiet")
            elif root == "matplotlib" and not inside:
                out.append(f"{says} outside a function")
            elif in_engine and root not in ENGINE_NEEDS | sys.stdlib_module_names:
                out.append(f"{says}; the engine needs only {', '.join(sorted(ENGINE_NEEDS))}")
    return out


def import_graph(modules: dict[str, Path]) -> dict[str, set[str]]:
    """What each module imports from its own folder."""
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        targets = {below(target) for target, _ in imports(path, name) if _is_ours(target)}
        same = {target for target in targets if place(target)[0] == place(name)[0]}
        graph[name] = same if name in ORDER or "." in name else set()
    return graph


def _is_ours(target: str) -> bool:
    return target.split(".")[0] == PACKAGE.name


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    """Find modules that import each other in a circle; empty if there are none."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for target in sorted(graph.get(module, ())):
            circle = visit(target, [*path, module])
            if circle:
                return circle
        done.add(module)
        return []

    for module in sorted(graph):
        circle = visit(module, [])
        if circle:
            return circle
    return []


def test_every_folder_has_its_place():
    """What lies at the top of the package is in the order, and nothing else is."""
    there = {name.split(".")[0] for name in module_names(PACKAGE)} - {""}
    assert there == set(ORDER)


def test_the_page_lists_the_folders_in_this_order():
    """The architecture page has a line for each, in this order, and the order inside the engine."""
    page = PAGE.read_text(encoding="utf-8")
    listed = re.findall(r"^   \* - ``(\w+)(/|\.py)``\n     - \S", page, re.MULTILINE)
    folders = [(name, "/" if (PACKAGE / name).is_dir() else ".py") for name in ORDER]
    assert listed == folders
    places = [page.index(f"``{name}`` (") for name in ENGINE_ORDER]
    assert places == sorted(places)


def test_imports_go_one_way():
    """No folder imports from one after it, and heavy libraries stay where they belong."""
    assert violations(module_names(PACKAGE)) == []


def test_no_circles():
    """Inside a folder no modules import each other in a circle."""
    assert find_circle(import_graph(module_names(PACKAGE))) == []


@pytest.mark.parametrize(
    ("graph", "circle"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}}, ["a", "b", "c", "a"]),
        ({"a": {"a"}}, ["a", "a"]),
        ({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}, []),
    ],
)
def test_circles_are_found(graph: dict[str, Iterable[str]], circle: list[str]):
    """A circle of any length is found, and two ways to one module are none."""
    assert find_circle({name: set(targets) for name, targets in graph.items()}) == circle


@pytest.mark.parametrize(
    ("name", "source", "complaint"),
    [
        ("io.recording", "from ..preparation.signals import Signals", "comes after it"),
        ("io.recording", "def f():\n    from ..model.hmm import HMM", "comes after it"),
        ("preparation.settings", "from ..model import fit", "comes after it"),
        ("io.timeline", "import mne_hmm.states.visits", "comes after it"),
        ("_utils.checks", "from ..states.time_course import PREFIX", "comes after it"),
        ("states.time_course", "from ..viz import plot_states", "comes after it"),
        ("engine.inference.gaussian", "from ..training.em import update", "comes after it"),
        ("engine.runtime.memory", "from ..inference import chain", "comes after it"),
        ("engine.training.em", "from ...io.timeline import TimeMap", "not heard of"),
        ("engine.training.em", "from ..._utils.checks import plural", "not heard of"),
        ("engine.training.em", "def f():\n    import mne", "needs only"),
        ("engine.training.em", "import tensorflow as tf", "which is quiet"),
        ("model.hmm", "def f():\n    from tensorflow import function", "which is quiet"),
        ("model.hmm", "from ..engine import infer", "loads TensorFlow"),
        (
            "model.hmm",
            "def f():\n    from ..engine.inference.chain import smooth",
            "from ..engine import",
        ),
        ("viz.states", "import matplotlib.pyplot as plt", "outside a function"),
        (
            "statistics.tinda",
            "if TYPE_CHECKING:\n    from ..spectral.maps import StateMaps",
            "comes after it",
        ),
        ("", "from .model.fit import fit_hmm", "comes after it"),
    ],
)
def test_each_rule_bites(name: str, source: str, complaint: str, tmp_path: Path):
    """The check finds what it is there to find."""
    path = tmp_path / ("module.py" if name else "__init__.py")
    path.write_text(source, encoding="utf-8")
    complaints = violations({name: path})
    assert any(complaint in violation for violation in complaints), complaints


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("states.time_course", "def f():\n    from ..viz import plot_states"),
        ("model.hmm", "def f():\n    from ..engine import infer"),
        ("model.hmm", "def f():\n    from ..report import add_hmm_to_report"),
        (
            "engine.training.em",
            "import numpy as np\nfrom scipy.linalg import cholesky\nimport time",
        ),
        ("viz.states", "def f():\n    import matplotlib"),
        ("model.hmm", "if TYPE_CHECKING:\n    from matplotlib.axes import Axes"),
        ("model.hmm", "if TYPE_CHECKING:\n    from ..engine import Samples"),
        ("viz.maps", "if TYPE_CHECKING:\n    from ..spectral.maps import StateMaps"),
        ("cli.main", "from ..model.fit import fit_hmm"),
    ],
)
def test_what_is_allowed(name: str, source: str, tmp_path: Path):
    """The check does not complain of what is right."""
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    assert violations({name: path}) == []
