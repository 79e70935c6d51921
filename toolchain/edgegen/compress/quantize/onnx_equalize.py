"""Cross-layer equalization on an ONNX graph: the function stays the same, the weights become easier to quantize."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from edgegen.compress.quantize.equalize import equalizing_scales
from edgegen.compress.quantize.onnx_layers import Layer, find_layers, weight_value

if TYPE_CHECKING:
    from onnx import NodeProto

Array = np.ndarray[Any, Any]

# They pass a channel on, and a channel that is larger by a positive factor comes out larger by the same factor.
_HOMOGENEOUS = ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize")
_ROUNDS = 20
_SETTLED = 1e-4  # largest change of a round's scales that ends the rounds


def equalize(model: ModelProto) -> int:
    """Changes weights and biases in place; returns how many pairs of layers were made to agree."""
    layers = {layer.node.name: layer for layer in find_layers(model)}
    users = _users(model)
    shown = {value.name for value in model.graph.output}
    pairs = []
    for first in layers.values():
        second = _follower(first, layers, users, shown)
        if second is not None and _may_be_scaled(first, model):
            pairs.append((first, second))
    for _ in range(_ROUNDS):
        if max((_equalize_pair(first, second, model) for first, second in pairs), default=0.0) < _SETTLED:
            break
    return len(pairs)


def _follower(
    first: Layer, layers: dict[str, Layer], users: dict[str, list[NodeProto]], shown: set[str]
) -> Layer | None:
    """The one layer that reads what ``first`` makes, behind nothing but homogeneous operators."""
    value = first.node.output[0]
    while value not in shown and len(users.get(value, ())) == 1:
        node = users[value][0]
        if node.input[0] != value:
            return None
        if node.name in layers:
            found = layers[node.name]
            return found if _channels_read(found) == _channels_made(first) else None
        if node.op_type not in _HOMOGENEOUS:
            return None
        value = node.output[0]
    return None


def _equalize_pair(first: Layer, second: Layer, model: ModelProto) -> float:
    made, read = weight_value(first).astype(np.float64), weight_value(second).astype(np.float64)
    made_axis, read_axis = _made_axis(first), _read_axis(second)
    scales = equalizing_scales(_largest(made, made_axis), _largest(read, read_axis))
    _store(first.weight, made / _along(scales, made, made_axis))
    _store(second.weight, read * _along(scales, read, read_axis))
    bias = _bias(first, model)
    if bias is not None:
        _store(bias, numpy_helper.to_array(bias) / scales)
    return float(np.abs(scales - 1).max())


def _channels_made(layer: Layer) -> int:
    return int(layer.weight.dims[_made_axis(layer)])


def _channels_read(layer: Layer) -> int:
    """0 where channels of the weight's axis are not those of the input."""
    if layer.groups == 1:
        return int(layer.weight.dims[_read_axis(layer)])
    depthwise = layer.node.op_type == "Conv" and layer.weight.dims[1] == 1 and layer.weight.dims[0] == layer.groups
    return layer.groups if depthwise else 0


def _made_axis(layer: Layer) -> int:
    if layer.node.op_type == "Conv":
        return 0
    if layer.node.op_type == "ConvTranspose":
        return 1
    return 0 if layer.attributes.get("transB", 0) else 1


def _read_axis(layer: Layer) -> int:
    if layer.node.op_type == "Conv":
        return 1 if layer.groups == 1 else 0
    if layer.node.op_type == "ConvTranspose":
        return 0
    return 1 if layer.attributes.get("transB", 0) else 0


def _may_be_scaled(layer: Layer, model: ModelProto) -> bool:
    """A grouped transposed convolution has no axis of all its channels; a bias must be a constant of its own."""
    if layer.node.op_type == "ConvTranspose" and layer.groups != 1:
        return False
    if layer.attributes.get("beta", 1.0) != 1.0:
        return False
    bias = layer.node.input[2] if len(layer.node.input) > 2 else ""
    if not bias:
        return True
    found = _bias(layer, model)
    shared = sum(bias in node.input for node in model.graph.node) > 1
    return found is not None and not shared and list(found.dims) == [_channels_made(layer)]


def _bias(layer: Layer, model: ModelProto) -> TensorProto | None:
    name = layer.node.input[2] if len(layer.node.input) > 2 else ""
    return next((tensor for tensor in model.graph.initializer if name and tensor.name == name), None)


def _store(tensor: TensorProto, value: Array) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value, dtype=np.float32), tensor.name))


def _largest(weight: Array, axis: int) -> Array:
    largest: Array = np.abs(weight).max(axis=tuple(place for place in range(weight.ndim) if place != axis))
    return largest


def _along(scales: Array, weight: Array, axis: int) -> Array:
    return np.expand_dims(scales, tuple(place for place in range(weight.ndim) if place != axis))


def _users(model: ModelProto) -> dict[str, list[NodeProto]]:
    users: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    return users
