"""A way to a server that can be cut, or flip a bit, in the middle of whatever passes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class CuttableWay:
    """Passes connections on to ``port`` of this machine; ``cut`` ends all that stand."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.flip_at: int | None = None  # which byte of what the server sends from now on
        self.passed = 0  # bytes that the server has sent
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> int:
        """Ends every connection at once; returns how many."""
        with self._lock:
            ends, self._ends = self._ends, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        return len(ends)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                try:
                    there = socket.create_connection(("127.0.0.1", self._target), 5)
                except OSError:
                    here.close()
                    continue
                with self._lock:
                    self._ends |= {here, there}
                for one, other, change in ((here, there, None), (there, here, self._flipped)):
                    threading.Thread(target=self._pass, args=(one, other, change), daemon=True).start()

    def _flipped(self, data: bytes) -> bytes:
        with self._lock:
            at = None if self.flip_at is None else self.flip_at - self.passed
            self.passed += len(data)
            if at is None or not 0 <= at < len(data):
                return data
            self.flip_at = None
        return data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :]

    def _pass(self, one: socket.socket, other: socket.socket, change: Callable[[bytes], bytes] | None) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 18):
                other.sendall(data if change is None else change(data))
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._ends -= {one, other}


@contextmanager
def cuttable_way(port: int) -> Iterator[CuttableWay]:
    """The way for the length of the block."""
    way = CuttableWay(port)
    try:
        yield way
    finally:
        way.close()
