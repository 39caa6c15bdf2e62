"""A folder of prepared data: features in shards, an index, and the fitted preparation.

The folder is filled recording by recording. Files appear whole or not at all, and the index
names only files that are whole, so that a call that was interrupted goes on where it stopped.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from .._utils.checks import listed, plural
from .._utils.files import cannot_be_written, check_path, written_atomically
from .._utils.hdf5 import read_model_file, write_model_file
from .._utils.locks import lock_held
from ..io.epochs import EpochGrid
from ..io.file_search import PREPARED_FORMAT, PREPARED_INDEX
from ..io.timeline import Span, Timeline, TimeMap
from .cache_key import differences
from .covariance_alignment import Alignment, Scatter
from .embedding import LaggedMoments
from .features import LeftOut
from .prepared_data import PreparedData
from .settings import FittedPreparation, preparation_content, preparation_from

PREPARATION = "preparation.h5"
PRODUCTS = "products.npz"
MOMENTS = "moments-{:05d}.npz"
ALIGNMENT = "alignment-{:05d}.npy"
SHARD = "recording-{:05d}.tfrecord"
# Taken by the one call that fills the folder.
LOCK = ".lock"
FORMAT_VERSION = 1
CHECKSUM = "sha256"
WAY_OUT = (
    "make room, or see to the rights of cache_dir, and call prepare again with the same "
    "arguments: what is whole there is kept"
)


class Folder:
    """A folder that is being filled, or is full."""

    def __init__(self, path: Path, content: dict[str, Any]):
        self.path = path
        self.content = content

    # What is there

    @property
    def entries(self) -> list[dict[str, Any]]:
        """What the index knows of each recording."""
        return self.content["recordings"]

    @property
    def left_out(self) -> list[LeftOut]:
        """What is to be told of the recordings that were read."""
        return [LeftOut(*entry["left_out"]) for entry in self.entries if entry["left_out"]]

    def preparation(self) -> FittedPreparation | None:
        """Read the fitted preparation; None where there is none yet."""
        known = self.content["preparation"]
        if known is None:
            return None
        path = self.path / PREPARATION
        try:
            if _digest(path) != known["sha256"]:
                raise OSError("it holds other data than were written to it")
            content = read_model_file(path, PREPARED_FORMAT, FORMAT_VERSION)
        except OSError as error:
            raise OSError(
                f"{path}, the fitted preparation, cannot be read ({error}); delete the folder "
                f"{self.path} and call prepare again"
            ) from error
        return preparation_from(content["preparation"])

    def shards(self) -> list[Any]:
        """List what is known of each recording's shard; None where it was not written yet."""
        from ..engine import Shard

        return [
            entry["shard"]
            and Shard(
                str(self.path / entry["shard"]["file"]),
                entry["name"],
                entry["shard"]["size"],
                entry["shard"]["n_samples"],
                entry["shard"]["rows_sha256"],
            )
            for entry in self.entries
        ]

    def missing(self) -> list[int]:
        """List the recordings whose shards were not written yet, or are not whole."""
        preparation = self.preparation()
        aligns = preparation is not None and preparation.aligns
        return [
            i
            for i, shard in enumerate(self.shards())
            if shard is None or shard.fault() or (aligns and self.alignment(i) is None)
        ]

    def products(self) -> tuple[int, Any]:
        """Read how many recordings' products were added up, and their sum."""
        try:
            # NumPy leaves files open that it cannot read.
            with (
                (self.path / PRODUCTS).open("rb") as file,
                np.load(file, allow_pickle=False) as content,
            ):
                return int(content["n_recordings"]), content["products"]
        except Exception:  # there is none, or it is damaged, of which NumPy tells in many ways
            return 0, None

    def has_moments(self, index: int) -> bool:
        """Tell whether what alignment and components need to know of a recording is there."""
        try:
            self.scatter(index)
        except Exception:  # there is none, or it is damaged, of which NumPy tells in many ways
            return False
        return True

    def scatter(self, index: int) -> Scatter:
        """Read what alignment needs to know of a recording."""
        with self._moments(index) as file:
            return Scatter(int(file["n_samples"]), file["scatter"])

    def moments(self, index: int) -> LaggedMoments:
        """Read what components need to know of a recording."""
        with self._moments(index) as file:
            return LaggedMoments(*(file[name] for name in LaggedMoments._fields))

    @contextlib.contextmanager
    def _moments(self, index):
        # NumPy leaves files open that are damaged, if it opens them itself.
        with (self.path / MOMENTS.format(index)).open("rb") as file:
            yield np.load(file, allow_pickle=False)

    def alignment(self, index: int) -> Alignment | None:
        """Read the map of a recording; None if there is none, or it is not whole."""
        known = self.entries[index].get("alignment")
        path = self.path / ALIGNMENT.format(index)
        if known is None or not path.is_file() or _digest(path) != known["sha256"]:
            return None
        return Alignment.from_content(np.load(path, allow_pickle=False))

    # What is added

    def keep_moments(
        self, index: int, scatter: Scatter, moments: LaggedMoments | None, left_out: LeftOut
    ) -> None:
        """Keep what alignment and components need to know of a recording."""
        self.entries[index]["left_out"] = left_out
        self.write_index()
        arrays = {} if moments is None else moments._asdict()
        with _written(self.path / MOMENTS.format(index)) as path:
            np.savez(path, n_samples=scatter.n_samples, scatter=scatter.values, **arrays)

    def keep_alignment(self, index: int, alignment: Alignment) -> None:
        """Keep the map of a recording."""
        target = self.path / ALIGNMENT.format(index)
        with _written(target) as path:
            np.save(path, alignment.content())
        self.entries[index]["alignment"] = {"sha256": _digest(target)}
        self.write_index()

    def keep_products(self, n_recordings: int, products: np.ndarray, left_out: LeftOut) -> None:
        """Keep the sum of the first recordings' products, and what is to be told of the last."""
        self.entries[n_recordings - 1]["left_out"] = left_out
        self.write_index()
        with _written(self.path / PRODUCTS) as path:
            np.savez(path, n_recordings=n_recordings, products=products)

    def keep_preparation(self, preparation: FittedPreparation) -> None:
        """Keep the fitted preparation; the products have done their service."""
        path = self.path / PREPARATION
        content = {
            "format_version": FORMAT_VERSION,
            "preparation": preparation_content(preparation),
        }
        write_model_file(path, content, PREPARED_FORMAT, way_out=WAY_OUT)
        self.content["preparation"] = {"file": PREPARATION, "sha256": _digest(path)}
        self.content["n_features"] = preparation.n_features_
        self.write_index()
        self.drop_products()

    def drop_products(self) -> None:
        """Delete products, and what was kept to make them."""
        for path in (self.path / PRODUCTS, *self.path.glob(MOMENTS.replace("{:05d}", "*"))):
            if path.exists():  # where nobody may write nothing can be deleted
                path.unlink()

    def forget(self) -> None:
        """Leave the folder to other calls: this one has failed, and would again."""
        self.drop_products()
        for entry in self.entries:
            entry["left_out"] = None
        self.write_index()

    def keep_features(
        self, index: int, features: np.ndarray, time_map: TimeMap, left_out: LeftOut
    ) -> None:
        """Write the shard of one recording, and enter it in the index."""
        from ..engine import rows_digest, write_shard

        path = self.path / SHARD.format(index)
        with _written(path) as temporary:
            write_shard(str(temporary), features)
        self.entries[index]["left_out"] = left_out
        self.entries[index]["shard"] = {
            "file": path.name,
            "size": path.stat().st_size,
            "rows_sha256": rows_digest(features),
            "n_samples": features.shape[0],
            "n_features": features.shape[1],
            "time_map": _time_map_content(time_map),
        }
        self.write_index()

    def write_index(self) -> None:
        """Write the index anew."""
        with _written(self.path / PREPARED_INDEX) as path:
            self.content["format_version"] = FORMAT_VERSION
            # Plain values only, so that those that are read have the same checksum.
            plain = json.loads(json.dumps(self.content, default=_plain))
            text = json.dumps({CHECKSUM: _checksum(plain), **plain})
            path.write_text(text, encoding="utf-8")

    # What comes out

    def prepared(self) -> PreparedData:
        """Give what is in the folder, without reading the features."""
        from ..engine import Shards

        shards = self.shards()
        n_there = sum(shard is not None for shard in shards)
        preparation = self.preparation()
        if preparation is None or n_there < len(shards):
            raise OSError(
                f"{self.path} is not finished: it holds the features of {n_there} of "
                f"{plural(len(shards), 'recording')}; call prepare again with the same arguments, "
                "which goes on where it stopped"
            )
        faults = [(shard, fault) for shard in shards if (fault := shard.fault())]
        if faults:
            first, fault = faults[0]
            others = [Path(shard.path).name for shard, _ in faults[1:]]
            more = f" (and so for {listed(others)})" if others else ""
            raise OSError(
                f"{first.path}, which holds the features of {first.name}, {fault}{more}; delete "
                "that file if it is there and call prepare again with the same arguments, which "
                "writes it anew"
            )
        alignments = []
        for index, shard in enumerate(shards if preparation.aligns else []):
            alignment = self.alignment(index)
            if alignment is None:
                raise OSError(
                    f"{self.path / ALIGNMENT.format(index)}, the map of {shard.name}, is missing "
                    "or damaged; call prepare again with the same arguments, which writes it anew"
                )
            alignments.append(alignment)
        return PreparedData(
            Shards(shards, self.content["n_features"]),
            preparation,
            [_time_map_from(entry["shard"]["time_map"]) for entry in self.entries],
            [entry["name"] for entry in self.entries],
            alignments,
        )


@contextlib.contextmanager
def opened_to_fill(
    cache_dir: Any, identity: dict[str, Any], names: Sequence[str]
) -> Iterator[Folder]:
    """Open a folder for a call of `prepare`: a new one, or one that this call began.

    Others who want to fill it wait until this one is done.
    """
    path = check_path(cache_dir, "cache_dir")
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(
            f"cache_dir={str(path)!r} must be a folder, but it is a file; name another"
        )
    with _told_of(path):
        path.mkdir(parents=True, exist_ok=True)
    busy = f"cache_dir={str(path)!r} is being filled by another process"
    with lock_held(path / LOCK, busy=busy, wait=True):
        yield _opened(path, identity, names)


def _opened(path, identity, names):
    """Open a folder that nobody else fills."""
    with _told_of(path):
        _remove_leftovers(path)
    others = sorted(file.name for file in path.iterdir() if file.name != LOCK)
    if (path / PREPARED_INDEX).exists():
        folder = Folder(path, _read_index(path))
        other = differences(folder.content["call"], identity, names)
        if not other:
            return folder
        if folder.left_out or folder.content["preparation"]:
            raise ValueError(
                f"cache_dir={str(path)!r} holds the features of another call of prepare; what "
                f"differs: {listed(other, 4)}; name another folder, or delete this one"
            )
    elif others:
        raise ValueError(
            f"cache_dir={str(path)!r} holds other files ({listed(others, 3)}); name an empty "
            "folder, or one that does not exist yet"
        )
    folder = Folder(
        path,
        {
            "format": PREPARED_FORMAT,
            "format_version": FORMAT_VERSION,
            "call": identity,
            "preparation": None,
            "n_features": None,
            "recordings": [{"name": name, "left_out": None, "shard": None} for name in names],
        },
    )
    folder.write_index()
    return folder


def read_prepared(path: Any) -> PreparedData:
    """Read what `prepare` left in a folder, without loading the features.

    Parameters
    ----------
    path : path-like
        The folder, ``cache_dir`` of `prepare`.

    Returns
    -------
    prepared : PreparedData
        The features. ``prepared.data`` reads those of a recording when they are asked for.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or it has no index.
    ValueError
        If it was written by a newer version.
    OSError
        If it is not finished, or a file in it is missing or damaged. Damage that sizes do
        not tell of is found when the features are read.

    See Also
    --------
    prepare : Fills the folder.

    Examples
    --------
    >>> import tempfile
    >>> import mne_hmm
    >>> raw, _ = mne_hmm.simulate_raw(n_channels=6, duration=20., random_state=0)
    >>> preparation = mne_hmm.Preparation(n_components=10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = mne_hmm.prepare(raw, preparation, cache_dir=folder, verbose=False)
    ...     mne_hmm.read_prepared(folder).n_samples
    4986
    """
    folder = check_path(path, "path")
    if not folder.exists():
        raise FileNotFoundError(f"path={str(folder)!r}: there is no such folder")
    if not folder.is_dir():
        raise NotADirectoryError(
            f"path={str(folder)!r} must be a folder that prepare(..., cache_dir=...) filled, but "
            "it is a file"
        )
    if not (folder / PREPARED_INDEX).exists():
        raise FileNotFoundError(
            f"path={str(folder)!r} is no folder of prepared data: it has no {PREPARED_INDEX}; such "
            "folders are filled by prepare(..., cache_dir=...)"
        )
    try:
        return Folder(folder, _read_index(folder)).prepared()
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise _damaged_index(folder, error) from error


def _read_index(folder):
    try:
        content = json.loads((folder / PREPARED_INDEX).read_text(encoding="utf-8"))
        checksum = content.pop(CHECKSUM, None)
        if content["format"] != PREPARED_FORMAT:
            raise ValueError(f"format {content['format']!r}")
        version = int(content["format_version"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged_index(folder, error) from error
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{folder} has format {version}, of a newer mne-hmm; this version reads up to format "
            f"{FORMAT_VERSION}: update with pip install -U mne-hmm"
        )
    missing = {"call", "preparation", "n_features", "recordings"} - set(content)
    if missing:
        raise _damaged_index(folder, f"it lacks {listed(sorted(missing))}")
    if checksum != _checksum(content):
        raise _damaged_index(folder, "its checksum is wrong")
    return content


def _damaged_index(folder, why):
    return OSError(
        f"{folder / PREPARED_INDEX} is damaged, or not of mne-hmm ({why!r}); delete the folder and "
        "call prepare again"
    )


@contextlib.contextmanager
def _told_of(path: Path) -> Iterator[None]:
    """Say in an error that something could not be written, and what to do."""
    try:
        yield
    except OSError as error:
        raise cannot_be_written(path, error, WAY_OUT) from error


@contextlib.contextmanager
def _written(fname: Path) -> Iterator[Path]:
    with written_atomically(fname, way_out=WAY_OUT) as path, _told_of(fname):
        yield path


def _remove_leftovers(folder):
    """Delete temporary files of a call that was interrupted."""
    for name in (PREPARED_INDEX, PREPARATION, PRODUCTS, MOMENTS, ALIGNMENT, SHARD):
        stem, suffix = os.path.splitext(name.replace("{:05d}", "?????"))
        for path in folder.glob(f".{stem}-????????{suffix}"):
            path.unlink()


def _checksum(content):
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _plain(number):
    return number.item()  # of NumPy


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _time_map_content(time_map):
    epochs = time_map.timeline.epochs
    timeline = asdict(replace(time_map.timeline, epochs=None))
    del timeline["epochs"]
    if epochs is not None:
        timeline["epochs"] = epochs.content()
    meas_date = timeline["meas_date"]
    timeline["meas_date"] = None if meas_date is None else meas_date.isoformat()
    return {"timeline": timeline, "spans": [astuple(span) for span in time_map.spans]}


def _time_map_from(content):
    timeline = dict(content["timeline"])
    if timeline["meas_date"] is not None:
        timeline["meas_date"] = datetime.fromisoformat(timeline["meas_date"])
    if "epochs" in timeline:
        timeline["epochs"] = EpochGrid.from_content(timeline["epochs"])
    spans = [Span(tuple(rows), tuple(limits), *rest) for rows, limits, *rest in content["spans"]]
    return TimeMap(Timeline(**timeline), tuple(spans))
