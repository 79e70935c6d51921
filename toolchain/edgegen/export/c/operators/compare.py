"""equal, not_equal, less, less_equal, greater, greater_equal, logical_and, logical_or, broadcast; bool out.

Stored numbers are compared: two quantized tensors need one scale and zero point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c.checks import expect, made, read, same_numbers
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered
from edgegen.export.c.strides import broadcast

if TYPE_CHECKING:
    import numpy as np

_OPERATIONS = {
    "equal": "EG_EQUAL",
    "not_equal": "EG_NOT_EQUAL",
    "less": "EG_LESS",
    "less_equal": "EG_LESS_EQUAL",
    "greater": "EG_GREATER",
    "greater_equal": "EG_GREATER_EQUAL",
    "logical_and": "EG_AND",
    "logical_or": "EG_OR",
}


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """Which pairs it holds for."""
    import numpy as np

    a, b = values
    assert a is not None
    assert b is not None
    result: np.ndarray[Any, Any] = getattr(np, node.kind)(a, b)
    return [result]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_compare``.

    Raises:
        BuildError: float32, or tensors of different types or scales.
    """
    a, b, out = read(node, graph, 0), read(node, graph, 1), expect(made(node, graph), node, "bool")
    expect(a, node, "int8", "uint8", "int16", "int32", "bool")
    same_numbers(a, b, node)
    return Lowered(
        kernel="eg_compare",
        parameters={
            "loops": broadcast(a.shape, b.shape, out.shape, node.name),
            "operation": _OPERATIONS[node.kind],
            "type": f"EG_{a.dtype.upper()}",
        },
        arguments=(0, 1),
    )
