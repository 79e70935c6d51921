"""What operators with two broadcast inputs have in common: int8 and int16 by formula, float32 and int32 as they are.
Under the rule ``onnx-qdq`` int8 is done by ``qdq``.

An int8 operator one of whose inputs is a constant single number is a function of one number: it becomes a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c import qdq
from edgegen.export.c.checks import expect, made, read
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered
from edgegen.export.c.strides import broadcast
from edgegen.export.c.tabled import looked_up

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Numbers = Mapping[str, int]
Formula = Callable[["Array", "Array", Numbers], "Array"]

_FLOAT = ("add", "sub", "mul", "div", "maximum", "minimum", "squared_difference")  # as in eg_binary_f32.h
_INT32 = ("add", "sub", "mul", "maximum", "minimum", "floor_mod", "floor_div")  # as in eg_binary_s32.h
_LARGEST = 3.4028234663852886e38  # of float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """How an operator is done on quantized numbers."""

    kernel: str  # without its ending _s8 or _s16
    numbers: Callable[[Node, Graph], Numbers]  # the kernel's parameters, ``low`` and ``high`` among them
    formula: Formula  # from int64 arrays of stored numbers to int64, before the clamp
    parameters8: Callable[[Numbers, Isa], Mapping[str, Any]] | None = None  # the int8 kernel's, where they are others


def computed(node: Node, graph: Graph, values: Sequence[Array | None], quantized: Quantized | None = None) -> list[Any]:
    """The output of two arrays."""
    import numpy as np

    a, b = values
    assert a is not None
    assert b is not None
    out = made(node, graph)
    if qdq.applies(node, graph):
        return qdq.computed(node, graph, values)
    if out.dtype == "float32":
        return [_float(node, a, b)]
    if out.dtype == "int32":
        return [_int32(node.kind, a.astype(np.int64), b.astype(np.int64))]
    assert quantized is not None
    told = quantized.numbers(node, graph)
    result = quantized.formula(a.astype(np.int64), b.astype(np.int64), told)
    return [np.clip(result, told["low"], told["high"]).astype(out.dtype)]


def lowered(
    node: Node, graph: Graph, types: Sequence[str], quantized: Quantized | None = None, isa: Isa = "c"
) -> Lowered:
    """The call: a table, the operator's kernel for int8 or int16, or one of the kernels for plain numbers.

    Raises:
        BuildError: types that no kernel has, or shapes with too many loops.
    """
    a, b, out = read(node, graph, 0), read(node, graph, 1), expect(made(node, graph), node, *types)
    if qdq.applies(node, graph):
        return qdq.lowered(node, graph)
    for tensor in (a, b):
        expect(tensor, node, out.dtype)
    if out.dtype == "int8" and quantized is not None:
        for place, other in ((0, b), (1, a)):
            if other.data is not None and other.elements == 1:
                return looked_up(_results(node, graph, place, other.data, quantized), (a, b)[place], place)
    parameters: dict[str, int | float | str | Constant] = {"loops": broadcast(a.shape, b.shape, out.shape, node.name)}
    if out.dtype == "float32":
        low, high = _limits(node)
        parameters |= {"operation": _FLOAT.index(node.kind), "low": low, "high": high}
        kernel = "eg_binary_f32"
    elif out.dtype == "int32":
        parameters["operation"] = _operation(node)
        kernel = "eg_binary_s32"
    else:
        assert quantized is not None
        told = quantized.numbers(node, graph)
        own = quantized.parameters8 if out.dtype == "int8" else None
        parameters |= told if own is None else own(told, isa)
        kernel = quantized.kernel + ("_s8" if out.dtype == "int8" else "_s16")
    whole = tuple(
        place for place, tensor in enumerate((a, b)) if tensor.elements == out.elements and tensor.data is None
    )
    return Lowered(kernel=kernel, parameters=parameters, in_place=whole, arguments=(0, 1))


def clamp_of(node: Node, dtype: str) -> dict[str, int]:
    """``low`` and ``high``: the attribute ``clamp``, or the whole range of the type."""
    from edgegen.export.c.arithmetic import RANGES

    low, high = node.attributes.get("clamp") or RANGES[dtype]
    return {"low": int(low), "high": int(high)}


def _results(node: Node, graph: Graph, place: int, other: Array, quantized: Quantized) -> Array:
    """The output's stored numbers for those of the input at ``place`` from -128 to 127."""
    import numpy as np

    told = quantized.numbers(node, graph)
    every = np.arange(-128, 128, dtype=np.int64)
    fixed = np.full(256, int(other.reshape(-1)[0]), np.int64)
    result = quantized.formula(*((every, fixed) if place == 0 else (fixed, every)), told)
    return np.clip(result, told["low"], told["high"]).astype(np.int8)


def _limits(node: Node) -> tuple[float, float]:
    low, high = node.attributes.get("clamp") or (-_LARGEST, _LARGEST)
    return max(float(low), -_LARGEST), min(float(high), _LARGEST)


def _float(node: Node, a: Array, b: Array) -> Array:
    import numpy as np

    low, high = _limits(node)
    with np.errstate(all="ignore"):
        match node.kind:
            case "add":
                result = a + b
            case "sub":
                result = a - b
            case "mul":
                result = a * b
            case "div":
                result = a / b
            case "maximum":
                result = np.where(a > b, a, b)
            case "minimum":
                result = np.where(a < b, a, b)
            case _:
                result = (a - b) * (a - b)
        low32, high32 = np.float32(low), np.float32(high)
        return np.asarray(np.where(result < low32, low32, np.where(result > high32, high32, result)), np.float32)


def _operation(node: Node) -> int:
    if node.kind not in _INT32:
        raise BuildError(
            f"there is no {node.kind} kernel for int32", where=node.name, expected=f"one of {', '.join(_INT32)}"
        )
    return _INT32.index(node.kind)


def _int32(kind: str, a: Array, b: Array) -> Array:
    """Results wrap; a division by 0 is one by 1."""
    import numpy as np

    match kind:
        case "add":
            result = a + b
        case "sub":
            result = a - b
        case "mul":
            result = a * b
        case "maximum":
            result = np.maximum(a, b)
        case "minimum":
            result = np.minimum(a, b)
        case _:
            divisor = np.where((b == 0) | ((b == -1) & (a == -(2**31))), 1, b)
            result = a % divisor if kind == "floor_mod" else a // divisor
    return result.astype(np.int32)
