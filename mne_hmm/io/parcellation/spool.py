"""Blocks of sources that come only once, kept in a temporary file for another pass."""

import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.linalg import qr

# Above this number of dimensions, sources are kept as they are.
MAX_DIMENSIONS = 512
# What is left beside the basis, relative to the whole, is rounding below this.
ROUNDING = {np.dtype("float32"): 1e-6, np.dtype("float64"): 1e-12}
# Disk space that is left to others.
SPARE_BYTES = 2**28


class Spool:
    """A temporary file of blocks, small where the sources have few dimensions.

    Thousands of sources that were computed from some hundred channels lie in as many
    dimensions. An orthonormal basis of these grows as blocks come, and a block is kept as
    its coordinates wherever these give it back up to rounding. Other blocks are kept whole.
    """

    def __init__(self) -> None:
        self.file: Any = tempfile.TemporaryFile(prefix="mne-hmm-")  # noqa: SIM115, see close
        self.basis: Any = None
        self.compresses = True
        # Whether it is compressed, shape and type of each.
        self.blocks: list[tuple[bool, tuple[int, ...], np.dtype]] = []

    def close(self) -> None:
        """Delete the file."""
        self.file.close()

    def add(self, block: np.ndarray) -> None:
        """Keep a block.

        Shapes: ``block`` (n_sources, n_times).
        """
        coordinates = self._coordinates(block) if self.compresses else None
        kept = block if coordinates is None else coordinates
        kept = np.ascontiguousarray(kept)
        self._check_space(kept.nbytes)
        self.file.write(kept.data)
        self.blocks.append((coordinates is not None, kept.shape, kept.dtype))

    def __iter__(self) -> Iterator[np.ndarray]:
        """Give the blocks back, in their order."""
        self.file.seek(0)
        for compressed, shape, dtype in self.blocks:
            size = int(np.prod(shape)) * dtype.itemsize
            kept = np.frombuffer(self.file.read(size), dtype).reshape(shape)
            yield self.basis[:, : len(kept)] @ kept if compressed else kept

    def _coordinates(self, block: np.ndarray) -> np.ndarray | None:
        """Find coordinates in the basis, which grows if it must; None if it would be too large."""
        n_sources = len(block)
        # Coordinates need less space only where they are fewer than the sources.
        max_dimensions = min(MAX_DIMENSIONS, n_sources // 2)
        allowed = ROUNDING[block.dtype] * np.linalg.norm(block)
        block = block.astype(float)
        if self.basis is None:
            self.basis = np.zeros((n_sources, 0))
        coordinates = self.basis.T @ block
        rest = block - self.basis @ coordinates
        if np.linalg.norm(rest) > allowed:
            new, factor, _ = qr(rest, mode="economic", pivoting=True)
            # The norm of what is left after so many dimensions.
            left = np.sqrt(np.cumsum(np.sum(factor**2, axis=1)[::-1])[::-1])
            new = new[:, : int(np.sum(left > allowed))]
            if self.basis.shape[1] + new.shape[1] > max_dimensions:
                self.compresses = False
                return None
            # Once more, as a small rest has lost digits of what it is orthogonal to.
            new, _ = np.linalg.qr(new - self.basis @ (self.basis.T @ new))
            self.basis = np.hstack([self.basis, new])
            coordinates = self.basis.T @ block
        return coordinates

    def _check_space(self, n_bytes: int) -> None:
        """Check that the disk has room for more."""
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
        if free < n_bytes + SPARE_BYTES:
            raise OSError(
                f"inst is an iterator, whose pieces are kept in {folder} for a second pass, and "
                f"that has only {free / 1e6:.0f} MB left; pass an object that can be gone "
                "through twice (a list, or a class whose __iter__ begins anew), or set the "
                "environment variable TMPDIR to a larger disk"
            )
