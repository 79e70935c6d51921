"""A gate's outcome in words: rows of a table, and one sentence on what it all means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgegen.bench.gate import checks_of
from edgegen.bench.regression import Check
from edgegen.bench.wording import figure, size

BECAME = {
    "fail": "fails",
    "unverified": "is unverified",
    "inconclusive": "is inconclusive",
}


def headline(document: Mapping[str, Any]) -> str:
    """One sentence: whether the gate is passed, else what stands in the way."""
    checks = checks_of(document)
    bad = [check for check in checks if check.required and check.status in BECAME]
    lifted = sum(check.status == "waived" for check in checks)
    waivers = "" if not lifted else f"; {lifted} lifted by a waiver"
    if not checks:
        return "Nothing was judged: no budget and no baseline"
    if not bad:
        passed = sum(check.status == "pass" for check in checks)
        optional = len(checks) - passed - lifted
        others = f"; {optional} optional not kept or not judged" if optional else ""
        return f"Passed: {passed} of {len(checks)} checks{waivers}{others}"
    said = ", ".join(f"{check.budget} on {check.target} {BECAME[check.status]}" for check in bad[:4])
    more = f" and {len(bad) - 4} more" if len(bad) > 4 else ""
    return f"{said}{more}{waivers}"


def amount(value: float | None, unit: str) -> str:
    """A figure with its unit; empty where there is none."""
    if value is None:
        return ""
    if unit == "bytes":
        return size(round(value))
    return figure(round(value) if unit == "instructions" else value, unit)


def limit_of(check: Check) -> str:
    """``≤ 390.6 KiB``, or ``≤ +2.0 %`` where the change's interval is judged; empty where there is no limit."""
    if check.limit is None:
        return ""
    relation = "≤" if check.direction == "max" else "≥"
    if by_interval(check):
        return f"{relation} {percent(check.limit / (check.baseline or 1.0) - 1)}"
    return f"{relation} {amount(check.limit, check.unit)}"


def by_interval(check: Check) -> bool:
    """Whether the interval of a change was judged: then one value beyond the limit is no failure yet."""
    return check.low_ratio is not None and bool(check.baseline)


def change_of(check: Check) -> str:
    """``+1.3 %``, or with its interval ``+1.3 % (-0.2 to +2.8 %)``; empty for an absolute budget."""
    if check.change_ratio is None:
        return ""
    text = percent(check.change_ratio)
    if check.low_ratio is None or check.high_ratio is None:
        return text
    return f"{text} ({100 * check.low_ratio:+.1f} to {percent(check.high_ratio)})"


def percent(ratio: float) -> str:
    """A change as people read it: two digits below a percent, one above."""
    if abs(ratio) < 5e-5:
        return "0 %"
    return f"{100 * ratio:+.2f} %" if abs(ratio) < 0.01 else f"{100 * ratio:+.1f} %"


def why(check: Check) -> str:
    """The reason with the waiver that lifts it."""
    parts = [check.reason] if check.reason else []
    if check.status == "waived" and check.waiver:
        waiver = check.waiver
        parts.append(f"waived by {waiver['owner']} until {waiver['expires']}: {waiver['reason']}")
    return "; ".join(parts)


def finding(check: Check) -> str:
    """One clause on a check: what is compared, and why it came out so."""
    if check.value is None or check.limit is None:
        return f"{check.budget}: {check.reason or check.status}"
    change = change_of(check)
    if by_interval(check):
        about = (
            f"{check.budget} {amount(check.value, check.unit)}, {change} against {amount(check.baseline, check.unit)}"
        )
        return f"{about} ({why(check)})" if why(check) else about
    held = (check.value <= check.limit) if check.direction == "max" else (check.value >= check.limit)
    relation = {("max", True): "≤", ("max", False): ">", ("min", True): "≥", ("min", False): "<"}
    sign = relation[check.direction, held]
    text = f"{check.budget} {amount(check.value, check.unit)} {sign} {amount(check.limit, check.unit)}"
    text += f", {change} against {amount(check.baseline, check.unit)}" if change else ""
    return f"{text} ({why(check)})" if why(check) else text


def of_target(document: Mapping[str, Any], target: str) -> Sequence[Check]:
    """The checks of one target; ``*`` are those of waivers that name none."""
    return [check for check in checks_of(document) if check.target == target]


def targets_of(document: Mapping[str, Any]) -> list[str]:
    """Targets in the order of the checks, without repetition."""
    return list(dict.fromkeys(check.target for check in checks_of(document)))
