"""Every weight of an ONNX graph as a matrix of rows, and the way back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from edgegen.compress.quantize.onnx_layers import Layer, find_layers, weight_value
from edgegen.compress.quantize.onnx_weights import find_weights

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A float32 constant as (rows, inputs), and how rows become the constant again: a shape, then an order of axes."""

    tensor: TensorProto
    value: Array
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    layer: Layer | None  # None: an embedding, a recurrent weight, or one that several operators share


def find_rows(model: ModelProto, where: str) -> list[Rows]:
    """The main graph's weights that only heavy operators use, in the order of the file.

    A row holds what one output channel multiplies its inputs with, where a weight has such rows; of a transposed
    convolution one place of its kernel; of an embedding one entry.

    Raises:
        BuildError: a weight is infinite or not a number.
    """
    layers = {layer.weight.name: layer for layer in find_layers(model)}
    return [_rows(weight.tensor, layers.get(weight.tensor.name)) for weight in find_weights(model, where)]


def _rows(tensor: TensorProto, layer: Layer | None) -> Rows:
    dims = tuple(tensor.dims)
    as_it_is = tuple(range(len(dims)))
    if layer is None or layer.groups != 1:
        value = numpy_helper.to_array(tensor)
        inner = dims[-1] if len(dims) > 2 and layer is None else math.prod(dims[1:])
        known = layer if layer is not None and layer.node.op_type == "Conv" else None
        return Rows(tensor=tensor, value=value.reshape(-1, max(inner, 1)), shape=dims, axes=as_it_is, layer=known)
    value = layer.rows(weight_value(layer))[0]
    if layer.node.op_type == "ConvTranspose":
        axes = (len(dims) - 1, *range(len(dims) - 1))
        return Rows(tensor=tensor, value=value, shape=(*dims[1:], dims[0]), axes=axes, layer=layer)
    if layer.node.op_type == "Conv" or (value.shape == dims and layer.attributes.get("transB", 0)):
        return Rows(tensor=tensor, value=value, shape=dims, axes=as_it_is, layer=layer)
    return Rows(tensor=tensor, value=value, shape=value.shape, axes=(1, 0), layer=layer)
