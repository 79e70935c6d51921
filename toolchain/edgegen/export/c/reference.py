"""What a graph computes, by numpy: the reference that every build of its C is compared with, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError
from edgegen.export.c.graph import Graph
from edgegen.export.c.operators import operator

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]


def run(graph: Graph, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    """Outputs of one inference by name, as they are stored.

    Args:
        inputs: by name, in the tensors' own types and shapes.

    Raises:
        UsageError: an input is missing, or of another type or shape.
    """
    found = values(graph, inputs)
    return {name: found[name] for name in graph.outputs}


def values(graph: Graph, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    """The same of every tensor in the graph, constants left out."""
    found: dict[str, np.ndarray[Any, Any]] = {}
    for name in graph.inputs:
        tensor, given = graph.tensors[name], inputs.get(name)
        if given is None or given.shape != tensor.shape or given.dtype != tensor.dtype:
            raise UsageError(
                f"the input {name!r} does not fit the model",
                got=None if given is None else f"{given.dtype} {list(given.shape)}",
                expected=f"{tensor.dtype} {list(tensor.shape)}",
            )
        found[name] = given
    for node in graph.nodes:
        read = [found.get(name, graph.tensors[name].data) if name else None for name in node.inputs]
        if node.kind == "reshape":  # no operator: the same bytes under another shape
            assert read[0] is not None
            found[node.outputs[0]] = read[0].reshape(graph.tensors[node.outputs[0]].shape)
            continue
        made = operator(node.kind).reference(node, graph, read)
        for name, array in zip(node.outputs, made, strict=True):
            tensor = graph.tensors[name]
            assert array.shape == tensor.shape, (node.name, array.shape, tensor.shape)
            assert array.dtype == tensor.dtype, (node.name, array.dtype, tensor.dtype)
            found[name] = array
    return found
