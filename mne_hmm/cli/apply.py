"""``mne-hmm apply``: the states of recordings under a model that was trained before."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..io.parcel_inputs import AtlasArguments
from ..model.bids_derivatives import MODEL as BIDS_MODEL
from ..model.hmm import HMM, copy_with, read_hmm
from .bids import outputs_for
from .config import parameters_of
from .fit import files_of, states_of
from .inputs import Inputs, digest
from .outputs import MODEL, check_state_names, check_tables, write_states
from .run_file import write_run

ATLAS_ARGUMENTS = AtlasArguments._fields


def default_arguments() -> dict[str, Any]:
    """Get the arguments of apply with their defaults."""
    return {**parameters_of(HMM.predict), **dict.fromkeys(ATLAS_ARGUMENTS)}


def run_apply(
    model: Path,
    inputs: Inputs,
    folder: Path,
    changes: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> str:
    """Find the states of recordings and write them, and what was done."""
    check_tables()
    model = model_in(model)
    hmm = read_hmm(model)
    if inputs.bids is None:
        check_state_names(hmm.state_names)
    names = inputs.names
    outputs = outputs_for(folder, inputs, command="apply", overwrite=overwrite)
    arguments, others = files_of({**default_arguments(), **changes})
    n_jobs = arguments.pop("n_jobs")
    others["model"] = [digest(model)]
    content = inputs.content()
    outputs.write_model(hmm)
    atlas_arguments = AtlasArguments(*(arguments[name] for name in ATLAS_ARGUMENTS))
    hmm = copy_with(hmm, atlas_arguments=atlas_arguments)
    options = {name: value for name, value in arguments.items() if name not in ATLAS_ARGUMENTS}
    states = states_of(hmm, inputs.inst, names, **options, n_jobs=n_jobs)
    write_states(outputs, states)
    write_run(
        outputs,
        "apply",
        arguments={"model": str(model.absolute()), **arguments},
        inputs=content,
        names=names,
        others=others,
        results={},
    )
    table = (folder / "recordings.tsv").read_text(encoding="utf-8")
    return f"{table}Written to {folder}"


def model_in(path: Path) -> Path:
    """Find the model in a folder that fit left; a file stands for itself."""
    if not path.is_dir():
        return path
    names = (MODEL, BIDS_MODEL)
    return next((path / name for name in names if (path / name).is_file()), path / MODEL)
