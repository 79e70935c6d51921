"""avg_pool_int16: the mean stored number of each window, halves away from zero, as TFLite has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c.checks import expect, made, read, same_numbers
from edgegen.export.c.elementwise import clamp_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The means."""
    import numpy as np

    (value,) = values
    assert value is not None
    out, wide = made(node, graph), value[0].astype(np.int64)
    (high, across), (down, right) = node.attributes["filter"], node.attributes["stride"]
    top, left = node.attributes["padding"][:2]
    result = np.zeros(out.shape, np.int64)
    for y, x in np.ndindex(out.shape[1:3]):
        y0, x0 = y * down - top, x * right - left
        window = wide[max(y0, 0) : y0 + high, max(x0, 0) : x0 + across]
        total, cells = window.sum(axis=(0, 1)), window.shape[0] * window.shape[1]
        result[0, y, x] = np.sign(total) * ((np.abs(total) + cells // 2) // cells)
    limits = clamp_of(node, out.dtype)
    return [np.clip(result, limits["low"], limits["high"]).astype(np.int16)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_avg_pool_s16``.

    Raises:
        BuildError: another type, or tensors of different scales.
    """
    tensor, out = expect(read(node, graph, 0), node, "int16"), made(node, graph)
    same_numbers(tensor, out, node)
    (high, wide), (down, right) = node.attributes["filter"], node.attributes["stride"]
    top, left = node.attributes["padding"][:2]
    return Lowered(
        kernel="eg_avg_pool_s16",
        parameters={
            "height": tensor.shape[1],
            "width": tensor.shape[2],
            "channels": tensor.shape[3],
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
