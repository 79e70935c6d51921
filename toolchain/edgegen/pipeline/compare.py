"""``edgegen compare``: two builds, and what of them moved a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgegen.bench.attribution import Attribution, attribute
from edgegen.bench.sides import Side, side_of_result, side_of_run
from edgegen.core.errors import ExitCode, UsageError
from edgegen.core.lazy import nearest
from edgegen.core.records import write_record
from edgegen.pipeline.baseline import read_given

_FIRST = ("instructions", "latency_p50_ms", "size_bytes")
"""What is taken apart where nobody says what: the first that both sides have."""


def compare_builds(
    old: str, new: str, *, metric: str | None = None, candidate: str | None = None, target: str | None = None
) -> dict[str, Any]:
    """The comparison, JSON-ready.

    Args:
        old, new: results, build folders, bundles or files of runs (their last).
        metric: the figure to take apart; None: the first of instructions, latency and size that both have.
        candidate: compare this candidate of both; None: what ships.
        target: of a file of runs, take the last run of this target.

    Raises:
        UsageError: something cannot be read, or they have no figure in common.
    """
    sides = [_side(place, candidate, target) for place in (old, new)]
    shared = [name for name in sides[1].figures if name in sides[0].figures]
    if metric is None:
        metric = next((name for name in (*_FIRST, *shared) if name in shared), None)
    if metric is None or metric not in shared:
        raise UsageError(
            "they have no such figure in common" if metric else "they have no figure in common",
            where=f"{old} and {new}",
            got=None if metric is None else f"{metric}{nearest(metric, shared)}",
            expected=f"one of {', '.join(shared)}" if shared else None,
        )
    found = attribute(sides[0], sides[1], metric)
    return {
        "schema_version": 1,
        "exit_code": int(ExitCode.OK),
        "old": _told(sides[0]),
        "new": _told(sides[1]),
        "figures": [{"metric": name, "old": sides[0].figures[name], "new": sides[1].figures[name]} for name in shared],
        **_taken_apart(found),
    }


def _side(place: str, candidate: str | None, target: str | None) -> Side:
    given = read_given(place)
    if given.document is not None:
        names = [item["name"] for item in given.document["candidates"]]
        if candidate is not None and candidate not in names:
            raise UsageError(
                "there is no such candidate", where=place, got=candidate,
                expected=f"one of {', '.join(names)}{nearest(candidate, names)}",
            )  # fmt: skip
        return side_of_result(given.document, place, candidate)
    runs = [run for run in given.runs if target in (None, run.target) and candidate in (None, run.candidate)]
    if not runs:
        raise UsageError("there is no such run", where=place, got=candidate or target)
    return side_of_run(runs[-1], place)


def _told(side: Side) -> Mapping[str, Any]:
    return {
        name: getattr(side, name)
        for name in ("source", "name", "version", "target", "candidate", "core", "model_sha256")
    }


def _taken_apart(found: Attribution) -> dict[str, Any]:
    return {
        "metric": found.metric,
        "moved": found.moved,
        "moved_ratio": found.moved / found.old if found.old else None,
        "causes": [write_record(cause) for cause in found.causes],
        "unexplained": found.unexplained,
        "notes": list(found.notes),
    }
