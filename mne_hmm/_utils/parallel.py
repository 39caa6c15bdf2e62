"""Work side by side in other processes, whose warnings are repeated in this one."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

from mne.parallel import parallel_func

# What joblib warns of as it replaces a process.
REPLACED = "A worker stopped while some jobs were given to the executor"


def side_by_side(
    function: Callable[..., Any], n_jobs: Any, **options: Any
) -> tuple[Callable[[Iterable[Any]], list[Any]], Callable[..., Any], int]:
    """Get what calls a function in several processes, as MNE-Python does.

    Between two calls joblib replaces a process that has come to hold far more memory than after
    its first one, as it does by loading TensorFlow. Nothing is lost, so that there is nothing to
    warn of; and where warnings are errors, joblib would wait for ever after its own.
    """
    parallel, run, n_at_once = parallel_func(function, n_jobs, verbose="ERROR", **options)
    if n_at_once == 1:
        return parallel, run, n_at_once

    def quiet(calls: Iterable[Any]) -> list[Any]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", REPLACED, UserWarning)
            return parallel(calls)

    return quiet, run, n_at_once


def with_warnings(function: Callable[..., Any], *arguments: Any) -> tuple[Any, list[tuple]]:
    """Call a function in another process, and keep what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*arguments)
    return result, [(w.message, w.category, w.filename, w.lineno) for w in caught]


def warn_again(result: Any, caught: list[tuple]) -> Any:
    """Warn here of what was kept there, and give the result."""
    for warning in caught:
        warnings.warn_explicit(*warning)
    return result
