"""cumsum of float32 along ``axis``, in order; ``exclusive`` and ``reverse`` as TFLite has them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from edgegen.export.c.checks import axis_of, expect, read
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The running sums."""
    import numpy as np

    (value,) = values
    assert value is not None
    axis = axis_of(node, value.ndim)
    ours = np.flip(value, axis) if node.attributes.get("reverse") else value
    sums = np.add.accumulate(ours, axis=axis, dtype=np.float32)
    if node.attributes.get("exclusive"):
        sums = np.roll(sums, 1, axis)
        sums[(slice(None),) * axis + (0,)] = 0
    return [np.ascontiguousarray(np.flip(sums, axis) if node.attributes.get("reverse") else sums)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_cumsum_f32``.

    Raises:
        BuildError: another type.
    """
    tensor = expect(read(node, graph, 0), node, "float32")
    axis = axis_of(node, len(tensor.shape))
    return Lowered(
        kernel="eg_cumsum_f32",
        parameters={
            "outer": prod(tensor.shape[:axis]),
            "size": tensor.shape[axis],
            "inner": prod(tensor.shape[axis + 1 :]),
            "exclusive": int(bool(node.attributes.get("exclusive"))),
            "reverse": int(bool(node.attributes.get("reverse"))),
        },
        in_place=(0,),
    )
