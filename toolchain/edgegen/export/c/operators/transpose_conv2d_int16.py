"""transpose_conv2d_int16: ``transpose_conv2d`` with int16 activations; the arithmetic is ``wide``'s."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c.checks import made, read
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """Every pixel's product with the weights, added up where they lie."""
    import numpy as np

    from edgegen.export.c.wide import wide_of

    layer, out = wide_of(node, graph, channel_axis=0), made(node, graph)
    value = values[0]
    assert value is not None
    image = value[0].astype(np.float64)  # exact: sums stay below 2^47
    (down, right), (top, left, *_) = node.attributes["stride"], node.attributes["padding"]
    outputs, high, wide, _ = layer.weights.shape
    _, out_height, out_width, _ = out.shape
    height = max((image.shape[0] - 1) * down + high, out_height + top)
    width = max((image.shape[1] - 1) * right + wide, out_width + left)
    full = np.zeros((height, width, outputs))
    for y, x in np.ndindex(image.shape[:2]):
        full[y * down : y * down + high, x * right : x * right + wide] += np.einsum(
            "ohwc,c->hwo", layer.weights.astype(np.float64), image[y, x]
        )
    return [layer.finish(full[top : top + out_height, left : left + out_width].astype(np.int64))[None]]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_transpose_conv2d_s16``.

    Raises:
        BuildError: types or scales that the kernel does not do.
    """
    from edgegen.export.c.wide import wide_of

    tensor, out = read(node, graph, 0), made(node, graph)
    layer = wide_of(node, graph, channel_axis=0)
    (down, right), (top, left, *_) = node.attributes["stride"], node.attributes["padding"]
    outputs, high, wide, channels = layer.weights.shape
    return Lowered(
        kernel="eg_transpose_conv2d_s16",
        parameters={
            **layer.parameters(layer.weights),
            "height": tensor.shape[1],
            "width": tensor.shape[2],
            "channels": channels,
            "out_height": out.shape[1],
            "out_width": out.shape[2],
            "outputs": outputs,
            "filter_height": high,
            "filter_width": wide,
            "stride_height": down,
            "stride_width": right,
            "top": top,
            "left": left,
        },
        macs=tensor.elements * high * wide * outputs,
    )
