"""Counts what a model file consists of.

Counted as multiply-accumulates per inference: convolutions (also transposed and depthwise), dense layers, matrix
products and, in ONNX, the recurrent operators, in float and in their integer forms; quantize and dequantize nodes
around them change nothing. The body of an If, Loop or Scan counts once. Element-wise work, pooling, resizing,
softmax and attention operators fused into one node count nothing.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError, UsageError
from edgegen.core.models import FORMATS, Census
from edgegen.export.model_bytes import LARGEST_TENSOR_ELEMENTS

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Shapes = Mapping[str, tuple[int, ...]]

_ONNX_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
# Operator -> places of the data and the weight input: the integer forms carry scales in between.
_ONNX_CONVOLUTIONS = {"Conv": (0, 1), "ConvInteger": (0, 1), "QLinearConv": (0, 3), "FusedConv": (0, 1)}
_ONNX_PRODUCTS = {
    "Gemm": (0, 1),
    "MatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearMatMul": (0, 3),
    "QGemm": (0, 3),
    "FusedMatMul": (0, 1),
    "DynamicQuantizeMatMul": (0, 1),
    "MatMulIntegerToFloat": (0, 1),
}


def census(path: Path, format_name: str) -> Census:
    """Operators by type (those in bodies included), elements of all constants, bytes of the file, and MACs.

    Raises:
        UsageError: the file cannot be parsed, or the format is unknown.
        BuildError: shapes that are not fixed, so the work cannot be counted.
    """
    if format_name == "onnx":
        from edgegen.export.onnx_file import read_onnx

        model = read_onnx(path)
        return _census_onnx(model, onnx_shapes(model, str(path)), path)
    if format_name == "ort":
        from edgegen.export.ort_file import read_ort

        model = read_ort(path)
        return _census_onnx(model, declared_shapes(model, str(path)), path)
    if format_name == "litert":
        return _census_litert(path)
    if format_name == "pte":
        return _census_executorch(path)
    if format_name == "c":
        return _census_c(path)
    raise UsageError("unknown model format", got=format_name, expected=f"one of {', '.join(FORMATS)}")


def macs_of_nodes(path: Path) -> dict[str, int]:
    """Name of every named ONNX node -> multiply-accumulates of one inference.

    Raises: as ``census`` does.
    """
    from edgegen.export.onnx_file import nodes, read_onnx

    model = read_onnx(path)
    shapes = onnx_shapes(model, str(path))
    return {node.name: _macs_of_node(node, shapes, str(path)) for node in nodes(model) if node.name}


@dataclass(frozen=True, slots=True, kw_only=True)
class LitertOperator:
    """One operator of a LiteRT file."""

    name: str  # of what it makes
    kind: str
    macs: int


def macs_of_litert(path: Path) -> list[LitertOperator]:
    """The operators of the graph that is run (of the first signature), in the order of the file.

    Raises: as ``census`` does.
    """
    from edgegen.export.litert_file import listed, operator_names, read_litert, text

    model = read_litert(path)
    run = model.subgraphs[model.signatureDefs[0].subgraphIndex if model.signatureDefs else 0]
    found = []
    for subgraph, operator, kind in operator_names(model):
        if subgraph is run:
            outputs = listed(operator.outputs)
            name = text(subgraph.tensors[outputs[0]].name) if outputs else ""
            found.append(LitertOperator(name=name, kind=kind, macs=_macs_of_operator(subgraph, operator, kind)))
    return found


def _census_onnx(model: ModelProto, shapes: Shapes, path: Path) -> Census:
    from edgegen.export.onnx_file import constants, nodes

    return Census(
        operators=dict(sorted(Counter(node.op_type for node in nodes(model)).items())),
        parameters=sum(math.prod(tensor.dims) for tensor in constants(model)),
        bytes=path.stat().st_size,
        macs=_summed((_macs_of_node(node, shapes, str(path)) for node in nodes(model)), path),
    )


def onnx_shapes(model: ModelProto, where: str) -> dict[str, tuple[int, ...]]:
    """Shape of every value whose shape is fixed, by name.

    Raises:
        BuildError: onnx cannot infer shapes, or a value is impossibly large.
    """
    import onnx

    try:
        plain = _with_constants_in_bodies(_with_plain_products(model))
        inferred = onnx.shape_inference.infer_shapes(plain, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        raise BuildError("the shapes inside the model contradict each other", where=where, got=error) from error
    return declared_shapes(inferred, where)


def declared_shapes(model: ModelProto, where: str) -> dict[str, tuple[int, ...]]:
    """The same of values whose shape the model itself says.

    Raises:
        BuildError: a value is impossibly large.
    """
    from edgegen.export.onnx_file import graphs

    shapes: dict[str, tuple[int, ...]] = {}
    for graph in graphs(model):
        for value in (*graph.input, *graph.output, *graph.value_info):
            axes = value.type.tensor_type.shape.dim
            if value.type.tensor_type.HasField("shape") and all(axis.HasField("dim_value") for axis in axes):
                shapes[value.name] = tuple(axis.dim_value for axis in axes)
        for tensor in graph.initializer:
            shapes[tensor.name] = tuple(tensor.dims)
    for name, shape in shapes.items():
        if math.prod(shape) > LARGEST_TENSOR_ELEMENTS:
            raise BuildError(f"the tensor {name!r} is too large to run", where=where, got=list(shape))
    return shapes


def _with_plain_products(model: ModelProto) -> ModelProto:
    """The model with ONNX's own operators in place of quantized ones that are onnxruntime's alone: onnx's inference
    would know no shape behind them.
    """
    from onnx import TensorProto, helper

    if not any(node.op_type in ("MatMulNBits", "DynamicQuantizeLSTM") for node in model.graph.node):
        return model
    copy: ModelProto = type(model).FromString(model.SerializeToString())
    for place, node in enumerate(copy.graph.node):
        if node.op_type == "DynamicQuantizeLSTM" and len(node.input) > 2:
            weights = [f"{name}_expanded_{place}" for name in node.input[1:3]]
            copy.graph.input.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in weights)
            node.op_type, node.domain = "LSTM", ""
            node.input[:] = [node.input[0], *weights]
            continue
        sizes = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type != "MatMulNBits" or not {"K", "N"} <= sizes.keys() or len(node.input) < 2:
            continue
        weight = f"{node.input[1]}_unpacked_{place}"
        copy.graph.input.append(helper.make_tensor_value_info(weight, TensorProto.FLOAT, [sizes["K"], sizes["N"]]))
        node.CopyFrom(helper.make_node("MatMul", [node.input[0], weight], list(node.output), name=node.name))
    return copy


def _with_constants_in_bodies(model: ModelProto) -> ModelProto:
    """The model with the main graph's constants inside the bodies that use them: onnx's inference looks no further."""
    from edgegen.export.onnx_file import graphs

    if next(itertools.islice(graphs(model), 1, None), None) is None:
        return model
    copy: ModelProto = type(model).FromString(model.SerializeToString())
    outer = {tensor.name: tensor for tensor in copy.graph.initializer}
    for body in itertools.islice(graphs(copy), 1, None):
        own = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
        used = {name for node in body.node for name in node.input}
        body.initializer.extend(outer[name] for name in sorted((used - own) & outer.keys()))
    return copy


def _summed(works: Iterator[int], path: Path) -> int:
    try:
        return sum(works)
    except (IndexError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:  # too few inputs or axes
        raise UsageError("an operator's tensors do not fit it", where=str(path), got=error) from error


def _macs_of_node(node: NodeProto, shapes: Shapes, where: str) -> int:
    kind = node.op_type

    def shape(name: str) -> tuple[int, ...]:
        if name not in shapes:
            raise BuildError(
                f"EG212, the work of a {kind} cannot be counted: the shape of {name!r} is not fixed",
                where=where,
                next_step="export the model with fixed shapes",
            )
        return shapes[name]

    if kind in _ONNX_CONVOLUTIONS:
        weight = shape(node.input[_ONNX_CONVOLUTIONS[kind][1]])  # (out, in / groups, *kernel)
        return math.prod(shape(node.output[0])) * math.prod(weight[1:])
    if kind == "ConvTranspose":
        weight = shape(node.input[1])  # (in, out / groups, *kernel)
        return math.prod(shape(node.input[0])) * math.prod(weight[1:])
    if kind in _ONNX_PRODUCTS:
        left, right = (shape(node.input[place]) for place in _ONNX_PRODUCTS[kind])
        flags = {attribute.name for attribute in node.attribute if attribute.i}
        return _macs_of_product(left, right, flipped="transA" in flags, transposed="transB" in flags)
    if kind == "MatMulNBits":
        sizes = {attribute.name: attribute.i for attribute in node.attribute}
        return math.prod(shape(node.input[0])) * int(sizes["N"])
    if kind == "DynamicQuantizeLSTM":
        length, batch, _ = shape(node.input[0])
        directions, width, gates_hidden = shape(node.input[1])
        return length * batch * directions * gates_hidden * (width + gates_hidden // _ONNX_GATES["LSTM"])
    if kind in _ONNX_GATES:
        length, batch, _ = shape(node.input[0])
        directions, gates_hidden, width = shape(node.input[1])
        hidden = gates_hidden // _ONNX_GATES[kind]
        return length * batch * directions * gates_hidden * (width + hidden)
    return 0


def _macs_of_product(left: tuple[int, ...], right: tuple[int, ...], *, flipped: bool, transposed: bool) -> int:
    """Of a product as numpy.matmul defines it: a vector is a row or a column, and axes before the last two broadcast.

    Reckoned from the operands: outputs of the fused forms are unknown to onnx's inference.
    """
    from numpy import broadcast_shapes

    rows = left[-1 if flipped else -2] if len(left) > 1 else 1
    inner = left[-2 if flipped and len(left) > 1 else -1]
    columns = right[-2 if transposed else -1] if len(right) > 1 else 1
    return math.prod(broadcast_shapes(left[:-2], right[:-2])) * rows * inner * columns


def _census_litert(path: Path) -> Census:
    from edgegen.export.litert_file import operator_names, read_litert

    model = read_litert(path)
    found = list(operator_names(model))
    operators = Counter(name for _, _, name in found)
    macs = _summed((_macs_of_operator(*item) for item in found), path)
    stored = sum(
        math.prod(_shape(tensor))
        for subgraph in model.subgraphs
        for tensor in subgraph.tensors
        if model.buffers[tensor.buffer].data is not None or model.buffers[tensor.buffer].size > 1
    )
    return Census(operators=dict(sorted(operators.items())), parameters=stored, bytes=path.stat().st_size, macs=macs)


def _census_executorch(path: Path) -> Census:
    from edgegen.export.executorch_file import read_executorch

    program = read_executorch(path)
    return Census(
        # Of a part for another backend than XNNPACK it is only known that it is there.
        operators=dict(sorted((program.delegated + program.portable + Counter(program.other_parts)).items())),
        parameters=program.parameters,
        bytes=program.size_bytes,
        macs=program.macs,
    )


def _census_c(path: Path) -> Census:
    from edgegen.core.c_model import C_INTERFACE, read_c_model
    from edgegen.core.models import C_SOURCES

    model = read_c_model(path.parent / C_INTERFACE)
    sources = [(form, path.parent / name) for form, name in C_SOURCES.items()]
    form, source = next((item for item in sources if item[1].is_file()), sources[0])
    return Census(
        operators=dict(sorted(Counter(operator.kind for operator in model.operators).items())),
        parameters=census(source, form).parameters,
        bytes=model.constant_bytes,
        macs=sum(operator.macs for operator in model.operators),
    )


def _macs_of_operator(subgraph: Any, operator: Any, name: str) -> int:
    def shape(index: int) -> tuple[int, ...]:
        return _shape(subgraph.tensors[index])

    if name in ("CONV_2D", "CONV_3D"):
        return math.prod(shape(operator.outputs[0])) * math.prod(shape(operator.inputs[1])[1:])  # (out, *kernel, in)
    if name == "DEPTHWISE_CONV_2D":
        return math.prod(shape(operator.outputs[0])) * math.prod(shape(operator.inputs[1])[1:3])  # (1, h, w, out)
    if name == "TRANSPOSE_CONV":
        out, height, width, _ = shape(operator.inputs[1])
        return math.prod(shape(operator.inputs[2])) * out * height * width
    if name == "FULLY_CONNECTED":
        return math.prod(shape(operator.outputs[0])) * shape(operator.inputs[1])[-1]
    if name == "BATCH_MATMUL":
        options = operator.builtinOptions
        left = shape(operator.inputs[0])
        return math.prod(shape(operator.outputs[0])) * left[-2 if options is not None and options.adjX else -1]
    return 0


def _shape(tensor: Any) -> tuple[int, ...]:
    return () if tensor.shape is None else tuple(int(axis) for axis in tensor.shape)
