"""What is current for a device: TUF metadata from whatever place, checked by python-tuf.

Rollback, freeze, mix-and-match, endless data and keys outside their paths are python-tuf's to refuse; on top of that a
version that is older than one that was seen here is refused, whoever signed it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    SlowRetrievalError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface, Updater
from tuf.ngclient.config import UpdaterConfig

from edgegen.artifacts.parse import strict_json
from edgegen.artifacts.policy import check_target, check_version
from edgegen.artifacts.release_metadata import parse_metadata
from edgegen.artifacts.release_records import (
    METADATA,
    ROOTS,
    TARGETS,
    Release,
    Statement,
    is_begun,
    read_custom,
    read_record,
    release_path,
)
from edgegen.core.digests import canonical_json
from edgegen.core.errors import EdgegenError, IntegrityError, ToolMissingError, UsageError
from edgegen.core.given_file import read_file
from edgegen.core.locks import locked
from edgegen.core.store import unwritable
from edgegen.core.whole_file import replace_file
from edgegen_runtime.sources import Source, source_of
from edgegen_runtime.strict import UnreachableError

_CHUNK_BYTES = 1 << 16
_LIMITS = UpdaterConfig()
_SEEN, _LOCK = "seen.json", "state.lock"
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ExpiredMetadataError, "expired: the metadata are too old to be believed (or this clock is wrong)"),
    (BadVersionNumberError, "rollback: the metadata are older than what was seen, or do not fit each other"),
    (UnsignedMetadataError, "unknown key: the metadata are not signed by the keys of their role"),
    (LengthOrHashMismatchError, "tampered: a file is not what the metadata say of it"),
    (DownloadLengthMismatchError, "too large: a file does not end where the metadata say it does"),
)


class Trusted:
    """Releases whose metadata were believed at one moment. See ``trusted``."""

    def __init__(self, fetcher: FetcherInterface, state: Path, root: Path | None, where: str) -> None:
        self._fetcher = fetcher
        self._state = state
        self._where = where
        with self._believing():
            self._updater = Updater(
                metadata_dir=str(state),
                metadata_base_url=f"{METADATA}/",
                target_dir=str(state / TARGETS),
                target_base_url=f"{TARGETS}/",
                fetcher=fetcher,
                bootstrap=_bootstrap(state, root),
            )
            self._updater.refresh()
        self._targets: Targets = self._kept("targets", Targets)
        self._snapshot: Snapshot = self._kept("snapshot", Snapshot)
        self.expires_on: datetime = min(
            self._kept("timestamp", Timestamp).expires, self._snapshot.expires, self._targets.expires
        )

    def release(self, path: str) -> Release | None:
        """The release at a path, None if there is none: python-tuf looks for it and fetches its record."""
        with self._believing():
            info = self._updater.get_targetinfo(path)
            if info is None:
                return None
            file = self._updater.download_target(info, str(self._state / TARGETS / "record.json"))
        found = read_record(Path(file).read_bytes(), path)
        return found if isinstance(found, Release) else None

    def statements(self) -> list[Statement]:
        """Everything that is released or was recalled, each said by the family that may.

        Raises:
            IntegrityError: a family's metadata must not be believed.
        """
        found, delegations = dict[str, Statement](), self._targets.delegations
        roles = {} if delegations is None else (delegations.roles or {})
        for name, role in roles.items():
            told = self._family(name)
            for path, item in {} if told is None else told.targets.items():
                # The first role whose paths fit has the word, as TUF walks terminating delegations.
                first = next(other for other in roles.values() if other is role or other.is_delegated_path(path))
                if first is role and role.is_delegated_path(path):
                    found[path] = read_custom(path, item.unrecognized_fields.get("custom"))
        return list(found.values())

    def _family(self, name: str) -> Targets | None:
        """A family's metadata, checked against targets and snapshot; None where it has signed nothing yet."""
        meta = self._snapshot.meta.get(f"{name}.json")
        if meta is None:
            return None
        with self._believing():
            limit = meta.length or _LIMITS.targets_max_length
            data = self._fetcher.download_bytes(f"{METADATA}/{meta.version}.{name}.json", limit)
            meta.verify_length_and_hashes(data)
            read: Metadata[Targets] = Metadata[Targets].from_bytes(data)
            if not isinstance(read.signed, Targets):
                raise RepositoryError(f"{name} is of another kind")
            self._targets.verify_delegate(name, read.signed_bytes, read.signatures)
            if read.signed.version != meta.version:
                raise BadVersionNumberError(f"{name} {read.signed.version}, expected {meta.version}")
            if read.signed.is_expired(datetime.now(UTC)):
                raise ExpiredMetadataError(f"{name}.json")
            return read.signed

    def _kept(self, name: str, kind: type[Any]) -> Any:
        """What python-tuf has just checked and kept."""
        read = Metadata[Any].from_file(str(self._state / f"{name}.json")).signed
        assert isinstance(read, kind)
        return read

    @contextmanager
    def _believing(self) -> Iterator[None]:
        """Says why metadata cannot be believed, or cannot be had."""
        try:
            yield
        except (RepositoryError, DownloadLengthMismatchError, DeserializationError) as error:
            raise IntegrityError(_reason(error), where=self._where, got=error) from error
        except DownloadError as error:
            if isinstance(error.__cause__, EdgegenError):
                raise error.__cause__ from None
            raise ToolMissingError("the releases cannot be fetched", where=self._where, got=error) from error


@contextmanager
def trusted(fetcher: FetcherInterface, state: Path, root: Path | None, where: str) -> Iterator[Trusted]:
    """What a place releases, once its metadata were found right.

    Args:
        state: folder that keeps what was seen: no older metadata are taken.
        root: the first root metadata, got from somebody who is trusted; needed where ``state`` is new.

    Raises:
        UsageError: ``root`` is missing or cannot be read.
        ToolMissingError: the place does not answer.
        IntegrityError: what it has must not be believed, and why.
        StorageError: ``state`` cannot be written.
    """
    try:
        (state / TARGETS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(state, error, "set EDGEGEN_STATE") from error
    with locked(state / _LOCK):
        yield Trusted(fetcher, state, root, where)


def find_release(
    place: str, state: Path, *, target: str, channel: str, name: str, root: Path | None = None, timeout_s: float = 120.0
) -> Release:
    """The current release of a name for a target, of a repository that lies in a folder or on a web server as it is.

    Args:
        place: folder or web address of the repository.

    Raises:
        EdgegenError: as ``current_release``; UsageError for an address of another kind too.
    """
    try:
        source = source_of(place)
    except UnreachableError as error:
        raise UsageError("not a place with releases", where=place, got=error) from error
    fetcher = _Fetcher(source, time.monotonic() + timeout_s)
    return current_release(fetcher, state, place, target=target, channel=channel, name=name, root=root)


def current_release(
    fetcher: FetcherInterface,
    state: Path,
    where: str,
    *,
    target: str,
    channel: str,
    name: str,
    root: Path | None,
) -> Release:
    """The current release of a name for a target, which is what nobody else may say.

    Args:
        state: folder that keeps what was seen: no older metadata and no older version is taken.
        where: the place, for errors.
        root: as ``trusted`` has it.

    Raises:
        UsageError: ``root`` is missing or cannot be read.
        ToolMissingError: the place does not answer, or has no such release.
        IntegrityError: what it has must not be believed, and why.
    """
    path = release_path(target, channel, name)
    with trusted(fetcher, state, root, where) as believed:
        release = believed.release(path)
    if release is None:
        raise ToolMissingError("there is no such release", where=where, got=path)
    check_target(release.target, target)
    remember(state, path, release.version)
    return release


def remember(state: Path, key: str, version: str) -> None:
    """Refuses a version that is older than one that was seen under a key, and keeps what is newer.

    Raises:
        IntegrityError: the version is older.
    """
    with locked(state / _LOCK):
        check_seen(state, key, version)
        replace_file(state / _SEEN, canonical_json({**_seen(state), key: version}))


def check_seen(state: Path, key: str, version: str) -> None:
    """Refuses a version that is older than one that was seen under a key. Raises IntegrityError."""
    earlier = _seen(state).get(key)
    if isinstance(earlier, str):
        check_version(version, earlier)


def _seen(state: Path) -> dict[str, Any]:
    path = state / _SEEN
    return strict_json(path.read_bytes(), path.name) if path.exists() else {}


class _Fetcher(FetcherInterface):
    """Fetches through ``edgegen_runtime.sources``, and not for ever."""

    def __init__(self, source: Source, deadline: float) -> None:
        self._source = source
        self._deadline = deadline

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            with self._source.open(url) as stream:
                while chunk := stream.read1(_CHUNK_BYTES):
                    if time.monotonic() > self._deadline:
                        raise SlowRetrievalError(f"{url} takes too long")
                    yield chunk
        except UnreachableError as error:
            # To python-tuf this is how the chain of roots ends; of every other file it is an error.
            raise DownloadHTTPError(str(error), 404) from error


def _bootstrap(state: Path, root: Path | None) -> bytes | None:
    if root is None:
        if not is_begun(state):
            raise UsageError(
                "nothing is trusted yet", where=str(state), next_step="give --root FILE, the 1.root.json that you trust"
            )
        if (state / "root.json").exists():
            return None
        # python-tuf was killed between two steps: what it keeps of roots was checked, and the newest one counts.
        root = max((state / ROOTS).glob("*.root.json"), key=lambda path: int(path.name.split(".")[0]))
    data = read_file(root, "the root metadata", limit_bytes=_LIMITS.root_max_length)
    parse_metadata(data, root, Root)  # here, where the file can be named
    return data


def _reason(error: Exception) -> str:
    return next((text for kind, text in _REASONS if isinstance(error, kind)), "the metadata cannot be believed")
