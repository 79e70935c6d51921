"""Texts that a microcontroller writes: a prompt is read on the device, and tokens stream back over the line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgegen.core.c_model import CModel
from edgegen.core.errors import UsageError
from edgegen.devices.mcu.client import McuClient
from edgegen.devices.mcu.wiring import wiring_of

_MOST_TOKENS = 1_000_000


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
    ratio = wiring.ratio(temperature)
    client.forget()
    client.read_tokens(prompt, 0)
    yield from client.write_tokens(count, seed, ratio)
