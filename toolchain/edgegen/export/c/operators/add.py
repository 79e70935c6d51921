"""add: two int8 tensors, broadcast, brought to one scale, added, brought to the output's scale.

Rule of TFLite's reference (``kernels/internal/reference/add.h`` with ``left_shift`` 20), or of ONNX in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c import checks
from edgegen.export.c.arithmetic import RULES, multiply_double, quantize_multiplier, requantize
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered
from edgegen.export.c.strides import broadcast

if TYPE_CHECKING:
    import numpy as np

_RAISED = 20  # bits; int8 less a zero point then stays below 2^29


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The sums."""
    import numpy as np

    (a_scale, a_zero), (b_scale, b_zero), (out_scale, out_zero) = _scales(node, graph)
    a, b = values
    assert a is not None
    assert b is not None
    x, y = a.astype(np.int64) - a_zero, b.astype(np.int64) - b_zero
    low, high = node.attributes["clamp"]
    if graph.rounding == "onnx-qdq":
        total = x.astype(np.float32) * np.float32(a_scale) + y.astype(np.float32) * np.float32(b_scale)
        steps = np.clip(total / np.float32(out_scale), np.float32(low - out_zero), np.float32(high - out_zero))
        stored = np.rint(steps).astype(np.int64) + out_zero
    else:
        a_factor, b_factor, out_factor = _factors(a_scale, b_scale, out_scale)
        raised = multiply_double(x << _RAISED, *quantize_multiplier(a_factor)) + multiply_double(
            y << _RAISED, *quantize_multiplier(b_factor)
        )
        stored = requantize(raised[..., None], [out_factor], out_zero, (low, high), "tflm-double")[..., 0]
    return [stored.astype(np.int8).reshape(checks.made(node, graph).shape)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """Element by element; whole words or vectors where nothing is broadcast.

    Raises:
        BuildError: types, scales or shapes that the kernel does not do.
    """
    (a_scale, a_zero), (b_scale, b_zero), (out_scale, out_zero) = _scales(node, graph)
    a, b, out = checks.read(node, graph, 0), checks.read(node, graph, 1), checks.made(node, graph)
    pairs = [quantize_multiplier(factor) for factor in _factors(a_scale, b_scale, out_scale)]
    (a_multiplier, a_shift), (b_multiplier, b_shift), (out_multiplier, out_shift) = pairs
    fast = graph.rounding != "onnx-qdq" and -21 <= out_shift <= -1
    for multiplier, shift in pairs[:2]:
        fast &= (multiplier == 2**30 and shift == 0) or (multiplier > 0 and -20 <= shift <= -1)
    low, high = node.attributes["clamp"]
    whole = [place for place, tensor in enumerate((a, b)) if tensor.data is None and tensor.elements == out.elements]
    return Lowered(
        kernel="eg_add_s8",
        parameters={
            "loops": broadcast(a.shape, b.shape, out.shape, node.name),
            "rounding": RULES[graph.rounding],
            "fast": int(fast),
            "a_zero_point": a_zero,
            "a_multiplier": a_multiplier,
            "a_shift": a_shift,
            "b_zero_point": b_zero,
            "b_multiplier": b_multiplier,
            "b_shift": b_shift,
            "out_zero_point": out_zero,
            "out_multiplier": out_multiplier,
            "out_shift": out_shift,
            "low": low,
            "high": high,
            "a_scale": float(a_scale),
            "b_scale": float(b_scale),
            "out_scale": float(out_scale),
        },
        in_place=tuple(whole),
        arguments=(0, 1),
    )


def _scales(node: Node, graph: Graph) -> list[tuple[float, int]]:
    tensors = (checks.read(node, graph, 0), checks.read(node, graph, 1), checks.made(node, graph))
    return [checks.scale_of(checks.expect(tensor, node, "int8"), node) for tensor in tensors]


def _factors(a: float, b: float, out: float) -> tuple[float, float, float]:
    """Of both inputs to twice the larger scale, and from there, less the raised bits, to the output's."""
    twice = 2.0 * max(a, b)
    return a / twice, b / twice, twice / ((1 << _RAISED) * out)
