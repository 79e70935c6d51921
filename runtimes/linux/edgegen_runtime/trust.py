"""Who vouches for a bundle: reads the statements beside it and counts the trusted keys that signed them.

A signature artifact holds ``core.dsse.json``, a statement about the core, and ``evidence.dsse.json``, one about the
evidence where the bundle has any. The core's predicate is SLSA provenance (https://slsa.dev/provenance/v1) with
edgegen's own fields beside: ``edgegen_verdicts``, ``edgegen_signed_on`` and ``edgegen_expires_on``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from edgegen_runtime.envelope import Envelope, Statement, read_envelope, read_statement, to_be_signed
from edgegen_runtime.public_keys import PublicKey
from edgegen_runtime.strict import RefusedError

CORE_ENVELOPE = "core.dsse.json"
EVIDENCE_ENVELOPE = "evidence.dsse.json"
CORE_PREDICATE = "https://slsa.dev/provenance/v1"
EVIDENCE_PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
VERDICTS = "edgegen_verdicts"
SIGNED_ON = "edgegen_signed_on"
EXPIRES_ON = "edgegen_expires_on"
TIME_FORM = "%Y-%m-%dT%H:%M:%SZ"

_CLOCK_SKEW = timedelta(days=1)
_STATUSES = ("pass", "fail", "unverified", "inconclusive")
_MAX_VERDICTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """Digests (hex sha256 of manifests) of what a bundle consists of; None: it has no such part."""

    core: str
    evidence: str | None
    training: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictLine:
    """One judged budget, as a statement tells of it."""

    budget: str
    metric: str
    kind: str
    status: str
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One signature artifact whose statements are about this bundle. Nothing is known yet of who signed it."""

    core: Envelope
    evidence: Envelope | None
    verdicts: tuple[VerdictLine, ...]
    signed_on: datetime
    expires_on: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signers:
    """What became of the claims."""

    trusted: Mapping[str, Claim]  # key id -> what it signed
    unknown: tuple[str, ...]  # ids of keys that were not given, sorted
    outdated: Mapping[str, str]  # id of a given key -> why its signature does not count


def read_claim(files: Mapping[str, bytes], subjects: Subjects) -> Claim:
    """What a signature artifact says of the bundle that it lies in.

    Args:
        files: the artifact's files by name.

    Raises:
        RefusedError: other files, no envelopes, or statements about something else than this bundle's parts.
    """
    if not {CORE_ENVELOPE} <= set(files) <= {CORE_ENVELOPE, EVIDENCE_ENVELOPE}:
        raise RefusedError(f"a signature does not consist of its files: {', '.join(sorted(files))[:200]}")
    core = read_envelope(files[CORE_ENVELOPE], CORE_ENVELOPE)
    statement = read_statement(core, CORE_ENVELOPE)
    _check_about(statement, subjects.core, CORE_PREDICATE, CORE_ENVELOPE)
    if subjects.training is not None and subjects.training not in _byproducts(statement.predicate):
        raise RefusedError(f"{CORE_ENVELOPE} does not name the training: it was added or changed after the signature")
    return Claim(
        core=core,
        evidence=_evidence(files, subjects),
        verdicts=_verdicts(statement.predicate.get(VERDICTS)),
        signed_on=_time(statement.predicate.get(SIGNED_ON), SIGNED_ON),
        expires_on=None
        if statement.predicate.get(EXPIRES_ON) is None
        else _time(statement.predicate[EXPIRES_ON], EXPIRES_ON),
    )


def find_signers(
    claims: Iterable[Claim], keys: Iterable[PublicKey], *, now: datetime | None, max_age: timedelta | None = None
) -> Signers:
    """Which of ``keys`` vouch for the bundle.

    Args:
        now: what time it is; None where there is no clock to be trusted, and then nothing is too old.
        max_age: how long ago a signature may have been made.

    Raises:
        RefusedError: a signature that bears the id of one of the keys is not that key's.
    """
    known = {key.key_id: key for key in keys}
    trusted, unknown, outdated = dict[str, Claim](), set[str](), dict[str, str]()
    for claim in claims:
        for key_id in claim.core.signatures:
            if key_id not in known:
                unknown.add(key_id)
                continue
            _check_signed(claim, known[key_id])
            reason = _too_old(claim, now, max_age)
            if reason:
                outdated[key_id] = reason
            else:
                trusted[key_id] = claim
    return Signers(
        trusted=trusted,
        unknown=tuple(sorted(unknown)),
        outdated={key_id: reason for key_id, reason in outdated.items() if key_id not in trusted},
    )


def check_verdicts(claim: Claim, wanted: Iterable[str] = ()) -> None:
    """Refuses what failed a required budget, or was not judged by one of the ``wanted`` budgets.

    Raises:
        RefusedError: it names the budget.
    """
    for line in claim.verdicts:
        if line.required and line.status != "pass":
            raise RefusedError(f"failed verdict: {line.budget} ({line.metric}) is {line.status}")
    for budget in wanted:
        statuses = {line.status for line in claim.verdicts if line.budget == budget}
        if not statuses:
            raise RefusedError(f"missing verdict: nothing was judged by the budget {budget!r}")
        if statuses != {"pass"}:
            raise RefusedError(f"failed verdict: {budget} is {', '.join(sorted(statuses))}")


def _evidence(files: Mapping[str, bytes], subjects: Subjects) -> Envelope | None:
    """The envelope about the evidence, where the bundle has evidence to be vouched for."""
    if subjects.evidence is None:
        return None
    if EVIDENCE_ENVELOPE not in files:
        raise RefusedError("a signature says nothing of the evidence: it was added after the signature")
    envelope = read_envelope(files[EVIDENCE_ENVELOPE], EVIDENCE_ENVELOPE)
    _check_about(read_statement(envelope, EVIDENCE_ENVELOPE), subjects.evidence, EVIDENCE_PREDICATE, EVIDENCE_ENVELOPE)
    return envelope


def _check_about(statement: Statement, sha256: str, predicate_type: str, what: str) -> None:
    if statement.sha256 != sha256:
        raise RefusedError(f"{what} is about something else: sha256:{statement.sha256[:64]}, not sha256:{sha256}")
    if statement.predicate_type != predicate_type:
        raise RefusedError(f"{what} makes another kind of statement than expected: {statement.predicate_type[:100]}")


def _check_signed(claim: Claim, key: PublicKey) -> None:
    parts = [(claim.core, CORE_ENVELOPE)]
    if claim.evidence is not None:
        parts.append((claim.evidence, EVIDENCE_ENVELOPE))
    for envelope, what in parts:
        signature = envelope.signatures.get(key.key_id)
        if signature is None or not key.verifies(to_be_signed(envelope.payload), signature):
            raise RefusedError(f"tampered: {what} bears the id of the key {key.key_id} and is not signed by it")


def _too_old(claim: Claim, now: datetime | None, max_age: timedelta | None) -> str:
    if now is None:
        return ""
    signed = claim.signed_on.strftime(TIME_FORM)
    if claim.signed_on > now + _CLOCK_SKEW:
        return f"signed in the future, on {signed}: one of the clocks is wrong"
    if claim.expires_on is not None and claim.expires_on <= now:
        return f"expired on {claim.expires_on.strftime(TIME_FORM)}"
    if max_age is not None and now - claim.signed_on > max_age:
        return f"too old: signed on {signed}, more than {max_age.days} days ago"
    return ""


def _byproducts(predicate: Mapping[str, Any]) -> set[str]:
    details = predicate.get("runDetails")
    items = details.get("byproducts") if isinstance(details, dict) else None
    digests = [item.get("digest") for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return {str(digest.get("sha256")) for digest in digests if isinstance(digest, dict)}


def _verdicts(value: object) -> tuple[VerdictLine, ...]:
    if not isinstance(value, list) or len(value) > _MAX_VERDICTS:
        raise RefusedError(f"{CORE_ENVELOPE} does not tell of its verdicts")
    lines = []
    for item in value:
        texts = [item.get(name) for name in ("budget", "metric", "kind", "status")] if isinstance(item, dict) else []
        if not texts or not all(isinstance(text, str) for text in texts) or texts[3] not in _STATUSES:
            raise RefusedError(f"{CORE_ENVELOPE} tells of a verdict that is none")
        if not isinstance(item.get("required"), bool) or len(item) != 5:
            raise RefusedError(f"{CORE_ENVELOPE} tells of a verdict that is none")
        budget, metric, kind, status = map(str, texts)
        lines.append(VerdictLine(budget=budget, metric=metric, kind=kind, status=status, required=item["required"]))
    return tuple(lines)


def _time(value: object, what: str) -> datetime:
    try:
        moment = datetime.strptime(str(value), TIME_FORM).replace(tzinfo=UTC)
    except ValueError as error:
        raise RefusedError(f"{what} is no moment such as 2026-11-30T12:00:00Z: {value!r:.60}") from error
    return moment
