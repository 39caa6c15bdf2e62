"""Blocks that come back from a temporary file as they were."""

from collections import namedtuple
from contextlib import closing

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mne_hmm.io.parcellation import spool as module
from mne_hmm.io.parcellation.spool import Spool

N_SOURCES, RANK = 200, 12


def low_rank(n_blocks=6, dtype=float, seed=0):
    """Blocks of 30 times in 12 dimensions, of which some come late and some are small."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((N_SOURCES, RANK)) * np.logspace(0, -4, RANK)
    blocks = []
    for i_block in range(n_blocks):
        sensors = rng.standard_normal((RANK, 30))
        sensors[-4:] *= i_block > 2
        blocks.append((mixing @ sensors).astype(dtype))
    return blocks


@pytest.mark.parametrize(
    ("dtype", "rounding"), [(np.float64, 1e-12), (np.float32, 1e-6)], ids=["double", "single"]
)
def test_few_dimensions_need_little_space(dtype, rounding):
    blocks = low_rank(dtype=dtype)
    with closing(Spool()) as spool:
        for block in blocks:
            spool.add(block)
        assert spool.file.tell() <= 6 * RANK * 30 * 8
        for _ in range(2):  # as often as one likes
            for spooled, block in zip(spool, blocks, strict=True):
                error = np.linalg.norm(spooled - block)
                assert error <= rounding * np.linalg.norm(block)
    assert spool.basis.shape[1] == RANK
    assert_allclose(spool.basis.T @ spool.basis, np.eye(RANK), atol=1e-13)
    assert spool.file.closed


def test_many_dimensions_are_kept_as_they_are():
    """From the block on whose dimensions are too many; to the last bit."""
    blocks = low_rank(2)
    blocks += list(np.random.default_rng(1).standard_normal((3, N_SOURCES, 120)))
    with closing(Spool()) as spool:
        for block in blocks:
            spool.add(block)
        assert [compressed for compressed, *_ in spool.blocks] == [True, True, False, False, False]
        spooled = list(spool)
    for ours, theirs in zip(spooled[:2], blocks, strict=False):
        assert_allclose(ours, theirs, atol=1e-11)
    assert_array_equal(spooled[2:], blocks[2:])


def test_silence_has_no_dimensions():
    with closing(Spool()) as spool:
        spool.add(np.zeros((20, 5)))
        assert spool.basis.shape == (20, 0)
        assert_array_equal(next(iter(spool)), np.zeros((20, 5)))


def test_a_full_disk_is_said_before_it_is_full(monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage(2**28 + 100))
    with closing(Spool()) as spool, pytest.raises(OSError, match=r"268 MB left.*twice.*TMPDIR"):
        spool.add(np.ones((20, 50)))
