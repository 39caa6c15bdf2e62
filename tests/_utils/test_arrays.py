"""Arithmetic on arrays, against the same written out."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mne_hmm._utils.arrays import end_to_end, nanmean_of_rows, row_blocks


@pytest.mark.parametrize("n_rows", [0, 1, 6, 7, 8])
def test_blocks_have_every_row_once(n_rows):
    """None is longer than asked for, and none reaches beyond the end."""
    blocks = list(row_blocks(n_rows, 3))
    assert [row for block in blocks for row in range(block.start, block.stop)] == list(
        range(n_rows)
    )
    assert all(block.stop - block.start == 3 for block in blocks[:-1])


def test_epochs_end_to_end():
    """Samples of an epoch stay together, and the same goes without epochs."""
    values = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    assert_array_equal(end_to_end(values), np.hstack([values[0], values[1]]))
    assert_array_equal(end_to_end(values[0]), values[0])


def test_means_of_rows_without_values():
    """NaN is left out, and a row of nothing else gives NaN without a warning."""
    values = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan]])
    assert_array_equal(nanmean_of_rows(values), [2.0, np.nan])
