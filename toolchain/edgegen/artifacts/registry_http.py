"""HTTP to a server that may be slow, broken or hostile: time, rate, headers and bodies are bounded at one place.

Connections are kept open and used again. Redirects of GET and HEAD are followed to the same server or to any by https;
``Authorization`` is sent to the server that it is meant for and to no other.
"""

from __future__ import annotations

import http.client
import itertools
import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from edgegen.artifacts.registry_connection import Connection, FilePart, Response
from edgegen.artifacts.registry_patience import BUSY, FAILURES, BusyError, Patience
from edgegen.artifacts.registry_proxy import proxy_for
from edgegen.artifacts.registry_reference import is_loopback
from edgegen.artifacts.transfer import Descriptor
from edgegen.core import VERSION
from edgegen.core.errors import IntegrityError, UsageError

MAX_REDIRECTS = 5
CHUNK_BYTES = 512 << 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_IDLE_CONNECTIONS = 8
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom to believe, and whether without TLS."""

    ca: Path | None = None  # PEM file of one's own authority, beside the system's
    plain_http: bool = False

    def context(self) -> ssl.SSLContext:
        """For TLS 1.2 and later, names and certificates checked. Raises UsageError for an unusable file."""
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca is not None:
            try:
                context.load_verify_locations(cafile=self.ca)
            except (OSError, ssl.SSLError) as error:
                raise UsageError(
                    "the authority's certificate cannot be read", where=str(self.ca), got=error, expected="a PEM file"
                ) from error
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that was read to its end."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    def header(self, name: str) -> str | None:
        """A header's value, None where there is none."""
        return self.headers.get(name.lower())


class Answer:
    """A server's answer: status and headers at once, the body as it is asked for."""

    def __init__(self, response: Response, url: str) -> None:
        self._response = response
        self.url = url
        self.status = response.status

    def header(self, name: str) -> str | None:
        """A header's value, None where there is none."""
        return self._response.headers.get(name)

    def length(self) -> int | None:
        """``Content-Length`` where it is a number."""
        text = self.header("Content-Length") or ""
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None

    def read(self, limit_bytes: int) -> Reply:
        """All of it. Raises IntegrityError if it is longer than ``limit_bytes``."""
        # The answer to HEAD tells the length of a body that does not come.
        body = b"" if self._response.method_is_head else b"".join(map(bytes, self.chunks(limit_bytes)))
        headers = {name.lower(): value for name, value in self._response.headers.items()}
        return Reply(status=self.status, headers=headers, body=body)

    def chunks(self, limit_bytes: int) -> Iterator[memoryview]:
        """The body in pieces of at most 512 KiB, each valid until the next but one is asked for.

        Raises:
            IntegrityError: more than ``limit_bytes``, or data without an end.
            registry_patience.FAILURES: the connection was cut; what had arrived was given out before.
        """
        declared, total = self.length(), 0
        if declared is not None and declared > limit_bytes:
            raise _too_long(self.url, f"{declared} bytes announced", limit_bytes)
        self._response.allow(limit_bytes)
        size = CHUNK_BYTES if declared is None else min(CHUNK_BYTES, declared + 1)
        # Two, so that one can be hashed and written while the other is filled.
        buffers = itertools.cycle([memoryview(bytearray(size)), memoryview(bytearray(size))])
        ended = False
        while not ended:
            buffer = next(buffers)
            filled, failure = 0, None
            while filled < len(buffer) and failure is None:
                try:
                    count = self._response.into(buffer[filled:])
                except FAILURES as error:
                    failure = error
                else:
                    filled += count
                    if not count:
                        ended = True
                        break
            total += filled
            if total > limit_bytes:
                raise _too_long(self.url, "more and more", limit_bytes)
            if filled:
                yield buffer[:filled]
            if failure is not None:
                raise failure
        if declared is not None and total < declared:
            raise http.client.IncompleteRead(b"", declared - total)


class BlobAnswer:
    """A blob on its way from a server; what the server says of size and place is held against what was asked for."""

    def __init__(self, answer: Answer, wanted: Descriptor, start: int) -> None:
        self._answer = answer
        self._wanted = wanted
        self.start = start if answer.status == 206 else 0
        if answer.status == 206:
            match = _CONTENT_RANGE.fullmatch(answer.header("Content-Range") or "")
            if match is None or int(match.group(1)) != start or match.group(2) not in ("*", str(wanted.size_bytes)):
                raise self._wrong(answer.header("Content-Range"), f"bytes {start}-…/{wanted.size_bytes}")
        length = answer.length()
        if length is not None and length != wanted.size_bytes - self.start:
            raise self._wrong(f"{length} bytes", f"{wanted.size_bytes - self.start} bytes")

    def chunks(self) -> Iterator[memoryview]:
        """What arrives, unchecked, never more than was announced."""
        return self._answer.chunks(self._wanted.size_bytes - self.start)

    def _wrong(self, got: str | None, expected: str) -> IntegrityError:
        return IntegrityError(
            "a file has another size than declared",
            where=f"{self._answer.url}, {self._wanted.digest}",
            got=got,
            expected=expected,
        )


class Http:
    """Connections to one or more servers; safe for several threads."""

    def __init__(self, patience: Patience, trust: Trust) -> None:
        self.patience = patience
        self._trust = trust
        self._context: ssl.SSLContext | None = None
        self._idle: dict[tuple[str, str], list[Connection]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | FilePart = b"",
    ) -> Iterator[Answer]:
        """One request and its answer, redirects followed for GET and HEAD.

        Raises:
            registry_patience.TRANSIENT: this attempt failed.
            BusyError: the server asks to come again.
            TooSlowError: the answer drips.
            IntegrityError: a redirect to where it must not lead, or an answer without an end.
        """
        sent = {"User-Agent": f"edgegen/{VERSION}", "Accept-Encoding": "identity", **(headers or {})}
        for _ in range(MAX_REDIRECTS + 1):
            connection = self._connection(url)
            response = connection.exchange(method, url, sent, body)
            try:
                target = response.headers.get("Location")
                if response.status not in _REDIRECTS or method not in ("GET", "HEAD") or target is None:
                    if response.status in BUSY:
                        raise BusyError(response.status, _seconds(response.headers.get("Retry-After")))
                    yield Answer(response, url)
                    return
                following = _followed(url, target)
                if urlsplit(following).netloc != urlsplit(url).netloc:
                    sent = {name: value for name, value in sent.items() if name.lower() != "authorization"}
                url = following
            finally:
                self._give_back(connection, response)
        raise IntegrityError("a server sends us round and round", where=url, expected=f"<= {MAX_REDIRECTS} redirects")

    def close(self) -> None:
        """Ends every idle connection."""
        with self._lock:
            for connection in (item for items in self._idle.values() for item in items):
                connection.close()
            self._idle.clear()

    def _connection(self, url: str) -> Connection:
        parts = urlsplit(url)
        key = (parts.scheme, parts.netloc)
        with self._lock:
            idle = self._idle.get(key, [])
            while idle:
                connection = idle.pop()
                if connection.is_quiet():
                    return connection
                connection.close()
            if self._context is None and parts.scheme == "https":
                self._context = self._trust.context()
        return Connection(
            parts.scheme, parts.netloc, self.patience, self._context, proxy_for(parts.scheme, parts.netloc)
        )

    def _give_back(self, connection: Connection, response: Response) -> None:
        """Keeps a connection whose answer was read to its end; another's state is not known."""
        whole = response.isclosed() or response.length == 0
        response.close()
        if not whole or response.will_close:
            connection.close()
            return
        with self._lock:
            idle = self._idle.setdefault(connection.key, [])
            if len(idle) < _IDLE_CONNECTIONS:
                idle.append(connection)
                return
        connection.close()


def _followed(url: str, target: str) -> str:
    """Where a redirect leads. Raises IntegrityError unless it is the same server, or any by https."""
    try:
        following = urljoin(url, target)
        old, new = urlsplit(url), urlsplit(following)
        same = (new.scheme, new.netloc) == (old.scheme, old.netloc)
        allowed = bool(new.hostname) and "@" not in new.netloc and (new.scheme == "https" or same)
    except ValueError:
        allowed = False
    if not allowed:
        raise IntegrityError(
            "a redirect leads where it must not", where=url, got=target, expected="https, or the same server"
        )
    return following


def plain_fallback(host: str, error: Exception) -> bool:
    """Whether to speak HTTP without TLS to this machine itself, which answered TLS with something else."""
    wrong = isinstance(error, ssl.SSLError | ConnectionResetError) and not isinstance(
        error, ssl.SSLCertVerificationError
    )
    return wrong and is_loopback(host)


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 9 else None


def _too_long(url: str, got: str, limit_bytes: int) -> IntegrityError:
    return IntegrityError(
        "a server sends more than it may", where=url, got=got, expected=f"at most {limit_bytes} bytes"
    )
