"""One connection to a server that may be slow, broken or hostile: what it sends is held to a rate and an amount."""

from __future__ import annotations

import http.client
import io
import select
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgegen.artifacts.registry_patience import BUSY, Patience, TooSlowError
from edgegen.artifacts.registry_proxy import DENIED, Proxy
from edgegen.core.errors import IntegrityError, ToolMissingError

_HEAD_BYTES = 1 << 20  # of an answer before its body, "100 Continue" and the like among it
_SEND_BYTES = 64 << 10
_BUFFER_BYTES = 256 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """A body that is read from a file while it is sent."""

    path: Path
    start: int
    size_bytes: int


class _Paced(io.RawIOBase):
    """What a socket receives, held to a rate and an amount.

    The rate is taken over windows: a server may pause within one, but not drip for longer. Reading a header line by
    line or a body chunk by chunk passes here, so there is no place where a drip could hide.
    """

    def __init__(self, sock: socket.socket, patience: Patience, first_s: float) -> None:
        self._sock = sock
        sock.settimeout(first_s)
        self._raw = sock.makefile("rb", buffering=0)
        self._patience = patience
        self._budget = _HEAD_BYTES
        self._window_end = 0.0  # 0: nothing has arrived yet
        self._in_window = 0

    def allow(self, more_bytes: int) -> None:
        self._budget += more_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._budget <= 0:
            raise IntegrityError("a server sends data without an end", expected="an answer of the announced size")
        count: int | None = self._raw.readinto(buffer)  # TimeoutError: nothing at all for so long
        now = time.monotonic()
        if not self._window_end:
            self._sock.settimeout(self._patience.window_s)
            self._window_end = now + self._patience.window_s
        self._in_window += count or 0
        self._budget -= count or 0
        if count and now >= self._window_end:
            self._next_window(now)
        return count

    def _next_window(self, now: float) -> None:
        if self._in_window < self._patience.min_bytes_per_s * self._patience.window_s:
            raise TooSlowError(
                "the server is too slow",
                got=f"{self._in_window} bytes in {self._patience.window_s:g} s",
                expected=f"at least {self._patience.min_bytes_per_s:g} bytes a second",
                next_step="try again later, or from another place",
            )
        self._window_end, self._in_window = now + self._patience.window_s, 0

    def close(self) -> None:
        self._raw.close()
        super().close()


class Response(http.client.HTTPResponse):
    """An answer that is read through ``_Paced``."""

    def __init__(self, sock: socket.socket, patience: Patience, method: str) -> None:
        super().__init__(sock, method=method)
        self.method_is_head = method == "HEAD"
        self.fp.close()
        first_s = patience.commit_s if method in ("PUT", "PATCH") else patience.answer_s
        self._paced = _Paced(sock, patience, first_s)
        self.fp = io.BufferedReader(self._paced, _BUFFER_BYTES)

    def into(self, view: memoryview) -> int:
        """Puts what has arrived into ``view``, one read of the socket at most; 0 at the end."""
        if self.chunked:
            data = self.read1(len(view))
            view[: len(data)] = data
            return len(data)
        if self.length is not None:
            view = view[: self.length]
        if self.fp is None or not len(view):
            return 0
        count: int = self.fp.readinto1(view)
        if self.length is not None:
            self.length -= count
        return count

    def allow(self, body_bytes: int) -> None:
        """Lets a body of this size arrive, and what a chunked one adds to it."""
        self._paced.allow(8 * body_bytes if self.chunked else body_bytes)


class Connection:
    """One connection, used for one request after another, directly or through a proxy."""

    def __init__(
        self, scheme: str, netloc: str, patience: Patience, context: ssl.SSLContext | None, proxy: Proxy | None = None
    ) -> None:
        self.key = (scheme, netloc)
        self._patience = patience
        self._context = context
        self._proxy = proxy
        if scheme == "https":
            self._http: http.client.HTTPConnection = http.client.HTTPSConnection(
                netloc, timeout=patience.connect_s, context=context
            )
        else:
            self._http = http.client.HTTPConnection(netloc, timeout=patience.connect_s)

    def exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | FilePart) -> Response:
        """Sends a request and reads the head of its answer."""
        try:
            return self._exchange(method, url, headers, body)
        except (OSError, http.client.HTTPException, ToolMissingError, IntegrityError):
            self.close()
            raise

    def is_quiet(self) -> bool:
        """Whether an idle connection still stands: one that has something to read was ended by the server."""
        return self._http.sock is not None and not select.select([self._http.sock], [], [], 0)[0]

    def close(self) -> None:
        """Ends it."""
        self._http.close()

    def _exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | FilePart) -> Response:
        parts = urlsplit(url)
        if self._http.sock is None:
            self._connect()
        sock: socket.socket = self._http.sock
        sock.settimeout(self._patience.window_s)
        size = body.size_bytes if isinstance(body, FilePart) else len(body)
        asked = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        if self._proxy is not None and parts.scheme == "http":
            # Without TLS there is no tunnel: a proxy is told the whole address, and reads along.
            asked, headers = f"http://{parts.netloc}{asked}", {**headers, **self._proxy.headers}
        lines = [f"{method} {asked} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in {"Host": parts.netloc, **headers}.items()]
        if size or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {size}")
        head = "\r\n".join(lines)
        if any(line.count("\n") or line.count("\r") for line in lines) or not head.isascii():
            raise IntegrityError("an address holds what none may hold", where=url)
        try:
            sock.sendall(f"{head}\r\n\r\n".encode())
            self._send(sock, body)
        except (BrokenPipeError, ConnectionResetError):
            # A server may refuse a body before it has read it; what it says then is worth more than the broken pipe.
            return self._answer(sock, method)
        return self._answer(sock, method)

    def _send(self, sock: socket.socket, body: bytes | FilePart) -> None:
        if isinstance(body, bytes):
            sock.sendall(body)
            return
        # TLS writes records of 16 KiB: while a body goes out, the kernel may put several into a segment.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        for chunk in _pieces(body):
            # A piece has the whole window to go out: the least rate that is taken from us.
            sock.sendall(chunk)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is left of it goes at once

    def _answer(self, sock: socket.socket, method: str) -> Response:
        response = Response(sock, self._patience, method)
        response.begin()
        if self._proxy is not None and response.status == DENIED:
            raise self._proxy.refused(response.status, self.key[1])
        return response

    def _connect(self) -> None:
        if self._proxy is None:
            self._http.connect()
            assert self._http.sock is not None
            self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return
        sock = self._proxy.connect(self._patience.connect_s)
        self._http.sock = sock  # whatever happens from here on, ``close`` ends it
        if self._context is not None and self.key[0] == "https":
            self._tunnel(sock, self._proxy)
            self._http.sock = self._context.wrap_socket(sock, server_hostname=urlsplit(f"//{self.key[1]}").hostname)

    def _tunnel(self, sock: socket.socket, proxy: Proxy) -> None:
        """Has the proxy pass bytes on to the server, unread (CONNECT, RFC 9110)."""
        place = self.key[1] if urlsplit(f"//{self.key[1]}").port is not None else f"{self.key[1]}:443"
        lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
        lines += [f"{name}: {value}" for name, value in proxy.headers.items()]
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
        response = Response(sock, self._patience, "CONNECT")
        response.begin()
        if response.status in BUSY:
            raise ConnectionError(f"{proxy.shown} answers HTTP {response.status}")
        if response.status != http.client.OK:
            raise proxy.refused(response.status, place)


def _pieces(part: FilePart) -> Iterator[bytes]:
    """What a file part holds. Raises IntegrityError: the file is gone, or shorter than it was."""
    left = part.size_bytes
    try:
        with part.path.open("rb", buffering=0) as stream:
            stream.seek(part.start)
            while left:
                chunk = stream.read(min(_SEND_BYTES, left))
                if not chunk:
                    raise IntegrityError("a file became shorter while it was sent", where=str(part.path))
                left -= len(chunk)
                yield chunk
    except FileNotFoundError as error:
        raise IntegrityError("a file went away while it was sent", where=str(part.path)) from error
