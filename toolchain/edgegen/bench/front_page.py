"""``front.html``: the front as one self-contained page. No script, no request, no clock of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgegen.bench.front import COSTS, Objective
from edgegen.bench.page import render_page
from edgegen.bench.wording import figure, named, size, unit_of
from edgegen.core.records import read_record

if TYPE_CHECKING:
    from markupsafe import Markup

_COST_TITLES = {
    "instructions": "instructions (counted)",
    "bytes_moved": "bytes moved (counted)",
    "latency": "median latency (measured)",
    "size": "size of the file (exact)",
    "peak_ram": "peak RAM",
    "flash": "flash of the firmware (exact)",
    "arena": "arena (exact)",
}


def render_front(document: Mapping[str, Any]) -> str:
    """The page for a ``front.json``, as ``front_document.front_document`` gives it."""
    from edgegen.bench.report import breakable

    objectives, rows = objectives_of(document), point_rows(document)
    return render_page(
        "front.html.jinja",
        {"breakable": breakable},
        document=document,
        columns=[column_title(objective) for objective in objectives],
        rows=rows,
        presets=[row for row in rows if not row["on_front"]],
        plots=_plots(document, objectives),
        reference=[
            (column_title(objective), shown_value(objective, objective.worst))
            for objective in objectives
            if objective.name != "task"
        ],
        ended=[item for item in document["trials"] if item["status"] != "complete"],
        statuses=_statuses(document),
    )


def objectives_of(document: Mapping[str, Any]) -> list[Objective]:
    """The objectives, as the document holds them."""
    return [read_record(Objective, item, "objectives", "front.json") for item in document["objectives"]]


def column_title(objective: Objective) -> str:
    """What a person calls an objective."""
    if objective.name in COSTS:
        return {"latency": "median latency", "peak_ram": "peak RAM"}.get(objective.name, named(objective.name))
    metric, _, statistic = objective.figure.rpartition("_")
    return named(metric) if statistic == "mean" else f"{named(metric)}, worst 5 %"


def shown_value(objective: Objective, value: float | None) -> str:
    """A figure of an objective as a person reads it; empty where it is not known."""
    if value is None:
        return ""
    if objective.figure.endswith("_bytes"):
        return size(round(value))
    if objective.name == "latency":
        return f"{figure(value)} ms"
    if objective.name in COSTS:
        return figure(round(value))
    if "_db_" in objective.figure and value >= 150:
        return "identical"
    return figure(value, unit_of(objective.figure.rpartition("_")[0]))


def point_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The front's points and the plain presets: by the test part's figures where they are known."""
    objectives = objectives_of(document)
    rows = []
    for point in document["points"]:
        figures = point["test"] or (None if document["final"] else point["search"])
        rows.append(
            {
                **{key: point[key] for key in ("name", "recipe", "format", "preset", "on_front", "beaten_by")},
                "why": point["why_not_measured"],
                "values": [shown_value(objective, objective.value(figures or {})) for objective in objectives],
                "settings": changed_settings(document, point),
            }
        )
    return rows


def changed_settings(document: Mapping[str, Any], point: Mapping[str, Any]) -> str:
    """The settings in which a point differs from the plain presets of its steps."""
    plain = {
        (item["recipe"], item["format"]): item["settings"].get(item["recipe"], {})
        for item in document["points"]
        if item["preset"]
    }
    said = []
    for step, own in point["settings"].items():
        usual = plain.get((step, point["format"]), {})
        changed = [f"{key} = {value}" for key, value in own.items() if key not in usual or usual[key] != value]
        if changed:
            said.append(f"{step}: {', '.join(changed)}")
    return "; ".join(said)


def _statuses(document: Mapping[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for trial in document["trials"]:
        counts[trial["status"]] = counts.get(trial["status"], 0) + 1
    return counts


def _plots(document: Mapping[str, Any], objectives: Sequence[Objective]) -> list[dict[str, Markup | str]]:
    """Closeness, or the task's figure, over the first cost and over the size."""
    import markupsafe

    from edgegen.bench.front_plot import Axis, Dot, front_svg

    judged = [objective for objective in objectives if objective.name not in COSTS]
    costs = [objective for objective in objectives if objective.name in COSTS]
    found: list[dict[str, Markup | str]] = []
    pairs = [(cost, judged[0]) for cost in costs[:2]] + [(costs[0], other) for other in judged[1:]]
    for cost, quality in pairs:
        dots = []
        for point in document["points"]:
            figures = point["test"] or point["search"]
            price, worth = cost.value(figures), quality.value(figures)
            if price is not None and worth is not None:
                dots.append(
                    Dot(
                        name=point["name"],
                        cost=price,
                        quality=_capped(quality, worth),
                        on_front=point["on_front"],
                        preset=point["preset"],
                    )
                )
        if len(dots) > 1:
            across = Axis(title=_COST_TITLES[cost.name], log=True, better="lower")
            unit = unit_of(quality.figure.rpartition("_")[0])
            title = column_title(quality) + (f" in {unit}" if unit else "")
            upward = Axis(title=title, log=quality.scale == "log", better=quality.better)
            wide, narrow = (front_svg(dots, across, upward, wide=form) for form in (True, False))
            found.append(
                {
                    "title": f"{column_title(quality)} over {_COST_TITLES[cost.name]}",
                    "wide": markupsafe.Markup(wide),
                    "narrow": markupsafe.Markup(narrow),
                }
            )
    return found


def _capped(objective: Objective, value: float) -> float:
    """What is better than anybody can tell stands at the best; the task's figure has no such end."""
    if objective.name == "task":
        return value
    return min(value, objective.best) if objective.better == "higher" else max(value, objective.best)
