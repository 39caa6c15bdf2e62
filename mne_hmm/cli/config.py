"""Files of options, and the arguments that come of them and of the command line."""

import argparse
import difflib
import inspect
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from .._utils.checks import import_extra
from ..model.priors import Priors
from ..preparation.settings import Preparation
from .options import Option

# Parameters of Python calls that are objects, have options of their own, or are for somebody who
# sits at the keyboard.
NOT_IN_FILES = ("self", "inst", "strategy", "verbose", "on_interrupt")
PRESETS = ("time_delay_embedded", "amplitude_envelope", "standardized", "as_is")
SUFFIXES = (".yml", ".yaml", ".json", ".toml")


def read_config(path: Path) -> dict[str, Any]:
    """Read a file of options."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"--config {path} must end in {', '.join(SUFFIXES)}")
    text = path.read_text(encoding="utf-8")
    try:
        config = _parse(text, suffix)
    except ValueError as error:
        raise ValueError(f"--config {path} cannot be read: {error}") from error
    if config is None:
        config = {}
    if not isinstance(config, dict):
        raise ValueError(
            f"--config {path} must hold names with values, as in n_states: 8, got a "
            f"{type(config).__name__}"
        )
    return config


def _parse(text: str, suffix: str) -> Any:
    if suffix == ".json":
        return json.loads(text)
    if suffix == ".toml":
        return tomllib.loads(text)
    yaml = import_extra("yaml", "cli", "for --config files in YAML (JSON and TOML need nothing)")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def parameters_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Get the parameters of a function that a file may hold, with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in NOT_IN_FILES and parameter.kind is not parameter.VAR_KEYWORD
    }


def collect(
    typed: Mapping[str, Any],
    config: Mapping[str, Any],
    options: Iterable[Option],
    parameters: Iterable[str],
) -> dict[str, Any]:
    """Put options of the command line over those of a file."""
    by_name = {option.name: option for option in options}
    nested = {"preparation": fields(Preparation), "priors": fields(Priors)}
    check_names(config, parameters, "")
    out: dict[str, Any] = {}
    for name, value in config.items():
        if name not in nested or value is None:
            out[name] = _convert(by_name.get(name), name, value)
            continue
        if name == "preparation" and isinstance(value, str):
            out[name] = value
            continue
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} must hold names with values, got {value!r}")
        check_names(value, [field.name for field in nested[name]], name)
        for key, inner in value.items():
            dotted = f"{name}.{key}"
            out[dotted] = _convert(by_name.get(dotted), dotted, inner)
    out |= typed
    return _nest(out, nested)


def collect_bids(
    typed: Mapping[str, Any], in_file: Any, options: Iterable[Option]
) -> dict[str, Any]:
    """Put which recordings of a BIDS data set to take over those that a file says."""
    if isinstance(in_file, str):
        in_file = {"root": in_file}
    if not isinstance(in_file, Mapping):
        raise ValueError(f"bids must be a folder, or hold names with values, got {in_file!r}")
    by_name = {option.name.partition(".")[2]: option for option in options}
    check_names(in_file, by_name, "bids")
    out = {name: _convert(by_name[name], f"bids.{name}", value) for name, value in in_file.items()}
    return out | {name.partition(".")[2]: value for name, value in typed.items()}


def _nest(flat: Mapping[str, Any], nested: Iterable[str]) -> dict[str, Any]:
    """Bring dotted names into dictionaries, and complete those of preparation and priors."""
    out = {name: value for name, value in flat.items() if "." not in name}
    for outer in nested:
        inner = {
            name.partition(".")[2]: value
            for name, value in flat.items()
            if name.startswith(f"{outer}.")
        }
        if outer == "priors" and inner:
            out[outer] = {**vars(Priors()), **inner}
        elif outer == "preparation" and (inner or out.get(outer) is not None):
            out[outer] = _complete_preparation(out.get(outer), inner)
    return out


def _complete_preparation(preset: str | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Get all settings of a preparation, as plain values."""
    preset = preset or PRESETS[0]
    if preset not in PRESETS:
        near = _nearest(preset, PRESETS)
        raise ValueError(f"preparation must be one of {', '.join(PRESETS)}, got {preset!r}{near}")
    if preset == "as_is" and changes:
        raise ValueError(
            f"preparation as_is does nothing, so {', '.join(changes)} cannot be given with it"
        )
    return getattr(Preparation, preset)(**changes).settings


def check_names(names: Iterable[str], allowed: Iterable[str], where: str) -> None:
    """Check that all names are allowed, or say which there are."""
    allowed = sorted(allowed)
    for name in names:
        if name not in allowed:
            owner = f" of {where}" if where else ""
            raise ValueError(
                f"--config: {name!r} is no option{owner}{_nearest(str(name), allowed)}; there are "
                f"{', '.join(allowed)}"
            )


def _nearest(name: str, allowed: Sequence[str]) -> str:
    """Suggest the name that is most like one; nothing if none is."""
    near = difflib.get_close_matches(name, allowed, 1)
    return f" (did you mean {near[0]}?)" if near else ""


def _convert(option: Option | None, name: str, value: Any) -> Any:
    """Read text of a file as that of the command line: YAML takes 1e-4 for text."""
    if option is None or option.convert is None or not isinstance(value, str):
        return value
    try:
        return option.convert(value)
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"--config: {name} {error}") from error
