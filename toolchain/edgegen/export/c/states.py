"""Memory of a model of sequences: which output is the next step's input."""

from __future__ import annotations

from collections.abc import Mapping

from edgegen.export.c.graph import Graph, Tensor
from edgegen.export.opened import Value
from edgegen.export.state_pairs import state_pairs

_FOLLOWS = ("next_", "new_")  # before a memory's name: edgegen's own models of sequences


def fed_back(graph: Graph, known: Mapping[str, str]) -> tuple[tuple[int, int], ...]:
    """(input, output) by place.

    Args:
        graph: as it is compiled.
        known: input -> output as who made the model says; else names tell, where there is no doubt.
    """
    inputs, outputs = ([_value(graph.tensors[name]) for name in names] for names in (graph.inputs, graph.outputs))
    follows = {
        name: word + name for name in graph.inputs for word in _FOLLOWS if word + name in graph.outputs and not known
    }
    pairs = dict(known) or follows or state_pairs(inputs, outputs)
    return tuple(
        (graph.inputs.index(name), graph.outputs.index(output))
        for name, output in pairs.items()
        if name in graph.inputs and output in graph.outputs
    )


def prompt_nodes(graph: Graph, states: tuple[tuple[int, int], ...]) -> frozenset[str]:
    """Names of the nodes that memory needs; empty where that is all of them, or there is none."""
    needed = {graph.outputs[output] for _, output in states}
    kept = set[str]()
    for node in reversed(graph.nodes):
        if needed & set(node.outputs):
            kept.add(node.name)
            needed |= set(node.inputs)
    return frozenset(kept) if len(kept) < len(graph.nodes) else frozenset()


def _value(tensor: Tensor) -> Value:
    return Value(name=tensor.name, dtype=tensor.dtype, dims=tensor.shape)
