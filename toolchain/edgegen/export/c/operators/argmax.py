"""argmax and argmin along ``axis``: the place of the largest or smallest stored number, the first of equals (int32)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from edgegen.export.c.checks import axis_of, expect, made, read
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered

if TYPE_CHECKING:
    import numpy as np

_KERNELS = {"int8": "eg_argmax_s8", "int16": "eg_argmax_s16", "float32": "eg_argmax_f32"}


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The places."""
    import numpy as np

    (value,) = values
    assert value is not None
    find = np.argmin if node.kind == "argmin" else np.argmax
    places = find(value, axis=axis_of(node, value.ndim))
    return [np.asarray(places, np.int32).reshape(made(node, graph).shape)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_argmax_s8`` and its like.

    Raises:
        BuildError: another type.
    """
    tensor = expect(read(node, graph, 0), node, *_KERNELS)
    expect(made(node, graph), node, "int32")
    axis = axis_of(node, len(tensor.shape))
    return Lowered(
        kernel=_KERNELS[tensor.dtype],
        parameters={
            "outer": prod(tensor.shape[:axis]),
            "size": tensor.shape[axis],
            "inner": prod(tensor.shape[axis + 1 :]),
            "smallest": int(node.kind == "argmin"),
        },
    )
