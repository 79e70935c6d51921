"""ONNX files from anywhere: opened as data, with their weights brought in and their axes given numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError
from edgegen.export.onnx_file import parse_onnx
from edgegen.export.opened import Constant, Dims, OpenedGraph, OpenedModel, OpenedNode, Value, constant_of, digest_of

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto

QUANTIZED = frozenset(
    {
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"),
        *("ConvInteger", "MatMulInteger", "MatMulNBits", "QGemm", "QAttention", "DynamicQuantizeMatMul"),
    }
)
_MOST_AXES = 64
_MOST_NODES = 1_000_000
_LARGEST_AXIS = 2**40


def open_onnx(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> OpenedModel:
    """The file as data, with these shapes; everything behind is inferred from them.

    Raises:
        UsageError: not ONNX, damaged or hostile, or a shape that does not fit.
    """
    sha256, size = digest_of(path)
    model, external = parse_onnx(path)
    given_shapes(model, shapes, str(path))
    model = inferred(model)
    graphs = tuple(_graphs(model))
    if sum(len(graph.nodes) for graph in graphs) > _MOST_NODES:
        raise UsageError("the model has too many operators", where=str(path), expected=f"at most {_MOST_NODES}")
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(_value(item.name, item.type) for item in model.graph.input if item.name not in stored)
    return OpenedModel(
        path=path,
        format="onnx",
        sha256=sha256,
        size_bytes=size,
        inputs=inputs,
        outputs=tuple(_value(item.name, item.type) for item in model.graph.output),
        graphs=graphs,
        opsets={item.domain: item.version for item in model.opset_import},
        ir_version=model.ir_version,
        external=external,
        quantized=any(node.operator in QUANTIZED for graph in graphs for node in graph.nodes),
    )


def given_shapes(model: ModelProto, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Gives the inputs these shapes, in place, and forgets what was inferred from the old ones.

    Raises:
        UsageError: no such input, another number of axes, or an axis that the model fixes otherwise.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    known = {item.name: item for item in model.graph.input if item.name not in stored}
    named: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in known:
            raise UsageError(
                f"the model has no input {name!r}", where=where, got=f"--shape {name}", expected=", ".join(known)
            )
        tensor = known[name].type.tensor_type
        axes = list(tensor.shape.dim)
        fixed = [axis.dim_value if axis.HasField("dim_value") else axis.dim_param or "?" for axis in axes]
        fits = not tensor.HasField("shape") or (
            len(fixed) == len(shape) and all(isinstance(a, str) or a == b for a, b in zip(fixed, shape, strict=True))
        )
        if not fits or any(axis < 1 for axis in shape):
            raise UsageError(
                f"the shape given to {name!r} does not fit the model",
                where=where,
                got=",".join(map(str, shape)),
                expected=",".join(map(str, fixed)) or "positive numbers",
            )
        for before, axis in zip(fixed, shape, strict=False):
            if isinstance(before, str) and before != "?" and named.setdefault(before, axis) != axis:
                raise UsageError(
                    f"the shapes give the axis {before!r} two lengths", where=where, got=f"{named[before]} and {axis}"
                )
        del tensor.shape.dim[:]
        for axis in shape:
            tensor.shape.dim.add(dim_value=axis)
    if not shapes:
        return
    # The same name is the same length wherever the file uses it.
    for item in (*model.graph.input, *model.graph.output):
        for axis in item.type.tensor_type.shape.dim:
            if axis.dim_param in named:
                axis.dim_value = named[axis.dim_param]
    del model.graph.value_info[:]


def inferred(model: ModelProto) -> ModelProto:
    """The model with the shapes and types that onnx infers; as it is where inference finds a contradiction."""
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, ValueError, RuntimeError):
        return model  # the runtime says whether it can be used; here only less is known of it


def _graphs(model: ModelProto) -> Iterator[OpenedGraph]:
    outer: dict[str, Value] = {}
    waiting: list[tuple[str, GraphProto]] = [("main", model.graph)]
    while waiting:
        name, graph = waiting.pop(0)
        values = {item.name: _value(item.name, item.type) for item in (*graph.input, *graph.output, *graph.value_info)}
        constants = {tensor.name: _constant(tensor) for tensor in graph.initializer}
        for index, node in enumerate(graph.node):
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.HasField("t") and node.output:
                    constants[node.output[0]] = _constant(attribute.t, node.output[0])
                bodies = [attribute.g] if attribute.HasField("g") else []
                for body in (*bodies, *attribute.graphs):
                    waiting.append((f"{node.op_type} {node.name or index}, {attribute.name}", body))
        values |= {c.name: Value(name=c.name, dtype=c.dtype, dims=c.dims) for c in constants.values()}
        # A body sees what stands outside of it.
        outer |= values
        yield OpenedGraph(
            name=name,
            nodes=tuple(_node(node) for node in graph.node),
            values={**outer, **values},
            constants=constants,
            outputs=tuple(item.name for item in graph.output),
        )
    for function in model.functions:
        yield OpenedGraph(
            name=f"function {function.domain}.{function.name}",
            nodes=tuple(_node(node) for node in function.node),
            values={},
            constants={},
            outputs=tuple(function.output),
        )


def _node(node: NodeProto) -> OpenedNode:
    return OpenedNode(
        operator=node.op_type,
        domain="" if node.domain == "ai.onnx" else node.domain,
        name=node.name,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes={item.name: value for item in node.attribute if (value := _plain(item)) is not None},
    )


def _plain(attribute: AttributeProto) -> Any:
    kind = attribute.type
    if kind == attribute.FLOAT:
        return attribute.f
    if kind == attribute.INT:
        return attribute.i
    if kind == attribute.STRING:
        return attribute.s.decode("utf-8", "replace")
    if kind == attribute.INTS and len(attribute.ints) <= _MOST_AXES:
        return tuple(attribute.ints)
    return None


def _value(name: str, kind: TypeProto) -> Value:
    which = kind.WhichOneof("value")
    if which not in ("tensor_type", "sparse_tensor_type"):
        return Value(name=name, dtype=(which or "").removesuffix("_type"))
    tensor = kind.tensor_type
    dims: Dims = None
    if tensor.HasField("shape"):
        dims = tuple(
            # Inference writes -1 where it knows nothing.
            axis.dim_value if axis.HasField("dim_value") and axis.dim_value >= 0 else axis.dim_param or "?"
            for axis in tensor.shape.dim
        )
        if len(dims) > _MOST_AXES or any(isinstance(axis, int) and axis >= _LARGEST_AXIS for axis in dims):
            raise UsageError(f"the shape of {name!r} is impossible", got=list(dims)[:_MOST_AXES])
    return Value(name=name, dtype=_dtype(tensor.elem_type), dims=dims)


def _dtype(number: int) -> str:
    from onnx import TensorProto, helper

    names = {int(TensorProto.STRING): "string", int(TensorProto.BFLOAT16): "bfloat16"}
    if number in names:
        return names[number]
    try:
        return str(helper.tensor_dtype_to_np_dtype(number))
    except KeyError:
        return "" if number == 0 else f"type {number}"


def _constant(tensor: TensorProto, name: str = "") -> Constant:
    from onnx import numpy_helper

    dtype, dims = _dtype(tensor.data_type), tuple(tensor.dims)
    if dtype in ("float32", "float64", "float16"):
        return constant_of(name or tensor.name, dtype, dims, numpy_helper.to_array(tensor).tobytes())
    # Packed and textual types: their bytes as they are stored, and the size that they take as numbers.
    data = tensor.raw_data if tensor.HasField("raw_data") else tensor.SerializeToString()
    size = len(tensor.raw_data) or math.prod(tensor.dims) * _width(dtype)
    return replace(constant_of(name or tensor.name, dtype, dims, data), size_bytes=size)


def _width(dtype: str) -> int:
    import numpy as np

    try:
        return np.dtype(dtype).itemsize
    except TypeError:
        return 2 if dtype == "bfloat16" else 1
