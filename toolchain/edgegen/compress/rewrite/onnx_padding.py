"""ONNX: zeros that a Pad puts around the input of a convolution become the convolution's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.onnx_graph import Graph, attribute

if TYPE_CHECKING:
    from onnx import NodeProto


def fuse(graph: Graph, asked: Asked) -> Found:
    """Takes every Pad with zeros along the places of a Conv (or of an AveragePool that counts zeros) into it."""
    found = Found()
    for node in graph.of_type("Conv", "AveragePool"):
        pad = graph.maker(node.input[0])
        if pad is None or pad.op_type != "Pad" or pad.domain:
            continue
        if node.op_type == "AveragePool" and not attribute(node, "count_include_pad", 0):
            continue
        added = _zeros(graph, pad)
        if isinstance(added, str):
            found.count(node.output[0], added)
            continue
        if attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID") or attribute(node, "ceil_mode", 0):
            found.count(node.output[0], "the operator after the Pad finds its own padding")
            continue
        count = len(added) // 2
        own = (
            attribute(node, "pads", [0] * (2 * count))
            if attribute(node, "auto_pad", "NOTSET") == "NOTSET"
            else [0] * (2 * count)
        )
        kept = {item.name: attribute(node, item.name) for item in node.attribute}
        kept.pop("auto_pad", None)
        made = graph.node(
            node.op_type,
            [pad.input[0], *list(node.input)[1:]],
            graph.shapes.get(node.output[0], ()),
            f"{node.output[0]}_padded",
            **{**kept, "pads": [first + second for first, second in zip(own, added, strict=True)]},
        )
        graph.replace([node], [made], {node.output[0]: made.output[0]})
        found.count(made.output[0])
    graph.drop_unused()
    return found


def _zeros(graph: Graph, pad: NodeProto) -> list[int] | str:
    """The pads of the places, first those in front; or why it is another kind of Pad."""
    shape, pads = graph.shape(pad.input[0]), graph.constant(pad, 1)
    if attribute(pad, "mode", "constant") != "constant":
        return f"the Pad before it repeats values ({attribute(pad, 'mode')})"
    if shape is None or pads is None or len(shape) < 3:
        return "the Pad before it is not fixed"
    value = graph.constant(pad, 2)
    if len(pad.input) > 2 and pad.input[2] and (value is None or value.any()):
        return "the Pad before it puts no zeros"
    axes = graph.constant(pad, 3)
    if len(pad.input) > 3 and pad.input[3] and axes is None:
        return "the Pad before it is not fixed"
    rank = len(shape)
    named = range(rank) if axes is None else [int(axis) % rank for axis in axes]
    whole = [[0] * rank, [0] * rank]
    for at, axis in enumerate(named):
        whole[0][axis], whole[1][axis] = int(pads[at]), int(pads[len(named) + at])
    if any(side[axis] for side in whole for axis in (0, 1)) or min(min(side) for side in whole) < 0:
        return "the Pad before it pads channels, or crops"
    return [*whole[0][2:], *whole[1][2:]]
