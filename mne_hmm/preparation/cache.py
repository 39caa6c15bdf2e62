"""A folder of prepared data: features in shards, an index, and the fitted preparation.

The folder is filled recording by recording. Files appear whole or not at all, and the index
names only files that are whole, so that a call that was interrupted goes on where it stopped.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.checks import listed, plural
from .._utils.files import check_path
from .._utils.hdf5 import read_model_file, write_model_file
from .._utils.locks import lock_held
from ..io.file_search import PREPARED_FORMAT, PREPARED_INDEX
from ..io.timeline import TimeMap
from .cache_index import (
    ADVICE_IF_UNWRITABLE,
    FORMAT_VERSION,
    damaged_index,
    read_index,
    report_unwritable,
    time_map_content,
    time_map_from,
    write_index,
    written,
)
from .cache_key import differences
from .covariance_alignment import Alignment, Scatter
from .embedding import LaggedMoments
from .features import LeftOut
from .prepared_data import PreparedData
from .settings import FittedPreparation, preparation_content, preparation_from

if TYPE_CHECKING:
    from ..engine import Shard

PREPARATION_FILE = "preparation.h5"
PRODUCTS_FILE = "products.npz"
MOMENTS_FILE = "moments-{:05d}.npz"
ALIGNMENT_FILE = "alignment-{:05d}.npy"
SHARD_FILE = "recording-{:05d}.tfrecord"
FILES = (
    PREPARED_INDEX,
    PREPARATION_FILE,
    PRODUCTS_FILE,
    MOMENTS_FILE,
    ALIGNMENT_FILE,
    SHARD_FILE,
)
# Taken by the one call that fills the folder.
LOCK_FILE = ".lock"


class PreparedFolder:
    """A folder that is being filled, or is full."""

    def __init__(self, path: Path, content: dict[str, Any]):
        self.path = path
        self.content = content

    # What is there

    @property
    def entries(self) -> list[dict[str, Any]]:
        """What the index holds on each recording."""
        return self.content["recordings"]

    @property
    def left_out(self) -> list[LeftOut]:
        """What was left out of the recordings that were read."""
        return [LeftOut(*entry["left_out"]) for entry in self.entries if entry["left_out"]]

    def preparation(self) -> FittedPreparation | None:
        """Read the fitted preparation; None where there is none yet."""
        entry = self.content["preparation"]
        if entry is None:
            return None
        path = self.path / PREPARATION_FILE
        try:
            if _digest(path) != entry["sha256"]:
                raise OSError("it holds other data than were written to it")
            content = read_model_file(path, PREPARED_FORMAT, FORMAT_VERSION)
        except OSError as error:
            raise OSError(
                f"{path}, the fitted preparation, cannot be read ({error}); delete the folder "
                f"{self.path} and call prepare again"
            ) from error
        return preparation_from(content["preparation"])

    def shards(self) -> list["Shard | None"]:
        """Describe the file of each recording's features; None where it was not written yet."""
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
        """List the recordings whose features were not written yet, or are not whole."""
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
                (self.path / PRODUCTS_FILE).open("rb") as file,
                np.load(file, allow_pickle=False) as content,
            ):
                return int(content["n_recordings"]), content["products"]
        except Exception:  # there is none, or it is damaged, which NumPy reports in many ways
            return 0, None

    def has_moments(self, index: int) -> bool:
        """Tell whether what alignment and components need of a recording is there."""
        try:
            self.scatter(index)
        except Exception:  # there is none, or it is damaged, which NumPy reports in many ways
            return False
        return True

    def scatter(self, index: int) -> Scatter:
        """Read what alignment needs of a recording."""
        with self._moments(index) as file:
            return Scatter(int(file["n_samples"]), file["scatter"])

    def moments(self, index: int) -> LaggedMoments:
        """Read what components need of a recording."""
        with self._moments(index) as file:
            return LaggedMoments(*(file[name] for name in LaggedMoments._fields))

    @contextlib.contextmanager
    def _moments(self, index: int) -> Iterator[Any]:
        """Open the file with what alignment and components need of a recording."""
        # NumPy leaves files open that are damaged, if it opens them itself.
        with (self.path / MOMENTS_FILE.format(index)).open("rb") as file:
            yield np.load(file, allow_pickle=False)

    def alignment(self, index: int) -> Alignment | None:
        """Read the map of a recording; None if there is none, or it is not whole."""
        entry = self.entries[index].get("alignment")
        path = self.path / ALIGNMENT_FILE.format(index)
        if entry is None or not path.is_file() or _digest(path) != entry["sha256"]:
            return None
        return Alignment.from_content(np.load(path, allow_pickle=False))

    # What is added

    def keep_moments(
        self, index: int, scatter: Scatter, moments: LaggedMoments | None, left_out: LeftOut
    ) -> None:
        """Keep what alignment and components need of a recording."""
        self.entries[index]["left_out"] = left_out
        self.write_index()
        arrays = {} if moments is None else moments._asdict()
        with written(self.path / MOMENTS_FILE.format(index)) as path:
            np.savez(path, n_samples=scatter.n_samples, scatter=scatter.values, **arrays)

    def keep_alignment(self, index: int, alignment: Alignment) -> None:
        """Keep the map of a recording."""
        target = self.path / ALIGNMENT_FILE.format(index)
        with written(target) as path:
            np.save(path, alignment.content())
        self.entries[index]["alignment"] = {"sha256": _digest(target)}
        self.write_index()

    def keep_products(self, n_recordings: int, products: np.ndarray, left_out: LeftOut) -> None:
        """Keep the sum of the first recordings' products, and what was left out of the last."""
        self.entries[n_recordings - 1]["left_out"] = left_out
        self.write_index()
        with written(self.path / PRODUCTS_FILE) as path:
            np.savez(path, n_recordings=n_recordings, products=products)

    def keep_preparation(self, preparation: FittedPreparation) -> None:
        """Keep the fitted preparation, after which products are not needed any more."""
        path = self.path / PREPARATION_FILE
        content = {
            "format_version": FORMAT_VERSION,
            "preparation": preparation_content(preparation),
        }
        write_model_file(path, content, PREPARED_FORMAT, way_out=ADVICE_IF_UNWRITABLE)
        self.content["preparation"] = {"file": PREPARATION_FILE, "sha256": _digest(path)}
        self.content["n_features"] = preparation.n_features_
        self.write_index()
        self.drop_products()

    def drop_products(self) -> None:
        """Delete products, and what was kept to make them."""
        for path in (
            self.path / PRODUCTS_FILE,
            *self.path.glob(MOMENTS_FILE.replace("{:05d}", "*")),
        ):
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
        """Write the features of one recording, and enter them in the index."""
        from ..engine import rows_digest, write_shard

        path = self.path / SHARD_FILE.format(index)
        with written(path) as temporary:
            write_shard(str(temporary), features)
        self.entries[index]["left_out"] = left_out
        self.entries[index]["shard"] = {
            "file": path.name,
            "size": path.stat().st_size,
            "rows_sha256": rows_digest(features),
            "n_samples": features.shape[0],
            "n_features": features.shape[1],
            "time_map": time_map_content(time_map),
        }
        self.write_index()

    def write_index(self) -> None:
        """Write the index anew."""
        write_index(self.path, self.content)

    # What comes out

    def prepared(self) -> PreparedData:
        """Give what is in the folder, without reading the features."""
        from ..engine import Shards

        shards = [shard for shard in self.shards() if shard is not None]
        preparation = self.preparation()
        if preparation is None or len(shards) < len(self.entries):
            raise OSError(
                f"{self.path} is not finished: it holds the features of {len(shards)} of "
                f"{plural(len(self.entries), 'recording')}; call prepare again with the same "
                "arguments, which goes on where it stopped"
            )
        self._check_shards(shards)
        return PreparedData(
            Shards(shards, self.content["n_features"]),
            preparation,
            [time_map_from(entry["shard"]["time_map"]) for entry in self.entries],
            [entry["name"] for entry in self.entries],
            self._alignments() if preparation.aligns else [],
        )

    def _check_shards(self, shards: Sequence["Shard"]) -> None:
        """Check that the files of features are there and have their sizes."""
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

    def _alignments(self) -> list[Alignment]:
        """Read the maps of all recordings, which must be there."""
        alignments = []
        for index, entry in enumerate(self.entries):
            alignment = self.alignment(index)
            if alignment is None:
                raise OSError(
                    f"{self.path / ALIGNMENT_FILE.format(index)}, the map of {entry['name']}, is "
                    "missing or damaged; call prepare again with the same arguments, which writes "
                    "it anew"
                )
            alignments.append(alignment)
        return alignments


@contextlib.contextmanager
def opened_to_fill(
    cache_dir: Any, identity: dict[str, Any], names: Sequence[str]
) -> Iterator[PreparedFolder]:
    """Open a folder for a call of `prepare`: a new one, or one that this call began.

    Others who want to fill it wait until this one is done.
    """
    path = check_path(cache_dir, "cache_dir")
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(
            f"cache_dir={str(path)!r} must be a folder, but it is a file; name another"
        )
    with report_unwritable(path):
        path.mkdir(parents=True, exist_ok=True)
    busy = f"cache_dir={str(path)!r} is being filled by another process"
    with lock_held(path / LOCK_FILE, busy=busy, wait=True):
        yield _opened(path, identity, names)


def _opened(path: Path, identity: dict[str, Any], names: Sequence[str]) -> PreparedFolder:
    """Open a folder that nobody else fills."""
    with report_unwritable(path):
        _remove_leftovers(path)
    others = sorted(file.name for file in path.iterdir() if file.name != LOCK_FILE)
    if (path / PREPARED_INDEX).exists():
        folder = PreparedFolder(path, read_index(path))
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
    folder = PreparedFolder(
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
        return PreparedFolder(folder, read_index(folder)).prepared()
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise damaged_index(folder, error) from error


def _remove_leftovers(folder: Path) -> None:
    """Delete temporary files of a call that was interrupted."""
    for name in FILES:
        stem, suffix = os.path.splitext(name.replace("{:05d}", "?????"))
        for path in folder.glob(f".{stem}-????????{suffix}"):
            path.unlink()


def _digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
