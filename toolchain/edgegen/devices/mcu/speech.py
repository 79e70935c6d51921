"""Texts that a microcontroller writes: a prompt is read on the device, and tokens stream back over the line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgegen.core.c_model import CModel
from edgegen.core.errors import UsageError
from edgegen.devices.mcu.client import McuClient
from edgegen.devices.mcu.wiring import Wiring, wiring_of

_MOST_TOKENS = 1_000_000
_READ, _MOST_READ, _WRITTEN = 64, 4096, 8  # tokens that a pace is taken of


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What a token costs a device."""

    prompt_ticks: float  # a token of a prompt: all of them, the scores after the last one included, over their number
    written_ticks: float  # a token that is written


def spoken(
    client: McuClient, model: CModel, prompt: Sequence[int], count: int, *, seed: int, temperature: float
) -> Iterator[int]:
    """So many tokens behind ``prompt``, each as soon as it comes. Equal seeds give equal texts on every core.

    Args:
        seed: 0 to 2^32 - 1.
        temperature: scores are divided by it; 0 always takes the highest.

    Raises:
        UsageError: the model is none of sequences, or a token, number or temperature is out of range.
        ToolMissingError: the device fails.
    """
    ratio = _checked(model, prompt, count, seed).ratio(temperature)
    client.forget()
    client.read_tokens(prompt, 0)
    yield from client.write_tokens(count, seed, ratio)


def paced(client: McuClient, model: CModel, context: int | None, overhead: int) -> Pace:
    """Ticks of a token that is read and of one that is written.

    Args:
        context: tokens that the model looks back on; the prompt has as many, 64 where it is None. They are 0, 1, 2,
            ... of the vocabulary: which ones matters little, and so the figure can be had again without the data.
        overhead: ticks that timing an inference takes.

    Raises:
        UsageError, ToolMissingError: as ``spoken``.
    """
    vocabulary = _checked(model, [0], _WRITTEN, 0).vocabulary
    prompt = [place % vocabulary for place in range(min(context or _READ, _MOST_READ))]
    totals = []
    for count in (1, 1 + _WRITTEN):
        client.forget()
        client.read_tokens(prompt, 0)
        totals.append(_ticks(client, count) - overhead * (len(prompt) + count - 1))
    return Pace(prompt_ticks=totals[0] / len(prompt), written_ticks=(totals[1] - totals[0]) / _WRITTEN)


def _ticks(client: McuClient, count: int) -> int:
    """Of a text with the likeliest tokens, its prompt included."""
    writing = client.write_tokens(count, 0, 0)
    while True:
        try:
            next(writing)
        except StopIteration as end:
            return int(end.value)


def _checked(model: CModel, prompt: Sequence[int], count: int, seed: int) -> Wiring:
    wiring = wiring_of(model)
    if wiring is None:
        raise UsageError(
            "the model writes no tokens that the firmware could feed back to it",
            where=model.name,
            expected="an int32 input 'token', an int8 output 'logits', and an output for every memory's input",
        )
    if not prompt or not all(0 <= token < wiring.vocabulary for token in prompt):
        raise UsageError("not a prompt", got=list(prompt)[:8], expected=f"tokens of 0 to {wiring.vocabulary - 1}")
    if not 1 <= count <= _MOST_TOKENS or not 0 <= seed < 1 << 32:
        raise UsageError(
            "not a text's length or seed", got=(count, seed), expected=f"1 to {_MOST_TOKENS}; a seed of 0 up"
        )
    return wiring
