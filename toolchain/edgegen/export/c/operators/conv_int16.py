"""conv2d_int16, depthwise_conv2d_int16, dense_int16: the layers of those names with int16 activations, one kernel.

Inputs and attributes as ``conv2d``, ``depthwise_conv2d`` and ``dense`` have them; the arithmetic is ``wide``'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.checks import made, read
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered

if TYPE_CHECKING:
    import numpy as np

_CHANNEL_AXIS = {"conv2d_int16": 0, "depthwise_conv2d_int16": 2, "dense_int16": 0}


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The layer's output."""
    import numpy as np

    from edgegen.export.c.products import grouped_sums
    from edgegen.export.c.wide import wide_of

    layer, out = wide_of(node, graph, channel_axis=_CHANNEL_AXIS[node.kind]), made(node, graph)
    value = values[0]
    assert value is not None
    weights, stride, dilation, padding, groups = _as_convolution(node, graph, layer.weights)
    image = value.astype(np.int64)
    image = image.reshape(1, -1, image.shape[-1]) if node.kind == "dense_int16" else image[0]
    one = node.kind == "dense_int16"
    size = (1, out.elements // weights.shape[0]) if one else (out.shape[1], out.shape[2])
    sums = grouped_sums(image, weights, groups, stride, dilation, padding, size)
    return [layer.finish(sums).reshape(out.shape)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_conv2d_s16``.

    Raises:
        BuildError: types, scales or shapes that the kernel does not do.
    """
    from edgegen.export.c.wide import wide_of

    tensor, out = read(node, graph, 0), made(node, graph)
    layer = wide_of(node, graph, channel_axis=_CHANNEL_AXIS[node.kind])
    weights, stride, dilation, (top, left, *_), groups = _as_convolution(node, graph, layer.weights)
    outputs, high, wide, depth = weights.shape
    height, width, channels, out_height, out_width = (
        (1, tensor.elements // depth, depth, 1, out.elements // outputs)
        if node.kind == "dense_int16"
        else (*tensor.shape[1:], *out.shape[1:3])
    )
    if outputs % groups or depth * groups != channels or tensor.elements != height * width * channels:
        raise BuildError(
            f"the weights of this {node.kind} do not fit its input",
            where=node.name,
            got=f"{list(layer.weights.shape)} and {list(tensor.shape)}, {groups} groups",
        )
    return Lowered(
        kernel="eg_conv2d_s16",
        parameters={
            **layer.parameters(weights),
            "height": height,
            "width": width,
            "channels": channels,
            "groups": groups,
            "out_height": out_height,
            "out_width": out_width,
            "outputs": outputs,
            "filter_height": high,
            "filter_width": wide,
            "stride_height": stride[0],
            "stride_width": stride[1],
            "dilation_height": dilation[0],
            "dilation_width": dilation[1],
            "top": top,
            "left": left,
        },
        macs=out.elements * high * wide * depth,
    )


def _as_convolution(node: Node, graph: Graph, weights: Any) -> tuple[Any, Any, Any, Any, int]:
    """Weights (outputs, height, width, channels / groups), stride, dilation, padding and groups."""
    if node.kind == "dense_int16":
        return weights[:, None, None, :], (1, 1), (1, 1), (0, 0, 0, 0), 1
    told = node.attributes
    groups = told["groups"] if node.kind == "conv2d_int16" else read(node, graph, 0).shape[-1]
    if node.kind == "depthwise_conv2d_int16":
        weights = weights.transpose(2, 0, 1)[..., None]
    return weights, told["stride"], told["dilation"], told["padding"], groups
