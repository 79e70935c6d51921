"""max_pool: the largest stored number of each window, by channel. Cells of the padding count nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.checks import expect, made, read, same_numbers
from edgegen.export.c.elementwise import clamp_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The largest of each window."""
    import numpy as np

    (value,) = values
    assert value is not None
    out = made(node, graph)
    (high, wide), (down, right) = node.attributes["filter"], node.attributes["stride"]
    top, left = node.attributes["padding"][:2]
    result = np.empty(out.shape, value.dtype)
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            y0, x0 = y * down - top, x * right - left
            window = value[0, max(y0, 0) : y0 + high, max(x0, 0) : x0 + wide]
            result[0, y, x] = window.max(axis=(0, 1))
    limits = clamp_of(node, out.dtype)
    return [np.clip(result, limits["low"], limits["high"]).astype(value.dtype)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_max_pool_s8`` or ``_s16``.

    Raises:
        BuildError: another type, tensors of different scales, or a window without a cell of the image.
    """
    tensor, out = expect(read(node, graph, 0), node, "int8", "int16"), made(node, graph)
    same_numbers(tensor, out, node)
    (high, wide), (down, right) = node.attributes["filter"], node.attributes["stride"]
    top, left = node.attributes["padding"][:2]
    _, height, width, channels = tensor.shape
    last = (out.shape[1] - 1) * down - top, (out.shape[2] - 1) * right - left
    if top >= high or left >= wide or last[0] >= height or last[1] >= width:
        raise BuildError("a pooling window lies in the padding alone", where=node.name, got=node.attributes["padding"])
    return Lowered(
        kernel="eg_max_pool_s8" if tensor.dtype == "int8" else "eg_max_pool_s16",
        parameters={
            "height": height,
            "width": width,
            "channels": channels,
            "out_height": out.shape[1],
            "out_width": out.shape[2],
            "filter_height": high,
            "filter_width": wide,
            "stride_height": down,
            "stride_width": right,
            "top": top,
            "left": left,
            **clamp_of(node, out.dtype),
        },
    )
