"""Hands bundles to a place: blobs first, then manifests, and the tag when everything that it stands for is there."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from edgegen.artifacts.contents import check_files_beside
from edgegen.artifacts.cosign import SIGNATURE, sig_tag
from edgegen.artifacts.layout import BundleManifest
from edgegen.artifacts.layout_source import FolderFiles, LayoutSource
from edgegen.artifacts.registry_reference import LATEST, tag_of_version
from edgegen.artifacts.transfer import (
    TARGET,
    VERSION,
    Descriptor,
    Destination,
    Fetched,
    Source,
    index_of,
    is_index,
    read_image,
    read_index,
)
from edgegen.artifacts.transfer_parts import Found, find_bundle
from edgegen.artifacts.verify import verify
from edgegen.core.errors import IntegrityError, UsageError
from edgegen.core.ports import Progress
from edgegen.core.store import REF_NAME

CONNECTIONS = 4
_LARGE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What a place has now."""

    digest: str  # sha256:<hex> of what the tag stands for: a bundle's core, or an index of several
    cores: tuple[tuple[str, str], ...]  # target -> digest of its core's manifest
    tag: str
    sent_bytes: int
    present_bytes: int  # that the place had already


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bundle:
    folder: Path
    digest: str
    manifest: BundleManifest
    found: Found


def push(
    folders: Sequence[Path],
    destination: Destination,
    tag: str | None,
    *,
    progress: Progress,
    earlier: Source | None = None,
) -> Pushed:
    """Pushes bundles that were checked before; the hash of a large file is checked by the place that takes it.

    Args:
        folders: one ``bundle/`` folder, whose core the tag will stand for; or several of different targets, which an
            index under the tag will list.
        tag: None takes the bundles' version.
        earlier: the same place as a source, to list the bundles beside those of other targets that the tag stands for
            already; None: the tag will stand for these alone.

    Raises:
        UsageError: a folder is no bundle, or two are for one target.
        IntegrityError: a bundle does not hold, or the place holds or stores something else than it should.
        ToolMissingError: the place does not answer or does not let us in.
    """
    bundles = [_read(folder) for folder in folders]
    _check_targets(bundles)
    name = tag or _common_tag(bundles)
    sending = _Send(destination, progress)
    with ThreadPoolExecutor(2) as beside:
        # What is about a core waits for its list to settle, and the files beside are read to their end; meanwhile the
        # models are on their way. No place knows of a core before its manifest is there.
        told = beside.submit(_hand_over_about, bundles, destination, sending)
        held = beside.submit(_check_beside, bundles)
        for bundle in bundles:
            about = {blob.digest for blob in _blobs_about(bundle)}
            sending.all([blob for blob in bundle.found.blobs() if blob.digest not in about], bundle.folder)
        told.result()
        held.result()
    for bundle in bundles:
        core = bundle.found.core.descriptor
        destination.put_manifest(core, bundle.found.core.data)
        if bundle.found.cosign is not None:
            _hand_over_cosign(bundle.found.cosign, sig_tag(core.hex), destination)
    listed = [] if earlier is None else _listed(earlier, name, bundles)
    entries = [*listed, *(_entry(bundle) for bundle in bundles)]
    if len(entries) == 1 and earlier is None:
        whole = bundles[0].found.core
        meant = Fetched(descriptor=whole.descriptor, data=whole.data)
    else:
        meant = index_of(sorted(entries, key=lambda item: item.annotations.get(TARGET, "")))
    destination.tag(name, meant.descriptor, meant.data)
    return Pushed(
        digest=meant.descriptor.digest,
        cores=tuple((bundle.manifest.target, bundle.digest) for bundle in bundles),
        tag=name,
        sent_bytes=sending.sent_bytes,
        present_bytes=sending.present_bytes,
    )


class _Send:
    """Sends blobs over a few connections; the first error ends all of them."""

    def __init__(self, destination: Destination, progress: Progress) -> None:
        self._destination = destination
        self._progress = progress
        self._lock = threading.Lock()
        self._done: set[str] = set()
        self.sent_bytes = 0
        self.present_bytes = 0

    def all(self, blobs: Sequence[Descriptor], folder: Path) -> None:
        """Sends what the place does not have."""
        with self._lock:
            due = [blob for blob in blobs if blob.digest not in self._done]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            jobs = [pool.submit(self._one, blob, folder) for blob in sorted(due, key=lambda item: -item.size_bytes)]
            wait(jobs, return_when=FIRST_EXCEPTION)
            for job in jobs:
                job.cancel()
        for job in jobs:
            if not job.cancelled():
                job.result()
        with self._lock:
            self._done |= {blob.digest for blob in due}

    def _one(self, blob: Descriptor, folder: Path) -> None:
        present = self._destination.has(blob)
        if not present:
            self._destination.put_blob(blob, folder / "blobs" / "sha256" / blob.hex)
        with self._lock:
            self.present_bytes += blob.size_bytes if present else 0
            self.sent_bytes += 0 if present else blob.size_bytes
        if blob.size_bytes > 1 << 20:
            said = "there already" if present else "sent"
            self._progress.say(f"{blob.digest[:19]}…, {blob.size_bytes / (1 << 20):.1f} MiB: {said}")


def _read(folder: Path) -> _Bundle:
    """A bundle that was verified, but for the files beside it and the hashes of large blobs, which the place makes."""
    source = LayoutSource(FolderFiles(folder))
    if source.find(LATEST) is None:
        raise UsageError("there is no bundle", where=str(folder), expected="a build's folder, or the bundle/ inside it")
    found = find_bundle(source, LATEST, None)
    large = {blob.hex for blob in found.blobs() if blob.size_bytes > _LARGE_BYTES}
    verified = verify(folder, hashed=large, beside=False)
    if verified.digest != found.core.descriptor.digest:
        raise IntegrityError("the bundle changed while it was read", where=str(folder))
    return _Bundle(folder=folder, digest=verified.digest, manifest=verified.manifest, found=found)


def _check_beside(bundles: Sequence[_Bundle]) -> None:
    for bundle in bundles:
        expected = {name: (item.hex, item.size_bytes) for name, item in bundle.found.core.layers.items()}
        check_files_beside(bundle.folder, expected)


def _blobs_about(bundle: _Bundle) -> list[Descriptor]:
    """What evidence, training and signatures name, each digest once."""
    return list({blob.digest: blob for item in bundle.found.about for blob in item.blobs()}.values())


def _hand_over_about(bundles: Sequence[_Bundle], destination: Destination, sending: _Send) -> None:
    """Evidence, training and signatures, and the lists of what is about each core; a core may come after them."""
    for bundle in bundles:
        sending.all(_blobs_about(bundle), bundle.folder)
        entries = []
        for item in bundle.found.about:
            destination.put_manifest(item.descriptor, item.data)
            name = bundle.found.names.get(item.descriptor.digest)
            entries.append(replace(item.descriptor, annotations={} if name is None else {REF_NAME: name}))
        destination.add_referrers(bundle.found.core.descriptor, entries)


def _hand_over_cosign(
    image: tuple[Descriptor, bytes, Sequence[Descriptor]], tag: str, destination: Destination
) -> None:
    """All of cosign's signatures share one tag: those of others must not be lost."""
    descriptor, data, ours = image
    there = destination.find(tag)
    if there is not None and there.descriptor.digest != descriptor.digest:
        theirs = read_image(there.data, f"{destination.place}:{tag}")
        # All payloads about a core may be one: what tells signatures apart is the annotation.
        if {item.annotations.get(SIGNATURE) for item in theirs} - {item.annotations.get(SIGNATURE) for item in ours}:
            raise UsageError(
                "the place has signatures of cosign's that the bundle does not",
                where=f"{destination.place}:{tag}",
                next_step="edgegen pull the bundle, sign it again, and push that",
            )
    destination.tag(tag, descriptor, data)


def _entry(bundle: _Bundle) -> Descriptor:
    return replace(
        bundle.found.core.descriptor,
        annotations={TARGET: bundle.manifest.target, VERSION: bundle.manifest.version},
    )


def _listed(earlier: Source, tag: str, bundles: Sequence[_Bundle]) -> list[Descriptor]:
    """What the tag stands for already, but for the targets that are replaced."""
    named = earlier.find(tag)
    if named is None:
        return []
    where = f"{earlier.place}:{tag}"
    if not is_index(named.data, where):
        raise UsageError(
            "the tag stands for one bundle, not for a list that others can be added to",
            where=where,
            next_step="push the bundles of all targets together, or choose another tag",
        )
    replaced = {bundle.manifest.target for bundle in bundles}
    return [item for item in read_index(named.data, where) if item.annotations.get(TARGET) not in replaced]


def _check_targets(bundles: Sequence[_Bundle]) -> None:
    targets = [bundle.manifest.target for bundle in bundles]
    twice = sorted({target for target in targets if targets.count(target) > 1})
    if twice:
        raise UsageError("two bundles are for one target", got=", ".join(twice), expected="one bundle a target")


def _common_tag(bundles: Sequence[_Bundle]) -> str:
    versions = sorted({bundle.manifest.version for bundle in bundles})
    if len(versions) != 1:
        raise UsageError(
            "the bundles are of several versions", got=", ".join(versions), next_step="name a tag: HOST/NAME:TAG"
        )
    return tag_of_version(versions[0])
