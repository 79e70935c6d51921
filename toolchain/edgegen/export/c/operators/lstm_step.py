"""lstm_step: one step of a long short-term memory; inputs [x, h, c, W, U, b, d], outputs [h', c'].

    i, f, o = sigmoid(W x + b + U h + d)    g = tanh(W x + b + U h + d)
    c' = f c + i g    h' = o tanh(c')

PyTorch's cell with its order of gates i, f, g, o: W (4 size, inputs) and U (4 size, size) int8 with one scale each or
one a row, b and d int32 in the scale of the products, or left out. c and c' are int16 with one scale of 2^-8 to 2^-12.
TFLite Micro's LSTM runs over a sequence and has other gates' scales: this is the definition. Gates as ``gates``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.checks import expect, made, read, same_numbers, scale_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The next hidden state and cell."""
    import numpy as np

    from edgegen.export.c import gates

    x, h, c = values[:3]
    assert x is not None
    assert h is not None
    assert c is not None
    ours, theirs = gates.sides(node, graph, 4, 3)
    inner, outer, new, out = np.split(ours.inputs(x) + theirs.inputs(h), 4)
    i, f, g, o = gates.sigmoid(inner), gates.sigmoid(outer), gates.tanh(new), gates.sigmoid(out)
    bits, down, zero_point = _scales(node, graph)
    added = (i * g + (1 << (14 - bits))) >> (15 - bits)
    cell = np.clip((f * c.reshape(-1).astype(np.int64) + added + (1 << 14)) >> 15, -32768, 32767)
    shown = gates.product(o, gates.tanh(cell << (12 - bits)))
    stored = np.clip(gates.moved(shown, *down) + zero_point, -128, 127)
    shapes = [made(node, graph, place).shape for place in (0, 1)]
    return [stored.astype(np.int8).reshape(shapes[0]), cell.astype(np.int16).reshape(shapes[1])]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_lstm_step_s8``.

    Raises:
        BuildError: types, scales or shapes do not fit.
    """
    from edgegen.export.c import gates

    x, h, c = (read(node, graph, place) for place in range(3))
    expect(made(node, graph, 0), node, "int8")
    same_numbers(c, expect(made(node, graph, 1), node, "int16"), node)
    ours, theirs = gates.sides(node, graph, 4, 3)
    bits, down, zero_point = _scales(node, graph)
    return Lowered(
        kernel="eg_lstm_step_s8",
        parameters={
            "size": h.elements,
            **ours.parameters(isa),
            **theirs.parameters(isa),
            "table": gates.table(),
            "cell_bits": bits,
            "out_zero_point": zero_point,
            "down_multiplier": down[0],
            "down_right": down[1],
        },
        scratch_bytes=gates.scratch_bytes(ours, theirs, isa),
        macs=4 * h.elements * (x.elements + h.elements),
        arguments=(0, 1, 2),
    )


def _scales(node: Node, graph: Graph) -> tuple[int, tuple[int, int], int]:
    """Bits of the cell's fraction, from 2^-15 to the next hidden state's scale, and its zero point."""
    from edgegen.export.c import gates

    scale, zero_point = scale_of(made(node, graph), node)
    cell, cell_zero = scale_of(read(node, graph, 2), node)
    bits = round(-math.log2(cell))
    if cell != 2.0**-bits or not 8 <= bits <= 12 or cell_zero:
        raise BuildError(
            "an LSTM's cell has another scale than its kernel takes",
            where=node.name,
            got=f"scale {cell:g}, zero point {cell_zero}",
            expected="a power of two from 2^-12 to 2^-8, zero point 0",
        )
    return bits, gates.short_factor(1 / (scale * 2**15), 14, node), zero_point
