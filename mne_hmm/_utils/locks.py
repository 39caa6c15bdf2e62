"""Locks of the operating system, which it takes back when a process ends, however it ends."""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mne.utils import logger

# Seconds between two looks whether another process has finished.
PAUSE = 0.1
# Begins as the files that a folder of checkpoints may hold when it is new.
CHECKPOINTS = "facts.journal.lock"


@contextlib.contextmanager
def lock_held(path: Path, *, busy: str, wait: bool, keep: bool = False) -> Iterator[None]:
    """Let one process, or thread, at a time do something.

    Where a file system has no locks, or nothing can be written, nobody is kept out.
    """
    file = _taken(path, busy, wait)
    try:
        yield
    finally:
        if file is not None:
            if not keep:
                with contextlib.suppress(OSError):  # another system deletes no open files
                    path.unlink()
            _give_back(file)
            file.close()


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
    with lock_held(folder / CHECKPOINTS, busy=busy, wait=False):
        yield


def _taken(path, busy, wait):
    """Open the file of a lock and take the lock."""
    is_told = False
    while True:
        try:
            file = path.open("a+b")
        except OSError as error:
            if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC):
                return None  # what is to be written here will say so
            raise
        if _is_taken(file):
            holder = _holder(file)
            file.close()
            if not wait:
                raise BlockingIOError(f"{busy}{holder}")
            if not is_told:
                logger.info(f"{busy}{holder}; waiting for it")
                is_told = True
            time.sleep(PAUSE)
        elif _is_there(file, path):
            _sign(file)
            return file
        else:  # whoever had the lock has deleted the file just now
            file.close()


def _is_there(file, path):
    """Tell whether the open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _sign(file):
    """Write into the file who has the lock. It is of no use but to be read by people."""
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(f"{os.getpid()}".encode())
        file.flush()


def _holder(file):
    """Read who has the lock, where that can be read."""
    with contextlib.suppress(OSError, ValueError):
        file.seek(0)
        return f" (process {int(file.read(20))})"
    return ""


if sys.platform == "win32":
    import msvcrt

    def _is_taken(file: IO[bytes]) -> bool:
        """Try to take the lock, and tell whether another has it."""
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return True
        return False

    def _give_back(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _is_taken(file: IO[bytes]) -> bool:
        """Try to take the lock, and tell whether another has it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return False
        return False

    def _give_back(file: IO[bytes]) -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)
