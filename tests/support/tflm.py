"""The oracle of the rule tflm-double: tflite-micro's reference kernels, run on one operator at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgegen.export.c.graph import Tensor

_TYPES = {
    "bool": "BOOL",
    "float32": "FLOAT32",
    "int8": "INT8",
    "uint8": "UINT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
}
_ARENA_BYTES = 1 << 20


def operator_file(
    operator: str,
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Tensor],
    options: str | None = None,
    fields: Mapping[str, Any] | None = None,
    *,
    int4: Sequence[str] = (),
    kept: Sequence[str] = (),
) -> bytes:
    """A LiteRT file that holds one operator.

    Args:
        operator: its name in LiteRT's schema, e.g. "CONV_2D".
        inputs: tensors in the operator's order; one with ``data`` is a constant, None is an optional one left out.
        outputs: the tensors that it makes.
        options: the schema's name of its options, e.g. "Conv2DOptions"; None: it has none.
        fields: values of the options, by the names of the schema's object classes, e.g. ``{"strideH": 2}``.
        int4: names of constant tensors whose int8 data is to be stored as 4-bit integers.
        kept: names of tensors that keep their value from one inference to the next.
    """
    tensors: list[Any] = []
    buffers = [_buffer(None)]  # number 0 is the empty one
    read = [-1 if each is None else _place(each, tensors, buffers, int4, kept) for each in inputs]
    made = [_place(each, tensors, buffers, int4, kept) for each in outputs]
    node = schema.OperatorT()
    node.opcodeIndex, node.inputs, node.outputs = 0, read, made
    if options is not None:
        node.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        node.builtinOptions = getattr(schema, options + "T")()
        for name, value in (fields or {}).items():
            if not hasattr(node.builtinOptions, name):
                raise AttributeError(f"{options} has no {name}")
            setattr(node.builtinOptions, name, value)
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, operator)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
    part = schema.SubGraphT()
    part.tensors, part.operators, part.outputs = tensors, [node], made
    part.inputs = [
        place
        for place, each in zip(read, inputs, strict=True)
        if each is not None and each.data is None and each.name not in kept
    ]
    model = schema.ModelT()
    model.version, model.description = 3, operator
    model.operatorCodes, model.subgraphs, model.buffers = [code], [part], buffers
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def run(
    operator: str,
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Tensor],
    values: Sequence[np.ndarray[Any, Any]],
    options: str | None = None,
    fields: Mapping[str, Any] | None = None,
    *,
    int4: Sequence[str] = (),
    kept: Sequence[str] = (),
) -> list[np.ndarray[Any, Any]]:
    """What tflite-micro makes of ``values``: the inputs that are no constants, in order.

    Skips the test where tflite-micro is not installed; fails it in CI.

    Raises:
        RuntimeError: tflite-micro refuses the operator, its types or its shapes.
    """
    interpreter = _runtime().Interpreter.from_bytes(
        operator_file(operator, inputs, outputs, options, fields, int4=int4, kept=kept), arena_size=_ARENA_BYTES
    )
    for place, value in enumerate(values):
        interpreter.set_input(np.array(value, order="C"), place)
    interpreter.invoke()
    return [np.array(interpreter.get_output(place)).reshape(each.shape) for place, each in enumerate(outputs)]


def _runtime() -> Any:
    try:
        from tflite_micro import runtime
    except ImportError:
        message = "tflite-micro is missing: pip install 'edgegen[test]'"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return runtime


def _place(tensor: Tensor, tensors: list[Any], buffers: list[Any], int4: Sequence[str], kept: Sequence[str]) -> int:
    """Adds a tensor to the file's; its number."""
    made = schema.TensorT()
    narrow = tensor.name in int4
    made.name, made.shape = tensor.name, list(tensor.shape)
    made.type = getattr(schema.TensorType, "INT4" if narrow else _TYPES[tensor.dtype])
    made.isVariable = tensor.name in kept
    if tensor.data is None:
        made.buffer = 0
    else:
        made.buffer = len(buffers)
        data = np.ascontiguousarray(tensor.data, dtype=tensor.dtype)
        buffers.append(_buffer(_packed(data) if narrow else data))
    if tensor.scales is not None:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale = list(tensor.scales.scale)
        made.quantization.zeroPoint = list(tensor.scales.zero_point)
        made.quantization.quantizedDimension = tensor.scales.axis
    tensors.append(made)
    return len(tensors) - 1


def _packed(data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Two 4-bit integers a byte, the first in the low half."""
    flat = data.ravel().astype(np.uint8) & 15
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    return flat[0::2] | flat[1::2] << 4


def _buffer(data: np.ndarray[Any, Any] | None) -> Any:
    made = schema.BufferT()
    if data is not None:
        made.data = np.frombuffer(data.tobytes(), np.uint8)
    return made
