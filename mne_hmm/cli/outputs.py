"""Files that commands leave: checked before any work, whole or not there, the same every time."""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mne.utils import logger

from .._utils.checks import import_extra, listed
from .._utils.files import written_atomically
from ..model.hmm import HMM
from ..states.time_course import StateTimeCourse
from ..statistics.tables import summarize_recordings, summarize_states
from .inputs import Inputs, digest

if TYPE_CHECKING:
    import mne
    import pandas as pd

RUN = "run.json"
MODEL = "hmm.h5"
RECORDINGS, STATES = "recordings.tsv", "states.tsv"
TABLES = (RECORDINGS, STATES)


class Outputs:
    """A folder that a command writes to."""

    def __init__(
        self, folder: Path, names: Sequence[str], *, command: str, overwrite: bool = False
    ):
        self.folder = folder
        self.written: list[str] = []
        check_place(folder)
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"--output {folder} is a file; name a folder")
        existing = [name for name in names if (folder / name).exists()]
        if existing and not overwrite:
            raise FileExistsError(
                f"{folder} holds {listed(existing)} already; pass --overwrite to replace them, or "
                "name another folder with --output"
            )
        written_by = _command_of(folder / RUN) if RUN in names else None
        if written_by not in (None, command):
            raise FileExistsError(
                f"{folder} holds what mne-hmm {written_by} left, which {RUN} describes; name "
                "another folder with --output"
            )

    @contextlib.contextmanager
    def writing(self, name: str, *, compared: bool = True) -> Iterator[Path]:
        """Yield a temporary file that becomes one of the folder's when all went well."""
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        with written_atomically(self.folder / name) as path:
            yield path
        if compared:
            self.written.append(name)
        logger.info(f"Wrote {self.folder / name}")

    def content(self) -> list[dict[str, Any]]:
        """List name, size and SHA-256 hash of every file that comes out the same again."""
        return [{**digest(self.folder / name), "path": name} for name in sorted(self.written)]


class ResultOutputs(Outputs):
    """A folder that fit or apply writes to."""

    def __init__(self, folder: Path, inputs: Inputs, *, command: str, overwrite: bool = False):
        self.is_fit = command == "fit"
        self.recordings = inputs.names
        super().__init__(folder, self.expected(), command=command, overwrite=overwrite)

    def expected(self) -> list[str]:
        """Name all files that may be written."""
        names = [annotations_file(name) for name in self.recordings]
        if not self.is_fit:
            names += [probabilities_file(name) for name in self.recordings]
        return [*([MODEL] if self.is_fit else []), *names, *TABLES, RUN]

    def write_model(self, hmm: HMM) -> None:
        """Write the model, if it is new."""
        if self.is_fit:
            with self.writing(MODEL) as path:
                hmm.save(path, overwrite=True)

    def write_recording(self, i_recording: int, course: StateTimeCourse) -> None:
        """Write the states of a recording."""
        name = self.recordings[i_recording]
        try:
            annotations = course.to_annotations()
        except ValueError as error:  # epochs overlap
            logger.warning(f"No annotations of {name}: {error}")
        else:
            with self.writing(annotations_file(name)) as path:
                _write_annotations(path, annotations)
        if not self.is_fit:
            with self.writing(probabilities_file(name)) as path:
                _write_probabilities(path, course)


def check_place(path: Path) -> None:
    """Check that files may be made in a folder, or in the folders it will lie in."""
    parent = path
    while not parent.exists():
        parent = parent.absolute().parent
    if parent.is_dir() and not os.access(parent, os.W_OK):
        raise PermissionError(f"{parent} cannot be written to; name another folder with --output")
    if parent != path and not parent.is_dir():
        raise NotADirectoryError(f"{parent} is a file, so {path} cannot be made; name another")


def _command_of(path: Path) -> str | None:
    """Name the command that wrote a file of a run; None if there is none, or it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["command"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_tables() -> None:
    """Check, before any work, that tables can be written."""
    import_extra("pandas", "cli", "for tables of statistics")


def annotations_file(name: str) -> str:
    """Name of the file with a recording's states, which :func:`mne.read_annotations` reads."""
    return f"{name}-annot.txt"


def probabilities_file(name: str) -> str:
    """Name of the file with a recording's state probabilities."""
    return f"{name}-states.npz"


def check_state_names(names: Iterable[str]) -> None:
    """Check that a file of annotations can hold the names of states."""
    wrong = [name for name in names if set(name) & set(",#\n\r")]
    if wrong:
        raise ValueError(
            f"states named {listed(map(repr, wrong))} cannot be written to files of annotations, "
            "which have commas between columns; rename them with hmm.rename_states"
        )


def write_states(outputs: ResultOutputs, states: Iterable[tuple[str, StateTimeCourse]]) -> None:
    """Write the states of recordings, one after another, and their tables."""
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for i_recording, (name, course) in enumerate(states):
        outputs.write_recording(i_recording, course)
        tables[RECORDINGS].append(summarize_recordings([course], names=[name]))
        tables[STATES].append(summarize_states([course], names=[name]))
    for fname, frames in tables.items():
        write_table(outputs, fname, frames)


def _write_annotations(path: Path, annotations: "mne.Annotations") -> None:
    """Write annotations as text that MNE-Python reads."""
    annotations.save(path, overwrite=True, verbose="ERROR")
    if annotations.orig_time is not None:
        # MNE-Python 1.13 leaves out zero microseconds, and then does not read the date.
        date = annotations.orig_time.replace(tzinfo=None)
        whole = f"# orig_time : {date.isoformat(' ', 'microseconds')}\n"
        text = path.read_text(encoding="utf-8").replace(f"# orig_time : {date}\n", whole, 1)
        path.write_text(text, encoding="utf-8")


def write_table(outputs: Outputs, fname: str, frames: Sequence["pd.DataFrame"]) -> None:
    """Write tables, one below the other, as one with tabs between columns."""
    import pandas

    with outputs.writing(fname) as path:
        pandas.concat(frames, ignore_index=True).to_csv(
            path, sep="\t", index=False, na_rep="n/a", lineterminator="\n"
        )


def _write_probabilities(path: Path, course: StateTimeCourse) -> None:
    """Write probabilities with what it takes to place them in time; zip files bear no date."""
    meas_date = course.timeline.meas_date
    np.savez_compressed(
        path,
        probabilities=course.probabilities.astype(np.float32),
        labels=course.labels,
        state_names=np.array(course.state_names),
        sfreq=course.timeline.sfreq,
        first_samp=course.timeline.first_samp,
        meas_date="" if meas_date is None else meas_date.isoformat(),
    )
