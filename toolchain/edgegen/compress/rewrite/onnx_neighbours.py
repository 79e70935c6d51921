"""ONNX: convolutions whose groups have so few outputs that the runtime's matrix kernel runs almost empty.

ONNX Runtime multiplies the weights of one group (outputs x taps) with gathered pixels. Its kernel works on several
outputs at once, and gathering costs as much for one output as for many. Neighbours computed at once, as channels, are
more rows of the product and fewer gathered pixels, for the price of taps that are zero and of a rearrangement. It pays
for depthwise kernels without a kernel of their own (5x5: a quarter fewer instructions on a Cortex-A72).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.onnx_graph import Graph, attribute
from edgegen.compress.rewrite.onnx_spread import FUSED, crop, same, spread
from edgegen.compress.rewrite.transposed import Array, neighbours

if TYPE_CHECKING:
    from onnx import NodeProto

_FEW = 3  # outputs of one group


def widen(graph: Graph, asked: Asked, *, block: int) -> Found:
    """Lets every Conv with at most three outputs a group compute ``block`` neighbours along each axis at once."""
    found = Found()
    for node in graph.of_type("Conv"):
        weight, shape = graph.constant(node, 1), graph.shape(node.output[0])
        if not asked.wants(node.output[0]) or weight is None or weight.dtype != np.float32:
            continue
        few = len(weight) // attribute(node, "group", 1) <= _FEW
        if few and shape is not None and min(shape[2:]) >= 2 * block:
            found.count(node.output[0], _widen(graph, node, weight, shape, block))
    return found


def _widen(graph: Graph, node: NodeProto, weight: Array, shape: tuple[int, ...], block: int) -> str:
    count, before = len(shape) - 2, graph.shape(node.input[0])
    bias = graph.constant(node, 2)
    if attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID") or before is None:
        return "it finds its own padding"
    if len(node.input) > 2 and node.input[2] and bias is None:
        return "its bias is no constant"
    strides, dilations = (list(attribute(node, name, [1] * count)) for name in ("strides", "dilations"))
    front = list(attribute(node, "pads", [0] * (2 * count)))[:count]
    wide = neighbours(weight, strides, dilations, block)  # (output, *blocks, input, *kernel)
    kernel = wide.shape[2 + count :]
    positions = [-(-side // block) for side in shape[2:]]
    behind = [
        max((place - 1) * stride * block + side - length - pad, 0)
        for place, stride, side, length, pad in zip(positions, strides, kernel, before[2:], front, strict=True)
    ]
    stem = node.output[0]
    inputs = [node.input[0], graph.add(wide.reshape(-1, *wide.shape[1 + count :]), f"{stem}_wide")]
    if bias is not None:
        inputs.append(graph.add(np.repeat(bias, block**count), f"{stem}_wide_bias"))
    places = [
        (length + pad + more - side) // (stride * block) + 1
        for length, pad, more, side, stride in zip(before[2:], front, behind, kernel, strides, strict=True)
    ]
    nodes = [
        graph.node(
            "Conv", inputs, (shape[0], len(weight) * block**count, *places), f"{stem}_deep",
            pads=[*front, *behind], strides=[stride * block for stride in strides], kernel_shape=list(kernel),
            group=attribute(node, "group", 1),
        )
    ]  # fmt: skip
    last, gone = node, [node]
    activation = graph.only_user(stem)
    if activation is not None and activation.op_type in FUSED and activation.input[0] == stem:
        nodes.append(same(graph, activation, nodes[-1].output[0], f"{stem}_active"))
        last, gone = activation, [node, activation]
    nodes += spread(graph, nodes[-1].output[0], shape[0], shape[1], [block] * count, places, stem)
    if [block * place for place in places] != list(shape[2:]):
        nodes.append(crop(graph, nodes[-1].output[0], [0] * count, shape, stem))
    graph.replace(gone, nodes, {last.output[0]: nodes[-1].output[0]})
    return ""
