"""``mne-hmm report``: a page on what fit or apply left in a folder."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..io.file_search import is_prepared_folder
from ..io.parcel_inputs import AtlasArguments, with_parcels
from ..model.bids_derivatives import REPORT as BIDS_REPORT
from ..model.hmm import read_hmm
from .apply import model_in
from .inputs import inputs_of, is_of_bids
from .outputs import Outputs
from .run_file import check_unchanged, read_run

REPORT = "report.html"


def run_report(
    path: Path, folder: Path | None, changes: Mapping[str, Any], *, overwrite: bool = False
) -> str:
    """Write a report of the model and recordings of a run."""
    run = read_run(path)
    name = BIDS_REPORT if is_of_bids(run) else REPORT
    outputs = Outputs(folder or run["folder"], [name], command="report", overwrite=overwrite)
    arguments, options = run["arguments"], dict(changes)
    if is_prepared_folder(Path(run["inputs"][0]["path"])):
        raise ValueError(
            f"the run in {run['folder']} began with prepared data, of which a report cannot show "
            "signals and spectra; apply the model to the recordings first (mne-hmm apply), and "
            "report on that"
        )
    check_unchanged(run)
    hmm = read_hmm(arguments.get("model", model_in(run["folder"])))
    atlas = AtlasArguments(*(arguments.get(name) for name in AtlasArguments._fields))
    inst = inputs_of(run).inst
    if atlas.atlas is not None:
        inst = with_parcels(inst, atlas, n_jobs=options.get("n_jobs"))
    reading = {name: arguments[name] for name in ("reject_by_annotation", "sfreq")}
    states = hmm.predict(
        inst,
        method=arguments.get("method", "posterior"),
        group=arguments.get("group"),
        align_on=arguments.get("align_on"),
        n_jobs=options.get("n_jobs"),
        **reading,
    )
    report = hmm.report(inst, states=states, names=run["names"], **reading, **options)
    with outputs.writing(name) as fname:
        report.save(fname, overwrite=True, open_browser=False, verbose="ERROR")
        _remove_date(fname)
    return f"Wrote {outputs.folder / name}"


def _remove_date(fname: Path) -> None:
    """Take out the time of day that MNE-Python notes at the end, so that pages can be compared."""
    text = fname.read_text(encoding="utf-8")
    end = text.rfind("Created on ")
    text = text[:end] + re.sub(r"^Created on [-\d]+ [:\d]+ via", "Created via", text[end:])
    fname.write_text(text, encoding="utf-8")
