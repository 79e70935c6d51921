"""How figures and verdicts are put into words: one wording for the terminal, the summary and the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgegen.core.results import Verdict


def figure(value: float | None, unit: str = "") -> str:
    """A number as a person reads it: whole numbers grouped, others to four significant digits, the unit behind."""
    if value is None:
        return "unknown"
    text = f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else _significant(value)
    # The budget's own name says "instructions"; repeating it as a unit only makes the sentence longer.
    return f"{text} {unit}" if unit and unit != "instructions" else text


def band(low_ms: float, high_ms: float) -> str:
    """A predicted latency as a person reads it: its band, to two digits, for it has no more."""
    return f"{low_ms:.2g} to {high_ms:.2g} ms" if high_ms < 100 else f"{low_ms:,.0f} to {high_ms:,.0f} ms"


def size(value: int | None) -> str:
    """Bytes as a person reads them: KiB or MiB from 10 KiB on."""
    if value is None:
        return "unknown"
    if value < 10 << 10:
        return f"{value:,} bytes"
    return f"{value / (1 << 10):,.1f} KiB" if value < 1 << 20 else f"{value / (1 << 20):,.2f} MiB"


def finding(verdict: Verdict) -> str:
    """The verdict as one clause: ``psnr_db worst5 21.3 dB < 30 dB``, or why there is none."""
    subject = subject_of(verdict.budget, verdict.metric)
    if verdict.status in ("unverified", "inconclusive"):
        return f"{subject} {verdict.status}: {verdict.reason}"
    value, limit = figure(verdict.value, verdict.unit), figure(verdict.limit, verdict.unit)
    clause = f"{subject} {value} {sign(verdict.direction, verdict.status)} {limit}"
    return f"{clause} ({verdict.reason})" if verdict.reason else clause


def sign(direction: str, status: str) -> str:
    """The relation that holds between value and limit."""
    if status == "pass":
        return "≤" if direction == "max" else "≥"
    return ">" if direction == "max" else "<"


def subject_of(budget: str, metric: str) -> str:
    """``psnr_db worst5`` for a budget and the metric it was judged by; the budget alone where that says it all."""
    detail = metric.removeprefix(budget).removesuffix("_ms").strip("_")
    return budget if detail in ("", "min", "bytes") else f"{budget} {detail}"


def overshoot(verdict: Verdict) -> float:
    """How far the value lies beyond the limit, as a share of the limit; 0 inside it or where no value is known."""
    if verdict.value is None or math.isnan(verdict.value):
        return 0.0
    beyond = verdict.value - verdict.limit if verdict.direction == "max" else verdict.limit - verdict.value
    return max(0.0, beyond / abs(verdict.limit) if verdict.limit else beyond)


def headline(document: Mapping[str, Any]) -> str:
    """One sentence: what ships, or why nothing does."""
    target, chosen, closest = document["target"], document["chosen"], document.get("closest")
    if document.get("error"):
        return f"Nothing ships for {target}: {document['error']['what']}"
    if chosen:
        judged = [item for item in document["verdicts"] if item["required"]]
        what = "no budget is set" if not judged else f"it keeps all {len(judged)} required budgets"
        return f"{chosen['candidate']} ships for {target}: {what if len(judged) != 1 else 'it keeps its budget'}"
    required = [item for item in document["verdicts"] if item["required"]]
    failed = [item["budget"] for item in required if item["status"] == "fail"]
    unknown = [item["budget"] for item in required if item["status"] in ("unverified", "inconclusive")]
    if not closest:
        return f"Nothing ships for {target}: no candidate could be built"
    reasons = [f"fails {_listed(failed)}"] if failed else []
    reasons += [f"could not be judged by {_listed(unknown)}"] if unknown else []
    return (
        f"Nothing ships for {target}: the closest candidate, {closest}, {' and '.join(reasons) or 'was not measured'}"
    )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _significant(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1000:
        return f"{value:,.1f}"
    text = f"{value:.4g}"
    return text.replace("e-0", "e-")
