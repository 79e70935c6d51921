"""ORT format (.ort) files: their flatbuffer read with the schema that ships with ONNX Runtime, as an ONNX graph.

What is given back is for looking at, not for running: tensors have their shapes and element types but no values.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError
from edgegen.export.model_bytes import read_model_bytes

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

ORT_IDENTIFIER = b"ORTM"
_SCHEMA = "onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs"
_MAX_ITEMS = 1_000_000
"""Nodes, values, tensors and axes together: a real model has some thousands; offsets that share a table could claim
any number.
"""
_MAX_DEPTH = 32  # bodies of If, Loop and Scan inside each other
_TENSOR, _FIXED, _WHOLE_NUMBER, _BODY = 1, 1, 2, 5  # of the schema: TypeInfoValue, DimensionValueType, AttributeType
_NO_OFFSET = -1  # of an initializer that lies inside the file


def read_ort(path: Path) -> ModelProto:
    """The graph in the file.

    Raises:
        UsageError: it cannot be read, is not an ORT format file, is damaged, or keeps weights in another file.
    """
    data = read_model_bytes(path)
    if data[4:8] != ORT_IDENTIFIER:
        raise _not_ort(path, f"identifier {data[4:8]!r}")
    reader = _Reader(str(path))
    try:
        return reader.model(data)
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise _not_ort(path, f"{type(error).__name__}: {error}") from error


class _Reader:
    """Turns tables of the schema into ONNX's messages, counting what it has seen."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._seen = 0

    def model(self, data: bytes) -> ModelProto:
        from onnx import ModelProto

        session = _schema("InferenceSession").GetRootAs(data, 0)
        model = ModelProto()
        self._fill(model.graph, session.Model().Graph(), 0)
        return model

    def _fill(self, graph: GraphProto, table: Any, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise ValueError(f"bodies inside each other more than {_MAX_DEPTH} deep")
        values = {_text(item.Name()): item for item in self._each(table.NodeArgsLength, table.NodeArgs)}
        for side, length, name in (
            (graph.input, table.InputsLength, table.Inputs),
            (graph.output, table.OutputsLength, table.Outputs),
        ):
            side.extend(self._value(values[_text(each)]) for each in self._each(length, name))
        graph.value_info.extend(self._value(item) for name, item in values.items() if name and item.Type() is not None)
        for item in self._each(table.InitializersLength, table.Initializers):
            self._tensor(graph.initializer.add(), item)
        for item in self._each(table.NodesLength, table.Nodes):
            self._node(graph.node.add(), item, depth)

    def _node(self, node: NodeProto, table: Any, depth: int) -> None:
        node.op_type, node.domain = _text(table.OpType()), _text(table.Domain())
        node.input.extend(_text(name) for name in self._each(table.InputsLength, table.Inputs))
        node.output.extend(_text(name) for name in self._each(table.OutputsLength, table.Outputs))
        for item in self._each(table.AttributesLength, table.Attributes):
            attribute = node.attribute.add(name=_text(item.Name()))
            if item.Type() == _WHOLE_NUMBER:
                attribute.i = item.I()
            elif item.Type() == _BODY:
                self._fill(attribute.g, item.G(), depth + 1)

    def _tensor(self, tensor: TensorProto, table: Any) -> None:
        if table.ExternalDataOffset() != _NO_OFFSET:
            raise ValueError(f"the weights of {_text(table.Name())!r} lie in another file")
        tensor.name, tensor.data_type = _text(table.Name()), table.DataType()
        tensor.dims.extend(self._each(table.DimsLength, table.Dims))

    def _value(self, table: Any) -> ValueInfoProto:
        from onnx import ValueInfoProto

        value = ValueInfoProto(name=_text(table.Name()))
        kind = table.Type()
        if kind is None or kind.ValueType() != _TENSOR:
            return value
        found, inside = _schema("TensorTypeAndShape")(), kind.Value()
        found.Init(inside.Bytes, inside.Pos)
        value.type.tensor_type.elem_type = found.ElemType()
        shape = found.Shape()
        if shape is not None:
            value.type.tensor_type.shape.SetInParent()
            for axis in self._each(shape.DimLength, shape.Dim):
                dim = value.type.tensor_type.shape.dim.add()
                known = axis.Value()
                if known is not None and known.DimType() == _FIXED:
                    dim.dim_value = known.DimValue()
        return value

    def _each(self, length: Callable[[], int], item: Callable[[int], Any]) -> Iterator[Any]:
        count = length()
        self._seen += count
        if self._seen > _MAX_ITEMS:
            raise ValueError(f"it claims more than {_MAX_ITEMS} nodes, values and axes")
        return (item(place) for place in range(count))


def _schema(name: str) -> Any:
    """The class of a table of the schema."""
    from edgegen_runtime.session import onnx_runtime

    onnx_runtime()  # turns telemetry off before the package is imported
    return getattr(import_module(f"{_SCHEMA}.{name}"), name)


def _text(data: bytes | None) -> str:
    return "" if data is None else data.decode()


def _not_ort(path: Path, reason: object) -> UsageError:
    return UsageError(
        "the file is not a usable ORT format model",
        where=str(path),
        got=reason,
        expected="a whole .ort file",
        next_step="convert the ONNX file again",
    )
