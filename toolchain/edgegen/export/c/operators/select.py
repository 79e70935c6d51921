"""select: a where a condition (bool) holds, else b; all three broadcast. Numbers are moved as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c.checks import expect, made, read, same_numbers
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered
from edgegen.export.c.strides import WIDTHS, braces, filled, joined, repeated

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The chosen numbers."""
    import numpy as np

    condition, a, b = (value for value in values if value is not None)
    return [np.broadcast_to(np.where(condition, a, b), made(node, graph).shape)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_select``.

    Raises:
        BuildError: a condition that is no bool, tensors of different scales, or too many loops.
    """
    condition, a, b, out = *(read(node, graph, place) for place in range(3)), made(node, graph)
    expect(condition, node, "bool")
    for tensor in (a, b):
        same_numbers(tensor, out, node)
    sides = [repeated(tensor.shape, out.shape) for tensor in (condition, a, b)]
    loops = filled(joined(list(zip(out.shape, *sides, strict=True))), 4, 3, node.name)
    names = ("count", "c", "a", "b")
    return Lowered(
        kernel="eg_select",
        parameters={
            **{name: braces(each) for name, each in zip(names, zip(*loops, strict=True), strict=True)},
            "width": WIDTHS[out.dtype],
        },
        arguments=(0, 1, 2),
    )
