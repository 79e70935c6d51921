"""An OCI image layout as a place to pull from: a folder, or the same files on any static web server.

``index.json`` names manifests by tag. Those about another stand in it themselves, or in an index under the tag
``sha256-<hex>``, as registries have it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Protocol

from edgegen.artifacts.layout import BUNDLE_TYPE, RELEASES_TYPE
from edgegen.artifacts.parse import strict_json
from edgegen.artifacts.registry_http import BlobAnswer, Http
from edgegen.artifacts.registry_patience import FAILURES, Attempts
from edgegen.artifacts.registry_reference import LATEST
from edgegen.artifacts.sealed import hex_of, open_plain, read_bounded
from edgegen.artifacts.transfer import (
    BlobStream,
    Descriptor,
    Fetched,
    checked_bytes,
    is_index,
    read_index,
    read_manifest,
    referrers_tag,
)
from edgegen.core.errors import IntegrityError, ToolMissingError, UsageError
from edgegen.core.store import INDEX_TYPE, LAYOUT, MANIFEST_TYPE, MAX_MANIFEST_BYTES, REF_NAME

_CHUNK_BYTES = 1 << 20


class Files(Protocol):
    """Where a layout's files are had from."""

    place: str

    def small(self, path: str) -> bytes | None:
        """A file of at most 4 MiB, None where there is none."""

    def blob(self, path: str, wanted: Descriptor, start: int) -> AbstractContextManager[BlobStream]:
        """A blob from ``start`` on. Raises IntegrityError if it is missing or of another size."""


class LayoutSource:
    """The artifacts of a layout."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.place = files.place
        marker = files.small("oci-layout")
        if marker is None:
            raise UsageError("there is no OCI layout", where=self.place, expected="the file oci-layout")
        if strict_json(marker, "oci-layout") != LAYOUT:
            raise IntegrityError("the layout's version is not known", where=f"{self.place}, oci-layout")
        self._index = read_index(files.small("index.json") or b"", f"{self.place}, index.json")

    def resolve(self, reference: str) -> Fetched:
        """The manifest or index of a tag or digest; ``latest`` is the only bundle of a layout that has no such tag."""
        found = self.find(reference)
        if found is None and hex_of(reference):
            data = self.manifest(reference)
            media = INDEX_TYPE if is_index(data, f"{self.place}, {reference}") else MANIFEST_TYPE
            return Fetched(descriptor=Descriptor(digest=reference, size_bytes=len(data), media_type=media), data=data)
        if found is None:
            tags = ", ".join(self.tags()[-12:]) or None
            raise ToolMissingError("there is no such artifact", where=self.place, got=reference, expected=tags)
        return found

    def find(self, tag: str) -> Fetched | None:
        """The manifest or index of a tag, None if there is none."""
        found = self._named(tag)
        if found is None:
            return None
        data = self.manifest(found.digest)
        if len(data) != found.size_bytes:
            raise IntegrityError(
                "a manifest has another size than declared",
                where=f"{self.place}, {found.digest}",
                got=f"{len(data)} bytes",
                expected=f"{found.size_bytes} bytes",
            )
        return Fetched(descriptor=found, data=data)

    def tags(self) -> list[str]:
        """Tags of the layout, sorted."""
        return sorted(tag for item in self._index if (tag := item.annotations.get(REF_NAME)) and ":" not in tag)

    def manifest(self, digest: str) -> bytes:
        """The bytes of a manifest."""
        data = self._files.small(_path(digest))
        if data is None:
            raise IntegrityError("a manifest is missing", where=self.place, expected=digest)
        return checked_bytes(data, digest, "a manifest", self.place)

    def referrers(self, digest: str) -> list[Descriptor]:
        """What has this manifest as its subject, in the index's order."""
        listed = self._named(referrers_tag(digest))
        found = [] if listed is None else read_index(self.manifest(listed.digest), f"{self.place}, referrers")
        known = {item.digest for item in found} | {digest}
        for item in self._index:
            if item.media_type != MANIFEST_TYPE or item.digest in known:
                continue
            if self._kind(item) not in (None, RELEASES_TYPE):
                manifest = read_manifest(self.manifest(item.digest), item.digest, f"{self.place}, {item.digest}")
                if manifest.subject == digest:
                    found.append(replace(manifest.descriptor, annotations=item.annotations))
                    known.add(item.digest)
        return found

    def blob(self, wanted: Descriptor, start: int) -> AbstractContextManager[BlobStream]:
        """The bytes of a blob from ``start`` on, or from 0 where the place cannot begin in the middle."""
        return self._files.blob(_path(wanted.digest), wanted, start)

    def close(self) -> None:
        """Nothing is left open."""

    def _named(self, reference: str) -> Descriptor | None:
        for item in self._index:
            if reference in (item.annotations.get(REF_NAME), item.digest):
                return item
        if reference != LATEST:
            return None
        bundles = [item for item in self._index if self._kind(item) == BUNDLE_TYPE]
        return bundles[0] if len(bundles) == 1 else None

    def _kind(self, item: Descriptor) -> str | None:
        """The artifact's type; other tools leave it out of their index, and an image has none."""
        if item.media_type != MANIFEST_TYPE or item.artifact_type is not None:
            return item.artifact_type
        kind = strict_json(self.manifest(item.digest), f"{self.place}, {item.digest}").get("artifactType")
        return kind if isinstance(kind, str) else None


class FolderFiles:
    """A layout in a folder; no link is followed inside it."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UsageError("there is no such folder", where=str(root), expected="an OCI image layout")
        self._root = root
        self.place = str(root)

    def small(self, path: str) -> bytes | None:
        """A file of at most 4 MiB, None where there is none."""
        if not os.path.lexists(self._root / path):
            return None
        return read_bounded(self._plain(path), MAX_MANIFEST_BYTES)

    @contextmanager
    def blob(self, path: str, wanted: Descriptor, start: int) -> Iterator[FileStream]:
        """A blob from ``start`` on."""
        with open(open_plain(self._plain(path)), "rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size != wanted.size_bytes:
                raise IntegrityError(
                    "a file has another size than declared",
                    where=f"{self.place}, {wanted.digest}",
                    got=f"{size} bytes",
                    expected=f"{wanted.size_bytes} bytes",
                )
            stream.seek(start)
            yield FileStream(stream, start, wanted.size_bytes - start)

    def _plain(self, path: str) -> Path:
        for folder in ("blobs", "blobs/sha256"):
            if (self._root / folder).is_symlink():
                raise IntegrityError("a folder of the layout is a link", where=f"{self.place}/{folder}")
        return self._root / path


class FileStream:
    """A blob that lies in a file."""

    def __init__(self, stream: FileIO, start: int, size_bytes: int) -> None:
        self._read = stream.read
        self._left = size_bytes
        self.start = start

    def chunks(self) -> Iterator[bytes | memoryview]:
        """What the file holds, at most as much as it held when it was opened."""
        while self._left and (chunk := self._read(min(_CHUNK_BYTES, self._left))):
            self._left -= len(chunk)
            yield chunk


class WebFiles:
    """A layout on a web server, which needs to know GET alone."""

    def __init__(self, http: Http, address: str) -> None:
        self._http = http
        self.place = address

    def small(self, path: str) -> bytes | None:
        """A file of at most 4 MiB, None where there is none."""
        attempts = Attempts(self._http.patience, self.place)
        while True:
            try:
                with self._http.ask("GET", f"{self.place}/{path}") as answer:
                    reply = answer.read(MAX_MANIFEST_BYTES)
                break
            except FAILURES as error:
                attempts.failed(error)
        if reply.status in (404, 410):
            return None
        if reply.status != 200:
            raise self._refused(path, reply.status)
        return reply.body

    @contextmanager
    def blob(self, path: str, wanted: Descriptor, start: int) -> Iterator[BlobAnswer]:
        """A blob from ``start`` on, or from 0 where the server does not know ranges."""
        ranged = {"Range": f"bytes={start}-"} if start else {}
        with self._http.ask("GET", f"{self.place}/{path}", ranged) as answer:
            if answer.status in (404, 410, 416):
                raise IntegrityError("a file is missing or too short", where=self.place, expected=wanted.digest)
            if answer.status not in (200, 206):
                raise self._refused(path, answer.status)
            yield BlobAnswer(answer, wanted, start)

    def _refused(self, path: str, status: int) -> ToolMissingError:
        return ToolMissingError("the web server refuses a file", where=f"{self.place}/{path}", got=f"HTTP {status}")


def _path(digest: str) -> str:
    return f"blobs/sha256/{hex_of(digest)}"
