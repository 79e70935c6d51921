"""Empirical bias correction on a QDQ graph.

Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, arXiv 1906.04721, section
4.2 and appendix D: the mean error of a layer's output, a value a channel, is taken from its bias. Layers are corrected
one after the other, each after those before it: what an earlier layer shifts reaches the later ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, numpy_helper

from edgegen.compress.quantize.onnx_activations import each_sample
from edgegen.compress.quantize.onnx_layers import Layer
from edgegen.core.ports import Tensors

Array = np.ndarray[Any, Any]

_SAMPLES = 64  # the mean of a channel needs fewer than its extremes


class _Mean:
    """Of a value's channels: (channels,)."""

    def __init__(self, axis: int) -> None:
        self._axis, self._sum, self._count = axis, 0.0, 0

    def observe(self, value: Array) -> None:
        rows = np.moveaxis(value, self._axis, -1).reshape(-1, value.shape[self._axis]).astype(np.float64)
        self._sum = self._sum + rows.sum(axis=0)
        self._count += len(rows)

    def value(self) -> Array:
        return np.asarray(self._sum) / max(self._count, 1)


def add_biases(model: ModelProto, layers: list[Layer]) -> None:
    """Gives every layer that may have a bias one of zeros, in place."""
    for layer in layers:
        node = layer.node
        if node.op_type == "MatMul" or (len(node.input) > 2 and node.input[2]):
            continue
        if node.op_type == "Gemm":
            channels = layer.weight.dims[0 if layer.attributes.get("transB", 0) else 1]
        elif node.op_type == "Conv":
            channels = layer.weight.dims[0]
        else:
            channels = layer.weight.dims[1] * layer.groups
        name = f"{node.name}_bias"
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(channels, dtype=np.float32), name))
        del node.input[2:]
        node.input.append(name)


def correct_biases(
    model: ModelProto, parent: ModelProto, names: list[str], inputs: Tensors, samples: int, where: str
) -> int:
    """Changes the int32 biases of the named nodes in place; returns how many were corrected.

    Args:
        model: as onnxruntime's quantizer writes it; its nodes have the names of those in ``parent``.
        names: of weighted nodes, in the order of the graph.
    """
    count = min(samples, _SAMPLES)
    floats = {node.name: node for node in parent.graph.node}
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    expanded = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    wanted = _means(parent, {name: floats[name].output[0] for name in names}, floats, inputs, count, where)
    corrected = 0
    for node in [item for item in model.graph.node if item.name in names]:
        bias = expanded.get(node.input[2]) if len(node.input) > 2 else None
        if bias is None or bias.input[0] not in stored:
            continue
        given = _means(model, {node.name: node.output[0]}, floats, inputs, count, where)[node.name]
        scale = numpy_helper.to_array(stored[bias.input[1]]).astype(np.float64)
        tensor = stored[bias.input[0]]
        integers = numpy_helper.to_array(tensor).astype(np.float64) + np.round((wanted[node.name] - given) / scale)
        kept = np.clip(integers, np.iinfo(np.int32).min, np.iinfo(np.int32).max).astype(np.int32)
        tensor.CopyFrom(numpy_helper.from_array(kept, tensor.name))
        corrected += 1
    return corrected


def _means(
    model: ModelProto, values: dict[str, str], nodes: Mapping[str, Any], inputs: Tensors, samples: int, where: str
) -> dict[str, Array]:
    """The mean of each node's output by channel."""
    means = {name: _Mean(1 if nodes[name].op_type.startswith("Conv") else -1) for name in values}

    def take(found: Mapping[str, Array]) -> None:
        for name, value in values.items():
            means[name].observe(found[value])

    each_sample(model, list(values.values()), inputs, samples, take, where)
    return {name: mean.value() for name, mean in means.items()}
