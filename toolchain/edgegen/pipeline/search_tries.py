"""What becomes of a point that is tried: looked at briefly, ended where there is no hope, else followed to the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from edgegen.bench.front import place
from edgegen.bench.front_screen import Seen, ended, expected_instructions, screened
from edgegen.core.errors import BudgetError, BuildError, StorageError, ToolMissingError
from edgegen.core.stages import Finished
from edgegen.pipeline.fits import refuse_hopeless, refuse_unfit
from edgegen.pipeline.plan import Planned
from edgegen.pipeline.prove import Made
from edgegen.pipeline.search_settings import SearchSettings
from edgegen.pipeline.search_space import Point, Space, shortened
from edgegen.pipeline.search_targets import Stand, samples_of
from edgegen.pipeline.search_trial import file_figures


class Trier:
    """Tries points on the targets of a search."""

    def __init__(self, space: Space, stands: Mapping[str, Stand], settings: SearchSettings) -> None:
        self._space = space
        self._stands = stands
        self._settings = settings

    def tried(self, point: Point, finished: Mapping[str, Mapping[str, Any]], *, whole: bool) -> dict[str, Any]:
        """What a point is worth, JSON-ready: figures by target, and why it was not followed to the end, or empty.

        Files are judged on few inputs after a short tuning first, and followed only where that leaves hope on at least
        one target.

        Args:
            finished: what this gave for other points, by their names.
            whole: follow it to the end in any case.

        Raises:
            BuildError: it cannot be built, changes nothing, or does not run, on any target.
            BudgetError: no target can hold it.
        """
        begun = time.monotonic()
        found: dict[str, dict[str, Any]] = {}
        unfit: BudgetError | None = None
        for target, stand in self._stands.items():
            planned = self._space.planned(point, stand.profile)
            if planned.not_built:
                found[target] = {"not_built": planned.not_built}
                continue
            try:
                found[target] = self._looked_at(stand, planned, _seen(target, finished), whole=whole)
            except BudgetError as error:
                found[target], unfit = {"not_built": error.paragraph()}, error
        if unfit is not None and all(item.get("not_built") for item in found.values()):
            raise unfit
        tried = {target: item for target, item in found.items() if not item.get("not_built")}
        hopeful = any(not item["ended"] for item in tried.values())
        for target, item in tried.items():
            if hopeful:
                stand = self._stands[target]
                item["full"] = self._followed(stand, self._space.planned(point, stand.profile))
        reasons = [item["ended"] for item in tried.values()]
        return {
            "targets": found,
            "ended": "" if hopeful else next(iter(reasons), "no target can have it"),
            "seconds": round(time.monotonic() - begun, 3),
        }

    def values(self, result: Mapping[str, Any]) -> list[float]:
        """What the sampler is told: coordinates, of several targets their mean; 1 stands for what is not known."""
        rows = []
        for target, stand in self._stands.items():
            item = result["targets"][target]
            figures = item.get("full") or item.get("few") or item.get("expected") or {}
            found = [objective.coordinate(figures) for objective in stand.objectives]
            rows.append([1.0 if value is None else value for value in found])
        return [sum(column) / len(column) for column in zip(*rows, strict=True)]

    def _looked_at(self, stand: Stand, planned: Planned, others: list[Seen], *, whole: bool) -> dict[str, Any]:
        brief = shortened(planned, self._settings.short)
        try:
            made = _made(stand, brief)
        except StorageError:
            raise
        except BuildError:
            if brief.settings == planned.settings:
                raise
            return {"ended": ""}  # a short tuning may fail where a whole one does not: it tells nothing
        samples = min(self._settings.first_samples, samples_of(self._settings, stand.order))
        told: dict[str, Any] = {
            "kind": [planned.name.format, *planned.format_steps],
            "file": file_figures(made),
            "host": {"quality": stand.judge.quality_here(brief, made, samples)},
            "ended": "",
        }
        item = _as_seen("", told)
        if not whole and (reason := screened(item, others, stand.objectives)):
            expected = {**told["file"], **told["host"], "instructions": expected_instructions(item, others)}
            return {**told, "ended": reason, "expected": expected}
        told["few"] = {
            **stand.judge.cost(brief, made),
            "quality": stand.judge.quality(brief, made, samples),
        }
        return {**told, "ended": "" if whole else ended(_as_seen("", told), others, stand.objectives)}

    def _followed(self, stand: Stand, planned: Planned) -> dict[str, Any]:
        made = _made(stand, planned)
        samples = samples_of(self._settings, stand.order)
        return {**stand.judge.cost(planned, made), "quality": stand.judge.quality(planned, made, samples)}


def placed(result: Mapping[str, Any], target: str, stand: Stand) -> tuple[float, ...] | None:
    """Coordinates of what was followed to the end; None where it was not, or where a figure is missing."""
    full = result["targets"].get(target, {}).get("full")
    return None if full is None else place(full, stand.objectives)


def _seen(target: str, finished: Mapping[str, Mapping[str, Any]]) -> list[Seen]:
    """Of other points what can be compared with: those that ran on the target."""
    found = {name: result["targets"].get(target, {}) for name, result in finished.items()}
    return [_as_seen(name, item) for name, item in found.items() if item.get("few")]


def _as_seen(name: str, told: Mapping[str, Any]) -> Seen:
    return Seen(
        name=name,
        kind=tuple(told["kind"]),
        size_bytes=told["file"]["size_bytes"],
        macs=told["file"]["macs"],
        host=told["host"],
        few=told.get("few"),
    )


def _made(stand: Stand, planned: Planned) -> Finished:
    refuse_hopeless([planned], stand.maker.model, stand.profile)
    try:
        made = stand.judge.made(planned)
    except ToolMissingError as error:
        # A recipe whose library is not here fails alone; the search goes on without it.
        raise BuildError(error.what, where=error.where, next_step=error.next_step) from error
    if made.record["refused"]:
        raise BuildError(str(made.record["refused"]))
    refuse_unfit({str(planned.name): Made(planned=planned, exported=made)}, stand.profile)
    return made
