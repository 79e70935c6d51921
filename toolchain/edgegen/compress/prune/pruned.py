"""Structured pruning: the least important channels leave, and the rest is tuned towards the float parent's answers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from edgegen.compress.context import StepContext
from edgegen.compress.fit import Schedule, Teaching, fit, fixed_threads, run_key
from edgegen.compress.lessons import Lessons, Likeness
from edgegen.compress.prune.allocate import Counts, allocate
from edgegen.compress.prune.importance import judge
from edgegen.compress.prune.narrow import groups_of, narrower
from edgegen.compress.prune.rounds import Round, StoredRounds
from edgegen.compress.prune.sensitivity import measure
from edgegen.compress.prune.settings import Pruned
from edgegen.compress.prune.teaching import AnswersAndTruth
from edgegen.core.errors import BuildError
from edgegen.train.deployed import load_deployed, save_deployed
from edgegen.train.narrowing import narrowed

_UNHARMED_DB = 60.0
_UNHARMED_NATS = 1e-6


def apply(source: Path, folder: Path, settings: Pruned, context: StepContext) -> Mapping[str, Any]:
    """Writes a narrower model of the same family.

    Figures: channels by group, and a row a round: how much the removal of each layer's share alone spoils the answers
    (``sensitivity``), and the likeness to the parent before and after tuning.

    Raises:
        BuildError: the family cannot be narrowed, or there is no parent.
        UsageError: ratios of layers that the model does not have, or a truth that generators do not have.
    """
    with fixed_threads(context.threads):
        module, family, shape = load_deployed(source)
        parent, parent_family, parent_shape = load_deployed(context.need_parent())
        if family != parent_family:
            raise BuildError("the float parent is of another family than the model", where=str(context.parent))
        lessons = Lessons(family, parent_shape, context.data, augmented=context.augmented)
        teaching = AnswersAndTruth(lessons, settings.truth, "pruned")
        key = run_key("prune", settings, source, context)
        begun = {group.number: group.channels for group in groups_of(family, shape)}
        rounds = StoredRounds(context, key, family)
        state = rounds.taken_up() or Round(module=copy.deepcopy(module), settings=shape, told=[])
        while len(state.told) < settings.rounds:
            state = _next(state, family, parent, lessons, teaching, begun, settings, context, key)
            rounds.keep(state)
        truths = [lessons.task(model, context.seed) for model in (state.module, parent)]
    save_deployed(state.module, family, state.settings, folder)
    rounds.drop()
    last = state.told[-1]
    return {
        "channels_before": {group.name: group.channels for group in groups_of(family, shape)},
        "channels": {group.name: group.channels for group in groups_of(family, state.settings)},
        **last["tuned"],
        **({} if None in truths else {"true_loss": truths[0], "parents_true_loss": truths[1]}),
        "untrained": last["untrained"],
        "rounds": state.told,
    }


def _next(
    state: Round,
    family: str,
    parent: nn.Module,
    lessons: Lessons,
    teaching: Teaching,
    begun: Counts,
    settings: Pruned,
    context: StepContext,
    key: Mapping[str, Any],
) -> Round:
    """One round: judge, cut, tune. Where tuning makes it worse, the model stays as it was cut, and figures say so."""
    number = len(state.told)
    part = (number + 1) / settings.rounds
    groups = groups_of(family, state.settings)
    weights = state.module.state_dict()
    judged = judge(state.module, family, state.settings, groups, lessons, context.seed)
    even = allocate(groups, begun, replace(settings, scope="layer"), part, judged, weights)
    judged, table = measure(state.module, family, state.settings, groups, even, lessons, context.seed, judged)
    counts = allocate(groups, begun, settings, part, judged, weights)
    smaller = narrowed(state.settings, groups, counts)
    student = state.module
    if any(counts[group.number] != group.channels for group in groups):
        student = narrower(state.module, family, state.settings, smaller, lessons, context.seed, judged)
    untrained = lessons.likeness(student, parent, context.seed)
    steps = settings.steps * (number + 1) // settings.rounds - settings.steps * number // settings.rounds
    schedule = Schedule(steps=steps, batch=settings.batch, learning_rate=settings.learning_rate)
    said = _needless(student is not state.module, steps, untrained)
    if not said:
        task, cut = lessons.task(student, context.seed), copy.deepcopy(student)
        fit(
            student,
            parent,
            lessons,
            schedule,
            context,
            key={**key, "round": number},
            task="prune",
            teaching=teaching,
        )
        tuned, after = lessons.likeness(student, parent, context.seed), lessons.task(student, context.seed)
        said = f"{steps} steps"
        if tuned.worse_than(untrained) and (task is None or after is None or after > task):
            said = f"left out, it made the model worse: {tuned.metric} {untrained.mean:.3g} -> {tuned.mean:.3g}; "
            said += f"lower learning_rate (now {settings.learning_rate}) or raise steps (now {settings.steps})"
            student = cut
    told = {
        "channels": {group.name: counts[group.number] for group in groups},
        "untrained": untrained.figures(),
        "tuned": lessons.likeness(student, parent, context.seed).figures(),
        "tuning": said,
        "sensitivity": table,
    }
    return Round(module=student, settings=smaller, told=[*state.told, told])


def _needless(cut: bool, steps: int, likeness: Likeness) -> str:
    """Why a round is not tuned; empty if it is."""
    if not cut:
        return "left out, no channel left"
    if not steps:
        return "left out, no steps are asked for"
    unharmed = (
        likeness.worst5 < _UNHARMED_NATS if likeness.metric == "kl_divergence" else likeness.worst5 > _UNHARMED_DB
    )
    return "left out, what left was dead, and there is nothing to mend" if unharmed else ""
