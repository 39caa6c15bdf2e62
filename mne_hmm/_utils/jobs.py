"""Work side by side in other processes, whose warnings are told in this one."""

import warnings
from collections.abc import Callable
from typing import Any


def with_warnings(function: Callable[..., Any], *arguments: Any) -> tuple[Any, list[tuple]]:
    """Call a function in another process, and keep what it warns of.

    Parameters
    ----------
    function : callable
        What to call.
    *arguments : object
        With what.

    Returns
    -------
    result : object
        What it returned.
    caught : list of tuple
        Its warnings.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*arguments)
    return result, [(w.message, w.category, w.filename, w.lineno) for w in caught]


def told(result: Any, caught: list[tuple]) -> Any:
    """Warn here of what was kept there, and give the result."""
    for warning in caught:
        warnings.warn_explicit(*warning)
    return result
