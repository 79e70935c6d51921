"""Whom to trust for what: a policy file, and whether a bundle satisfies it.

schema_version = 1
threshold = 1
required_verdicts = ["instructions", "psnr_db"]
max_age_days = 180
minimum_version = "1.2.0"

[keys.release]
file = "release.pub"
targets = ["raspberrypi*"]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from edgegen.artifacts.verify import Verified
from edgegen.core.errors import IntegrityError, UsageError
from edgegen.core.given_file import read_toml
from edgegen.core.records import read_record, setting
from edgegen_runtime.public_keys import PublicKey, parse_public_key, read_public_key
from edgegen_runtime.strict import RefusedError
from edgegen_runtime.trust import check_verdicts, find_signers
from edgegen_runtime.version_order import version_order

_MAX_FILE_BYTES = 1 << 20
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_KEY_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRule:
    """A key that is trusted."""

    file: str | None = setting(None, doc="its .pub file, beside the policy file or absolute")
    pem: str | None = setting(None, doc="the same, written here; one of the two")
    targets: tuple[str, ...] = setting(("*",), doc="targets that it may vouch for; * stands for any letters")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFile:
    """What a policy file holds."""

    schema_version: Literal[1] = setting(doc="format of this file")
    keys: Mapping[str, KeyRule] = setting(doc="keys by a name of one's own")
    threshold: int = setting(1, doc="how many of the keys must have signed", minimum=1, maximum=16)
    required_verdicts: tuple[str, ...] = setting((), doc="budgets that must have been judged, and passed")
    max_age_days: int | None = setting(
        None, doc="how long ago a signature may have been made", minimum=1, maximum=1_000_000
    )
    minimum_version: str | None = setting(None, doc="older versions are refused")
    recipes: tuple[str, ...] = setting(("*",), doc="compression recipes that may ship; * stands for any letters")
    formats: tuple[str, ...] = setting(("*",), doc="formats that may ship")
    recalled: tuple[str, ...] = setting((), doc="digests of bundles that were taken back, sha256:<hex>")
    revoked_keys: tuple[str, ...] = setting((), doc="ids of keys that were lost: nothing that they signed counts")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A key under the name that a person gave it."""

    name: str
    key: PublicKey
    targets: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a bundle must be."""

    keys: tuple[TrustedKey, ...]
    threshold: int = 1
    required_verdicts: tuple[str, ...] = ()
    max_age: timedelta | None = None
    minimum_version: str | None = None
    recipes: tuple[str, ...] = ("*",)
    formats: tuple[str, ...] = ("*",)
    recalled: tuple[str, ...] = ()
    revoked_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Who vouches for a bundle."""

    signers: Mapping[str, str]  # name -> key id, of the trusted
    unknown: tuple[str, ...]  # ids of others that signed
    checked: tuple[str, ...]  # what was checked, one clause each


def read_policy(path: Path) -> Policy:
    """The policy in a TOML file, its keys read.

    Raises:
        UsageError: it cannot be read, has unknown keys, names no usable key, or asks for more keys than it names.
    """
    table = read_toml(path, "the policy", limit_bytes=_MAX_FILE_BYTES)
    file = read_record(PolicyFile, table, "", str(path))
    keys = tuple(_key(name, rule, path) for name, rule in file.keys.items())
    distinct = {item.key.key_id for item in keys}
    if len(distinct) < len(keys):
        raise UsageError("one key stands under two names", where=f"{path}: keys")
    if file.threshold > len(keys):
        raise UsageError(
            "more signatures are asked for than there are keys", where=f"{path}: threshold",
            got=file.threshold, expected=f"<= {len(keys)}",
        )  # fmt: skip
    _check_texts(file, str(path))
    return Policy(
        keys=keys,
        threshold=file.threshold,
        required_verdicts=file.required_verdicts,
        max_age=None if file.max_age_days is None else timedelta(days=file.max_age_days),
        minimum_version=file.minimum_version,
        recipes=file.recipes,
        formats=file.formats,
        recalled=file.recalled,
        revoked_keys=file.revoked_keys,
    )


def trusted_key(path: Path) -> TrustedKey:
    """The key in a ``.pub`` file, under the file's own name, for every target.

    Raises:
        UsageError: it cannot be read, or is no key of a known kind.
    """
    try:
        return TrustedKey(name=path.stem, key=read_public_key(path))
    except RefusedError as error:
        raise UsageError("not a public key", where=str(path), got=error, expected="a .pub file") from error


def check_version(version: str, minimum: str) -> None:
    """Refuses a version that is older than ``minimum``.

    Raises:
        UsageError: ``minimum`` cannot be put in order.
        IntegrityError: the version is older, or cannot be put in order.
    """
    try:
        least = version_order(minimum)
    except RefusedError as error:
        raise UsageError("the least version is none", got=error) from error
    try:
        found = version_order(version)
    except RefusedError as error:
        raise IntegrityError("downgraded: there is no telling whether the version is new enough", got=error) from error
    if found < least:
        raise IntegrityError(
            "downgraded: the bundle is of an older version than may be installed", got=version, expected=f">= {minimum}"
        )


def check_target(target: str, wanted: str) -> None:
    """Refuses a bundle for another device. Raises IntegrityError."""
    if target != wanted:
        raise IntegrityError("wrong device: the bundle is for another target", got=target, expected=wanted)


def check_policy(verified: Verified, policy: Policy, now: datetime) -> Trust:
    """Refuses a bundle that does not satisfy the policy.

    Args:
        verified: a bundle whose bytes hold.
        now: what time it is, UTC.

    Raises:
        IntegrityError: the first rule that is broken; its text begins with what kind of rule it is.
    """
    manifest = verified.manifest
    if verified.digest in policy.recalled:
        raise IntegrityError("recalled: this bundle was taken back", got=verified.digest)
    for what, value, allowed in (
        ("recipe", manifest.recipe, policy.recipes),
        ("format", manifest.format, policy.formats),
    ):
        if not _fits(value, allowed):
            raise IntegrityError(f"the policy does not allow the {what}", got=value, expected=", ".join(allowed))
    if policy.minimum_version is not None:
        check_version(manifest.version, policy.minimum_version)
    usable = [item for item in policy.keys if item.key.key_id not in policy.revoked_keys]
    fitting = [item for item in usable if _fits(manifest.target, item.targets)]
    try:
        found = find_signers(verified.claims, [item.key for item in usable], now=now, max_age=policy.max_age)
        counted = {item.name: item.key.key_id for item in fitting if item.key.key_id in found.trusted}
        if len(counted) < policy.threshold:
            raise IntegrityError(
                _why_untrusted(verified, policy, found.outdated, found.trusted),
                got=f"{len(counted)} of {policy.threshold} trusted signatures",
                expected=" or ".join(sorted(item.name for item in fitting)) or "a key for this target",
            )
        for key_id in counted.values():
            check_verdicts(found.trusted[key_id], policy.required_verdicts)
    except RefusedError as error:
        raise IntegrityError(str(error)) from error
    checked = [f"signed by {name} ({key_id})" for name, key_id in sorted(counted.items())]
    checked += [f"verdict passed: {budget}" for budget in policy.required_verdicts]
    if policy.minimum_version is not None:
        checked.append(f"version {manifest.version} >= {policy.minimum_version}")
    return Trust(signers=counted, unknown=found.unknown, checked=tuple(checked))


def _why_untrusted(
    verified: Verified, policy: Policy, outdated: Mapping[str, str], trusted: Mapping[str, object]
) -> str:
    names = {item.key.key_id: item.name for item in policy.keys}
    if not verified.claims:
        return "unsigned: nobody vouches for the bundle"
    if outdated:
        key_id, reason = next(iter(sorted(outdated.items())))
        return f"the signature by {names[key_id]} no longer counts: {reason}"
    ids = {key_id for claim in verified.claims for key_id in claim.core.signatures}
    revoked = sorted(names.get(key_id, key_id) for key_id in ids & set(policy.revoked_keys))
    if revoked:
        return f"revoked key: the bundle is signed by {', '.join(revoked)}, which is trusted no longer"
    others = sorted(names[key_id] for key_id in trusted)
    if others and policy.threshold == 1:
        return f"wrong device: {', '.join(others)} may not vouch for the target {verified.manifest.target}"
    if others:
        return "too few of the trusted keys signed the bundle"
    return f"unknown key: the bundle is signed by {', '.join(sorted(ids))} alone"


def _fits(value: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in patterns)


def _key(name: str, rule: KeyRule, path: Path) -> TrustedKey:
    where = f"{path}: keys.{name}"
    if (rule.file is None) == (rule.pem is None):
        raise UsageError("a key is either a file or written here", where=where, expected="one of file and pem")
    try:
        if rule.file is not None:
            key = read_public_key(path.parent / rule.file)
        else:
            key = parse_public_key(str(rule.pem).encode(), where)
    except RefusedError as error:
        raise UsageError("a key of the policy cannot be used", where=where, got=error) from error
    return TrustedKey(name=name, key=key, targets=rule.targets)


def _check_texts(file: PolicyFile, where: str) -> None:
    for digest in file.recalled:
        if not _DIGEST.fullmatch(digest):
            raise UsageError("not a digest", where=f"{where}: recalled", got=digest, expected="sha256:<64 hex digits>")
    for key_id in file.revoked_keys:
        if not _KEY_ID.fullmatch(key_id):
            raise UsageError("not a key's id", where=f"{where}: revoked_keys", got=key_id, expected="64 hex digits")
    if file.minimum_version is not None:
        try:
            version_order(file.minimum_version)
        except RefusedError as error:
            raise UsageError("the least version is none", where=f"{where}: minimum_version", got=error) from error
