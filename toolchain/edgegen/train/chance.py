"""What an epoch draws: its seed, its batches, and the states of the generators in its middle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Generator, Tensor


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Seed of one epoch's generator, 0 .. 2**63 - 1; a process of several draws noise of its own."""
    text = f"{seed}:{epoch}" if rank == 0 else f"{seed}:{epoch}:{rank}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def batches_of(order: Tensor, size: int, processes: int) -> list[Tensor]:
    """The epoch's batches. A rest of less than two samples a process joins the batch before: one alone has no spread
    that a batch norm could divide by.
    """
    import torch

    batches = list(torch.split(order, size))
    if len(batches) > 1 and len(batches[-1]) < min(size, 2 * processes):
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def states(generator: Generator) -> dict[str, Any]:
    """Where this generator and torch's own stand, as a checkpoint keeps it."""
    import torch

    found = {"noise": generator.get_state(), "cpu": torch.get_rng_state()}
    return found | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def restore(generator: Generator, kept: Mapping[str, Any]) -> None:
    """Puts them back to where ``states`` found them."""
    import torch

    generator.set_state(kept["noise"])
    torch.set_rng_state(kept["cpu"])
    if "cuda" in kept:
        torch.cuda.set_rng_state(kept["cuda"])
