"""Downloads that are whole and right, or not there at all."""

import contextlib
import email.utils
import logging
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pooch
from mne.utils import ProgressBar, logger

from .._utils.checks import plural

# Seconds before the first repetition; each next one waits twice as long.
FIRST_WAIT = 0.5
# How often a request is made that brings nothing, and how often if nobody answers at all.
N_TRIES = 6
N_TRIES_UNANSWERED = 3
# Longest time that a server may ask us to wait, in seconds.
LONGEST_WAIT = 300.0
# Seconds to reach a server, and for it to send the next bytes.
TIMEOUT = (10, 60)
# Answers after which asking again can help.
PASSING = (408, 425, 429, 500, 502, 503, 504)
# Bytes read at a time; fewer than these are lost where a connection is cut.
CHUNK = 1 << 16
# Fewer bytes are there before a progress bar could be read.
WORTH_A_BAR = 1_000_000


class UnreachableError(ConnectionError):
    """A server that could not be reached, or did not give what it was asked for."""

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class Source(NamedTuple):
    """A file in the net.

    Parameters
    ----------
    url : str
        Its address.
    sha256 : str | None
        Its hash; None where it is not known.
    """

    url: str
    sha256: str | None


def is_right(fname: Path, sha256: str | None) -> bool:
    """Tell whether a file is there and has the hash it should have."""
    return fname.is_file() and (sha256 is None or pooch.file_hash(str(fname)) == sha256)


def download(source: Source, fname: Path) -> None:
    """Bring a file under its final name once it is whole and its hash is right."""
    if source.sha256 is not None and fname.is_file() and not is_right(fname, source.sha256):
        logger.info(f"{fname} is not the file it should be, and is fetched again")
    with _quiet_pooch():
        try:
            pooch.retrieve(
                source.url,
                None if source.sha256 is None else f"sha256:{source.sha256}",
                fname=fname.name,
                path=fname.parent,
                downloader=_Downloader(fname, source.sha256),
            )
        except ValueError as error:
            if "hash" not in str(error):
                raise
            raise OSError(
                f"{source.url} did not bring the file it should ({error}); it was damaged on its "
                "way or has been replaced: try again, or from another network"
            ) from None


def read_json(url: str, *, n_tries: int = N_TRIES) -> Any:
    """Ask a server for JSON."""

    def ask():
        import requests

        with requests.get(url, timeout=TIMEOUT) as answer:
            answer.raise_for_status()
            return answer.json()

    return _insist(ask, url, lambda: 0, n_tries)


class _Downloader:
    """Download as pooch wants it, going on where a connection was cut.

    What came so far lies beside the final file until the hash is known to be right or wrong. Its
    name has the hash in it, so that parts of different files are never put together.
    """

    def __init__(self, fname, sha256):
        known = "unknown" if sha256 is None else sha256[:16]
        self.part = fname.with_name(f".{fname.name}.{known}.part")
        if sha256 is None:  # what is left of an earlier call may be of another file
            self.part.unlink(missing_ok=True)

    def __call__(self, url: str, output_file: Any, _: Any) -> None:
        _insist(lambda: self._go_on(url), url, self._n_bytes)
        os.replace(self.part, output_file)

    def _n_bytes(self):
        return self.part.stat().st_size if self.part.exists() else 0

    def _go_on(self, url):
        """Ask for what is missing, or all of it where the server gives no parts."""
        import requests

        done = self._n_bytes()
        # Compression on the way would make lengths those of something else.
        headers = {"Accept-Encoding": "identity"}
        if done:
            headers["Range"] = f"bytes={done}-"
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416:  # nothing is missing, or what is there is too long
                if answer.headers.get("Content-Range", "").endswith(f"/{done}"):
                    return
                self.part.unlink()
                raise _CutError("it has fewer bytes than were there already")
            answer.raise_for_status()
            if not _goes_on_at(answer, done):
                done = 0
            length = answer.headers.get("Content-Length")
            total = None if length is None else done + int(length)
            with self.part.open("ab" if done else "wb") as file:
                for n_bytes in _shown(answer, file, done, total):
                    done = n_bytes
        if total is not None and done != total:
            raise _CutError(f"the connection was cut after {done:,} of {total:,} bytes")


class _CutError(Exception):
    """A connection that ended too early."""


def _goes_on_at(answer, done):
    """Tell whether an answer begins where what is there ends."""
    return answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(
        f"bytes {done}-"
    )


def _shown(answer, file, done, total):
    """Write an answer to a file, and show how far it is."""
    bar = None
    if total is not None and total >= WORTH_A_BAR:
        bar = ProgressBar(total, mesg="Downloading", unit="B", unit_scale=True)
    try:
        for chunk in answer.iter_content(CHUNK):
            file.write(chunk)
            done += len(chunk)
            if bar is not None:
                bar.update(done)
            yield done
    finally:
        del bar  # MNE-Python's bar closes when it goes


def _insist(
    ask: Callable[[], Any], url: str, n_bytes: Callable[[], int], n_tries: int = N_TRIES
) -> Any:
    """Ask until there is an answer, with longer and longer pauses in between.

    Tries are counted anew when one brought more bytes than there ever were.
    """
    import requests

    number, most = 0, n_bytes()
    while True:
        try:
            return ask()
        except (requests.RequestException, _CutError) as error:
            answer = getattr(error, "response", None)
            if answer is not None and answer.status_code not in PASSING:
                raise UnreachableError(f"{url}: {_reason(error)}", answer.status_code) from error
            if n_bytes() > most:
                number, most = 0, n_bytes()
            number += 1
            unanswered = answer is None and not most
            if number >= min(n_tries, N_TRIES_UNANSWERED if unanswered else N_TRIES):
                raise UnreachableError(f"{url}: {_reason(error)}") from error
            wait = FIRST_WAIT * 2 ** (number - 1)
            asked = _asked_to_wait(answer)
            if asked > LONGEST_WAIT:
                raise UnreachableError(
                    f"{url}: the server asks to wait for {plural(round(asked), 'second')}; try "
                    "again then"
                ) from error
            wait = max(wait, asked)
            logger.info(f"{url}: {_reason(error)}; asking again in {wait:.1f} s")
        time.sleep(wait)


def _asked_to_wait(answer):
    """Seconds a server asks to wait, as a number or until a date."""
    value = None if answer is None else answer.headers.get("Retry-After")
    if value is None:
        return 0.0
    if value.isdecimal():
        return float(value)
    with contextlib.suppress(ValueError, TypeError):  # no date, or one of no time zone
        until = email.utils.parsedate_to_datetime(value)
        return max((until - datetime.now(UTC)).total_seconds(), 0.0)
    return 0.0


def _reason(error):
    """Say in few words what went wrong."""
    answer = getattr(error, "response", None)
    if answer is not None:
        return f"the server answers {answer.status_code} {answer.reason}"
    if isinstance(error, _CutError):
        return str(error)
    while error.__context__ is not None:  # the system's own words are at the bottom
        error = error.__context__
    return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Keep pooch from telling what is told here, by MNE-Python's logger."""
    theirs = pooch.get_logger()
    level = theirs.level
    theirs.setLevel(logging.WARNING)
    try:
        yield
    finally:
        theirs.setLevel(level)
