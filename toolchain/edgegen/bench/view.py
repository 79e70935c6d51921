"""What each part of the report shows, as plain rows computed from a result document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from edgegen.bench.choose import PARENT
from edgegen.bench.summary import verdicts_of
from edgegen.bench.wording import (
    CLASSES,
    QUALITY_PARTS,
    apart,
    band,
    budget_name,
    closeness,
    energy_check,
    figure,
    grouped,
    joule_band,
    joules,
    judged_limit,
    judged_value,
    known_value,
    meaning,
    named,
    predicted_band,
    shown_candidate,
    size,
    unit_of,
)
from edgegen.core.results import Verdict
from edgegen.core.targets import INSTRUCTION_CLASSES

Document = Mapping[str, Any]
Row = dict[str, Any]

_PROCESS = "peak of the whole inference process (runtime included)"
_MEMORY = {
    "size_bytes": ("model file", "exact", ""),
    "peak_ram_bytes": ("peak RAM", "counted", f"{_PROCESS}, counted in the guest"),
    "arena_bytes": ("tensor arena", "exact", ""),
    "flash_bytes": ("flash", "exact", "of the whole firmware"),
    "stack_bytes": ("stack", "counted", "high water, by painting"),
}
_OPERATORS = 12  # shown at most
_SPREAD = ("psnr_db", "sqnr_db", "cosine")  # figures whose spread over calibration draws is shown


def verdict_rows(document: Document) -> list[Row]:
    """Each verdict with a bar: the value as a share of the scale, the limit as a mark on it."""
    return [_verdict_row(document, item) for item in verdicts_of(document)]


def _verdict_row(document: Document, item: Verdict) -> Row:
    predicted = predicted_band(document, item)
    values = list(predicted) if predicted else [item.value or 0.0]
    scale = 1.25 * max(abs(item.limit), *map(abs, values), 1e-30)
    shares = [round(100 * max(0.0, value) / scale, 2) for value in (item.limit, *values)]
    return {
        "budget": budget_name(item) + (" (the profile's own)" if item.origin == "profile" else ""),
        "kind": item.kind,
        "status": item.status,
        "required": item.required,
        "reason": item.reason,
        "value": judged_value(document, item),
        "limit": judged_limit(item),
        "known": item.value is not None,
        "from": shares[1] if predicted else 0,
        "to": shares[-1],
        "limit_share": shares[0],
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
            "closeness": closeness(item, "mean"),
            "closeness_worst": closeness(item, "worst5"),
            "known": known_value(item),
            "peak_ram": size(item["peak_ram_bytes"]) if item["peak_ram_bytes"] is not None else "",
        }
        for number, item in numbered(document)
    ]


def class_rows(document: Document) -> Row | None:
    """Instructions by class as shares of the dearest candidate, one stacked bar a candidate."""
    counted = [(number, item) for number, item in numbered(document) if item["counted"] and item["counted"]["by_class"]]
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
    return {"bars": bars, "classes": [(name, CLASSES.get(name, name)) for name in INSTRUCTION_CLASSES if name in used]}


def operator_rows(document: Document) -> Row | None:
    """The dearest operators of the shown candidate, or of the nearest one that was counted by operator."""
    shown = shown_candidate(document)
    if not shown or not shown["counted"]:
        return None
    item = _by_operator(document, shown)
    if item is None:
        return {"rows": [], "of": "", "own": False, "runtime": shown["runtime"]}
    counted = item["counted"]
    total = counted["instructions"] or 1
    dearest = sorted(counted["per_operator"], key=lambda one: -int(one["instructions"]))
    parts = [(one["operator"], one["name"], one["instructions"], one.get("roof_ratio")) for one in dearest[:_OPERATORS]]
    rest = dearest[_OPERATORS:]
    if rest:
        parts.append((f"{len(rest)} others", "", sum(one["instructions"] for one in rest), None))
    unexplained = round(100 * (counted["unexplained_ratio"] or 0.0), 1)
    return {
        "rows": [
            {
                "operator": kind,
                "name": name,
                "instructions": figure(count),
                "share": round(100 * count / total, 1),
                "roof": "" if roof is None else f"{100 * roof:.0f} %",
            }
            for kind, name, count, roof in parts
        ],
        "roofs": any(roof is not None for *_, roof in parts),
        "of": item["name"],
        "own": item is shown,
        "same_recipe": item["recipe"] == shown["recipe"],
        "total": figure(counted["instructions"]),
        "times": f"{total / (shown['counted']['instructions'] or 1):.2f}",
        "unexplained": unexplained,
        "outside": figure(total - sum(one["instructions"] for one in dearest)),
        "runtime": shown["runtime"],
    }


def _by_operator(document: Document, shown: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The candidate itself where it was counted by operator, else one of its recipe, else the float model."""
    counted = [item for item in document["candidates"] if item["counted"] and item["counted"]["per_operator"]]
    near = [item for item in counted if item is shown or item["recipe"] in (shown["recipe"], PARENT)]
    return min(near, key=lambda item: (item is not shown, item["recipe"] != shown["recipe"]), default=None)


def latency_rows(document: Document) -> list[Row]:
    """The three kinds of latency of the shown candidate, each labelled, each said to be missing where it is."""
    shown = shown_candidate(document) or {}
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
            "detail": f"fewest of the warm runs (median {figure(counted['instructions_median'])})" + _moved(counted)
            if counted
            else "not counted: nothing ran under emulation",
        },
        {
            "kind": "predicted",
            "value": band(predicted["low_ms"], predicted["high_ms"]) if predicted else None,
            "detail": f"{predicted['model']}; {_origin(predicted)}" if predicted else "no cost model, or no counts",
        },
    ]


def energy_rows(document: Document) -> list[Row]:
    """Energy of an inference of the shown candidate: measured first, the predicted one as a check of it. None where
    neither is known.
    """
    shown = shown_candidate(document) or {}
    clock, latency = shown.get("measured") or {}, shown.get("predicted") or {}
    predicted = latency.get("energy")
    measured, interval = clock.get("joules"), clock.get("joules_interval")
    rows = []
    if measured is not None:
        said = f"by a meter in the supply of {clock['device']}"
        if interval:
            said += f"; {joules(interval[0])} to {joules(interval[1])} with 95 % confidence"
        rows.append({"kind": "measured", "value": joules(measured), "detail": said})
    if predicted:
        low, high = predicted["low_j"], predicted["high_j"]
        check = "never measured" if measured is None else energy_check(measured, low, high)
        said = f"{check}; {predicted['model']}; milliseconds {_origin(latency)}; watts from {predicted['origin']}"
        rows.append({"kind": "predicted", "value": joule_band(low, high), "detail": said})
    return rows


def _moved(counted: Mapping[str, Any]) -> str:
    loaded, stored = counted["bytes_loaded"], counted["bytes_stored"]
    return "" if loaded is None or stored is None else f"; {size(loaded)} loaded, {size(stored)} stored"


def memory_rows(document: Document) -> list[Row]:
    """Known memory figures of the chosen candidate."""
    known = document["memory"]
    on_device = not (document["latency"] or {}).get("counted")
    rows = []
    for key, (name, kind, means) in _MEMORY.items():
        if known.get(key) is not None:
            row = {"metric": key, "name": name, "kind": kind, "value": size(known[key]), "means": means}
            if key == "peak_ram_bytes" and on_device:
                row |= {"kind": "measured", "means": f"{_PROCESS}, as the device reports it"}
            if key == "size_bytes" and known.get("flash_bytes") is not None:
                row |= {"name": "model in flash", "means": "code and constants that it adds to a firmware"}
            if key == "peak_ram_bytes" and known.get("flash_bytes") is not None:
                row |= {"means": "data, arena, blocks and the painted stack of the firmware"}
            rows.append(row)
    return rows


def quality_rows(document: Document) -> list[Row]:
    """Parts of the shown candidate's quality: each figure as the mean over the samples and over the worst of them."""
    quality = (shown_candidate(document) or {}).get("quality") or {}
    parts = []
    for part, found in quality.items():
        figures: dict[str, Row] = {}
        for key, value in found.items():
            name = _metric(key)
            empty = dict.fromkeys(("mean", "worst5", "whole"), "")
            row = figures.setdefault(name, {"name": named(name), "means": meaning(name, part), **empty})
            # Whether the class is the same is yes or no for each sample, so the worst of them say nothing.
            if key != "top1_agreement_ratio_worst5":
                row[key[len(name) + 1 :] or "whole"] = figure(value, unit_of(name))
        if figures:
            parts.append({"title": QUALITY_PARTS.get(part, named(part)), "rows": list(figures.values())})
    return parts


def training_rows(document: Document) -> Row | None:
    """The trained model's own figures, each with its doubt and beside what it has to be compared with."""
    training = document.get("training") or {}
    columns = {"real": "real data", "draws": "between draws", "seeds": "between trainings", "baseline": "simple model"}
    parts: dict[str, list[Row]] = {}
    present: set[str] = set()
    for item in training.get("figures") or ():
        unit = item["unit"]
        row = {"name": named(item["name"]), "value": figure(item["value"], unit), "means": _means(item)}
        row["interval"] = _interval(item)
        row["real"] = "" if item["real"] is None else figure(item["real"], unit)
        row["draws"] = "" if item["draws"] is None else apart(item["draws"])
        row["seeds"] = "" if item["seeds"] is None else apart(item["seeds"])
        simple = item["baseline"]
        row["baseline"] = "" if simple is None else figure(simple["value"], unit)
        row["baseline_name"] = "" if simple is None else f"{simple['name']}, {size(simple['bytes'])}"
        present |= {key for key in columns if row[key]}
        parts.setdefault(item["group"], []).append(row)
    if not parts:
        return None
    return {
        "parts": [{"title": title, "rows": rows} for title, rows in parts.items()],
        "columns": {key: title for key, title in columns.items() if key in present},
        "samples": training["samples"],
        "notes": training.get("notes") or [],
        "sample_text": training.get("sample_text") or "",
        "confusion": confusion_rows(training.get("confusion")),
        "data": training.get("data"),
    }


def calibration_rows(document: Document) -> Row | None:
    """What quantization looked at, and how far each candidate's figures lie apart over other draws."""
    calibration = document.get("calibration")
    if not calibration:
        return None
    rows = []
    for number, item in numbered(document):
        found = calibration["spread"].get(item["name"])
        if found is None:
            continue
        figures = [
            {"name": _spelt(key), "text": f"{figure(ends['low'])} to {figure(ends['high'], unit_of(_metric(key)))}"}
            for key, ends in found["figures"].items()
            if _metric(key) in _SPREAD and ends["low"] is not None and ends["high"] is not None
        ]
        rows.append({"number": number, "name": item["name"], "figures": figures, "failed": found["failed"]})
    chosen = calibration["set"]
    return {
        "inputs": calibration["inputs"],
        "of": chosen and (chosen.get("of") or f"samples of the training part ({chosen['name']})"),
        "sha256": chosen["sha256"] if chosen else "",
        "findings": [item["said"] for item in chosen["findings"]] if chosen else [],
        "draws": calibration["draws"],
        "rows": rows,
    }


def confusion_rows(confusion: Mapping[str, Any] | None) -> Row | None:
    """The confusion matrix as rows of cells, each with its share of its row's samples, for shading."""
    if not confusion:
        return None
    rows = []
    for name, counts in zip(confusion["classes"], confusion["counts"], strict=True):
        total = sum(counts) or 1
        rows.append({"name": name, "cells": [{"count": count, "share": count / total} for count in counts]})
    return {"classes": confusion["classes"], "rows": rows}


def _metric(key: str) -> str:
    return re.sub("_(mean|worst5)$", "", key)


def _spelt(key: str) -> str:
    return f"{named(_metric(key))}, {'worst 5 %' if key.endswith('worst5') else 'mean'}"


def _means(item: Mapping[str, Any]) -> str:
    better = {"higher": "; higher is better", "lower": "; lower is better", "": ""}[item["better"]]
    return f"{item['doc']}{better}"


def _interval(item: Mapping[str, Any]) -> str:
    if item["low"] is None or item["high"] is None:
        return ""
    return f"{figure(item['low'])} to {figure(item['high'])}"


def change_rows(document: Document) -> list[Row]:
    """What each pass of each candidate changed."""
    return [
        {
            "number": number,
            "name": item["name"],
            "passes": [
                {"step": done["step"], "changed": [grouped(text) for text in done["changed"]]}
                for done in item["passes"]
            ],
        }
        for number, item in numbered(document)
        if any(done["changed"] for done in item["passes"])
    ]


def provenance_rows(document: Document) -> list[tuple[str, str]]:
    """Digests, versions and seeds, flattened to ``a.b`` names."""
    rows = [(name, str(value)) for name, value in _flat(document["environment"])]
    shown = shown_candidate(document)
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


def _predicted(predicted: Mapping[str, Any] | None) -> str:
    return band(predicted["low_ms"], predicted["high_ms"]) if predicted else ""


def _origin(predicted: Mapping[str, Any]) -> str:
    return "never fitted to a device" if predicted["origin"] == "uncalibrated" else f"fitted on {predicted['origin']}"


def _flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [row for key, item in value.items() for row in _flat(item, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, list):
        return [(prefix, ", ".join(map(str, value)))]
    return [(prefix, value)]
