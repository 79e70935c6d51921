"""What recurrent cells have in common: gates in 16 bits from int8 products (``eg_gate_rows.h``, ``eg_gates.h``)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgegen.core.errors import BuildError
from edgegen.export.c.arithmetic import quantize_multiplier
from edgegen.export.c.checks import constant, expect, read, scale_of
from edgegen.export.c.functions16 import sigmoid_table, squashed
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa
from edgegen.export.c.packing import folded_bias, pack_rows, reach, tiling

Array = np.ndarray[Any, Any]

_FRACTION = 4096  # a gate's input has 12 bits of fraction
_FASTEST_SHIFT = 22  # to the right; see eg_output.h
_INT32 = (-(2**31), 2**31 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """The weights that a vector meets: the input's or the hidden state's."""

    name: str  # "x" or "h"
    weights: Array  # int8 (gates x size, length)
    bias: Array  # int32, the vector's zero point folded in
    pairs: tuple[tuple[int, int], ...]  # (multiplier, shift) to a scale of 2^-12: one, or one a row

    def inputs(self, vector: Array) -> Array:
        """The gates' inputs with 12 bits of fraction, within int16: int64 (gates x size,)."""
        sums = self.weights.astype(np.int64) @ vector.reshape(-1).astype(np.int64) + self.bias
        multiplier, shift = (np.array([pair[place] for pair in self.pairs], np.int64) for place in (0, 1))
        left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
        high = (np.clip(sums << left, *_INT32) * multiplier + (1 << 30)) >> 31
        return np.asarray(np.clip((high + ((np.int64(1) << right) >> 1)) >> right, -32768, 32767))

    def parameters(self, isa: Isa) -> dict[str, int | float | str | Constant]:
        """The member ``x`` or ``h`` of a cell's parameters."""
        packed = pack_rows(self.weights, *tiling(isa, columns=1))
        rows = len(self.bias)
        bias, scales = np.pad(self.bias, (0, self.padded - rows)), "NULL"
        told: str | Constant = scales
        if len(self.pairs) > 1:
            columns = np.pad(np.array(self.pairs, np.int32).T, ((0, 0), (0, self.padded - rows)))
            told = Constant(suffix=f"{self.name}_scales", array=np.ascontiguousarray(columns).ravel())
        bound = int(reach(self.bias, self.weights).max())
        fast = bound < 2**30 and all(-_FASTEST_SHIFT <= shift <= 0 for _, shift in self.pairs)
        return {
            f"{self.name}.rows.weights": Constant(suffix=f"{self.name}_weights", array=packed.weights),
            f"{self.name}.rows.rows": rows,
            f"{self.name}.rows.depth": self.weights.shape[1],
            f"{self.name}.rows.padded_depth": packed.padded_depth,
            f"{self.name}.rows.block": packed.block,
            f"{self.name}.rows.chunk": packed.chunk,
            f"{self.name}.bias": Constant(suffix=f"{self.name}_bias", array=bias.astype(np.int32)),
            f"{self.name}.scales": told,
            f"{self.name}.padded_rows": self.padded,
            f"{self.name}.multiplier": self.pairs[0][0],
            f"{self.name}.shift": self.pairs[0][1],
            f"{self.name}.fast": int(fast),
        }

    @property
    def padded(self) -> int:
        """Rows, in whole fours."""
        return -(-len(self.bias) // 4) * 4

    def working_bytes(self, isa: Isa) -> int:
        """What the product needs beside its results."""
        packed = pack_rows(self.weights[:1], *tiling(isa, columns=1))
        return {"c": 0, "dsp": 3 * packed.padded_depth, "mve": packed.padded_depth}[isa]


def scratch_bytes(ours: Side, theirs: Side, isa: Isa) -> int:
    """Of a cell's step: both sides' results, and what the larger product needs."""
    return 4 * ours.padded + max(ours.working_bytes(isa), theirs.working_bytes(isa))


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
    rows = gates * read(node, graph, 1).elements
    for place, name in enumerate("xh"):
        vector = expect(read(node, graph, place), node, "int8")
        weights = constant(expect(read(node, graph, first + place), node, "int8"), node)
        scale, zero_point = scale_of(vector, node)
        factors = () if weights.scales is None or any(weights.scales.zero_point) else weights.scales.scale
        bias = np.zeros(rows, np.int64)
        if first + 2 + place < len(node.inputs) and node.inputs[first + 2 + place]:
            given = constant(expect(read(node, graph, first + 2 + place), node, "int32"), node)
            bias = np.asarray(given.data, np.int64).reshape(-1)
        if weights.shape != (rows, vector.elements) or len(factors) not in (1, rows) or bias.size != rows:
            raise BuildError(
                f"the weights of this {node.kind} do not fit its states",
                where=node.name,
                got=f"{list(weights.shape)}, {len(factors)} scales with a zero point of 0, {bias.size} biases",
                expected=f"[{rows}, {vector.elements}], 1 or {rows} scales",
            )
        data = np.asarray(weights.data)
        made.append(
            Side(
                name=name,
                weights=data,
                bias=folded_bias(bias, data, zero_point, node.name),
                pairs=tuple(quantize_multiplier(scale * factor * _FRACTION) for factor in factors),
            )
        )
    return made[0], made[1]


def sigmoid(x: Array) -> Array:
    """Of int64 with 12 bits of fraction within 17; 15 bits of fraction out."""
    return np.asarray(squashed(x * 3, "sigmoid"), np.int64)


def tanh(x: Array) -> Array:
    """Of int64 with 12 bits of fraction within 17; 15 bits of fraction out."""
    return np.asarray(squashed(x * 3, "tanh"), np.int64)


def short_factor(factor: float, bits: int, node: Node) -> tuple[int, int]:
    """(multiplier below 2^bits, shift to the right) of a state's change of scale.

    Raises:
        BuildError: a scale so far from the states' range of -1 to 1 that the kernels do not do it.
    """
    fraction, exponent = math.frexp(factor)
    multiplier, right = math.floor(fraction * 2**bits + 0.5), bits - exponent
    if multiplier == 1 << bits:
        multiplier, right = multiplier // 2, right - 1
    if not 0 <= right <= 30:
        raise BuildError(
            f"the scale of this {node.kind}'s state is none that its kernel does",
            where=node.name,
            got=f"a factor of {factor:g} to or from 2^-15",
            expected="states that lie within -1 and 1",
        )
    return multiplier, right


def moved(value: Array, multiplier: int, right: int) -> Array:
    """value x multiplier / 2^right, rounded half up."""
    return (value * multiplier + ((1 << right) >> 1)) >> right


def product(a: Array, b: Array) -> Array:
    """a b / 2^15, rounded half up."""
    return (a * b + (1 << 14)) >> 15


def table() -> Constant:
    """The table that both functions read."""
    return Constant(suffix="table", array=sigmoid_table())
