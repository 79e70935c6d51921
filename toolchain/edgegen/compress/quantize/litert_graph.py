"""A LiteRT graph taken apart for quantization: its weighted operators, and the arrays that tensors hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_quantizer.utils.tfl_flatbuffer_utils import get_op_scope

from edgegen.export.litert_file import operator_names, read_litert, text

Array = np.ndarray[Any, Any]

# Operator -> places of what goes in, of the weights and of the bias among its inputs, and the axis of output channels.
_PLACES = {
    "FULLY_CONNECTED": (0, 1, 2, 0),  # weights (out, in)
    "CONV_2D": (0, 1, 2, 0),  # (out, height, width, in)
    "DEPTHWISE_CONV_2D": (0, 1, 2, 3),  # (1, height, width, out)
    "TRANSPOSE_CONV": (2, 1, 3, 0),  # (out, height, width, in)
    "EMBEDDING_LOOKUP": (0, 1, 2, 0),  # (rows, length); indices go in
}
_NUMPY = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """An operator whose weights are constant; tensors by index in the main subgraph, -1: none."""

    kind: str
    source: int
    weights: int
    bias: int
    result: int
    axis: int  # of the weights, along which the output channels lie
    options: Any


def open_litert(path: Path) -> Any:
    """The verified model as ``ModelT``, every vector changeable and every buffer inside; see ``export.litert_file``.

    Raises:
        UsageError: not a LiteRT model, or damaged.
        BuildError: the runtime refuses it.
    """
    read_litert(path)
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(path.read_bytes()))
    for buffer in model.buffers:
        if buffer.data is not None:
            buffer.data = np.frombuffer(bytes(buffer.data), np.uint8)
    return model


def drop_names(model: Any) -> int:
    """Drops the names of tensors and their empty records of quantization; returns the length of the names.

    The signature has names of its own for what goes in and comes out.
    """
    dropped = 0
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            dropped += len(tensor.name or b"")
            tensor.name = None
            if tensor.quantization is not None and _unused(tensor.quantization):
                tensor.quantization = None
    return dropped


def _unused(quantization: Any) -> bool:
    return not quantization.detailsType and (quantization.scale is None or not len(quantization.scale))


def save_litert(model: Any, path: Path) -> None:
    """Writes a model; equal models give equal bytes."""
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))


def layers(model: Any) -> Iterator[Layer]:
    """The weighted operators of the main subgraph, in order."""
    main = model.subgraphs[0]
    for subgraph, operator, kind in operator_names(model):
        if subgraph is not main or kind not in _PLACES:
            continue
        source, weights, bias, axis = _PLACES[kind]
        inputs = [int(index) for index in operator.inputs]
        if is_constant(model, inputs[weights]):
            yield Layer(
                kind=kind,
                source=inputs[source],
                weights=inputs[weights],
                bias=inputs[bias] if bias < len(inputs) else -1,
                result=int(operator.outputs[0]),
                axis=axis,
                options=operator.builtinOptions,
            )


def scope(subgraph: Any, operator: Any) -> str:
    """The name under which ai-edge-quantizer's recipes know an operator: its outputs' names, each with a semicolon."""
    return str(get_op_scope(operator, subgraph.tensors))


def tensor_name(model: Any, index: int) -> str:
    """Name of a tensor of the main subgraph."""
    return text(model.subgraphs[0].tensors[index].name)


def tensor_indices(model: Any) -> dict[str, int]:
    """Name -> index of the tensors of the main subgraph."""
    return {text(tensor.name): index for index, tensor in enumerate(model.subgraphs[0].tensors)}


def is_constant(model: Any, index: int) -> bool:
    """Whether a tensor of the main subgraph is stored in the file."""
    return index >= 0 and model.buffers[model.subgraphs[0].tensors[index].buffer].data is not None


def is_float(model: Any, index: int) -> bool:
    """Whether a tensor of the main subgraph holds float32."""
    return bool(model.subgraphs[0].tensors[index].type == schema.TensorType.FLOAT32)


def stored(model: Any, index: int) -> Array:
    """A constant tensor's elements in its shape; 4-bit integers as int8."""
    tensor = model.subgraphs[0].tensors[index]
    data = model.buffers[tensor.buffer].data
    shape = [int(axis) for axis in tensor.shape] if tensor.shape is not None else []
    if tensor.type == schema.TensorType.INT4:
        halves = np.stack([data << 4, data], axis=-1).reshape(-1).view(np.int8) >> 4  # the low half comes first
        return halves[: int(np.prod(shape, dtype=np.int64))].reshape(shape)
    return np.asarray(data.view(_NUMPY[tensor.type]).reshape(shape))


def store(model: Any, index: int, values: Array) -> None:
    """Puts elements into a constant tensor; of 4-bit integers, int8 values in -8..7."""
    tensor = model.subgraphs[0].tensors[index]
    if tensor.type == schema.TensorType.INT4:
        flat = values.astype(np.int8).reshape(-1).view(np.uint8) & 0x0F
        flat = np.append(flat, np.zeros(flat.size % 2, np.uint8)).reshape(-1, 2)
        model.buffers[tensor.buffer].data = flat[:, 0] | (flat[:, 1] << 4)
        return
    data = np.ascontiguousarray(values.astype(_NUMPY[tensor.type]))
    model.buffers[tensor.buffer].data = data.reshape(-1).view(np.uint8)


def integer_bits(model: Any, index: int) -> int:
    """Width of a tensor's integers; 0 of other tensors."""
    return {schema.TensorType.INT4: 4, schema.TensorType.INT8: 8, schema.TensorType.INT16: 16}.get(
        model.subgraphs[0].tensors[index].type, 0
    )


def block_size(model: Any, index: int) -> int:
    """How many inputs of an output channel share a scale; 0: all of them."""
    quantization = model.subgraphs[0].tensors[index].quantization
    blockwise = schema.QuantizationDetails.BlockwiseQuantization
    return int(quantization.details.blockSize) if quantization.detailsType == blockwise else 0


def scale_count(model: Any, index: int) -> int:
    """How many scales a quantized tensor has."""
    quantization = model.subgraphs[0].tensors[index].quantization
    if block_size(model, index):
        return int(stored(model, quantization.details.scales).size)
    return len(quantization.scale)


def store_scales(model: Any, index: int, values: Array) -> Array:
    """Gives a quantized tensor as many other scales as it has, and returns what they became.

    Those of blocks have 8 bits of precision: the kernels read them as bfloat16, the file holds float16.
    """
    quantization = model.subgraphs[0].tensors[index].quantization
    if not block_size(model, index):
        quantization.scale = values.astype(np.float32)
        return np.asarray(quantization.scale)
    bits = values.astype(np.float32).view(np.uint32)
    coarse = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    kept = stored(model, quantization.details.scales)
    store(model, quantization.details.scales, coarse.reshape(kept.shape))
    return stored(model, quantization.details.scales).astype(np.float32).reshape(-1)


def scales(model: Any, index: int) -> Array | None:
    """The scales of a quantized tensor in a shape that spreads over its elements; None if it is not quantized."""
    tensor = model.subgraphs[0].tensors[index]
    quantization = tensor.quantization
    if quantization is None:
        return None
    if quantization.detailsType == schema.QuantizationDetails.BlockwiseQuantization:
        found = stored(model, quantization.details.scales).astype(np.float32)  # (out, blocks)
        spread = np.repeat(found.reshape(int(tensor.shape[0]), -1), quantization.details.blockSize, axis=1)
        return np.asarray(spread.reshape([int(axis) for axis in tensor.shape]))
    if quantization.scale is None or not len(quantization.scale):
        return None
    found = np.asarray(quantization.scale, np.float32)
    if len(found) == 1:
        return found
    shape = [1] * len(tensor.shape)
    shape[int(quantization.quantizedDimension)] = len(found)
    return found.reshape(shape)
