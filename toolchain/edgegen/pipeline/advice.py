"""What advising found, as one document: groups that may be compared, reasons, and lines for the project file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgegen.bench.advice import Probe, ranked, reasons
from edgegen.core.errors import ExitCode
from edgegen.core.project import Project
from edgegen.core.records import write_record
from edgegen.data.dataset import Form
from edgegen.pipeline.plan import COMPILED_FROM, PARENT
from edgegen.pipeline.probes import JUDGED, TRAINED
from edgegen.train.proposals import LeftOut

RECIPES = (PARENT, "weight-int8", "static-int8")
"""What is made of every probe: the float model, and the two that need no further training."""

RECIPES_IN_C = (PARENT, *COMPILED_FROM)
"""The same on a target that runs C alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """All that was found out."""

    project: Project
    target: str
    requested: str  # the target's name as asked
    task: str
    task_reason: str
    epochs: int  # of every probe
    forms: Mapping[str, Form]  # by kind of sample
    probes: Sequence[Probe]
    left_out: Sequence[LeftOut]
    budgets: tuple[str, ...]
    recipes: tuple[str, ...]  # made of every probe
    format: str
    notes: Sequence[str]


def advice_document(advice: Advice) -> dict[str, Any]:
    """The advice as a JSON-ready document: see ``advise.advise_project``."""
    probes, groups = advice.probes, ranked(advice.probes)
    told = {verdict.budget for probe in probes for verdict in probe.weighed.verdicts}
    open_budgets = [name for name in advice.budgets if probes and name not in told]
    advised = [members[0].name for _, members in groups if members[0].weighed.keeps == "yes"]
    return {
        "schema_version": 1,
        "exit_code": int(_exit_code(advice, advised)),
        "name": advice.project.name,
        "target": advice.target,
        "target_requested": advice.requested,
        "task": advice.task,
        "task_reason": advice.task_reason,
        "data": [
            {
                "name": form.name,
                "kind": form.kind,
                "shape": list(form.shape),
                "classes": len(form.classes),
                "targets": len(form.targets),
                "samples": dict(form.samples),
                "synthetic": form.synthetic,
            }
            for form in advice.forms.values()
        ],
        "probe": {
            "epochs": advice.epochs,
            "seed": advice.project.seed,
            "most_samples": {"train": TRAINED, "judged": JUDGED},
            "recipes": list(advice.recipes),
            "format": advice.format,
        },
        "groups": [
            {
                "figure": name,
                "better": "" if members[0].deciding is None else members[0].deciding["better"],
                "proposals": [
                    _proposal(probe, members[0], place, advice.epochs) for place, probe in enumerate(members)
                ],
            }
            for name, members in groups
        ],
        "left_out": [write_record(item) for item in advice.left_out],
        "advised": advised,
        "open_budgets": open_budgets,
        "notes": [*advice.notes, *_notes(groups, open_budgets, advice.epochs)],
    }


def _exit_code(advice: Advice, advised: Sequence[str]) -> ExitCode:
    if advised:
        return ExitCode.OK
    kinds = {item.kind for item in advice.left_out}
    if "not probed" in kinds or any(probe.weighed.keeps == "unverified" for probe in advice.probes):
        return ExitCode.NOT_JUDGED
    return ExitCode.BUDGET_FAILED if advice.probes or "too large" in kinds else ExitCode.BUILD


def _notes(groups: Sequence[tuple[str, Sequence[Probe]]], open_budgets: Sequence[str], epochs: int) -> list[str]:
    said = [
        f"epochs of a probe: {epochs}, from one seed; that favours what learns quickly, and tells little of small leads"
    ]
    if len(groups) > 1:
        said.append("groups are ranked apart: their figures measure different things")
    if open_budgets:
        said.append(f"what a whole training decides stays open: {', '.join(open_budgets)}")
    return said


def _proposal(probe: Probe, best: Probe, place: int, epochs: int) -> dict[str, Any]:
    model = {"family": probe.family, **probe.settings}
    return {
        "rank": None if probe.deciding is None else place + 1,
        "name": probe.name,
        "family": probe.family,
        "why": probe.why,
        "settings": dict(probe.settings),
        "parameters": probe.parameters,
        "figure": None if probe.deciding is None else dict(probe.deciding),
        "keeps_budgets": probe.weighed.keeps,
        "candidate": None if probe.weighed.shown is None else probe.weighed.shown.name,
        "verdicts": [write_record(verdict) for verdict in probe.weighed.verdicts],
        "candidates": [write_record(candidate) for candidate in probe.weighed.candidates],
        "reasons": reasons(probe, best, epochs),
        "overrides": [f"model={_toml(model)}"],
        "toml": "\n".join(["[model]", *(f"{key} = {_toml(value)}" for key, value in model.items())]),
    }


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)  # of numbers, strings, truth values and lists of them JSON is TOML
