"""File locks between processes (flock): released by the kernel however a process ends."""

from __future__ import annotations

import errno
import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgegen.core.errors import ToolMissingError

_POLL_S = 0.05


@contextmanager
def locked(
    path: Path,
    *,
    shared: bool = False,
    timeout_s: float | None = None,
    on_wait: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Holds an advisory lock on ``path`` (made if absent) for the length of the block.

    Args:
        shared: several holders at once, none of them exclusive.
        timeout_s: how long to wait; None waits for ever, 0 does not wait.
        on_wait: called once if another process holds the lock.

    Raises:
        ToolMissingError: the lock was not to be had within ``timeout_s``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    waited = False
    with path.open("a") as handle:
        while True:
            try:
                fcntl.flock(handle, mode | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
            if not waited and on_wait is not None:
                on_wait()
            waited = True
            if deadline is not None and time.monotonic() >= deadline:
                raise ToolMissingError(
                    "another edgegen process holds the lock",
                    where=str(path),
                    next_step="wait for it to finish, or end it, and repeat the command",
                )
            time.sleep(_POLL_S)
        yield
