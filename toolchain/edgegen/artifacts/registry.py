"""A client of the OCI distribution API 1.1: blobs, manifests, tags and referrers of one repository.

Registries without the referrers API get the specification's fallback: an index under the tag ``sha256-<hex>``. It has
no conditional write, so whoever adds an entry reads the index again, and again, until the entry stays.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgegen.artifacts.parse import strict_json
from edgegen.artifacts.registry_http import BlobAnswer
from edgegen.artifacts.registry_requests import Requests
from edgegen.artifacts.registry_upload import Sessions, upload
from edgegen.artifacts.sealed import hex_of
from edgegen.artifacts.transfer import (
    MAX_ENTRIES,
    Descriptor,
    Fetched,
    checked_bytes,
    digest_of_bytes,
    index_of,
    is_index,
    read_index,
    referrers_tag,
)
from edgegen.core.errors import IntegrityError, ToolMissingError
from edgegen.core.store import INDEX_TYPE, MANIFEST_TYPE

_ACCEPT = {"Accept": f"{MANIFEST_TYPE}, {INDEX_TYPE}"}
_MAX_PAGES = 20
_NEXT_PAGE = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')
_SETTLED = 2  # looks in a row, beyond the first, that must find the entry
_MOST_ROUNDS = 60
_UNKNOWN = b"BLOB_UNKNOWN"  # also the end of MANIFEST_BLOB_UNKNOWN
_UNKNOWN_TRIES = 8


class Registry:
    """One repository of a registry; safe for several threads. ``close`` it in the end."""

    def __init__(self, requests: Requests, sessions: Sessions, mount_from: str | None = None) -> None:
        self.place = requests.place
        self._requests = requests
        self._sessions = sessions
        self._mount_from = mount_from
        self._lists_referrers = False

    # -- reading ---------------------------------------------------------------------------------------------------

    def resolve(self, reference: str) -> Fetched:
        """The manifest or index of a tag or digest. Raises ToolMissingError if there is none."""
        found = self._manifest(reference)
        if found is None:
            tags = self.tags()
            raise ToolMissingError(
                "there is no such artifact",
                where=self.place,
                got=reference,
                expected=f"one of {', '.join(tags[-12:])}" if tags else None,
            )
        return found

    def find(self, tag: str) -> Fetched | None:
        """The manifest or index of a tag, None if there is none."""
        return self._manifest(tag)

    def manifest(self, digest: str) -> bytes:
        """The bytes of a manifest. Raises IntegrityError if the registry has lost it: something names it."""
        found = self._manifest(digest)
        if found is None:
            raise IntegrityError("a manifest is missing", where=self.place, expected=digest)
        return found.data

    def tags(self) -> list[str]:
        """Tags that name artifacts, sorted; empty if the registry does not tell."""
        reply = self._requests.asked("GET", "tags/list?n=1000")
        listed = strict_json(reply.body, f"{self.place}, tags").get("tags") if reply.status == 200 else []
        if not isinstance(listed, list):
            return []
        return sorted(tag for tag in listed if isinstance(tag, str) and not tag.startswith("sha256-"))

    def referrers(self, digest: str) -> list[Descriptor]:
        """What has this manifest as its subject: under the fallback tag, and by the API where the registry has it."""
        fallback = self._manifest(referrers_tag(digest))
        entries = [] if fallback is None else read_index(fallback.data, f"{self.place}, referrers")
        known = {item.digest for item in entries}
        return entries + [item for item in self._listed(digest) if item.digest not in known]

    @contextmanager
    def blob(self, wanted: Descriptor, start: int) -> Iterator[BlobAnswer]:
        """The bytes of a blob from ``start`` on, or from 0 where the registry cannot begin in the middle."""
        ranged = {"Range": f"bytes={start}-"} if start else {}
        with self._requests.once("GET", f"blobs/{wanted.digest}", ranged) as answer:
            if answer.status in (404, 416):
                raise IntegrityError(
                    "a file is missing or too short", where=self.place, expected=f"{wanted.digest} from {start} on"
                )
            if answer.status not in (200, 206):
                raise self._requests.unexpected(answer.status, b"", "a file")
            yield BlobAnswer(answer, wanted, start)

    # -- writing ---------------------------------------------------------------------------------------------------

    def has(self, blob: Descriptor) -> bool:
        """Whether the blob is there. Raises IntegrityError if it is there with another size."""
        reply = self._requests.asked("HEAD", f"blobs/{blob.digest}")
        if reply.status == 404:
            return False
        if reply.status != 200:
            raise self._requests.unexpected(reply.status, reply.body, "a file")
        size = reply.header("Content-Length")
        if size is not None and size != str(blob.size_bytes):
            raise IntegrityError(
                "the registry holds other bytes under a digest",
                where=f"{self.place}, {blob.digest}",
                got=f"{size} bytes",
                expected=f"{blob.size_bytes} bytes",
                next_step="the registry's storage is damaged: tell whoever runs it",
            )
        return True

    def put_blob(self, blob: Descriptor, path: Path) -> None:
        """Uploads a file, going on where an earlier attempt ended if the registry still knows of it."""
        upload(self._requests, blob, path, self._sessions, self._mount_from)

    def put_manifest(self, manifest: Descriptor, data: bytes) -> None:
        """Hands a manifest over under its digest, and looks whether the registry has it now.

        Docker's registry 2.8 writes manifests in place. A full disk leaves an empty one, which it then takes for the
        whole when it is given it again, and fails over when it is asked for it.
        """
        self._put(manifest.digest, manifest, data)
        self.manifest(manifest.digest)

    def tag(self, name: str, manifest: Descriptor, data: bytes) -> None:
        """Makes ``name`` stand for a manifest or index, and looks whether it does."""
        self._put(name, manifest, data)
        reply = self._requests.asked("HEAD", f"manifests/{name}", _ACCEPT)
        named = reply.header("Docker-Content-Digest")
        if reply.status != 200 or named not in (None, manifest.digest):
            raise ToolMissingError(
                "the tag was given, and stands for something else now",
                where=f"{self.place}:{name}",
                got=named or f"HTTP {reply.status}",
                expected=manifest.digest,
                next_step="somebody pushed the same tag at the same time: decide which one counts, and push it again",
            )

    def swap(self, name: str, manifest: Descriptor, data: bytes, before: str | None) -> bool:
        """As ``tag``, if the name still stands for ``before``. A registry lets us look first: look again after a while.

        Raises:
            ToolMissingError: as ``tag``.
        """
        now = self.find(name)
        if (None if now is None else now.descriptor.digest) != before:
            return False
        self.tag(name, manifest, data)
        return True

    def add_referrers(self, subject: Descriptor, entries: Sequence[Descriptor]) -> None:
        """Enters artifacts whose manifests are there among those about ``subject``; entries of others stay.

        Raises:
            ToolMissingError: other writers take them out again and again.
        """
        if self._lists_referrers or not entries:
            return
        tag, dice, seen, wrote = referrers_tag(subject.digest), random.Random(), 0, False
        for _ in range(_MOST_ROUNDS):
            found = self._manifest(tag)
            there = [] if found is None else read_index(found.data, f"{self.place}, referrers")
            known = {item.digest for item in there}
            missing = [item for item in entries if item.digest not in known]
            if not missing and (seen == _SETTLED or not wrote):
                return
            seen = 0 if missing else seen + 1
            if missing:
                index = index_of([*there, *missing])
                self._put(tag, index.descriptor, index.data)
                wrote = True
            time.sleep(dice.uniform(*self._requests.patience.settle_s))
        raise ToolMissingError(
            "an entry does not stay in the list of referrers",
            where=f"{self.place}:{tag}",
            next_step="repeat the command when fewer writers are at work",
        )

    def close(self) -> None:
        """Ends the connections."""
        self._requests.close()

    # --------------------------------------------------------------------------------------------------------------

    def _manifest(self, reference: str) -> Fetched | None:
        where = f"{self.place}{'@' if hex_of(reference) else ':'}{reference}"
        reply = self._requests.asked("GET", f"manifests/{reference}", _ACCEPT)
        if reply.status == 404:
            return None
        if reply.status != 200:
            raise self._requests.unexpected(reply.status, reply.body, "a manifest")
        named = reply.header("Docker-Content-Digest")
        # Of a tag the registry alone says which digest it stands for; what it says must fit the bytes.
        digest = reference if hex_of(reference) else (named or digest_of_bytes(reply.body))
        if hex_of(digest) is None:
            raise IntegrityError("the registry names an unusable digest", where=where, got=digest[:100])
        checked_bytes(reply.body, digest, "a manifest", where)
        media = INDEX_TYPE if is_index(reply.body, where) else MANIFEST_TYPE
        descriptor = Descriptor(digest=digest, size_bytes=len(reply.body), media_type=media)
        return Fetched(descriptor=descriptor, data=reply.body)

    def _listed(self, digest: str) -> list[Descriptor]:
        """What the referrers API lists, page by page; empty where the registry does not have it."""
        found: list[Descriptor] = []
        path: str | None = f"referrers/{digest}"
        for _ in range(_MAX_PAGES):
            if path is None:
                return found
            reply = self._requests.asked("GET", path, {"Accept": INDEX_TYPE})
            if reply.status != 200:
                # 404 says that there is no such API; registries say 400 or 405 too of what they do not know.
                return found
            found += read_index(reply.body, f"{self.place}, referrers")
            match = _NEXT_PAGE.search(reply.header("Link") or "")
            path = None if match is None else self._requests.pinned(match.group(1))
            if len(found) > MAX_ENTRIES:
                break
        raise IntegrityError("too many artifacts are about one core", where=self.place, expected=f"<= {MAX_ENTRIES}")

    def _put(self, reference: str, manifest: Descriptor, data: bytes) -> None:
        headers, dice = {"Content-Type": manifest.media_type}, random.Random()
        for left in reversed(range(_UNKNOWN_TRIES)):
            reply = self._requests.asked("PUT", f"manifests/{reference}", headers, data)
            # Where others push the same blob at the same moment, a registry may not see for a moment what it has.
            if not (left and reply.status in (400, 404) and _UNKNOWN in reply.body):
                break
            time.sleep(dice.uniform(*self._requests.patience.settle_s))
        if reply.status not in (200, 201, 202):
            raise self._requests.unexpected(reply.status, reply.body, "a manifest")
        # A registry that looks at subjects lists them by itself.
        self._lists_referrers = self._lists_referrers or reply.header("OCI-Subject") is not None
        named = reply.header("Docker-Content-Digest")
        if named not in (None, manifest.digest):
            raise IntegrityError(
                "the registry stored another manifest than it was given",
                where=self.place,
                got=named,
                expected=manifest.digest,
            )
