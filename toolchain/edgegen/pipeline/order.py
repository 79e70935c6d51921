"""One build that was asked for: everything a person wrote, read and checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.budgets import Budget, read_budgets
from edgegen.core.project import Project, load_project
from edgegen.core.targets import TargetProfile, load_target
from edgegen.metrics.table import METRICS
from edgegen.pipeline.plan import Planned, plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One build that was asked for, checked: nothing below can be refused as a mistake of the project file."""

    project: Project
    profile: TargetProfile
    requested: str  # the target's name as asked
    budgets: Mapping[str, Budget]
    planned: tuple[Planned, ...]
    device_url: str
    folder: Path


def order(
    project: Project | Path | None,
    *,
    target: str,
    device: str | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
) -> Order:
    """Reads and checks everything that a person wrote.

    Raises:
        UsageError: the project file, the target or an override is wrong.
    """
    if not isinstance(project, Project):
        project = load_project(project, tuple(overrides))
    profile = load_target(target)
    gated = {name: metric for name, metric in METRICS.items() if metric.kind != "unpaired"}
    budgets = read_budgets(project.budget_tables(profile.name, target), gated, "budgets", project.source)
    return Order(
        project=project,
        profile=profile,
        requested=target,
        budgets=budgets,
        planned=plan(project, profile),
        device_url=device or profile.device,
        folder=(out or project.folder / "build") / target,
    )
