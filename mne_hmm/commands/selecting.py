"""``mne-hmm select``: how many states recordings support."""

import inspect
import secrets
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from mne.utils import logger

from ..preparation import prepare
from .config import parameters_of
from .fitting import as_python
from .fitting import known_arguments as arguments_of_fit
from .inputs import find_inputs
from .outputs import Outputs, check_tables, write_table

TABLE, FIGURE, TEXT = "selection.tsv", "selection.png", "recommendation.txt"


def select_n_states() -> Any:
    """Get the function that does the work, when it is needed."""
    return import_module("mne_hmm").select_n_states


def known_arguments() -> dict[str, Any]:
    """Get the arguments of select with their defaults."""
    function = select_n_states()
    own = {**parameters_of(function), "cache_dir": None}
    kinds = [one.kind for one in inspect.signature(function).parameters.values()]
    if inspect.Parameter.VAR_KEYWORD in kinds:  # they go on to fit_hmm
        return {**arguments_of_fit(), **own}
    return own


def run_select(
    files: list[str], folder: Path, given: Mapping[str, Any], *, overwrite: bool = False
) -> str:
    """Compare numbers of states and write the table, a figure and the recommendation.

    Parameters
    ----------
    files : list of str
        Recordings.
    folder : Path
        Where to write.
    given : dict
        Arguments of ``mne_hmm.select_n_states``.
    overwrite : bool
        Whether to replace files.

    Returns
    -------
    text : str
        The recommendation.
    """
    check_tables()
    inputs = find_inputs(files)
    outputs = Outputs(folder, [TABLE, FIGURE, TEXT], command="select", overwrite=overwrite)
    calls = as_python(given)
    if calls.get("random_state") is None:
        calls["random_state"] = secrets.randbits(32)
    logger.info(f"The seed is {calls['random_state']}")
    inst = inputs.inst
    cache_dir = calls.pop("cache_dir", None)
    if cache_dir is not None:
        names = {"preparation", "picks", "sfreq", "atlas", "src", "subjects_dir"} & set(calls)
        inst = prepare(
            inputs.paths,
            **{name: calls.pop(name) for name in names},
            reject_by_annotation=calls.get("reject_by_annotation", True),
            cache_dir=cache_dir,
            n_jobs=calls.get("n_jobs"),
        )
    selection = select_n_states()(inst, **calls)
    text = str(selection.recommend())
    write_table(outputs, TABLE, [selection.to_data_frame()])
    with outputs.writing(FIGURE) as path:
        _save_figure(selection.plot(show=False), path)
    with outputs.writing(TEXT) as path:
        path.write_text(f"{text}\n", encoding="utf-8")
    return f"{text}\nWritten to {folder}"


def _save_figure(fig, path):
    import matplotlib.pyplot as plt

    fig.savefig(path, dpi=120)
    plt.close(fig)
