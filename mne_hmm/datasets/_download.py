"""Downloads that are whole and right, or not there at all."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import pooch
from mne.utils import ProgressBar, logger

if TYPE_CHECKING:
    from requests import Response, Session

# How often a request is made that brings nothing.
N_TRIES = 6
# Seconds to reach a server, and for it to send the next bytes.
TIMEOUT = (10, 60)
# Bytes read at a time; fewer than these are lost where a connection is cut.
CHUNK_SIZE = 1 << 16
# Fewer bytes are there before a progress bar could be read.
MIN_SIZE_OF_BAR = 1_000_000


class UnreachableError(ConnectionError):
    """A server that could not be reached, or did not give what it was asked for."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Source(NamedTuple):
    """A file on a server."""

    url: str
    sha256: str | None
    """None where it is not known."""


def is_right(fname: Path, sha256: str | None) -> bool:
    """Whether a file is there and has the hash it should have."""
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
    with _unreachable(url), _session(n_tries) as session:
        answer = session.get(url, timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.json()


class _Downloader:
    """Download as pooch wants it, going on where a connection was cut.

    What came so far lies beside the final file until the hash is known to be right or wrong. Its
    name has the hash in it, so that parts of different files are never put together.
    """

    def __init__(self, fname: Path, sha256: str | None) -> None:
        mark = "unknown" if sha256 is None else sha256[:16]
        self.part = fname.with_name(f".{fname.name}.{mark}.part")
        if sha256 is None:  # what is left of an earlier call may be of another file
            self.part.unlink(missing_ok=True)

    def __call__(self, url: str, output_file: Any, _: Any) -> None:
        """Download a file; tries are counted anew when one brought more bytes than ever before."""
        from urllib3.exceptions import MaxRetryError, ProtocolError

        from ._retry import LimitedRetry

        retry, largest = LimitedRetry.of(N_TRIES), self._n_bytes()
        with _unreachable(url):
            while True:
                try:
                    self._continue(url)
                    break
                except _CutError as error:
                    if self._n_bytes() > largest:
                        retry, largest = LimitedRetry.of(N_TRIES), self._n_bytes()
                    try:
                        retry = retry.increment("GET", url, error=ProtocolError(str(error)))
                    except MaxRetryError:
                        raise error from None
                    retry.sleep()
        os.replace(self.part, output_file)

    def _n_bytes(self) -> int:
        """Size of what came so far."""
        return self.part.stat().st_size if self.part.exists() else 0

    def _continue(self, url: str) -> None:
        """Ask for what is missing, or all of it where the server gives no parts."""
        done = self._n_bytes()
        # Compression on the way would make lengths those of something else.
        headers = {"Accept-Encoding": "identity"}
        if done:
            headers["Range"] = f"bytes={done}-"
        with (
            _session(N_TRIES, answered=done > 0) as session,
            session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer,
        ):
            if answer.status_code == 416:  # nothing is missing, or what is there is too long
                if answer.headers.get("Content-Range", "").endswith(f"/{done}"):
                    return
                self.part.unlink()
                raise _CutError("it has fewer bytes than were there already")
            answer.raise_for_status()
            if not _continues_at(answer, done):
                done = 0
            length = answer.headers.get("Content-Length")
            total = None if length is None else done + int(length)
            with self.part.open("ab" if done else "wb") as file:
                done = _write(answer, file, done, total)
        if total is not None and done != total:
            raise _CutError(f"the connection was cut after {done:,} of {total:,} bytes")


class _CutError(Exception):
    """A connection that ended too early."""


def _session(n_tries: int, *, answered: bool = False) -> "Session":
    """Make a session that asks again where that can help."""
    import requests
    from requests.adapters import HTTPAdapter

    from ._retry import LimitedRetry

    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=LimitedRetry.of(n_tries, answered=answered)))
    return session


@contextlib.contextmanager
def _unreachable(url: str) -> Iterator[None]:
    """Raise an error that names the address and the reason when a request has failed."""
    import requests

    from ._retry import TEMPORARY, LongWaitError

    try:
        yield
    except requests.HTTPError as error:
        answer = cast("Response", error.response)  # raise_for_status always gives it
        status = None if answer.status_code in TEMPORARY else answer.status_code
        raise UnreachableError(
            f"{url}: the server answers {answer.status_code} {answer.reason}", status
        ) from error
    except (requests.RequestException, _CutError, LongWaitError) as error:
        raise UnreachableError(f"{url}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """Say in few words what went wrong."""
    from ._retry import LongWaitError

    if isinstance(error, (_CutError, LongWaitError)):
        return str(error)
    while error.__context__ is not None:  # the system's own words are at the bottom
        error = error.__context__
    return f"{type(error).__name__}: {error}"


def _continues_at(answer: "Response", done: int) -> bool:
    """Whether an answer begins where what is there ends."""
    return answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(
        f"bytes {done}-"
    )


def _write(answer: "Response", file: BinaryIO, done: int, total: int | None) -> int:
    """Write an answer to a file, show how far it is, and return how many bytes are there."""
    import requests

    bar = None
    if total is not None and total >= MIN_SIZE_OF_BAR:
        bar = ProgressBar(total, mesg="Downloading", unit="B", unit_scale=True)
    try:
        for chunk in answer.iter_content(CHUNK_SIZE):
            file.write(chunk)
            done += len(chunk)
            if bar is not None:
                bar.update(done)
    except requests.RequestException as error:
        raise _CutError(_reason(error)) from error
    finally:
        del bar  # MNE-Python's bar closes when it goes
    return done


@contextlib.contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Keep pooch from logging what MNE-Python's logger gets from here."""
    pooch_logger = pooch.get_logger()
    level = pooch_logger.level
    pooch_logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        pooch_logger.setLevel(level)
