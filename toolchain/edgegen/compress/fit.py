"""Trains a changed model to answer as its float parent does.

Deterministic for a fixed number of threads: no generator state is carried, so a run that was killed and resumed from
its checkpoint ends with the same bits as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edgegen.compress.context import StepContext
from edgegen.compress.lessons import Lessons, step_seed
from edgegen.core.digests import sha256_json
from edgegen.core.errors import BuildError
from edgegen.train.checkpoint import read_checkpoint, write_checkpoint

CHECKPOINT_STEPS = 200
_BETAS = (0.9, 0.99)
_RISING_STEPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast to train."""

    steps: int
    batch: int
    learning_rate: float


@contextmanager
def fixed_threads(threads: int) -> Iterator[None]:
    """Runs the block on exactly this many torch threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit(
    student: nn.Module,
    parent: nn.Module,
    lessons: Lessons,
    schedule: Schedule,
    context: StepContext,
    *,
    key: Any,
    task: str,
) -> None:
    """Trains ``student`` in place towards ``parent``'s answers (Adam, cosine to zero).

    Args:
        key: JSON-ready; a checkpoint is taken up only if it was written for an equal key.

    Raises:
        BuildError: the loss is no longer a number.
    """
    parent.requires_grad_(False)
    parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=schedule.learning_rate, betas=_BETAS)
    run, start = sha256_json(key), 0
    place = None if context.checkpoints is None else context.checkpoints / f"{run[:32]}.pt"
    state = None if place is None else read_checkpoint(place, run, context.progress)
    if state is not None:
        student.load_state_dict(state["student"])
        optimizer.load_state_dict(state["optimizer"])
        start = int(state["step"])
        context.progress.say(f"{task}: going on after step {start} of {schedule.steps}")
    for step in range(start, schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = _rate(schedule, step)
        question = lessons.ask(schedule.batch, step_seed(context.seed, step))
        with torch.no_grad():
            wanted = lessons.answer(parent, question)
        loss = lessons.loss(lessons.answer(student, question), wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 20 == 19 or step + 1 == schedule.steps:
            value = float(loss.detach())
            if not math.isfinite(value):
                raise BuildError(
                    f"{task} has diverged: its loss is {value}",
                    next_step=f"lower its learning_rate (now {schedule.learning_rate})",
                )
            context.progress.advance(task, step + 1, schedule.steps, f"loss {value:.3g}")
        if place is not None and (step + 1) % CHECKPOINT_STEPS == 0:
            write_checkpoint(
                place,
                run,
                {"step": step + 1, "student": student.state_dict(), "optimizer": optimizer.state_dict()},
            )
    if place is not None:
        place.unlink(missing_ok=True)


def _rate(schedule: Schedule, step: int) -> float:
    """Rises over the first steps, as a full first step can kill every ReLU of a layer; then a cosine to zero."""
    rise = min(1.0, (step + 1) / _RISING_STEPS)
    return schedule.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / schedule.steps))
