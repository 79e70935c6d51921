"""Where an update comes from: a folder, or the same folder on a web server. Both are strangers."""

from __future__ import annotations

import hashlib
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Protocol

from edgegen_runtime.sealed_bundle import Named
from edgegen_runtime.strict import RefusedError, UnreachableError

_CHUNK_BYTES = 1 << 18
_SILENCE_S = 30.0


class Reading(Protocol):
    """Bytes that come in."""

    def read1(self, most: int, /) -> bytes:
        """Some bytes, at most as many; none at the end."""


class Source(Protocol):
    """Files of a layout by their name in it."""

    def open(self, name: str) -> AbstractContextManager[Reading]:
        """The bytes of a file. Raises UnreachableError."""


class FolderSource:
    """A layout in a folder: a USB stick, a mounted share."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def open(self, name: str) -> Iterator[Reading]:
        """See Source."""
        try:
            stream = (self._root / name).open("rb")
        except OSError as error:
            raise UnreachableError(f"{self._root / name} cannot be read: {error.strerror}") from error
        with stream:
            yield stream


class WebSource:
    """A layout on a web server, below an address that begins with http:// or https://."""

    def __init__(self, address: str) -> None:
        if not address.startswith(("http://", "https://")):
            raise UnreachableError(f"not an address: {address[:200]}")
        self._address = address.rstrip("/")

    @contextmanager
    def open(self, name: str) -> Iterator[Reading]:
        """See Source."""
        url = f"{self._address}/{name}"
        try:
            with urllib.request.urlopen(url, timeout=_SILENCE_S) as answer:
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
    hasher, left = hashlib.sha256(), wanted.size_bytes
    with source.open(name) as stream:
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
