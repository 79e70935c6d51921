"""Models of token sequences as torch modules, written twice: for a whole row at once, and for one token a step.

``forward`` is the step that is deployed: a token and what the model remembers in, the scores of the next token and what
is new to remember out. ``whole`` reads a row (batch, tokens) and gives the same scores (batch, tokens, vocabulary);
``memories`` gives what the model remembers before each token of a row, as the step's inputs.

Sources: Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, arXiv 1406.1078 (with the reset gate
behind the matrix, as torch has it); Vaswani et al., Attention Is All You Need, arXiv 1706.03762; layers that begin with
their norm: Xiong et al., arXiv 2002.04745; a learned bias by distance in place of positions: Raffel et al., arXiv
1910.10683, section 2.1, here with a value for every distance; its start: Press et al., ALiBi, arXiv 2108.12409.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

MASKED = -100.0
"""Added to the score of what may not be seen. Finite: an infinite one gives quantizers no scale."""

_SMALL = 0.1  # deviation of a transformer's fresh embeddings, so that its layers soon have a say beside them
_NEAR = 8.0  # what a head of the first layer adds to the score of its own distance at first


class Recurrent(nn.Module):
    """Layers of gated recurrent units; each adds to what comes in, from the second on."""

    def __init__(self, vocabulary: int, layers: int, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.embed = nn.Embedding(vocabulary, width)
        inputs = (width, *(hidden for _ in range(layers - 1)))
        self.reads = nn.ModuleList(nn.Linear(length, 3 * hidden) for length in inputs)  # reset, update, new
        self.recalls = nn.ModuleList(nn.Linear(hidden, 3 * hidden) for _ in range(layers))
        self.head = nn.Linear(hidden, vocabulary)

    def forward(self, token: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Token (batch, 1) and state (batch, layers, hidden) to scores (batch, vocabulary) and the next state."""
        x = self.embed(token)[:, 0]  # (batch, width)
        states = []
        for number, read, recall in self._cells():
            before = state[:, number]
            reset, update, new = read(x).chunk(3, dim=1)
            old_reset, old_update, old = recall(before).chunk(3, dim=1)
            update = torch.sigmoid(update + old_update)
            new = torch.tanh(new + torch.sigmoid(reset + old_reset) * old)
            after = new + update * (before - new)
            states.append(after)
            x = after if number == 0 else x + after
        return self.head(x), torch.stack(states, dim=1)

    def whole(self, tokens: Tensor, noise: Generator | None = None) -> Tensor:
        """Scores of the token that follows each one; ``noise`` draws the dropout of a model in training."""
        return self._run(tokens, noise)[0]

    def memories(self, tokens: Tensor) -> dict[str, Tensor]:
        """``state`` (batch, tokens, layers, hidden) before each token."""
        after = torch.stack(self._run(tokens, None)[1], dim=2)  # (batch, tokens, layers, hidden)
        return {"state": functional.pad(after, (0, 0, 0, 0, 1, 0))[:, :-1]}

    def _run(self, tokens: Tensor, noise: Generator | None) -> tuple[Tensor, list[Tensor]]:
        x = self._dropped(self.embed(tokens), noise)
        begin = x.new_zeros(1, len(x), self.head.in_features)
        found = []
        for number, read, recall in self._cells():
            weights = (read.weight, recall.weight, read.bias, recall.bias)
            states, _ = torch.gru(x, begin, weights, True, 1, 0.0, False, False, True)  # (batch, tokens, hidden)
            found.append(states)
            kept = self._dropped(states, noise)
            x = kept if number == 0 else x + kept
        return self.head(x), found

    def _cells(self) -> Iterator[tuple[int, nn.Linear, nn.Linear]]:
        for number, pair in enumerate(zip(self.reads, self.recalls, strict=True)):
            yield number, *cast("tuple[nn.Linear, nn.Linear]", pair)

    def _dropped(self, x: Tensor, noise: Generator | None) -> Tensor:
        return dropped(x, self.dropout if self.training else 0.0, noise)


class Transformer(nn.Module):
    """Causal attention over the last ``context`` tokens, itself among them.

    The keys and values of earlier tokens are kept by whoever calls the step, in a ring: those of token n lie in place
    n modulo ``context``. Only distances count, so a text may be as long as it likes.
    """

    def __init__(
        self,
        vocabulary: int,
        context: int,
        width: int,
        heads: int,
        length: int,
        hidden: Sequence[int],
        dropout: float,
    ) -> None:
        super().__init__()
        layers = len(hidden)
        self.context = context
        self.heads = heads
        self.dropout = dropout
        self.embed = nn.Embedding(vocabulary, width)
        self.distances = nn.Embedding(context, layers * heads)  # what a distance adds to a head's score
        self.layers = nn.ModuleList(Layer(width, heads, length, wide) for wide in hidden)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)
        with torch.no_grad():
            self.embed.weight.mul_(_SMALL)
            self.distances.weight.copy_(_first_distances(context, layers, heads))

    def forward(self, token: Tensor, position: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One token.

        Args:
            token: (batch, 1).
            position: (batch, 1), how many tokens came before.
            keys: (batch, layers * heads, context, length), the ring; ``values`` likewise.

        Returns:
            scores (batch, vocabulary), and the token's keys and values (batch, layers * heads, length), which
            belong into place ``position`` modulo ``context`` of the rings before the next step.
        """
        x = self.embed(token)[:, 0]  # (batch, width)
        places = torch.arange(self.context, dtype=position.dtype, device=position.device)
        age = torch.remainder(position - places, self.context)  # (batch, context), 0 where the token itself will lie
        seen = (age > 0) & (age <= position)
        added = torch.where(seen[..., None], self.distances(age), MASKED)  # (batch, context, layers * heads)
        added = added.transpose(1, 2)
        own = self.distances.weight[0]
        new_keys, new_values = [], []
        for number, layer in enumerate(self.layers):
            mine = slice(number * self.heads, (number + 1) * self.heads)
            x, key, value = layer(x, keys[:, mine], values[:, mine], added[:, mine], own[mine])
            new_keys.append(key)
            new_values.append(value)
        return self.head(self.norm(x)), torch.cat(new_keys, dim=1), torch.cat(new_values, dim=1)

    def whole(self, tokens: Tensor, noise: Generator | None = None) -> Tensor:
        """Scores of the token that follows each one; ``noise`` draws the dropout of a model in training."""
        return self._run(tokens, noise)[0]

    def memories(self, tokens: Tensor) -> dict[str, Tensor]:
        """``keys`` and ``values`` (batch, layers * heads, tokens, length) of every token of the row."""
        _, keys, values = self._run(tokens, None)
        return {"keys": torch.cat(keys, dim=1), "values": torch.cat(values, dim=1)}

    def _run(self, tokens: Tensor, noise: Generator | None) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        rate = self.dropout if self.training else 0.0
        at = torch.arange(tokens.shape[1], device=tokens.device)
        age = at[:, None] - at  # (tokens, tokens)
        seen = (age >= 0) & (age < self.context)
        added = torch.where(seen[..., None], self.distances(age.clamp(0, self.context - 1)), MASKED)
        added = added.permute(2, 0, 1)  # (layers * heads, tokens, tokens)
        x = dropped(self.embed(tokens), rate, noise)
        keys, values = [], []
        for number, layer in enumerate(self.layers):
            mine = slice(number * self.heads, (number + 1) * self.heads)
            x, key, value = cast(Any, layer).whole(x, added[mine], rate, noise)
            keys.append(key)
            values.append(value)
        return self.head(self.norm(x)), keys, values


class Layer(nn.Module):
    """Attention, then a hidden part; each adds to what comes in. A fresh layer adds nothing."""

    def __init__(self, width: int, heads: int, length: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.length = length
        self.norm = nn.LayerNorm(width)
        self.looks = nn.Linear(width, 3 * heads * length)  # query, key, value
        self.mixes = nn.Linear(heads * length, width)
        self.hidden_norm = nn.LayerNorm(width)
        self.widens = nn.Linear(width, hidden)
        self.narrows = nn.Linear(hidden, width)
        for last in (self.mixes, self.narrows):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, added: Tensor, own: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One token: x (batch, width), the ring's (batch, heads, context, length), and what distances add.

        ``added`` (batch, heads, context) is for the ring's places, ``own`` (heads,) for the token itself.
        """
        batch = len(x)
        query, key, value = (
            part.reshape(batch, self.heads, 1, self.length) for part in self.looks(self.norm(x)).chunk(3, dim=1)
        )
        query = query / math.sqrt(self.length)
        before = torch.matmul(query, keys.transpose(2, 3)) + added[:, :, None]  # (batch, heads, 1, context)
        now = (query * key).sum(dim=3, keepdim=True) + own[:, None, None]  # (batch, heads, 1, 1)
        shares = torch.softmax(torch.cat((before, now), dim=3), dim=3)
        found = torch.matmul(shares[..., :-1], values) + shares[..., -1:] * value
        x = x + self.mixes(found.reshape(batch, self.heads * self.length))
        return x + self.hidden(x), key[:, :, 0], value[:, :, 0]

    def whole(self, x: Tensor, added: Tensor, rate: float, noise: Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """A row: x (batch, tokens, width); ``added`` (heads, tokens, tokens). Keys (batch, heads, tokens, ...)."""
        batch, tokens, _ = x.shape
        query, key, value = (
            part.reshape(batch, tokens, self.heads, self.length).transpose(1, 2)
            for part in self.looks(self.norm(x)).chunk(3, dim=2)
        )
        query = query / math.sqrt(self.length)
        shares = torch.softmax(torch.matmul(query, key.transpose(2, 3)) + added, dim=3)
        found = torch.matmul(shares, value).transpose(1, 2).reshape(batch, tokens, self.heads * self.length)
        x = x + dropped(self.mixes(found), rate, noise)
        return x + dropped(self.hidden(x), rate, noise), key, value

    def hidden(self, x: Tensor) -> Tensor:
        """What a layer adds behind its attention, of x (..., width)."""
        hidden: Tensor = self.narrows(functional.gelu(self.widens(self.hidden_norm(x)), approximate="tanh"))
        return hidden


def _first_distances(context: int, layers: int, heads: int) -> Tensor:
    """What distances add at first, (context, layers * heads).

    The heads of the first layer look one token back, two, three and so on: the n-gram that all else builds on need not
    be found first, which is worth 0.1 bits a character after one pass over 1 MB of English (measured, width 96).
    Those behind it begin as ALiBi's.
    """
    distance = torch.arange(context)[:, None]
    near = torch.where(distance == torch.arange(1, heads + 1), _NEAR, 0.0)  # (context, heads)
    slopes = 2.0 ** (-8.0 * torch.arange(1, heads + 1) / heads)
    return torch.cat((near, -distance * slopes.repeat(layers - 1)), dim=1)


def dropped(x: Tensor, rate: float, noise: Generator | None) -> Tensor:
    """``x`` with a share of its elements left out and the others raised: Srivastava et al., JMLR 15 (2014)."""
    if not rate or noise is None:
        return x
    kept = (torch.rand(x.shape, generator=noise) >= rate).to(x.device)
    return x * kept / (1 - rate)
