"""What releases say: which version of a name is current for a target in a channel, and which bundles were taken back.

Each statement is one small file that TUF metadata name by its path, so that the path alone says whose keys may make
it: ``<target>/<channel>/<name>.json``, and ``<target>/recalled/<digest>.json``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgegen.artifacts.parse import strict_json
from edgegen.artifacts.verify import Verified
from edgegen.core.digests import canonical_json
from edgegen.core.errors import IntegrityError, UsageError

METADATA, TARGETS = "metadata", "targets"
MAX_METADATA_BYTES = 5_000_000
"""Of one file: python-tuf's own limit for the largest role."""

ROOTS = "root_history"
"""Folder of a state in which python-tuf keeps every root metadata that it has checked."""

RECALLED = "recalled"
"""Stands where a channel's name would: no channel is called so."""

PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_TEXT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The bundle that is current."""

    name: str
    version: str
    target: str
    channel: str
    digest: str  # sha256:<hex> of the core's manifest
    format: str
    runtime: str

    @property
    def path(self) -> str:
        """Where the record lies."""
        return release_path(self.target, self.channel, self.name)

    def record(self) -> bytes:
        """The record's bytes."""
        return canonical_json({"schema_version": 1, **asdict(self)})

    def text(self) -> str:
        """As a person says it."""
        return f"{self.name} {self.version} for {self.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """A bundle that was taken back."""

    name: str
    version: str
    target: str
    digest: str
    reason: str

    @property
    def path(self) -> str:
        """Where the record lies."""
        return recall_path(self.target, self.digest)

    def record(self) -> bytes:
        """The record's bytes."""
        return canonical_json({"schema_version": 1, **asdict(self)})


Statement = Release | Recall


def release_of(verified: Verified, channel: str) -> Release:
    """A bundle as the release that it is to be."""
    told = verified.manifest
    return Release(
        name=told.name, version=told.version, target=told.target, channel=channel, digest=verified.digest,
        format=told.format, runtime=told.runtime,
    )  # fmt: skip


def is_begun(state: Path) -> bool:
    """Whether a folder that keeps what was seen knows whom to trust."""
    return (state / "root.json").exists() or any((state / ROOTS).glob("*.root.json"))


def release_path(target: str, channel: str, name: str) -> str:
    """Where the record of a release lies. Raises UsageError for a part that is no plain name."""
    for part in (target, channel, name):
        if not PART.fullmatch(part):
            raise UsageError("not a name for a release", got=part[:80], expected="letters, digits and . _ + -")
    if channel == RECALLED:
        raise UsageError("no channel is called so", got=channel, next_step="edgegen release recall takes a bundle back")
    return f"{target}/{channel}/{name}.json"


def recall_path(target: str, digest: str) -> str:
    """Where it stands that a bundle was taken back. Raises UsageError for what is no digest."""
    if not _DIGEST.fullmatch(digest) or not PART.fullmatch(target):
        raise UsageError("not a bundle's digest", got=digest[:80], expected="sha256:<64 hex digits>")
    return f"{target}/{RECALLED}/{digest.removeprefix('sha256:')}.json"


def releases_in(statements: Sequence[Statement], channel: str | None = None) -> list[Release]:
    """The releases among statements, by path; of a channel alone where one is named."""
    found = [item for item in statements if isinstance(item, Release) and channel in (None, item.channel)]
    return sorted(found, key=lambda item: item.path)


def recalls_in(statements: Sequence[Statement]) -> dict[str, Recall]:
    """What was taken back, by digest."""
    return {item.digest: item for item in statements if isinstance(item, Recall)}


def custom(statement: Statement) -> dict[str, str]:
    """What signed metadata say of a record beside its hash: all that its path does not."""
    return {key: str(value) for key, value in asdict(statement).items() if key not in ("target", "channel")}


def read_custom(path: str, told: object) -> Statement:
    """The statement of a path, as metadata tell it.

    Raises:
        IntegrityError: the path or what is told is of an unknown kind, or they do not fit each other.
    """
    target, _, rest = path.partition("/")
    channel = rest.partition("/")[0]
    place: Mapping[str, str] = {"target": target} if channel == RECALLED else {"target": target, "channel": channel}
    return _statement(path, {**(told if isinstance(told, dict) else {}), **place})


def read_record(data: bytes, path: str) -> Statement:
    """The statement in a record. Raises IntegrityError as ``read_custom`` does."""
    table = strict_json(data, path)
    if table.pop("schema_version", None) != 1:
        raise IntegrityError("a release is of an unknown kind", where=path)
    return _statement(path, table)


def _statement(path: str, table: Mapping[str, Any]) -> Statement:
    kind: type[Statement] = Recall if "/recalled/" in path else Release
    if set(table) != set(kind.__dataclass_fields__) or not all(_usable(value) for value in table.values()):
        raise IntegrityError("a release is of an unknown kind", where=path[:_MAX_TEXT])
    found = kind(**table)
    try:
        right = found.path == path and _DIGEST.fullmatch(found.digest) is not None
    except UsageError:
        right = False
    if not right:
        raise IntegrityError("a release lies under another name than its own", where=path[:_MAX_TEXT])
    return found


def _usable(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT and value.isprintable()
