"""Attention over rings of earlier tokens in one piece: files spell out a step in two dozen operators.

A token's query meets the ring of keys (an input of the model) and the token's own key; what a distance adds to a score
comes out of a table, and places that hold no earlier token are masked by the position. ``train.sequence.Layer`` is such
a step. Its kernel, ``attention_ring``, rounds nothing between the products and their sum, meets only places that are
there, and copies no part of a ring.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgegen.export.c.edit import Edit
from edgegen.export.c.graph import Graph, Node, Tensor
from edgegen.export.c.spelled import (
    alike,
    kernel_takes,
    maker_of,
    numbers_of,
    other_of,
    source_of,
    unlimited,
    with_constant,
)

if TYPE_CHECKING:
    import numpy as np

TOLD = "attention over a ring is computed whole: scores and shares are not rounded to the file's 8 bits"

_MASKED = -30.0  # a score that leaves nothing of a share


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ring:
    """Heads of a ring that is an input of the model."""

    name: str
    first: int
    heads: int
    places: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scores:
    """What the softmax is of."""

    query: str
    scale: float
    key: str
    ring: _Ring
    position: str
    table: np.ndarray[Any, Any]  # float32 (places, all heads)


def whole_attentions(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """The graph with an ``attention_ring`` for every spelled out one, and what that changes of its results."""
    edit, found = Edit(graph), 0
    for node in graph.nodes:
        step = _step(edit, node) if node.kind == "softmax" and node.attributes.get("beta", 1.0) == 1.0 else None
        if step is not None and kernel_takes(edit, step[1]):
            edit.put(*step)
            found += 1
    return (edit.graph(), (TOLD,)) if found else (graph, ())


def _step(edit: Edit, softmax: Node) -> tuple[Node, Node] | None:
    """The addition that ends a step, and the step."""
    scores = _scores(edit, softmax.inputs[0])
    if scores is None:
        return None
    cuts = [node for name in sorted(alike(edit, softmax.outputs[0])) for node in edit.readers(name)]
    parts = {node.attributes["begin"][-1]: node.outputs[0] for node in cuts if node.kind == "slice"}
    if set(parts) != {0, scores.ring.places} or edit.tensors[parts[0]].shape[-1] != scores.ring.places:
        return None
    for name in sorted(alike(edit, parts[scores.ring.places])):
        for scaled in edit.readers(name):
            value = other_of(scaled, name) if scaled.kind == "mul" and unlimited(scaled) else None
            ended = None if value is None else _weighted(edit, scaled.outputs[0], parts[0])
            if value is None or ended is None:
                continue
            last, values = ended
            ours, theirs = scores.ring, values
            if (ours.first, ours.heads, ours.places, ours.width) != (
                theirs.first, theirs.heads, theirs.places, theirs.width
            ):  # fmt: skip
                return None
            table = Tensor(name=f"{last.name}_distances", shape=scores.table.shape, dtype="float32")
            made = edit.tensor(table, data=scores.table)
            reads = (scores.query, scores.key, source_of(edit, value), ours.name, values.name, scores.position, made)
            told = {"first": ours.first, "scale": scores.scale}
            step = Node(name=last.name, kind="attention_ring", inputs=reads, outputs=last.outputs, attributes=told)
            return last, step
    return None


def _weighted(edit: Edit, own: str, shares: str) -> tuple[Node, _Ring] | None:
    """The addition of the ring's weighted values and the token's, and the ring."""
    for name in sorted(alike(edit, own)):
        for last in edit.readers(name):
            other = other_of(last, name) if last.kind == "add" and unlimited(last) else None
            product = None if other is None else maker_of(edit, other, "matmul")
            if product is None or product.attributes.get("adjoint_b") or not unlimited(product):
                continue
            ring = _ring(edit, product.inputs[1])
            if ring is not None and source_of(edit, product.inputs[0]) == source_of(edit, shares):
                return last, ring
    return None


def _scores(edit: Edit, name: str) -> _Scores | None:
    """Of the ring's places and, behind them, of the token itself."""
    joined = maker_of(edit, name, "concat")
    if joined is None or len(joined.inputs) != 2 or joined.attributes["axis"] != len(edit.tensors[name].shape) - 1:
        return None
    sums = [maker_of(edit, part, "add") for part in joined.inputs]
    if sums[0] is None or sums[1] is None or not all(unlimited(node) for node in (sums[0], sums[1])):
        return None
    now, own = with_constant(edit, sums[1])
    total = None if now is None else maker_of(edit, now, "sum")
    product = None if total is None else maker_of(edit, total.inputs[0], "mul")
    if own is None or total is None or product is None or not unlimited(product):
        return None
    for part in sums[0].inputs:
        dots, added = maker_of(edit, part, "matmul"), other_of(sums[0], part)
        if dots is None or added is None or not dots.attributes.get("adjoint_b") or not unlimited(dots):
            continue
        query, ring = source_of(edit, dots.inputs[0]), _ring(edit, dots.inputs[1])
        keys = [source for source in (source_of(edit, each) for each in product.inputs) if source != query]
        if ring is None or len(keys) != 1 or not _over_width(edit, total, ring) or own.size != ring.heads:
            return None
        distances = _distances(edit, added, ring)
        if distances is None:
            return None
        position, table = distances
        table = table.copy()
        table[0, ring.first : ring.first + ring.heads] = own.reshape(-1)
        query, scale = _unscaled(edit, query)
        return _Scores(query=query, scale=scale, key=keys[0], ring=ring, position=position, table=table)
    return None


def _over_width(edit: Edit, total: Node, ring: _Ring) -> bool:
    shape = edit.tensors[total.inputs[0]].shape
    return tuple(total.attributes["axes"]) == (len(shape) - 1,) and shape[-1] == ring.width


def _unscaled(edit: Edit, query: str) -> tuple[str, float]:
    """The query without the number that it is multiplied by."""
    node = edit.maker(query)
    if node is None or node.kind != "mul" or not unlimited(node):
        return query, 1.0
    name, number = with_constant(edit, node)
    if name is None or number is None or number.size != 1:
        return query, 1.0
    return source_of(edit, name), float(number.reshape(-1)[0])


def _ring(edit: Edit, name: str) -> _Ring | None:
    """The heads that a tensor has of a ring (1, heads, places, width)."""
    name, first = source_of(edit, name), 0
    shape = edit.tensors[name].shape
    cut = edit.maker(name)
    if cut is not None:
        source = edit.tensors[cut.inputs[0]].shape
        if cut.kind != "slice" or len(source) != 4 or shape[2:] != source[2:] or set(cut.attributes["strides"]) != {1}:
            return None
        name, first = cut.inputs[0], cut.attributes["begin"][1]
    if name not in edit.inputs or len(shape) != 4 or shape[0] != 1:
        return None
    return _Ring(name=name, first=first, heads=shape[1], places=shape[2], width=shape[3])


def _distances(edit: Edit, name: str, ring: _Ring) -> tuple[str, np.ndarray[Any, Any]] | None:
    """The position, and the table of what distances add; scores of places that hold no earlier token are masked."""
    cut = maker_of(edit, name, "slice")
    first = 0
    if cut is not None:
        begin = cut.attributes["begin"]
        first, name = begin[1] if len(begin) == 3 and not begin[0] and not begin[2] else -1, cut.inputs[0]
    turned = maker_of(edit, name, "transpose")
    chosen = None if turned is None else maker_of(edit, turned.inputs[0], "select")
    if turned is None or chosen is None or tuple(turned.attributes["order"]) != (0, 2, 1) or first != ring.first:
        return None
    mask, yes, no = chosen.inputs
    masked, rows = numbers_of(edit.tensors[no]), _unmoved(edit, yes)
    gather = maker_of(edit, rows, "gather")
    if masked is None or not masked.size or masked.max() > _MASKED or gather is None or gather.attributes["axis"]:
        return None
    table, age = numbers_of(edit.tensors[gather.inputs[0]]), source_of(edit, gather.inputs[1])
    position = _position(edit, age, ring.places)
    if table is None or table.ndim != 2 or position is None or not _earlier(edit, mask, age, position):
        return None
    return position, table.astype("float32")


def _unmoved(edit: Edit, name: str) -> str:
    """A tensor before changes of scale."""
    maker = edit.maker(source_of(edit, name))
    return name if maker is None or maker.kind != "requantize" else _unmoved(edit, maker.inputs[0])


def _position(edit: Edit, age: str, places: int) -> str | None:
    """The position that ages are counted from: (position - place) modulo places."""
    rest = maker_of(edit, age, "floor_mod")
    apart = None if rest is None else maker_of(edit, rest.inputs[0], "sub")
    if rest is None or apart is None:
        return None
    modulus, each = edit.tensors[rest.inputs[1]].data, edit.tensors[apart.inputs[1]].data
    if modulus is None or modulus.reshape(-1).tolist() != [places]:
        return None
    if each is None or each.reshape(-1).tolist() != list(range(places)):
        return None
    position = source_of(edit, apart.inputs[0])
    return position if edit.tensors[position].elements == 1 else None


def _earlier(edit: Edit, mask: str, age: str, position: str) -> bool:
    """Whether a mask says 0 < age <= position."""
    both = maker_of(edit, mask, "logical_and")
    for first, second in () if both is None else (both.inputs, both.inputs[::-1]):
        above, within = maker_of(edit, first, "greater"), maker_of(edit, second, "less_equal")
        if above is None or within is None:
            continue
        least = edit.tensors[above.inputs[1]].data
        sides = [source_of(edit, name) for name in (above.inputs[0], *within.inputs)]
        return least is not None and not least.any() and sides == [age, age, position]
    return False
