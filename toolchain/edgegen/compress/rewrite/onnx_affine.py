"""ONNX: batch normalization, and scales and shifts by channel, taken into the weights before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.onnx_graph import Array, Graph, attribute

if TYPE_CHECKING:
    from onnx import NodeProto

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm")


def fold(graph: Graph, asked: Asked) -> Found:
    """Folds every BatchNormalization, Mul, Add, Sub and Div by channel into the Conv, ConvTranspose or Gemm before it.

    y = a x + b by channel, so weights become a w and the bias a c + b; in float64, rounded once.
    """
    found = Found()
    for node in graph.of_type("BatchNormalization", "Mul", "Add", "Sub", "Div"):
        line = _line(graph, node)
        if line is None:
            continue
        value, scale, shift = line
        weighted = graph.maker(value)
        if weighted is None or weighted.op_type not in _WEIGHTED or graph.only_user(value) is None:
            continue
        found.count(node.output[0], _take_in(graph, weighted, node, scale, shift))
    return found


def _line(graph: Graph, node: NodeProto) -> tuple[str, Array, Array] | None:
    """The value that the node maps, and scale and shift of its channels; None where it is no such map."""
    shape = graph.shape(node.output[0])
    if shape is None or len(shape) < 2:
        return None
    channels = shape[1]
    if node.op_type == "BatchNormalization":
        known = [graph.constant(node, place) for place in range(1, 5)]
        if attribute(node, "training_mode", 0) or len([name for name in node.output if name]) > 1:
            return None
        if any(values is None for values in known):
            return None
        gamma, beta, mean, variance = (np.asarray(values, dtype=np.float64) for values in known)
        scale = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        return node.input[0], scale, beta - mean * scale
    place = 1 if graph.constant(node, 1) is not None else 0
    values = graph.constant(node, place)
    if values is None or (place == 0 and node.op_type == "Div") or graph.shape(node.input[1 - place]) != shape:
        return None
    by_channel = _by_channel(values, channels, len(shape))
    if by_channel is None:
        return None
    one, zero = np.ones(channels), np.zeros(channels)
    lines = {
        "Mul": (by_channel, zero),
        "Add": (one, by_channel),
        "Sub": (one, -by_channel) if place else (-one, by_channel),
        "Div": (one / np.where(by_channel == 0, np.nan, by_channel), zero),
    }
    scale, shift = lines[node.op_type]
    return (node.input[1 - place], scale, shift) if np.isfinite(scale).all() and np.isfinite(shift).all() else None


def _by_channel(values: Array, channels: int, rank: int) -> Array | None:
    """A constant that broadcasts along everything but axis 1, as one value a channel in float64."""
    if values.dtype != np.float32 or values.ndim > rank:
        return None
    whole = values.reshape((1,) * (rank - values.ndim) + values.shape)
    if any(side != 1 for axis, side in enumerate(whole.shape) if axis != 1) or whole.shape[1] not in (1, channels):
        return None
    return np.broadcast_to(whole.reshape(-1), channels).astype(np.float64)


def _take_in(graph: Graph, weighted: NodeProto, node: NodeProto, scale: Array, shift: Array) -> str:
    weight, bias = graph.constant(weighted, 1), graph.constant(weighted, 2)
    if weight is None or weight.dtype != np.float32 or (len(weighted.input) > 2 and weighted.input[2] and bias is None):
        return "the weights before it are no float32 constants"
    part = 1.0  # how much of the bias counts
    if weighted.op_type == "Conv":
        scaled = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    elif weighted.op_type == "ConvTranspose":
        group = attribute(weighted, "group", 1)
        split = weight.reshape(group, -1, *weight.shape[1:])  # (group, input / group, output / group, *kernel)
        scaled = (split * scale.reshape(group, 1, -1, *(1,) * (weight.ndim - 2))).reshape(weight.shape)
    else:
        part = attribute(weighted, "beta", 1.0)
        scaled = weight * (scale[:, None] if attribute(weighted, "transB", 0) else scale)
        if part == 0 or (bias is not None and bias.size not in (1, len(scale))):
            return "the bias before it is not one value a channel"
    old = np.zeros(len(scale)) if bias is None else np.broadcast_to(bias.reshape(-1), len(scale)) * part
    moved = (old * scale + shift) / part
    if not np.isfinite(scaled).all() or not np.isfinite(moved.astype(np.float32)).all():
        return "the folded weights are no finite numbers"
    stem = weighted.output[0]
    made = graph.node(
        weighted.op_type,
        [
            weighted.input[0],
            graph.add(scaled.astype(np.float32), f"{stem}_scaled"),
            graph.add(moved.astype(np.float32), f"{stem}_moved"),
        ],
        graph.shapes[weighted.output[0]],
        f"{stem}_folded",
    )
    made.attribute.extend(weighted.attribute)
    graph.replace([weighted, node], [made], {node.output[0]: made.output[0]})
    return ""
