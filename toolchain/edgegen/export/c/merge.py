"""Merges that make the arena smaller: sums inside the convolutions before them, enlarging inside those behind.

A sum takes as many instructions either way: its numbers have to be brought to one scale in any case. A convolution that
looks for its pixels in the image before a nearest-neighbour resize takes a few per cent more. But a convolution's whole
output beside a summand, or an enlarged image, is often the network's largest moment, and merged it stands nowhere. So a
sum is merged where the plan's arena is smaller afterwards, and enlarging where it is smaller by an eighth.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from edgegen.export.c.arena import plan
from edgegen.export.c.edit import Edit
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered
from edgegen.export.c.operators import operator, resize

_SUM_KEEPS, _ENLARGING_KEEPS = 1.0, 7 / 8  # of the arena, at the most
_MOST_TRIALS = 100  # each plans the whole arena

_Moves = Callable[[Graph], dict[str, Graph]]
"""What may be merged, by the tensor that it is about -> the graph with it merged; the largest tensors first."""


def merged(graph: Graph, isa: Isa) -> Graph:
    """The graph with what makes its arena smaller merged; every byte of its outputs stays.

    Raises:
        BuildError: an operator that there is no kernel for.
    """
    arenas = _Arenas(isa)
    for moves, keeps in ((_sums, _SUM_KEEPS), (_enlargings, _ENLARGING_KEEPS)):
        graph = _smaller(graph, arenas, moves, keeps)
    return graph


class _Arenas:
    """The arenas of graphs that have most of their nodes in common."""

    def __init__(self, isa: Isa) -> None:
        self._isa = isa
        self._lowered: dict[Any, Lowered] = {}

    def of(self, graph: Graph) -> int:
        """Bytes of the plan."""
        lowered: dict[str, Lowered] = {}
        for node in graph.nodes:
            if node.kind == "reshape":
                continue
            key = (node.kind, node.inputs, node.outputs, node.attributes.get("enlarged"))
            if key not in self._lowered:
                self._lowered[key] = operator(node.kind).lower(node, graph, self._isa)
            lowered[node.name] = self._lowered[key]
        return plan(graph, lowered).arena_bytes


def _smaller(graph: Graph, arenas: _Arenas, moves: _Moves, keeps: float) -> Graph:
    """The graph with as few things merged as its smallest arena needs.

    Equal blocks one after the other make an arena smaller only together, so all of them are merged first, and what
    changes nothing is taken out again. Where all together are no gain, one may be.
    """
    names = list(moves(graph))
    if not names:
        return graph
    plain, kept = arenas.of(graph), list[str]()
    found, best = graph, plain
    for tried in ([names], [[name] for name in names[:_MOST_TRIALS]]):
        for chosen in tried:
            made = _with(graph, moves, chosen)
            arena = arenas.of(made)
            if arena < best and arena <= keeps * plain:
                found, best, kept = made, arena, chosen
        if best < plain:
            break
    if best == plain:
        return graph
    for name in kept[::-1][:_MOST_TRIALS] if len(kept) > 1 else ():
        fewer = [other for other in kept if other != name]
        made = _with(graph, moves, fewer)
        arena = arenas.of(made)
        if arena <= best:
            found, best, kept = made, arena, fewer
    return found


def _with(graph: Graph, moves: _Moves, chosen: Collection[str]) -> Graph:
    """The graph with these merged, one after the other, as far as the others leave them to be merged."""
    for name in chosen:
        graph = moves(graph).get(name, graph)
    return graph


def _sums(graph: Graph) -> dict[str, Graph]:
    found: dict[str, Graph] = {}
    for node in _by_size(graph, "add"):
        for convolution in _convolutions(graph, node):
            found.setdefault(node.outputs[0], _with_sum(graph, node, convolution))
    return found


def _enlargings(graph: Graph) -> dict[str, Graph]:
    found: dict[str, Graph] = {}
    for node in _by_size(graph, "resize"):
        (name,) = node.outputs
        readers, shifts = [other for other in graph.nodes if name in other.inputs], _shifts(graph, node)
        if shifts is not None and name not in graph.outputs and _may_enlarge(readers, name):
            found[name] = _with_enlarging(graph, node, readers, shifts)
    return found


def _by_size(graph: Graph, kind: str) -> list[Node]:
    nodes = [node for node in graph.nodes if node.kind == kind]
    return sorted(nodes, key=lambda node: -graph.tensors[node.outputs[0]].elements)


def _convolutions(graph: Graph, node: Node) -> list[Node]:
    """The convolutions whose output a sum alone reads, which no broadcasting repeats."""
    if node.kind != "add":
        return []
    shapes = {graph.tensors[name].shape for name in (*node.inputs, *node.outputs)}
    constant = any(graph.tensors[name].data is not None for name in node.inputs)
    if len(shapes) != 1 or constant or len(set(node.inputs)) != 2:
        return []
    found = []
    for name in node.inputs:
        readers = [other for other in graph.nodes if name in other.inputs]
        makers = [other for other in graph.nodes if name in other.outputs and other.kind == "conv2d"]
        if makers and readers == [node] and name not in graph.outputs and len(makers[0].inputs) == 3:
            found.append(makers[0])
    return found


def _with_sum(graph: Graph, addition: Node, convolution: Node) -> Graph:
    edit = Edit(graph)
    (middle,) = convolution.outputs
    other = next(name for name in addition.inputs if name != middle)
    attributes: dict[str, Any] = {
        **convolution.attributes,
        "middle": graph.tensors[middle].scales,
        "sum_clamp": addition.attributes["clamp"],
    }
    edit.nodes.remove(convolution)
    # Where the sum was: what makes the other summand lies before it.
    edit.put(
        addition,
        Node(
            name=convolution.name,
            kind="conv2d_add",
            inputs=(*convolution.inputs, other),
            outputs=addition.outputs,
            attributes=attributes,
        ),
    )
    return edit.graph()


def _shifts(graph: Graph, node: Node) -> tuple[int, int] | None:
    """How often every row and column stands, as powers of two, where a resize does nothing else."""
    tensor, out = graph.tensors[node.inputs[0]], graph.tensors[node.outputs[0]]
    if node.attributes["mode"] != "nearest" or tensor.dtype != "int8" or tensor.data is not None:
        return None
    shifts = []
    for axis in (1, 2):
        size, length = tensor.shape[axis], out.shape[axis]
        shift = (length // size).bit_length() - 1
        cells = resize.nearest_cells(node, axis - 1, size, length)
        if length != size << shift or [int(cell) for cell in cells] != [place >> shift for place in range(length)]:
            return None
        shifts.append(shift)
    return (shifts[0], shifts[1]) if any(shifts) else None


def _may_enlarge(readers: list[Node], name: str) -> bool:
    return bool(readers) and all(
        reader.kind in ("conv2d", "conv2d_add")
        and reader.inputs[0] == name
        and name not in reader.inputs[1:]
        and "enlarged" not in reader.attributes
        for reader in readers
    )


def _with_enlarging(graph: Graph, node: Node, readers: list[Node], shifts: tuple[int, int]) -> Graph:
    edit = Edit(graph)
    edit.nodes.remove(node)
    for reader in readers:
        edit.changed(reader, inputs=(node.inputs[0], *reader.inputs[1:]), attributes={"enlarged": shifts})
    return edit.graph()
