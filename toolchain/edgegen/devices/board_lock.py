"""One job a board: a lock of this machine's own, for all edgegen processes that share its cache folder.

A board that is reached by ssh has a lock too (``devices/ssh/guard.sh``), for jobs that come from other machines; a
serial port is opened for one process alone, whatever program it is.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edgegen.core.digests import sha256_bytes
from edgegen.core.errors import ToolMissingError
from edgegen.core.locks import locked
from edgegen.core.ports import Progress

WAIT_S = 1800.0
_MAX_BYTES = 1000


class BusyError(ToolMissingError):
    """Another job holds the board."""

    def __init__(self, url: str, by: str) -> None:
        super().__init__(
            "another job holds the board",
            where=url,
            got=by,
            next_step="wait for it to finish, or end it, and repeat the command",
        )


@contextmanager
def board_locked(cache: Path, url: str, progress: Progress, *, wait_s: float = WAIT_S) -> Iterator[None]:
    """Holds the board at ``url`` for the length of the block; the kernel gives it back however the process ends.

    Args:
        wait_s: how long to wait for it; 0 does not wait.

    Raises:
        BusyError: another process holds it for longer; the message says which.
    """
    path = cache / "boards" / f"{sha256_bytes(url.encode())[:16]}.lock"
    held_by = path.with_suffix(".holder")

    def say() -> None:
        if wait_s > 0:
            progress.say(f"{url}: waiting for {_read(held_by)}")

    with ExitStack() as held:
        try:
            held.enter_context(locked(path, timeout_s=wait_s, on_wait=say))
        except ToolMissingError as error:
            raise BusyError(url, _read(held_by)) from error
        held_by.write_text(holder(), encoding="utf-8")
        held.callback(held_by.unlink, missing_ok=True)
        yield


_taken: dict[Path, tuple[ExitStack, int]] = {}  # by this process, and how often
_taken_mutex = threading.Lock()


def take_board(cache: Path, url: str, progress: Progress, *, wait_s: float = WAIT_S) -> Callable[[], None]:
    """Holds the board until the returned function is called; devices of one process hold it together.

    A port goes by what it is, not by what it is called: ``/dev/serial/by-id/…`` is the lock of ``/dev/ttyACM0``.

    Raises: as ``board_locked`` does.
    """
    name = os.path.realpath(url) if url.startswith("/") else url
    key = cache / name.strip("/")
    with _taken_mutex:
        held, times = _taken.get(key, (ExitStack(), 0))
        if times == 0:
            held.enter_context(board_locked(cache, name, progress, wait_s=wait_s))
        _taken[key] = (held, times + 1)
    given_back = False

    def give_back() -> None:
        nonlocal given_back
        with _taken_mutex:
            if given_back:
                return
            given_back = True
            kept, left = _taken[key]
            if left > 1:
                _taken[key] = (kept, left - 1)
                return
            del _taken[key]
            kept.close()

    return give_back


def holder() -> str:
    """Who holds a board, for others to read: one line of plain characters."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user number without a name
        user = str(os.getuid())
    told = f"process {os.getpid()} of {user} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"
    return re.sub(r"[^A-Za-z0-9 .,:_-]", "?", told)[:160]


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            text = stream.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return "another process"
    return " ".join(text.split()) or "another process"
