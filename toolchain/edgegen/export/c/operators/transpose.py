"""transpose: axis ``i`` of the output is axis ``order[i]`` of the input. Numbers are moved as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c.checks import made, read, same_numbers
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered
from edgegen.export.c.moves import copy
from edgegen.export.c.strides import row_major

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The input with its axes in another order."""
    import numpy as np

    (value,) = values
    assert value is not None
    return [np.ascontiguousarray(value.transpose([int(axis) for axis in node.attributes["order"]]))]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """One copy; axes that stay side by side move together.

    Raises:
        BuildError: more than five axes move apart, or types or scales differ.
    """
    tensor, out = read(node, graph, 0), made(node, graph)
    same_numbers(tensor, out, node)
    steps = row_major(tensor.shape)
    return copy(
        out, out.shape, [steps[int(axis)] for axis in node.attributes["order"]], row_major(out.shape), node.name
    )
