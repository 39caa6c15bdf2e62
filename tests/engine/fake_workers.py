"""Workers that are threads of one process: what they add up is shared memory."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from mne_hmm.engine import Workers


class _Table:
    """Where workers lay down their numbers, and wait for those of the others."""

    def __init__(self, size):
        self.size, self.slots = size, [None] * size
        self.barrier = threading.Barrier(size, timeout=600)
        self.n_sums = 0


@dataclass(frozen=True)
class FakeWorkers(Workers):
    """One of several threads that train together."""

    table: _Table = field(default_factory=lambda: _Table(1))

    def total(self, arrays):
        """Sum over all workers, in the order of their ranks."""
        self.table.slots[self.rank] = [np.array(array, float) for array in arrays]
        self.table.barrier.wait()
        shapes = [[array.shape for array in arrays] for arrays in self.table.slots]
        assert all(shape == shapes[0] for shape in shapes), f"other arrays on others: {shapes}"
        totals = [sum(values) for values in zip(*self.table.slots, strict=True)]
        if self.rank == 0:
            self.table.n_sums += 1
        self.table.barrier.wait()  # nobody lays down anew before all have read
        return totals


def together(function, size):
    """Run a function on several workers at once: what it gives, in the order of ranks."""
    table = _Table(size)

    def work(rank):
        try:
            return function(FakeWorkers(rank, size, table=table))
        except BaseException:
            table.barrier.abort()  # or the others would wait
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(work, rank) for rank in range(size)]
    errors = [future.exception() for future in futures]
    broken = threading.BrokenBarrierError
    for error in sorted(filter(None, errors), key=lambda error: isinstance(error, broken)):
        raise error
    return [future.result() for future in futures]
