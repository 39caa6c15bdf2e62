"""The index of a folder of prepared data: JSON with a checksum, which names what is whole."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, astuple, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from .._utils.checks import listed
from .._utils.files import cannot_be_written, written_atomically
from ..io.epochs import EpochGrid
from ..io.file_search import PREPARED_FORMAT, PREPARED_INDEX
from ..io.timeline import Span, Timeline, TimeMap

FORMAT_VERSION = 1
CHECKSUM = "sha256"
ADVICE_IF_UNWRITABLE = (
    "make room, or see to the rights of cache_dir, and call prepare again with the same "
    "arguments: what is whole there is kept"
)


def read_index(folder: Path) -> dict[str, Any]:
    """Read the index of a folder, and check that it is whole and of a known format."""
    try:
        content = json.loads((folder / PREPARED_INDEX).read_text(encoding="utf-8"))
        expected = content.pop(CHECKSUM, None)
        if content["format"] != PREPARED_FORMAT:
            raise ValueError(f"format {content['format']!r}")
        version = int(content["format_version"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged_index(folder, error) from error
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{folder} has format {version}, of a newer mne-hmm; this version reads up to format "
            f"{FORMAT_VERSION}: update with pip install -U mne-hmm"
        )
    missing = {"call", "preparation", "n_features", "recordings"} - set(content)
    if missing:
        raise damaged_index(folder, f"it lacks {listed(sorted(missing))}")
    if expected != checksum(content):
        raise damaged_index(folder, "its checksum is wrong")
    return content


def damaged_index(folder: Path, why: Exception | str) -> OSError:
    """Make the error for an index that is damaged."""
    return OSError(
        f"{folder / PREPARED_INDEX} is damaged, or not of mne-hmm ({why!r}); delete the folder and "
        "call prepare again"
    )


def write_index(folder: Path, content: dict[str, Any]) -> None:
    """Write the index of a folder anew."""
    with written(folder / PREPARED_INDEX) as path:
        content["format_version"] = FORMAT_VERSION
        # Plain values only, so that those that are read have the same checksum.
        plain = json.loads(json.dumps(content, default=_plain))
        text = json.dumps({CHECKSUM: checksum(plain), **plain})
        path.write_text(text, encoding="utf-8")


def checksum(content: dict[str, Any]) -> str:
    """Hash the content of an index."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _plain(number: np.generic) -> Any:
    """Turn a number of NumPy into one of Python."""
    return number.item()


def time_map_content(time_map: TimeMap) -> dict[str, Any]:
    """Put a time map into the form that the index takes."""
    epochs = time_map.timeline.epochs
    timeline = asdict(replace(time_map.timeline, epochs=None))
    del timeline["epochs"]
    if epochs is not None:
        timeline["epochs"] = epochs.content()
    meas_date = timeline["meas_date"]
    timeline["meas_date"] = None if meas_date is None else meas_date.isoformat()
    return {"timeline": timeline, "spans": [astuple(span) for span in time_map.spans]}


def time_map_from(content: dict[str, Any]) -> TimeMap:
    """Make a time map of what the index holds."""
    timeline = dict(content["timeline"])
    if timeline["meas_date"] is not None:
        timeline["meas_date"] = datetime.fromisoformat(timeline["meas_date"])
    if "epochs" in timeline:
        timeline["epochs"] = EpochGrid.from_content(timeline["epochs"])
    spans = [Span(tuple(rows), tuple(limits), *rest) for rows, limits, *rest in content["spans"]]
    return TimeMap(Timeline(**timeline), tuple(spans))


@contextlib.contextmanager
def report_unwritable(path: Path) -> Iterator[None]:
    """Raise what says which file could not be written, and what to do."""
    try:
        yield
    except OSError as error:
        raise cannot_be_written(path, error, ADVICE_IF_UNWRITABLE) from error


@contextlib.contextmanager
def written(fname: Path) -> Iterator[Path]:
    """Give a temporary file that takes its place in a folder when all went well."""
    with written_atomically(fname, way_out=ADVICE_IF_UNWRITABLE) as path, report_unwritable(fname):
        yield path
