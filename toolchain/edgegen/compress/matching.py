"""Trains a generator to give what its float parent gives, on latents that depend on nothing but seed and step.

Deterministic for a fixed number of threads: no generator state is carried, so a run that was killed and resumed from
its checkpoint ends with the same bits as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from edgegen.compress.context import StepContext
from edgegen.core.digests import sha256_json
from edgegen.core.errors import BuildError
from edgegen.train.checkpoint import read_checkpoint, write_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKPOINT_STEPS = 200
_HELD_OUT_SAMPLES = 256
_WORST_SHARE = 0.05
_BETAS = (0.9, 0.99)
_RISING_STEPS = 100

Latents = Callable[[int, int], tuple[Tensor, ...]]


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


def match(
    student: nn.Module,
    parent: nn.Module,
    latents: Latents,
    schedule: Schedule,
    context: StepContext,
    *,
    key: Any,
    task: str,
) -> None:
    """Trains ``student`` in place towards ``parent``'s outputs (mean squared error, Adam, cosine to zero).

    Args:
        latents: (samples, seed) -> the generator's inputs.
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
        inputs = latents(schedule.batch, step_seed(context.seed, step))
        with torch.no_grad():
            wanted = parent(*inputs)
        loss = (student(*inputs) - wanted).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step % 20 == 19 or step + 1 == schedule.steps:
            value = float(loss.detach())
            if not math.isfinite(value):
                raise BuildError(
                    f"{task} has diverged: its loss is {value}",
                    next_step=f"lower its learning_rate (now {schedule.learning_rate})",
                )
            context.progress.advance(task, step + 1, schedule.steps, f"{-10 * math.log10(max(value, 1e-12)):.1f} dB")
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


def step_seed(seed: int, step: int) -> int:
    """A seed for one step; equal for equal arguments, unrelated for differing ones."""
    return int(sha256_json([seed, step])[:15], 16)


def paired_psnr_db(student: nn.Module, parent: nn.Module, latents: Latents, seed: int) -> tuple[float, float]:
    """Mean PSNR and mean of the worst 5 % in dB over held-out latents, for outputs in 0..1."""
    inputs = latents(_HELD_OUT_SAMPLES, step_seed(seed, -1))
    with torch.no_grad():
        error = (student(*inputs) - parent(*inputs)).square().flatten(1).mean(dim=1)  # (samples,)
    psnr = torch.sort(-10 * torch.log10(error.clamp_min(1e-12))).values
    return float(psnr.mean()), float(psnr[: max(1, int(len(psnr) * _WORST_SHARE))].mean())
