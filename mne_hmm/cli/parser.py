"""What can be typed: commands with their options, and which function each of them calls."""

import argparse
import difflib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .options import APPLY, BIDS, FIT, REPORT, SELECT, Option, add_options, number

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
CODES = (
    "exit codes: 0 all went well; 1 an input was wrong (one line on stderr says what); "
    "2 wrong usage; 130 interrupted"
)


def parse(argv: Sequence[str] | None, version: str) -> argparse.Namespace:
    """Parse a command line, or leave with code 2."""
    parser, commands = _parsers(version)
    arguments, rest = parser.parse_known_args(argv)
    command = commands[arguments.command]
    unknown = [one for one in rest if one.startswith("-")]
    if unknown:
        name = unknown[0].partition("=")[0]
        options = [one for action in command._actions for one in action.option_strings]
        near = difflib.get_close_matches(name, options, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(options)}"
        command.error(f"unknown option {name}{hint}")
    if rest and not hasattr(arguments, "files"):
        command.error(f"too many arguments: {' '.join(rest)}")
    if rest:  # files after options, which argparse leaves over
        arguments.files += rest
    arguments.error = command.error
    return arguments


def _parsers(version):
    parser = argparse.ArgumentParser(
        prog="mne-hmm",
        description="Find recurring brain states with hidden Markov models.",
        epilog=CODES,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=version)
    group = parser.add_subparsers(dest="command", required=True, metavar="command")

    def command(name, run, text, options: Sequence[Option] = ()):
        added = group.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
        )
        added.set_defaults(run=run)
        add_options(added, options)
        level = added.add_mutually_exclusive_group()
        level.add_argument("--quiet", action="store_true", help="log nothing but warnings")
        level.add_argument("--verbose", choices=LEVELS, help="how much to log on stderr")
        return added

    fit = command("fit", _fit, "train a model on recordings and find their states", FIT)
    _add_files(fit)
    _add_output(fit)
    apply = command("apply", _apply, "find the states of recordings under a model", APPLY)
    apply.add_argument("model", metavar="MODEL", type=Path, help="hmm.h5, or the folder of a fit")
    _add_files(apply)
    _add_output(apply)
    report = command("report", _report, "make a page on what fit or apply left", REPORT)
    report.add_argument("folder", metavar="DIR", type=Path, help="the folder")
    _add_output(report, "where to write report.html (the same folder)", required=False)
    select = command("select", _select, "find how many states recordings support", SELECT)
    _add_files(select)
    _add_output(select)
    repeat = command("repeat", _repeat, "do again what run.json describes, and compare the bits")
    repeat.add_argument("path", metavar="RUN", type=Path, help="run.json, or its folder")
    _add_output(repeat)
    convert = command("convert", _convert, "turn model folders of osl-dynamics to files, and back")
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
    info = command("info", _info, "tell what a model, recording, prepared folder or run is")
    info.add_argument("path", metavar="FILE", type=Path, help="the file or folder")
    info.add_argument("--sfreq", type=number, metavar="HZ", help="sampling rate of arrays")
    demo = command(
        "demo", _demo, "simulate a recording with known states, find them, and show how well"
    )
    demo.description = (
        "Simulate five minutes of MEG parcels with six known states, train a model on them, and "
        "leave the annotated recording, the model and a figure in a folder."
    )
    demo.add_argument(
        "--out", type=Path, default=Path("mne-hmm-demo"), help="folder to write to (%(default)s)"
    )
    demo.add_argument("--seed", type=int, default=0, help="seed of all randomness (%(default)s)")
    _add_overwrite(demo)
    return parser, group.choices


def _add_files(parser):
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


def _add_output(parser, text="folder to write to; made if it is not there", required=True):
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", required=required, help=text)
    _add_overwrite(parser)


def _add_overwrite(parser):
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")


def _given(arguments, options):
    """Options that were given, by their names in Python."""
    return {one.name: vars(arguments)[one.name] for one in options if one.name in vars(arguments)}


def _collected(arguments, options, known):
    """Arguments of a call from the command line and a file, and the recordings."""
    from .config import collect, read_config

    config: dict[str, Any] = {} if arguments.config is None else read_config(arguments.config)
    find = _recordings(arguments, config)
    given = collect(_given(arguments, options), config, options, known)
    for name, default in known.items():
        if default is inspect.Parameter.empty and name not in given:
            flag = "--" + name.replace("_", "-")
            arguments.error(f"{flag} is needed, or {name} in the file of --config")
    arguments.checkpoint = given.get("checkpoint_dir")
    return find(), given


def _recordings(arguments, config):
    """Give what finds the recordings, files or those of a BIDS data set; take them off a file."""
    from .config import collect_bids
    from .inputs import find_bids_inputs, find_inputs

    bids = _given(arguments, BIDS)
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


def _fit(arguments):
    from .fit import known_arguments, run_fit

    inputs, given = _collected(arguments, FIT, known_arguments())
    return run_fit(inputs, arguments.output, given, overwrite=arguments.overwrite)


def _apply(arguments):
    from .apply import known_arguments, run_apply

    inputs, given = _collected(arguments, APPLY, known_arguments())
    return run_apply(
        arguments.model, inputs, arguments.output, given, overwrite=arguments.overwrite
    )


def _report(arguments):
    from .report import run_report

    return run_report(
        arguments.folder,
        arguments.output,
        _given(arguments, REPORT),
        overwrite=arguments.overwrite,
    )


def _select(arguments):
    from .select import known_arguments, run_select

    inputs, given = _collected(arguments, SELECT, known_arguments())
    return run_select(inputs, arguments.output, given, overwrite=arguments.overwrite)


def _repeat(arguments):
    from .repeat import run_repeat

    return run_repeat(arguments.path, arguments.output, overwrite=arguments.overwrite)


def _convert(arguments):
    from .convert import run_convert

    return run_convert(
        arguments.source,
        arguments.target,
        sfreq=arguments.sfreq,
        preparation=arguments.preparation,
        overwrite=arguments.overwrite,
    )


def _info(arguments):
    from .info import run_info

    return run_info(arguments.path, sfreq=arguments.sfreq)


def _demo(arguments):
    from .demo import run_demo

    run_demo(arguments.out, seed=arguments.seed, overwrite=arguments.overwrite)
