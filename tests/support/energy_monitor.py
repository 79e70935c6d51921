"""An energy monitor at a pseudo-terminal that says what ``devices.energy`` reads, as often as a real one."""

from __future__ import annotations

import os
import pty
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

PERIOD_S = 0.02


@contextmanager
def monitor(watts: Callable[[], float]) -> Iterator[str]:
    """The terminal's name. ``watts``: what goes through at this moment."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    ended = threading.Event()

    def say() -> None:
        began = last = time.monotonic()
        joules = 0.0
        with suppress(OSError):
            while not ended.wait(PERIOD_S):
                now = time.monotonic()
                joules += watts() * (now - last)
                last = now
                # Again and again: what is said before somebody opens the port is lost.
                os.write(master, b"m-name-emon-[support 1]\r\n")
                os.write(master, f"m-lap-us-{int(1e6 * (now - began))}\r\nm-joules-{joules:.6f}\r\n".encode())

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield os.ttyname(slave)
    finally:
        ended.set()
        thread.join(5)
        os.close(slave)
        os.close(master)
