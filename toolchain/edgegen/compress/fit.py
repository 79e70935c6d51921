"""Trains a changed model to answer as its float parent does.

Deterministic for a fixed number of threads: no generator state is carried, so a run that was killed and resumed from
its checkpoint ends with the same bits as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from edgegen.compress.context import StepContext
from edgegen.compress.lessons import Lessons, Question, step_seed
from edgegen.core.digests import sha256_file, sha256_json
from edgegen.core.errors import BuildError
from edgegen.core.records import write_record
from edgegen.train.checkpoint import read_checkpoint, write_checkpoint
from edgegen.train.deployed import DEPLOYED_FILES
from edgegen.train.optimizers import Average

CHECKPOINT_STEPS = 200
_BETAS = (0.9, 0.99)
_RISING_STEPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast to train."""

    steps: int
    batch: int
    learning_rate: float
    average: float = 0.0  # decay of the moving average of the weights, which is then the result; 0: none


class Teaching(Protocol):
    """What a student minimizes, where that is more than the distance from its parent's answers."""

    def loss(self, student: nn.Module, parent: nn.Module, question: Question, step: int) -> Tensor:
        """What a step minimizes, a scalar."""

    def follow(self, step: int) -> None:
        """Moves what learns beside the student, after the student's step."""

    def state(self) -> Mapping[str, Any]:
        """What a checkpoint keeps of it: tensors and plain values."""

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint's state."""


class Answers:
    """The plain teaching: to answer as the parent does."""

    def __init__(self, lessons: Lessons) -> None:
        self._lessons = lessons

    def loss(self, student: nn.Module, parent: nn.Module, question: Question, step: int) -> Tensor:
        """``Lessons.loss``."""
        with torch.no_grad():
            wanted = self._lessons.answer(parent, question)
        return self._lessons.loss(self._lessons.answer(student, question), wanted)

    def follow(self, step: int) -> None:
        """Nothing else learns."""

    def state(self) -> Mapping[str, Any]:
        """Nothing to keep."""
        return {}

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Nothing was kept."""


def run_key(task: str, settings: Any, source: Path, context: StepContext) -> dict[str, Any]:
    """All that shapes a run: a checkpoint of another one is not taken up.

    Args:
        settings: the step's own record.
        source: folder of the model that the step begins with.
    """
    return {
        "task": task,
        "settings": write_record(settings),
        "seed": context.seed,
        "threads": context.threads,
        "torch": torch.__version__,
        "augmented": None if context.augmented is None else write_record(context.augmented),
        "source": [sha256_file(source / name) for name in DEPLOYED_FILES],
        "parent": [sha256_file(context.need_parent() / name) for name in DEPLOYED_FILES],
    }


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
    teaching: Teaching | None = None,
    norms_learn: bool = False,
) -> None:
    """Trains ``student`` in place towards ``parent``'s answers (Adam, cosine to zero) and leaves it in eval mode.

    Args:
        key: JSON-ready; a checkpoint is taken up only if it was written for an equal key.
        teaching: what is minimized; None: the distance from the parent's answers.
        norms_learn: batch norms look at their batches, as a fresh model needs; else the module's mode stays as it is.

    Raises:
        BuildError: the loss is no longer a number.
    """
    parent.requires_grad_(False)
    teaching = teaching or Answers(lessons)
    if norms_learn:
        student.train()
    parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=schedule.learning_rate, betas=_BETAS)
    average = Average(student, schedule.average)
    run, start = sha256_json(key), 0
    place = None if context.checkpoints is None else context.checkpoints / f"{run[:32]}.pt"
    state = None if place is None else read_checkpoint(place, run, context.progress)
    if state is not None:
        student.load_state_dict(state["student"])
        optimizer.load_state_dict(state["optimizer"])
        average.take_up(state["average"])
        teaching.take_up(state["teaching"])
        start = int(state["step"])
        context.progress.say(f"{task}: going on after step {start} of {schedule.steps}")
    for step in range(start, schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = _rate(schedule, step)
        question = lessons.ask(schedule.batch, step_seed(context.seed, step), varied=True)
        loss = teaching.loss(student, parent, question, step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        average.follow(student)
        teaching.follow(step)
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
                {
                    "step": step + 1,
                    "student": student.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "average": average.state(),
                    "teaching": dict(teaching.state()),
                },
            )
    average.settle(student)
    student.eval()
    if place is not None:
        place.unlink(missing_ok=True)


def _rate(schedule: Schedule, step: int) -> float:
    """Rises over the first steps, as a full first step can kill every ReLU of a layer; then a cosine to zero."""
    rise = min(1.0, (step + 1) / _RISING_STEPS)
    return schedule.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / schedule.steps))
