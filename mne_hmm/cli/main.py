"""The command line, a thin layer over the public functions."""

import argparse
import contextlib
import logging
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version

SUCCESS, WRONG_INPUT, INTERRUPTED = 0, 1, 130
# What public functions raise when an input is wrong. Anything else is a fault of the package.
USER_ERRORS = (OSError, ValueError, TypeError, ImportError, NotImplementedError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Results go to files and to stdout, the log and errors to stderr.
    """
    from .parser import parse

    arguments = parse(argv, version("mne-hmm"))
    try:
        with _log_on_stderr(arguments):
            text = arguments.run(arguments)
    except KeyboardInterrupt:
        folder = getattr(arguments, "checkpoint", None)
        _print_error(
            "interrupted" + (f"; the same command goes on from {folder}" if folder else "")
        )
        return INTERRUPTED
    except USER_ERRORS as error:
        if arguments.verbose == "DEBUG":
            traceback.print_exc()
        _print_error(str(error) or type(error).__name__)
        return WRONG_INPUT
    if text:
        print(text)
    return SUCCESS


def _print_error(message: str) -> None:
    """Write one line to stderr."""
    print(f"mne-hmm: {' '.join(message.split())}", file=sys.stderr)


@contextlib.contextmanager
def _log_on_stderr(arguments: argparse.Namespace) -> Iterator[None]:
    """Send MNE-Python's log and warnings to stderr for as long as a command runs."""
    from mne.utils import logger, use_log_level

    level = "WARNING" if arguments.quiet else arguments.verbose
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    handlers, logger.handlers = logger.handlers, [handler]
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: _print_error(f"warning: {message}")
            with contextlib.nullcontext() if level is None else use_log_level(level):
                yield
    finally:
        logger.handlers = handlers
