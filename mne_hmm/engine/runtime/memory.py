"""Memory that the C library keeps after it was freed."""

import ctypes
import sys
from collections.abc import Callable
from functools import cache


@cache
def _trim() -> Callable[[int], int] | None:
    """Find the C library's own function, None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, others do not


def give_back_freed() -> None:
    """Give memory that is free back to the system.

    Compiling for TensorFlow takes tens of megabytes for a second, and blocks of data come and go.
    The C library keeps such memory in pieces that the next stage of training cannot always use.
    """
    trim = _trim()
    if trim is not None:
        trim(0)
