"""``mne-hmm select``: how many states recordings support."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..validation.select import select_n_states
from .config import parameters_of
from .fit import prepare_call, prepared_in_folder
from .inputs import Inputs
from .outputs import RUN, Outputs, check_tables, write_table
from .run_file import write_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE, FIGURE, TEXT = "selection.tsv", "selection.png", "recommendation.txt"
# Arguments that change where and how fast something is done.
PLACE_ARGUMENTS = ("cache_dir", "checkpoint_dir", "n_jobs")


def default_arguments() -> dict[str, Any]:
    """Get the arguments of select with their defaults."""
    return {**parameters_of(select_n_states), "cache_dir": None}


def run_select(
    inputs: Inputs, folder: Path, changes: Mapping[str, Any], *, overwrite: bool = False
) -> str:
    """Compare numbers of states and write the table, a figure and the recommendation."""
    check_tables()
    outputs = Outputs(folder, [TABLE, FIGURE, TEXT, RUN], command="select", overwrite=overwrite)
    arguments = {**default_arguments(), **changes}
    arguments["n_states"] = list(arguments["n_states"])
    call = prepare_call(inputs, arguments, PLACE_ARGUMENTS)
    where, calls, inst = call.where, call.calls, inputs.inst
    if where["cache_dir"] is not None:
        # n_jobs is that of the fits.
        inst = prepared_in_folder(inputs, calls, {**where, "n_jobs": None})
    selection = select_n_states(
        inst, **calls, **{name: where[name] for name in PLACE_ARGUMENTS if name != "cache_dir"}
    )
    text = str(selection.recommend())
    write_table(outputs, TABLE, [selection.to_data_frame()])
    with outputs.writing(FIGURE) as path:
        _save_figure(selection.plot(show=False), path)
    with outputs.writing(TEXT) as path:
        path.write_text(f"{text}\n", encoding="utf-8")
    write_run(
        outputs,
        "select",
        arguments=call.arguments,
        inputs=call.content,
        names=inputs.names,
        others=call.others,
        results={},
    )
    return f"{text}\nWritten to {folder}"


def _save_figure(fig: "Figure", path: Path) -> None:
    import matplotlib.pyplot as plt

    fig.savefig(path, dpi=120)
    plt.close(fig)
