"""Lines of text from a serial port or a socket: bounded in length and time, and nothing that arrives damaged is hidden.

A URL names the port as pyserial does: ``/dev/ttyUSB0``, ``socket://host:port``, ``rfc2217://host:port``, ``loop://``.
"""

from __future__ import annotations

import re
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import urlsplit

from edgegen.core.errors import ToolMissingError, UsageError
from edgegen.core.lazy import load
from edgegen.core.ports import Progress, Silent

_POLL_S = 0.05
_CONNECT_S = 5.0
_PULSE_S = 0.1
_CHUNK_BYTES = 4096
_TOLD = 3  # damaged lines that are shown one by one; later ones are counted
_DEVICE = re.compile(r"/dev/.+|COM[0-9]+")


class _Port(Protocol):
    """Raises OSError when the other side is gone."""

    def read(self) -> bytes:
        """What has arrived; empty if nothing does for a short while."""

    def write(self, data: bytes) -> None: ...

    def pulse(self, wire: str) -> None: ...

    def close(self) -> None: ...


class LineLink:
    """An open port. Use as a context manager; ``open_lines`` makes one.

    ``count``, ``garbled`` and ``overlong`` tell how many lines ended so far, how many of them were no UTF-8, and how
    many were longer than allowed.
    """

    def __init__(self, port: _Port, url: str, timeout_s: float, max_line_bytes: int, progress: Progress) -> None:
        self.count = self.garbled = self.overlong = 0
        self._port = port
        self._url = url
        self._timeout_s = timeout_s
        self._most = max_line_bytes
        self._progress = progress
        self._head = bytearray()  # of the line that has not ended, at most ``_most`` bytes and one of its end
        self._length = 0  # of that line, all of it
        self._ended: deque[str] = deque()

    def __enter__(self) -> LineLink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def lines(self) -> Iterator[str]:
        """Line after line without its end; never ends by itself. Raises as ``line`` does."""
        while True:
            yield self.line()

    def line(self, timeout_s: float | None = None) -> str:
        """The next line. One that is no UTF-8 has its bad bytes as ``\\xNN``; one that is too long is cut and says so.

        Args:
            timeout_s: the longest wait; None: the link's own.

        Raises:
            ToolMissingError: no line ended within that time, or the other side is gone.
        """
        longest_s = self._timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + longest_s
        while not self._ended:
            try:
                chunk = self._port.read()
            except OSError as error:
                raise self._gone(error) from error
            self._take(chunk)
            if not self._ended and time.monotonic() > deadline:
                raise ToolMissingError(
                    f"no line came within {longest_s:g} s",
                    where=self._url,
                    got=f"{self.count} lines before, and {self._length} bytes of a line that does not end",
                    next_step="check that the device is running, its cable, and its baud rate",
                )
        return self._ended.popleft()

    def send(self, text: str) -> None:
        """Sends one line.

        Raises:
            ToolMissingError: the other side is gone.
        """
        self.write(text.encode() + b"\n")

    def write(self, data: bytes) -> None:
        """Sends bytes as they are. Raises as ``send`` does."""
        try:
            self._port.write(data)
        except OSError as error:
            raise self._gone(error) from error

    def pulse(self, wire: str) -> None:
        """Pulls a control wire of a serial port, ``dtr`` or ``rts``, for a tenth of a second: many boards reset by it.

        Raises:
            UsageError: the port has no such wire.
            ToolMissingError: the other side is gone.
        """
        if wire not in ("dtr", "rts"):
            raise UsageError("no wire that a board is reset by", where=self._url, got=wire, expected="dtr or rts")
        try:
            self._port.pulse(wire)
        except OSError as error:
            raise self._gone(error) from error

    def drain(self, quiet_s: float, timeout_s: float) -> None:
        """Drops everything that has come or comes before nothing did for ``quiet_s``, but no longer than ``timeout_s``.

        Raises:
            ToolMissingError: the other side is gone.
        """
        self._ended.clear()
        begun = last = time.monotonic()
        while time.monotonic() - last < quiet_s and time.monotonic() - begun < timeout_s:
            try:
                chunk = self._port.read()
            except OSError as error:
                raise self._gone(error) from error
            last = time.monotonic() if chunk else last
        self._head.clear()
        self._length = 0

    def close(self) -> None:
        """Closes the port and says how many lines were damaged."""
        with suppress(OSError):  # of a device that was pulled out
            self._port.close()
        if self.garbled or self.overlong:
            self._progress.say(
                f"{self._url}: {self.count} lines, of which {self.garbled} are no UTF-8 and {self.overlong} too long"
            )

    def _take(self, chunk: bytes) -> None:
        *ends, rest = chunk.split(b"\n")
        for piece in ends:
            self._grow(piece)
            self._ended.append(self._text())
        self._grow(rest)

    def _grow(self, piece: bytes) -> None:
        self._head += piece[: self._most + 1 - len(self._head)]
        self._length += len(piece)

    def _text(self) -> str:
        """The line that has just ended."""
        raw, length = bytes(self._head), self._length
        if length == len(raw) and raw.endswith(b"\r"):
            raw, length = raw[:-1], length - 1
        self._head.clear()
        self._length = 0
        self.count += 1
        text = raw[: self._most].decode(errors="backslashreplace")
        if length > self._most:
            self.overlong += 1
            text += f"... [cut at {self._most} bytes]"
            self._tell(self.overlong, "too long", text)
        elif text.encode() != raw:
            self.garbled += 1
            self._tell(self.garbled, "no UTF-8", text)
        return text

    def _tell(self, times: int, what: str, text: str) -> None:
        if times <= _TOLD:
            self._progress.say(f"{self._url}: line {self.count} is {what}: {text[:80]!r}")

    def _gone(self, error: OSError) -> ToolMissingError:
        return ToolMissingError(
            "the connection is lost",
            where=self._url,
            got=f"{error}, after {self.count} lines and {self._length} bytes of a line that did not end",
            next_step="check the device and its cable, and begin again",
        )


def open_lines(
    url: str,
    *,
    baud: int = 115_200,
    timeout_s: float = 5.0,
    max_line_bytes: int = 4096,
    progress: Progress | None = None,
) -> LineLink:
    """Opens a port.

    Args:
        baud: rate of a serial line; sockets have none.
        timeout_s: the longest wait for one line.
        max_line_bytes: longest line that is given whole; the end of its own is not counted.
        progress: is told of damaged lines.

    Raises:
        UsageError: no such kind of URL, or a number that is not positive.
        ToolMissingError: the port cannot be opened, or pyserial is not installed.
    """
    if baud < 1 or timeout_s <= 0 or max_line_bytes < 1:
        raise UsageError(
            "a port needs positive numbers",
            where=url,
            got=f"baud {baud}, timeout {timeout_s} s, lines of {max_line_bytes} bytes",
        )
    scheme = urlsplit(url).scheme.lower() if "://" in url else ""
    if scheme == "socket":
        port: _Port = _Socket.connect(url)
    elif scheme in ("loop", "rfc2217") or (not scheme and _DEVICE.fullmatch(url)):
        port = _Serial(url, baud, exclusive=not scheme)
    else:
        raise UsageError(
            "no port that lines can be read from",
            where=url,
            expected="a device such as /dev/ttyUSB0, socket://host:port or rfc2217://host:port",
        )
    return LineLink(port, url, timeout_s, max_line_bytes, progress or Silent())


def connected_lines(
    connection: socket.socket,
    name: str,
    *,
    timeout_s: float = 5.0,
    max_line_bytes: int = 4096,
    progress: Progress | None = None,
) -> LineLink:
    """Lines of a socket that is connected already; ``name`` is what errors call it. See ``open_lines``."""
    return LineLink(_Socket(connection), name, timeout_s, max_line_bytes, progress or Silent())


class _Socket:
    """A connection. Not pyserial's: that one loses what came just before the other side closed."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(_POLL_S)

    @classmethod
    def connect(cls, url: str) -> _Socket:
        """By TCP."""
        try:
            parts = urlsplit(url)
            host, number = parts.hostname, parts.port
        except ValueError as error:
            raise UsageError("no address", where=url, got=error, expected="socket://host:port") from error
        if not host or not number or parts.path.strip("/") or parts.query:
            raise UsageError("no address", where=url, expected="socket://host:port")
        try:
            connection = socket.create_connection((host, number), timeout=_CONNECT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise _not_opened(url, error) from error
        return cls(connection)

    def read(self) -> bytes:
        try:
            chunk = self._socket.recv(_CHUNK_BYTES)
        except TimeoutError:
            return b""
        if not chunk:
            raise ConnectionError("the other side closed the connection")
        return chunk

    def write(self, data: bytes) -> None:
        self._socket.settimeout(_CONNECT_S)
        self._socket.sendall(data)
        self._socket.settimeout(_POLL_S)

    def pulse(self, wire: str) -> None:
        raise UsageError("a socket has no wires", got=wire, expected="a serial port, or rfc2217://")

    def close(self) -> None:
        self._socket.close()


class _Serial:
    """A port of pyserial; its errors are OSErrors."""

    def __init__(self, url: str, baud: int, *, exclusive: bool) -> None:
        more: dict[str, Any] = {"write_timeout": _CONNECT_S, **({"exclusive": True} if exclusive else {})}
        if url.lower().startswith("rfc2217:"):
            # pyserial has a limit of its own there (5 s) and refuses another. Many servers have no wires to answer
            # for (a terminal, a USB device), so their answers are not waited for.
            url, more = f"{url}{'&' if '?' in url else '?'}ign_set_control", {}
        make = load("serial:serial_for_url", extra="serial")
        try:
            self._port: Any = make(url, baudrate=baud, timeout=_POLL_S, **more)
        except (OSError, ValueError) as error:
            raise _not_opened(url, error) from error

    def read(self) -> bytes:
        waiting = min(self._port.in_waiting, _CHUNK_BYTES)
        return bytes(self._port.read(waiting or 1))

    def write(self, data: bytes) -> None:
        self._port.write(data)

    def pulse(self, wire: str) -> None:
        for level in (False, True):
            setattr(self._port, wire, level)
            time.sleep(_PULSE_S)

    def close(self) -> None:
        self._port.close()


def _not_opened(url: str, error: Exception) -> ToolMissingError:
    denied = isinstance(error, OSError) and "Permission denied" in str(error)
    return ToolMissingError(
        "the port cannot be opened",
        where=url,
        got=error,
        next_step="join the group that owns the port (dialout on Debian), and log in again"
        if denied
        else "check that the device is there, that nothing else uses it, and how it is spelt",
    )
