"""Where training runs: one CPU, a GPU, or several processes that share every batch.

Nothing here imports torch at the top: the place is part of a stage's key, which a rebuild asks for.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError, ToolMissingError
from edgegen.core.versions import installed
from edgegen.train.settings import TrainSettings

if TYPE_CHECKING:
    from torch import Tensor

_NVIDIA = Path("/dev/nvidiactl")


def place(settings: TrainSettings) -> str:
    """``cpu`` or ``cuda``; told without torch.

    Raises:
        ToolMissingError: a GPU was asked for, and there is none or torch was built without.
    """
    able = _NVIDIA.exists() and not (installed("torch") or "").endswith("+cpu")
    if settings.device == "cuda" and not able:
        raise ToolMissingError(
            "there is no GPU that torch could use",
            where="[train] device",
            got="no NVIDIA driver" if not _NVIDIA.exists() else f"torch {installed('torch')}, built without CUDA",
            next_step="leave [train] device out, or install a GPU and a build of torch for it",
        )
    return "cuda" if able and settings.device != "cpu" else "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """The processes that train one model together: ``torchrun`` starts them and says so in the environment."""

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes what is made."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """This process's part of a batch's indexes; empty if there are fewer samples than processes."""
        return batch[self.rank :: self.world]

    def combine(self, parameters: Sequence[Tensor], part: float) -> None:
        """Makes every gradient the whole batch's: the sum over the processes, each weighed by its ``part`` of it."""
        if self.world == 1:
            return
        import torch
        from torch import distributed

        gradients = [torch.zeros_like(item) if item.grad is None else item.grad * part for item in parameters]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        with _all_present():
            distributed.all_reduce(flat)
        for item, gradient in zip(parameters, torch.split(flat, [item.numel() for item in parameters]), strict=True):
            item.grad = gradient.view_as(item).clone()

    def sums(self, values: Sequence[float]) -> list[float]:
        """The sum of every value over the processes."""
        if self.world == 1:
            return list(values)
        import torch
        from torch import distributed

        total = torch.tensor(values, dtype=torch.float64)
        with _all_present():
            distributed.all_reduce(total)
        found: list[float] = total.tolist()
        return found

    def leaders(self, value: Any) -> Any:
        """The first process's value, in every process: what all of them must decide alike."""
        if self.world == 1:
            return value
        from torch import distributed

        held = [value]
        with _all_present():
            distributed.broadcast_object_list(held, 0)
        return held[0]

    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Gives every process the first one's values of these: running means are of its own share of the batches."""
        if self.world == 1:
            return
        from torch import distributed

        with _all_present():
            for tensor in tensors:
                held = tensor.contiguous()  # gloo takes no other layout
                distributed.broadcast(held, 0)
                tensor.copy_(held)


@contextmanager
def _all_present() -> Iterator[None]:
    """Around what all processes do together: another one's end is told as what it is."""
    try:
        yield
    except RuntimeError as error:  # of gloo and nccl alike; torch has no narrower class for gloo's
        raise BuildError(
            "another process of this training has ended",
            where="torchrun",
            got=error,
            next_step="look at what that process said; the same command goes on from the last whole epoch",
        ) from error


def replicas() -> Replicas:
    """What ``torchrun`` put into the environment; one process where there is no torchrun."""
    return Replicas(rank=int(os.environ.get("RANK", "0")), world=int(os.environ.get("WORLD_SIZE", "1")))


def connect(here: Replicas, where: str) -> None:
    """Connects the processes with each other until they end: what torchrun offers can be taken up only once.

    Raises:
        BuildError: another process is not there.
    """
    from torch import distributed

    if here.world == 1 or distributed.is_initialized():
        return
    if where == "cuda":
        import torch

        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    with _all_present():
        # Numbers that are counted on the CPU are summed there, also where the weights are on GPUs.
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if where == "cuda" else "gloo", rank=here.rank, world_size=here.world
        )
    atexit.register(distributed.destroy_process_group)
