"""``mne-hmm repeat``: a run again, from its ``run.json``."""

from pathlib import Path

from mne.utils import logger

from .._utils.checks import listed
from .apply import run_apply
from .fit import run_fit
from .inputs import inputs_of, is_of_bids
from .run_file import check_unchanged, environment, list_differences, read_run
from .select import run_select


class DifferentOutputsError(ValueError):
    """A run was repeated, but other bits came out."""


def run_repeat(path: Path, folder: Path, *, overwrite: bool = False) -> str:
    """Do again what a run did, and compare what comes out."""
    run = read_run(path)
    if folder.absolute() == run["folder"].absolute():
        raise ValueError(f"--output {folder} is the folder of the run itself; name another")
    check_unchanged(run)
    differences = list_differences(environment(bids=is_of_bids(run)), run["environment"])
    if differences:
        logger.warning(
            f"Files may differ, as the run was done otherwise: {listed(differences, 20)}"
        )
    inputs = inputs_of(run)
    arguments = dict(run["arguments"])
    if run["command"] in ("fit", "select"):
        run_command = run_fit if run["command"] == "fit" else run_select
        run_command(inputs, folder, arguments, overwrite=overwrite)
    elif run["command"] == "apply":
        model = Path(arguments.pop("model"))
        run_apply(model, inputs, folder, arguments, overwrite=overwrite)
    else:
        raise ValueError(f"{path} is of mne-hmm {run['command']}, which cannot be repeated")
    before = {file["path"]: file["sha256"] for file in run["outputs"]}
    after = {file["path"]: file["sha256"] for file in read_run(folder)["outputs"]}
    different = sorted(name for name in before | after if before.get(name) != after.get(name))
    if different:
        how = listed(differences, 20)
        why = f"; what differs in how it was done: {how}" if differences else ""
        raise DifferentOutputsError(
            f"{len(different)} of {len(before)} files are not as in {run['folder']}: "
            f"{listed(different)}{why}"
        )
    return f"All {len(before)} files in {folder} are the same as in {run['folder']}"
