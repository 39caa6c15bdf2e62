"""When and how often a server is asked again.

Not imported before something is fetched: urllib3 sets filters of warnings when it is loaded.
"""

from typing import TYPE_CHECKING

from mne.utils import logger
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from .._utils.checks import plural

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

# Seconds that waits begin with, from the second repetition on; each is twice the last.
FIRST_WAIT = 0.5
# How often a request is made if nobody answers at all.
N_TRIES_UNANSWERED = 3
# Longest time that a server may ask us to wait, in seconds.
MAX_WAIT = 300.0
# Answers after which asking again can help.
TEMPORARY = (408, 425, 429, 500, 502, 503, 504)


class LongWaitError(Exception):
    """A server that asks to wait for longer than anybody would."""


class LimitedRetry(Retry):
    """When and how often to ask again: urllib3's rules, with a log and a limit to waits."""

    @classmethod
    def of(cls, n_tries: int, *, answered: bool = True) -> "LimitedRetry":
        """Rules for a number of tries, or for fewer if nobody has answered and nobody does."""
        return cls(
            n_tries - 1,
            connect=n_tries - 1 if answered else min(n_tries, N_TRIES_UNANSWERED) - 1,
            status_forcelist=TEMPORARY,
            backoff_factor=FIRST_WAIT,
            raise_on_status=False,
        )

    def get_retry_after(self, response: "BaseHTTPResponse") -> float | None:
        """Seconds a server asks to wait; headers that say nothing count as none."""
        try:
            seconds = super().get_retry_after(response)
        except InvalidHeader:
            return None
        if seconds is not None and seconds > MAX_WAIT:
            raise LongWaitError(
                f"the server asks to wait for {plural(round(seconds), 'second')}; try again then"
            )
        return seconds

    def sleep(self, response: "BaseHTTPResponse | None" = None) -> None:
        """Wait before asking again, and log why."""
        last = self.history[-1]
        reason = f"the server answers {last.status}" if last.error is None else last.error
        logger.info(f"{last.url}: {reason}; asking again")
        super().sleep(response)
