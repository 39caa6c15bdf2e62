"""``mne-hmm apply``: the states of recordings under a model that was trained before."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..hmm import HMM, read_hmm
from ..parcel_inputs import AtlasArguments
from .config import parameters_of
from .fitting import files_of, states_of
from .inputs import digest, find_inputs
from .outputs import (
    RUN,
    TABLES,
    Outputs,
    annotations_file,
    check_state_names,
    check_tables,
    probabilities_file,
    write_states,
)
from .run_file import write_run

ATLAS = AtlasArguments._fields


def known_arguments() -> dict[str, Any]:
    """Get the arguments of apply with their defaults."""
    return {**parameters_of(HMM.predict), **dict.fromkeys(ATLAS)}


def run_apply(
    model: Path,
    files: list[str],
    folder: Path,
    given: Mapping[str, Any],
    *,
    overwrite: bool = False,
    names: list[str] | None = None,
) -> str:
    """Find the states of recordings and write them, and what was done.

    Parameters
    ----------
    model : Path
        The model's file, or a folder that fit left.
    files : list of str
        Recordings.
    folder : Path
        Where to write.
    given : dict
        Arguments of :meth:`HMM.predict`, and the atlas; those that are missing take their
        defaults.
    overwrite : bool
        Whether to replace files.
    names : list of str | None
        What the recordings are called. None names them by their files.

    Returns
    -------
    text : str
        What came out.
    """
    check_tables()
    model = model_in(model)
    hmm = read_hmm(model)
    check_state_names(hmm.state_names)
    inputs = find_inputs(files)
    names = names or inputs.names
    expected = [
        *map(annotations_file, names),
        *map(probabilities_file, names),
        *TABLES,
        RUN,
    ]
    outputs = Outputs(folder, expected, command="apply", overwrite=overwrite)
    arguments, others = files_of({**known_arguments(), **given})
    n_jobs = arguments.pop("n_jobs")
    others["model"] = [digest(model)]
    content = inputs.content()
    hmm.atlas_arguments = AtlasArguments(*(arguments[name] for name in ATLAS))
    options = {name: value for name, value in arguments.items() if name not in ATLAS}
    found = states_of(hmm, inputs.inst, names, **options, n_jobs=n_jobs)
    write_states(outputs, found, probabilities=True)
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
    return path / "hmm.h5" if path.is_dir() else path
