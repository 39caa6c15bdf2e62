"""A journal of training on disk, so that a run that was cut off goes on where it was.

Training is a fixed sequence of named steps. The journal keeps the result of each finished step and
the newest states of the one under way. To resume is to train again from the beginning: what is
in the journal is not computed again.

Every file is written whole or not at all and begins with a checksum of the rest, so that damage
is noticed and the state before it is taken. `tf.train.Checkpoint` has no such way back from
a damaged file, and holds variables rather than the lists and numbers of a history.
"""

import hashlib
import io
import json
import os
import re
import secrets
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, TypeAlias

import numpy as np

from ..._utils.arrays import row_blocks

# What must be the same for a training to go on.
Facts: TypeAlias = "dict[str, str | int | float | bool | None]"

FORMAT_VERSION = 1
FACTS = "facts.journal"
MAGIC = b"mne_hmm journal"

# Rows that are copied at once where an array does not lie in memory as it is hashed.
HASHED_ROWS = 2**16


class Journal:
    """A training on disk: its finished steps, and the state of the one under way."""

    def __init__(
        self,
        directory: Path,
        facts: Facts,
        *,
        keep: int = 3,
        seconds: float = 1.0,
    ):
        self.directory = Path(directory)
        self.keep = keep
        self.seconds = seconds
        self._written = -np.inf
        self._open({"format": FORMAT_VERSION, **facts})

    def _open(self, facts: Facts) -> None:
        name = f"checkpoint_dir={str(self.directory)!r}"
        if not self.directory.parent.is_dir():
            raise FileNotFoundError(
                f"{name}: there is no folder {self.directory.parent}; make it first"
            )
        if self.directory.exists() and not self.directory.is_dir():
            raise NotADirectoryError(f"{name} is a file; give a folder")
        self.directory.mkdir(exist_ok=True)
        path = self.directory / FACTS
        if not path.exists():
            # A journal that was cut off while its very first file was written leaves a part of it.
            foreign = [p.name for p in self.directory.iterdir() if not p.name.startswith(FACTS)]
            if foreign:
                raise FileExistsError(
                    f"{name} holds other files ({', '.join(sorted(foreign)[:3])}) and no "
                    "checkpoint; give a new or empty folder"
                )
            _write(path, facts)
        try:
            written = _read(path)
        except _DamagedError as error:
            raise ValueError(
                f"{name}: its file {FACTS} {error}; give another checkpoint_dir, or delete this "
                "folder to start anew"
            ) from error
        self._compare(written, facts, name)

    @staticmethod
    def _compare(written: Facts, facts: Facts, name: str) -> None:
        """Refuse a journal of another training, and say what differs."""
        names = [*facts, *(fact for fact in written if fact not in facts)]
        there, here = (
            [repr(source[fact]) if fact in source else "nothing" for fact in names]
            for source in (written, facts)
        )
        differing = [
            f"{fact} ({was} there, {now} now)"
            for fact, was, now in zip(names, there, here, strict=True)
            if was != now
        ]
        if differing:
            raise ValueError(
                f"{name} holds another training, which differs in {', '.join(differing)}; give "
                "another checkpoint_dir, or delete this folder to start anew"
            )

    def result(self, step: str) -> dict[str, Any] | None:
        """Get what a step came to."""
        return _first_intact([self._result_path(step)], "the step is computed again")

    def finish(self, step: str, content: dict[str, Any]) -> None:
        """Write the result of a step, and delete its states."""
        path = self._result_path(step)
        _write(path, content)
        # Parts of files that were cut off go with the states.
        for other in self.directory.glob(f"{_stem(step)}.*"):
            if other != path:
                other.unlink(missing_ok=True)

    def state(self, step: str) -> dict[str, Any] | None:
        """Get the newest state of a step that is not damaged."""
        return _first_intact(self._states(step), "an earlier state is taken, if there is one")

    def update(self, step: str, content: dict[str, Any], *, force: bool = False) -> None:
        """Keep the state of a step, if the last one was written long enough ago."""
        if not force and monotonic() - self._written < self.seconds:
            return
        earlier = self._states(step)
        index = 1 + (int(earlier[0].suffixes[-2][1:]) if earlier else 0)
        _write(self.directory / f"{_stem(step)}.{index:06d}.state", content)
        for path in earlier[self.keep - 1 :]:
            path.unlink(missing_ok=True)
        self._written = monotonic()  # after the work, so that a slow disk does not fill all time

    def _result_path(self, step: str) -> Path:
        return self.directory / f"{_stem(step)}.result"

    def _states(self, step: str) -> list[Path]:
        """Files of the states of a step, newest first."""
        paths = self.directory.glob(f"{_stem(step)}.*.state")
        return sorted(paths, key=lambda path: int(path.suffixes[-2][1:]), reverse=True)


class NoJournal:
    """A journal that keeps nothing, for training without one."""

    def result(self, step: str) -> dict[str, Any] | None:
        """Find no result."""
        return None

    def finish(self, step: str, content: dict[str, Any]) -> None:
        """Forget the result."""

    def state(self, step: str) -> dict[str, Any] | None:
        """Find no state."""
        return None

    def update(self, step: str, content: dict[str, Any], *, force: bool = False) -> None:
        """Forget the state."""


def content_hash(arrays: Iterable[np.ndarray], lengths: Iterable[Sequence[int]]) -> str:
    """Compute a checksum of data, whatever way they lie in memory.

    Shapes: ``arrays`` (n_samples, n_features).
    """
    total = hashlib.sha256()
    for array, of_recording in zip(arrays, lengths, strict=True):
        head = [list(array.shape), [int(length) for length in of_recording]]
        total.update(json.dumps(head).encode())
        for rows in row_blocks(len(array), HASHED_ROWS):
            total.update(np.ascontiguousarray(array[rows], "<f4").data)
    return total.hexdigest()


# Names of files


def _stem(step: str) -> str:
    """Begin the names of a step's files, readably and differently for each step."""
    words = re.sub("[^a-z0-9]+", "-", step.lower()).strip("-")
    return f"{words[:40]}-{hashlib.sha256(step.encode()).hexdigest()[:8]}"


# One file: a line with the checksum of the rest, a line of JSON, then the arrays it names


class _DamagedError(Exception):
    """A file that is damaged, and in what way."""


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write a file whole or not at all, and see that it is on the disk."""
    payload = to_bytes(content)
    head = b"%s %s\n" % (MAGIC, hashlib.sha256(payload).hexdigest().encode())
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(head)
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise type(error)(
            f"The checkpoint {path} cannot be written ({error.strerror or error}); make room, or "
            "see to the rights of checkpoint_dir, and make the same call again: it goes on from "
            "what is whole there"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    """Read a file, or say what is wrong with it."""
    try:
        head, _, payload = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise _DamagedError(f"cannot be read ({error})") from error
    if head != b"%s %s" % (MAGIC, hashlib.sha256(payload).hexdigest().encode()):
        raise _DamagedError("is cut off or damaged: its checksum is wrong")
    return from_bytes(payload)


def _first_intact(paths: Iterable[Path], way_out: str) -> dict[str, Any] | None:
    """Content of the first file that can be read, with a warning for each that cannot."""
    for path in paths:
        if not path.exists():
            continue
        try:
            return _read(path)
        except _DamagedError as error:
            message = f"The checkpoint {path} {error}; {way_out}."
            warnings.warn(message, RuntimeWarning, stacklevel=3)
    return None


# JSON has dictionaries of strings, lists, and these. Arrays follow in NumPy's own format,
# and stand in the JSON by their number. A dictionary is wrapped, so that none is mistaken for
# an array.
_PLAIN = (str, int, float, bool, type(None))


def to_bytes(content: dict[str, Any]) -> bytes:
    """Get content as bytes: a line of JSON, then the arrays it names."""
    arrays: list[np.ndarray] = []
    tree = json.dumps(_to_tree(content, "content", arrays))
    out = io.BytesIO()
    out.write(tree.encode() + b"\n")
    for array in arrays:
        np.lib.format.write_array(out, array, allow_pickle=False)
    return out.getvalue()


def _to_tree(value: Any, where: str, arrays: list[np.ndarray]) -> Any:
    """Get content as JSON has it, and append its arrays to a list."""
    if type(value) in _PLAIN:
        return value
    if type(value) is list:
        return [_to_tree(item, f"{where}[{i}]", arrays) for i, item in enumerate(value)]
    if type(value) is dict and all(type(key) is str for key in value):
        return {"dict": {key: _to_tree(v, f"{where}[{key!r}]", arrays) for key, v in value.items()}}
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufc":
        arrays.append(np.asarray(value))
        return {"array" if isinstance(value, np.ndarray) else "scalar": len(arrays) - 1}
    raise TypeError(
        f"{where} must be an array of numbers, a number, a string, a boolean, None, or a list or "
        f"dictionary (by strings) of these, got {value!r} of type {type(value).__name__}"
    )


def from_bytes(payload: bytes) -> dict[str, Any]:
    """Undo `to_bytes`."""
    source = io.BytesIO(payload)
    tree = json.loads(source.readline())
    arrays = []
    while source.tell() < len(payload):
        arrays.append(np.lib.format.read_array(source, allow_pickle=False))
    return _from_tree(tree, arrays)


def _from_tree(tree: Any, arrays: list[np.ndarray]) -> Any:
    """Undo `_to_tree`."""
    if isinstance(tree, list):
        return [_from_tree(item, arrays) for item in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, value),) = tree.items()
    if kind == "dict":
        return {key: _from_tree(item, arrays) for key, item in value.items()}
    return arrays[value] if kind == "array" else arrays[value][()]
