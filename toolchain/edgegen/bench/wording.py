"""How figures and verdicts are put into words: one wording for the terminal, the summary and the report."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from edgegen.core.results import Verdict
from edgegen.metrics.table import METRICS

_NAMES = {
    "psnr_db": "PSNR",
    "sqnr_db": "SQNR",
    "ssim": "SSIM",
    "mse": "MSE",
    "fid": "FID-like",
    "kid": "KID",
    "elbo": "ELBO",
    "kl_nats": "KL",
    "reconstruction_nats": "reconstruction",
    "max_abs_error": "greatest error",
    "max_abs_difference": "greatest difference",
    "top1_agreement_ratio": "same class",
    "kl_divergence": "KL divergence",
    "auc_ratio": "AUC",
    "r2": "R²",
    "rmse": "RMSE",
    "peak_ram": "peak RAM",
}
CLASSES = {
    "fma": "float multiply-add",
    "dot": "8-bit dot product",
    "mmla": "matrix multiply",
    "mlal": "integer SIMD multiply-add",
    "simd": "other SIMD and float",
    "load_store": "load and store",
    "branch": "branch",
    "integer": "integer, addresses",
}
QUALITY_PARTS = {
    "paired": "Against the float model, same inputs",
    "known": "Against what is true of held-out samples",
    "expected": "Against the outputs that were given with the samples",
    "task": "The classes that follow from it, against the float model's",
    "cross_isa": "The target's kernels against this host's, same model",
}
_JOULES = (("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6), ("nJ", 1e-9))
_ACROSS = {
    "max_abs_difference": "of any value of any sample between the two",
    "psnr_db": "peak signal-to-noise ratio between the two; 150 where both are identical",
    "sqnr_db": "power of the outputs over that of the difference; 150 where both are identical",
}


def meaning(name: str, part: str) -> str:
    """One clause on what a figure says; empty where nothing is known of it."""
    known = _ACROSS if part == "cross_isa" else {}
    return known.get(name) or (METRICS[name].doc if name in METRICS else "")


def unit_of(name: str) -> str:
    """The unit that stands behind a figure; none for ratios and for figures in units of the model's output."""
    if name.endswith("_nats") or name == "elbo":
        return "nats"
    unit = METRICS[name].unit if name in METRICS else ""
    return unit if unit in ("dB", "nats") else ""


def grouped(text: str) -> str:
    """``bytes 308,145 → 93,680`` for ``bytes 308145 -> 93680``."""
    counts = re.sub(r"(?<![\w.,])\d{4,}(?![\w.,]*\w)", lambda found: f"{int(found[0]):,}", text)
    return counts.replace(" -> ", " → ")


def named(key: str) -> str:
    """What a person calls a figure: ``PSNR`` for ``psnr_db``."""
    return _NAMES.get(key) or key.removesuffix("_nats").removesuffix("_ratio").replace("_", " ")


def budget_name(verdict: Verdict) -> str:
    """What a person calls what was judged: ``PSNR, worst 5 %``. The kind stands beside it, so it is not repeated."""
    detail = subject_of(verdict.budget, verdict.metric).removeprefix(verdict.budget).strip()
    detail = {"worst5": "worst 5 %", verdict.kind: ""}.get(detail, detail)
    return f"{named(verdict.budget)}, {detail}" if detail else named(verdict.budget)


def figure(value: float | None, unit: str = "") -> str:
    """A number as a person reads it: whole numbers grouped, others to four significant digits, the unit behind."""
    if value is None:
        return "unknown"
    if unit == "J":
        return joules(value)
    text = f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else _significant(value)
    # The budget's own name says "instructions"; repeating it as a unit only makes the sentence longer.
    return f"{text} {unit}" if unit and unit != "instructions" else text


def band(low_ms: float, high_ms: float) -> str:
    """A predicted latency as a person reads it: its band, to two digits, for it has no more."""
    return _band(low_ms, high_ms, "ms")


def joules(value: float) -> str:
    """Energy as a person reads it: ``2.41 mJ``."""
    unit, scale = _joule_unit(value)
    return f"{figure(value / scale)} {unit}"


def joule_band(low_j: float, high_j: float) -> str:
    """A predicted energy as a person reads it: as ``band``."""
    unit, scale = _joule_unit(high_j)
    return _band(low_j / scale, high_j / scale, unit)


def energy_check(measured_j: float, low_j: float, high_j: float) -> str:
    """What a measured energy says of the predicted band: ``inside its band``."""
    if low_j <= measured_j <= high_j:
        return "the measured energy is inside its band"
    return f"the measured energy is {'below' if measured_j < low_j else 'above'} its band: trust the measured one"


def apart(value: float) -> str:
    """How far figures lie apart: to two digits, for it is known to no more."""
    return f"{value:#.2g}".removesuffix(".") if value < 99.5 else f"{value:,.0f}"


def closeness_name(candidates: Iterable[Mapping[str, Any]]) -> str:
    """The ratio in dB that tells how close candidates come to the float model: of pixels PSNR, of others SQNR."""
    return named(_closeness_key(candidates))


def closeness(candidate: Mapping[str, Any], statistic: str) -> str:
    """That ratio of one candidate; empty where it was not measured."""
    value = (candidate["quality"] or {}).get("paired", {}).get(f"{_closeness_key([candidate])}_{statistic}")
    if value is None:
        return ""
    return "identical" if value >= 150 else f"{value:.1f} dB"


def known_name(candidates: Iterable[Mapping[str, Any]]) -> str:
    """The first figure against what is true, as a person calls it; empty where nothing is known to be true."""
    return next((named(name) for item in candidates for name in _known(item)), "")


def known_value(candidate: Mapping[str, Any]) -> str:
    """That figure of one candidate; empty where it was not measured."""
    return next((figure(value) for value in _known(candidate).values()), "")


def _closeness_key(candidates: Iterable[Mapping[str, Any]]) -> str:
    paired = [(item["quality"] or {}).get("paired", {}) for item in candidates]
    return "sqnr_db" if any(paired) and not any("psnr_db_mean" in found for found in paired) else "psnr_db"


def _known(candidate: Mapping[str, Any]) -> dict[str, float]:
    found = (candidate["quality"] or {}).get("known", {})
    return {key.removesuffix("_mean"): value for key, value in found.items()}


def size(value: int | None) -> str:
    """Bytes as a person reads them: KiB or MiB from 10 KiB on."""
    if value is None:
        return "unknown"
    if value < 10 << 10:
        return f"{value:,} bytes"
    return f"{value / (1 << 10):,.1f} KiB" if value < 1 << 20 else f"{value / (1 << 20):,.2f} MiB"


def judged_value(document: Mapping[str, Any], verdict: Verdict) -> str:
    """The judged figure; of a prediction its band, for the figure in its middle says more than is known."""
    found = predicted_band(document, verdict)
    if found is None:
        return _amount(verdict.value, verdict.unit)
    return joule_band(*found) if verdict.unit == "J" else band(*found)


def predicted_band(document: Mapping[str, Any], verdict: Verdict) -> tuple[float, float] | None:
    """The band of the prediction that a verdict is about, in its unit; None where it is about none."""
    predicted = (shown_candidate(document) or {}).get("predicted")
    if verdict.kind != "predicted" or not predicted:
        return None
    if verdict.unit != "J":
        return predicted["low_ms"], predicted["high_ms"]
    energy = predicted.get("energy")
    return (energy["low_j"], energy["high_j"]) if energy else None


def judged_limit(verdict: Verdict) -> str:
    """The limit with the relation that a value within it has to it: ``≤ 390.6 KiB``."""
    return f"{sign(verdict.direction, 'pass')} {_amount(verdict.limit, verdict.unit)}"


def shown_candidate(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The candidate that the verdicts are about: the chosen one, else the closest."""
    name = document["chosen"]["candidate"] if document["chosen"] else document.get("closest")
    return next((item for item in document["candidates"] if item["name"] == name), None)


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
    detail = metric.removeprefix(budget).removesuffix("_ms").removesuffix("_joules").strip("_")
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


def _band(low: float, high: float, unit: str) -> str:
    if high >= 99.5:
        return f"{low:,.0f} to {high:,.0f} {unit}"
    first, last = (f"{value:#.2g}".removesuffix(".") for value in (low, high))
    return f"{first} to {last} {unit}"


def _joule_unit(value: float) -> tuple[str, float]:
    """The greatest unit in which the value is not below 1, and what it is in joules."""
    return next(((unit, scale) for unit, scale in _JOULES if abs(value) >= scale), _JOULES[-1])


def _amount(value: float | None, unit: str) -> str:
    return size(int(value)) if unit == "bytes" and value is not None else figure(value, unit)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _significant(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1000:
        return f"{value:,.1f}"
    text = f"{value:.4g}"
    return text.replace("e-0", "e-")
