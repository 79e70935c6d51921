"""The rule ``onnx-qdq`` for operators that are no products: real numbers in float32 between dequantize and quantize.

An operator of two inputs dequantizes both, computes in float32, and divides by the output's scale, ties to even
(``eg_binary_qdq_s8.h``): the bytes that DequantizeLinear, the float operator and QuantizeLinear give. Means and sums
take the exact sum of integers, divide once and multiply once: the order in which a runtime adds float32 numbers, which
may move a half, plays no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c.checks import expect, made, read, scale_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Lowered
from edgegen.export.c.strides import broadcast
from edgegen.export.c.tabled import looked_up

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

OPERATIONS = ("sub", "mul", "div", "maximum", "minimum", "prelu")  # as in eg_binary_qdq_s8.h


def applies(node: Node, graph: Graph) -> bool:
    """Whether an operator of two inputs is done in float32: under the rule, on int8; moves of equal scales are not."""
    if graph.rounding != "onnx-qdq" or node.kind not in OPERATIONS or made(node, graph).dtype != "int8":
        return False
    a, b, out = (tensor.scales for tensor in (read(node, graph, 0), read(node, graph, 1), made(node, graph)))
    return node.kind not in ("maximum", "minimum") or not a == b == out


def steps(real: Array, zero_point: int, clamp: tuple[int, int]) -> Array:
    """float32 numbers of steps as stored int64: clamped, ties to even; what is no number is the zero point."""
    import numpy as np

    low, high = (np.float32(end - zero_point) for end in clamp)
    known = np.where(np.isnan(real), np.float32(0), real)
    return np.asarray(np.rint(np.clip(known, low, high)).astype(np.int64) + zero_point)


def quantized(real: Array, scale: float, zero_point: int, clamp: tuple[int, int]) -> Array:
    """Real numbers as QuantizeLinear stores them: divided by the scale in float32; int64."""
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return steps(np.asarray(real, np.float32) / np.float32(scale), zero_point, clamp)


def dequantized(stored: Array, scale: float, zero_point: int) -> Array:
    """Stored numbers as DequantizeLinear gives them: float32."""
    import numpy as np

    return np.asarray((stored.astype(np.int32) - zero_point).astype(np.float32) * np.float32(scale))


def mean_of(total: Array, divisor: Array | int, scales: tuple[float, float], zero_point: int, clamp: Any) -> Array:
    """Sums of integers less their zero points, divided, as stored int64.

    Args:
        total: int64.
        divisor: what a sum is divided by, 1 for a sum that stays one.
        scales: of the input and of the output.
        zero_point: of the output.
        clamp: of the output.
    """
    import numpy as np

    mean = total.astype(np.float32) / np.asarray(divisor, np.float32)
    return steps(mean * ratio(*scales), zero_point, clamp)


def ratio(source: float, target: float) -> np.float32:
    """Scale of the input over scale of the output, in float32."""
    import numpy as np

    return np.float32(np.float32(source) / np.float32(target))


def computed(node: Node, graph: Graph, values: Sequence[Array | None]) -> list[Any]:
    """The output of two arrays."""
    a, b = values
    assert a is not None
    assert b is not None
    return [_result(node, graph, a, b).reshape(made(node, graph).shape)]


def lowered(node: Node, graph: Graph) -> Lowered:
    """A table where one side is a constant number, else ``eg_binary_qdq_s8``.

    Raises:
        BuildError: a type or a shape that the kernel does not do.
    """
    import numpy as np

    a, b, out = read(node, graph, 0), read(node, graph, 1), made(node, graph)
    for tensor in (a, b):
        expect(tensor, node, "int8")
    for place, (one, other) in enumerate(((a, b), (b, a))):
        if other.data is not None and other.elements == 1 and one.data is None:
            every = np.arange(-128, 128).astype(np.int8)
            pair = (every, other.data.reshape(-1)) if place == 0 else (other.data.reshape(-1), every)
            return looked_up(_result(node, graph, *pair), one, place)
    (a_scale, a_zero), (b_scale, b_zero), (scale, zero_point) = _scales(node, graph)
    low, high = _clamp(node)
    return Lowered(
        kernel="eg_binary_qdq_s8",
        parameters={
            "loops": broadcast(a.shape, b.shape, out.shape, node.name),
            "operation": OPERATIONS.index(node.kind),
            "a_zero_point": a_zero,
            "b_zero_point": b_zero,
            "out_zero_point": zero_point,
            "a_scale": a_scale,
            "b_scale": b_scale,
            "out_scale": scale,
            "low": low,
            "high": high,
        },
        in_place=tuple(
            place for place, tensor in enumerate((a, b)) if tensor.data is None and tensor.elements == out.elements
        ),
        arguments=(0, 1),
    )


def _result(node: Node, graph: Graph, a: Array, b: Array) -> Array:
    import numpy as np

    (a_scale, a_zero), (b_scale, b_zero), (scale, zero_point) = _scales(node, graph)
    x, y = dequantized(a, a_scale, a_zero), dequantized(b, b_scale, b_zero)
    with np.errstate(all="ignore"):
        match node.kind:
            case "sub":
                real = x - y
            case "mul":
                real = x * y
            case "div":
                real = x / y
            case "maximum":
                real = np.maximum(x, y)
            case "minimum":
                real = np.minimum(x, y)
            case _:
                real = np.where(x >= 0, x, x * y)
    return quantized(real, scale, zero_point, _clamp(node)).astype(np.int8)


def _scales(node: Node, graph: Graph) -> list[tuple[float, int]]:
    return [scale_of(tensor, node) for tensor in (read(node, graph, 0), read(node, graph, 1), made(node, graph))]


def _clamp(node: Node) -> tuple[int, int]:
    low, high = node.attributes.get("clamp") or (-128, 127)
    return int(low), int(high)
