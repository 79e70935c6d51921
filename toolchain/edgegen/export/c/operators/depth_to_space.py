"""depth_to_space and space_to_depth: channels become a ``block`` x ``block`` patch of the image, or a patch channels.

LiteRT's order: channel ``(row in the patch * block + column) * depth + c`` and pixel (row, column) of the patch.
Numbers are moved as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c.checks import made, read, same_numbers
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered
from edgegen.export.c.moves import copy

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The image, rearranged."""
    import numpy as np

    (value,) = values
    assert value is not None
    block = int(node.attributes["block"])
    one, height, width, channels = value.shape
    if node.kind == "depth_to_space":
        parts = value.reshape(one, height, width, block, block, channels // block**2)
    else:
        parts = value.reshape(one, height // block, block, width // block, block, channels)
    return [np.ascontiguousarray(parts.transpose(0, 1, 3, 2, 4, 5)).reshape(made(node, graph).shape)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """One copy.

    Raises:
        BuildError: types or scales differ.
    """
    tensor, out = read(node, graph, 0), made(node, graph)
    same_numbers(tensor, out, node)
    block = int(node.attributes["block"])
    deep, wide = (tensor, out) if node.kind == "depth_to_space" else (out, tensor)
    _, height, width, channels = deep.shape
    depth = channels // block**2
    row = wide.shape[2] * depth
    # (height, row in the patch, width, column in the patch and depth), seen from the deep and from the wide tensor
    counts = (height, block, width, block * depth)
    from_deep = (width * channels, block * depth, channels, 1)
    from_wide = (block * row, row, block * depth, 1)
    steps = (from_deep, from_wide) if deep is tensor else (from_wide, from_deep)
    return copy(out, counts, *steps, node.name)
