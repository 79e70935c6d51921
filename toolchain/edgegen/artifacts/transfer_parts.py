"""What a bundle in a place consists of: its core, and the artifacts about it that belong to a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.artifacts.cosign import sig_tag
from edgegen.artifacts.layout import BUNDLE_TYPE, MANIFEST, SIGNATURE_TYPE, BundleManifest, signature_tag
from edgegen.artifacts.transfer import (
    PARTS,
    TARGET,
    Descriptor,
    Fetched,
    Manifest,
    Source,
    is_index,
    read_image,
    read_index,
    read_manifest,
)
from edgegen.core.errors import IntegrityError, ToolMissingError, UsageError
from edgegen.core.store import INDEX_TYPE, REF_NAME

MAX_SIGNATURES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A bundle that a place has; of its blobs nothing was fetched yet."""

    core: Manifest
    about: tuple[Manifest, ...]  # evidence, training, signatures
    cosign: tuple[Descriptor, bytes, tuple[Descriptor, ...]] | None  # manifest, its bytes, its blobs
    others: tuple[Descriptor, ...]  # about the core as well, of kinds that no bundle holds
    names: Mapping[str, str]  # digest of an artifact about the core -> the tag that whoever pushed it had for it

    def blobs(self) -> list[Descriptor]:
        """Every blob, each digest once."""
        found = {blob.digest: blob for item in (self.core, *self.about) for blob in item.blobs()}
        for blob in self.cosign[2] if self.cosign else ():
            found.setdefault(blob.digest, blob)
        return list(found.values())

    def manifests(self) -> list[tuple[Descriptor, bytes]]:
        """Every manifest with its bytes."""
        whole = [(item.descriptor, item.data) for item in (self.core, *self.about)]
        return whole if self.cosign is None else [*whole, self.cosign[:2]]

    def tags(self, version: str) -> list[tuple[Descriptor, str | None]]:
        """What a bundle's index calls each manifest; a signature may have no tag."""
        named: list[tuple[Descriptor, str | None]] = [(self.core.descriptor, version)]
        for item in self.about:
            if item.artifact_type in PARTS:
                named.append((item.descriptor, version + PARTS[item.artifact_type]))
            else:
                tag = self.names.get(item.descriptor.digest, "")
                named.append((item.descriptor, tag if tag.startswith(signature_tag(version, "")) else None))
        if self.cosign is not None:
            named.append((self.cosign[0], sig_tag(self.core.descriptor.hex)))
        return named


def find_bundle(source: Source, reference: str, target: str | None) -> Found:
    """The bundle that a tag or digest names, or the one of ``target`` where it names those of several targets.

    Raises:
        UsageError: it names several, and no target was given.
        ToolMissingError: there is no such tag, or no bundle for the target.
        IntegrityError: something is not what its digest says, or is no bundle.
    """
    where = f"{source.place}, {reference}"
    named = source.resolve(reference)
    if is_index(named.data, where):
        chosen = choose(read_index(named.data, where), target, where)
        data = source.manifest(chosen.digest)
        named = Fetched(descriptor=chosen, data=data)
    core = read_manifest(named.data, named.descriptor.digest, f"{source.place}, {named.descriptor.digest}")
    if len(named.data) != named.descriptor.size_bytes:
        raise IntegrityError("a manifest has another size than declared", where=where, got=len(named.data))
    if core.artifact_type != BUNDLE_TYPE:
        raise IntegrityError(
            "this is no bundle of edgegen's", where=where, got=core.artifact_type[:160], expected=BUNDLE_TYPE
        )
    return _with_referrers(source, core)


def choose(entries: list[Descriptor], target: str | None, where: str) -> Descriptor:
    """The entry of an index that is for ``target``; the only one where none is asked for."""
    bundles = [item for item in entries if item.artifact_type in (BUNDLE_TYPE, None) and item.media_type != INDEX_TYPE]
    targets = sorted({item.annotations.get(TARGET, "?") for item in bundles})
    fitting = [item for item in bundles if target is None or item.annotations.get(TARGET) == target]
    if target is None and len(fitting) > 1:
        raise UsageError(
            "the tag stands for bundles of several targets", where=where, got=", ".join(targets)[:300],
            next_step=f"choose one with --target {targets[0]}",
        )  # fmt: skip
    if not fitting:
        raise ToolMissingError(
            "there is no bundle for the target", where=where, got=target, expected=", ".join(targets)[:300] or None
        )
    if len(fitting) > 1:
        raise IntegrityError("the index names two bundles for one target", where=where, got=target)
    return fitting[0]


def check_target(manifest: BundleManifest, target: str | None, where: str) -> None:
    """Raises IntegrityError if a bundle is for another device than the one that was asked for."""
    if target is not None and manifest.target != target:
        raise IntegrityError(
            "the bundle is for another device", where=f"{where}, {MANIFEST}", got=manifest.target, expected=target
        )


def _with_referrers(source: Source, core: Manifest) -> Found:
    digest = core.descriptor.digest
    listed = source.referrers(digest)
    signatures = [entry for entry in listed if entry.artifact_type == SIGNATURE_TYPE]
    if len(signatures) > MAX_SIGNATURES:
        raise IntegrityError("too many signatures", where=source.place, expected=f"<= {MAX_SIGNATURES}")
    # Of evidence and training the last one counts, of signatures each.
    parts = {entry.artifact_type: entry for entry in listed if entry.artifact_type in PARTS}
    wanted = [*parts.values(), *signatures]
    return Found(
        core=core,
        about=tuple(_about(source, entry, digest) for entry in wanted),
        cosign=_cosign(source, core),
        others=tuple(entry for entry in listed if entry.artifact_type not in (*PARTS, SIGNATURE_TYPE)),
        names={item.digest: item.annotations[REF_NAME] for item in listed if REF_NAME in item.annotations},
    )


def _about(source: Source, entry: Descriptor, core: str) -> Manifest:
    where = f"{source.place}, {entry.digest}"
    manifest = read_manifest(source.manifest(entry.digest), entry.digest, where)
    if manifest.artifact_type != entry.artifact_type or manifest.subject != core:
        raise IntegrityError(
            "an artifact is not about the core that lists it", where=where, got=manifest.subject, expected=core
        )
    return manifest


def _cosign(source: Source, core: Manifest) -> tuple[Descriptor, bytes, tuple[Descriptor, ...]] | None:
    fetched = source.find(sig_tag(core.descriptor.hex))
    if fetched is None:
        return None
    return fetched.descriptor, fetched.data, tuple(read_image(fetched.data, f"{source.place}, cosign's signatures"))
