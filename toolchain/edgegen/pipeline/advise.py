"""``edgegen advise``: families and sizes that suit the data, each trained for a short while and tried on the target."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgegen.bench.advice import Probe, deciding_figure, told_by_probes, weigh
from edgegen.core.budgets import Budget, BytesBudget
from edgegen.core.cache import Cache
from edgegen.core.errors import BudgetError, BuildError, StorageError, UsageError
from edgegen.core.models import COMPILED
from edgegen.core.ports import Progress, Silent
from edgegen.core.project import Project, load_project
from edgegen.core.records import read_record
from edgegen.core.stages import Stages
from edgegen.core.targets import load_target
from edgegen.data.dataset import Form
from edgegen.data.settings import DataSettings
from edgegen.devices.device import Device, DeviceSettings, Identity
from edgegen.pipeline.advice import RECIPES, RECIPES_IN_C, Advice, advice_document
from edgegen.pipeline.data import DataMaker
from edgegen.pipeline.fits import refuse_hopeless
from edgegen.pipeline.make import Maker
from edgegen.pipeline.model import ModelMaker
from edgegen.pipeline.on_target import on_target
from edgegen.pipeline.order import Order, order, refuse_file
from edgegen.pipeline.plan import PARENT, formats_for
from edgegen.pipeline.probes import HELD_BACK_RATIO, Bench, ProbeData, offered_files
from edgegen.pipeline.probes_compiled import CompiledBench
from edgegen.pipeline.prove import parents_on_host
from edgegen.train.proposals import (
    TASKS,
    LeftOut,
    Proposal,
    Written,
    choose_task,
    deployed_parameters,
    propose,
)

_SAMPLES = 8  # inputs on which a probe's files are compared
_NOT_FOR_PROBES = ("patience", "start", "freeze", "lora_rank", "lora")
"""Keys of ``[train]`` that are of one model: a probe is a whole, short training from fresh weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What probes have in common."""

    project: Project  # its model is a stand-in where the project has none
    target: str
    device: str | None
    epochs: int
    cache: Cache
    stages: Stages
    progress: Progress
    settings: DeviceSettings


def advise_project(
    project: Path | None = None,
    *,
    target: str,
    task: str | None = None,
    epochs: int = 3,
    seconds: float | None = None,
    device: str | None = None,
    offline: bool = False,
    overrides: Sequence[str] = (),
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Mapping[str, Any]:
    """Proposes families and sizes for a project's data, ranked by what was measured.

    Args:
        project: folder of a project; its ``[model]`` may be missing.
        task: one of ``train.proposals.TASKS``; None: what data and project suggest.
        epochs: passes of each probe over at most ``probes.TRAINED`` samples.
        seconds: no probe is begun after so long; what was not probed is told, what is finished is kept.

    Returns:
        a JSON-ready document: ``groups`` of proposals that may be compared, the best first, with reasons and the lines
        for the project file; ``left_out`` with reasons; ``advised``, the best of each group that keeps the budgets.

    Raises:
        EdgegenError: whatever is wrong with the project, its data or the target.
    """
    begun = time.monotonic()
    cache, progress = cache or Cache(), progress or Silent()
    found, written = _load(project, tuple(overrides))
    refuse_file(found)
    if task is not None and task not in TASKS:
        raise UsageError("unknown task", where="--task", got=task, expected=f"one of {', '.join(TASKS)}")
    data = read_record(DataSettings, found.data, "data", found.source)
    notes = []
    if not data.split.validation_ratio:
        notes.append(
            f"the project has no validation part: {HELD_BACK_RATIO:.0%} of the training part were held back to judge"
        )
    asked = _Asked(
        project=found,
        target=target,
        device=device,
        epochs=epochs,
        cache=cache,
        stages=Stages(cache.store(), progress),
        progress=progress,
        settings=DeviceSettings(cache=cache.root, offline=offline, progress=progress),
    )
    ordered = order(_stand_in(asked), target=target, device=device)
    cache.sweep()
    with cache.in_use():
        forms = _forms(asked)
        chosen, why = (task, "--task") if task else choose_task(next(iter(forms.values())), written)
        proposals, left_out = propose(chosen, forms, written)
        if not proposals:
            raise UsageError(
                f"no family for the task {chosen!r} takes these data",
                where="--task",
                got="; ".join(f"{item.name}: {item.reason}" for item in left_out),
                next_step="name another task, or prepare the data for this one",
            )
        probes, late = _probe_all(asked, ordered, proposals, forms, begun, seconds)
    return advice_document(
        Advice(
            project=found,
            target=ordered.profile.name,
            requested=target,
            task=chosen,
            task_reason=why,
            epochs=epochs,
            forms=forms,
            probes=probes,
            left_out=(*left_out, *late),
            budgets=tuple(ordered.budgets),
            recipes=ordered.project.recipes,
            format=ordered.planned[0].name.format,
            notes=notes,
        )
    )


# -- what is asked ---------------------------------------------------------------------------------------------------


def _load(folder: Path | None, overrides: tuple[str, ...]) -> tuple[Project, Written | None]:
    """The project, and the model that it names; a stand-in and None where it names none."""
    try:
        found = load_project(folder, overrides)
    except UsageError:
        # Without [model], or with one that has no family yet: any family will do to read the rest.
        return load_project(folder, (*overrides, 'model={family = "vae"}')), None
    return found, Written(family=found.family, settings=found.model)


def _stand_in(asked: _Asked) -> Project:
    """The project as probes build it, with a model that is of no consequence: to read targets and budgets by."""
    return _as_probed(asked, Proposal(name="", family="vae", settings={}, tokens=False, why=""))


def _as_probed(asked: _Asked, proposal: Proposal) -> Project:
    project = asked.project
    training = {key: value for key, value in project.train.items() if key not in _NOT_FOR_PROBES}
    quality = replace(project.quality, samples=min(_SAMPLES, project.quality.samples), second_training=False)
    return replace(
        project,
        family=proposal.family,
        model=proposal.settings,
        train={**training, "epochs": asked.epochs},
        recipes=_recipes(asked),
        formats=project.formats[:1],
        quality=quality,
    )


def _recipes(asked: _Asked) -> tuple[str, ...]:
    profile = load_target(asked.target, asked.project.folder)
    return RECIPES_IN_C if COMPILED.issuperset(formats_for(asked.project, profile)) else RECIPES


def _forms(asked: _Asked) -> dict[str, Form]:
    """What the prepared data look like by kind of sample; a table whose numbers are to be binned is had both ways."""
    data = read_record(DataSettings, asked.project.data, "data", asked.project.source)
    raw = _data(asked, data, tokens=False).collected().record
    binned = raw["kind"] == "table" and data.text.tokens == "bins"
    tokens = [raw["kind"] == "text", *([True] if binned else [])]
    found = [_data(asked, data, tokens=each).form() for each in tokens]
    return {form.kind: form for form in found}


def _data(asked: _Asked, settings: DataSettings, *, tokens: bool) -> DataMaker:
    project = asked.project
    return ProbeData(settings, project.folder, project.seed, asked.stages, asked.progress, tokens=tokens)


# -- probes ----------------------------------------------------------------------------------------------------------


def _probe_all(
    asked: _Asked,
    ordered: Order,
    proposals: Sequence[Proposal],
    forms: Mapping[str, Form],
    begun: float,
    seconds: float | None,
) -> tuple[list[Probe], list[LeftOut]]:
    probes: list[Probe] = []
    left_out: list[LeftOut] = []
    url, profile = ordered.device_url, ordered.profile
    with on_target(url, profile, asked.settings, without="nothing will be counted") as (device, identity, missing):
        for number, proposal in enumerate(proposals):
            form = next(form for kind, form in forms.items() if proposal.tokens == (kind == "tokens"))
            parameters = deployed_parameters(proposal, form)
            if reason := _cannot_fit(parameters, ordered.budgets):
                left_out.append(LeftOut(name=proposal.name, kind="too large", reason=reason))
                continue
            if seconds is not None and time.monotonic() - begun > seconds:
                reason = f"not probed: {seconds:g} seconds were over; repeat the command to go on"
                left_out.append(LeftOut(name=proposal.name, kind="not probed", reason=reason))
                continue
            asked.progress.advance("advise", number, len(proposals), proposal.name)
            asked.progress.say(f"probe {proposal.name}")
            try:
                probes.append(_probe(asked, ordered, proposal, parameters, identity, missing, lambda: device))
            except StorageError:
                raise
            except BuildError as error:
                left_out.append(LeftOut(name=proposal.name, kind="failed", reason=error.paragraph()))
            except BudgetError as error:
                left_out.append(LeftOut(name=proposal.name, kind="too large", reason=error.paragraph()))
    return probes, left_out


def _cannot_fit(parameters: int, budgets: Mapping[str, Budget]) -> str:
    """Why no file of the model can keep the budgets, however it is compressed; empty if one may."""
    for name in ("size", "peak_ram"):
        budget = budgets.get(name)
        if isinstance(budget, BytesBudget) and budget.required and parameters > budget.max_bytes:
            return (
                f"its {parameters:,} weights take at least as many bytes in int8, and [budgets.{name}] allows "
                f"{budget.max_bytes:,}"
            )
    return ""


def _probe(
    asked: _Asked,
    ordered: Order,
    proposal: Proposal,
    parameters: int,
    identity: Identity | None,
    missing: str,
    connect: Callable[[], Device],
) -> Probe:
    probed = order(_as_probed(asked, proposal), target=asked.target, device=asked.device)
    model = ModelMaker(probed.project, probed.settings, asked.stages, asked.cache, asked.progress)
    model.data = _data(asked, probed.settings.data, tokens=proposal.tokens)
    refuse_hopeless(probed.planned, model, probed.profile)
    evaluated = model.evaluated().record
    maker = Maker(model, asked.progress)
    offered, files = offered_files(maker, probed)
    parent = next((item.path for item in offered if item.recipe == PARENT), None)
    on_host = parents_on_host(maker, probed.planned)
    budgets = told_by_probes(ordered.budgets, model.output)
    if identity is not None and on_host:
        compiled = CompiledBench(
            model.quality(),
            model.output,
            asked.stages,
            ordered.profile,
            identity,
            connect,
            next(iter(on_host.values())),
            files,
        )
        weighed = weigh(offered, compiled.cost, compiled.quality, budgets, ordered.profile)
    elif identity is None or parent is None:
        weighed = weigh(offered, None, None, budgets, ordered.profile, missing or "there is no float model to run")
    else:
        bench = Bench(model.quality(), model.output, asked.stages, ordered.profile, identity, connect, parent)
        weighed = weigh(offered, bench.cost, bench.quality, budgets, ordered.profile)
    return Probe(
        name=proposal.name,
        family=proposal.family,
        settings=proposal.settings,
        why=proposal.why,
        parameters=parameters,
        deciding=deciding_figure(evaluated, "tokens" if proposal.tokens else model.output),
        weighed=weighed,
    )
