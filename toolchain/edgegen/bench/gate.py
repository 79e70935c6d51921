"""The gate's outcome: absolute budgets and regressions, what waivers lift, and the exit code that CI branches on."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgegen.bench.regression import Check
from edgegen.bench.waivers import ANY, Waiver, told
from edgegen.core.errors import ExitCode
from edgegen.core.lazy import nearest
from edgegen.core.records import read_record, write_record
from edgegen.core.results import Verdict

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was found of one subject on one target, before waivers."""

    target: str
    name: str  # of the project
    version: str
    candidate: str
    subject: str  # what a person gave: a path
    baseline: str  # what it was held against, or why it was not
    device: str  # kind and core
    checks: tuple[Check, ...]
    run: Mapping[str, Any] | None = None  # the new run as a history keeps it
    notes: tuple[str, ...] = ()


def absolute(document: Mapping[str, Any]) -> tuple[Check, ...]:
    """The verdicts of a result as checks; a build that ended before it could judge has failed as one."""
    target = str(document["target"])
    checks = tuple(
        _check(read_record(Verdict, item, "verdicts", "result.json"), target) for item in document["verdicts"]
    )
    error = document.get("error")
    if error is None and document["exit_code"] in (ExitCode.OK, ExitCode.BUDGET_FAILED, ExitCode.NOT_JUDGED):
        return checks
    code = int(document["exit_code"])
    unjudged = code == ExitCode.NOT_JUDGED
    reason = error["what"] if error else f"the build ended with exit code {code}"
    return (
        *checks,
        Check(
            target=target,
            budget="build",
            metric="exit_code",
            kind="exact",
            status="unverified" if unjudged else "fail",
            required=True,
            value=float(code),
            limit=0.0,
            unit="",
            direction="max",
            reason=str(reason),
        ),
    )


def waived(
    checks: Sequence[Check], waivers: Sequence[Waiver], targets: Sequence[str], today: datetime.date
) -> tuple[Check, ...]:
    """The checks with what waivers lift, and one that fails for every waiver whose last day has passed.

    Args:
        targets: those that were judged: a waiver of another target is not looked at.
    """
    valid = [item for item in waivers if not item.expired(today)]
    expired = [item for item in waivers if item.expired(today) and (item.target == "*" or item.target in targets)]
    lifted = [_lifted(check, valid) for check in checks]
    return (*lifted, *(_expired(item, today) for item in expired))


def gate_document(
    judged: Sequence[Judged],
    *,
    when: str,
    today: datetime.date,
    waivers: Sequence[Waiver] = (),
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The outcome, JSON-ready.

    Args:
        when: UTC, as histories write it.
        today: against which the days of waivers are held.
    """
    targets = [item.target for item in judged]
    checks = waived([check for item in judged for check in item.checks], waivers, targets, today)
    used = {tuple(sorted(check.waiver.items())) for check in checks if check.waiver and check.status == "waived"}
    unused = [
        item
        for item in waivers
        if not item.expired(today)
        and (item.target == "*" or item.target in targets)
        and tuple(sorted(told(item).items())) not in used
    ]
    said = [_unused(item, checks) for item in unused]
    return {
        "schema_version": SCHEMA_VERSION,
        "when": when,
        "exit_code": int(exit_code(checks)),
        "subjects": [
            {
                "target": item.target,
                "name": item.name,
                "version": item.version,
                "candidate": item.candidate,
                "subject": item.subject,
                "baseline": item.baseline,
                "device": item.device,
                "run": item.run,
                "notes": list(item.notes),
            }
            for item in judged
        ],
        "checks": [write_record(check) for check in checks],
        "notes": [*notes, *said],
    }


def checks_of(document: Mapping[str, Any]) -> tuple[Check, ...]:
    """The checks of a gate's document as records."""
    return tuple(read_record(Check, item, "checks", "the gate's document") for item in document["checks"])


def exit_code(checks: Sequence[Check]) -> ExitCode:
    """A failure outweighs what could not be judged; nothing to judge is not a success."""
    statuses = {check.status for check in checks if check.required}
    if "fail" in statuses:
        return ExitCode.BUDGET_FAILED
    if statuses & {"unverified", "inconclusive"} or not checks:
        return ExitCode.NOT_JUDGED
    return ExitCode.OK


def _check(verdict: Verdict, target: str) -> Check:
    return Check(
        target=target,
        budget=verdict.budget,
        metric=verdict.metric,
        kind=verdict.kind,
        status=verdict.status,
        required=verdict.required,
        value=verdict.value,
        limit=verdict.limit,
        unit=verdict.unit,
        direction=verdict.direction,
        reason=verdict.reason,
    )


def _lifted(check: Check, waivers: Sequence[Waiver]) -> Check:
    if check.status == "pass":
        return check
    found = next((item for item in waivers if item.lifts(check.budget, check.target)), None)
    if found is None:
        return check
    reason = "; ".join(text for text in (f"would be {check.status}", check.reason) if text)
    return replace(check, status="waived", waiver=told(found), reason=reason)


def _unused(waiver: Waiver, checks: Sequence[Check]) -> str:
    """Why a waiver lifts nothing: its check passes, or there is none of that name: likely a slip of the pen."""
    about = f"the waiver of {waiver.budget} on {waiver.target} ({waiver.owner}) lifts nothing"
    names = list(dict.fromkeys(check.budget for check in checks if waiver.target in (ANY, check.target)))
    if waiver.budget in names:
        return f"{about}: remove it"
    return f"{about}: no check of this gate has that name{nearest(waiver.budget, names)}"


def _expired(waiver: Waiver, today: datetime.date) -> Check:
    return Check(
        target=waiver.target,
        budget=f"waiver of {waiver.budget}",
        metric="days",
        kind="exact",
        status="fail",
        required=True,
        value=float((today - waiver.expires).days),
        limit=0.0,
        unit="days",
        direction="max",
        reason=f"expired on {waiver.expires.isoformat()}, {waiver.owner}: {waiver.reason}",
        waiver=told(waiver),
    )
