"""A model of sequences in C: where its token, scores and memory lie, and how the firmware chooses a token.

The firmware keeps the memory itself (``runtimes/mcu/port/eg_generation.c``), so that a text streams over the serial
line. What it does is in integers or in single float32 operations, and ``choose`` does the same here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgegen.core.c_model import CModel, CTensor
from edgegen.core.errors import UsageError

TOKEN, POSITION, SCORES = "token", "position", "logits"
"""Names of a model of sequences' inputs and its output of scores."""

MOST_VOCABULARY = 65_535
_NEXT = ("next_", "new_")  # before the name of a memory's input: the output that follows it
_RING_AXIS = 2
_TYPES = {"int8": "EG_INT8", "int16": "EG_INT16", "float32": "EG_FLOAT32"}
_MASK = (1 << 32) - 1
_SAME_SCALE = 1e-6  # far below half a step of 16 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A memory: its input, its output, and the axes that the input has around its places."""

    input: CTensor
    output: CTensor
    outer: int
    places: int  # 1: the output takes the input's place
    inner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """How a model of sequences is fed."""

    token: CTensor
    position: CTensor | None
    scores: CTensor
    kept: tuple[Kept, ...]

    @property
    def vocabulary(self) -> int:
        """Tokens that there are."""
        return math.prod(self.scores.shape)

    def ratio(self, temperature: float) -> int:
        """What ``x-gen`` takes for a temperature: e^(-scale / temperature) x 2^32; 0 always takes the highest score.

        Raises:
            UsageError: a temperature below 0 or above 1000.
        """
        if not 0 <= temperature <= 1000:
            raise UsageError("no temperature to choose tokens by", got=temperature, expected="0 to 1000")
        scale = self.scores.scale or 1.0
        return 0 if temperature == 0 else min(_MASK, int(math.exp(-scale / temperature) * 2**32))


def wiring_of(model: CModel) -> Wiring | None:
    """How the firmware feeds the model; None where it is no model of sequences, or none that can be fed so."""
    inputs, outputs = ({tensor.name: tensor for tensor in side} for side in (model.inputs, model.outputs))
    token, scores, position = inputs.get(TOKEN), outputs.get(SCORES), inputs.get(POSITION)
    if token is None or scores is None or token.dtype != "int32" or math.prod(token.shape) != 1:
        return None
    if scores.dtype != "int8" or math.prod(scores.shape) > MOST_VOCABULARY:
        return None
    if position is not None and (position.dtype != "int32" or math.prod(position.shape) != 1):
        return None
    follows = {model.inputs[before].name: model.outputs[after] for before, after in model.states}
    kept = []
    for name, tensor in inputs.items():
        if name in (TOKEN, POSITION):
            continue
        output = follows.get(name) or next((outputs[word + name] for word in _NEXT if word + name in outputs), None)
        one = None if output is None else _kept(tensor, output)
        if one is None:
            return None
        kept.append(one)
    return Wiring(token=token, position=position, scores=scores, kept=tuple(kept))


def wiring_text(wiring: Wiring) -> str:
    """The C that defines ``eg_generation`` (``runtimes/mcu/port/eg_generation.h``)."""
    rows = ",\n    ".join(_row(kept) for kept in wiring.kept)
    table = f"static const struct eg_kept kept[] = {{\n    {rows},\n}};\n" if wiring.kept else ""
    position = "EG_NO_POSITION" if wiring.position is None else f"{wiring.position.offset}u"
    return f"""#include "eg_generation.h"

{table}
const struct eg_generation eg_generation = {{
    .token = {wiring.token.offset}u,
    .position = {position},
    .scores = {wiring.scores.offset}u,
    .vocabulary = {wiring.vocabulary}u,
    .kept_count = {len(wiring.kept)}u,
    .kept = {"kept" if wiring.kept else "0"},
}};
"""


def choose(scores: Sequence[int], ratio: int, seed: int, draw: int) -> int:
    """The token that the firmware chooses by int8 scores: ``eg_choose``, bit for bit.

    Args:
        ratio: of ``Wiring.ratio``.
        draw: counts the draws of a seed.
    """
    highest = max(scores)
    if ratio == 0:
        return list(scores).index(highest)
    weights = [65536]
    while len(weights) < 256:
        weights.append(weights[-1] * ratio >> 32)
    shares = [weights[highest - score] for score in scores]
    random = _mixed((_mixed(seed & _MASK) + draw * 0x9E3779B9) & _MASK)
    wanted, passed = random * sum(shares) >> 32, 0
    for token, share in enumerate(shares):
        passed += share
        if passed > wanted:
            return token
    return list(scores).index(highest)


def _mixed(x: int) -> int:
    """MurmurHash3's finalizer of 32 bits (Austin Appleby, public domain)."""
    x = (x ^ x >> 16) * 0x85EBCA6B & _MASK
    x = (x ^ x >> 13) * 0xC2B2AE35 & _MASK
    return x ^ x >> 16


def _kept(before: CTensor, after: CTensor) -> Kept | None:
    whole = before.dtype == after.dtype and before.dtype in _TYPES
    if not whole or (before.scale is None) != (after.scale is None):
        return None
    if before.dtype != "float32" and before.scale is None:
        return None
    size, new = math.prod(before.shape), math.prod(after.shape)
    if size == new:
        return Kept(input=before, output=after, outer=1, places=1, inner=size)
    if len(before.shape) <= _RING_AXIS or new * before.shape[_RING_AXIS] != size:
        return None
    outer, places = math.prod(before.shape[:_RING_AXIS]), before.shape[_RING_AXIS]
    return Kept(input=before, output=after, outer=outer, places=places, inner=size // outer // places)


def _row(kept: Kept) -> str:
    scales = (kept.input.scale or 1.0, kept.output.scale or 1.0)
    zeros = (kept.input.zero_point or 0, kept.output.zero_point or 0)
    if math.isclose(*scales, rel_tol=_SAME_SCALE):  # no stored number becomes another one: the firmware copies
        scales = (scales[0], scales[0])
    return (
        f"{{{kept.input.offset}u, {kept.output.offset}u, {kept.outer}u, {kept.places}u, {kept.inner}u, "
        f"{_TYPES[kept.input.dtype]}, {scales[0]:.9e}f, {scales[1]:.9e}f, {zeros[0]}, {zeros[1]}}}"
    )
