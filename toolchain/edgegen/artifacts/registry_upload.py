"""Uploads of blobs: one request for small ones, resumable sessions for large ones.

A large blob goes whole in one request at first, as skopeo and docker send it: a registry that syncs its disk after
each request would keep us waiting after each part. Once that was cut, or refused as too large, the rest goes in parts.

A session's address is kept on disk from its beginning, so that another run may ask how far it came and go on. Whether
it can is the registry's doing: the specification has it (``Range`` of a GET on the session); Docker's registry 2.8
ends a session whose part was cut, and then the blob begins anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from edgegen.artifacts.parse import strict_json
from edgegen.artifacts.registry_connection import FilePart
from edgegen.artifacts.registry_http import Reply
from edgegen.artifacts.registry_patience import FAILURES, BusyError
from edgegen.artifacts.registry_requests import Requests
from edgegen.artifacts.sealed import read_bounded
from edgegen.artifacts.transfer import Descriptor
from edgegen.core.digests import canonical_json, sha256_json
from edgegen.core.errors import IntegrityError
from edgegen.core.store import MAX_MANIFEST_BYTES, unwritable
from edgegen.core.whole_file import replace_file

PART_BYTES = 64 << 20
"""Of a large blob in one request after a failure: what is lost by another, where a registry keeps whole parts alone;
and some proxies refuse bodies beyond 100 MB."""

SMALL_BYTES = 4 << 20
_OCTETS = {"Content-Type": "application/octet-stream"}
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,18})")
_MAX_NOTE_BYTES = 64 << 10
_MOST_SESSIONS = 8  # opened for one blob in one run
_TOO_LARGE = 413


class Sessions:
    """Notes of unfinished uploads, one file each, in a folder of the cache."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, place: str, digest: str) -> str | None:
        """The address of a session, None where none is known."""
        path = self._path(place, digest)
        if not path.is_file():
            return None
        try:
            location = strict_json(read_bounded(path, _MAX_NOTE_BYTES), str(path)).get("location")
        except IntegrityError:
            # A note that cannot be read is worth nothing; the blob begins anew.
            return None
        return location if isinstance(location, str) else None

    def keep(self, place: str, digest: str, location: str) -> None:
        """Notes where a session stands now. Raises StorageError: the cache's disk is full or not writable."""
        note = {"schema_version": 1, "place": place, "digest": digest, "location": location}
        try:
            replace_file(self._path(place, digest), canonical_json(note))
        except OSError as error:
            raise unwritable(self._folder, error) from error

    def forget(self, place: str, digest: str) -> None:
        """The session is over."""
        self._path(place, digest).unlink(missing_ok=True)

    def _path(self, place: str, digest: str) -> Path:
        return self._folder / f"{sha256_json([place, digest])}.json"


def upload(requests: Requests, blob: Descriptor, path: Path, sessions: Sessions, mount_from: str | None) -> None:
    """Brings a file into the registry, which commits it only if it is what its digest says (OCI distribution 1.1).

    Raises:
        ToolMissingError: too many failures, or the registry refuses.
        IntegrityError: the file is not what the digest says.
    """
    attempts = requests.attempts()
    location = sessions.find(requests.place, blob.digest)
    part_bytes = blob.size_bytes if location is None else PART_BYTES
    for _ in range(_MOST_SESSIONS):
        session = _Session(requests, blob, path, sessions, part_bytes)
        while True:
            try:
                if session.run(location, mount_from):
                    sessions.forget(requests.place, blob.digest)
                    return
                break  # the registry no longer knows the session
            except FAILURES as error:
                attempts.failed(error, session.done_bytes)
                if location is not None and session.location is None and isinstance(error, BusyError):
                    break  # some registries fail over an earlier run's session that they have lost
                location = session.location or location
                session.part_bytes = part_bytes = PART_BYTES
        sessions.forget(requests.place, blob.digest)
        location = None
        attempts.failed(ConnectionError("the registry lost an upload"), session.done_bytes)
    raise requests.unexpected(404, b"BLOB_UPLOAD_UNKNOWN again and again", "an upload")


class _Session:
    """One upload session of one blob."""

    def __init__(self, requests: Requests, blob: Descriptor, path: Path, sessions: Sessions, part_bytes: int) -> None:
        self._requests = requests
        self._blob = blob
        self._path = path
        self._sessions = sessions
        self._least_bytes = 0  # of a part, as the registry asks for
        self.part_bytes = part_bytes
        self.location: str | None = None
        self.done_bytes = 0

    def run(self, location: str | None, mount_from: str | None) -> bool:
        """Goes on with the session at ``location``, or opens one; False if the registry does not know it (any more)."""
        if location is None:
            if self._opened(mount_from):
                return True
        else:
            status = self._reply("GET", location)
            if status.status not in (200, 202, 204):
                return False
            self._goes_on(status, from_range=True)
        whole = self._blob.size_bytes
        if whole - self.done_bytes > SMALL_BYTES:
            while self.done_bytes < whole:
                size = min(max(self.part_bytes, self._least_bytes), whole - self.done_bytes)
                part = FilePart(path=self._path, start=self.done_bytes, size_bytes=size)
                span = {"Content-Range": f"{part.start}-{part.start + size - 1}", **_OCTETS}
                reply = self._reply("PATCH", self._at(), span, part)
                if reply.status in (404, 416):
                    return False
                if reply.status == _TOO_LARGE and self.part_bytes > PART_BYTES:
                    self.part_bytes = PART_BYTES  # what stands before the registry has refused it: nothing was taken
                    continue
                if reply.status not in (200, 202, 204):
                    raise self._requests.unexpected(reply.status, reply.body, "a part of a file")
                self.done_bytes += size
                self._goes_on(reply, from_range=False)
        return self._committed()

    def _opened(self, mount_from: str | None) -> bool:
        """Opens a session; True if the registry took the blob from another repository instead."""
        path = "blobs/uploads/"
        if mount_from is not None:
            path += f"?mount={quote(self._blob.digest)}&from={quote(mount_from, safe='')}"
        reply = self._reply("POST", path)
        if reply.status == 201:
            return True
        if reply.status != 202:
            raise self._requests.unexpected(reply.status, reply.body, "an upload")
        least = reply.header("OCI-Chunk-Min-Length") or ""
        if least.isascii() and least.isdecimal() and len(least) < 12:
            self._least_bytes = int(least)
        self.done_bytes = 0
        self._goes_on(reply, from_range=False)
        return False

    def _committed(self) -> bool:
        """Sends what is left with the digest that all of it must have."""
        rest = FilePart(path=self._path, start=self.done_bytes, size_bytes=self._blob.size_bytes - self.done_bytes)
        address = self._at()
        address += f"{'&' if '?' in address else '?'}digest={quote(self._blob.digest)}"
        reply = self._reply("PUT", address, _OCTETS, rest)
        if reply.status in (404, 416):
            return False
        if reply.status == 400:
            raise IntegrityError(
                "the registry finds another digest than the file's name says",
                where=f"{self._requests.place}, {self._blob.digest}",
                got=reply.body[:500].decode(errors="replace"),
                next_step="edgegen verify the bundle; if it holds, repeat the command",
            )
        if reply.status not in (200, 201, 202, 204):
            raise self._requests.unexpected(reply.status, reply.body, "a file")
        self.done_bytes = self._blob.size_bytes
        return True

    def _goes_on(self, reply: Reply, *, from_range: bool) -> None:
        """Takes the session's next address and, of a session that was left, how much of the file is there."""
        self.location = self._requests.pinned(reply.header("Location") or self.location)
        if from_range:
            match = _RANGE.fullmatch(reply.header("Range") or "")
            # "0-0" is what an empty session says as well; one byte more or less to send does not matter, so it is
            # taken for empty where the registry then refuses another start (416) and the session begins anew.
            last = -1 if match is None else int(match.group(1))
            self.done_bytes = 0 if last <= 0 else min(last + 1, self._blob.size_bytes)
        if self._blob.size_bytes > SMALL_BYTES:
            self._sessions.keep(self._requests.place, self._blob.digest, self.location)

    def _at(self) -> str:
        assert self.location is not None
        return self.location

    def _reply(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | FilePart = b""
    ) -> Reply:
        with self._requests.once(method, path, headers, body) as answer:
            return answer.read(MAX_MANIFEST_BYTES)
