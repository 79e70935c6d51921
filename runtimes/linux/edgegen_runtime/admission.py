"""What a device takes: signed by keys that it knows, for itself, no older than what it had, and no failed verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from edgegen_runtime.public_keys import PublicKey
from edgegen_runtime.sealed_bundle import Bundle
from edgegen_runtime.strict import RefusedError
from edgegen_runtime.trust import check_verdicts, find_signers
from edgegen_runtime.version_order import version_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Whom and what a device trusts."""

    keys: tuple[PublicKey, ...]
    threshold: int = 1  # how many of the keys must have signed
    target: str | None = None  # this device; None: a bundle for any is taken
    max_age: timedelta | None = None


def admit(bundle: Bundle, rules: Rules, minimum_version: str | None, now: datetime | None) -> tuple[str, ...]:
    """The ids of the keys that vouch for a bundle that this device may run.

    Args:
        minimum_version: the newest version that was ever accepted; None: none yet.
        now: None where there is no clock to be trusted.

    Raises:
        RefusedError: which rule is broken, and by what.
    """
    if rules.target is not None and bundle.target != rules.target:
        raise RefusedError(f"wrong device: the bundle is for {bundle.target}, this is {rules.target}")
    if minimum_version is not None and version_order(bundle.version) < version_order(minimum_version):
        raise RefusedError(f"downgraded: version {bundle.version} is older than {minimum_version}, which was here")
    found = find_signers(bundle.claims, rules.keys, now=now, max_age=rules.max_age)
    if len(found.trusted) < rules.threshold:
        raise RefusedError(_why(bundle, found.outdated, found.unknown, len(found.trusted), rules.threshold))
    for claim in found.trusted.values():
        check_verdicts(claim)
    version_order(bundle.version)  # one that cannot be put in order could never be followed
    return tuple(sorted(found.trusted))


def _why(bundle: Bundle, outdated: object, unknown: Sequence[str], count: int, threshold: int) -> str:
    if not bundle.claims:
        return "unsigned: nobody vouches for the bundle"
    if isinstance(outdated, dict) and outdated:
        key_id, reason = next(iter(sorted(outdated.items())))
        return f"the signature by {key_id} no longer counts: {reason}"
    if not count:
        return f"unknown key: the bundle is signed by {', '.join(unknown)} alone"
    return f"too few signatures: {count} of {threshold} trusted keys signed"
