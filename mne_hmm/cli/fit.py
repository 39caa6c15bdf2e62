"""``mne-hmm fit``: a model of recordings, and their states."""

import secrets
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mne.utils import logger

from .._utils.checks import check_group
from ..model.fit import fit_hmm
from ..model.hmm import HMM, copy_with, read_hmm
from ..model.priors import Priors
from ..preparation.prepare import prepare
from ..preparation.prepared_data import PreparedData
from ..preparation.settings import Preparation
from ..states.time_course import StateTimeCourse
from .bids import outputs_for
from .config import parameters_of
from .inputs import Inputs, digests
from .outputs import check_tables, write_states
from .run_file import write_run

# Arguments that change where and how fast something is done, but no bit of what comes out.
PLACE_ARGUMENTS = ("cache_dir", "checkpoint_dir", "log_dir", "n_jobs")
# Arguments that may name files.
FILE_ARGUMENTS = ("atlas", "src", "init", "align_on")
MODEL_SUFFIXES = (".h5", ".hdf5")


def default_arguments() -> dict[str, Any]:
    """Get the arguments of fit with their defaults."""
    return {**parameters_of(fit_hmm), "cache_dir": None}


def run_fit(
    inputs: Inputs, folder: Path, changes: Mapping[str, Any], *, overwrite: bool = False
) -> str:
    """Train a model and write it, the states of its recordings, and what was done."""
    check_tables()
    names = inputs.names
    outputs = outputs_for(folder, inputs, command="fit", overwrite=overwrite)
    call = prepare_call(inputs, {**default_arguments(), **changes}, PLACE_ARGUMENTS)
    arguments, where, calls, inst = call.arguments, call.where, call.calls, inputs.inst
    if where["cache_dir"] is not None:
        inst = prepared_in_folder(inputs, calls, where)
    places = {name: where[name] for name in PLACE_ARGUMENTS if name != "cache_dir"}
    hmm = fit_hmm(inst, **calls, **places)
    # The only numbers in the file that are others every time.
    seconds = np.full(len(hmm.history_["seconds"]), np.nan)
    hmm = copy_with(hmm, history={**hmm.history_, "seconds": seconds})
    outputs.write_model(hmm)
    states = states_of(
        hmm,
        inst,
        names,
        reject_by_annotation=arguments["reject_by_annotation"],
        sfreq=arguments["sfreq"],
        group=None if isinstance(inst, PreparedData) else arguments["group"],
        n_jobs=where["n_jobs"],
        is_warned=True,
    )
    write_states(outputs, states)
    results = {
        "free_energy": hmm.free_energy_,
        "converged": hmm.converged_,
        "n_updates": len(hmm.history_["free_energy"]) - 1,
    }
    write_run(
        outputs,
        "fit",
        arguments=arguments,
        inputs=call.content,
        names=names,
        others=call.others,
        results=results,
    )
    return f"{hmm}\n  seed           {arguments['random_state']}\n  folder         {folder}"


class Call(NamedTuple):
    """A call of a public function, and what a run's file says of it."""

    arguments: dict[str, Any]
    """As plain values, with their defaults and the seed."""
    others: dict[str, Any]
    """Files among the arguments, with hashes."""
    where: dict[str, Any]
    """Arguments that change no bit of what comes out."""
    content: list[dict[str, Any]]
    """Files of the recordings, with hashes."""
    calls: dict[str, Any]
    """Arguments as Python objects."""


def prepare_call(inputs: Inputs, arguments: Mapping[str, Any], where: Sequence[str]) -> Call:
    """Fix all that a training depends on before it begins."""
    places = {name: arguments[name] for name in where}
    rest = {name: value for name, value in arguments.items() if name not in places}
    fixed, others = files_of(rest)
    fixed["random_state"] = seed_of(fixed["random_state"], places["checkpoint_dir"])
    if inputs.prepared is None and fixed["preparation"] is None:
        fixed["preparation"] = Preparation().settings
    return Call(fixed, others, places, inputs.content(), as_python(fixed))


def files_of(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return arguments with the whole path of every file, and the hashes of these files."""
    out, others = dict(arguments), {}
    for name in FILE_ARGUMENTS:
        value = out.get(name)
        # A file may be called "random", too.
        if name == "init" and not str(value).endswith(MODEL_SUFFIXES):
            continue
        if isinstance(value, str) and Path(value).is_file():
            out[name] = str(Path(value).absolute())
            others[name] = digests(Path(value))
    return out, others


def as_python(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Make the objects that Python calls take of plain values."""
    out = dict(arguments)
    if out.get("preparation") is not None:
        out["preparation"] = Preparation(**out["preparation"])
    if out.get("priors") is not None:
        out["priors"] = Priors(**out["priors"])
    init = out.get("init")
    if isinstance(init, str) and init.endswith(MODEL_SUFFIXES):
        out["init"] = read_hmm(init)
    return out


def seed_of(seed: int | None, checkpoint_dir: str | None) -> int:
    """Return the seed, or draw one; with another one an interrupted run cannot go on."""
    if seed is None and checkpoint_dir is not None:
        raise ValueError("--checkpoint-dir needs --seed: with another seed nothing can go on")
    if seed is None:
        seed = secrets.randbits(32)
        logger.info(f"The seed is {seed}")
    return seed


def prepared_in_folder(
    inputs: Inputs, calls: dict[str, Any], where: Mapping[str, Any]
) -> PreparedData:
    """Prepare into a folder; arguments of the preparation are taken out of those of training."""
    if inputs.prepared is not None:
        raise ValueError("--cache-dir cannot be given with prepared data; leave it out")
    names = ("preparation", "picks", "sfreq", "atlas", "src", "subjects_dir", "group")
    return prepare(
        inputs.inst,
        **{name: calls.pop(name) for name in names},
        reject_by_annotation=calls["reject_by_annotation"],
        cache_dir=where["cache_dir"],
        n_jobs=where["n_jobs"],
    )


def states_of(
    hmm: HMM,
    inst: Any,
    names: list[str],
    *,
    group: Sequence[Hashable] | None = None,
    is_warned: bool = False,
    **options: Any,
) -> Iterator[tuple[str, StateTimeCourse]]:
    """Find the states of one recording after another, so that only one is in memory.

    Recordings that are aligned together are in memory together. ``is_warned`` says that what
    there is to warn of has been said.
    """
    labels = check_group(group, len(names))
    indices = range(len(names))
    together = [[i] for i in indices]
    if labels is not None:
        together = [[j for j in indices if labels[j] == labels[i]] for i in indices]
    courses: dict[int, StateTimeCourse] = {}
    for i, name in enumerate(names):
        if i not in courses:
            members = together[i]
            is_prepared = isinstance(inst, PreparedData)
            recordings = inst.recording(i) if is_prepared else [inst[j] for j in members]
            more = {} if labels is None else {"group": [labels[j] for j in members]}
            with warnings.catch_warnings():
                if is_warned:
                    warnings.simplefilter("ignore")
                predicted = hmm.predict(recordings, verbose="WARNING", **more, **options)
            courses |= zip(members, predicted, strict=True)
        yield name, courses.pop(i)
