"""Distillation: a smaller student, made from its parent where that can be, learns what the parent answers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgegen.compress.context import StepContext
from edgegen.compress.distill.objectives import Objectives, needs_whole
from edgegen.compress.distill.settings import Distilled
from edgegen.compress.distill.student import begin, student_settings
from edgegen.compress.distill.whole import Whole
from edgegen.compress.distill.written import write_rows
from edgegen.compress.fit import Schedule, fit, fixed_threads, run_key
from edgegen.compress.lessons import Lessons, step_seed
from edgegen.core.errors import BuildError
from edgegen.core.records import write_record
from edgegen.train.deployed import load_deployed, save_deployed
from edgegen.train.families import find_family

_WRITTEN_ROWS = 4096
"""Rows that the parent writes, at most: 260,000 tokens at a context of 64, two minutes of one core at most."""


_ASKED = 64
_LEAST_SPREAD = 0.01


def apply(source: Path, folder: Path, settings: Distilled, context: StepContext) -> Mapping[str, Any]:
    """Writes the student.

    Raises:
        BuildError: there is no parent, an objective that such a model cannot have, or training made it worse.
        UsageError: settings of the student that its family does not have.
    """
    schedule = Schedule(
        steps=settings.steps, batch=settings.batch, learning_rate=settings.learning_rate, average=settings.average
    )
    with fixed_threads(context.threads):
        module, family, shape = load_deployed(source)
        parent, _, parent_shape = load_deployed(context.need_parent())
        smaller = student_settings(family, shape, settings)
        lessons = Lessons(family, parent_shape, context.data, augmented=context.augmented)
        if smaller == shape:
            save_deployed(copy.deepcopy(module), family, shape, folder)
            return {}
        begun = begin(module, family, shape, smaller, lessons, settings.start, context.seed)
        student, whole = begun.module, None
        if needs_whole(lessons, settings):
            whole = Whole(family, smaller, student, context.need_parent())
            student = whole.student
        if settings.written:
            _let_write(lessons, parent, family, parent_shape, settings, context)
        untrained, task = lessons.likeness(student, parent, context.seed), lessons.task(student, context.seed)
        teaching = Objectives(student, parent, lessons, settings, seed=context.seed, whole=whole, layers=begun.layers)
        key = run_key("distill", settings, source, context)
        fit(
            student,
            parent,
            lessons,
            schedule,
            context,
            key=key,
            task="distill",
            teaching=teaching,
            norms_learn=settings.batch > 1,
        )
        trained, after = lessons.likeness(student, parent, context.seed), lessons.task(student, context.seed)
        if trained.worse_than(untrained) and (task is None or after is None or after > task):
            raise BuildError(
                f"distill made the model worse: {untrained.metric} {untrained.mean:.3g} -> {trained.mean:.3g}",
                where=str(source),
                next_step=f"lower learning_rate (now {settings.learning_rate}) or raise steps (now {settings.steps})",
            )
        parents = lessons.task(parent, context.seed)
        _refuse_dead(student, parent, lessons, settings, context.seed)
    save_deployed(student, family, smaller, folder)
    before, now = write_record(shape), write_record(smaller)
    return {
        "student": {name: {"before": before[name], "now": now[name]} for name in now if now[name] != before[name]},
        "began_as": begun.said,
        "compared_layers": len(teaching.taps),
        **trained.figures(),
        **({} if after is None else {"true_loss": round(after, 4), "parents_true_loss": round(parents or 0.0, 4)}),
        "untrained": untrained.figures(),
    }


def _refuse_dead(student: nn.Module, parent: nn.Module, lessons: Lessons, settings: Distilled, seed: int) -> None:
    """Refuses a student that gives the same whatever it is asked.

    Raises:
        BuildError: its answers vary by less than 1 % of the variance of its parent's.
    """
    question = lessons.ask(_ASKED, step_seed(seed, -7))
    with torch.no_grad():
        mine, theirs = (lessons.answer(each, question).var(dim=0).mean() for each in (student, parent))
    if not mine > _LEAST_SPREAD * theirs:
        raise BuildError(
            "the student gives the same answer whatever it is asked",
            got=f"a variance of {float(mine):.2g} over {_ASKED} questions, the parent's is {float(theirs):.2g}",
            next_step=f"lower learning_rate (now {settings.learning_rate}), or give the narrowest layer more channels",
        )


def _let_write(
    lessons: Lessons, parent: nn.Module, family: str, shape: Any, settings: Distilled, context: StepContext
) -> None:
    """Has the parent write rows, which are then read as lessons.

    Raises:
        BuildError: it writes none.
    """
    if not find_family(family).tokens:
        raise BuildError(
            f"models of the family {family!r} write no rows of tokens",
            where="[compress.distilled] written",
            expected="a model of sequences; generators are asked noise and look at no data as they are",
            next_step="set written = 0",
        )
    rows = min(_WRITTEN_ROWS, settings.steps * settings.batch)
    context.progress.say(f"distill: the parent writes {rows} rows")
    lessons.read_too(write_rows(parent, family, shape, rows, step_seed(context.seed, -6)), settings.written)
