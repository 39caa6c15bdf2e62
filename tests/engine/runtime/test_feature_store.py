"""Shards: what is written is read, in any order, and nothing else passes for it."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mne_hmm.engine import Shard, Shards, rows_digest, write_shard
from mne_hmm.engine.runtime import feature_store

N_FEATURES = 3
LENGTHS = [50, 7, 50, 1]


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return [rng.standard_normal((n, N_FEATURES)).astype(np.float32) for n in LENGTHS]


@pytest.fixture
def kept(tmp_path, arrays, monkeypatch):
    """Four shards of records of sixteen rows."""
    monkeypatch.setattr(feature_store, "RECORD_SIZE", 16 * N_FEATURES * 4)
    out = []
    for i, rows in enumerate(arrays):
        path = tmp_path / f"{i}.tfrecord"
        write_shard(str(path), rows)
        out.append(
            Shard(str(path), f"recording {i}", path.stat().st_size, len(rows), rows_digest(rows))
        )
    return out


def test_arrays_come_back(kept, arrays):
    got = Shards(kept, N_FEATURES)
    assert len(got) == 4
    assert got.lengths == LENGTHS
    assert got.n_features == N_FEATURES
    for rows, expected in zip(got, arrays, strict=True):
        assert rows.dtype == np.float32
        assert_array_equal(rows, expected)
    assert_array_equal(got[-2], arrays[2])
    with pytest.raises(IndexError):
        got[4]
    with pytest.raises(TypeError):
        got["0"]


def test_the_file_is_a_tfrecord_of_whole_rows(kept, arrays):
    # Per record: length (8 bytes), its checksum (4), rows, their checksum (4).
    content, at, rows = Path(kept[0].path).read_bytes(), 0, []
    while at < len(content):
        n = int.from_bytes(content[at : at + 8], "little")
        rows.append(np.frombuffer(content[at + 12 : at + 12 + n], "<f4").reshape(-1, N_FEATURES))
        at += 12 + n + 4
    assert [len(x) for x in rows] == [16, 16, 16, 2]
    assert_array_equal(np.concatenate(rows), arrays[0])
    assert kept[0].rows_sha256 == hashlib.sha256(arrays[0].tobytes()).hexdigest()


@pytest.mark.parametrize("order", [[2, 0, 3, 1], [1, 1, 0], [-1, 0], []])
def test_stream_keeps_the_order(kept, arrays, order):
    streamed = list(Shards(kept, N_FEATURES).stream(order))
    assert [index for index, _ in streamed] == [range(4)[i] for i in order]
    for i, (_, rows) in zip(order, streamed, strict=True):
        assert_array_equal(rows, arrays[i])


def test_stream_gives_recordings_one_by_one(kept, arrays):
    # What lies behind the first is damaged, and the first comes out all the same.
    Path(kept[1].path).write_bytes(b"")
    stream = Shards(kept, N_FEATURES).stream([0, 1])
    index, rows = next(stream)
    assert index == 0
    assert_array_equal(rows, arrays[0])
    with pytest.raises(OSError, match=r"1\.tfrecord"):
        next(stream)


def damage(path, kind):
    content = bytearray(path.read_bytes())
    if kind == "missing":
        path.unlink()
        return
    if kind == "flipped":
        content[100] ^= 1
    elif kind == "flipped length":
        content[0] ^= 1
    elif kind == "cut":
        content = content[:-5]
    elif kind == "cut between records":
        content = content[: 16 + 16 * N_FEATURES * 4]
    elif kind == "longer":
        content = content * 2
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "cannot be found"),
        ("flipped", "is damaged"),
        ("flipped length", "is damaged"),
        ("cut", "bytes instead of"),
        ("cut between records", "bytes instead of"),
        ("longer", "bytes instead of"),
    ],
)
def test_damage_is_named(kept, kind, says):
    got = Shards(kept, N_FEATURES)
    damage(Path(kept[2].path), kind)
    with pytest.raises(OSError, match=rf"2\.tfrecord.*recording 2, .*{says}.*delete that file"):
        list(got.stream([0, 2, 1]))
    assert got[1].shape == (7, N_FEATURES)


def test_a_damaged_file_that_was_read_before(kept):
    got = Shards(kept, N_FEATURES)
    assert got[2].shape == (50, N_FEATURES)
    damage(Path(kept[2].path), "flipped")
    with pytest.raises(OSError, match="is damaged"):
        got[2]


@pytest.mark.parametrize("read_before", [False, True])
def test_exchanged_files_are_found(kept, tmp_path, read_before):
    # Of one size, and whole.
    got = Shards(kept, N_FEATURES)
    if read_before:
        list(got.stream([0, 2]))
    shutil.copy(kept[0].path, tmp_path / "other")
    (tmp_path / "other").replace(kept[2].path)
    with pytest.raises(OSError, match=r"recording 2, holds other data"):
        got[2]
    assert got[0].shape == (50, N_FEATURES)


@pytest.mark.parametrize(("index", "n_samples"), [(0, 49), (0, 51), (3, 2)])
def test_wrong_number_of_rows(kept, index, n_samples):
    shard = kept[index]
    wrong = Shard(shard.path, shard.name, shard.size, n_samples, shard.rows_sha256)
    with pytest.raises(OSError, match=rf"{index}\.tfrecord.*does not hold {n_samples} rows"):
        list(Shards([wrong, kept[1]], N_FEATURES).stream([0, 1]))


def test_what_cannot_be_written(tmp_path, arrays):
    with pytest.raises(OSError, match="nowhere"):
        write_shard(str(tmp_path / "nowhere" / "0.tfrecord"), arrays[0])
