"""Which tensors share memory because one is another shape, or a part, of the other; which lie outside the arena."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.strides import WIDTHS
from edgegen.export.c.views import part_offsets


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operator as far as memory is concerned; ``reads`` and ``makes`` are storages."""

    node: Node
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    in_place: tuple[str, ...]  # storages that what it makes first may take the place of
    scratch_bytes: int
    after: frozenset[str] | None = None  # nodes that must have run; None: whoever makes what it reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Storages:
    """The memory that a graph needs, before anything is placed."""

    of: Mapping[str, str]  # tensor -> storage; constants are in none
    bytes: Mapping[str, int]  # storage -> size
    outside: frozenset[str]  # storages in the caller's input or output block
    copies: frozenset[str]  # names of reshape nodes that must copy, because both sides lie outside
    begins: Mapping[str, int]  # tensor -> where it begins in its storage, in bytes; those at its start are not here
    shared: Mapping[str, frozenset[int]]  # slice or concat node -> inputs that need no copy
    makers: Mapping[str, frozenset[str]]  # tensor -> nodes that must have run for it to be there


def tensor_bytes(graph: Graph, name: str) -> int:
    """How many bytes a tensor takes."""
    tensor = graph.tensors[name]
    return tensor.elements * WIDTHS[tensor.dtype]


def storages(graph: Graph, views: Collection[str] = ()) -> Storages:
    """Every tensor's storage. A storage is called after one of its tensors.

    Args:
        views: names of slices and concats whose parts lie in their whole.
    """
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
    within, shares = _within(graph, views, of, ends)
    begins = {}
    for name, place in of.items():
        begin, root = 0, place
        while root in within:
            root, more = within[root]
            begin += more
        of[name] = root
        if begin:
            begins[name] = begin
    size = {
        place: max(begins.get(name, 0) + tensor_bytes(graph, name) for name, other in of.items() if other == place)
        for place in sorted(set(of.values()))
    }
    return Storages(
        of=of,
        bytes=size,
        outside=frozenset(ends & set(size)),
        copies=frozenset(copies),
        begins=begins,
        shared=shares,
        makers=_makers(graph, copies, shares),
    )


def _within(
    graph: Graph, views: Collection[str], of: Mapping[str, str], ends: Collection[str]
) -> tuple[dict[str, tuple[str, int]], dict[str, frozenset[int]]]:
    """Storages that lie in others, with their offset; and by node the inputs that need no copy because of it."""
    within: dict[str, tuple[str, int]] = {}
    shares: dict[str, frozenset[int]] = {}
    # A slice first: what it makes can lie in one whole only.
    for node in sorted((node for node in graph.nodes if node.name in views), key=lambda node: node.kind != "slice"):
        done = set()
        for place, offset in part_offsets(graph, node).items():
            read, made = of.get(node.inputs[place], ""), of[node.outputs[0]]
            part, whole = (made, read) if node.kind == "slice" else (read, made)
            if read and part not in ends and part not in within and part != whole:
                within[part] = (whole, offset)
                done.add(place)
        if done:
            shares[node.name] = frozenset(done)
    return within, shares


def _makers(graph: Graph, copies: Collection[str], shares: Mapping[str, frozenset[int]]) -> dict[str, frozenset[str]]:
    """By tensor the nodes that must have run, looked for through those that do nothing."""
    found: dict[str, frozenset[str]] = {name: frozenset() for name in graph.tensors}
    for node in graph.nodes:
        free = shares.get(node.name, frozenset())
        if node.kind == "reshape" and node.name not in copies:
            free = frozenset((0,))
        through = [found[node.inputs[place]] for place in sorted(free)]
        itself = frozenset(() if len(free) == len(node.inputs) else (node.name,))
        for name in node.outputs:
            found[name] = itself.union(*through)
    return found
