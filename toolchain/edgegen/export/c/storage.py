"""Which tensors share memory because one is only another shape of the other, and which lie outside the arena."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.strides import WIDTHS


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operator as far as memory is concerned; ``reads`` and ``makes`` are storages."""

    node: Node
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    in_place: tuple[str, ...]  # storages that what it makes first may take the place of
    scratch_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Storages:
    """The memory that a graph needs, before anything is placed."""

    of: Mapping[str, str]  # tensor -> storage; constants are in none
    bytes: Mapping[str, int]  # storage -> size
    outside: frozenset[str]  # storages in the caller's input or output block
    copies: frozenset[str]  # names of reshape nodes that must copy, because both sides lie outside


def tensor_bytes(graph: Graph, name: str) -> int:
    """How many bytes a tensor takes."""
    tensor = graph.tensors[name]
    return tensor.elements * WIDTHS[tensor.dtype]


def storages(graph: Graph) -> Storages:
    """Every tensor's storage. A storage is called after one of its tensors."""
    ends = {*graph.inputs, *graph.outputs}
    of = {name: name for name, tensor in graph.tensors.items() if tensor.data is None}
    copies = set()
    for node in graph.nodes:
        if node.kind != "reshape":
            continue
        source, made = node.inputs[0], node.outputs[0]
        shared = [of.get(source, ""), of[made]]
        outside = [place for place in shared if place in ends]
        if not shared[0] or len(outside) == 2:
            copies.add(node.name)
            continue
        kept = outside[0] if outside else shared[0]
        of = {name: kept if place in shared else place for name, place in of.items()}
    size = {
        place: max(tensor_bytes(graph, name) for name, other in of.items() if other == place)
        for place in sorted(set(of.values()))
    }
    return Storages(of=of, bytes=size, outside=frozenset(ends & set(size)), copies=frozenset(copies))
