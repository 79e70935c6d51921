"""Brings together what several people signed: what others published comes into a folder, what is there stays.

Roles are signed one by one, so two people who changed different ones do not disturb each other. Where both changed the
same one somebody has to look. Dates are not judged here: metadata that ran out are what a publisher is to renew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from edgegen.artifacts.parse import strict_json
from edgegen.artifacts.release_artifact import ReleasesArtifact
from edgegen.artifacts.release_records import METADATA, read_custom
from edgegen.artifacts.release_roles import Releases
from edgegen.core.digests import canonical_json, sha256_bytes
from edgegen.core.errors import IntegrityError, UsageError

_SHARED = "shared.json"
_MAX_ROOTS = 256  # python-tuf's own limit


def adopt(ours: Releases, theirs: ReleasesArtifact, place: str, *, prefer_theirs: bool = False) -> None:
    """Brings what a place has, and the folder has not, into the folder.

    Args:
        ours: holds at least the root that the place's metadata hang on.
        place: under which name it is kept what both had.
        prefer_theirs: where both changed a role, what is in the folder and was not published is dropped.

    Raises:
        UsageError: both changed the same role.
        IntegrityError: the place's metadata are not signed by the keys that the folder's root names.
    """
    root = _adopt_roots(ours, theirs)
    timestamp = _read(theirs, "timestamp.json", Timestamp)
    _check(root, "timestamp", timestamp)
    snapshot = _versioned(theirs, "snapshot", timestamp.signed.snapshot_meta.version, Snapshot)
    _check(root, "snapshot", snapshot)
    told = {name.removesuffix(".json"): meta.version for name, meta in snapshot.signed.meta.items()}
    targets = _versioned(theirs, "targets", told.get("targets", 0), Targets)
    _check(root, "targets", targets)
    delegations = targets.signed.delegations
    families = {} if delegations is None else (delegations.roles or {})
    common = _shared(ours.folder).get(place, {})
    whole = {"targets": targets}
    for name in families:
        if name in told:
            whole[name] = _versioned(theirs, name, told[name], Targets)
            _check(targets.signed, name, whole[name])
    for name, role in whole.items():
        _adopt_role(ours, name, role, theirs, common.get(name, 0), prefer_theirs)
    if snapshot.signed.version > max(ours.versions("snapshot"), default=0):
        _copy(ours, theirs, f"{snapshot.signed.version}.snapshot.json")
        _copy(ours, theirs, "timestamp.json")
    share(ours, place, {name: role.signed.version for name, role in whole.items()})


def lacks(ours: Releases, theirs: ReleasesArtifact) -> bool:
    """Whether the folder has something that the place has not: roles that are newer, or a newer root."""
    names = set(theirs.names())
    wanted = [("root", ours.versions("root")[-1]), *((name, ours.versions(name)[-1]) for name in ours.signing_roles())]
    return any(f"{version}.{name}.json" not in names for name, version in wanted)


def share(ours: Releases, place: str, versions: Mapping[str, int]) -> None:
    """Keeps which versions of the roles the place and the folder both had: what is newer was changed since."""
    ours.write(ours.folder / _SHARED, canonical_json({**_shared(ours.folder), place: dict(versions)}))


def _adopt_roots(ours: Releases, theirs: ReleasesArtifact) -> Root:
    """Their newest root; the folder has all of theirs then."""
    newest: Metadata[Root] = ours.role("root", Root)
    for version in ours.versions("root"):
        data = theirs.metadata(f"{version}.root.json")
        if data is None:
            continue
        if data != (ours.folder / METADATA / f"{version}.root.json").read_bytes():
            raise IntegrityError("the place has releases of another root", where=theirs.place, got=f"root {version}")
    for version in range(newest.signed.version + 1, newest.signed.version + _MAX_ROOTS):
        if theirs.metadata(f"{version}.root.json") is None:
            break
        following = _versioned(theirs, "root", version, Root)
        _check(newest.signed, "root", following)
        _check(following.signed, "root", following)
        _copy(ours, theirs, f"{version}.root.json")
        newest = following
    while theirs.metadata(f"{newest.signed.version}.root.json") is None:
        # The folder's root may be newer: theirs is signed by the keys of an earlier one.
        earlier = newest.signed.version - 1
        if earlier not in ours.versions("root"):
            raise IntegrityError("the place has releases of another root", where=theirs.place)
        newest = Metadata[Root].from_file(str(ours.folder / METADATA / f"{earlier}.root.json"))
    return newest.signed


def _adopt_role(
    ours: Releases, name: str, role: Metadata[Any], theirs: ReleasesArtifact, common: int, prefer_theirs: bool
) -> None:
    version, versions = role.signed.version, ours.versions(name)
    newest, file = max(versions, default=0), f"{version}.{name}.json"
    here = ours.folder / METADATA / file
    differs = here.exists() and here.read_bytes() != theirs.metadata(file)
    if differs or (newest > common and version > newest > 0):
        if not prefer_theirs:
            raise UsageError(
                f"{name} was changed in the place and in the folder", where=f"{ours.folder} and {theirs.place}",
                next_step="edgegen release fetch --theirs drops what is in the folder; then make the change again",
            )  # fmt: skip
        for mine in versions:
            if mine >= version:
                (ours.folder / METADATA / f"{mine}.{name}.json").unlink()
    for path, item in role.signed.targets.items():
        # What a family signed may still not be written outside the folder: this refuses a path of any other form.
        read_custom(path, item.unrecognized_fields.get("custom"))
        digest = item.hashes.get("sha256", "")
        if ours.record_file(path, digest).exists():
            continue
        record = theirs.record(digest)
        if record is None or sha256_bytes(record) != digest:
            raise IntegrityError("a record is missing", where=theirs.place, got=path)
        ours.write_record(path, record)
    if differs or version > newest:
        _copy(ours, theirs, file)


def _versioned(theirs: ReleasesArtifact, name: str, version: int, kind: type[Any]) -> Metadata[Any]:
    found = _read(theirs, f"{version}.{name}.json", kind)
    if found.signed.version != version:
        raise IntegrityError("metadata are of another version than their name says", where=theirs.place, got=name)
    return found


def _read(theirs: ReleasesArtifact, file: str, kind: type[Any]) -> Metadata[Any]:
    data = theirs.metadata(file)
    if data is None:
        raise IntegrityError("metadata are missing", where=theirs.place, expected=file)
    try:
        found: Metadata[Any] = Metadata.from_bytes(data)
    except RepositoryError as error:
        raise IntegrityError("metadata cannot be read", where=f"{theirs.place}, {file}", got=error) from error
    if not isinstance(found.signed, kind):
        raise IntegrityError("metadata of another kind", where=f"{theirs.place}, {file}")
    return found


def _check(above: Any, name: str, role: Metadata[Any]) -> None:
    """Raises IntegrityError if the role is not signed by the keys that ``above`` names for it."""
    if not above.get_verification_result(name, role.signed_bytes, role.signatures).verified:
        raise IntegrityError("unknown key: the metadata are not signed by the keys of their role", where=name)


def _copy(ours: Releases, theirs: ReleasesArtifact, file: str) -> None:
    ours.write(ours.folder / METADATA / file, theirs.metadata(file) or b"")


def _shared(folder: Path) -> dict[str, Any]:
    path = folder / _SHARED
    return strict_json(path.read_bytes(), _SHARED) if path.exists() else {}
