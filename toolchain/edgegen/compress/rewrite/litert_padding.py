"""LiteRT: zeros that a PAD puts around the input of a convolution become the convolution's own."""

from __future__ import annotations

import numpy as np

from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.litert_graph import LiteGraph, schema_value

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def fuse(graph: LiteGraph, asked: Asked) -> Found:
    """Takes every PAD into the convolution after it where the padding ``SAME`` puts the same zeros."""
    found = Found()
    for operator in graph.of_kind(*_CONVOLUTIONS):
        inputs = graph.inputs(operator)
        pad = graph.maker(inputs[0])
        options = operator.builtinOptions
        if pad is None or graph.kinds[id(pad)] != "PAD" or options.padding != schema_value("Padding", "VALID"):
            continue
        place, source = graph.name(graph.outputs(operator)[0]), graph.inputs(pad)[0]
        pads, kernel, shape = graph.constant(graph.inputs(pad)[1]), graph.shape(inputs[1]), graph.shape(source)
        if pads is None or len(shape) != 4 or pads[[0, 3]].any():
            found.count(place, "the PAD before it pads samples or channels")
            continue
        strides, dilations = (
            (options.strideH, options.strideW),
            (options.dilationHFactor, options.dilationWFactor),
        )
        same = [_same(shape[1 + at], (kernel[1 + at] - 1) * dilations[at] + 1, strides[at]) for at in range(2)]
        if [tuple(int(side) for side in pads[1 + at]) for at in range(2)] != same:
            found.count(place, f"SAME would pad {same}, not {np.asarray(pads)[1:3].tolist()}")
            continue
        inputs[0] = source
        operator.inputs = np.array(inputs, dtype=np.int32)
        options.padding = schema_value("Padding", "SAME")
        found.count(place)
    graph.drop_unused()
    return found


def _same(length: int, span: int, stride: int) -> tuple[int, int]:
    """The zeros in front and behind that SAME means."""
    total = max((-(-length // stride) - 1) * stride + span - length, 0)
    return total // 2, total - total // 2
