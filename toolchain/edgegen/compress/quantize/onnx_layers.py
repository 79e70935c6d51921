"""Weighted operators of an ONNX graph as matrices of rows: an output channel a row, with what flows into it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgegen.export.onnx_file import graphs

if TYPE_CHECKING:
    from onnx import NodeProto

Array = np.ndarray[Any, Any]

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")

_MOST_PATCHES = 64  # of one sample, spread evenly over it


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A node that multiplies its first input with a constant float32 matrix or kernel."""

    node: NodeProto
    weight: TensorProto
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def groups(self) -> int:
        """Of a convolution; else 1."""
        return int(self.attributes.get("group", 1))

    def rows(self, weight: Array) -> Array:
        """The weight as (groups, rows, inputs). Of a transposed convolution a row for every output channel and place
        of the kernel.
        """
        kind = self.node.op_type
        if kind == "Conv":
            return weight.reshape(self.groups, weight.shape[0] // self.groups, -1)
        if kind == "ConvTranspose":
            grouped = weight.reshape(self.groups, weight.shape[0] // self.groups, -1)  # (groups, inputs, rows)
            return grouped.transpose(0, 2, 1)
        return (weight if self._transposed else weight.T)[None]

    def weight_of(self, rows: Array) -> Array:
        """Back from ``rows`` to the shape of the weight."""
        kind, shape = self.node.op_type, tuple(self.weight.dims)
        if kind == "Conv":
            return rows.reshape(shape)
        if kind == "ConvTranspose":
            return rows.transpose(0, 2, 1).reshape(shape)
        return np.ascontiguousarray(rows[0] if self._transposed else rows[0].T)

    def inputs_of(self, activation: Array) -> Array:
        """What the rows are multiplied with, (groups, samples, inputs): of a large image some places alone."""
        kind = self.node.op_type
        if kind == "Conv":
            return self._patches(activation)
        if kind == "ConvTranspose":
            flat = np.moveaxis(activation, 1, -1).reshape(-1, activation.shape[1])
            return np.stack(np.split(_thinned(flat), self.groups, axis=1))
        return _thinned(activation.reshape(-1, activation.shape[-1]))[None]

    @property
    def _transposed(self) -> bool:
        return bool(self.node.op_type == "Gemm" and self.attributes.get("transB", 0))

    def _patches(self, activation: Array) -> Array:
        """(groups, places, inputs) of (batch, channels, ...), as the convolution reads them."""
        kernel = tuple(self.weight.dims[2:])
        axes = len(kernel)
        strides = self.attributes.get("strides", [1] * axes)
        dilations = self.attributes.get("dilations", [1] * axes)
        pads = self.attributes.get("pads", [0] * 2 * axes)
        padded = np.pad(activation, [(0, 0), (0, 0), *zip(pads[:axes], pads[axes:], strict=True)])
        reach = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
        windows: Any = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, 2 + axes)))
        steps = (1, 1, *strides, *dilations)
        windows = windows[(..., *(slice(None, None, step) for step in steps))]  # (batch, channels, *places, *kernel)
        count = math.prod(windows.shape[2 : 2 + axes])
        step = max(1, -(-count // _MOST_PATCHES))
        index = np.unravel_index(np.arange(0, count, step), windows.shape[2 : 2 + axes])
        chosen: Array = np.moveaxis(
            windows[(slice(None), slice(None), *index)], 2, 1
        )  # (batch, places, channels, *kernel)
        flat = chosen.reshape(chosen.shape[0] * chosen.shape[1], self.groups, -1)
        return flat.transpose(1, 0, 2)


def name_nodes(model: ModelProto) -> None:
    """Gives every node of the main graph a name of its own, in place: quantizers tell nodes apart by name."""
    taken = {node.name for node in model.graph.node}
    seen: set[str] = set()
    for place, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            name = f"{node.op_type}_{place}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
        seen.add(node.name)


def find_layers(model: ModelProto) -> list[Layer]:
    """The main graph's weighted operators whose weight is a constant of their own, in the order of the file.

    A weight that several nodes share is left out: no one rounding would suit them all. So are products of more than
    two axes of weights, and forms of Gemm and convolution that no exporter in use writes.
    """
    stored = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT}
    users: dict[str, int] = {}
    for graph in graphs(model):
        for node in graph.node:
            for name in node.input:
                users[name] = users.get(name, 0) + 1
    found = []
    for node in model.graph.node:
        if node.op_type not in WEIGHTED or node.input[1] not in stored or users[node.input[1]] != 1:
            continue
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        layer = Layer(node=node, weight=stored[node.input[1]], attributes=attributes)
        if _is_plain(layer):
            found.append(layer)
    return found


def weight_value(layer: Layer) -> Array:
    """The layer's weight as an array."""
    value: Array = numpy_helper.to_array(layer.weight)
    return value


def in_branches(model: ModelProto) -> list[str]:
    """Weighted operators inside the bodies of If, Loop and Scan, by name: no quantizer reaches them."""
    bodies: Sequence[Any] = list(graphs(model))[1:]
    return [node.name or node.op_type for graph in bodies for node in graph.node if node.op_type in WEIGHTED]


def _is_plain(layer: Layer) -> bool:
    given = layer.attributes
    if layer.node.op_type == "Gemm":
        return not given.get("transA", 0) and given.get("alpha", 1.0) == 1.0
    if layer.node.op_type == "MatMul":
        return len(layer.weight.dims) == 2
    return given.get("auto_pad", b"NOTSET") in (b"NOTSET", "NOTSET")


def _thinned(rows: Array) -> Array:
    return rows[:: max(1, -(-len(rows) // _MOST_PATCHES))]
