"""matmul: the product of two int8 activations, (..., rows, depth) by (..., depth, columns); batches are broadcast.

``adjoint_a`` and ``adjoint_b`` swap a side's last two axes. The sum of the products of the numbers less their zero
points times s_a s_b / s_out, rounded by the graph's rule as a dense layer is. tflite-micro's BATCH_MATMUL gives the
same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.checks import expect, made, read, scale_of
from edgegen.export.c.elementwise import clamp_of
from edgegen.export.c.graph import Graph, Node, Tensor
from edgegen.export.c.lowered import Isa, Lowered
from edgegen.export.c.strides import broadcast_steps

if TYPE_CHECKING:
    import numpy as np

_DEEPEST = 33_000


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The products."""
    import numpy as np

    from edgegen.export.c.arithmetic import factors, requantize, rule_of

    a, b = values
    assert a is not None
    assert b is not None
    out = made(node, graph)
    (a_scale, a_zero), (b_scale, b_zero) = (scale_of(read(node, graph, place), node) for place in (0, 1))
    scale, zero_point = scale_of(out, node)
    left, right = a.astype(np.int64) - a_zero, b.astype(np.int64) - b_zero
    left = left.swapaxes(-1, -2) if node.attributes.get("adjoint_a") else left
    right = right.swapaxes(-1, -2) if node.attributes.get("adjoint_b") else right
    limits = clamp_of(node, out.dtype)
    rule = rule_of(graph.rounding, node.kind)
    factor = factors(a_scale, [b_scale], scale, rule)
    result = requantize(left @ right, factor, zero_point, (limits["low"], limits["high"]), rule)
    return [result.astype(np.int8).reshape(out.shape)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_matmul_s8``.

    Raises:
        BuildError: another type, shapes that do not fit, or a depth beyond 33,000.
    """
    from edgegen.export.c.arithmetic import RULES, factors, float_bits, quantize_multiplier, rule_of

    sides = read(node, graph, 0), read(node, graph, 1), made(node, graph)
    shaped = shape_parameters(node, sides, "int8", _DEEPEST)
    a, b, out = sides
    (a_scale, a_zero), (b_scale, b_zero) = (scale_of(each, node) for each in (a, b))
    scale, zero_point = scale_of(out, node)
    rule = rule_of(graph.rounding, node.kind)
    (factor,) = factors(a_scale, [b_scale], scale, rule)
    multiplier, shift = (float_bits(factor), 0) if rule == "onnx-qdq" else quantize_multiplier(factor)
    return Lowered(
        kernel="eg_matmul_s8",
        parameters={
            **shaped,
            "a_zero_point": a_zero,
            "b_zero_point": b_zero,
            "out_zero_point": zero_point,
            "multiplier": multiplier,
            "shift": shift,
            "rounding": RULES[rule],
            **clamp_of(node, out.dtype),
        },
        macs=out.elements * shaped["depth"],
        arguments=(0, 1),
    )


def shape_parameters(node: Node, sides: Sequence[Tensor], dtype: str, deepest: int) -> dict[str, Any]:
    """What the kernels of a matmul know of its shapes: sizes, and the elements between neighbours.

    Args:
        sides: both factors, and the product.
        dtype: that all three must have.
        deepest: at most how many products may be added up.

    Raises:
        BuildError: another type, or shapes that do not fit.
    """
    a, b, out = (expect(side, node, dtype) for side in sides)
    rows, depth, a_row, a_depth = _matrix(a.shape, bool(node.attributes.get("adjoint_a")))
    inner, columns, b_depth, b_column = _matrix(b.shape, bool(node.attributes.get("adjoint_b")))
    if depth != inner or depth > deepest or (rows, columns) != out.shape[-2:]:
        raise BuildError(
            "the matrices of a matmul do not fit",
            where=node.name,
            got=f"{list(a.shape)} by {list(b.shape)} to {list(out.shape)}",
            expected=f"(..., rows, depth) by (..., depth, columns), depth at most {deepest}",
        )
    return {
        "batches": broadcast_steps(
            a.shape[:-2], b.shape[:-2], out.shape[:-2], node.name, a=rows * depth, b=depth * columns
        ),
        "rows": rows,
        "columns": columns,
        "depth": depth,
        "a_row": a_row,
        "a_depth": a_depth,
        "b_depth": b_depth,
        "b_column": b_column,
    }


def _matrix(shape: tuple[int, ...], adjoint: bool) -> tuple[int, int, int, int]:
    """Rows, columns, and the elements between neighbours along each, of a shape's last two axes."""
    first, second = shape[-2:]
    return (second, first, 1, second) if adjoint else (first, second, second, 1)
