"""LiteRT files from anywhere: opened as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgegen.core.lazy import load
from edgegen.export.litert_file import (
    EXTRA,
    has_integer_kernels,
    listed,
    operator_names,
    read_litert,
    tensor_dtype,
    text,
)
from edgegen.export.opened import OpenedGraph, OpenedModel, OpenedNode, Value, constant_of, digest_of


def open_litert(path: Path) -> OpenedModel:
    """The file as data.

    Raises:
        UsageError: not LiteRT, damaged or hostile.
        BuildError: the runtime refuses it.
        ToolMissingError: the extra ``litert`` is not installed.
    """
    sha256, size = digest_of(path)
    model = read_litert(path)
    named = [(id(subgraph), operator, name) for subgraph, operator, name in operator_names(model)]
    graphs = []
    for number, subgraph in enumerate(listed(model.subgraphs)):
        own = [(operator, name) for place, operator, name in named if place == id(subgraph)]
        graphs.append(
            _graph("main" if number == 0 else text(subgraph.name) or f"subgraph {number}", subgraph, own, model)
        )
    ends = [_ends(model, side, graphs) for side in ("inputs", "outputs")]
    return OpenedModel(
        path=path,
        format="litert",
        sha256=sha256,
        size_bytes=size,
        inputs=ends[0],
        outputs=ends[1],
        graphs=tuple(graphs),
        quantized=has_integer_kernels(model),
    )


def _graph(name: str, subgraph: Any, operators: list[tuple[Any, str]], model: Any) -> OpenedGraph:
    tensors = listed(subgraph.tensors)
    names = [_name(tensor, number) for number, tensor in enumerate(tensors)]
    values = {names[number]: _value(names[number], tensor) for number, tensor in enumerate(tensors)}
    constants = {}
    for number, tensor in enumerate(tensors):
        data = model.buffers[tensor.buffer].data if tensor.buffer else None
        if data is not None and len(data):
            dims = tuple(int(axis) for axis in listed(tensor.shape))
            constants[names[number]] = constant_of(_plain(names[number]), tensor_dtype(tensor), dims, bytes(data))
    custom = load("ai_edge_litert.schema_py_generated:BuiltinOperator", extra=EXTRA).CUSTOM
    nodes = []
    for operator, operator_name in operators:
        code = model.operatorCodes[operator.opcodeIndex]
        nodes.append(
            OpenedNode(
                operator=operator_name,
                domain="custom" if max(code.builtinCode, code.deprecatedBuiltinCode) == custom else "",
                inputs=tuple(names[index] if index >= 0 else "" for index in listed(operator.inputs)),
                outputs=tuple(names[index] for index in listed(operator.outputs) if index >= 0),
            )
        )
    outputs = tuple(names[index] for index in listed(subgraph.outputs) if index >= 0)
    return OpenedGraph(name=name, nodes=tuple(nodes), values=values, constants=constants, outputs=outputs)


def _ends(model: Any, side: str, graphs: list[OpenedGraph]) -> tuple[Value, ...]:
    """The inputs or outputs, by the names of the signature where there is one."""
    if not graphs:
        return ()
    if model.signatureDefs:
        chosen = model.signatureDefs[0]
        tensors = listed(model.subgraphs[chosen.subgraphIndex].tensors)
        found = [(text(item.name), tensors[item.tensorIndex]) for item in listed(getattr(chosen, side))]
    else:
        main = model.subgraphs[0]
        found = [(_name(main.tensors[i], i), main.tensors[i]) for i in listed(getattr(main, side)) if i >= 0]
    return tuple(_value(name, tensor) for name, tensor in found)


def _name(tensor: Any, number: int) -> str:
    """Tensors need no name, and several may have the same."""
    return f"{text(tensor.name)}#{number}"


def _plain(name: str) -> str:
    """The name as the file has it."""
    return name.rsplit("#", 1)[0]


def _value(name: str, tensor: Any) -> Value:
    shape = [int(axis) for axis in listed(tensor.shape)]
    declared = [int(axis) for axis in listed(tensor.shapeSignature)] or shape
    dims = tuple("?" if axis < 0 else axis for axis in declared)
    return Value(name=_plain(name), dtype=tensor_dtype(tensor), dims=dims)
