"""What can be typed: commands with their options, and which function each of them calls."""

import argparse
import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import APPLY, BIDS, FIT, REPORT, SELECT, Option, add_options, number

if TYPE_CHECKING:
    from .inputs import Inputs

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
CODES = (
    "exit codes: 0 all went well; 1 an input was wrong (one line on stderr says what); "
    "2 wrong usage; 130 interrupted"
)


def parse(argv: Sequence[str] | None, version: str) -> argparse.Namespace:
    """Parse a command line, or leave with code 2."""
    commands = _all_commands(version)
    arguments, rest = commands.parser.parse_known_args(argv)
    command = commands.by_name[arguments.command]
    unknown = [text for text in rest if text.startswith("-")]
    if unknown:
        name = unknown[0].partition("=")[0]
        options = [text for action in command._actions for text in action.option_strings]
        near = difflib.get_close_matches(name, options, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(options)}"
        command.error(f"unknown option {name}{hint}")
    if rest and not hasattr(arguments, "files"):
        command.error(f"too many arguments: {' '.join(rest)}")
    if rest:  # files after options, which argparse leaves over
        arguments.files += rest
    arguments.error = command.error
    return arguments


class _Commands:
    """A parser, and the commands that are added to it."""

    def __init__(self, version: str):
        self.parser = argparse.ArgumentParser(
            prog="mne-hmm",
            description="Find recurring brain states with hidden Markov models.",
            epilog=CODES,
            allow_abbrev=False,
        )
        self.parser.add_argument("--version", action="version", version=version)
        self._group = self.parser.add_subparsers(dest="command", required=True, metavar="command")

    def add(
        self,
        name: str,
        run: Callable[[argparse.Namespace], str | None],
        text: str,
        options: Sequence[Option] = (),
    ) -> argparse.ArgumentParser:
        """Add a command with its options, and with those that all commands have."""
        command = self._group.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
        )
        command.set_defaults(run=run)
        add_options(command, options)
        level = command.add_mutually_exclusive_group()
        level.add_argument("--quiet", action="store_true", help="log nothing but warnings")
        level.add_argument("--verbose", choices=LEVELS, help="how much to log on stderr")
        return command

    @property
    def by_name(self) -> Mapping[str, argparse.ArgumentParser]:
        """Each command's own parser."""
        return self._group.choices


def _all_commands(version: str) -> _Commands:
    """Make the parser of all commands, in the order of the help."""
    commands = _Commands(version)
    fit = commands.add("fit", _fit, "train a model on recordings and find their states", FIT)
    _add_files(fit)
    _add_output(fit)
    apply = commands.add("apply", _apply, "find the states of recordings under a model", APPLY)
    apply.add_argument("model", metavar="MODEL", type=Path, help="hmm.h5, or the folder of a fit")
    _add_files(apply)
    _add_output(apply)
    report = commands.add("report", _report, "make a page on what fit or apply left", REPORT)
    report.add_argument("folder", metavar="DIR", type=Path, help="the folder")
    _add_output(report, "where to write report.html (the same folder)", required=False)
    select = commands.add("select", _select, "find how many states recordings support", SELECT)
    _add_files(select)
    _add_output(select)
    text = "do again what run.json describes, and compare the bits"
    repeat = commands.add("repeat", _repeat, text)
    repeat.add_argument("path", metavar="RUN", type=Path, help="run.json, or its folder")
    _add_output(repeat)
    _add_convert(commands)
    info = commands.add("info", _info, "tell what a model, recording, prepared folder or run is")
    info.add_argument("path", metavar="FILE", type=Path, help="the file or folder")
    info.add_argument("--sfreq", type=number, metavar="HZ", help="sampling rate of arrays")
    _add_demo(commands)
    return commands


def _add_convert(commands: _Commands) -> None:
    text = "turn model folders of osl-dynamics to files, and back"
    convert = commands.add("convert", _convert, text)
    convert.add_argument("source", metavar="SRC", type=Path, help="a folder, or the file hmm.h5")
    convert.add_argument("target", metavar="DST", type=Path, help="a file, or a folder")
    convert.add_argument(
        "--sfreq", type=number, metavar="HZ", help="sampling rate of features, for model folders"
    )
    convert.add_argument(
        "--preparation",
        type=Path,
        metavar="FROM",
        help="prepared data or model with the preparation, for model folders",
    )
    _add_overwrite(convert)


def _add_demo(commands: _Commands) -> None:
    text = "simulate a recording with known states, find them, and show how well"
    demo = commands.add("demo", _demo, text)
    demo.description = (
        "Simulate five minutes of MEG parcels with six known states, train a model on them, and "
        "leave the annotated recording, the model and a figure in a folder."
    )
    demo.add_argument(
        "--out", type=Path, default=Path("mne-hmm-demo"), help="folder to write to (%(default)s)"
    )
    demo.add_argument("--seed", type=int, default=0, help="seed of all randomness (%(default)s)")
    _add_overwrite(demo)


def _add_files(parser: argparse.ArgumentParser) -> None:
    add_options(parser, BIDS)
    parser.add_argument(
        "files", metavar="FILES", nargs="*", help="recordings: files, folders, patterns"
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="options in YAML, JSON or TOML, under their names in Python; those given here win",
    )


def _add_output(
    parser: argparse.ArgumentParser,
    text: str = "folder to write to; made if it is not there",
    required: bool = True,
) -> None:
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", required=required, help=text)
    _add_overwrite(parser)


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")


def _options_of(arguments: argparse.Namespace, options: Sequence[Option]) -> dict[str, Any]:
    """Get the options that the command line has, by their names in Python."""
    values = vars(arguments)
    return {option.name: values[option.name] for option in options if option.name in values}


def _collect_call(
    arguments: argparse.Namespace, options: Sequence[Option], parameters: Mapping[str, Any]
) -> tuple["Inputs", dict[str, Any]]:
    """Get the recordings, and the arguments of a call, from the command line and a file."""
    from .config import collect, read_config

    config: dict[str, Any] = {} if arguments.config is None else read_config(arguments.config)
    find = _find_recordings(arguments, config)
    call = collect(_options_of(arguments, options), config, options, parameters)
    for name, default in parameters.items():
        if default is inspect.Parameter.empty and name not in call:
            flag = "--" + name.replace("_", "-")
            arguments.error(f"{flag} is needed, or {name} in the file of --config")
    arguments.checkpoint = call.get("checkpoint_dir")
    return find(), call


def _find_recordings(
    arguments: argparse.Namespace, config: dict[str, Any]
) -> Callable[[], "Inputs"]:
    """Return what finds the recordings, and take them out of the options of a file."""
    from .config import collect_bids
    from .inputs import find_bids_inputs, find_inputs

    bids = _options_of(arguments, BIDS)
    inst, in_file = config.pop("inst", None), config.pop("bids", None)
    if arguments.files and bids:
        arguments.error("FILES and --bids exclude each other: give the ones or the other")
    if not (arguments.files or bids) and inst and in_file:
        arguments.error("inst and bids in the file of --config exclude each other")
    if bids or (in_file and not arguments.files):
        choices = collect_bids(bids, in_file or {}, BIDS)
        root = choices.pop("root", None)
        if root is None:
            arguments.error("no BIDS data set to choose from: name its folder with --bids ROOT")
        return lambda: find_bids_inputs(root, choices)
    files = arguments.files or ([inst] if isinstance(inst, str) else inst)
    if not files:
        arguments.error(
            "no recordings: name FILES, or --bids ROOT, or inst or bids in the file of --config"
        )
    return lambda: find_inputs([str(file) for file in files])


# TensorFlow and MNE-Python take seconds to load: not before something is done.


def _fit(arguments: argparse.Namespace) -> str:
    from .fit import default_arguments, run_fit

    inputs, call = _collect_call(arguments, FIT, default_arguments())
    return run_fit(inputs, arguments.output, call, overwrite=arguments.overwrite)


def _apply(arguments: argparse.Namespace) -> str:
    from .apply import default_arguments, run_apply

    inputs, call = _collect_call(arguments, APPLY, default_arguments())
    return run_apply(arguments.model, inputs, arguments.output, call, overwrite=arguments.overwrite)


def _report(arguments: argparse.Namespace) -> str:
    from .report import run_report

    return run_report(
        arguments.folder,
        arguments.output,
        _options_of(arguments, REPORT),
        overwrite=arguments.overwrite,
    )


def _select(arguments: argparse.Namespace) -> str:
    from .select import default_arguments, run_select

    inputs, call = _collect_call(arguments, SELECT, default_arguments())
    return run_select(inputs, arguments.output, call, overwrite=arguments.overwrite)


def _repeat(arguments: argparse.Namespace) -> str:
    from .repeat import run_repeat

    return run_repeat(arguments.path, arguments.output, overwrite=arguments.overwrite)


def _convert(arguments: argparse.Namespace) -> str:
    from .convert import run_convert

    return run_convert(
        arguments.source,
        arguments.target,
        sfreq=arguments.sfreq,
        preparation=arguments.preparation,
        overwrite=arguments.overwrite,
    )


def _info(arguments: argparse.Namespace) -> str:
    from .info import run_info

    return run_info(arguments.path, sfreq=arguments.sfreq)


def _demo(arguments: argparse.Namespace) -> None:
    from .demo import run_demo

    run_demo(arguments.out, seed=arguments.seed, overwrite=arguments.overwrite)
