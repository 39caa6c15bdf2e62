"""``mne-hmm info``: what a file or a folder is."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .._utils.checks import listed, plural
from ..io.file_search import is_prepared_folder
from ..io.inputs import to_recordings
from ..model.hmm import HMM, read_hmm
from ..preparation.cache import read_prepared
from .inputs import digest
from .outputs import RUN
from .run_file import read_run


def run_info(path: Path, *, sfreq: float | None = None) -> str:
    """Describe a file or a folder."""
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}; check it (working folder: {Path.cwd()})")
    if is_prepared_folder(path):
        return _describe(path, "folder of prepared data", str(read_prepared(path)))
    if path.suffix == ".json" or (path / RUN).is_file():
        return _describe(path, "run", _describe_run(read_run(path)))
    if path.is_file() and h5py.is_hdf5(path) and path.suffix in (".h5", ".hdf5"):
        return _describe(path, "model", _describe_model(read_hmm(path)))
    return _describe(path, "recording", _describe_recordings(path, sfreq))


def _describe(path: Path, kind: str, text: str) -> str:
    return f"{path}: {kind}\n{text}"


def _rows(pairs: Iterable[tuple[str, Any]]) -> str:
    return "\n".join(f"  {name:14s} {value}" for name, value in pairs)


def _describe_model(hmm: HMM) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in hmm.versions.items())
    rows = [("seed", hmm.random_state), ("trained with", versions)]
    return f"{hmm}\n{_rows(rows)}"


def _describe_run(run: dict[str, Any]) -> str:
    files = [file for entry in run["inputs"] for file in entry["files"]]
    size = sum(file["size"] for file in files)
    changed = [
        file["path"]
        for file in run["outputs"]
        if not (run["folder"] / file["path"]).is_file()
        or digest(run["folder"] / file["path"])["sha256"] != file["sha256"]
    ]
    rows = [
        ("command", run["command"]),
        ("recordings", f"{plural(len(run['names']), 'recording')} ({listed(run['names'])})"),
        ("files", f"{plural(len(files), 'file')}, {size / 1e6:,.1f} MB"),
        *((name, value) for name, value in run["arguments"].items()),
        *((name, value) for name, value in run["results"].items()),
        *((name, value) for name, value in run["environment"].items() if value is not None),
        ("outputs", plural(len(run["outputs"]), "file")),
        ("changed since", listed(changed) if changed else "none"),
    ]
    return _rows(rows)


def _describe_recordings(path: Path, sfreq: float | None) -> str:
    blocks = []
    for recording in to_recordings(str(path), sfreq=sfreq):
        timeline, raw = recording.timeline, recording.raw
        kinds, counts = np.unique(raw.get_channel_types(), return_counts=True)
        seconds = timeline.n_times / timeline.sfreq
        good = sum(stop - start for start, stop in recording.spans) / timeline.sfreq
        rows = [
            (
                "channels",
                ", ".join(f"{n} {kind}" for n, kind in zip(counts, kinds, strict=True)),
            ),
            ("used", f"{len(recording.ch_names)} ({listed(recording.ch_names)})"),
            ("marked as bad", listed(raw.info["bads"]) or "none"),
            ("sampling rate", f"{timeline.sfreq:g} Hz"),
            ("duration", f"{seconds:,.1f} s ({timeline.n_times:,} samples)"),
            ("good spans", f"{plural(len(recording.spans), 'span')}, {good:,.1f} s"),
        ]
        blocks.append(f"{recording.label[0].upper()}{recording.label[1:]}\n{_rows(rows)}")
    return "\n".join(blocks)
