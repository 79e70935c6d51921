"""One build that was asked for: everything a person wrote, read and checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgegen.artifacts.bundle import discard
from edgegen.core.budgets import Budget, read_budgets
from edgegen.core.errors import BuildError, EdgegenError, ToolMissingError, UsageError
from edgegen.core.lazy import nearest
from edgegen.core.locks import locked
from edgegen.core.project import FILE_FAMILY, Brought, PointTable, Project, find_project, load_project
from edgegen.core.records import read_record
from edgegen.core.targets import TargetProfile, load_target, target_names
from edgegen.data.settings import DataSettings
from edgegen.devices.device import split_url
from edgegen.metrics.table import METRICS
from edgegen.pipeline.plan import Planned, plan
from edgegen.pipeline.points import FRONT_FILE, read_front_points
from edgegen.train.families import read_family
from edgegen.train.settings import TrainSettings, read_train_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The tables of a project file that families, data, training and steps own, read by their owners."""

    model: Any  # the family's own record; of a model that came as a file brought_order.Given
    train: TrainSettings
    data: DataSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One build that was asked for, checked: nothing below can be refused as a mistake of the project file."""

    project: Project
    profile: TargetProfile
    requested: str  # the target's name as asked
    settings: Settings
    budgets: Mapping[str, Budget]
    planned: tuple[Planned, ...]
    device_url: str
    folder: Path
    refused: EdgegenError | None = None  # why the model file cannot be used: a build that failed, not a mistake


def read_settings(project: Project) -> Settings:
    """Every table of the project file that ``core`` leaves to its owner.

    Raises:
        UsageError: unknown family, unknown key, or a value that is not usable; or a model that came as a file, which
            has nothing to be trained or drawn from.
    """
    refuse_file(project)
    return _settings(project, read_family(project.family, project.model, project.source)[1])


def refuse_file(project: Project) -> None:
    """Raises UsageError for a project whose model came as a file: for commands that go through data and training."""
    if project.family == FILE_FAMILY:
        raise UsageError(
            "the model came as a file: there is no data and no training to go through",
            where=f"{project.source}, [model] file",
            got=project.model.get("file"),
            next_step="edgegen build, edgegen search, edgegen sensitivity and edgegen compress take such a model",
        )


def _settings(project: Project, model: Any) -> Settings:
    return Settings(
        model=model,
        train=read_train_settings(project.train, project.source),
        data=read_record(DataSettings, project.data, "data", project.source),
    )


def discard_earlier(project: Path | None, target: str, out: Path | None) -> None:
    """Removes what an earlier build handed over where this one, refused before it began, would have written.

    Nobody may take an old bundle for the outcome of a command that failed. Does nothing where the place is not known.
    """
    try:
        folder = find_project(Path.cwd()).parent if project is None else project
        known = target_names(folder)
    except UsageError:
        return
    results = (out or folder / "build") / target
    if target not in known or not results.is_dir():
        return
    try:
        with locked(results / ".lock", timeout_s=0):
            discard(results)
    except ToolMissingError:
        return  # another build is at work there: what it hands over is its own


def order(
    project: Project | Path | None,
    *,
    target: str,
    device: str | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    points: Sequence[str] = (),
) -> Order:
    """Reads and checks everything that a person wrote.

    Args:
        points: build these alone beside the float parents: points of the target's front, or of the project file.

    Raises:
        UsageError: the project file, the target, an override or a point is wrong.
    """
    if not isinstance(project, Project):
        project = load_project(project, tuple(overrides))
    profile = load_target(target, project.folder)
    project, settings, refused = _looked_at(project, profile.name)
    gated = {name: metric for name, metric in METRICS.items() if metric.kind != "unpaired"}
    own = project.budget_tables(profile.name, target)
    # The profile's own hold where the project states none of that name; verdicts say whose they are.
    profile = replace(profile, budgets={name: table for name, table in profile.budgets.items() if name not in own})
    budgets = {
        **read_budgets(own, gated, "budgets", project.source),
        **read_budgets(profile.budgets, {}, "budgets", f"the profile {profile.name}"),
    }
    url = device or profile.device
    folder = (out or project.folder / "build") / target
    split_url(url)
    return Order(
        project=project,
        profile=profile,
        requested=target,
        settings=settings,
        budgets=budgets,
        planned=plan(project, profile, _named(points, project, folder) if points else None),
        device_url=url,
        folder=folder,
        refused=refused,
    )


def _looked_at(project: Project, target: str) -> tuple[Project, Settings, EdgegenError | None]:
    """The project with what its model file allows, where its model is one; its settings; and why the file cannot be
    used, although it can be read.

    Raises:
        UsageError: a file that cannot be read, or samples that do not fit it.
    """
    if project.family != FILE_FAMILY:
        return project, read_settings(project), None
    from edgegen.pipeline.brought_order import look_at

    try:
        given = look_at(project, target)
    except (BuildError, ToolMissingError) as error:
        nothing = Brought(came_as="a file", forms=(), integers=False, calibrated=False)
        return replace(project, brought=nothing), _settings(project, None), error
    return replace(project, brought=given.brought), _settings(project, given), None


def _named(names: Sequence[str], project: Project, folder: Path) -> dict[str, PointTable]:
    """The points of these names: the project file's own, and those of the front that a search left in the folder."""
    front = read_front_points(folder / FRONT_FILE)
    known = {**front, **project.points}
    for name in names:
        if name not in known:
            raise UsageError(
                "there is no such point",
                where="--point",
                got=name,
                expected=f"one of {', '.join(known)}{nearest(name, known)}" if known else None,
                next_step=f"edgegen search --target {folder.name}" if not front else "name a point of the front",
            )
    return {name: known[name] for name in names}
