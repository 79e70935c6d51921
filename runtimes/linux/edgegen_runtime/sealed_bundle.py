"""A bundle (OCI image layout) on a device, read as a stranger's: sizes and digests are checked before it is used."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from edgegen_runtime.envelope import MAX_ENVELOPE_BYTES
from edgegen_runtime.strict import RefusedError, strict_json
from edgegen_runtime.trust import Claim, Subjects, read_claim

CORE_TYPE = "application/vnd.edgegen.bundle.v1+json"
EVIDENCE_TYPE = "application/vnd.edgegen.evidence.v1+json"
TRAINING_TYPE = "application/vnd.edgegen.training.v1+json"
SIGNATURE_TYPE = "application/vnd.edgegen.signature.v1+json"
MANIFEST = "manifest.json"

LAYOUT = {"imageLayoutVersion": "1.0.0"}
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
MAX_DOCUMENT_BYTES = 4 << 20
MAX_LAYERS = 64
MAX_MANIFESTS = 72

_TITLE = "org.opencontainers.image.title"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A blob that a descriptor names."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle whose every byte was checked. Whose it is, ``claims`` may tell."""

    digest: str  # sha256:<hex> of the core's manifest
    manifest: Mapping[str, Any]  # manifest.json
    files: Mapping[str, Path]  # the core's files by name, in the layout
    claims: tuple[Claim, ...]

    @property
    def version(self) -> str:
        """The model's version."""
        return str(self.manifest["version"])

    @property
    def target(self) -> str:
        """The device that it was built for."""
        return str(self.manifest["target"])


def read_bundle(root: Path) -> Bundle:
    """Checks the layout in ``root`` to the last byte of what the index names; follows no link.

    Blobs that nothing names are let be: a copy may bring more than one device needs.

    Raises:
        RefusedError: the first thing that does not hold.
    """
    if strict_json(_read(root / "oci-layout"), "oci-layout") != LAYOUT:
        raise RefusedError("the layout's version is not known")
    entries = [typed(entry, lambda item: _small(root, item)) for entry in read_index(_read(root / "index.json"))]
    found: dict[str, Mapping[str, Any]] = {}
    signatures = []
    for entry in entries:
        kind = entry.get("artifactType")
        if kind == SIGNATURE_TYPE:
            signatures.append(entry)
        elif kind in (CORE_TYPE, EVIDENCE_TYPE, TRAINING_TYPE):
            if kind in found:
                raise RefusedError(f"the index names two artifacts of the type {kind}")
            found[kind] = entry
    if CORE_TYPE not in found:
        raise RefusedError("the index names no core")
    core = _layers(root, found[CORE_TYPE])
    for kind in (EVIDENCE_TYPE, TRAINING_TYPE):
        if kind in found:
            _layers(root, found[kind], subject=found[CORE_TYPE])
    subjects = Subjects(
        core=_named(found[CORE_TYPE]).sha256,
        evidence=_named(found[EVIDENCE_TYPE]).sha256 if EVIDENCE_TYPE in found else None,
        training=_named(found[TRAINING_TYPE]).sha256 if TRAINING_TYPE in found else None,
    )
    claims = []
    for entry in signatures:
        layers = _layers(root, entry, subject=found[CORE_TYPE])
        files = {name: _read(_path(root, item), MAX_ENVELOPE_BYTES) for name, item in layers.items()}
        claims.append(read_claim(files, subjects))
    return Bundle(
        digest=f"sha256:{subjects.core}",
        manifest=_manifest(root, core),
        files={name: _path(root, item) for name, item in core.items()},
        claims=tuple(claims),
    )


def read_index(data: bytes) -> list[Mapping[str, Any]]:
    """The descriptors in the bytes of an ``index.json``. Raises RefusedError."""
    manifests = strict_json(data, "index.json").get("manifests")
    if not isinstance(manifests, list) or not all(isinstance(item, dict) for item in manifests):
        raise RefusedError("index.json is no OCI index")
    if len(manifests) > MAX_MANIFESTS:
        raise RefusedError(f"index.json names {len(manifests)} artifacts; at most {MAX_MANIFESTS}")
    return manifests


def typed(entry: Mapping[str, Any], fetch: Callable[[Named], bytes]) -> Mapping[str, Any]:
    """A descriptor with its artifact's type, which tools that copy a bundle may leave out: its manifest has it too.

    Args:
        fetch: gives the bytes of a manifest that are what the descriptor says.
    """
    if "artifactType" in entry or entry.get("mediaType") != MANIFEST_TYPE:
        return entry
    item = _named(entry)
    kind = strict_json(fetch(item), f"manifest sha256:{item.sha256}").get("artifactType")
    return {**entry, "artifactType": kind} if isinstance(kind, str) else entry


def read_manifest(data: bytes, what: str) -> tuple[Mapping[str, Any], dict[str, Named]]:
    """An OCI manifest and its files by title, every descriptor sound; blobs are not looked at. Raises RefusedError."""
    manifest = strict_json(data, what)
    layers, found = manifest.get("layers"), dict[str, Named]()
    if not isinstance(layers, list) or not 1 <= len(layers) <= MAX_LAYERS:
        raise RefusedError(f"{what} has no layers, or more than {MAX_LAYERS}")
    for layer in layers:
        annotations = layer.get("annotations") if isinstance(layer, dict) else None
        title = annotations.get(_TITLE) if isinstance(annotations, dict) else None
        if not isinstance(title, str) or not _NAME.fullmatch(title) or title in found:
            raise RefusedError(f"{what} has a file whose name is not usable: {title!r:.80}")
        found[title] = named(layer, title)
    return manifest, found


def named(descriptor: Mapping[str, Any], what: str) -> Named:
    """The digest and size in a descriptor. Raises RefusedError."""
    digest, size = descriptor.get("digest"), descriptor.get("size")
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if match is None or not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise RefusedError(f"the descriptor of {what} is not usable: {digest!r:.100}, {size!r:.30}")
    return Named(sha256=match.group(1), size_bytes=size)


def check_blob(path: Path, wanted: Named, what: str) -> None:
    """Refuses a file that is not what its descriptor says. Raises RefusedError."""
    hasher, left = hashlib.sha256(), wanted.size_bytes
    with _open(path) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                break
            hasher.update(chunk)
    if left:
        raise RefusedError(f"{what} has another size than declared ({wanted.size_bytes} bytes)")
    if hasher.hexdigest() != wanted.sha256:
        raise RefusedError(f"{what} is not what its digest says: sha256:{hasher.hexdigest()}, not {wanted.sha256}")


def _named(descriptor: Mapping[str, Any]) -> Named:
    item = named(descriptor, "a manifest")
    if item.size_bytes > MAX_DOCUMENT_BYTES:
        raise RefusedError("a manifest is larger than it may be")
    return item


def _small(root: Path, item: Named) -> bytes:
    check_blob(_path(root, item), item, f"manifest sha256:{item.sha256}")
    return _read(_path(root, item))


def _layers(root: Path, entry: Mapping[str, Any], subject: Mapping[str, Any] | None = None) -> dict[str, Named]:
    """The files of an artifact, all their bytes checked."""
    item = _named(entry)
    what = f"manifest sha256:{item.sha256}"
    manifest, files = read_manifest(_small(root, item), what)
    known = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "artifactType": entry.get("artifactType")}
    if any(manifest.get(key) != value for key, value in known.items()) or not isinstance(manifest.get("config"), dict):
        raise RefusedError(f"{what} is not what the index says")
    config = named(manifest["config"], "the config")
    check_blob(_path(root, config), config, "the config")
    if subject is not None:
        about = manifest.get("subject")
        if not isinstance(about, dict) or (about.get("digest"), about.get("size")) != (
            subject["digest"],
            subject["size"],
        ):
            raise RefusedError(f"{what} is about another core")
    for name, part in files.items():
        check_blob(_path(root, part), part, name)
    return files


def _manifest(root: Path, core: Mapping[str, Named]) -> Mapping[str, Any]:
    """``manifest.json``, which names the other files of the core once more."""
    if MANIFEST not in core:
        raise RefusedError("the core has no manifest")
    table = strict_json(_read(_path(root, core[MANIFEST])), MANIFEST)
    texts = ("name", "version", "target", "format", "runtime", "model")
    files = table.get("files")
    if table.get("schema_version") != 1 or not all(isinstance(table.get(key), str) for key in texts):
        raise RefusedError("manifest.json is of an unknown kind")
    declared = {
        item.get("path"): (item.get("sha256"), item.get("size_bytes"))
        for item in (files if isinstance(files, list) else [])
        if isinstance(item, dict)
    }
    actual = {name: (item.sha256, item.size_bytes) for name, item in core.items() if name != MANIFEST}
    if declared != actual or table["model"] not in core:
        raise RefusedError("manifest.json names other files than the core holds")
    return table


def _path(root: Path, item: Named) -> Path:
    return root / "blobs" / "sha256" / item.sha256


def _read(path: Path, limit_bytes: int = MAX_DOCUMENT_BYTES) -> bytes:
    with _open(path) as stream:
        data = stream.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise RefusedError(f"{path.name} is larger than it may be: at most {limit_bytes} bytes")
    return data


def _open(path: Path) -> BinaryIO:
    try:
        # Not blocking: a named pipe in a file's place must not hang the check.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise RefusedError(f"{path.name} is missing or is a link: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise RefusedError(f"{path.name} is no regular file")
    return open(handle, "rb")
