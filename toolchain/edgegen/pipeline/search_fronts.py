"""The front of a search as it is written: after every trial what is known so far, at the end measured anew.

While a search runs, nothing looks at the test part. What it found is measured at its end on the test part's inputs, as
a build does it, and those figures are what is shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgegen.bench.front import front_of
from edgegen.bench.front_document import FoundPoint, front_document
from edgegen.bench.front_page import render_front
from edgegen.core.errors import BuildError, StorageError
from edgegen.core.locks import locked
from edgegen.core.records import write_record
from edgegen.core.results import Candidate
from edgegen.core.whole_file import replace_file
from edgegen.pipeline.candidates import Found, candidate
from edgegen.pipeline.points import FRONT_FILE
from edgegen.pipeline.prove import Made, Prover, parents_on_host
from edgegen.pipeline.search_space import Point, Space, point_key
from edgegen.pipeline.search_targets import Stand
from edgegen.pipeline.search_tries import placed

PAGE = "front.html"


def name_of(number: int) -> str:
    """The name of what a trial of this number, from 0, is about; it never becomes another's."""
    return f"p{number + 1:02d}"


def shown_points(trials: Sequence[Mapping[str, Any]], target: str, stand: Stand, space: Space) -> list[FoundPoint]:
    """The plain presets that ran and the front, by name; figures are those of the search."""
    presets = {point_key(point) for point in space.presets()}
    points, coordinates = {}, {}
    for trial in trials:
        result = trial.get("result") or {"targets": {}}
        place = placed(result, target, stand)
        if place is None:
            continue
        name, point = name_of(trial["number"]), trial["point"]
        coordinates[name] = place
        planned = space.planned(point, stand.profile)
        points[name] = FoundPoint(
            name=name,
            trial=trial["number"],
            recipe=point["recipe"],
            format=point["format"],
            runtime=planned.runtime,
            settings=point["settings"],
            preset=point_key(point) in presets,
            figures=result["targets"][target]["full"],
        )
    front = set(front_of(coordinates))
    return [
        FoundPoint(**{**_fields(point), "on_front": name in front})
        for name, point in points.items()
        if name in front or point.preset
    ]


def measured_anew(points: Sequence[FoundPoint], stand: Stand, space: Space, jobs: int) -> dict[str, Candidate]:
    """Each point as a build would find it, on the test part's inputs, by name.

    Raises:
        ToolMissingError: the device failed.
    """
    maker = stand.maker
    planned = {}
    for point in points:
        told: Point = {"recipe": point.recipe, "format": point.format, "settings": point.settings}
        planned[point.name] = space.planned(told, stand.profile, point.name)
    parents = [space.planned(point, stand.profile) for point in space.parents()]
    made: dict[str, Made] = {}
    lost: dict[str, Any] = {}
    for item in (*(item for item in parents if not item.not_built), *planned.values()):
        try:
            made[str(item.name)] = Made(planned=item, exported=maker.exported(item))
        except StorageError:
            raise
        except BuildError as error:
            lost[str(item.name)] = ("failed", error.paragraph())
    on_host = parents_on_host(maker, list(planned.values()))
    prover = Prover(maker, stand.profile, stand.identity, stand.connect, jobs, on_host)
    proofs = prover.prove(list(made.values()))
    found = Found(made=made, lost=lost, proofs=proofs, identity=stand.identity, missing="")
    return {name: candidate(item, found, stand.profile) for name, item in planned.items()}


def document_of(
    trials: Sequence[Mapping[str, Any]],
    target: str,
    stand: Stand,
    space: Space,
    anew: Mapping[str, Candidate] | None,
    **said: Any,
) -> dict[str, Any]:
    """``front.json`` of one target.

    Args:
        trials: ``number``, ``point``, ``status``, ``reason``, ``seconds`` and ``result`` of each that is done.
        anew: as ``measured_anew`` gives it; None while the search runs.
        said: what else is told of the search: its study, seed and settings.
    """
    ordered = stand.order
    return front_document(
        name=ordered.project.name,
        version=ordered.project.version,
        target=stand.profile.name,
        target_requested=ordered.requested,
        title=stand.profile.title,
        objectives=stand.objectives,
        points=shown_points(trials, target, stand, space),
        anew=None if anew is None else {name: write_record(item) for name, item in anew.items()},
        trials=[
            {
                "name": name_of(trial["number"]),
                **{key: trial[key] for key in ("status", "reason", "seconds")},
                "recipe": trial["point"]["recipe"],
                "format": trial["point"]["format"],
                "settings": trial["point"]["settings"],
                "figures": _told((trial.get("result") or {"targets": {}})["targets"].get(target, {})),
            }
            for trial in trials
        ],
        samples={
            "search": stand.judge.samples,
            "test": ordered.project.quality.samples,
        },
        device={"kind": stand.identity.kind, "core": stand.identity.core, "tools": dict(stand.identity.tools)},
        **said,
    )


def write_front(folder: Path, document: Mapping[str, Any], *, page: bool) -> None:
    """Writes ``front.json`` whole, and the page; an interim front never takes the place of a later one.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    path = folder / FRONT_FILE
    try:
        with locked(path.with_name(".lock")):
            if not document["final"] and _is_later(path, document):
                return
            replace_file(path, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())
            if page:
                replace_file(path.with_name(PAGE), render_front(document).encode())
    except OSError as error:
        raise StorageError("cannot write", where=str(path.parent), got=error) from error


def _is_later(path: Path, document: Mapping[str, Any]) -> bool:
    """Whether the front that is there is of the same study, and knows more trials."""
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        return there["study"] == document["study"] and len(there["trials"]) > len(document["trials"])
    except (OSError, ValueError, KeyError, TypeError):
        return False  # there is none, or one that nobody can read


def _told(item: Mapping[str, Any]) -> Any:
    return item.get("full") or item.get("few") or item.get("expected")


def _fields(point: FoundPoint) -> dict[str, Any]:
    return {name: getattr(point, name) for name in FoundPoint.__slots__}
