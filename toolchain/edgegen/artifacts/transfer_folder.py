"""A folder as a place to push to: an OCI image layout that several writers share, and that a web server can serve."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from edgegen.artifacts.sealed import digest_of
from edgegen.artifacts.transfer import Descriptor, Fetched, index_of, read_index, referrers_tag
from edgegen.core.errors import IntegrityError, UsageError
from edgegen.core.locks import locked
from edgegen.core.store import MAX_MANIFEST_BYTES, REF_NAME, Store

_LOCK = "referrers.lock"
_OWN = {"blobs", "tmp", "oci-layout", "index.json", "index.lock", _LOCK}


class FolderDestination:
    """Blobs are written once and under their digest; ``index.json`` is replaced whole, under a lock."""

    def __init__(self, root: Path) -> None:
        strange = sorted({path.name for path in root.iterdir()} - _OWN) if root.is_dir() else []
        if strange:
            raise UsageError(
                "the folder holds something else than an OCI layout",
                where=str(root),
                got=", ".join(strange[:4]),
                next_step="name an empty one",
            )
        self.place = str(root)
        self._root = root
        self._store = Store(root)

    def find(self, tag: str) -> Fetched | None:
        """The manifest or index of a tag, None if there is none."""
        for item in self._store.manifests():
            if item.get("annotations", {}).get(REF_NAME) == tag:
                data = self._store.read(self._store.blob(str(item["digest"])), MAX_MANIFEST_BYTES)
                descriptor = Descriptor(
                    digest=item["digest"], size_bytes=len(data), media_type=str(item.get("mediaType"))
                )
                return Fetched(descriptor=descriptor, data=data)
        return None

    def has(self, blob: Descriptor) -> bool:
        """Whether the blob is there, and whole."""
        path = self._root / "blobs" / "sha256" / blob.hex
        return os.path.lexists(path) and digest_of(path) == (blob.hex, blob.size_bytes)

    def put_blob(self, blob: Descriptor, path: Path) -> None:
        """Copies a file. Raises IntegrityError if it is not what its name says."""
        added = self._store.add_file(path)
        if added.sha256 != blob.hex:
            raise IntegrityError("a file changed while it was copied", where=str(path), expected=blob.digest)

    def put_manifest(self, manifest: Descriptor, data: bytes) -> None:
        """Writes a manifest under its digest."""
        self._store.add_bytes(data)

    def add_referrers(self, subject: Descriptor, entries: Sequence[Descriptor]) -> None:
        """Enters artifacts among those about ``subject``, in an index under the fallback tag."""
        tag = referrers_tag(subject.digest)
        with locked(self._root / _LOCK):
            found = self.find(tag)
            there = [] if found is None else read_index(found.data, f"{self.place}, referrers")
            known = {item.digest for item in there}
            missing = [item for item in entries if item.digest not in known]
            if missing:
                index = index_of([*there, *missing])
                self.tag(tag, index.descriptor, index.data)

    def tag(self, name: str, manifest: Descriptor, data: bytes) -> None:
        """Makes ``name`` stand for a manifest or index."""
        self._store.add_bytes(data)
        kind = json.loads(data).get("artifactType")
        self._store.tag({**manifest.table(), **({"artifactType": kind} if kind else {})}, name)

    def swap(self, name: str, manifest: Descriptor, data: bytes, before: str | None) -> bool:
        """As ``tag``, if the name still stands for ``before``; nobody else can swap in between."""
        with locked(self._root / _LOCK):
            now = self.find(name)
            if (None if now is None else now.descriptor.digest) != before:
                return False
            self.tag(name, manifest, data)
            return True
