"""The content-addressed store: an OCI image layout on disk.

Cache, bundle and registry speak this one language, so handing something over is copying blobs. Writes are atomic
(temporary file, fsync, rename); a blob is only ever written once and its digest is its name. ``index.json`` names
manifests by tag and is replaced under a lock, so several processes share one store.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.core.digests import canonical_json, sha256_bytes, sha256_file
from edgegen.core.errors import IntegrityError, StorageError
from edgegen.core.locks import locked

LAYOUT = {"imageLayoutVersion": "1.0.0"}
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
TITLE = "org.opencontainers.image.title"
REF_NAME = "org.opencontainers.image.ref.name"
MAX_MANIFEST_BYTES = 4 << 20  # what registries accept; a larger one is hostile
_CHUNK_BYTES = 1 << 20
_PROBE_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A file in a store."""

    sha256: str
    size_bytes: int
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a store holds."""

    blobs: int
    bytes: int
    manifests: int


class Store:
    """An OCI image layout under ``root``. Safe for several processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = root / "blobs" / "sha256"
        self.scratch = root / "tmp"
        try:
            self._blobs.mkdir(parents=True, exist_ok=True)
            self.scratch.mkdir(exist_ok=True)
            if not (root / "oci-layout").exists():
                self._replace(root / "oci-layout", canonical_json(LAYOUT))
        except OSError as error:
            raise unwritable(root, error) from error

    # -- blobs ---------------------------------------------------------------------------------------------------

    def add_bytes(self, data: bytes) -> Blob:
        """Stores ``data`` under its digest."""
        digest = sha256_bytes(data)
        target = self._blobs / digest
        if not target.exists():
            self._replace(target, data)
        return Blob(sha256=digest, size_bytes=len(data), path=target)

    def add_file(self, source: Path) -> Blob:
        """Copies a file into the store under its digest, in bounded memory."""
        hasher = hashlib.sha256()
        size = 0
        try:
            descriptor, name = tempfile.mkstemp(dir=self.scratch)
            try:
                with os.fdopen(descriptor, "wb") as sink, source.open("rb") as stream:
                    while chunk := stream.read(_CHUNK_BYTES):
                        hasher.update(chunk)
                        sink.write(chunk)
                        size += len(chunk)
                    sink.flush()
                    os.fsync(sink.fileno())
                target = self._blobs / hasher.hexdigest()
                os.replace(name, target)
            finally:
                Path(name).unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self.root, error) from error
        return Blob(sha256=target.name, size_bytes=size, path=target)

    def blob(self, digest: str) -> Blob:
        """The blob of a hex digest.

        Raises:
            IntegrityError: it is not in the store.
        """
        path = self._blobs / _hex(digest)
        if not path.is_file():
            raise IntegrityError("a blob is missing", where=str(self.root), expected=f"sha256:{digest}")
        return Blob(sha256=path.name, size_bytes=path.stat().st_size, path=path)

    def read(self, blob: Blob, limit_bytes: int | None = None) -> bytes:
        """The bytes of a blob, checked against its digest.

        Raises:
            IntegrityError: missing, larger than the limit, or other bytes than its name says.
        """
        if limit_bytes is not None and blob.size_bytes > limit_bytes:
            raise IntegrityError(
                "a blob is larger than it may be",
                where=str(blob.path),
                got=blob.size_bytes,
                expected=f"<= {limit_bytes} bytes",
            )
        try:
            data = blob.path.read_bytes()
        except OSError as error:
            raise IntegrityError("a blob cannot be read", where=str(blob.path), got=error) from error
        if sha256_bytes(data) != blob.sha256:
            raise IntegrityError(
                "a blob is not what its digest says",
                where=str(blob.path),
                got=f"sha256:{sha256_bytes(data)}",
                next_step="edgegen cache prune --corrupt removes it from a cache; fetch a bundle again",
            )
        return data

    # -- manifests -----------------------------------------------------------------------------------------------

    def add_manifest(
        self,
        *,
        artifact_type: str,
        layers: Mapping[str, tuple[Blob, str]],
        annotations: Mapping[str, str] | None = None,
        subject: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Writes an OCI 1.1 artifact manifest over blobs and returns its descriptor.

        Args:
            layers: file name -> (blob, media type).
            subject: descriptor of the manifest that this one is about.
        """
        empty = self.add_bytes(b"{}")
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": artifact_type,
            "config": {"mediaType": EMPTY_TYPE, "digest": f"sha256:{empty.sha256}", "size": 2},
            "layers": [
                {
                    "mediaType": media_type,
                    "digest": f"sha256:{blob.sha256}",
                    "size": blob.size_bytes,
                    "annotations": {TITLE: name},
                }
                for name, (blob, media_type) in sorted(layers.items())
            ],
            "annotations": dict(annotations or {}),
        }
        if subject is not None:
            manifest["subject"] = {key: subject[key] for key in ("mediaType", "digest", "size")}
        blob = self.add_bytes(canonical_json(manifest))
        return {
            "mediaType": MANIFEST_TYPE,
            "artifactType": artifact_type,
            "digest": f"sha256:{blob.sha256}",
            "size": blob.size_bytes,
        }

    def tag(self, descriptor: Mapping[str, Any], name: str) -> None:
        """Makes ``name`` stand for a manifest; an earlier meaning of the name is replaced."""
        entry = {**descriptor, "annotations": {**descriptor.get("annotations", {}), REF_NAME: name}}
        with locked(self.root / "index.lock"):
            others = [item for item in self.manifests() if item.get("annotations", {}).get(REF_NAME) != name]
            self._write_index([*others, entry])

    def manifests(self) -> list[dict[str, Any]]:
        """Descriptors of every tagged manifest."""
        path = self.root / "index.json"
        if not path.exists():
            return []
        try:
            manifests = json.loads(path.read_bytes())["manifests"]
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise IntegrityError("the store's index cannot be read", where=str(path), got=error) from error
        return list(manifests)

    def find(self, name: str) -> dict[str, Any] | None:
        """The manifest that a tag names, or None if there is no such tag or its manifest was lost."""
        for descriptor in self.manifests():
            if descriptor.get("annotations", {}).get(REF_NAME) == name:
                return self.manifest(str(descriptor["digest"]))
        return None

    def manifest(self, digest: str) -> dict[str, Any] | None:
        """A manifest by digest, or None if its blob is missing."""
        path = self._blobs / _hex(digest)
        if not path.is_file():
            return None
        data = self.read(self.blob(digest), MAX_MANIFEST_BYTES)
        os.utime(path)  # last use: what prune goes by
        parsed: dict[str, Any] = json.loads(data)
        return parsed

    def layers(self, manifest: Mapping[str, Any]) -> dict[str, Blob] | None:
        """The files of a manifest by name, or None if one of them is missing or is not what its digest says."""
        found = {}
        for layer in manifest["layers"]:
            path = self._blobs / _hex(layer["digest"])
            if not path.is_file() or path.stat().st_size != layer["size"] or sha256_file(path) != path.name:
                return None
            found[layer["annotations"][TITLE]] = Blob(sha256=path.name, size_bytes=layer["size"], path=path)
        return found

    # -- housekeeping --------------------------------------------------------------------------------------------

    def usage(self) -> Usage:
        """How much the store holds."""
        sizes = [path.stat().st_size for path in self._blobs.iterdir()]
        return Usage(blobs=len(sizes), bytes=sum(sizes), manifests=len(self.manifests()))

    def prune(self, max_bytes: int, keep: Callable[[Mapping[str, Any]], bool] = lambda descriptor: False) -> int:
        """Forgets the least recently used manifests until the store holds at most ``max_bytes``.

        Blobs that no remaining manifest names are removed, and temporary files. Returns the bytes
        freed. The caller makes sure that no build is running.
        """
        before = self.usage().bytes
        with locked(self.root / "index.lock"):
            kept, needed, total = [], set[str](), 0
            for descriptor in sorted(self.manifests(), key=self._last_use, reverse=True):
                sizes = self._closure(descriptor)
                grown = total + sum(size for digest, size in sizes.items() if digest not in needed)
                if sizes and (grown <= max_bytes or keep(descriptor)):
                    kept.append(descriptor)
                    needed |= set(sizes)
                    total = grown
            self._write_index(kept)
            for path in self._blobs.iterdir():
                if path.name not in needed:
                    path.unlink()
        self.clear_scratch()
        return before - self.usage().bytes

    def clear_scratch(self) -> None:
        """Removes what killed builds left half-done. The caller makes sure that no build is running."""
        for leftover in self.scratch.iterdir():
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    def forget_corrupt(self) -> int:
        """Removes blobs whose bytes are not what their name says; returns how many."""
        corrupt = [path for path in self._blobs.iterdir() if sha256_file(path) != path.name]
        for path in corrupt:
            path.unlink()
        return len(corrupt)

    def _last_use(self, descriptor: Mapping[str, Any]) -> float:
        path = self._blobs / _hex(descriptor["digest"])
        return path.stat().st_mtime if path.exists() else 0.0

    def _closure(self, descriptor: Mapping[str, Any]) -> dict[str, int]:
        manifest = self.manifest(descriptor["digest"]) if (self._blobs / _hex(descriptor["digest"])).exists() else None
        if manifest is None:
            return {}
        parts = [*manifest["layers"], manifest["config"]]
        return {_hex(descriptor["digest"]): descriptor["size"]} | {_hex(part["digest"]): part["size"] for part in parts}

    def _write_index(self, manifests: list[dict[str, Any]]) -> None:
        ordered = sorted(manifests, key=lambda item: str(item.get("annotations", {}).get(REF_NAME)))
        self._replace(
            self.root / "index.json",
            canonical_json({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": ordered}),
        )

    def _replace(self, target: Path, data: bytes) -> None:
        try:
            descriptor, name = tempfile.mkstemp(dir=self.scratch)
            try:
                with os.fdopen(descriptor, "wb") as sink:
                    sink.write(data)
                    sink.flush()
                    os.fsync(sink.fileno())
                os.replace(name, target)
            finally:
                Path(name).unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(target, error) from error


def _hex(digest: str) -> str:
    """The hex part of ``sha256:<hex>`` or bare hex; anything else could name a path outside the store."""
    value = digest.removeprefix("sha256:")
    if len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise IntegrityError("not a sha256 digest", got=digest[:100], expected="sha256:<64 lower-case hex digits>")
    return value


def disk_is_full(folder: Path) -> bool:
    """Whether ``folder`` has no room left for ``_PROBE_BYTES``; found out by writing them."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE_BYTES))
    except OSError as error:
        return error.errno in _FULL
    return False


def full_disk(path: Path, error: Exception) -> StorageError:
    """The error to raise where a disk has no room left."""
    return StorageError(
        "the disk is full",
        where=str(path),
        got=error,
        next_step="free some space (edgegen cache prune helps) and repeat the command; finished stages are kept",
    )


def unwritable(path: Path, error: OSError, instead: str = "set EDGEGEN_CACHE") -> StorageError:
    """The error to raise where a folder cannot be written to: a full disk, or another reason.

    Args:
        instead: how another folder is taken.
    """
    if error.errno in _FULL:
        return full_disk(path, error)
    return StorageError("cannot write", where=str(path), got=error, next_step=f"make the folder writable, or {instead}")
