"""What is current for a device: TUF metadata from a folder or a web server, checked by python-tuf.

Rollback, freeze, mix-and-match, endless data and keys outside their paths are python-tuf's to refuse; on top of that a
version that is older than one that was seen here is refused, whoever signed it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
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
from tuf.ngclient import FetcherInterface, Updater

from edgegen.artifacts.parse import strict_json
from edgegen.artifacts.policy import check_target, check_version
from edgegen.artifacts.release_roles import METADATA, TARGETS, release_path
from edgegen.core.digests import canonical_json
from edgegen.core.errors import IntegrityError, ToolMissingError, UsageError
from edgegen.core.whole_file import replace_file
from edgegen_runtime.sources import Source, source_of
from edgegen_runtime.strict import UnreachableError

_CHUNK_BYTES = 1 << 16
_MAX_ROOT_BYTES = 512_000  # python-tuf's own limit
_SEEN = "seen.json"
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ExpiredMetadataError, "expired: the metadata are too old to be believed (or this clock is wrong)"),
    (BadVersionNumberError, "rollback: the metadata are older than what was seen, or do not fit each other"),
    (UnsignedMetadataError, "unknown key: the metadata are not signed by the keys of their role"),
    (LengthOrHashMismatchError, "tampered: a file is not what the metadata say of it"),
    (DownloadLengthMismatchError, "too large: a file does not end where the metadata say it does"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The bundle that is current."""

    name: str
    version: str
    target: str
    channel: str
    digest: str  # sha256:<hex> of the core's manifest


def find_release(
    place: str, state: Path, *, target: str, channel: str, name: str, root: Path | None = None, timeout_s: float = 120.0
) -> Release:
    """The current release of a name for a target.

    Args:
        place: folder or web address of the repository.
        state: folder that keeps what was seen: no older metadata and no older version is taken.
        root: the first root metadata, got from somebody who is trusted; needed where ``state`` is new.

    Raises:
        UsageError: ``root`` is missing or cannot be read.
        ToolMissingError: the place does not answer, or has no such release.
        IntegrityError: what it has must not be believed, and why.
    """
    path = release_path(target, channel, name)
    try:
        source = source_of(place)
    except UnreachableError as error:
        raise UsageError("not a place with releases", where=place, got=error) from error
    fetcher = _Fetcher(source, time.monotonic() + timeout_s)
    (state / TARGETS).mkdir(parents=True, exist_ok=True)
    try:
        updater = Updater(
            metadata_dir=str(state),
            metadata_base_url=f"{METADATA}/",
            target_dir=str(state / TARGETS),
            target_base_url=f"{TARGETS}/",
            fetcher=fetcher,
            bootstrap=_bootstrap(state, root),
        )
        updater.refresh()
        info = updater.get_targetinfo(path)
        if info is None:
            raise ToolMissingError("there is no such release", where=place, got=path)
        file = updater.download_target(info, str(state / TARGETS / f"{target}.{channel}.{name}.json"))
    except RepositoryError as error:
        raise IntegrityError(_reason(error), where=place, got=error) from error
    except DownloadLengthMismatchError as error:
        raise IntegrityError(_reason(error), where=place, got=error) from error
    except DownloadError as error:
        raise ToolMissingError("the releases cannot be fetched", where=place, got=error) from error
    release = _release(Path(file).read_bytes(), path)
    check_target(release.target, target)
    _remember(state / _SEEN, path, release)
    return release


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
        if not (state / "root.json").exists():
            raise UsageError(
                "nothing is trusted yet", where=str(state), next_step="give --root FILE, the 1.root.json that you trust"
            )
        return None
    try:
        with root.open("rb") as stream:
            return stream.read(_MAX_ROOT_BYTES)
    except OSError as error:
        raise UsageError("the root metadata cannot be read", where=str(root), got=error.strerror) from error


def _reason(error: Exception) -> str:
    return next((text for kind, text in _REASONS if isinstance(error, kind)), "the metadata cannot be believed")


def _release(data: bytes, path: str) -> Release:
    table = strict_json(data, path)
    names = ("name", "version", "target", "channel", "digest")
    texts = {name: table.get(name) for name in names}
    if table.get("schema_version") != 1 or not all(isinstance(text, str) for text in texts.values()):
        raise IntegrityError("a release is of an unknown kind", where=path)
    if release_path(str(texts["target"]), str(texts["channel"]), str(texts["name"])) != path:
        raise IntegrityError("a release lies under another name than its own", where=path)
    return Release(**{name: str(text) for name, text in texts.items()})


def _remember(path: Path, key: str, release: Release) -> None:
    """Refuses what is older than what was seen, and keeps what is newer."""
    seen: dict[str, Any] = strict_json(path.read_bytes(), path.name) if path.exists() else {}
    earlier = seen.get(key)
    if isinstance(earlier, str):
        check_version(release.version, earlier)
    replace_file(path, canonical_json({**seen, key: release.version}))
