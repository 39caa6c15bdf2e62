"""``mne-hmm info``: what a file or a folder is."""

from pathlib import Path

import h5py
import numpy as np

from .._utils.checks import listed, plural
from ..io.file_search import is_prepared_folder
from ..io.inputs import to_recordings
from ..model.hmm import read_hmm
from ..preparation.cache import read_prepared
from .inputs import digest
from .outputs import RUN
from .run_file import read_run


def run_info(path: Path, *, sfreq: float | None = None) -> str:
    """Tell what a file or a folder is."""
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}; check it (working folder: {Path.cwd()})")
    if is_prepared_folder(path):
        return _lines(path, "folder of prepared data", str(read_prepared(path)))
    if path.suffix == ".json" or (path / RUN).is_file():
        return _lines(path, "run", _run(read_run(path)))
    if path.is_file() and h5py.is_hdf5(path) and path.suffix in (".h5", ".hdf5"):
        return _lines(path, "model", _model(read_hmm(path)))
    return _lines(path, "recording", _recordings(path, sfreq))


def _lines(path, kind, text):
    return f"{path}: {kind}\n{text}"


def _rows(pairs):
    return "\n".join(f"  {name:14s} {value}" for name, value in pairs)


def _model(hmm):
    versions = ", ".join(f"{name} {value}" for name, value in hmm.versions.items())
    rows = [("seed", hmm.random_state), ("trained with", versions)]
    return f"{hmm}\n{_rows(rows)}"


def _run(run):
    files = [file for one in run["inputs"] for file in one["files"]]
    size = sum(file["size"] for file in files)
    wrong = [
        one["path"]
        for one in run["outputs"]
        if not (run["folder"] / one["path"]).is_file()
        or digest(run["folder"] / one["path"])["sha256"] != one["sha256"]
    ]
    rows = [
        ("command", run["command"]),
        ("recordings", f"{plural(len(run['names']), 'recording')} ({listed(run['names'])})"),
        ("files", f"{plural(len(files), 'file')}, {size / 1e6:,.1f} MB"),
        *((name, value) for name, value in run["arguments"].items()),
        *((name, value) for name, value in run["results"].items()),
        *((name, value) for name, value in run["environment"].items() if value is not None),
        ("outputs", plural(len(run["outputs"]), "file")),
        ("changed since", listed(wrong) if wrong else "none"),
    ]
    return _rows(rows)


def _recordings(path, sfreq):
    blocks = []
    for one in to_recordings(str(path), sfreq=sfreq):
        timeline, raw = one.timeline, one.raw
        kinds, counts = np.unique(raw.get_channel_types(), return_counts=True)
        seconds = timeline.n_times / timeline.sfreq
        good = sum(stop - start for start, stop in one.spans) / timeline.sfreq
        rows = [
            (
                "channels",
                ", ".join(f"{n} {kind}" for n, kind in zip(counts, kinds, strict=True)),
            ),
            ("used", f"{len(one.ch_names)} ({listed(one.ch_names)})"),
            ("marked as bad", listed(raw.info["bads"]) or "none"),
            ("sampling rate", f"{timeline.sfreq:g} Hz"),
            ("duration", f"{seconds:,.1f} s ({timeline.n_times:,} samples)"),
            ("good spans", f"{plural(len(one.spans), 'span')}, {good:,.1f} s"),
        ]
        blocks.append(f"{one.label[0].upper()}{one.label[1:]}\n{_rows(rows)}")
    return "\n".join(blocks)
