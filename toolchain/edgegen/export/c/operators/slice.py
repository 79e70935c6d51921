"""slice: every ``strides``-th element from ``begin`` on, ``size`` of them an axis. Numbers are moved as they are.

A stride may be negative (then the axis is walked backwards) but not 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.checks import made, read, same_numbers
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered
from edgegen.export.c.moves import copy
from edgegen.export.c.strides import row_major

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The part of the input."""
    import numpy as np

    (value,) = values
    assert value is not None
    begin, size, strides = _range(node, value.ndim)
    picked = value[np.ix_(*(b + s * np.arange(n) for b, n, s in zip(begin, size, strides, strict=True)))]
    return [picked.reshape(made(node, graph).shape)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """One copy.

    Raises:
        BuildError: a range leaves the tensor, or types or scales differ.
    """
    tensor, out = read(node, graph, 0), made(node, graph)
    same_numbers(tensor, out, node)
    begin, size, strides = _range(node, len(tensor.shape))
    for axis, (first, count, stride) in enumerate(zip(begin, size, strides, strict=True)):
        last = first + stride * (count - 1)
        if stride == 0 or count < 1 or not (0 <= first < tensor.shape[axis] and 0 <= last < tensor.shape[axis]):
            raise BuildError(
                "a slice leaves its tensor",
                where=f"{node.name}, axis {axis}",
                got=f"from {first}, {count} elements, every {stride}",
                expected=f"a range within 0 and {tensor.shape[axis] - 1}",
            )
    steps = row_major(tensor.shape)
    return copy(
        out,
        size,
        [step * stride for step, stride in zip(steps, strides, strict=True)],
        row_major(size),
        node.name,
        read_from=sum(step * first for step, first in zip(steps, begin, strict=True)),
    )


def _range(node: Node, rank: int) -> tuple[list[int], list[int], list[int]]:
    """First element, count and stride of each axis."""
    begin = [int(number) for number in node.attributes["begin"]]
    size = [int(number) for number in node.attributes["size"]]
    strides = [int(number) for number in node.attributes.get("strides") or [1] * rank]
    return begin, size, strides
