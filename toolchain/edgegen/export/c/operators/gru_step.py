"""gru_step: one step of a gated recurrent unit; inputs [x, h, W, U, b, c], output h'.

    r = sigmoid(Wr x + br + Ur h + cr)    z = sigmoid(Wz x + bz + Uz h + cz)    n = tanh(Wn x + bn + r (Un h + cn))
    h' = (1 - z) n + z h

PyTorch's cell with its order of gates r, z, n: W (3 size, inputs) and U (3 size, size) int8 with one scale each or one
a row, b and c int32 in the scale of the products, or left out. TFLite Micro has no such operator: this is the
definition. Gates are int16 with 12 bits of fraction before, and 15 behind TFLite's sigmoid and tanh (``gates``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.checks import expect, made, read, scale_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The next hidden state."""
    import numpy as np

    from edgegen.export.c import gates

    x, h = values[:2]
    assert x is not None
    assert h is not None
    ours, theirs = gates.sides(node, graph, 3, 2)
    (xr, xz, xn), (hr, hz, hn) = np.split(ours.inputs(x), 3), np.split(theirs.inputs(h), 3)
    r, z = gates.sigmoid(xr + hr), gates.sigmoid(xz + hz)
    n = gates.tanh(xn + gates.product(r, hn))
    up, down, (zero_point, out_zero) = _scales(node, graph)
    before = np.clip(gates.moved(h.reshape(-1).astype(np.int64) - zero_point, *up), -65536, 65535)
    after = n + gates.product(z, before - n)
    stored = np.clip(gates.moved(after, *down) + out_zero, -128, 127)
    return [stored.astype(np.int8).reshape(made(node, graph).shape)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_gru_step_s8``.

    Raises:
        BuildError: types, scales or shapes do not fit.
    """
    from edgegen.export.c import gates

    x, h, out = read(node, graph, 0), read(node, graph, 1), expect(made(node, graph), node, "int8")
    ours, theirs = gates.sides(node, graph, 3, 2)
    up, down, (zero_point, out_zero) = _scales(node, graph)
    if out.elements != h.elements:
        raise BuildError("a GRU's states have two sizes", where=node.name, got=f"{list(h.shape)}, {list(out.shape)}")
    return Lowered(
        kernel="eg_gru_step_s8",
        parameters={
            "size": h.elements,
            **ours.parameters(isa),
            **theirs.parameters(isa),
            "table": gates.table(),
            "h_zero_point": zero_point,
            "out_zero_point": out_zero,
            "up_multiplier": up[0],
            "up_right": up[1],
            "down_multiplier": down[0],
            "down_right": down[1],
        },
        scratch_bytes=gates.scratch_bytes(ours, theirs, isa),
        in_place=(1,),
        macs=3 * h.elements * (x.elements + h.elements),
        arguments=(0, 1),
    )


def _scales(node: Node, graph: Graph) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """From the state's scale to 2^-15, from there to the next state's, and the zero points of both."""
    from edgegen.export.c import gates

    (before, zero_point), (after, out_zero) = scale_of(read(node, graph, 1), node), scale_of(made(node, graph), node)
    up, down = gates.short_factor(before * 2**15, 21, node), gates.short_factor(1 / (after * 2**15), 14, node)
    return up, down, (zero_point, out_zero)
