"""The command line, a thin layer over the public functions."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path


def _parser():
    parser = argparse.ArgumentParser(
        prog="mne-hmm", description="Find recurring brain states with hidden Markov models."
    )
    parser.add_argument("--version", action="version", version=version("mne-hmm"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    demo = commands.add_parser(
        "demo",
        help="simulate a recording with known states, find them, and show how well",
        description="Simulate five minutes of MEG parcels with six known states, train a model on "
        "them, and leave the annotated recording, the model and a figure in a folder.",
    )
    demo.add_argument(
        "--out", type=Path, default=Path("mne-hmm-demo"), help="folder to write to (%(default)s)"
    )
    demo.add_argument("--seed", type=int, default=0, help="seed of all randomness (%(default)s)")
    demo.add_argument("--overwrite", action="store_true", help="replace files of an earlier demo")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str | None
        Arguments. None takes those of the process.

    Returns
    -------
    code : int
        0 if all went well, 1 if an input was wrong.
    """
    arguments = _parser().parse_args(argv)
    from .demo import run_demo

    try:
        run_demo(arguments.out, seed=arguments.seed, overwrite=arguments.overwrite)
    except (OSError, ValueError) as error:
        print(f"mne-hmm: {error}", file=sys.stderr)
        return 1
    return 0
