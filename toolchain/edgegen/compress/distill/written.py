"""Rows of tokens that a model writes itself: lessons of a student without data (Kim and Rush, arXiv 1606.07947)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from edgegen.train.families import find_family

_AT_ONCE = 256  # rows that are written together


def write_rows(
    module: nn.Module, family: str, settings: Any, rows: int, seed: int, *, earlier: int | None = None
) -> Tensor:
    """(rows, context + 1) tokens drawn from the model's own probabilities; equal for equal arguments.

    Args:
        earlier: tokens that are written before each row and thrown away, the first of which is any token, so that a row
            begins in the middle of a text as the rows of training do. None: as many as a row has.
    """
    unseen = settings.context + 1 if earlier is None else earlier
    random = torch.Generator().manual_seed(seed % 2**63)
    found = [
        _write(module, family, settings, min(_AT_ONCE, rows - first), unseen, random)
        for first in range(0, rows, _AT_ONCE)
    ]
    return torch.cat(found)


def _write(module: nn.Module, family: str, settings: Any, rows: int, earlier: int, random: torch.Generator) -> Tensor:
    takes, gives = find_family(family).signature(settings)
    memory = {spec.name: torch.zeros(rows, *spec.shape[1:], dtype=getattr(torch, spec.dtype)) for spec in takes[1:]}
    token = torch.randint(settings.vocabulary, (rows, 1), generator=random)
    written = [token]
    with torch.no_grad():
        for place in range(earlier + settings.context):
            given = dict(zip((spec.name for spec in gives), cast(Any, module)(token, *memory.values()), strict=True))
            _remember(memory, given, place, settings.context)
            token = torch.multinomial(torch.softmax(given["logits"], dim=1), 1, generator=random)  # (rows, 1)
            written.append(token)
    return torch.cat(written[earlier:], dim=1)


def _remember(memory: dict[str, Tensor], given: dict[str, Tensor], place: int, context: int) -> None:
    """What the step's caller keeps: see ``train.autoregressive``'s ``remember``, here for many rows at once."""
    if "next_state" in given:
        memory["state"] = given["next_state"]
        return
    memory["position"] = memory["position"] + 1
    for name in ("keys", "values"):
        memory[name][:, :, place % context] = given[f"new_{name}"]
