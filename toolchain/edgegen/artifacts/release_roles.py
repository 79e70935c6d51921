"""Metadata that says which bundle is current for which device (The Update Framework 1.0, written by python-tuf).

A folder ``metadata/`` and a folder ``targets/``, as any web server serves them. A release is one small record,
``<target>/<channel>/<name>.json``, that names a bundle's digest. Who may write it: the role of a device family, which
the role ``targets`` delegates to. ``snapshot`` and ``timestamp`` say that all of it is of one moment, and which.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    TOP_LEVEL_ROLE_NAMES,
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from edgegen.artifacts.keys import Signer
from edgegen.artifacts.policy import TrustedKey, check_version
from edgegen.artifacts.verify import Verified
from edgegen.core.digests import canonical_json, sha256_bytes
from edgegen.core.errors import BuildError, UsageError
from edgegen.core.whole_file import replace_file
from edgegen_runtime.public_keys import PublicKey

METADATA, TARGETS = "metadata", "targets"
ROLE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """How long metadata count, from when they are signed."""

    root: int = 365
    targets: int = 90
    snapshot: int = 30
    timestamp: int = 7  # longer than any device is without a connection


class Releases:
    """The metadata in a folder, for those who sign them.

    Args:
        now: when what is written is signed, UTC.
    """

    def __init__(self, place: Path, now: datetime, days: Days | None = None) -> None:
        self._place = place
        self._now = now
        self._days = days or Days()

    def begin(self, root: Sequence[Signer], threshold: int, targets: Signer, online: Signer) -> None:
        """Writes the first metadata: nothing is released yet.

        Args:
            root: the keys that all others hang on; ``threshold`` of them are needed to change anything of the roles.
            online: signs snapshot and timestamp, often, where releases are published.

        Raises:
            UsageError: there is a repository already, or more root keys are asked for than there are.
        """
        if self._versions("root"):
            raise UsageError("there are releases already", where=str(self._place))
        keys = {signer.public.key_id: signer for signer in root}
        if not 1 <= threshold <= len(keys):
            raise UsageError("the threshold does not fit the root keys", got=threshold, expected=f"1 to {len(keys)}")
        top = Root(expires=self._until(self._days.root), consistent_snapshot=True)
        roles = {"root": list(keys.values()), "targets": [targets], "snapshot": [online], "timestamp": [online]}
        for role, signers in roles.items():
            for signer in signers:
                top.add_key(_public(signer.public), role)
        top.roles["root"].threshold = threshold
        self._save("root", Metadata(top), list(keys.values()))
        self._save("targets", Metadata(Targets(expires=self._until(self._days.targets))), [targets])
        self.publish(online)

    def delegate(self, family: str, keys: Sequence[TrustedKey], patterns: Sequence[str], targets: Signer) -> None:
        """Lets keys release for the targets that fit the patterns, in place of the keys that the family had.

        Raises:
            UsageError: no name of a role, no pattern, or ``targets`` is not the key of that role.
        """
        if not ROLE.fullmatch(family) or family in TOP_LEVEL_ROLE_NAMES:
            raise UsageError("not a name for a device family", got=family[:80], expected="small letters, digits and -")
        if not keys or not patterns or any("/" in pattern for pattern in patterns):
            raise UsageError("a family has keys and patterns of target names", got=", ".join(patterns)[:200])
        role = self._role("targets", Targets)
        delegated = {item.key.key_id: _public(item.key) for item in keys}
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
        self._renew("targets", role, [targets])

    def add(self, family: str, verified: Verified, channel: str, signer: Signer) -> str:
        """Makes a bundle the current one of its name, target and channel. Returns the record's path.

        Raises:
            UsageError: no such family, a name that does not do, or another key than the family's.
            IntegrityError: the version is older than the one that is current.
        """
        manifest = verified.manifest
        path = release_path(manifest.target, channel, manifest.name)
        role = self._family(family)
        record = canonical_json(
            {
                "schema_version": 1,
                "name": manifest.name,
                "version": manifest.version,
                "target": manifest.target,
                "channel": channel,
                "digest": verified.digest,
            }
        )
        current = role.signed.targets.get(path)
        if current is not None:
            check_version(manifest.version, str(current.unrecognized_fields["custom"]["version"]))
        item = TargetFile.from_data(path, record, ["sha256"])
        item.unrecognized_fields["custom"] = {"version": manifest.version}
        role.signed.targets[path] = item
        self._check_paths(family, path)
        name = f"{sha256_bytes(record)}.{Path(path).name}"
        self._write(self._place / TARGETS / Path(path).parent / name, record)
        self._renew(family, role, [signer])
        return path

    def remove(self, family: str, path: str, signer: Signer) -> None:
        """Takes a release back. Devices that have it keep it until they are given a newer one. Raises UsageError."""
        role = self._family(family)
        if path not in role.signed.targets:
            raise UsageError("there is no such release", where=str(self._place), got=path)
        del role.signed.targets[path]
        self._renew(family, role, [signer])

    def renew(self, name: str, signer: Signer) -> None:
        """Signs ``targets`` or a family once more, before its time is over. Raises UsageError."""
        self._renew(name, self._role("targets", Targets) if name == "targets" else self._family(name), [signer])

    def rekey(self, name: str, keys: Sequence[TrustedKey], threshold: int, root: Sequence[Signer]) -> None:
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
        role = self._role("root", Root)
        before = self._role("root", Root)
        for keyid in list(role.signed.roles[name].keyids):
            role.signed.revoke_key(keyid, name)
        for item in fresh.values():
            role.signed.add_key(_public(item.key), name)
        role.signed.roles[name].threshold = threshold
        role.signed.version += 1
        role.signed.expires = self._until(self._days.root)
        signed = _signed(role, root)
        for which, words in ((before, "earlier"), (role, "new")):
            if not which.signed.get_verification_result("root", signed.signed_bytes, signed.signatures).verified:
                raise UsageError(f"too few of the {words} root keys signed", expected="more --root-key")
        self._write_role("root", signed)

    def publish(self, *online: Signer) -> None:
        """Makes what was added visible, all at once: the timestamp is what every device asks for.

        Args:
            online: the keys of snapshot and timestamp; one where they have the same.

        Raises:
            UsageError: a key of one of the two is missing; nothing is written.
        """
        meta = {f"{name}.json": MetaFile(self._role(name, Targets).signed.version) for name in self._signing_roles()}
        versions = self._versions("snapshot")
        snapshot = Snapshot(
            version=(versions[-1] if versions else 0) + 1, expires=self._until(self._days.snapshot), meta=meta
        )
        stamp = self._place / METADATA / "timestamp.json"
        earlier = self._read(stamp, Timestamp).signed.version if stamp.exists() else 0
        timestamp = Timestamp(
            version=earlier + 1, expires=self._until(self._days.timestamp), snapshot_meta=MetaFile(snapshot.version)
        )
        keys = self._role("root", Root).signed.roles
        ready = {}
        for name, role in (("snapshot", Metadata(snapshot)), ("timestamp", Metadata(timestamp))):
            own = [signer for signer in online if signer.public.key_id in keys[name].keyids]
            ready[name] = _signed(role, own)
            self._check_signed(name, ready[name])
        for name, signed in ready.items():
            self._write_role(name, signed)

    # -- reading -------------------------------------------------------------------------------------------------------

    def _signing_roles(self) -> list[str]:
        delegations = self._role("targets", Targets).signed.delegations
        families = [] if delegations is None else list(delegations.roles or {})
        return ["targets", *(name for name in families if self._versions(name))]

    def _family(self, name: str) -> Metadata[Targets]:
        """A family's newest metadata; fresh ones where it has none yet."""
        delegations = self._role("targets", Targets).signed.delegations
        if delegations is None or name not in (delegations.roles or {}):
            raise UsageError("there is no such device family", got=name[:80], next_step="edgegen release delegate")
        if self._versions(name):
            return self._role(name, Targets)
        return Metadata(Targets(expires=self._now))

    def _check_paths(self, family: str, path: str) -> None:
        delegations = self._role("targets", Targets).signed.delegations
        role = None if delegations is None else (delegations.roles or {}).get(family)
        if role is None or not role.is_delegated_path(path):
            raise UsageError("the family may not release for that target", got=path, expected=family)

    def _versions(self, name: str) -> list[int]:
        found = (path.name.split(".", 1)[0] for path in (self._place / METADATA).glob(f"*.{name}.json"))
        return sorted(int(number) for number in found if number.isdecimal())

    def _role(self, name: str, kind: type[Any]) -> Metadata[Any]:
        versions = self._versions(name)
        if not versions:
            raise UsageError("there are no releases", where=str(self._place), next_step="edgegen release init")
        return self._read(self._place / METADATA / f"{versions[-1]}.{name}.json", kind)

    def _read(self, path: Path, kind: type[Any]) -> Metadata[Any]:
        try:
            found: Metadata[Any] = Metadata.from_bytes(path.read_bytes())
        except (OSError, DeserializationError, RepositoryError) as error:
            raise UsageError("metadata cannot be read", where=str(path), got=error) from error
        if not isinstance(found.signed, kind):
            raise UsageError("metadata of another kind", where=str(path), got=type(found.signed).__name__)
        return found

    # -- writing -------------------------------------------------------------------------------------------------------

    def _renew(self, name: str, role: Metadata[Targets], signers: Sequence[Signer]) -> None:
        role.signed.version = max(self._versions(name), default=0) + 1
        role.signed.expires = self._until(self._days.targets)
        self._save(name, role, signers)

    def _save(self, name: str, role: Metadata[Any], signers: Sequence[Signer]) -> None:
        signed = _signed(role, signers)
        self._check_signed(name, signed)
        self._write_role(name, signed)

    def _check_signed(self, name: str, signed: Metadata[Any]) -> None:
        """What a device would refuse is not written."""
        if name == "root":
            above: Any = signed.signed
        elif name in TOP_LEVEL_ROLE_NAMES:
            above = self._role("root", Root).signed
        else:
            above = self._role("targets", Targets).signed
        if not above.get_verification_result(name, signed.signed_bytes, signed.signatures).verified:
            raise UsageError("the key is not one of the role", where=name, next_step="sign with the role's own key")

    def _write_role(self, name: str, signed: Metadata[Any]) -> None:
        file = f"{name}.json" if name == "timestamp" else f"{signed.signed.version}.{name}.json"
        self._write(self._place / METADATA / file, signed.to_bytes(JSONSerializer(compact=True)))

    def _write(self, path: Path, data: bytes) -> None:
        try:
            replace_file(path, data)
        except OSError as error:
            raise BuildError("a release cannot be written", where=str(path), got=error) from error

    def _until(self, days: int) -> datetime:
        return self._now + timedelta(days=days)


def release_path(target: str, channel: str, name: str) -> str:
    """Where the record of a release lies. Raises UsageError for a part that is no plain name."""
    for part in (target, channel, name):
        if not PART.fullmatch(part):
            raise UsageError("not a name for a release", got=part[:80], expected="letters, digits and . _ + -")
    return f"{target}/{channel}/{name}.json"


def _signed(role: Metadata[Any], signers: Sequence[Signer]) -> Metadata[Any]:
    role.signatures.clear()
    for signer in signers:
        role.sign(CryptoSigner(signer.private, public_key=_public(signer.public)), append=True)
    return role


def _public(key: PublicKey) -> SSlibKey:
    """The key as TUF has it, under its own id."""
    public = load_der_public_key(key.der)
    assert isinstance(public, (Ed25519PublicKey, EllipticCurvePublicKey))
    return SSlibKey.from_crypto(public, keyid=key.key_id)
