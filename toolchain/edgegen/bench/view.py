"""What each part of the report shows, as plain rows computed from a result document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgegen.bench.summary import verdicts_of
from edgegen.bench.wording import band, figure, sign, size, subject_of
from edgegen.core.results import Verdict
from edgegen.core.targets import INSTRUCTION_CLASSES
from edgegen.metrics.table import METRICS

Document = Mapping[str, Any]
Row = dict[str, Any]

_NAMES = {"elbo": "ELBO", "mse": "MSE", "ssim": "SSIM", "fid": "FID-like", "kid": "KID", "psnr_db": "PSNR"}
_MEANS = {
    "elbo": "evidence lower bound, nats per sample; higher is better",
    "mse": "reconstruction error; lower is better",
    "ssim": "structural similarity of reconstructions; 1 is equal",
}
_MEMORY = {
    "size_bytes": ("model file", "exact"),
    "peak_ram_bytes": ("peak RAM of the whole process", "counted"),
    "arena_bytes": ("tensor arena", "exact"),
    "flash_bytes": ("flash", "exact"),
    "stack_bytes": ("stack", "exact"),
}


def verdict_rows(document: Document) -> list[Row]:
    """Each verdict with a bar: the value as a share of the scale, the limit as a mark on it."""
    return [_verdict_row(item) for item in verdicts_of(document)]


def _verdict_row(item: Verdict) -> Row:
    scale = 1.25 * max(abs(item.limit), abs(item.value or 0.0), 1e-30)
    as_bytes = item.unit == "bytes"
    return {
        "budget": subject_of(item.budget, item.metric),
        "kind": item.kind,
        "status": item.status,
        "required": item.required,
        "reason": item.reason,
        "value": size(int(item.value)) if as_bytes and item.value is not None else figure(item.value, item.unit),
        "limit": size(int(item.limit)) if as_bytes else figure(item.limit, item.unit),
        "relation": sign(item.direction, "pass"),
        "value_share": None if item.value is None else round(100 * max(0.0, item.value) / scale, 2),
        "limit_share": round(100 * max(0.0, item.limit) / scale, 2),
        "at_least": item.direction == "min",
    }


def candidate_rows(document: Document) -> list[Row]:
    """Every candidate, numbered; those that ran first, cheapest first."""
    return [
        {
            "number": number,
            "name": item["name"],
            "status": item["status"],
            "why": item["why_rejected"],
            "alarms": item["alarms"],
            "size": size(item["size_bytes"]) if item["size_bytes"] is not None else "",
            "instructions": figure(item["counted"]["instructions"]) if item["counted"] else "",
            "predicted": _predicted(item["predicted"]),
            "measured": f"{figure(item['measured']['p50_ms'])} ms" if item["measured"] else "",
            "psnr": _paired(item, "psnr_db_mean", "dB"),
            "psnr_worst": _paired(item, "psnr_db_worst5", "dB"),
            "peak_ram": size(item["peak_ram_bytes"]) if item["peak_ram_bytes"] is not None else "",
        }
        for number, item in numbered(document)
    ]


def class_rows(document: Document) -> Row | None:
    """Instructions by class as shares of the dearest candidate, one stacked bar a candidate."""
    counted = [(number, item) for number, item in numbered(document) if item["counted"]]
    if not counted:
        return None
    most = max(item["counted"]["instructions"] for _, item in counted) or 1
    bars = []
    for number, item in counted:
        parts, left = [], 0.0
        for name in INSTRUCTION_CLASSES:
            count = item["counted"]["by_class"].get(name, 0)
            width = 100 * count / most
            if count:
                share = 100 * count / (item["counted"]["instructions"] or 1)
                text = f"{name}: {count:,} ({share:.1f} %)"
                parts.append({"name": name, "left": round(left, 3), "width": round(width, 3), "text": text})
            left += width
        total = figure(item["counted"]["instructions"])
        bars.append({"number": number, "name": item["name"], "status": item["status"], "parts": parts, "total": total})
    used = {part["name"] for bar in bars for part in bar["parts"]}
    return {"bars": bars, "classes": [name for name in INSTRUCTION_CLASSES if name in used]}


def operator_rows(document: Document, most: int = 12) -> list[Row]:
    """The dearest operators of the candidate that the verdicts are about."""
    shown = _shown(document)
    counted = shown["counted"] if shown else None
    if not counted or not counted["per_operator"]:
        return []
    total = counted["instructions"] or 1
    dearest = sorted(counted["per_operator"], key=lambda item: -int(item["instructions"]))
    return [
        {
            "name": item["name"],
            "operator": item["operator"],
            "instructions": figure(item["instructions"]),
            "share": round(100 * item["instructions"] / total, 1),
        }
        for item in dearest[:most]
    ]


def latency_rows(document: Document) -> list[Row]:
    """The three kinds of latency of the shown candidate, each labelled, each said to be missing where it is."""
    shown = _shown(document) or {}
    counted, predicted, measured = (shown.get(kind) for kind in ("counted", "predicted", "measured"))
    return [
        {
            "kind": "measured",
            "value": f"{figure(measured['p50_ms'])} ms" if measured else None,
            "detail": f"median of {measured['runs']} runs on {measured['device']}; "
            f"p90 {figure(measured['p90_ms'])} ms, p99 {figure(measured['p99_ms'])} ms"
            if measured
            else "not measured: no device was given",
        },
        {
            "kind": "counted",
            "value": f"{figure(counted['instructions'])} instructions" if counted else None,
            "detail": f"fewest of the warm runs (median {figure(counted['instructions_median'])}); "
            f"{size(counted['bytes_loaded'])} loaded, {size(counted['bytes_stored'])} stored"
            if counted
            else "not counted: nothing ran under emulation",
        },
        {
            "kind": "predicted",
            "value": band(predicted["low_ms"], predicted["high_ms"]) if predicted else None,
            "detail": f"{predicted['model']}; {_origin(predicted)}" if predicted else "no cost model, or no counts",
        },
    ]


def memory_rows(document: Document) -> list[Row]:
    """Known memory figures of the chosen candidate."""
    known = document["memory"]
    measured = not (document["latency"] or {}).get("counted")
    rows = []
    for key, (name, kind) in _MEMORY.items():
        if known.get(key) is not None:
            labelled = "measured" if key == "peak_ram_bytes" and measured else kind
            rows.append({"name": name, "kind": labelled, "value": size(known[key])})
    return rows


def quality_rows(document: Document) -> list[Row]:
    """Parts of the shown candidate's quality, each with its figures."""
    shown = _shown(document)
    quality = (shown["quality"] if shown else None) or {}
    titles = {
        "paired": "Against the float model, same inputs",
        "task": "What a classifier makes of it",
        "cross_isa": "Target's kernels against this host's",
    }
    return [
        {
            "title": titles.get(part, part),
            "figures": [(key, _quality_figure(key, value)) for key, value in found.items()],
        }
        for part, found in quality.items()
        if found
    ]


def training_rows(document: Document) -> Row | None:
    """Evaluation of the trained model beside the floor that the same figures have between two seeds or real halves."""
    training = document.get("training")
    if not training or not training.get("values"):
        return None
    floor = training.get("noise_floor") or {}
    rows = [
        {
            "name": _NAMES.get(name, name),
            "value": figure(value),
            "floor": figure(floor[name]) if floor.get(name) is not None else "",
            "means": _MEANS.get(name) or (METRICS[name].doc if name in METRICS else ""),
        }
        for name, value in training["values"].items()
    ]
    return {"rows": rows, "samples": training.get("samples"), "has_floor": any(row["floor"] for row in rows)}


def change_rows(document: Document) -> list[Row]:
    """What each candidate's last pass changed."""
    return [
        {"number": number, "name": item["name"], "changed": item["changed"]}
        for number, item in numbered(document)
        if item["changed"]
    ]


def provenance_rows(document: Document) -> list[tuple[str, str]]:
    """Digests, versions and seeds, flattened to ``a.b`` names."""
    rows = [(name, str(value)) for name, value in _flat(document["environment"])]
    shown = _shown(document)
    if shown and shown.get("sha256"):
        rows.insert(0, ("model file", f"sha256:{shown['sha256']}"))
    if document["chosen"] and document["chosen"]["bundle_digest"]:
        rows.insert(0, ("bundle", document["chosen"]["bundle_digest"]))
    return rows


def numbered(document: Document) -> list[tuple[int, Mapping[str, Any]]]:
    """Candidates with the numbers that the whole page calls them by: those that ran first, cheapest first."""

    def order(item: Mapping[str, Any]) -> tuple[bool, bool, float, str]:
        counted = item["counted"]
        cost = counted["instructions"] if counted else item["size_bytes"] or 0
        return item["status"] in ("not built", "failed", "unmeasured"), not counted, cost, item["name"]

    return list(enumerate(sorted(document["candidates"], key=order), start=1))


def _shown(document: Document) -> Mapping[str, Any] | None:
    name = document["chosen"]["candidate"] if document["chosen"] else document.get("closest")
    return next((item for item in document["candidates"] if item["name"] == name), None)


def _paired(item: Mapping[str, Any], key: str, unit: str) -> str:
    value = (item["quality"] or {}).get("paired", {}).get(key)
    if value is None:
        return ""
    return "identical" if value >= 150 else f"{value:.1f} {unit}"


def _predicted(predicted: Mapping[str, Any] | None) -> str:
    return band(predicted["low_ms"], predicted["high_ms"]) if predicted else ""


def _origin(predicted: Mapping[str, Any]) -> str:
    return "never fitted to a device" if predicted["origin"] == "uncalibrated" else f"fitted on {predicted['origin']}"


def _quality_figure(key: str, value: float | None) -> str:
    name = next((name for name in METRICS if key.startswith(name)), None)
    unit = METRICS[name].unit if name else ""
    return figure(value, "" if unit == "ratio" else unit)


def _flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [row for key, item in value.items() for row in _flat(item, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, list):
        return [(prefix, ", ".join(map(str, value)))]
    return [(prefix, value)]
