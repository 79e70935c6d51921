"""What crosses between a bundle and a place that keeps artifacts: descriptors, manifests, limits and two contracts.

A place is a registry, a folder or a web server. Whatever it says is a stranger's word: sizes and counts are bounded
before anything is fetched, and bytes count only once their digest was found right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeGuard

from edgegen.artifacts.layout import BUNDLE_TYPE, EVIDENCE_TYPE, TRAINING_TYPE
from edgegen.artifacts.parse import strict_json
from edgegen.artifacts.sealed import MAX_LAYERS, hex_of, usable_title
from edgegen.core.digests import canonical_json
from edgegen.core.errors import IntegrityError, ToolMissingError
from edgegen.core.store import INDEX_TYPE, MANIFEST_TYPE, MAX_MANIFEST_BYTES, TITLE

MAX_ARTIFACT_BYTES = 16 << 30
"""What all files of a bundle may take together, unless the caller says otherwise."""

MAX_ENTRIES = 1000
"""Manifests that an index may name: targets under one tag, artifacts about one core."""

TARGET = "dev.edgegen.target"
VERSION = "dev.edgegen.version"

PARTS = {EVIDENCE_TYPE: "-evidence", TRAINING_TYPE: "-training"}
"""Artifact that has a core as its subject -> what a bundle's index adds to the version to name it. A bundle holds one
of each; where a place knows several, the last one that it lists counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What names bytes: their digest and size, and what they are."""

    digest: str  # sha256:<64 lower-case hex digits>
    size_bytes: int
    media_type: str
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def hex(self) -> str:
        """The digest without its algorithm."""
        return self.digest.removeprefix("sha256:")

    def table(self) -> dict[str, Any]:
        """As indexes and manifests spell it."""
        found: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes}
        if self.artifact_type is not None:
            found["artifactType"] = self.artifact_type
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """An artifact's manifest, its bytes as they came."""

    descriptor: Descriptor
    data: bytes
    artifact_type: str
    config: Descriptor
    layers: Mapping[str, Descriptor]  # by title
    subject: str | None  # digest

    def blobs(self) -> list[Descriptor]:
        """Everything that it names, each digest once."""
        return list({item.digest: item for item in (self.config, *self.layers.values())}.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A manifest or an index whose bytes are what ``descriptor`` says."""

    descriptor: Descriptor
    data: bytes


class Source(Protocol):
    """A place that artifacts are had from."""

    place: str  # as messages name it, without a password

    def resolve(self, reference: str) -> Fetched:
        """The manifest or index of a tag or digest. Raises ToolMissingError if there is none."""

    def find(self, tag: str) -> Fetched | None:
        """The manifest or index of a tag, None if there is none."""

    def manifest(self, digest: str) -> bytes:
        """The bytes of a manifest, at most 4 MiB, found to be those of ``digest``."""

    def referrers(self, digest: str) -> Sequence[Descriptor]:
        """What has this manifest as its subject, in the order in which it was added where the place knows it."""

    def blob(self, wanted: Descriptor, start: int) -> AbstractContextManager[BlobStream]:
        """The bytes of a blob from ``start`` on, or from 0 where the place cannot begin in the middle."""


class BlobStream(Protocol):
    """A blob on its way."""

    start: int  # where it begins

    def chunks(self) -> Iterator[bytes | memoryview]:
        """What arrives, unchecked, never more than was announced; a piece stays valid while the next arrives."""


class Destination(Protocol):
    """A place that artifacts are given to."""

    place: str

    def find(self, tag: str) -> Fetched | None:
        """The manifest or index of a tag, None if there is none."""

    def has(self, blob: Descriptor) -> bool:
        """Whether the blob is there already."""

    def put_blob(self, blob: Descriptor, path: Path) -> None:
        """Hands a file over, going on where an earlier attempt ended. The place checks the digest."""

    def put_manifest(self, manifest: Descriptor, data: bytes) -> None:
        """Hands a manifest over under its digest."""

    def add_referrers(self, subject: Descriptor, entries: Sequence[Descriptor]) -> None:
        """Makes the entries referrers of ``subject``; others stay, whoever adds them at the same time."""

    def tag(self, name: str, manifest: Descriptor, data: bytes) -> None:
        """Makes ``name`` stand for a manifest or index."""

    def swap(self, name: str, manifest: Descriptor, data: bytes, before: str | None) -> bool:
        """As ``tag``, if the name still stands for the digest ``before`` (None: for nothing). False if it does not."""


def digest_of_bytes(data: bytes) -> str:
    """``sha256:<hex>``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def referrers_tag(digest: str) -> str:
    """The tag under which an index of a manifest's referrers stands where no API lists them (OCI 1.1)."""
    return digest.replace(":", "-", 1)


def index_of(entries: Sequence[Descriptor]) -> Fetched:
    """An OCI index over manifests. Raises ToolMissingError for more than may be in one."""
    if len(entries) > MAX_ENTRIES:
        raise ToolMissingError("an index would name too much", got=len(entries), expected=f"<= {MAX_ENTRIES}")
    table = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [item.table() for item in entries]}
    data = canonical_json(table)
    descriptor = Descriptor(digest=digest_of_bytes(data), size_bytes=len(data), media_type=INDEX_TYPE)
    return Fetched(descriptor=descriptor, data=data)


def checked_bytes(data: bytes, digest: str, what: str, where: str) -> bytes:
    """``data``. Raises IntegrityError if its digest is another."""
    actual = digest_of_bytes(data)
    if actual != digest:
        raise IntegrityError(
            f"{what} is not what its digest says", where=where, got=actual, expected=digest,
            next_step="do not use it; fetch it again, or from another place",
        )  # fmt: skip
    return data


def read_descriptor(table: Mapping[str, Any], where: str) -> Descriptor:
    """A descriptor as a stranger wrote it.

    Raises:
        IntegrityError: no sha256 digest, a size that is none, or a type or annotation that is no text.
    """
    digest, size, media = table.get("digest"), table.get("size"), table.get("mediaType")
    kind, annotations = table.get("artifactType"), table.get("annotations")
    texts = annotations if isinstance(annotations, dict) else {}
    if (
        hex_of(digest) is None
        or not isinstance(size, int)
        or isinstance(size, bool)
        or size < 0
        or not isinstance(media, str)
        or not isinstance(kind, str | None)
        or not isinstance(annotations, dict | None)
        or not all(isinstance(value, str) for value in texts.values())
    ):
        raise IntegrityError("a descriptor is not usable", where=where, got=f"digest {digest!r}, size {size!r}"[:200])
    return Descriptor(
        digest=str(digest), size_bytes=size, media_type=media, artifact_type=kind or None, annotations=texts
    )


def read_manifest(data: bytes, digest: str, where: str, *, most_layers: int = MAX_LAYERS) -> Manifest:
    """An artifact's manifest as a stranger wrote it, every name, count and size within bounds.

    Raises:
        IntegrityError: another digest, not an artifact, a title that is no plain file name, two files of one name, or
            more layers than it may have.
    """
    _check_size(len(data), where)
    table = strict_json(checked_bytes(data, digest, "a manifest", where), where)
    kind, config, layers = table.get("artifactType"), table.get("config"), table.get("layers")
    if table.get("schemaVersion") != 2 or table.get("mediaType") != MANIFEST_TYPE or not isinstance(kind, str):
        raise IntegrityError("this is no OCI artifact", where=where, got=repr(kind)[:160], expected=BUNDLE_TYPE)
    if not isinstance(config, dict) or not _are_tables(layers):
        raise IntegrityError("a manifest has no config or no layers", where=where)
    if len(layers) > most_layers:
        raise IntegrityError(
            "a manifest has too many layers", where=where, got=len(layers), expected=f"<= {most_layers}"
        )
    return Manifest(
        descriptor=Descriptor(digest=digest, size_bytes=len(data), media_type=MANIFEST_TYPE, artifact_type=kind),
        data=data,
        artifact_type=kind,
        config=read_descriptor(config, where),
        layers=_titled(layers, where),
        subject=_subject(table, where),
    )


def read_image(data: bytes, where: str) -> list[Descriptor]:
    """Config and layers of an image whose layers have no names, as cosign's signatures are; digests may repeat.

    Raises:
        IntegrityError: no image, or more than 64 layers.
    """
    _check_size(len(data), where)
    table = strict_json(data, where)
    config, layers = table.get("config"), table.get("layers")
    if not isinstance(config, dict) or not _are_tables(layers) or len(layers) > MAX_LAYERS:
        raise IntegrityError("this is no image, or has too many layers", where=where, expected=f"<= {MAX_LAYERS}")
    return [read_descriptor(item, where) for item in (config, *layers)]


def read_index(data: bytes, where: str) -> list[Descriptor]:
    """What an index names, at most 1000 manifests.

    Raises:
        IntegrityError: no OCI index, or too large.
    """
    _check_size(len(data), where)
    table = strict_json(data, where)
    manifests = table.get("manifests")
    # The media type is optional in the specification, and other tools leave it out.
    if table.get("schemaVersion") != 2 or table.get("mediaType", INDEX_TYPE) != INDEX_TYPE:
        raise IntegrityError("this is no OCI index", where=where, expected=INDEX_TYPE)
    if not _are_tables(manifests) or len(manifests) > MAX_ENTRIES:
        raise IntegrityError("an index names no manifests, or too many", where=where, expected=f"<= {MAX_ENTRIES}")
    return [read_descriptor(item, where) for item in manifests]


def is_index(data: bytes, where: str) -> bool:
    """Whether these bytes are an index rather than a manifest. Raises IntegrityError if they are no JSON object."""
    _check_size(len(data), where)
    table = strict_json(data, where)
    return table.get("mediaType") == INDEX_TYPE or ("manifests" in table and "layers" not in table)


def _check_size(size: int, where: str) -> None:
    if size > MAX_MANIFEST_BYTES:
        raise IntegrityError(
            "a manifest is larger than it may be", where=where, expected=f"<= {MAX_MANIFEST_BYTES} bytes"
        )


def _titled(layers: list[Mapping[str, Any]], where: str) -> dict[str, Descriptor]:
    found: dict[str, Descriptor] = {}
    for layer in layers:
        item = read_descriptor(layer, where)
        title = item.annotations.get(TITLE)
        if not usable_title(title):
            raise IntegrityError(
                "a file's name is not usable", where=where, got=repr(title)[:160], expected="a plain file name"
            )
        if title in found:
            raise IntegrityError("two files have one name", where=where, got=title)
        found[str(title)] = item
    return found


def _subject(table: Mapping[str, Any], where: str) -> str | None:
    subject = table.get("subject")
    if subject is None:
        return None
    if not isinstance(subject, dict):
        raise IntegrityError("a manifest's subject is not usable", where=where, got=repr(subject)[:160])
    return read_descriptor(subject, where).digest


def _are_tables(value: object) -> TypeGuard[list[Mapping[str, Any]]]:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)
