"""prelu: x where it is at least 0, else x times a constant slope that is broadcast; TFLite Micro's to the bit.

One multiplier for x (s_in / s_out), one for the product with the slope (s_in s_slope / s_out), each rounded twice.
Under the rule ``onnx-qdq`` in float32 (``qdq``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c import qdq
from edgegen.export.c.checks import constant, expect, made, read, scale_of
from edgegen.export.c.elementwise import clamp_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered
from edgegen.export.c.strides import broadcast

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The activation of every number."""
    import numpy as np

    from edgegen.export.c.arithmetic import multiply_double

    x, slope = values
    assert x is not None
    assert slope is not None
    if qdq.applies(node, graph):
        return qdq.computed(node, graph, values)
    told = _numbers(node, graph)
    value = x.astype(np.int64) - told["in_zero_point"]
    product = value * (slope.astype(np.int64) - told["slope_zero_point"])
    above = multiply_double(value, told["above_multiplier"], told["above_shift"])
    below = multiply_double(product, told["below_multiplier"], told["below_shift"])
    result = np.where(value >= 0, above, below) + told["out_zero_point"]
    return [np.clip(result, told["low"], told["high"]).astype(x.dtype)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_prelu_s8``.

    Raises:
        BuildError: no int8, or a slope that is computed.
    """
    x, slope, out = read(node, graph, 0), read(node, graph, 1), made(node, graph)
    for tensor in (x, constant(slope, node), out):
        expect(tensor, node, "int8")
    if qdq.applies(node, graph):
        return qdq.lowered(node, graph)
    return Lowered(
        kernel="eg_prelu_s8",
        parameters={"loops": broadcast(x.shape, slope.shape, out.shape, node.name), **_numbers(node, graph)},
        in_place=(0,) if x.elements == out.elements else (),
        arguments=(0, 1),
    )


def _numbers(node: Node, graph: Graph) -> dict[str, int]:
    from edgegen.export.c.arithmetic import quantize_multiplier

    out = made(node, graph)
    (source, in_zero), (slope, slope_zero) = (scale_of(read(node, graph, place), node) for place in (0, 1))
    target, out_zero = scale_of(out, node)
    above, below = quantize_multiplier(source / target), quantize_multiplier(source * slope / target)
    return {
        "in_zero_point": in_zero,
        "slope_zero_point": slope_zero,
        "out_zero_point": out_zero,
        "above_multiplier": above[0],
        "above_shift": above[1],
        "below_multiplier": below[0],
        "below_shift": below[1],
        **clamp_of(node, out.dtype),
    }
