"""quantize (float32 to int8, uint8 or int16), dequantize (back), requantize (from one scale to another), cast.

- quantize: round(x / scale) in float32, halves away from zero, plus the zero point, clamped (TFLite's AffineQuantize);
  halves to even under the rule ``onnx-qdq``. What is not a number becomes the zero point.
- dequantize: (stored - zero point) x scale in float32.
- requantize: TFLite Micro's Requantize, rounded twice; int8 by a table. int8 to int8 under the rule ``onnx-qdq``: a
  dequantize, then a quantize.
- cast: to another type as C has it, float32 to integers towards zero and clamped to the type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c import qdq
from edgegen.export.c.checks import expect, made, read, scale_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered
from edgegen.export.c.tabled import looked_up

if TYPE_CHECKING:
    import numpy as np

_INTEGERS = ("int8", "uint8", "int16", "int32", "bool")


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The same numbers in the output's type and scale."""
    (value,) = values
    assert value is not None
    match node.kind:
        case "quantize":
            return [_quantized(node, graph, value)]
        case "dequantize":
            return [_dequantized(node, graph, value)]
        case "requantize":
            return [_requantized(node, graph, value)]
    return [_cast(made(node, graph).dtype, value)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_quantize``, ``eg_dequantize``, ``eg_requantize_tensor``, a table, or ``eg_cast``.

    Raises:
        BuildError: another type.
    """
    from edgegen.export.c.arithmetic import RULES

    tensor, out = read(node, graph, 0), made(node, graph)
    count: dict[str, int | float | str | Constant] = {"count": tensor.elements}
    match node.kind:
        case "quantize":
            expect(tensor, node, "float32")
            expect(out, node, "int8", "uint8", "int16")
            scale, zero_point = scale_of(out, node)
            more: dict[str, int | float | str | Constant] = {
                "scale": float(scale),
                "zero_point": zero_point,
                "type": _type(out.dtype),
                "rounding": RULES[graph.rounding],
            }
            return Lowered(kernel="eg_quantize", parameters=count | more)
        case "dequantize":
            expect(tensor, node, "int8", "uint8", "int16")
            expect(out, node, "float32")
            scale, zero_point = scale_of(tensor, node)
            more = {"scale": float(scale), "zero_point": zero_point, "type": _type(tensor.dtype)}
            return Lowered(kernel="eg_dequantize", parameters=count | more)
        case "requantize":
            expect(tensor, node, "int8", "uint8", "int16")
            expect(out, node, "int8", "uint8", "int16")
            if tensor.dtype == "int8" and out.dtype != "int16":
                import numpy as np

                every = np.arange(-128, 128).astype(np.int8)
                return looked_up(_requantized(node, graph, every), tensor)
            numbers = _numbers(node, graph)
            types = {"from": _type(tensor.dtype), "to": _type(out.dtype)}
            return Lowered(kernel="eg_requantize_tensor", parameters={**count, **types, **numbers})
    expect(tensor, node, "float32", *_INTEGERS)
    expect(out, node, "float32", *_INTEGERS)
    return Lowered(kernel="eg_cast", parameters=count | {"from": _type(tensor.dtype), "to": _type(out.dtype)})


def _type(dtype: str) -> str:
    """The constant in ``eg_types.h``."""
    return f"EG_{dtype.upper()}"


def _quantized(node: Node, graph: Graph, value: Any) -> Any:
    import numpy as np

    from edgegen.export.c.arithmetic import RANGES
    from edgegen.export.c.functions import half_away

    out = made(node, graph)
    scale, zero_point = scale_of(out, node)
    low, high = RANGES[out.dtype]
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.clip(value / np.float32(scale), np.float32(low - zero_point), np.float32(high - zero_point))
    if graph.rounding == "onnx-qdq":
        return (np.rint(np.nan_to_num(steps)).astype(np.int64) + zero_point).astype(out.dtype)
    return (half_away(np.nan_to_num(steps)).astype(np.int64) + zero_point).astype(out.dtype)


def _dequantized(node: Node, graph: Graph, value: Any) -> Any:
    import numpy as np

    scale, zero_point = scale_of(read(node, graph, 0), node)
    return (value.astype(np.int32) - zero_point).astype(np.float32) * np.float32(scale)


def _requantized(node: Node, graph: Graph, value: Any) -> Any:
    import numpy as np

    from edgegen.export.c.arithmetic import RANGES, multiply_double

    out = made(node, graph)
    if graph.rounding == "onnx-qdq" and value.dtype == out.dtype == "int8":
        (source, target) = (scale_of(tensor, node) for tensor in (read(node, graph, 0), out))
        return qdq.quantized(qdq.dequantized(value, *source), *target, RANGES["int8"]).astype(np.int8)
    numbers = _numbers(node, graph)
    scaled = multiply_double(value.astype(np.int64) - numbers["in_zero_point"], numbers["multiplier"], numbers["shift"])
    return np.clip(scaled + numbers["out_zero_point"], *RANGES[out.dtype]).astype(out.dtype)


def _numbers(node: Node, graph: Graph) -> dict[str, int]:
    from edgegen.export.c.arithmetic import quantize_multiplier

    (source, in_zero), (target, out_zero) = (
        scale_of(tensor, node) for tensor in (read(node, graph, 0), made(node, graph))
    )
    multiplier, shift = quantize_multiplier(source / target)
    return {"in_zero_point": in_zero, "out_zero_point": out_zero, "multiplier": multiplier, "shift": shift}


def _cast(dtype: str, value: Any) -> Any:
    import numpy as np

    from edgegen.export.c.arithmetic import RANGES

    if dtype == "bool":
        return value != 0
    if value.dtype == "float32" and dtype != "float32":
        low, high = RANGES[dtype]
        return np.clip(np.trunc(np.nan_to_num(value.astype(np.float64))), low, high).astype(dtype)
    return value.astype(dtype)
