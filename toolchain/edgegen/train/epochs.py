"""Repeatable optimization on the CPU: the same seed, data, settings and library give the same bits.

All randomness of an epoch comes from one generator seeded with (seed, epoch), so nothing random has to be carried from
one epoch to the next and a run that was killed goes on exactly as if it had not been.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.core.ports import Progress
from edgegen.train.checkpoint import read_checkpoint, write_checkpoint
from edgegen.train.settings import TrainSettings

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn
    from torch.optim import Optimizer

    LossOf = Callable[[Tensor, Generator], dict[str, Tensor]]

_REPORTS_PER_EPOCH = 10


@contextmanager
def repeatable(threads: int, seed: int) -> Iterator[None]:
    """Deterministic kernels, a fixed number of threads and a seeded global generator; puts back what was before."""
    import torch

    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def channels_last(model: nn.Module) -> nn.Module:
    """The model with its convolutions' weights channels last: half the time for small ones on x86, other rounding."""
    import torch

    moved: nn.Module = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    return moved


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of one epoch's generator, 0 .. 2**63 - 1."""
    digest = hashlib.sha256(f"{seed}:{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def optimize(
    model: nn.Module,
    loss_of: LossOf,
    samples: int,
    settings: TrainSettings,
    *,
    seed: int,
    task: str,
    progress: Progress,
    checkpoint: Path | None = None,
    key: str = "",
) -> list[dict[str, float]]:
    """Trains ``model`` in place and gives each epoch's mean loss parts.

    Args:
        loss_of: the loss parts of the samples with the given indexes (batch,), the one named ``loss`` to minimize.
        task: what a person reads beside the bar.
        checkpoint: file written after each epoch and taken up if it carries ``key``; the caller removes it.

    Raises:
        BuildError: the loss is not finite.
    """
    import torch

    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, fused=True)
    history: list[dict[str, float]] = []
    state = None if checkpoint is None else read_checkpoint(checkpoint, key, progress)
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        history = state["history"]
        progress.say(f"{task}: going on after epoch {len(history)} of {settings.epochs}")
    for epoch in range(len(history), settings.epochs):
        history.append(
            _epoch(optimizer, loss_of, samples, settings, epoch=epoch, seed=seed, task=task, progress=progress)
        )
        if checkpoint is not None:
            write_checkpoint(
                checkpoint,
                key,
                {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": history},
            )
    model.eval()
    return history


def _epoch(
    optimizer: Optimizer,
    loss_of: LossOf,
    samples: int,
    settings: TrainSettings,
    *,
    epoch: int,
    seed: int,
    task: str,
    progress: Progress,
) -> dict[str, float]:
    import torch

    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
    batches = torch.split(torch.randperm(samples, generator=generator), settings.batch_size)
    every = math.ceil(len(batches) / _REPORTS_PER_EPOCH)
    sums: dict[str, float] = {}
    seen = 0
    for index, batch in enumerate(batches):
        done = epoch * len(batches) + index
        _set_rate(optimizer, settings.learning_rate, done / (settings.epochs * len(batches)))
        parts = loss_of(batch, generator)
        optimizer.zero_grad(set_to_none=True)
        parts["loss"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seen += len(batch)
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + value.item() * len(batch)
        if not math.isfinite(sums["loss"]):
            raise BuildError(
                f"the loss is not finite in epoch {epoch + 1}, batch {index + 1}",
                where=task,
                got=parts["loss"].item(),
                expected="a finite loss",
                next_step="lower [train] learning_rate",
            )
        if (index + 1) % every == 0 or index + 1 == len(batches):
            detail = f"epoch {epoch + 1}/{settings.epochs}, loss {sums['loss'] / seen:.4g}"
            progress.advance(task, done + 1, settings.epochs * len(batches), detail)
    return {name: total / samples for name, total in sums.items()}


def _set_rate(optimizer: Any, base: float, part: float) -> None:
    """Half a cosine from ``base`` to zero: arXiv 1608.03983, equation 5, with one cycle."""
    for group in optimizer.param_groups:
        group["lr"] = 0.5 * base * (1 + math.cos(math.pi * part))
