"""How a model file's operators hang together, whatever its format: what reads what, and which inputs are constants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError

if TYPE_CHECKING:
    from onnx import NodeProto

QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear", "QUANTIZE", "DEQUANTIZE"})
"""Operators that only change how numbers are stored."""

MOVERS = frozenset(
    {
        *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Split", "Identity", "Cast", "Expand"),
        *("RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "SLICE", "STRIDED_SLICE", "SPLIT", "CAST"),
    }
)
"""Operators that only move numbers, and so have no error of their own."""

# Operators that multiply with a weight where one of their inputs is a constant of two axes or more.
_HEAVY = frozenset(
    {
        *("Conv", "ConvTranspose", "Gemm", "MatMul", "GRU", "LSTM", "RNN", "Gather"),
        *("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL"),
        *("GATHER", "EMBEDDING_LOOKUP"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator of the main graph; what depends on constants alone is none."""

    name: str  # unique in the file
    kind: str  # e.g. "Conv" or "CONV_2D"
    inputs: tuple[str, ...]  # tensors that depend on the model's inputs
    outputs: tuple[str, ...]
    weighted: bool  # multiplies with a weight, or looks rows of one up
    constants: tuple[str, ...] = ()  # the other inputs


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """A main graph in execution order, tensors by name."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operators: tuple[Operator, ...]

    @cached_property
    def maker(self) -> dict[str, Operator]:
        """Tensor -> the operator that makes it."""
        return {name: operator for operator in self.operators for name in operator.outputs}

    def behind(self, tensors: Iterable[str]) -> Iterator[Operator]:
        """From the tensors back against the flow: every operator up to the nearest weighted ones, these included."""
        waiting, seen = list(tensors), set[str]()
        while waiting:
            operator = self.maker.get(waiting.pop(0))
            if operator is None or operator.name in seen:
                continue
            seen.add(operator.name)
            yield operator
            if not operator.weighted:
                waiting.extend(operator.inputs)


def read_wiring(path: Path, format_name: str) -> Wiring:
    """The main graph of a model file.

    Raises:
        UsageError: the file cannot be parsed, or the format is unknown.
    """
    if format_name == "onnx":
        return _wiring_of_onnx(path)
    if format_name == "litert":
        return _wiring_of_litert(path)
    raise UsageError(
        "tensors inside a file of this format cannot be looked at", got=format_name, expected="onnx or litert"
    )


def _wiring_of_onnx(path: Path) -> Wiring:
    from edgegen.export.onnx_file import read_onnx

    model = read_onnx(path)
    axes = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}  # constant -> number of axes
    counted = Counter(node.name for node in model.graph.node)
    operators: list[Operator] = []
    for node in model.graph.node:
        read = [name for name in node.input if name]
        if node.op_type == "Constant" or (read and all(name in axes for name in read) and not _has_body(node)):
            widest = max((axes[name] for name in read), default=_axes_of_value(node))
            axes.update(dict.fromkeys(node.output, widest))
            continue
        operators.append(
            Operator(
                name=node.name if node.name and counted[node.name] == 1 else node.output[0],
                kind=node.op_type,
                inputs=tuple(name for name in read if name not in axes),
                constants=tuple(name for name in read if name in axes),
                outputs=tuple(name for name in node.output if name),
                weighted=node.op_type in _HEAVY and any(axes.get(name, 0) > 1 for name in read),
            )
        )
    return Wiring(
        inputs=tuple(value.name for value in model.graph.input if value.name not in axes),
        outputs=tuple(value.name for value in model.graph.output),
        operators=tuple(operators),
    )


def _has_body(node: NodeProto) -> bool:
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def _axes_of_value(node: NodeProto) -> int:
    return max((len(attribute.t.dims) for attribute in node.attribute if attribute.HasField("t")), default=0)


def _wiring_of_litert(path: Path) -> Wiring:
    from edgegen.export.litert_file import operator_names, read_litert

    model = read_litert(path)
    main = main_graph(model)
    names = tensor_names(main)
    axes = {
        index: len([] if tensor.shape is None else tensor.shape)
        for index, tensor in enumerate(main.tensors)
        if _is_stored(model, tensor)
    }
    operators: list[Operator] = []
    for subgraph, operator, kind in operator_names(model):
        if subgraph is not main:
            continue
        read = [int(index) for index in _listed(operator.inputs) if index >= 0]
        made = [int(index) for index in _listed(operator.outputs)]
        if read and all(index in axes for index in read):
            axes.update(dict.fromkeys(made, max(axes[index] for index in read)))
            continue
        operators.append(
            Operator(
                name=names[made[0]] if made else f"operator {len(operators)}",
                kind=kind,
                inputs=tuple(names[index] for index in read if index not in axes),
                constants=tuple(names[index] for index in read if index in axes),
                outputs=tuple(names[index] for index in made),
                weighted=kind in _HEAVY and any(axes.get(index, 0) > 1 for index in read),
            )
        )
    return Wiring(
        inputs=tuple(names[index] for index in _listed(main.inputs)),
        outputs=tuple(names[index] for index in _listed(main.outputs)),
        operators=tuple(operators),
    )


def integer_tensors(path: Path) -> set[str]:
    """Names of the tensors of a LiteRT file's main graph that hold quantized numbers of 8 or 16 bits.

    Raises:
        UsageError: the file cannot be parsed.
    """
    from edgegen.core.lazy import load
    from edgegen.export.litert_file import EXTRA, read_litert

    types = load("ai_edge_litert.schema_py_generated:TensorType", extra=EXTRA)
    main = main_graph(read_litert(path))
    small = {types.INT8, types.UINT8, types.INT16}
    return {name for name, tensor in zip(tensor_names(main), main.tensors, strict=True) if tensor.type in small}


def signature_tensors(path: Path) -> dict[str, str]:
    """Inputs and outputs of a LiteRT file's first signature -> the tensors that they are.

    Raises:
        UsageError: the file cannot be parsed.
    """
    from edgegen.export.litert_file import read_litert, text

    model = read_litert(path)
    names = tensor_names(main_graph(model))
    if not model.signatureDefs:
        return {name: name for name in names}
    ends = (*_listed(model.signatureDefs[0].inputs), *_listed(model.signatureDefs[0].outputs))
    return {text(item.name): names[item.tensorIndex] for item in ends}


def main_graph(model: Any) -> Any:
    """The graph that a LiteRT file's first signature runs; the first one where there is no signature."""
    if model.signatureDefs:
        return model.subgraphs[model.signatureDefs[0].subgraphIndex]
    return model.subgraphs[0]


def tensor_names(subgraph: Any) -> list[str]:
    """A name for every tensor of a LiteRT graph, by index: its own, with the index behind where that is not unique."""
    from edgegen.export.litert_file import text

    own = [text(tensor.name) for tensor in subgraph.tensors]
    counted = Counter(own)
    return [name if name and counted[name] == 1 else f"{name}#{index}" for index, name in enumerate(own)]


def _is_stored(model: Any, tensor: Any) -> bool:
    buffer = model.buffers[tensor.buffer]
    return not tensor.isVariable and (buffer.data is not None or (buffer.size or 0) > 1)


def _listed(vector: Any) -> list[Any]:
    return [] if vector is None else list(vector)
