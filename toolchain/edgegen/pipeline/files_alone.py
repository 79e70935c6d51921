"""``edgegen compress``: the files of recipes, made and not proven."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgegen.compress.steps import STEPS
from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError, ExitCode, StorageError, ToolMissingError, UsageError
from edgegen.core.ports import Progress, Silent
from edgegen.core.project import Project, load_project
from edgegen.core.stages import Finished, Stages
from edgegen.devices.device import DeviceSettings
from edgegen.pipeline.make import Maker
from edgegen.pipeline.on_target import on_target
from edgegen.pipeline.order import Order, order
from edgegen.pipeline.plan import PARENT, Planned
from edgegen.pipeline.probes import asking
from edgegen.pipeline.subject_of import subject_of

FOLDER = "compress"
"""Where the files lie, below ``build/``: a folder a candidate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressed:
    """What was made: ``document`` tells what every pass did, ``folder`` holds the files."""

    document: Mapping[str, Any]
    folder: Path


def compress_project(
    project: Project | Path | None = None,
    *,
    target: str,
    recipes: Sequence[str] = (),
    format_name: str | None = None,
    device: str | None = None,
    offline: bool = False,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Compressed:
    """Makes the files of recipes and tells what each pass did. Nothing is measured, no budget judged.

    Steps that ask the target (``Step.probed``) are given it where it is there.

    Args:
        target: decides which runtimes there are.
        recipes: in place of the project's.
        format_name: one of the project's formats; None is all of them.
        out: folder for the files; None is ``build/compress/`` in the project's folder.

    Raises:
        EdgegenError: whatever is wrong with the project, its data, the target or a recipe's name.
    """
    cache, progress = cache or Cache(), progress or Silent()
    if not isinstance(project, Project):
        project = load_project(project, tuple(overrides))
    if recipes:
        project = replace(project, recipes=tuple(recipes))
    ordered = order(project, target=target, device=device)
    planned = _asked(ordered, recipes, format_name)
    folder = out or project.folder / "build" / FOLDER
    settings = DeviceSettings(cache=cache.root, offline=offline, progress=progress)
    cache.sweep()
    with cache.in_use():
        stages = Stages(cache.store(), progress)
        model = subject_of(ordered, stages, cache, progress)
        if any(_probed(item) for item in planned):
            with (
                on_target(ordered.device_url, ordered.profile, settings) as (reached, identity, _),
                asking(ordered, identity, model, stages, lambda: reached) as probes,
            ):
                rows = [_made(Maker(model, progress, probes), item, folder) for item in planned]
        else:
            rows = [_made(Maker(model, progress), item, folder) for item in planned]
    return Compressed(document=_document(ordered, rows, named=bool(recipes), folder=folder), folder=folder)


def _asked(ordered: Order, recipes: Sequence[str], format_name: str | None) -> list[Planned]:
    """The candidates, without the float parent that a plan adds by itself."""
    if format_name is not None and format_name not in ordered.project.formats:
        raise UsageError(
            f"the project does not build {format_name}",
            where=f"{ordered.project.source}, [export] formats",
            expected=f"--format {' or '.join(ordered.project.formats)}",
        )
    return [
        item
        for item in ordered.planned
        if format_name in (None, item.name.format)
        if not recipes or item.name.recipe in recipes
    ]


def _probed(planned: Planned) -> bool:
    form = planned.form
    return any((step, form) in STEPS and STEPS[step, form].probed for step in planned.format_steps)


def _made(maker: Maker, planned: Planned, folder: Path) -> dict[str, Any]:
    """What became of one candidate; its files lie in a folder of its name."""
    row: dict[str, Any] = {
        "name": str(planned.name),
        "recipe": planned.name.recipe,
        "format": planned.name.format,
        "status": "made",
        "reason": "",
        "size_bytes": None,
        "sha256": None,
        "passes": [],
        "files": [],
    }
    if planned.not_built:
        return {**row, "status": "not built", "reason": planned.not_built}
    try:
        exported = maker.exported(planned)
    except ToolMissingError as error:
        return {**row, "status": "not built", "reason": error.next_step or error.what}
    except StorageError:
        raise
    except BuildError as error:
        return {**row, "status": "failed", "reason": error.paragraph()}
    export = exported.record["export"]
    row |= {
        "passes": list(exported.record["passes"]),
        "size_bytes": export["size_bytes"],
        "sha256": export["sha256"],
    }
    if exported.record["refused"]:
        return {**row, "status": "rejected", "reason": exported.record["refused"]}
    return {**row, "files": _copied(exported, folder / str(planned.name))}


def _copied(exported: Finished, folder: Path) -> list[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, blob in exported.files.items():
            shutil.copyfile(blob.path, folder / name)
    except OSError as error:
        raise StorageError(
            "cannot write", where=str(folder), got=error, next_step="choose a folder with --out"
        ) from error
    return [str(folder / name) for name in sorted(exported.files)]


def _document(ordered: Order, rows: Sequence[dict[str, Any]], *, named: bool, folder: Path) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "exit_code": int(_exit_code(rows, named=named)),
        "name": ordered.project.name,
        "version": ordered.project.version,
        "target": ordered.profile.name,
        "target_requested": ordered.requested,
        "candidates": list(rows),
        "folder": str(folder),
    }


def _exit_code(rows: Sequence[dict[str, Any]], *, named: bool) -> ExitCode:
    """Of recipes that were named all must be made; of the project's own, one besides the float model is enough."""
    lost = [row for row in rows if row["status"] != "made"]
    if not lost or (not named and any(row["status"] == "made" and row["recipe"] != PARENT for row in rows)):
        return ExitCode.OK
    return ExitCode.NOT_JUDGED if all(row["status"] == "not built" for row in lost) else ExitCode.BUILD
