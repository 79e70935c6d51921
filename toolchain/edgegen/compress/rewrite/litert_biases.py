"""LiteRT: biases as plain vectors."""

from __future__ import annotations

from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.litert_graph import LiteGraph

_BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}


def flatten(graph: LiteGraph, asked: Asked) -> Found:
    """Gives every bias of shape (1, ..., 1, channels) the shape (channels).

    The converter writes the former for a transposed convolution with a folded batch normalization. In float nothing
    changes; the quantizer gives such a bias a scale for each channel along its first axis, which has length 1, and the
    runtime refuses the model.
    """
    found = Found()
    for operator in graph.of_kind(*_BIAS):
        inputs, place = graph.inputs(operator), _BIAS[graph.kinds[id(operator)]]
        if len(inputs) <= place:
            continue
        values = graph.constant(inputs[place])
        if values is None or values.ndim < 2 or max(values.shape[:-1]) != 1:
            continue
        inputs[place] = graph.add_constant(values.reshape(-1), f"{graph.stem(inputs[place])}_flat")
        operator.inputs = inputs
        found.count(graph.name(graph.outputs(operator)[0]))
    return found
