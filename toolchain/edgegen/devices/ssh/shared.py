"""One session a board for all devices of a process: a lock knows processes, not the threads and devices in them."""

from __future__ import annotations

import threading
from pathlib import Path

from edgegen.devices.ssh.session import BoardSession

_sessions: dict[tuple[str, Path], tuple[BoardSession, int]] = {}
_sessions_mutex = threading.Lock()


def share(session: BoardSession, cache: Path) -> BoardSession:
    """The session that this process has for the board already, else this one. To be given back with ``release``."""
    key = (session.url, cache)
    with _sessions_mutex:
        known, users = _sessions.get(key, (session, 0))
        _sessions[key] = (known, users + 1)
        return known


def release(session: BoardSession, cache: Path) -> None:
    """Closes the session when its last user is gone."""
    key = (session.url, cache)
    with _sessions_mutex:
        known, users = _sessions[key]
        if users > 1:
            _sessions[key] = (known, users - 1)
            return
        del _sessions[key]
        known.close()
