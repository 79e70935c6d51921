"""matmul_int16: the product of two int16 activations, (..., rows, depth) by (..., depth, columns).

Batches are broadcast. ``adjoint_a`` and ``adjoint_b`` swap a side's last two axes. Sums of 64 bits, and a multiplier
of 15 (``wide``): as tflite-micro's BATCH_MATMUL. Zero points are 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.checks import made, read, scale_of
from edgegen.export.c.elementwise import clamp_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered
from edgegen.export.c.operators.matmul import shape_parameters

if TYPE_CHECKING:
    import numpy as np

_DEEPEST = 65_536


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The products."""
    import numpy as np

    a, b = (np.asarray(value, np.int64) for value in values[:2])
    left = a.swapaxes(-1, -2) if node.attributes.get("adjoint_a") else a
    right = b.swapaxes(-1, -2) if node.attributes.get("adjoint_b") else b
    multiplier, shift = _factor(node, graph)
    limits = clamp_of(node, "int16")
    moved = ((left @ right) * multiplier + (1 << (shift - 1))) >> shift
    return [np.clip(moved, limits["low"], limits["high"]).astype(np.int16).reshape(made(node, graph).shape)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_matmul_s16``.

    Raises:
        BuildError: another type, shapes that do not fit, zero points, or a depth beyond 65,536.
    """
    sides = read(node, graph, 0), read(node, graph, 1), made(node, graph)
    shaped = shape_parameters(node, sides, "int16", _DEEPEST)
    out = sides[2]
    multiplier, right = _factor(node, graph)
    return Lowered(
        kernel="eg_matmul_s16",
        parameters={
            **shaped,
            "multiplier": multiplier,
            "right": right,
            **clamp_of(node, out.dtype),
        },
        macs=out.elements * shaped["depth"],
        arguments=(0, 1),
    )


def _factor(node: Node, graph: Graph) -> tuple[int, int]:
    """(multiplier of 15 bits, shift to the right) from the sums' scale to the output's."""
    from edgegen.export.c.arithmetic import quantize_multiplier

    scales = [scale_of(each, node) for each in (read(node, graph, 0), read(node, graph, 1), made(node, graph))]
    (a, _), (b, _), (out, _) = scales
    multiplier, shift = quantize_multiplier(a * b / out)
    if any(zero for _, zero in scales) or shift > 7 or shift < -31:
        raise BuildError(
            "the numbers of a matmul of int16 leave its kernel's range",
            where=node.name,
            got=f"zero points {[zero for _, zero in scales]}, a factor of {a * b / out:g}",
            expected="zero points of 0, an output scale that is not far below the sums'",
        )
    return min((multiplier + (1 << 15)) >> 16, 32767), 15 - shift
