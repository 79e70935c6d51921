"""What a transformer's heads look at while it reads whole rows, and how far a student's heads are from its parent's.

After Wang et al., MiniLM, arXiv 2002.10957, equation 3: the divergence of the student's shares from the parent's, with
the mean over heads where the two have different numbers of them.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from edgegen.train.sequence import MASKED, Transformer

_LEAST = 1e-9


def looking_layers(module: nn.Module) -> tuple[str, ...]:
    """Names of the layers that make queries and keys, in their order; none where the model does not attend."""
    if not isinstance(module, Transformer):
        return ()
    return tuple(f"layers.{number}.looks" for number in range(len(module.layers)))


def shares(module: nn.Module, number: int, normed: Tensor) -> Tensor:
    """Attention shares (batch, heads, tokens, tokens) of the layer called ``number``.

    Args:
        normed: what enters its ``looks``: (batch, tokens, width).
    """
    model = cast(Any, module)
    layer = model.layers[number]
    batch, tokens, _ = normed.shape
    heads, at = layer.heads, torch.arange(tokens)
    query, key, _ = (
        part.reshape(batch, tokens, heads, layer.length).transpose(1, 2) for part in layer.looks(normed).chunk(3, dim=2)
    )
    age = at[:, None] - at
    seen = (age >= 0) & (age < model.context)
    added = torch.where(seen[..., None], model.distances(age.clamp(0, model.context - 1)), MASKED)
    mine = added.permute(2, 0, 1)[number * heads : (number + 1) * heads]  # (heads, tokens, tokens)
    scores = torch.matmul(query, key.transpose(2, 3)) / math.sqrt(layer.length) + mine
    return torch.softmax(scores, dim=3)


def share_error(mine: Tensor, theirs: Tensor) -> Tensor:
    """The mean divergence in nats of the student's shares from the parent's."""
    if mine.shape[1] != theirs.shape[1]:
        mine, theirs = mine.mean(dim=1, keepdim=True), theirs.mean(dim=1, keepdim=True)
    ratio = (theirs + _LEAST).log() - (mine + _LEAST).log()
    return (theirs * ratio).sum(dim=3).mean()
