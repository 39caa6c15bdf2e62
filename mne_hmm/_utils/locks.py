"""Locks of the operating system, which it takes back when a process ends, however it ends."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from mne.utils import logger

# Seconds between two looks whether another process has finished.
PAUSE = 0.1
# Begins as the files that a folder of checkpoints may hold when it is new.
CHECKPOINT_LOCK = "facts.journal.lock"
# What an operating system says where nothing can be written, or a file system has no locks.
NO_LOCKS = {
    getattr(errno, name)
    for name in (
        *("EROFS", "EACCES", "EPERM", "ENOSPC"),
        *("ENOSYS", "ENOLCK", "EOPNOTSUPP", "ENOTSUP", "EINVAL"),
    )
    if hasattr(errno, name)
}


@contextlib.contextmanager
def lock_held(path: Path, *, busy: str, wait: bool, keep: bool = False) -> Iterator[None]:
    """Let one process, or thread, at a time do something.

    Where a file system has no locks, or nothing can be written, nobody is kept out. `busy` is said
    to those who wait, or in the error for those who do not; `keep` leaves the file of the lock.
    """
    lock = FileLock(path, thread_local=False, fallback_to_soft=False, on_acquired=_write_holder)
    # Taken inside, so that an interrupt finds no moment at which the lock stays behind.
    try:
        _acquire(lock, path, busy, wait)
        yield
    finally:
        try:
            # Those who wait for a file that is deleted under them make another.
            if lock.is_locked and not keep:
                with contextlib.suppress(OSError):  # another system deletes no open files
                    path.unlink()
        finally:
            lock.release()


@contextlib.contextmanager
def checkpoints_held(folder: Path | None) -> Iterator[None]:
    """Keep others out of a folder of checkpoints, which is made if there is none."""
    # What is wrong with the name is said by who opens the folder.
    if folder is None or not folder.parent.is_dir() or (folder.exists() and not folder.is_dir()):
        yield
        return
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
    busy = (
        f"checkpoint_dir={str(folder)!r} is in use by another training; wait for its end, or give "
        "another checkpoint_dir"
    )
    with lock_held(folder / CHECKPOINT_LOCK, busy=busy, wait=False):
        yield


def _acquire(lock: FileLock, path: Path, busy: str, wait: bool) -> None:
    """Take a lock, if there are locks."""
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            message = f"{busy}{_holder(path)}"
            if not wait:
                raise BlockingIOError(message) from None
            logger.info(f"{message}; waiting for it")
            lock.acquire(poll_interval=PAUSE)
    except BlockingIOError:
        raise
    except OSError as error:  # who writes there will say what is in the way
        if error.errno not in NO_LOCKS:
            raise


def _write_holder(descriptor: int) -> None:
    """Write into the file who has the lock. It is of no use but to be read by people."""
    with contextlib.suppress(OSError):
        os.write(descriptor, f"{os.getpid()}".encode())


def _holder(path: Path) -> str:
    """Read who has the lock, where that can be read."""
    with contextlib.suppress(OSError, ValueError):
        return f" (process {int(path.read_bytes()[:20])})"
    return ""
