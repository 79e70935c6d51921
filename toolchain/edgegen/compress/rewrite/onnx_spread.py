"""ONNX: from channels to places, and what stands around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgegen.compress.rewrite.onnx_graph import Graph

if TYPE_CHECKING:
    from onnx import NodeProto

FUSED = frozenset({"Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "HardSigmoid"})
"""Activations that the runtime fuses into the convolution before them; they look at every value alone."""


def same(graph: Graph, node: NodeProto, value: str, hint: str) -> NodeProto:
    """The same operator on another value."""
    made = graph.node(node.op_type, [value, *list(node.input)[1:]], graph.shapes[value], hint)
    made.attribute.extend(node.attribute)
    return made


def spread(
    graph: Graph, value: str, batch: int, channels: int, blocks: list[int], places: list[int], stem: str
) -> list[NodeProto]:
    """Channels in the order (channel, *block), of every position, as places; no node where every block is 1."""
    if all(block == 1 for block in blocks):
        return []
    grown = (batch, channels, *(block * place for block, place in zip(blocks, places, strict=True)))
    if all(place == 1 for place in places):
        return [reshape(graph, value, grown, f"{stem}_spread")]
    if len(blocks) == 2 and blocks[0] == blocks[1]:
        return [graph.node("DepthToSpace", [value], grown, f"{stem}_spread", blocksize=blocks[0], mode="CRD")]
    count = len(blocks)
    order = [0, 1, *(axis for at in range(count) for axis in (2 + count + at, 2 + at))]
    split = reshape(graph, value, (batch, channels, *blocks, *places), f"{stem}_split")
    turned_shape = tuple((batch, channels, *blocks, *places)[axis] for axis in order)
    turned = graph.node("Transpose", [split.output[0]], turned_shape, f"{stem}_turned", perm=order)
    return [split, turned, reshape(graph, turned.output[0], grown, f"{stem}_spread")]


def reshape(graph: Graph, value: str, shape: tuple[int, ...], hint: str) -> NodeProto:
    return graph.node("Reshape", [value, graph.add(np.array(shape, dtype=np.int64), f"{hint}_shape")], shape, hint)


def crop(graph: Graph, value: str, front: Sequence[int], shape: tuple[int, ...], stem: str) -> NodeProto:
    """``shape`` of the value, ``front`` places taken off each axis after the first two."""
    bounds = {
        "from": list(front),
        "to": [first + side for first, side in zip(front, shape[2:], strict=True)],
        "axes": list(range(2, len(shape))),
    }
    names = [graph.add(np.array(values, dtype=np.int64), f"{stem}_{name}") for name, values in bounds.items()]
    return graph.node("Slice", [value, *names], shape, f"{stem}_cropped")
