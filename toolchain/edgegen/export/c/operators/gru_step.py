"""gru_step: one step of a gated recurrent unit; inputs [x, h, W, U, b, c], output h'.

    r = sigmoid(Wr x + br + Ur h + cr)    z = sigmoid(Wz x + bz + Uz h + cz)    n = tanh(Wn x + bn + r (Un h + cn))
    h' = (1 - z) n + z h

PyTorch's cell with its order of gates r, z, n: W (3 size, inputs) and U (3 size, size) int8 with one scale each, b
and c int32 in the scale of the products, or left out. h and h' have one scale. TFLite Micro has no such operator:
this is the definition. Gates are int16 with 12 bits of fraction before, and 15 behind TFLite's sigmoid and tanh
(``gates``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c.checks import expect, made, read, same_numbers, scale_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The next hidden state."""
    import numpy as np

    from edgegen.export.c import gates
    from edgegen.export.c.arithmetic import multiply_double

    x, h = values[:2]
    assert x is not None
    assert h is not None
    ours, theirs = gates.sides(node, graph, 3, 2)
    (xr, xz, xn), (hr, hz, hn) = np.split(ours.inputs(x), 3), np.split(theirs.inputs(h), 3)
    r, z = gates.sigmoid(xr + hr), gates.sigmoid(xz + hz)
    n = gates.tanh(xn + gates.product(r, hn))
    up, down, zero_point = _scales(node, graph)
    before = np.clip(multiply_double(h.reshape(-1).astype(np.int64) - zero_point, *up), -65536, 65535)
    after = n + gates.product(z, before - n)
    stored = np.clip(multiply_double(after, *down) + zero_point, -128, 127)
    return [stored.astype(np.int8).reshape(made(node, graph).shape)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_gru_step_s8``.

    Raises:
        BuildError: types, scales or shapes do not fit.
    """
    from edgegen.export.c import gates

    x, h, out = read(node, graph, 0), read(node, graph, 1), expect(made(node, graph), node, "int8")
    same_numbers(h, out, node)
    ours, theirs = gates.sides(node, graph, 3, 2)
    up, down, zero_point = _scales(node, graph)
    return Lowered(
        kernel="eg_gru_step_s8",
        parameters={
            "inputs": x.elements,
            "size": h.elements,
            **ours.parameters(),
            **theirs.parameters(),
            "table": gates.table(),
            "h_zero_point": zero_point,
            "up_multiplier": up[0],
            "up_shift": up[1],
            "down_multiplier": down[0],
            "down_shift": down[1],
        },
        macs=3 * h.elements * (x.elements + h.elements),
        arguments=(0, 1),
    )


def _scales(node: Node, graph: Graph) -> tuple[tuple[int, int], tuple[int, int], int]:
    """From the state's scale to 2^-15, back, and its zero point."""
    from edgegen.export.c.arithmetic import quantize_multiplier

    scale, zero_point = scale_of(read(node, graph, 1), node)
    return quantize_multiplier(scale * 2**15), quantize_multiplier(1 / (scale * 2**15)), zero_point
