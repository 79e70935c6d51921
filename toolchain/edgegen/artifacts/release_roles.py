"""Metadata that says which bundle is current for which device (The Update Framework 1.0, written by python-tuf).

A folder ``metadata/`` and a folder ``targets/``, as any web server serves them. What is released says a small record
(``release_records``). Who may write it: the role of a device family, which the role ``targets`` delegates to.
``snapshot`` and ``timestamp`` say that all of it is of one moment, and which.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tuf.api.metadata import (
    TOP_LEVEL_ROLE_NAMES,
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from edgegen.artifacts.keys import Signing
from edgegen.artifacts.policy import TrustedKey
from edgegen.artifacts.release_metadata import metadata_bytes, parse_metadata, read_metadata, signed_by, tuf_key
from edgegen.artifacts.release_records import METADATA, TARGETS
from edgegen.core.digests import sha256_bytes
from edgegen.core.errors import BuildError, UsageError
from edgegen.core.whole_file import replace_file

ROLE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """How long metadata count, from when they are signed."""

    root: int = 365
    targets: int = 90
    snapshot: int = 30
    timestamp: int = 7  # longer than any device is without a connection


class Releases:
    """The metadata in a folder, for those who sign them; ``now`` is when that is, UTC."""

    def __init__(self, folder: Path, now: datetime, days: Days | None = None) -> None:
        self.folder = folder
        self._now = now
        self._days = days or Days()

    def begin(self, root: Sequence[Signing], threshold: int, targets: Signing, online: Signing) -> None:
        """Writes the first metadata: nothing is released yet.

        Args:
            root: the keys that all others hang on; ``threshold`` of them are needed to change anything of the roles.
            online: signs snapshot and timestamp, often, where releases are published.

        Raises:
            UsageError: there is a repository already, or more root keys are asked for than there are.
        """
        if self.versions("root"):
            raise UsageError("there are releases already", where=str(self.folder))
        keys = {signer.public.key_id: signer for signer in root}
        if not 1 <= threshold <= len(keys):
            raise UsageError("the threshold does not fit the root keys", got=threshold, expected=f"1 to {len(keys)}")
        top = Root(expires=self._until(self._days.root), consistent_snapshot=True)
        roles = {"root": list(keys.values()), "targets": [targets], "snapshot": [online], "timestamp": [online]}
        for role, signers in roles.items():
            for signer in signers:
                top.add_key(tuf_key(signer.public), role)
        top.roles["root"].threshold = threshold
        self._save("root", Metadata(top), list(keys.values()))
        self._save("targets", Metadata(Targets(expires=self._until(self._days.targets))), [targets])
        self.publish(online)

    def take_root(self, file: Path) -> None:
        """Begins a folder that others' releases come into, from the root metadata that are trusted.

        Raises:
            UsageError: they cannot be read, or are not signed by their own keys.
        """
        data = metadata_bytes(file)
        root = parse_metadata(data, file, Root)
        if not root.signed.get_verification_result("root", root.signed_bytes, root.signatures).verified:
            raise UsageError("the root metadata are not signed by their own keys", where=str(file))
        self.write(self.folder / METADATA / f"{root.signed.version}.root.json", data)

    def delegate(self, family: str, keys: Sequence[TrustedKey], patterns: Sequence[str], targets: Signing) -> None:
        """Lets keys release for the targets that fit the patterns, in place of the keys that the family had.

        Raises:
            UsageError: no name of a role, no pattern, or ``targets`` is not the key of that role.
        """
        if not ROLE.fullmatch(family) or family in TOP_LEVEL_ROLE_NAMES:
            raise UsageError("not a name for a device family", got=family[:80], expected="small letters, digits and -")
        if not keys or not patterns or any("/" in pattern for pattern in patterns):
            raise UsageError("a family has keys and patterns of target names", got=", ".join(patterns)[:200])
        role = self.role("targets", Targets)
        delegated = {item.key.key_id: tuf_key(item.key) for item in keys}
        known = role.signed.delegations or Delegations(keys={}, roles={})
        roles = {**(known.roles or {})}
        roles[family] = DelegatedRole(
            name=family,
            keyids=sorted(delegated),
            threshold=1,
            terminating=True,  # nobody else may speak for these devices
            paths=[f"{pattern}/*/*" for pattern in sorted(patterns)],
        )
        used = {keyid for item in roles.values() for keyid in item.keyids}
        every = {**known.keys, **delegated}
        role.signed.delegations = Delegations(
            keys={keyid: key for keyid, key in every.items() if keyid in used}, roles=roles
        )
        self.sign_again("targets", role, [targets])

    def renew(self, name: str, signer: Signing) -> None:
        """Signs ``targets`` or a family once more, before its time is over. Raises UsageError."""
        self.sign_again(name, self.role("targets", Targets) if name == "targets" else self.family(name), [signer])

    def rekey(self, name: str, keys: Sequence[TrustedKey], threshold: int, root: Sequence[Signing]) -> None:
        """Gives a role other keys: after a loss, or in good time. Whatever the role signed must be signed anew then.

        Args:
            root: enough of the root's keys; for the role ``root`` of the earlier and of the new ones.

        Raises:
            UsageError: no such role, a threshold that does not fit, or too few of the root's keys.
        """
        if name not in TOP_LEVEL_ROLE_NAMES:
            raise UsageError("not a role of the root", got=name[:80], expected=", ".join(sorted(TOP_LEVEL_ROLE_NAMES)))
        fresh = {item.key.key_id: item for item in keys}
        if not 1 <= threshold <= len(fresh):
            raise UsageError("the threshold does not fit the keys", got=threshold, expected=f"1 to {len(fresh)}")
        role = self.role("root", Root)
        before = self.role("root", Root)
        for keyid in list(role.signed.roles[name].keyids):
            role.signed.revoke_key(keyid, name)
        for item in fresh.values():
            role.signed.add_key(tuf_key(item.key), name)
        role.signed.roles[name].threshold = threshold
        role.signed.version += 1
        role.signed.expires = self._until(self._days.root)
        signed = signed_by(role, root)
        for which, words in ((before, "earlier"), (role, "new")):
            if not which.signed.get_verification_result("root", signed.signed_bytes, signed.signatures).verified:
                raise UsageError(f"too few of the {words} root keys signed", expected="more --root-key")
        self._write_role("root", signed)

    def publish(self, *online: Signing) -> None:
        """Makes what was added visible, all at once: the timestamp is what every device asks for.

        Args:
            online: the keys of snapshot and timestamp; one where they have the same.

        Raises:
            UsageError: a key of one of the two is missing, or a role was signed by keys that it has no longer; nothing
                is written.
        """
        for name in self.signing_roles():
            self._check_signed(name, self.role(name, Targets), f"edgegen release renew … {name}, with a key of its own")
        meta = {f"{name}.json": MetaFile(self.role(name, Targets).signed.version) for name in self.signing_roles()}
        versions = self.versions("snapshot")
        snapshot = Snapshot(
            version=(versions[-1] if versions else 0) + 1, expires=self._until(self._days.snapshot), meta=meta
        )
        stamp = self.folder / METADATA / "timestamp.json"
        earlier = read_metadata(stamp, Timestamp).signed.version if stamp.exists() else 0
        timestamp = Timestamp(
            version=earlier + 1, expires=self._until(self._days.timestamp), snapshot_meta=MetaFile(snapshot.version)
        )
        keys = self.role("root", Root).signed.roles
        ready = {}
        for name, role in (("snapshot", Metadata(snapshot)), ("timestamp", Metadata(timestamp))):
            own = [signer for signer in online if signer.public.key_id in keys[name].keyids]
            ready[name] = signed_by(role, own)
            self._check_signed(name, ready[name])
        for name, signed in ready.items():
            self._write_role(name, signed)

    # -- reading -------------------------------------------------------------------------------------------------------

    def signing_roles(self) -> list[str]:
        """``targets`` and every family that has signed something."""
        delegations = self.role("targets", Targets).signed.delegations
        families = [] if delegations is None else list(delegations.roles or {})
        return ["targets", *(name for name in families if self.versions(name))]

    def family(self, name: str) -> Metadata[Targets]:
        """A family's newest metadata; fresh ones where it has none yet."""
        delegations = self.role("targets", Targets).signed.delegations
        if delegations is None or name not in (delegations.roles or {}):
            raise UsageError("there is no such device family", got=name[:80], next_step="edgegen release delegate")
        if self.versions(name):
            return self.role(name, Targets)
        return Metadata(Targets(expires=self._now))

    def versions(self, name: str) -> list[int]:
        """Versions of a role's metadata that lie here, in order."""
        found = (path.name.split(".", 1)[0] for path in (self.folder / METADATA).glob(f"*.{name}.json"))
        return sorted(int(number) for number in found if number.isdecimal())

    def role(self, name: str, kind: type[Any]) -> Metadata[Any]:
        """A role's newest metadata. Raises UsageError if there are none, or of another kind."""
        versions = self.versions(name)
        if not versions:
            raise UsageError("there are no releases", where=str(self.folder), next_step="edgegen release init")
        return read_metadata(self.folder / METADATA / f"{versions[-1]}.{name}.json", kind)

    def record_file(self, path: str, sha256: str) -> Path:
        """Where a record lies."""
        return self.folder / TARGETS / Path(path).parent / f"{sha256}.{Path(path).name}"

    def check_path(self, family: str, path: str) -> None:
        """Raises UsageError if the family may not speak for a record's target."""
        delegations = self.role("targets", Targets).signed.delegations
        role = None if delegations is None else (delegations.roles or {}).get(family)
        if role is None or not role.is_delegated_path(path):
            raise UsageError("the family may not release for that target", got=path, expected=family)

    # -- writing -------------------------------------------------------------------------------------------------------

    def write_record(self, path: str, record: bytes) -> None:
        """Puts a record where its hash is part of the name, so that no reader meets one that is being changed."""
        self.write(self.record_file(path, sha256_bytes(record)), record)

    def sign_again(self, name: str, role: Metadata[Targets], signers: Sequence[Signing]) -> None:
        """Writes the next version of a role. Raises UsageError if the keys are not the role's."""
        role.signed.version = max(self.versions(name), default=0) + 1
        role.signed.expires = self._until(self._days.targets)
        self._save(name, role, signers)

    def _save(self, name: str, role: Metadata[Any], signers: Sequence[Signing]) -> None:
        signed = signed_by(role, signers)
        self._check_signed(name, signed)
        self._write_role(name, signed)

    def _check_signed(self, name: str, signed: Metadata[Any], fix: str = "sign with the role's own key") -> None:
        """What a device would refuse is not written."""
        if name == "root":
            above: Any = signed.signed
        elif name in TOP_LEVEL_ROLE_NAMES:
            above = self.role("root", Root).signed
        else:
            above = self.role("targets", Targets).signed
        if not above.get_verification_result(name, signed.signed_bytes, signed.signatures).verified:
            raise UsageError("the key is not one of the role", where=name, next_step=fix)

    def _write_role(self, name: str, signed: Metadata[Any]) -> None:
        file = f"{name}.json" if name == "timestamp" else f"{signed.signed.version}.{name}.json"
        self.write(self.folder / METADATA / file, signed.to_bytes(JSONSerializer(compact=True)))

    def write(self, path: Path, data: bytes) -> None:
        """Puts a file in its place whole. Raises BuildError."""
        try:
            replace_file(path, data)
        except OSError as error:
            raise BuildError("a release cannot be written", where=str(path), got=error) from error

    def _until(self, days: int) -> datetime:
        return self._now + timedelta(days=days)
