"""Brings a bundle here: fetched in pieces that survive a kill, checked to the last byte, and then put in its place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from edgegen.artifacts.contents import MAX_DOCUMENT_BYTES, read_bundle_manifest
from edgegen.artifacts.layout import BUNDLE_DIR, MANIFEST, BundleManifest
from edgegen.artifacts.registry_patience import FAILURES, Attempts, Patience
from edgegen.artifacts.sealed import read_bounded
from edgegen.artifacts.transfer import MAX_ARTIFACT_BYTES, Descriptor, Source
from edgegen.artifacts.transfer_parts import Found, check_target, find_bundle
from edgegen.artifacts.transfer_staging import Staging, staged
from edgegen.artifacts.verify import Verified, verify
from edgegen.core.digests import canonical_json
from edgegen.core.errors import IntegrityError
from edgegen.core.ports import Progress
from edgegen.core.store import INDEX_TYPE, LAYOUT, REF_NAME

CONNECTIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """A bundle that is here now."""

    digest: str  # sha256:<hex> of the core's manifest
    folder: Path  # holds bundle/ and files/
    manifest: BundleManifest
    fetched_bytes: int
    kept_bytes: int  # that were here before: of an earlier run or of the bundle that was replaced
    signatures: int  # in the bundle; whose they are was not asked


def pull(
    source: Source,
    reference: str,
    out: Path,
    *,
    target: str | None,
    progress: Progress,
    patience: Patience,
    max_bytes: int = MAX_ARTIFACT_BYTES,
    admit: Callable[[Verified], object] | None = None,
    prove: Callable[[Path], object] | None = None,
) -> Pulled:
    """The bundle of a tag or digest in ``out``: ``bundle/`` (an OCI layout) and ``files/`` (the core's, by name).

    Whatever bundle was there is replaced as a whole, and only by one that holds.

    Args:
        admit: is told of the bundle once its bytes hold, and may refuse it by an error: whom to trust is for others.
        prove: is shown the whole and verified bundle before it takes its place, and may refuse it by an error.

    Raises:
        UsageError: the tag stands for several targets and none was given, or ``out`` holds something else.
        ToolMissingError: the place does not answer, or has no such artifact.
        IntegrityError: something is not what its digest says, is no bundle, is for another device, or is too large.
        StorageError: the disk is full.
    """
    found = find_bundle(source, reference, target)
    blobs = found.blobs()
    _check_sizes(blobs, max_bytes, source.place)
    told = found.core.layers.get(MANIFEST)
    if told is None:
        raise IntegrityError("the core has no manifest", where=source.place, expected=MANIFEST)
    with staged(out) as staging:
        fetch = _Fetch(source, staging, patience, progress)
        kept = fetch.keep(blobs, out / BUNDLE_DIR)
        missing = [blob for blob in blobs if blob.digest not in kept]
        staging.check_room(sum(blob.size_bytes for blob in (*missing, *found.core.layers.values())))
        # What says which device the bundle is for comes first: the model of another need not be fetched.
        fetch.all([blob for blob in missing if blob == told])
        manifest = read_bundle_manifest(read_bounded(staging.path(told), MAX_DOCUMENT_BYTES))
        check_target(manifest, target, source.place)
        fetch.all([blob for blob in missing if blob != told])
        _write_layout(staging, found, manifest.version)
        try:
            verified = verify(staging.bundle, hashed={blob.hex for blob in blobs})
        except IntegrityError:
            # Each file is what its digest says, so the next run would find the same fault.
            staging.remove()
            raise
        progress.say(f"verified {verified.digest}")
        if admit is not None:
            admit(verified)
        if prove is not None:
            prove(staging.bundle)
        staging.place(dict(found.core.layers))
    return Pulled(
        digest=verified.digest,
        folder=out,
        manifest=verified.manifest,
        fetched_bytes=fetch.fetched_bytes,
        kept_bytes=sum(blob.size_bytes for blob in blobs) - fetch.fetched_bytes,
        signatures=len(verified.claims),
    )


class _Fetch:
    """Fetches blobs over a few connections."""

    def __init__(self, source: Source, staging: Staging, patience: Patience, progress: Progress) -> None:
        self._source = source
        self._staging = staging
        self._patience = patience
        self._progress = progress
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._total_mib = 0
        self.fetched_bytes = 0

    def keep(self, blobs: list[Descriptor], earlier: Path) -> set[str]:
        """Digests of those that are here already, whole."""
        return {blob.digest for blob in blobs if self._staging.has(blob) or self._staging.adopt(blob, earlier)}

    def all(self, blobs: list[Descriptor]) -> None:
        """Fetches every blob, large ones first; the first error ends all of them."""
        self._stop.clear()
        self._total_mib += sum(blob.size_bytes for blob in blobs) >> 20
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            jobs = [pool.submit(self._one, blob) for blob in sorted(blobs, key=lambda item: -item.size_bytes)]
            _, unfinished = wait(jobs, return_when=FIRST_EXCEPTION)
            if unfinished:
                self._stop.set()
            for job in unfinished:
                job.cancel()
        errors = [error for job in jobs if not job.cancelled() and (error := job.exception()) is not None]
        # Those that were stopped say nothing; what stopped them does.
        for error in sorted(errors, key=lambda item: isinstance(item, _StoppedError)):
            raise error

    def _one(self, blob: Descriptor) -> None:
        attempts = Attempts(self._patience, self._source.place)
        with self._staging.part(blob) as part:
            # What an earlier run left may have been damaged here: then the whole blob is fetched once more.
            again = part.size_bytes > 0
            while True:
                try:
                    # What is whole already need not be asked for, and what is empty cannot.
                    if part.size_bytes < blob.size_bytes:
                        with self._source.blob(blob, part.size_bytes) as stream:
                            if stream.start != part.size_bytes:
                                part.begin()
                            for chunk in self._counted(stream.chunks()):
                                part.add(chunk)
                    if part.size_bytes < blob.size_bytes:
                        raise ConnectionError(f"the answer ended after {part.size_bytes} of {blob.size_bytes} bytes")
                except FAILURES as error:
                    attempts.failed(error, part.size_bytes)
                    continue
                if part.finish():
                    return
                if not again:
                    raise IntegrityError(
                        "a file is not what its digest says",
                        where=self._source.place,
                        expected=blob.digest,
                        next_step="do not use it; fetch it again, or from another place",
                    )
                again = False

    def _counted(self, chunks: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        for chunk in chunks:
            if self._stop.is_set():
                raise _StoppedError
            with self._lock:
                before, self.fetched_bytes = self.fetched_bytes >> 20, self.fetched_bytes + len(chunk)
                if self._total_mib and self.fetched_bytes >> 20 > before:
                    self._progress.advance("pull", self.fetched_bytes >> 20, self._total_mib, "MiB")
            yield chunk


class _StoppedError(Exception):
    """Another blob has failed: this one's fetching ends too."""


def _check_sizes(blobs: list[Descriptor], max_bytes: int, place: str) -> None:
    total = sum(blob.size_bytes for blob in blobs)
    if total > max_bytes:
        raise IntegrityError(
            "the bundle is larger than it may be",
            where=place,
            got=f"{total} bytes",
            expected=f"<= {max_bytes} bytes",
            next_step="allow more with --max-bytes, if you expect that much",
        )


def _write_layout(staging: Staging, found: Found, version: str) -> None:
    """Writes what names the blobs, with the tags that a bundle of this version has."""
    for descriptor, data in found.manifests():
        staging.put(f"blobs/sha256/{descriptor.hex}", data)
    entries = []
    for descriptor, tag in found.tags(version):
        entry = descriptor.table()
        entry.pop("annotations", None)
        entries.append(entry if tag is None else {**entry, "annotations": {REF_NAME: tag}})
    ordered = sorted(entries, key=lambda item: str(item.get("annotations", {}).get(REF_NAME)))
    staging.put("index.json", canonical_json({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": ordered}))
    staging.put("oci-layout", canonical_json(LAYOUT))
    staging.keep_only({item.hex for item in found.blobs()} | {item.hex for item, _ in found.manifests()})
