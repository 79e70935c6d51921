"""``trend.html``: one self-contained page of a history's figures over their runs, with the places where they moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from edgegen.bench.change_points import change_points
from edgegen.bench.gate_said import amount, percent
from edgegen.bench.history import History
from edgegen.bench.page import render_page
from edgegen.bench.regression import GATED, unit_of_metric
from edgegen.bench.runs import Run, figures_of, refuse_unknown

_LEAST_RATIO = 0.005  # of a change that is told: below it counts differ by their environment
_MOST_ROWS = 60
_NAMES = {
    "instructions": "Instructions",
    "size_bytes": "Size of the files",
    "peak_ram_bytes": "Peak RAM",
    "latency_p50_ms": "Latency, p50",
    "tg_instructions_per_token": "Instructions per token, written",
    "pp_instructions_per_token": "Instructions per token, read",
    "tg_tokens_per_s": "Tokens per second, written",
    "pp_tokens_per_s": "Tokens per second, read",
}


def trend_document(history: History, metrics: Sequence[str] = ()) -> dict[str, Any]:
    """What the page shows, JSON-ready: a series a project, target, machine and figure.

    Args:
        metrics: figures beside those that gates look at.

    Raises:
        UsageError: no run has one of ``metrics``.
    """
    refuse_unknown("--metric", metrics, figures_of(history.runs))
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in history.runs:
        groups.setdefault((run.name, run.target, run.fingerprint), []).append(run)
    wanted = (*GATED, *metrics)
    series = [
        found
        for runs in groups.values()
        for metric in wanted
        if (found := _series([run for run in runs if run.figure(metric) is not None], metric)) is not None
    ]
    # Machines of one target are told apart where there are several.
    places = Counter((item["metric"], item["project"], item["target"]) for item in series)
    for item in series:
        several = places[item["metric"], item["project"], item["target"]] > 1
        item["place"] = f"{item['target']} ({item['fingerprint'][:6]})" if several else item["target"]
    return {
        "schema_version": 1,
        "exit_code": 0,
        "runs": len(history.runs),
        "torn": history.torn,
        "series": series,
    }


def render_trend(document: Mapping[str, Any]) -> str:
    """The page of a document of ``trend_document``."""
    import markupsafe

    from edgegen.bench.trend_plot import trend_svg

    shown = []
    for number, series in enumerate(document["series"]):
        drawn: Any = {
            "salt": f"trend-{number}",
            "lower_is_better": series["better"] == "lower",
        }
        scale, axis = _scale(series)
        values = [point["value"] / scale for point in series["points"]]
        changes = change_points(values, least_ratio=_LEAST_RATIO)
        shown.append(
            {
                **series,
                "axis": axis,
                "rows": _rows(series)[:_MOST_ROWS],
                "left_out": max(0, len(series["points"]) - _MOST_ROWS),
                "plot_wide": markupsafe.Markup(trend_svg(values, changes, wide=True, **drawn)),
                "plot_narrow": markupsafe.Markup(trend_svg(values, changes, wide=False, **drawn)),
            }
        )
    return render_page("trend.html.jinja", document=document, series=shown)


def _scale(series: Mapping[str, Any]) -> tuple[float, str]:
    """What the plot's numbers are divided by, and the unit that they then have; none where the title says it."""
    high = max(point["value"] for point in series["points"])
    if series["unit"] == "bytes":
        return next(
            ((size, name) for size, name in ((1 << 20, "MiB"), (1 << 10, "KiB")) if high >= size), (1.0, "bytes")
        )
    return 1.0, "" if series["unit"] == "instructions" else series["unit"]


def _series(runs: Sequence[Run], metric: str) -> dict[str, Any] | None:
    if not runs:
        return None
    figures = [figure for run in runs if (figure := run.figure(metric)) is not None]
    unit = unit_of_metric(metric)
    values = [figure.value for figure in figures]
    changes = change_points(values, least_ratio=_LEAST_RATIO)
    better = figures[-1].better
    return {
        "title": _NAMES.get(metric, metric),
        "metric": metric,
        "project": runs[-1].name,
        "target": runs[-1].target,
        "core": runs[-1].core,
        "fingerprint": runs[-1].fingerprint,
        "kind": figures[-1].kind,
        "unit": unit,
        "better": better,
        "last": amount(values[-1], unit),
        "since_first": percent(values[-1] / values[0] - 1) if values[0] else "",
        "points": [
            {
                "when": run.when,
                "commit": run.commit,
                "dirty": run.dirty,
                "candidate": run.candidate,
                "version": run.version,
                "value": figure.value,
            }
            for run, figure in zip(runs, figures, strict=True)
        ],
        "changes": [
            {
                "run": change.place + 1,
                "when": runs[change.place].when,
                "day": runs[change.place].when[:10],
                "commit": runs[change.place].commit,
                "before": change.before,
                "after": change.after,
                "change": percent(change.ratio),
                "worse": (change.ratio > 0) == (better == "lower"),
                "said": _said(runs[change.place - 1], runs[change.place]),
            }
            for change in changes
        ],
    }


def _said(before: Run, after: Run) -> str:
    """What else differs between the runs on both sides of a change."""
    parts = []
    if before.candidate != after.candidate:
        parts.append(f"{before.candidate} before, {after.candidate} now")
    if before.version != after.version:
        parts.append(f"version {after.version}")
    tools = [name for name in after.tools if name in before.tools and before.tools[name] != after.tools[name]]
    if tools:
        parts.append(f"other {', '.join(tools[:4])}")
    if before.model_sha256 is not None and before.model_sha256 == after.model_sha256:
        parts.append("the same model file")
    return "; ".join(parts)


def _rows(series: Mapping[str, Any]) -> list[dict[str, str]]:
    """The latest runs, newest first."""
    moved = {change["run"]: change for change in series["changes"]}
    rows = []
    for number in range(len(series["points"]), 0, -1):
        point = series["points"][number - 1]
        change = moved.get(number)
        rows.append(
            {
                "number": str(number),
                "when": point["when"].replace("T", " ").removesuffix("Z"),
                "commit": point["commit"][:10] + (" +" if point["dirty"] else ""),
                "candidate": point["candidate"],
                "value": amount(point["value"], series["unit"]),
                "change": "" if change is None else change["change"],
                "worse": "yes" if change is not None and change["worse"] else "",
            }
        )
    return rows
