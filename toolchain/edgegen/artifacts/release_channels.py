"""What a family releases, puts forward from one channel to the next, and takes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tuf.api.metadata import Metadata, TargetFile, Targets

from edgegen.artifacts.keys import Signing
from edgegen.artifacts.policy import check_version
from edgegen.artifacts.release_metadata import read_metadata
from edgegen.artifacts.release_records import (
    METADATA,
    RECALLED,
    Recall,
    Release,
    Statement,
    custom,
    read_custom,
    release_of,
    release_path,
)
from edgegen.artifacts.release_roles import Releases
from edgegen.artifacts.verify import Verified
from edgegen.core.errors import UsageError


def add(releases: Releases, family: str, verified: Verified, channel: str, signer: Signing) -> Release:
    """Makes a bundle the current one of its name, target and channel.

    Raises:
        UsageError: no such family, a name that does not do, a bundle that was recalled, or another key than the
            family's.
        IntegrityError: the version is older than the one that is current.
    """
    release = release_of(verified, channel)
    role = releases.family(family)
    _enter_release(releases, family, role, release)
    releases.sign_again(family, role, [signer])
    return release


def remove(releases: Releases, family: str, path: str, signer: Signing) -> None:
    """Takes a release out of its channel. Devices that have it keep it until they are given a newer one."""
    role = releases.family(family)
    if path not in role.signed.targets:
        raise UsageError("there is no such release", where=str(releases.folder), got=path)
    del role.signed.targets[path]
    releases.sign_again(family, role, [signer])


def promote(
    releases: Releases, family: str, signer: Signing, *, start: str, to: str, target: str | None, name: str | None
) -> list[Release]:
    """Makes what is current in one channel current in another, the same bundles.

    Args:
        target: of this target alone.
        name: of this name alone.

    Raises:
        UsageError: nothing is in the channel.
        IntegrityError: the other channel has a newer version.
    """
    role = releases.family(family)
    moved = [
        replace(item, channel=to)
        for item in _statements(role)
        if isinstance(item, Release)
        and item.channel == start
        and target in (None, item.target)
        and name in (None, item.name)
    ]
    if start == to or not moved:
        raise UsageError("there is nothing to put forward", where=f"{releases.folder}, {family}", got=start)
    for item in moved:
        _enter_release(releases, family, role, item)
    releases.sign_again(family, role, [signer])
    return moved


def recall(
    releases: Releases,
    family: str,
    bad: str | Verified,
    signer: Signing,
    *,
    reason: str,
    instead: str | None = None,
) -> tuple[Recall, list[Release]]:
    """Takes a bundle back: out of every channel, and for good, as a signed statement that it was recalled.

    Args:
        bad: the bundle, or the digest of one that the folder knows of: sha256:<hex>.
        instead: a version that was released before, which takes its place in its channels. Devices that had the
            recalled version do not go back to it; those that had none, or an older one, take it.

    Returns:
        The statement, and what is current in the channels instead.

    Raises:
        UsageError: the family never released such a bundle, or no such version to put in its place.
    """
    role = releases.family(family)
    first = _released(releases, family, bad) if isinstance(bad, str) else release_of(bad, RECALLED)
    taken = [item for item in _statements(role) if isinstance(item, Release) and item.digest == first.digest]
    statement = Recall(name=first.name, version=first.version, target=first.target, digest=first.digest, reason=reason)
    for item in taken:
        del role.signed.targets[item.path]
    _enter(releases, family, role, statement)
    restored = []
    if instead is not None:
        found = _earlier(releases, family, role, first, instead)
        for item in taken:
            restored.append(replace(found, channel=item.channel))
            _enter_release(releases, family, role, restored[-1])
    releases.sign_again(family, role, [signer])
    return statement, restored


def told(releases: Releases) -> list[Statement]:
    """Everything that the newest metadata of all roles in the folder say, published or not."""
    return [item for name in releases.signing_roles() for item in _statements(releases.role(name, Targets))]


def _enter_release(releases: Releases, family: str, role: Metadata[Targets], release: Release) -> None:
    path = release_path(release.target, release.channel, release.name)
    for item in _statements(role):
        if isinstance(item, Recall) and item.digest == release.digest:
            raise UsageError("the bundle was recalled", got=release.digest, next_step="release a higher version")
    current = role.signed.targets.get(path)
    if current is not None:
        check_version(release.version, _statement(path, current).version)
    _enter(releases, family, role, release)


def _enter(releases: Releases, family: str, role: Metadata[Targets], statement: Statement) -> None:
    releases.check_path(family, statement.path)
    record = statement.record()
    item = TargetFile.from_data(statement.path, record, ["sha256"])
    item.unrecognized_fields["custom"] = custom(statement)
    role.signed.targets[statement.path] = item
    releases.write_record(statement.path, record)


def _earlier(releases: Releases, family: str, role: Metadata[Targets], bad: Release, version: str) -> Release:
    recalled = {item.digest for item in _statements(role) if isinstance(item, Recall)}
    known = [
        item
        for item in _every_release(releases, family)
        if (item.name, item.target) == (bad.name, bad.target) and item.digest not in recalled
    ]
    fitting = {item.digest: item for item in known if item.version == version}
    if len(fitting) != 1:
        raise UsageError(
            "no such version was released before" if not fitting else "several bundles have that version",
            where=f"{releases.folder}, {family}",
            got=version,
            expected=f"one of {', '.join(sorted({item.version for item in known}))}" if known else None,
            next_step="leave --instead away, and release a higher version",
        )
    return next(iter(fitting.values()))


def _released(releases: Releases, family: str, digest: str) -> Release:
    known = next((item for item in _every_release(releases, family) if item.digest == digest), None)
    if known is None:
        raise UsageError(
            "nothing here tells that the family released such a bundle", where=f"{releases.folder}, {family}",
            got=digest, next_step="name the bundle's folder in place of its digest",
        )  # fmt: skip
    return known


def _every_release(releases: Releases, family: str) -> Iterator[Release]:
    """What the family ever released, as far as its metadata lie here."""
    for version in reversed(releases.versions(family)):
        role = read_metadata(releases.folder / METADATA / f"{version}.{family}.json", Targets)
        yield from (item for item in _statements(role) if isinstance(item, Release))


def _statements(role: Metadata[Targets]) -> list[Statement]:
    return [_statement(path, item) for path, item in role.signed.targets.items()]


def _statement(path: str, item: Any) -> Statement:
    return read_custom(path, item.unrecognized_fields.get("custom"))
