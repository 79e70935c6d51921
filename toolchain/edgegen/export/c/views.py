"""Slices and joins that need no copy: a part that lies in one piece inside the whole is only another name for it.

Of a slice the whole is what it reads; of a join (concat) what it makes, and whoever makes a part writes it there.
"""

from __future__ import annotations

from math import prod

from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.strides import WIDTHS

ALIGN = 4
"""Bytes: where a part begins, as every tensor does."""


def part_offsets(graph: Graph, node: Node) -> dict[int, int]:
    """Where the parts of a node begin in its whole, in bytes.

    Returns:
        of a slice one for input 0, of a concat one for every input that may be a part; empty where nothing lies in
        one piece, or at a multiple of 4 bytes.
    """
    if node.kind == "slice":
        offset = _slice_offset(graph, node)
        return {} if offset is None or offset % ALIGN else {0: offset}
    if node.kind != "concat":
        return {}
    out = graph.tensors[node.outputs[0]]
    axis = int(node.attributes["axis"]) % len(out.shape)
    if prod(out.shape[:axis]) != 1:
        return {}
    found, filled = {}, 0
    for place, name in enumerate(node.inputs):
        tensor = graph.tensors[name]
        if tensor.data is None and filled % ALIGN == 0 and node.inputs.count(name) == 1:
            found[place] = filled
        filled += tensor.elements * WIDTHS[tensor.dtype]
    return found


def _slice_offset(graph: Graph, node: Node) -> int | None:
    tensor = graph.tensors[node.inputs[0]]
    if tensor.data is not None:
        return None
    begin, size = ([int(number) for number in node.attributes[name]] for name in ("begin", "size"))
    strides = [int(number) for number in node.attributes.get("strides") or [1] * len(size)]
    last_cut = max((place for place, count in enumerate(size) if count != tensor.shape[place]), default=0)
    # In one piece: single elements of the axes before, one run of this one, all of those behind.
    if prod(size[:last_cut]) != 1 or any(
        count > 1 and stride != 1 for count, stride in zip(size, strides, strict=True)
    ):
        return None
    return WIDTHS[tensor.dtype] * sum(start * prod(tensor.shape[axis + 1 :]) for axis, start in enumerate(begin))
