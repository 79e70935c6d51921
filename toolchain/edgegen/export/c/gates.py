"""What recurrent cells have in common: gates in 16 bits from int8 products (``eg_gates.h``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgegen.core.errors import BuildError
from edgegen.export.c.arithmetic import multiply_double, quantize_multiplier
from edgegen.export.c.checks import constant, expect, read, scale_of
from edgegen.export.c.functions16 import sigmoid_table, squashed
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """The weights that a vector meets: the input's or the hidden state's."""

    name: str  # "x" or "h"
    weights: Array  # int8 (gates x size, length)
    bias: Array  # int32, the vector's zero point folded in
    multiplier: int  # to a scale of 2^-12
    shift: int

    def inputs(self, vector: Array) -> Array:
        """The gates' inputs with 12 bits of fraction, within int16: int64 (gates x size,)."""
        sums = self.weights.astype(np.int64) @ vector.reshape(-1).astype(np.int64) + self.bias
        return np.asarray(np.clip(multiply_double(sums, self.multiplier, self.shift), -32768, 32767))

    def parameters(self) -> dict[str, int | float | str | Constant]:
        """As the kernels call them."""
        return {
            f"{self.name}_weights": Constant(suffix=f"{self.name}_weights", array=self.weights.reshape(-1)),
            f"{self.name}_bias": Constant(suffix=f"{self.name}_bias", array=self.bias),
            f"{self.name}_multiplier": self.multiplier,
            f"{self.name}_shift": self.shift,
        }


def sides(node: Node, graph: Graph, gates: int, first: int) -> tuple[Side, Side]:
    """The input's and the hidden state's.

    Args:
        node: inputs are x, h, and from the place ``first`` on: weights of x, weights of h, bias of x, bias of h.
        graph: the node's.
        gates: how many.
        first: see ``node``.

    Raises:
        BuildError: types, scales or shapes do not fit.
    """
    made = []
    size = read(node, graph, 1).elements
    for place, name in enumerate("xh"):
        vector = expect(read(node, graph, place), node, "int8")
        weights = constant(expect(read(node, graph, first + place), node, "int8"), node)
        scale, zero_point = scale_of(vector, node)
        factor, weights_zero = scale_of(weights, node)
        bias = np.zeros(gates * size, np.int64)
        if first + 2 + place < len(node.inputs) and node.inputs[first + 2 + place]:
            given = constant(expect(read(node, graph, first + 2 + place), node, "int32"), node)
            bias = np.asarray(given.data, np.int64).reshape(-1)
        if weights.shape != (gates * size, vector.elements) or weights_zero or bias.size != gates * size:
            raise BuildError(
                f"the weights of this {node.kind} do not fit its states",
                where=node.name,
                got=f"{list(weights.shape)}, {bias.size} biases",
                expected=f"[{gates * size}, {vector.elements}], zero point 0",
            )
        data = np.asarray(weights.data)
        folded = bias - zero_point * data.astype(np.int64).sum(axis=1)
        if (np.abs(folded) + 128 * np.abs(data.astype(np.int64)).sum(axis=1) >= 2**31).any():
            raise BuildError(f"a sum of this {node.kind} leaves 32 bits", where=node.name)
        multiplier, shift = quantize_multiplier(scale * factor * 4096)
        made.append(Side(name=name, weights=data, bias=folded.astype(np.int32), multiplier=multiplier, shift=shift))
    return made[0], made[1]


def sigmoid(x: Array) -> Array:
    """Of int64 with 12 bits of fraction, clamped to int16; 15 bits of fraction out."""
    return np.asarray(squashed(np.clip(x, -32768, 32767) * 3, "sigmoid"), np.int64)


def tanh(x: Array) -> Array:
    """Of int64 with 12 bits of fraction, clamped to int16; 15 bits of fraction out."""
    return np.asarray(squashed(np.clip(x, -32768, 32767) * 3, "tanh"), np.int64)


def product(a: Array, b: Array) -> Array:
    """a b / 2^15, rounded half up."""
    return (a * b + (1 << 14)) >> 15


def table() -> Constant:
    """The table that both functions read."""
    return Constant(suffix="table", array=sigmoid_table())
