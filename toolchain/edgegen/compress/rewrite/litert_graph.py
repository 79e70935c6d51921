"""A LiteRT graph that passes take apart: constants, who makes a tensor and who uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgegen.core.errors import BuildError
from edgegen.core.lazy import load
from edgegen.export.litert_file import EXTRA, operator_names, read_litert, text

Array = np.ndarray[Any, Any]

_IDENTIFIER = b"TFL3"
_LONGEST_STEM = 32
_ABSENT = -1  # the index of an optional input that is not given


def open_graph(path: Path) -> LiteGraph:
    """The model at a path, ready to be taken apart.

    Raises:
        BuildError: it has several graphs, which no pass understands.
    """
    model = read_litert(path)
    if len(model.subgraphs) != 1:
        raise BuildError(
            "the model holds more than one graph (a branch or a loop), and rewriting knows one",
            where=str(path),
            got=f"{len(model.subgraphs)} graphs",
            next_step="leave rewritten out of [compress] recipes for litert, or use the onnx format",
        )
    return LiteGraph(model)


class LiteGraph:
    """The one graph of a model, its operators by name."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.graph = model.subgraphs[0]
        self.kinds: dict[int, str] = {id(operator): name for _, operator, name in operator_names(model)}
        self.tensors: list[Any] = list(self.graph.tensors)
        self.operators: list[Any] = list(self.graph.operators)

    def of_kind(self, *names: str) -> list[Any]:
        """The operators of these names, in order."""
        return [operator for operator in self.operators if self.kinds[id(operator)] in names]

    def name(self, tensor: int) -> str:
        """What the file calls a tensor."""
        return text(self.tensors[tensor].name)

    def stem(self, tensor: int) -> str:
        """The last part of a tensor's name: the converter writes the whole road through the modules."""
        return self.name(tensor).rstrip(";").split(";")[-1].split("/")[-1][:_LONGEST_STEM] or "tensor"

    def shape(self, tensor: int) -> tuple[int, ...]:
        """A tensor's shape."""
        found = self.tensors[tensor].shape
        return () if found is None else tuple(int(axis) for axis in found)

    def inputs(self, operator: Any) -> list[int]:
        """The operator's inputs, ``-1`` for those left out."""
        return [int(index) for index in ([] if operator.inputs is None else operator.inputs)]

    def outputs(self, operator: Any) -> list[int]:
        """The operator's outputs."""
        return [int(index) for index in ([] if operator.outputs is None else operator.outputs)]

    def maker(self, tensor: int) -> Any | None:
        """The operator that makes a tensor."""
        return next((operator for operator in self.operators if tensor in self.outputs(operator)), None)

    def users(self, tensor: int) -> list[Any]:
        """The operators that use a tensor."""
        return [operator for operator in self.operators if tensor in self.inputs(operator)]

    def only_user(self, tensor: int) -> Any | None:
        """The one operator that uses the tensor, if the model does not give it too."""
        users = self.users(tensor)
        return users[0] if len(users) == 1 and tensor not in [int(index) for index in self.graph.outputs] else None

    def constant(self, tensor: int) -> Array | None:
        """The values of a constant; None for what is computed, quantized or of a type that numpy does not know."""
        if tensor == _ABSENT:
            return None
        held, data = self.tensors[tensor], self.model.buffers[self.tensors[tensor].buffer].data
        dtype = self._dtypes().get(held.type)
        scales = None if held.quantization is None else held.quantization.scale
        if data is None or dtype is None or (scales is not None and len(scales)) or held.isVariable:
            return None
        values = np.frombuffer(bytes(bytearray(data)), dtype=dtype)
        return values.reshape(self.shape(tensor)) if values.size == np.prod(self.shape(tensor)) else None

    def add(self, shape: Sequence[int], kind: int, hint: str, values: Array | None = None) -> int:
        """A new tensor's index; with ``values`` a constant."""
        buffer = _schema("BufferT")()
        if values is not None:
            buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), dtype=np.uint8)
        self.model.buffers.append(buffer)
        tensor = _schema("TensorT")()
        tensor.shape, tensor.type, tensor.buffer = np.array(shape, dtype=np.int32), kind, len(self.model.buffers) - 1
        taken = {self.name(index) for index in range(len(self.tensors))}
        name, number = hint, 0
        while name in taken:
            number += 1
            name = f"{hint}_{number}"
        tensor.name = name.encode()
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def add_constant(self, values: Array, hint: str) -> int:
        """A new constant of float32, int32 or whatever numpy type the values have."""
        kinds = {dtype: kind for kind, dtype in self._dtypes().items()}
        return self.add(values.shape, kinds[values.dtype.name], hint, values)

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        hint: str,
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """A new operator of one new tensor of the first float input's type; not in the graph before ``replace``."""
        made = _schema("OperatorT")()
        made.opcodeIndex = self._code(name)
        made.inputs = np.array(inputs, dtype=np.int32)
        made.outputs = np.array([self.add(shape, _schema("TensorType").FLOAT32, hint)], dtype=np.int32)
        if options is not None:
            record, kind = _OPTIONS[name]
            made.builtinOptions = _schema(record)()
            made.builtinOptionsType = getattr(_schema("BuiltinOptions"), kind)
            for key, value in options.items():
                setattr(made.builtinOptions, key, value)
        self.kinds[id(made)] = name
        return made

    def replace(self, old: Sequence[Any], new: Sequence[Any], given: int) -> None:
        """Puts ``new`` where the last of ``old`` stood; the last new operator gives the tensor ``given``."""
        gone = {id(operator) for operator in old}
        last = max(at for at, operator in enumerate(self.operators) if id(operator) in gone)
        before = [operator for operator in self.operators[: last + 1] if id(operator) not in gone]
        if new:
            new[-1].outputs = np.array([given], dtype=np.int32)
        self.operators = [*before, *new, *self.operators[last + 1 :]]

    def read_instead(self, old: int, new: int) -> None:
        """Lets all operators that read one tensor read another."""
        for operator in self.operators:
            operator.inputs = np.array(
                [new if index == old else index for index in self.inputs(operator)], dtype=np.int32
            )

    def drop_unused(self) -> None:
        """Removes operators whose tensors nobody uses."""
        while True:
            used = {index for operator in self.operators for index in self.inputs(operator)}
            used |= {int(index) for index in self.graph.outputs}
            kept = [operator for operator in self.operators if used & set(self.outputs(operator))]
            if len(kept) == len(self.operators):
                return
            self.operators = kept

    def packed(self) -> bytes:
        """The model's bytes, without tensors, buffers and operator codes that nothing uses."""
        builder = load("flatbuffers:Builder", extra=EXTRA)(1024)
        self.drop_unused()
        self._compact()
        builder.Finish(self.model.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())

    def write(self, path: Path) -> None:
        """Writes the model with what was done."""
        path.write_bytes(self.packed())

    def _compact(self) -> None:
        graph = self.graph
        ends = [index for definition in self.model.signatureDefs or () for index in _ends(definition)]
        used = {index for operator in self.operators for index in (*self.inputs(operator), *self.outputs(operator))}
        used |= {int(index) for side in (graph.inputs, graph.outputs) for index in side} | set(ends)
        order = [index for index in range(len(self.tensors)) if index in used]
        places = {old: new for new, old in enumerate(order)} | {_ABSENT: _ABSENT}

        def moved(indices: Any) -> Array:
            return np.array([places[int(index)] for index in indices], dtype=np.int32)

        for operator in self.operators:
            operator.inputs, operator.outputs = moved(self.inputs(operator)), moved(self.outputs(operator))
        for definition in self.model.signatureDefs or ():
            for item in (*definition.inputs, *definition.outputs):
                item.tensorIndex = places[item.tensorIndex]
        graph.inputs, graph.outputs = moved(graph.inputs), moved(graph.outputs)
        self.tensors = [self.tensors[index] for index in order]
        graph.tensors, graph.operators = self.tensors, self.operators
        self._compact_buffers()
        codes = sorted({operator.opcodeIndex for operator in self.operators})
        self.model.operatorCodes = [self.model.operatorCodes[code] for code in codes]
        for operator in self.operators:
            operator.opcodeIndex = codes.index(operator.opcodeIndex)

    def _compact_buffers(self) -> None:
        held = [*self.tensors, *(self.model.metadata or ())]
        legacy = [] if self.model.metadataBuffer is None else [int(index) for index in self.model.metadataBuffer]
        order = sorted({0, *(item.buffer for item in held), *legacy})
        places = {old: new for new, old in enumerate(order)}
        for item in held:
            item.buffer = places[item.buffer]
        if legacy:
            self.model.metadataBuffer = np.array([places[index] for index in legacy], dtype=np.int32)
        self.model.buffers = [self.model.buffers[index] for index in order]

    def _code(self, name: str) -> int:
        number = getattr(_schema("BuiltinOperator"), name)
        for at, code in enumerate(self.model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == number and not code.customCode:
                return at
        code = _schema("OperatorCodeT")()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    @staticmethod
    def _dtypes() -> dict[int, str]:
        table = _schema("TensorType")
        known = ("float32", "int32", "int64", "bool", "int8", "uint8", "int16", "float16")
        return {getattr(table, name.upper()): name for name in known}


_OPTIONS = {
    "CONV_2D": ("Conv2DOptionsT", "Conv2DOptions"),
    "TRANSPOSE_CONV": ("TransposeConvOptionsT", "TransposeConvOptions"),
    "DEPTH_TO_SPACE": ("DepthToSpaceOptionsT", "DepthToSpaceOptions"),
    "PAD": ("PadOptionsT", "PadOptions"),
    "SLICE": ("SliceOptionsT", "SliceOptions"),
    "TRANSPOSE": ("TransposeOptionsT", "TransposeOptions"),
}


def schema_value(table: str, name: str) -> int:
    """A number of the schema, e.g. ``Padding`` ``SAME``."""
    value: int = getattr(_schema(table), name)
    return value


def _schema(name: str) -> Any:
    return load(f"ai_edge_litert.schema_py_generated:{name}", extra=EXTRA)


def _ends(definition: Any) -> list[int]:
    return [int(item.tensorIndex) for item in (*definition.inputs, *definition.outputs)]
