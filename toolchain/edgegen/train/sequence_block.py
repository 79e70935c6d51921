"""A transformer of ``sequence`` that reads a block of tokens at once: what a device reads a prompt with.

It has the weights of the step that is deployed, takes and gives the same memory, and answers as so many steps would:
the scores of the token after the block's last one. A block may be filled in part; what lies behind its last token is
read and forgotten.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from edgegen.train.sequence import MASKED, Layer, Transformer


class BlockTransformer(Transformer):
    """The same model whose ``forward`` takes a block; ``whole`` and ``memories`` are as before."""

    def forward(  # type: ignore[override]
        self, tokens: Tensor, position: Tensor, count: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A block of tokens, of which the last may be no tokens.

        Args:
            tokens: (1, block), a block of at most ``context``; those behind the last are any.
            position: (1, 1), how many tokens came before the block.
            count: (1, 1), how many of the block are tokens: 1 .. block.
            keys: (1, layers * heads, context, length), the ring before the block; ``values`` likewise.

        Returns:
            scores (1, vocabulary) of the token after the last, and the block's keys and values (1, layers * heads,
            block, length): those of its token n belong into place ``position + n`` modulo ``context`` of the rings,
            those behind the last nowhere.
        """
        x = self.embed(tokens)  # (1, block, width)
        earlier, within = self._earlier(position, tokens.shape[1]), self._within(tokens.shape[1])
        new_keys, new_values = [], []
        for number, layer in enumerate(self.layers):
            mine = slice(number * self.heads, (number + 1) * self.heads)
            x, key, value = _read(
                cast(Layer, layer), x, keys[:, mine], values[:, mine], earlier[:, mine], within[:, mine]
            )
            new_keys.append(key)
            new_values.append(value)
        last = torch.index_select(x, 1, (count - 1).reshape(1))[:, 0]  # (1, width)
        return self.head(self.norm(last)), torch.cat(new_keys, dim=1), torch.cat(new_values, dim=1)

    def _earlier(self, position: Tensor, block: int) -> Tensor:
        """What distances add to the scores of the ring's places: (1, layers * heads, block, context)."""
        places = torch.arange(self.context, dtype=position.dtype, device=position.device)
        # From the block's first token back to what lies in each place: 1 .. context.
        behind = torch.remainder(position - 1 - places, self.context) + 1  # (1, context)
        steps = torch.arange(block, dtype=position.dtype, device=position.device)
        age = behind[:, None] + steps[:, None]  # (1, block, context)
        seen = (age < self.context) & (behind <= position)[:, None]
        added = torch.where(seen[..., None], self.distances(age.clamp(max=self.context - 1)), MASKED)
        return added.permute(0, 3, 1, 2)

    def _within(self, block: int) -> Tensor:
        """The same for the block's own tokens, (1, layers * heads, block, block): none sees a later one."""
        at = torch.arange(block, device=self.distances.weight.device)
        age = at[:, None] - at
        added = torch.where((age >= 0)[..., None], self.distances(age.clamp(min=0)), MASKED)
        return added.permute(2, 0, 1)[None]


def _read(
    layer: Layer, x: Tensor, keys: Tensor, values: Tensor, earlier: Tensor, within: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """``Layer.forward`` of x (1, block, width)."""
    _, block, _ = x.shape
    query, key, value = (
        part.reshape(1, block, layer.heads, layer.length).transpose(1, 2)
        for part in layer.looks(layer.norm(x)).chunk(3, dim=2)
    )
    query = query / math.sqrt(layer.length)
    before = torch.matmul(query, keys.transpose(2, 3)) + earlier  # (1, heads, block, context)
    now = torch.matmul(query, key.transpose(2, 3)) + within  # (1, heads, block, block)
    shares = torch.softmax(torch.cat((before, now), dim=3), dim=3)
    context = keys.shape[2]
    found = torch.matmul(shares[..., :context], values) + torch.matmul(shares[..., context:], value)
    x = x + layer.mixes(found.transpose(1, 2).reshape(1, block, layer.heads * layer.length))
    return x + layer.hidden(x), key, value
