"""Which points and limits the plot of cost against quality shows, from a result document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgegen.bench.view import Document, Row, numbered
from edgegen.bench.wording import named
from edgegen.metrics.table import METRICS


def pareto_points(document: Document) -> Row | None:
    """Points and axes of the plot by the best figures there are; None where fewer than two candidates have them."""
    axes = [
        (
            "instructions per inference (counted)",
            _instructions,
            "instructions",
        ),
        ("median latency in ms (measured)", _median_ms, "latency"),
        ("size in bytes (exact)", _size_bytes, "size"),
    ]
    key, label, budget = _quality_axis(document)
    for title, cost_of, cost_budget in axes:
        points = []
        for number, item in numbered(document):
            cost, quality = cost_of(item), _any_part(item, key)
            if cost is not None and quality is not None:
                kind = item["status"] if item["status"] in ("chosen", "eligible") else "rejected"
                points.append(
                    {
                        "number": number,
                        "name": item["name"],
                        "cost": cost,
                        "quality": quality,
                        "size_bytes": item["size_bytes"] or 0,
                        "kind": kind,
                    }
                )
        if len(points) > 1:
            return {
                "points": points,
                "left_out": len(document["candidates"]) - len(points),
                "axes": {
                    "cost": title,
                    "quality": label,
                    "cost_limit": _limit(document, cost_budget, "max"),
                    "quality_limit": _limit(document, budget, "min"),
                    "capped": key.startswith(("psnr_db", "sqnr_db")),
                },
            }
    return None


def _quality_axis(document: Document) -> tuple[str, str, str]:
    """Metric, label and budget of the vertical axis.

    PSNR as its budget takes it; else what is known to be true; else SQNR; else agreement of the first class.
    """
    keys = {key for item in document["candidates"] for part in (item["quality"] or {}).values() for key in part}
    if "psnr_db_mean" in keys:
        budgeted = [item["metric"] for item in document["verdicts"] if item["budget"] == "psnr_db"]
        key = budgeted[0] if budgeted and budgeted[0] in keys else "psnr_db_mean"
        worst = "worst 5 % of samples" if key.endswith("worst5") else "mean"
        return key, f"PSNR against float in dB ({worst})", "psnr_db"
    known = next((key for item in document["candidates"] for key in (item["quality"] or {}).get("known", {})), None)
    if known is not None:
        name = known.removesuffix("_mean")
        lower = ", lower is better" if METRICS[name].better == "lower" else ""
        return known, f"{named(name)} on held-out samples{lower}", name
    if "sqnr_db_mean" in keys:
        return "sqnr_db_mean", "SQNR against float in dB (mean)", "sqnr_db"
    key = "top1_agreement_ratio_mean" if "top1_agreement_ratio_mean" in keys else "top1_agreement_ratio"
    return key, "agreement with float (ratio)", "top1_agreement_ratio"


def _instructions(item: Mapping[str, Any]) -> float | None:
    return item["counted"]["instructions"] if item["counted"] else None


def _median_ms(item: Mapping[str, Any]) -> float | None:
    return item["measured"]["p50_ms"] if item["measured"] else None


def _size_bytes(item: Mapping[str, Any]) -> float | None:
    size_bytes: float | None = item["size_bytes"]
    return size_bytes


def _any_part(item: Mapping[str, Any], key: str) -> float | None:
    quality = item["quality"] or {}
    return next((quality[part][key] for part in ("paired", "task", "known") if key in quality.get(part, {})), None)


def _limit(document: Document, budget: str, direction: str) -> float | None:
    return next(
        (item["limit"] for item in document["verdicts"] if item["budget"] == budget and item["direction"] == direction),
        None,
    )
