"""An OCI image layout read as a stranger's: every name, size and digest is checked before a byte is used."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.artifacts.parse import strict_json
from edgegen.core.errors import IntegrityError
from edgegen.core.store import EMPTY_TYPE, INDEX_TYPE, LAYOUT, MANIFEST_TYPE, MAX_MANIFEST_BYTES, TITLE

MAX_LAYERS = 64
MAX_MANIFESTS = 256
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_TITLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One file of an artifact, its bytes already checked."""

    sha256: str
    size_bytes: int
    media_type: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A manifest and its files by title."""

    manifest: Mapping[str, Any]
    layers: Mapping[str, Layer]


class SealedLayout:
    """A layout folder; remembers which blobs were named, so that the rest can be."""

    def __init__(self, root: Path, hashed: Collection[str] = ()) -> None:
        """``hashed``: hex digests of blobs that this process hashed while it wrote them: only their size is checked."""
        self._root = root
        self._hashed = hashed
        self._blobs = root / "blobs" / "sha256"
        self._named: set[str] = set()
        for folder in (root / "blobs", self._blobs):
            if not _is_folder(folder):
                raise IntegrityError("the bundle is no OCI layout", where=str(folder), expected="a folder, no link")
        marker = strict_json(read_bounded(root / "oci-layout", MAX_MANIFEST_BYTES), "oci-layout")
        if marker != LAYOUT:
            raise IntegrityError("the layout's version is not known", where="oci-layout", got=marker, expected=LAYOUT)

    def index(self) -> list[Mapping[str, Any]]:
        """The descriptors in ``index.json``, each with its artifact's type where its manifest has one.

        Other tools that copy a bundle leave out what the specification calls optional: that type, and the index's own.
        """
        index = strict_json(read_bounded(self._root / "index.json", MAX_MANIFEST_BYTES), "index.json")
        manifests, media = index.get("manifests"), index.get("mediaType", INDEX_TYPE)
        if index.get("schemaVersion") != 2 or media != INDEX_TYPE or not _are_tables(manifests):
            raise IntegrityError("the index is not an OCI index", where="index.json", expected=INDEX_TYPE)
        assert isinstance(manifests, list)
        if len(manifests) > MAX_MANIFESTS:
            raise IntegrityError(
                "the index names too many manifests", where="index.json", expected=f"<= {MAX_MANIFESTS}"
            )
        return [self._typed(item) for item in manifests]

    def _typed(self, descriptor: Mapping[str, Any]) -> Mapping[str, Any]:
        if "artifactType" in descriptor or descriptor.get("mediaType") != MANIFEST_TYPE:
            return descriptor
        blob = self._checked(descriptor, "a manifest", MAX_MANIFEST_BYTES)
        manifest = strict_json(read_bounded(blob.path, MAX_MANIFEST_BYTES), f"manifest sha256:{blob.sha256}")
        kind = manifest.get("artifactType")
        return {**descriptor, "artifactType": kind} if isinstance(kind, str) else descriptor

    def artifact(self, descriptor: Mapping[str, Any]) -> Artifact:
        """The manifest that a descriptor names, with every layer's bytes checked."""
        blob = self._checked(descriptor, "a manifest", MAX_MANIFEST_BYTES)
        manifest = strict_json(read_bounded(blob.path, MAX_MANIFEST_BYTES), f"manifest sha256:{blob.sha256}")
        where = f"manifest sha256:{blob.sha256}"
        known = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "artifactType": descriptor.get("artifactType")}
        for key, value in known.items():
            if manifest.get(key) != value:
                raise IntegrityError("a manifest is not what the index says", where=f"{where}, {key}", expected=value)
        config, layers = manifest.get("config"), manifest.get("layers")
        if not isinstance(config, dict) or config.get("mediaType") != EMPTY_TYPE or not _are_tables(layers):
            raise IntegrityError("a manifest has no empty config or no layers", where=where)
        assert isinstance(layers, list)
        if len(layers) > MAX_LAYERS:
            raise IntegrityError("a manifest has too many layers", where=where, expected=f"<= {MAX_LAYERS}")
        self._checked(config, "the empty config", 2)
        return Artifact(manifest=manifest, layers=self._layers(layers, where))

    def blob(self, descriptor: Mapping[str, Any], what: str, limit_bytes: int) -> Layer:
        """The blob that a descriptor names, its bytes checked; it may be at most ``limit_bytes`` long."""
        return self._checked(descriptor, what, limit_bytes)

    def check_nothing_else(self) -> None:
        """Refuses files and folders that nothing names."""
        allowed = {"oci-layout", "index.json", "blobs", "blobs/sha256"} | {
            f"blobs/sha256/{name}" for name in self._named
        }
        present = (path.relative_to(self._root).as_posix() for path in self._root.rglob("*"))
        found = sorted(name for name in present if name not in allowed)[:4]
        if found:
            raise IntegrityError("the bundle holds what nothing names", where=str(self._root), got=", ".join(found))

    def _layers(self, layers: list[Mapping[str, Any]], where: str) -> dict[str, Layer]:
        found: dict[str, Layer] = {}
        for layer in layers:
            annotations = layer.get("annotations")
            title = annotations.get(TITLE) if isinstance(annotations, dict) else None
            if not isinstance(title, str) or not usable_title(title):
                raise IntegrityError(
                    "a file's name is not usable", where=where, got=repr(title)[:160], expected="a plain file name"
                )
            if title in found:
                raise IntegrityError("two files have one name", where=where, got=title)
            found[title] = self._checked(layer, title, None)
        return found

    def _checked(self, descriptor: Mapping[str, Any], what: str, limit_bytes: int | None) -> Layer:
        """The blob of a descriptor after its size and digest were found right."""
        digest, size = descriptor.get("digest"), descriptor.get("size")
        name = hex_of(digest)
        if name is None or not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise IntegrityError("a descriptor is not usable", where=what, got=f"digest {digest!r}, size {size!r}")
        if limit_bytes is not None and size > limit_bytes:
            raise IntegrityError(f"{what} is larger than it may be", got=size, expected=f"<= {limit_bytes} bytes")
        path = self._blobs / name
        actual, found = (name, size_of(path)) if name in self._hashed else digest_of(path)
        if found != size:
            raise IntegrityError(
                "a file has another size than declared", where=what, got=f"{found} bytes", expected=f"{size} bytes"
            )
        if actual != name:
            raise IntegrityError(
                "a file is not what its digest says", where=what, got=f"sha256:{actual}", expected=digest,
                next_step="fetch the bundle again; do not use it",
            )  # fmt: skip
        self._named.add(path.name)
        return Layer(sha256=actual, size_bytes=size, media_type=str(descriptor.get("mediaType")), path=path)


def hex_of(digest: object) -> str | None:
    """The hex digits of ``sha256:<64 lower-case hex digits>``; None for anything else."""
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    return None if match is None else match.group(1)


def usable_title(title: object) -> bool:
    """Whether a layer's title is a plain file name: no folder, no hidden file, nothing that a file system minds."""
    return isinstance(title, str) and _TITLE.fullmatch(title) is not None


def digest_of(path: Path) -> tuple[str, int]:
    """Hex sha256 and size of a regular file, read in bounded memory.

    Raises:
        IntegrityError: missing, a link, or no regular file.
    """
    hasher, size = hashlib.sha256(), 0
    with open(open_plain(path), "rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hasher.update(chunk)
            size += len(chunk)
    return hasher.hexdigest(), size


def size_of(path: Path) -> int:
    """Size of a regular file. Raises IntegrityError as ``digest_of`` does."""
    handle = open_plain(path)
    try:
        return os.fstat(handle).st_size
    finally:
        os.close(handle)


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    """The bytes of a regular file of at most ``limit_bytes``. Raises IntegrityError as ``digest_of`` does."""
    with open(open_plain(path), "rb") as stream:
        data = stream.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise IntegrityError("a file is larger than it may be", where=path.name, expected=f"<= {limit_bytes} bytes")
    return data


def open_plain(path: Path) -> int:
    """A handle to a regular file, for reading. Raises IntegrityError: missing, a link, or no regular file."""
    try:
        # Not blocking: a named pipe in a file's place must not hang the check.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise IntegrityError("a file is missing or is a link", where=path.name, got=error.strerror) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise IntegrityError("not a regular file", where=path.name)
    return handle


def _is_folder(path: Path) -> bool:
    return os.path.lexists(path) and stat.S_ISDIR(path.lstat().st_mode)


def _are_tables(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)
