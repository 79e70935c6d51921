"""A quantized ONNX file (QuantizeLinear and DequantizeLinear round float operators) as the compiler's graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError, UsageError
from edgegen.core.lazy import nearest
from edgegen.core.models import TensorSpec
from edgegen.export.c.builder import Builder, apart, check_wiring, unlike
from edgegen.export.c.graph import Graph, Scales
from edgegen.export.c.onnx_fold import folded
from edgegen.export.c.onnx_layout import Layout
from edgegen.export.c.onnx_operator import QUANTIZE_IT, OnnxOperator, Reading
from edgegen.export.c.onnx_operators import CONVERTERS
from edgegen.export.c.onnx_pointwise import natural_scales
from edgegen.export.c.onnx_qoperators import SPREAD, spread_out
from edgegen.export.c.onnx_real import real
from edgegen.export.c.onnx_values import Held, Known, OfOne, Pending, Value
from edgegen.export.census import onnx_shapes
from edgegen.export.onnx_file import read_onnx, signature_of_onnx

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

MOST_OPERATORS = 4096
"""Of a file: a microcontroller's network has hundreds, and every one becomes a function."""

MOST_NUMBERS = 1 << 24
"""Of a tensor: more than any microcontroller has memory for."""

_FITTING = (IndexError, ValueError, KeyError, TypeError, ZeroDivisionError, AttributeError, OverflowError)
_INPUTS = frozenset({"float32", "int8", "uint8", "int32", "bool"})
_OUTPUTS = frozenset({*_INPUTS, "int64"})
_CONSTANTS_AS_THEY_ARE = frozenset(
    {
        "QuantizeLinear",
        "DequantizeLinear",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Identity",
        "Dropout",
    }
)
"""Operators whose converters keep the integers that a constant is made of."""

READ = frozenset({*CONVERTERS, *SPREAD, "Constant", "ConstantOfShape", "Shape", "Size", "Range", "Expand"})
"""Operators that may stand in a file; the last few where they depend on constants alone."""


def graph_of_onnx(path: Path, *, name: str = "model") -> tuple[Graph, tuple[str, ...], int]:
    """The file's graph with integers between its operators, channels last; nothing fused.

    Args:
        name: of the model in C; lower case letters, digits and underscores.

    Returns:
        The graph, a sentence for everything that differs from the file's own results, and the file's operators.

    Raises:
        UsageError: not ONNX, damaged or hostile.
        BuildError: an operator, type or use of one that there is no kernel for, or real numbers that have no scale;
            says which and where.
    """
    where = str(path)
    model = read_onnx(path)
    count = len(model.graph.node)
    if count > MOST_OPERATORS:
        raise BuildError(
            "EG213, the model has too many operators for C",
            where=where,
            got=count,
            expected=f"at most {MOST_OPERATORS}",
        )
    takes, gives = signature_of_onnx(model, where)
    shapes = _shapes(model, where)
    builder = Builder(name, "onnx-qdq")
    reading = Reading(
        where=where,
        opset=next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 1),
        shapes=shapes,
        builder=builder,
        layout=Layout(builder),
    )
    _constants(model, reading)
    starts = [_entered(reading, spec) for spec in takes]
    for place, node in enumerate(model.graph.node):
        _convert(reading, node, f"{where}, operator {place} ({node.op_type}{f' {node.name}' if node.name else ''})")
    ends = apart(builder, starts, [_left(reading, spec) for spec in gives])
    called = dict(zip(starts, (spec.name for spec in takes), strict=True))
    called |= dict(zip(ends, unlike((spec.name for spec in gives), set(called.values())), strict=True))
    graph = builder.finish(starts, ends, called)
    check_wiring(graph, where)
    return graph, tuple(dict.fromkeys(reading.told)), count


def _shapes(model: ModelProto, where: str) -> dict[str, tuple[int, ...]]:
    """Of every value, operators on integers spread out before."""
    spread_out(model, where)
    shapes = onnx_shapes(model, where)
    largest = max(shapes, key=lambda name: math.prod(shapes[name]), default="")
    if largest and math.prod(shapes[largest]) > MOST_NUMBERS:
        raise BuildError(
            "EG213, a tensor of the model is too large for C",
            where=f"{where}, {largest!r}",
            got=list(shapes[largest]),
            expected=f"at most {MOST_NUMBERS:,} numbers",
        )
    return shapes


def _constants(model: ModelProto, reading: Reading) -> None:
    from onnx import numpy_helper

    if model.graph.sparse_initializer or model.functions:
        raise BuildError(
            "EG213, the C compiler reads no sparse constants and no functions",
            where=reading.where,
            expected="plain ones",
        )
    for tensor in model.graph.initializer:
        try:
            reading.values[tensor.name] = Known(array=numpy_helper.to_array(tensor))
        except _FITTING as error:
            raise UsageError(f"the constant {tensor.name!r} cannot be read", where=reading.where, got=error) from error


def _entered(reading: Reading, spec: TensorSpec) -> str:
    """Adds an input as the file has it."""
    if spec.dtype not in _INPUTS:
        raise BuildError(
            f"EG213, the C compiler has no inputs of the type {spec.dtype}",
            where=f"{reading.where}, input {spec.name!r}",
            expected=f"one of {', '.join(sorted(_INPUTS))}",
            next_step="export the model with int32 in place of int64, and float32 in place of other floats",
        )
    made = reading.builder.tensor(spec.name, spec.shape, spec.dtype)
    reading.values[spec.name] = Held(name=made, axes=tuple(range(len(spec.shape))), real=spec.dtype == "float32")
    return made


def _convert(reading: Reading, node: NodeProto, where: str) -> None:
    kind = node.op_type
    known = [reading.values.get(name) for name in node.input if name]
    if any(value is None for value in known):
        raise UsageError("an operator reads what no operator makes", where=where, got=list(node.input)[:8])
    try:
        attributes = _attributes(node)
        op = OnnxOperator(reading, kind, list(node.input), list(node.output), attributes, where)
        constant = all(isinstance(value, Known) for value in known)
        made: Value | Sequence[Value]
        if kind == "Shape" or (constant and kind not in _CONSTANTS_AS_THEY_ARE):
            made = folded(op, node)
        elif kind in CONVERTERS and node.domain in ("", "ai.onnx"):
            made = CONVERTERS[kind](op)
        else:
            raise BuildError(
                f"EG213, there is no C kernel for the operator {kind}",
                where=where,
                expected=f"one of {', '.join(sorted(CONVERTERS))}{nearest(kind, CONVERTERS)}",
                next_step="replace the operator in the model, or build for a target with a runtime for .onnx files",
            )
    except _FITTING as error:
        raise UsageError("an operator's tensors do not fit it", where=where, got=error) from error
    results = [made] if isinstance(made, Known | Held | OfOne | Pending) else list(made)
    for name, value in zip(node.output, results, strict=False):
        if name:
            reading.values[name] = value


def _attributes(node: NodeProto) -> dict[str, Any]:
    from onnx import helper

    found = {}
    for item in node.attribute:
        value = helper.get_attribute_value(item)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        found[item.name] = tuple(value) if isinstance(value, list) else value
    return found


def _left(reading: Reading, spec: TensorSpec) -> str:
    """The tensor that an output of the file is."""
    op = OnnxOperator(reading, "output", [spec.name], [spec.name], {}, f"{reading.where}, output {spec.name!r}")
    if spec.name not in reading.values:
        raise UsageError("an output of the file is made by no operator", where=op.where)
    if spec.dtype not in _OUTPUTS:
        raise op.refused(f"numbers of {spec.dtype}", f"one of {', '.join(sorted(_OUTPUTS))}")
    value = reading.values[spec.name]
    if isinstance(value, Known):
        array = value.array.astype("int32") if value.array.dtype == "int64" else value.array
        return reading.builder.tensor(spec.name, array.shape, str(array.dtype), None, array)
    if isinstance(value, OfOne):
        scales = natural_scales(value)
        value = op.look_up(value, scales)
        reading.told.append(
            f"{spec.name}: a function behind the last dequantize works on int8: the output has steps of "
            f"{scales.scale[0]:.3g}"
        )
    if isinstance(value, Pending):
        value = _settled(op, value)
    name = reading.layout.plain(value)
    return name if value.real else _as_integers(reading, name, spec)


def _settled(op: OnnxOperator, value: Pending) -> Held:
    """An output that nothing quantizes: in a scale that its operator has of itself, or in float32."""
    if value.natural is not None:
        op.reading.told.append(
            f"{op.outputs[0]}: the last operator works on int8: the output has steps of {value.natural.scale[0]:.3g}"
        )
        return value.stored(value.natural)
    if value.as_real is not None:
        return real(op, value)
    raise op.refused("real numbers without a scale: no QuantizeLinear stands before the output", "one", QUANTIZE_IT)


def _as_integers(reading: Reading, name: str, spec: TensorSpec) -> str:
    """An output of integers as the file stores it: no scale, uint8 where the file has that."""
    builder, tensor = reading.builder, reading.builder.tensors[name]
    if tensor.scales is None:
        return name
    if spec.dtype == "uint8":
        scale, zero_point = tensor.scales.one
        shifted = Scales(scale=(scale,), zero_point=(zero_point + 128,))
        made = builder.tensor(spec.name, tensor.shape, "uint8", shifted)
        builder.node("requantize", [name], [made])
        name, tensor = made, replace(tensor, dtype="uint8")
    plain = builder.tensor(spec.name, tensor.shape, tensor.dtype)
    builder.node("reshape", [name], [plain])
    return plain
