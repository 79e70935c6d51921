"""``front.json``: what a search found, in one versioned document that the page and the table are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgegen.bench.choose import PARENT
from edgegen.bench.front import (
    Coordinates,
    Figures,
    Objective,
    allowed,
    dominates,
    hypervolume,
    place,
    task_objective,
)
from edgegen.core.errors import ExitCode
from edgegen.core.records import write_record
from edgegen.core.results import moved

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPoint:
    """One way to ship the model, as the search knows it."""

    name: str
    trial: int
    recipe: str
    format: str
    runtime: str
    settings: Mapping[str, Any]
    preset: bool  # a plain preset: the float model, or one step with the project's settings
    figures: Figures = field(default_factory=dict)  # of the search
    on_front: bool = False


def front_document(
    *,
    name: str,
    version: str,
    target: str,
    target_requested: str,
    title: str,
    objectives: Sequence[Objective],
    points: Sequence[FoundPoint],
    anew: Mapping[str, Mapping[str, Any]] | None,
    trials: Sequence[Mapping[str, Any]],
    samples: Mapping[str, int],
    device: Mapping[str, Any],
    study: str,
    storage: str,
    seed: int,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """The document of schema 1, JSON-ready.

    ``points`` are the front and the plain presets, cheapest first; each has ``search`` (figures of the search) and
    ``test`` (those of the test part's inputs; None in an interim front). What is on the front is what the search says:
    choosing by the test part would make its figures too good. ``beaten_by`` tells what the test part says of it.

    Args:
        title: what a person calls the target.
        anew: candidates by point, as ``core.results.Candidate`` is written; None while the search runs.
        trials: everything that was tried, with what became of it.
        samples: inputs of ``search`` and ``test``.
    """
    final = anew is not None
    rows = [_row(point, None if anew is None else anew.get(point.name)) for point in points]
    by = "test" if final else "search"
    judged = {"search": objectives, "test": _on_test(objectives, rows)}
    places = {row["name"]: place(row[by] or {}, judged[by]) for row in rows}
    for row in rows:
        own = places[row["name"]]
        row["beaten_by"] = [
            other["name"]
            for other in rows
            if own is not None and (theirs := places[other["name"]]) is not None and dominates(theirs, own)
        ]
    rows.sort(key=lambda row: (_cost(row, objectives), row["trial"]))
    volumes = {part: _volumes(rows, judged[part], part) for part in (("search", "test") if final else ("search",))}
    return {
        "schema_version": SCHEMA_VERSION,
        "exit_code": int(ExitCode.OK if any(row["on_front"] for row in rows) else ExitCode.BUILD),
        "name": name,
        "version": version,
        "target": target,
        "target_requested": target_requested,
        "title": title,
        "final": final,
        "study": study,
        "storage": storage,
        "seed": seed,
        "settings": dict(settings),
        "device": dict(device),
        "samples": dict(samples),
        "objectives": [write_record(objective) for objective in objectives],
        "hypervolume": {
            "search": volumes["search"],
            "test": volumes.get("test"),
            "reference": {objective.name: objective.worst for objective in objectives},
        },
        "points": rows,
        "trials": [dict(trial) for trial in trials],
    }


def figures_anew(candidate: Mapping[str, Any]) -> dict[str, Any] | None:
    """Figures of a candidate under the names that the search gives them; None where it did not run."""
    counted, clock = candidate["counted"], candidate["measured"]
    if candidate["quality"] is None or (counted is None and clock is None):
        return None
    return {
        "size_bytes": candidate["size_bytes"],
        "parameters": candidate["parameters"],
        "macs": counted["macs"] if counted else None,
        "instructions": counted["instructions"] if counted else None,
        "bytes_moved": moved(counted["bytes_loaded"], counted["bytes_stored"]) if counted else None,
        "latency_ms": clock["p50_ms"] if clock else None,
        "peak_ram_bytes": candidate["peak_ram_bytes"],
        "flash_bytes": candidate.get("flash_bytes"),
        "arena_bytes": candidate.get("arena_bytes"),
        "quality": candidate["quality"],
    }


def _on_test(objectives: Sequence[Objective], rows: Sequence[Mapping[str, Any]]) -> list[Objective]:
    """The same objectives with losses of the task relative to what the float models reach on the test part."""
    parents = [row["test"] for row in rows if row["recipe"] == PARENT and row["test"]]
    return [
        (item.name == "task" and task_objective(item.figure, item.better, item.worst, parents)) or item
        for item in objectives
    ]


def _row(point: FoundPoint, anew: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "name": point.name,
        "trial": point.trial,
        "recipe": point.recipe,
        "format": point.format,
        "runtime": point.runtime,
        "settings": dict(point.settings),
        "preset": point.preset,
        "on_front": point.on_front,
        "search": dict(point.figures),
        "test": None if anew is None else figures_anew(anew),
        "why_not_measured": "" if anew is None or figures_anew(anew) else anew["why_rejected"] or anew["status"],
    }


def _volumes(rows: Sequence[Mapping[str, Any]], objectives: Sequence[Objective], part: str) -> dict[str, Any]:
    """The hypervolume of the front and of the plain presets alone, and the first over the second."""
    front, presets = (
        hypervolume([point for row in rows if row[mark] and (point := _inside(row[part], objectives))])
        for mark in ("on_front", "preset")
    )
    return {
        "front": round(front, 6),
        "presets": round(presets, 6),
        "ratio": round(front / presets, 4) if presets else None,
    }


def _inside(figures: Figures | None, objectives: Sequence[Objective]) -> Coordinates | None:
    found = place(figures or {}, objectives)
    return found if found is not None and allowed(found) else None


def _cost(row: Mapping[str, Any], objectives: Sequence[Objective]) -> float:
    """What points are ordered by: the first objective, which is a cost unless a project wants it otherwise."""
    value = objectives[0].value(row["test"] or row["search"])
    return float("inf") if value is None else value
