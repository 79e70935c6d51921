"""Where an update comes from: a folder, or the same folder on a web server. Both are strangers."""

from __future__ import annotations

import hashlib
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.client import HTTPException, HTTPResponse
from io import BufferedReader
from pathlib import Path
from typing import Protocol

from edgegen_runtime.sealed_bundle import Named
from edgegen_runtime.strict import RefusedError, UnreachableError

_CHUNK_BYTES = 1 << 18
_SILENCE_S = 30.0
_FROM = re.compile(r"bytes (\d{1,18})-")


class Hash(Protocol):
    """What takes bytes and gives their digest in the end."""

    def update(self, data: bytes, /) -> None:
        """More bytes."""

    def hexdigest(self) -> str:
        """Of all of them."""


class Reading(Protocol):
    """Bytes that come in."""

    def read1(self, most: int, /) -> bytes:
        """Some bytes, at most as many; none at the end."""


class Source(Protocol):
    """Files of a layout by their name in it."""

    def open(self, name: str) -> AbstractContextManager[Reading]:
        """The bytes of a file. Raises UnreachableError."""

    def resume(self, name: str, start: int) -> AbstractContextManager[Reading | None]:
        """The bytes of a file from ``start`` on; None where it cannot begin there. Raises UnreachableError."""


class FolderSource:
    """A layout in a folder: a USB stick, a mounted share."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def open(self, name: str) -> Iterator[BufferedReader]:
        """See Source."""
        try:
            stream = (self._root / name).open("rb")
        except OSError as error:
            raise UnreachableError(f"{self._root / name} cannot be read: {error.strerror}") from error
        with stream:
            yield stream

    @contextmanager
    def resume(self, name: str, start: int) -> Iterator[Reading | None]:
        """See Source."""
        with self.open(name) as stream:
            stream.seek(start)
            yield stream


class WebSource:
    """A layout on a web server, below an address that begins with http:// or https://."""

    def __init__(self, address: str) -> None:
        if not address.startswith(("http://", "https://")):
            raise UnreachableError(f"not an address: {address[:200]}")
        self._address = address.rstrip("/")

    def open(self, name: str) -> AbstractContextManager[Reading]:
        """See Source."""
        return self._answer(name, {})

    @contextmanager
    def resume(self, name: str, start: int) -> Iterator[Reading | None]:
        """See Source. A server that does not know ranges sends the whole, and is asked again."""
        with self._answer(name, {"Range": f"bytes={start}-"}) as answer:
            begins = _FROM.match(answer.headers.get("Content-Range", ""))
            yield answer if begins is not None and int(begins.group(1)) == start else None

    @contextmanager
    def _answer(self, name: str, headers: dict[str, str]) -> Iterator[HTTPResponse]:
        url = f"{self._address}/{name}"
        request = urllib.request.Request(url, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=_SILENCE_S) as answer:
                yield answer
        except (urllib.error.URLError, HTTPException, OSError) as error:
            raise UnreachableError(f"{url} cannot be fetched: {error}") from error


def source_of(text: str) -> Source:
    """The source that a person names. Raises UnreachableError for an address of another kind."""
    return WebSource(text) if "://" in text else FolderSource(Path(text))


def chunks(source: Source, name: str, wanted: Named, deadline: float) -> Iterator[bytes]:
    """The bytes of a blob, checked as they come.

    Args:
        deadline: ``time.monotonic()`` after which nothing is waited for: a source that drips must not hold the device.

    Raises:
        RefusedError: more or fewer bytes than the descriptor says, or others.
        UnreachableError: the source stops.
    """
    with source.open(name) as stream:
        yield from checked(stream, name, wanted, hashlib.sha256(), wanted.size_bytes, deadline)


def checked(stream: Reading, name: str, wanted: Named, hasher: Hash, left: int, deadline: float) -> Iterator[bytes]:
    """The last ``left`` bytes of a blob as they come; ``hasher`` has taken those before. Raises as ``chunks`` does."""
    while chunk := _next(stream, deadline, name):
        left -= len(chunk)
        if left < 0:
            break
        hasher.update(chunk)
        yield chunk
    if left > 0:
        raise UnreachableError(f"{name} ends early: {left} bytes are missing")
    if left < 0 or hasher.hexdigest() != wanted.sha256:
        raise RefusedError(f"{name} is not what the manifest says of it")


def document(source: Source, name: str, limit_bytes: int, deadline: float) -> bytes:
    """A small file whole.

    Raises:
        RefusedError: it is larger than ``limit_bytes``.
        UnreachableError: the source stops.
    """
    data = b""
    with source.open(name) as stream:
        while chunk := _next(stream, deadline, name):
            data += chunk
            if len(data) > limit_bytes:
                raise RefusedError(f"{name} is larger than it may be: at most {limit_bytes} bytes")
    return data


def _next(stream: Reading, deadline: float, name: str) -> bytes:
    if time.monotonic() > deadline:
        raise UnreachableError(f"{name} takes too long")
    return stream.read1(_CHUNK_BYTES)
