"""Source estimates of one recording, whole or in pieces, as blocks of times."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import mne
import numpy as np
from mne.utils import ProgressBar, logger, use_log_level

from ..._utils.arrays import row_blocks
from .spool import Spool

KINDS = (mne.SourceEstimate, mne.VolSourceEstimate)
VECTOR_KINDS = (mne.VectorSourceEstimate, mne.VolVectorSourceEstimate)
# Values in a block, 32 MB in double precision.
BLOCK_VALUES = 2**22

ONE_RECORDING = "pass the pieces of one recording, and parcellate recordings one at a time"
SAME_AGAIN = "what is no iterator must give the same in every pass: pass a list, or an iterator"


class SourceBlocks:
    """Source estimates that follow each other in time, as blocks, as often as needed.

    Attributes
    ----------
    first : SourceEstimate | VolSourceEstimate
        The first piece, up to the first pass.
    is_vector : bool
        Whether each source has three orientations.
    """

    def __init__(self, inst: Any) -> None:
        if _is_stc(inst):
            inst = [inst]
        if isinstance(inst, (str, np.ndarray)) or not isinstance(inst, Iterable):
            raise TypeError(_wrong_type("inst", inst))
        self.source: Any = inst
        pieces = iter(inst)
        first = list(itertools.islice(pieces, 1))
        if not first:
            raise ValueError("inst is empty; pass at least one source estimate")
        self.first: Any = first.pop()
        self.rest = pieces if pieces is inst else None
        _check_kind(self.first, 0)
        self.is_vector = isinstance(self.first, VECTOR_KINDS)
        self.kind, self.vertices = type(self.first), self.first.vertices
        self.subject, self.tstep = self.first.subject, self.first.tstep
        self.tmin, self.sfreq = self.first.tmin, self.first.sfreq
        self.spool: Spool | None = None
        self.total: int | None = None  # number of times, once it is known
        if isinstance(inst, (list, tuple)) and all(map(_is_stc, inst)):
            self.total = sum(stc.shape[-1] for stc in inst)

    def __enter__(self) -> "SourceBlocks":
        return self

    def __exit__(self, *_: object) -> None:
        if self.spool is not None:
            self.spool.close()

    def blocks(self, rows: np.ndarray, message: str, *, last: bool) -> Iterator[np.ndarray]:
        """Go through the recording.

        Shapes: returns ``block`` (n_rows, n_times).
        """
        if self.spool is not None:
            blocks: Iterator[np.ndarray] = iter(self.spool)
        else:
            blocks = self._read(rows)
            if self.rest is not None and not last:
                self.spool = Spool()
                blocks = self._kept(blocks, self.spool)
        shape = (len(rows), 3, -1) if self.is_vector else (len(rows), -1)
        bar = None if self.total is None else ProgressBar(self.total, mesg=message)
        if bar is None:
            logger.info(f"{message} ...")
        n_done = 0
        for block in blocks:
            block = block.reshape(shape)
            n_done += block.shape[-1]
            yield block
            if bar is not None:
                bar.update(n_done)
        if n_done == 0:
            raise ValueError("inst has no times; pass source estimates with data")
        if self.total is not None and n_done != self.total:
            raise ValueError(
                f"inst gave {self.total} times at first and {n_done} afterwards; {SAME_AGAIN}"
            )
        self.total = n_done

    @staticmethod
    def _kept(blocks: Iterable[np.ndarray], spool: Spool) -> Iterator[np.ndarray]:
        """Keep blocks for the next pass as they come."""
        for block in blocks:
            spool.add(block.reshape(-1, block.shape[-1]))
            yield block

    def _read(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Read blocks from the source estimates, and check these."""
        n_times = 0
        n_at_once = max(1, BLOCK_VALUES // (len(rows) * (3 if self.is_vector else 1)))
        indices = itertools.count()  # enumerate would hold on to a piece while the next is made
        for stc in self._stcs():
            self._check_fits(stc, next(indices), n_times)
            length = stc.shape[-1]
            for times in row_blocks(length, n_at_once):
                block = _cut(stc, rows, times.start, times.stop)
                _check_values(block, self.tmin + self.tstep * (n_times + times.start), self.tstep)
                yield block
            n_times += length
            del stc

    def _stcs(self) -> Iterator[Any]:
        """Yield the source estimates, without holding on to any."""
        first, self.first = self.first, None
        if self.rest is None:
            del first
            yield from self.source
        else:
            yield first
            del first
            yield from self.rest

    def _check_fits(self, stc: Any, index: int, n_times: int) -> None:
        """Check that a piece goes on where the one before ended."""
        _check_kind(stc, index)
        wrong = self._mismatch(stc, n_times)
        if wrong and index == 0:  # the very piece that was seen before
            raise ValueError(f"inst began with another piece at first; {SAME_AGAIN}")
        if wrong:
            raise ValueError(f"pieces {index - 1} and {index} of inst {wrong}")

    def _mismatch(self, stc: Any, n_times: int) -> str | None:
        """Say what is wrong with a piece that comes after so many samples, if anything."""
        for name, expected, actual in (
            ("kind", self.kind.__name__, type(stc).__name__),
            ("subject", self.subject, stc.subject),
        ):
            if expected != actual:
                return f"differ in their {name}: {expected!r} and {actual!r}; {ONE_RECORDING}"
        same = len(stc.vertices) == len(self.vertices) and all(
            np.array_equal(a, b) for a, b in zip(stc.vertices, self.vertices, strict=True)
        )
        if not same:
            return (
                "differ in their vertices; compute them with the same inverse operator or filters"
            )
        if not np.isclose(stc.tstep, self.tstep, rtol=1e-6, atol=0):
            return (
                f"differ in their sampling rate: {self.sfreq:g} Hz and {stc.sfreq:g} Hz; "
                f"{ONE_RECORDING}"
            )
        # From the start of the recording, so that small gaps do not add up.
        end = self.tmin + n_times * self.tstep
        if abs(stc.tmin - end) > self.tstep / 2:
            return (
                f"do not follow each other: one ends at {end:.3f} s and the next begins at "
                f"{stc.tmin:.3f} s; {ONE_RECORDING}"
            )
        return None


def _cut(stc: Any, rows: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Copy sources and times, without computing all of a source estimate kept as a kernel."""
    with use_log_level("ERROR"):  # advice that is of no use here
        block = stc.transform_data(_as_it_is, idx=rows, tmin_idx=start, tmax_idx=stop)
    if np.iscomplexobj(block):
        raise TypeError(
            "inst is complex; take the envelope first, as in stc.data = abs(stc.data), or the "
            "real part"
        )
    return block.astype(np.float32 if block.dtype.itemsize <= 4 else np.float64, copy=False)


def _as_it_is(data: np.ndarray) -> np.ndarray:
    return data


def _is_stc(value: Any) -> bool:
    return isinstance(value, (*KINDS, *VECTOR_KINDS))


def _check_kind(stc: Any, index: int) -> None:
    if not _is_stc(stc):
        raise TypeError(_wrong_type(f"piece {index} of inst", stc))


def _wrong_type(name: str, value: Any) -> str:
    return (
        f"{name} must be a SourceEstimate or VolSourceEstimate, plain or vector, or an iterable of "
        f"those that follow each other in time; got {type(value).__name__}"
    )


def _check_values(block: np.ndarray, tmin: float, tstep: float) -> None:
    """Check that all values of a block are finite."""
    finite = np.isfinite(block).reshape(-1, block.shape[-1]).all(axis=0)
    if not finite.all():
        time = tmin + tstep * int(np.argmin(finite))
        raise ValueError(
            f"inst holds values that are not finite, the first at {time:.3f} s; interpolate or "
            "cut them out before source estimation"
        )
