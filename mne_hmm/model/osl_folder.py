"""The two files of a model of osl-dynamics, read with clear errors.

Nothing in the folder is ever executed: Python objects named in the settings are not made, and
pickles are not opened. The layout is that of osl-dynamics 3.7 (Keras 3).
"""

import reprlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .._utils.checks import import_extra
from .._utils.files import check_folder
from .._utils.hdf5 import check_harmless
from .._utils.typing import FileName

CONFIG = "config.yml"
WEIGHTS = "model.weights.h5"
MARK = "osl-dynamics version:"
VERSION = "3.7.2"  # whose format is written

# Where Keras puts the numbers: groups are named by class, and numbered within a layer.
KERNEL = "layers/learnable_tensor_layer/vars/0"
MEANS = f"layers/vectors_layer/{KERNEL}"
COVARIANCES = {
    "full": f"layers/covariance_matrices_layer/{KERNEL}",
    "diag": f"layers/diagonal_matrices_layer/{KERNEL}",
}
CHAIN = "layers/hidden_markov_state_inference_layer"
INITIAL = f"{CHAIN}/{KERNEL}"
TRANSITIONS = f"{CHAIN}/{KERNEL.replace('layer/', 'layer_1/')}"


def path_of(folder: FileName) -> Path:
    """Check that a folder is given as a path."""
    path = check_folder(folder, "folder")
    if path is None:
        raise TypeError("folder must be a path of a folder, got None")
    return path


def existing_folder(folder: FileName) -> Path:
    """Check that a folder is there, with both files."""
    path = path_of(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"folder={str(path)!r}: there is no such folder")
    missing = [name for name in (CONFIG, WEIGHTS) if not (path / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{path} lacks {' and '.join(missing)}; a folder written by model.save of "
            f"osl-dynamics holds {CONFIG} and {WEIGHTS}"
        )
    return path


def import_yaml() -> Any:
    """Import PyYAML, or say how to install it."""
    return import_extra("yaml", "cli", f"for {CONFIG} of osl-dynamics (it is part of PyYAML)")


def read_config(fname: Path) -> tuple[Any, str]:
    """Read settings as plain data, and the version in the comment before them."""
    yaml = import_yaml()
    content = fname.read_bytes()
    # Plain data are read; of anything else, Python objects above all, only the tag is kept.
    PlainLoader: Any = type("PlainLoader", (yaml.SafeLoader,), {})
    PlainLoader.add_constructor(None, lambda loader, node: _NotMade(node.tag))
    try:
        text = content.decode()
        config = yaml.load(text, PlainLoader)
    except Exception as error:  # besides its own errors PyYAML lets others through
        raise ValueError(f"{fname} is no YAML that can be read ({error})") from error
    version = [line.partition(MARK)[2].strip() for line in text.splitlines() if MARK in line]
    return config, version[0] if version else "unknown"


class _NotMade:
    """Stands for what YAML would have made an object of."""

    def __init__(self, tag: str):
        self.tag = tag

    def __repr__(self) -> str:
        return f"an object of {self.tag!r}"


class Settings:
    """Settings of a model, each checked when it is asked for."""

    def __init__(self, config: Any, fname: Path):
        if not isinstance(config, dict):
            raise ValueError(
                f"{fname} must hold names with values, as osl-dynamics writes them, got "
                f"{_shorten(config)}"
            )
        self.config, self.fname = config, fname

    def check_kind(self) -> None:
        """Refuse models that are no HMM with Gaussian states."""
        kind = self._get("model_name", "the kind of the model")
        if kind != "HMM":
            raise ValueError(
                f"{self.fname} is of a model of kind {_shorten(kind)}; only 'HMM', with "
                "Gaussian states, can be read"
            )

    def count(self, name: str) -> int:
        """Get a number of things."""
        value = self._get(name, "a whole number ≥ 1")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self._wrong(name, "a whole number ≥ 1", value)
        return value

    def flag(self, name: str, default: bool | None = None) -> bool:
        """Get a yes or no."""
        value = self._get(name, "true or false", default)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false", value)
        return value

    def epsilon(self, learned: bool) -> float:
        """Get what is added to the diagonal of covariances; the default is osl-dynamics' own."""
        value = self.config.get("covariances_epsilon")
        if value is None:
            return 1e-6 if learned else 0.0
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not 0 <= value < np.inf:
            raise self._wrong("covariances_epsilon", "a number ≥ 0", value)
        return float(value)

    def _get(self, name: str, rule: str, default: Any = None) -> Any:
        value = self.config.get(name, default)
        if value is None:
            raise ValueError(f"{self.fname} lacks {name}, which must be {rule}")
        return value

    def _wrong(self, name: str, rule: str, value: Any) -> ValueError:
        return ValueError(f"{name} in {self.fname} must be {rule}, got {_shorten(value)}")


def _shorten(value: Any) -> str:
    """Show a value of an unknown size in a message."""
    short = reprlib.Repr()
    short.maxlevel, short.maxother, short.maxstring = 2, 100, 100
    return short.repr(value)


class Weights:
    """Arrays in a file of weights, each checked before it is read."""

    def __init__(self, fname: Path):
        self.fname = fname
        try:
            check_harmless(fname)
        except OSError as error:
            raise self._unreadable(error) from error

    def read(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Get an array of finite numbers, of a shape that is known from the settings."""
        array: Any = None
        try:
            with h5py.File(self.fname, "r") as file:
                problem = self._problem(file, name, shape)
                if problem is None:
                    array = file[name][()].astype(float)
        except Exception as error:  # HDF5 raises anything when a file is damaged
            raise self._unreadable(error) from error
        if problem is not None:
            raise ValueError(problem)
        if not np.isfinite(array).all():
            raise ValueError(f"{self.fname} holds numbers in {name} that are not finite")
        return array

    def probabilities(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Get an array whose last axis sums to 1, and make it do so exactly."""
        array = self.read(name, shape)
        # Sums of float32 numbers, which were divided by their sum.
        if (array < 0).any() or not np.allclose(array.sum(-1), 1, rtol=0, atol=1e-4):
            raise ValueError(
                f"{self.fname} holds no probabilities in {name}: they must be ≥ 0 and sum to 1"
            )
        return array / array.sum(-1, keepdims=True)

    def _unreadable(self, error: Exception) -> OSError:
        return OSError(
            f"{self.fname} cannot be read: it is no HDF5 file, was cut off or is damaged "
            f"({error}); save the model again"
        )

    def _problem(self, file: h5py.File, name: str, shape: tuple[int, ...]) -> str | None:
        """Say why an array cannot be taken, if so."""
        node: Any = file
        for part in name.split("/"):
            # Links to other files could name any file of the reader's.
            link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
            if not isinstance(link, h5py.HardLink):
                return (
                    f"{self.fname} lacks {name}, where osl-dynamics (3, with Keras 3) keeps it; "
                    f"is it of the same model as {CONFIG}, and not of an older version? If it is "
                    "older, load the model in osl-dynamics and save it again"
                )
            node = node[part]
        plain = isinstance(node, h5py.Dataset) and not (node.is_virtual or node.external)
        if plain and node.shape == shape and node.dtype.kind == "f":
            return None
        content = f"{node.dtype} of shape {node.shape}" if plain else "something else"
        return (
            f"{self.fname} must hold floating-point numbers of shape {shape} in {name}, as "
            f"{CONFIG} says, got {content}"
        )
