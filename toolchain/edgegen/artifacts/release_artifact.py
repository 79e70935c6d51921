"""The metadata of releases as an artifact in a place: under one tag, so that a reader has all of one moment.

The tag stands for one manifest whose layers are the files of the metadata and the records. Whoever asks for the tag
gets the digests of files that belong together; python-tuf then says whether they are to be believed.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgegen.artifacts.layout import RELEASES_TYPE
from edgegen.artifacts.parse import strict_json
from edgegen.artifacts.registry_patience import Patience
from edgegen.artifacts.release_records import MAX_METADATA_BYTES, Statement, read_custom
from edgegen.artifacts.transfer import (
    Descriptor,
    Destination,
    Fetched,
    Manifest,
    Source,
    digest_of_bytes,
    is_index,
    read_manifest,
)
from edgegen.artifacts.transfer_small import read_small
from edgegen.core.digests import canonical_json
from edgegen.core.errors import IntegrityError, UsageError
from edgegen.core.store import EMPTY_TYPE, MANIFEST_TYPE, TITLE

RELEASES_TAG = "edgegen-releases"
METADATA_TYPE = "application/vnd.tuf.metadata+json"
RECORD_TYPE = "application/vnd.edgegen.release.v1+json"

MAX_FILES = 1000
MAX_SECONDS = 120.0
"""For all files of metadata together: a place that drips must not hold anybody for ever."""

_ROLE_FILE = re.compile(r"(?:[0-9]{1,10}\.)?[a-z0-9][a-z0-9-]{0,62}\.json")
_RECORD = "record."


class ReleasesArtifact:
    """The files of releases in a place; bounded, and each found to be what its digest says. Trust is another matter."""

    def __init__(self, source: Source, manifest: Manifest, patience: Patience) -> None:
        self._source = source
        self._layers = manifest.layers
        self._patience = patience
        self._deadline = time.monotonic() + MAX_SECONDS
        self.place = source.place
        self.digest = manifest.descriptor.digest

    def names(self) -> list[str]:
        """Files of the metadata, sorted."""
        return sorted(title for title in self._layers if _ROLE_FILE.fullmatch(title))

    def metadata(self, name: str) -> bytes | None:
        """A file of the metadata, ``5.targets.json``; None if there is none."""
        found = self._layers.get(name) if _ROLE_FILE.fullmatch(name) else None
        return None if found is None else self._read(found, name)

    def record(self, sha256: str) -> bytes | None:
        """The record of a digest, None if there is none."""
        found = self._layers.get(f"{_RECORD}{sha256}.json")
        return None if found is None or found.hex != sha256 else self._read(found, f"record {sha256[:16]}")

    def _read(self, blob: Descriptor, title: str) -> bytes:
        return read_small(self._source, blob, title, MAX_METADATA_BYTES, self._patience, self._deadline)


def find_releases(source: Source, patience: Patience) -> ReleasesArtifact | None:
    """The releases that a place has, None if it has none.

    Raises:
        ToolMissingError: the place does not answer.
        IntegrityError: something else stands under their tag.
    """
    named = source.find(RELEASES_TAG)
    return None if named is None else ReleasesArtifact(source, releases_manifest(named, source.place), patience)


def releases_manifest(named: Fetched, place: str) -> Manifest:
    """What the tag stands for. Raises IntegrityError if it is something else."""
    where = f"{place}:{RELEASES_TAG}"
    if is_index(named.data, where):
        raise IntegrityError("these are no releases", where=where, expected=RELEASES_TYPE)
    manifest = read_manifest(named.data, named.descriptor.digest, where, most_layers=MAX_FILES)
    if manifest.artifact_type != RELEASES_TYPE:
        raise IntegrityError(
            "these are no releases", where=where, got=manifest.artifact_type[:160], expected=RELEASES_TYPE
        )
    return manifest


def hand_over(
    metadata: Mapping[str, Path], records: Mapping[str, Path], destination: Destination, before: str | None
) -> str | None:
    """Sends files of the metadata and records, the tag last. Returns the digest that the tag stands for then.

    Args:
        metadata: by their name, ``5.targets.json``.
        records: by their sha256.
        before: what the tag stood for when it was looked at; None: there was none. If it stands for something else
            when all files are there, it is left alone, and None is returned.

    Raises:
        UsageError: more files than an artifact may have.
        ToolMissingError: the place does not answer, or another writer took the tag at the same moment.
    """
    files = {**metadata, **{f"{_RECORD}{digest}.json": path for digest, path in records.items()}}
    if len(files) > MAX_FILES:
        raise UsageError("too many releases for one place", got=len(files), expected=f"<= {MAX_FILES} files")
    layers = []
    with tempfile.TemporaryDirectory() as name:
        empty = Path(name, "empty")
        empty.write_bytes(b"{}")
        config = _sent(destination, empty, EMPTY_TYPE)
        for title, path in sorted(files.items()):
            blob = _sent(destination, path, RECORD_TYPE if title.startswith(_RECORD) else METADATA_TYPE)
            layers.append({**blob.table(), "annotations": {TITLE: title}})
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "artifactType": RELEASES_TYPE}
    data = canonical_json({**manifest, "config": config.table(), "layers": layers})
    digest = digest_of_bytes(data)
    meant = Descriptor(digest=digest, size_bytes=len(data), media_type=MANIFEST_TYPE, artifact_type=RELEASES_TYPE)
    return digest if destination.swap(RELEASES_TAG, meant, data, before) else None


def unchecked(artifact: ReleasesArtifact) -> list[Statement]:
    """What the newest metadata say, whoever signed them: to show, not to go by.

    Raises:
        IntegrityError: the metadata cannot be read.
    """
    newest: dict[str, int] = {}
    for name in artifact.names():
        number, dot, role = name.partition(".")
        if dot and number.isdecimal() and role not in ("root.json", "snapshot.json"):
            newest[role] = max(newest.get(role, 0), int(number))
    found = [item for role, number in newest.items() for item in _told(artifact, f"{number}.{role}")]
    return sorted(found, key=lambda item: item.path)


def _told(artifact: ReleasesArtifact, name: str) -> Iterator[Statement]:
    signed = strict_json(artifact.metadata(name) or b"", name).get("signed")
    targets = signed.get("targets") if isinstance(signed, dict) else None
    for path, item in targets.items() if isinstance(targets, dict) else ():
        yield read_custom(path, item.get("custom") if isinstance(item, dict) else None)


def _sent(destination: Destination, path: Path, media_type: str) -> Descriptor:
    data = path.read_bytes()
    blob = Descriptor(digest=digest_of_bytes(data), size_bytes=len(data), media_type=media_type)
    if not destination.has(blob):
        destination.put_blob(blob, path)
    return blob
