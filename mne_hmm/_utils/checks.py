"""Checks of arguments. Every error names the argument, the rule, the value and a way out."""

import importlib
import math
import numbers
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np


def check_number(
    value: Any,
    name: str,
    *,
    rule: str,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    integer: bool = False,
) -> Any:
    """Return a number as int or float, or say what is wrong with it."""
    kind = numbers.Integral if integer else numbers.Real
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, kind):
        raise TypeError(f"{name} must be {rule}, got {value!r} of type {type(value).__name__}")
    try:
        number: Any = int(value) if integer else float(value)  # type: ignore[call-overload]
    except OverflowError:  # a whole number that no float can be
        number = math.inf
    wrong = (
        (not integer and not math.isfinite(number))
        or (low is not None and number < low)
        or (high is not None and number > high)
        or (above is not None and number <= above)
    )
    if wrong:
        raise ValueError(f"{name} must be {rule}, got {value!r}")
    return number


def check_option(value: Any, name: str, options: tuple[Any, ...]) -> Any:
    """Return a value that is one of few, or list them."""
    if not any(
        value is option or (type(value) is type(option) and value == option) for option in options
    ):
        listed = ", ".join(map(repr, options))
        raise ValueError(f"{name} must be one of {listed}, got {value!r}")
    return value


def check_random_state(random_state: Any) -> np.random.Generator:
    """Turn a seed into a generator of its own."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if random_state is not None and (
        isinstance(random_state, bool)
        or not isinstance(random_state, numbers.Integral)
        or random_state < 0
    ):
        raise ValueError(
            "random_state must be None, a non-negative whole number or a "
            f"numpy.random.Generator, got {random_state!r}"
        )
    return np.random.default_rng(None if random_state is None else int(random_state))


def check_state(state: Any, state_names: Sequence[str]) -> int:
    """Return the index of a state that was named, or of which the index is given."""
    if isinstance(state, str):
        if state not in state_names:
            raise ValueError(
                f"state={state!r} is none of the states; they are {listed(state_names, 30)}"
            )
        return list(state_names).index(state)
    last = len(state_names) - 1
    rule = f"the name of a state or its number, from 0 to {last}"
    return check_number(state, "state", rule=rule, low=0, high=last, integer=True)


def check_group(group: Any, n_recordings: int) -> list[Hashable] | None:
    """Return the labels that say which recordings belong together, one for each."""
    if group is None:
        return None
    rule = "group must have one label for each recording, as in group=['anna', 'anna', 'ben']"
    if isinstance(group, (str, bytes)) or not isinstance(group, Iterable):
        raise TypeError(f"{rule}, got {group!r}")
    labels = list(group)
    if len(labels) != n_recordings:
        raise ValueError(
            f"{rule}, but there are {plural(len(labels), 'label')} for "
            f"{plural(n_recordings, 'recording')}"
        )
    for label in labels:
        if not isinstance(label, Hashable) or label is None or label != label:
            raise TypeError(f"{rule}; each a name or a number, got {label!r}")
    return labels


def import_extra(module: str, extra: str, purpose: str) -> Any:
    """Import an optional package, or say how to install it and what for."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module.partition('.')[0]} is needed {purpose}; install it with "
            f'pip install "mne-hmm[{extra}]"'
        ) from error


def listed(names: Iterable[Any], most: int = 6) -> str:
    """Join names, cut where there are many."""
    texts = list(map(str, names))
    rest = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + rest


def plural(count: int, noun: str, ending: str = "s") -> str:
    """Put a count and its noun together."""
    return f"{count:,} {noun}{'' if count == 1 else ending}"
