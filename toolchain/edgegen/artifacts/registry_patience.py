"""How long to wait for a server and how often to try again. Every failure that is worth another try has a name here."""

from __future__ import annotations

import errno
import http.client
import random
import socket
import ssl
import time
from dataclasses import dataclass

from edgegen.core.errors import ToolMissingError

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that another try may change (RFC 9110, RFC 6585)."""

_UNREACHED = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
_PROGRESS_BYTES = 1 << 20
_NEXT_STEP = "repeat the command when it is back: what has arrived is kept"
_FAILED = 500
_FAILED_STEP = "repeat the command later; if it stays so, its storage is damaged, as by a full disk: docs/registry.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Limits on waiting. Seconds and bytes a second."""

    connect_s: float = 15.0
    commit_s: float = 180.0  # from the end of an upload to the first byte of its answer: a commit hashes a whole blob
    answer_s: float = 30.0  # the same for everything else
    window_s: float = 30.0  # time over which the rate is taken
    min_bytes_per_s: float = 1024.0  # of what arrives, and of what is taken from us
    attempts: int = 6  # without progress in between
    first_pause_s: float = 0.5  # doubles with each failure
    longest_pause_s: float = 15.0
    settle_s: tuple[float, float] = (0.1, 0.4)  # between two looks at a shared list: longer than a writer needs for it


class TooSlowError(ToolMissingError):
    """The server keeps the connection open and sends next to nothing. Another try would only wait again."""


class BusyError(Exception):
    """An answer that asks to come again."""

    def __init__(self, status: int, pause_s: float | None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.pause_s = pause_s


TRANSIENT = (
    BusyError,
    TimeoutError,
    ConnectionError,
    socket.gaierror,
    http.client.IncompleteRead,
    http.client.BadStatusLine,
    http.client.CannotSendRequest,
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
)
"""Failures of one attempt: the server is busy, silent, gone, or cut the connection."""

FAILURES = (BusyError, OSError, http.client.HTTPException)
"""Whatever may go wrong with a connection; ``Attempts`` sorts out what passes."""


def is_transient(error: Exception) -> bool:
    """Whether another attempt may succeed."""
    return isinstance(error, TRANSIENT) or (isinstance(error, OSError) and error.errno in _UNREACHED)


class Attempts:
    """Counts failures of one piece of work, waits longer after each, and gives up at last."""

    def __init__(self, patience: Patience, place: str) -> None:
        self._patience = patience
        self._place = place
        self._failures = 0
        self._reached = 0
        self._dice = random.Random()

    def failed(self, error: Exception, done_bytes: int = 0) -> None:
        """Waits before the next attempt. Work that went on by 1 MiB since the last failure counts as a fresh start.

        Raises:
            ToolMissingError: the failure is of no kind that passes, or there were too many.
        """
        if not is_transient(error):
            raise unreachable(error, self._place) from error
        if done_bytes >= self._reached + _PROGRESS_BYTES:
            self._failures, self._reached = 0, done_bytes
        self._failures += 1
        if self._failures >= self._patience.attempts:
            failed = isinstance(error, BusyError) and error.status == _FAILED
            raise ToolMissingError(
                f"the place {'failed' if failed else 'did not answer'} in {self._failures} attempts",
                where=self._place,
                got=error or type(error).__name__,
                next_step=_FAILED_STEP if failed else _NEXT_STEP,
            ) from error
        time.sleep(self._pause(error))

    def _pause(self, error: Exception) -> float:
        longest = self._patience.longest_pause_s
        if isinstance(error, BusyError) and error.pause_s is not None:
            return min(error.pause_s, longest)
        pause = min(self._patience.first_pause_s * 2.0 ** (self._failures - 1), longest)
        # Many clients that failed at one moment must not come back at one moment.
        return pause * self._dice.uniform(0.5, 1.0)


def unreachable(error: Exception, place: str) -> ToolMissingError:
    """A connection that cannot be had, as something to act on."""
    what, next_step = "the place cannot be reached", _NEXT_STEP
    if isinstance(error, ssl.SSLCertVerificationError):
        what = "the server's certificate is not trusted"
        next_step = "give the certificate of its authority with --ca FILE"
    elif isinstance(error, ssl.SSLError):
        what = "no TLS connection could be made"
        next_step = "if it speaks HTTP without TLS, and the network in between is yours, add --plain-http"
    elif isinstance(error, http.client.HTTPException):
        what, next_step = "the server's answer is not HTTP", "check the address"
    return ToolMissingError(what, where=place, got=error or type(error).__name__, next_step=next_step)
