"""Steps of recurrent cells in one piece: files spell them out, and round gates to 8 bits around each function.

    GRU    r = sigmoid(xr + hr)    z = sigmoid(xz + hz)    n = tanh(xn + r hn)    h' = n + z (h - n) or (1 - z) n + z h
    LSTM   i, f, o = sigmoid(x + h)    g = tanh(xg + hg)    c' = f c + i g    h' = o tanh(c')

xr is a part of W x + b, hr of U h + d, in any order of the gates. A GRU's step becomes the kernel's ``gru_step``, whose
gates have 16 bits in between: nearer to the real numbers, in fewer instructions. An LSTM's stays as it is spelled out:
its kernel wants a cell of 16 bits, where a file has 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgegen.export.c.edit import Edit
from edgegen.export.c.graph import Graph, Node, Scales, Tensor
from edgegen.export.c.spelled import kernel_takes, maker_of, numbers_of, other_of, source_of, unlimited

if TYPE_CHECKING:
    import numpy as np

TOLD = "steps of recurrent cells are computed whole: their gates have 16 bits, where the file rounds them to 8"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Rows of a dense layer that a gate reads."""

    layer: Node
    first: int
    size: int


def whole_cells(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """The graph with a ``gru_step`` for every spelled out one, and what that changes of its results."""
    edit, found = Edit(graph), 0
    for node in graph.nodes:
        step = _gru(edit, node) if node.kind == "add" and unlimited(node) else None
        if step is not None and kernel_takes(edit, step):
            edit.put(node, step)
            found += 1
    return (edit.graph(), (TOLD,)) if found else (graph, ())


def _gru(edit: Edit, last: Node) -> Node | None:
    """The step whose last addition this is."""
    ends = _blended(edit, last)
    if ends is None:
        return None
    new, update, before = ends
    inner = _function(edit, new, "tanh")
    if inner is None:
        return None
    for kept in inner.inputs:
        gated = maker_of(edit, kept, "mul")
        from_x = other_of(inner, kept)
        if gated is None or from_x is None or not unlimited(gated):
            continue
        for name in gated.inputs:
            reset, hidden = _function(edit, name, "sigmoid"), other_of(gated, name)
            if reset is not None and hidden is not None:
                step = _joined(edit, last, before, (reset, update, (from_x, hidden)))
                if step is not None:
                    return step
    return None


def _blended(edit: Edit, last: Node) -> tuple[str, Node, str] | None:
    """n, the sum inside z, and h of n + z (h - n) or (1 - z) n + z h."""
    for name in last.inputs:
        product, rest = maker_of(edit, name, "mul"), other_of(last, name)
        if product is None or rest is None or not unlimited(product):
            continue
        for gate in product.inputs:
            update, other = _function(edit, gate, "sigmoid"), other_of(product, gate)
            if update is None or other is None:
                continue
            apart = maker_of(edit, other, "sub")
            if apart is not None and unlimited(apart) and source_of(edit, apart.inputs[1]) == source_of(edit, rest):
                return rest, update, apart.inputs[0]
            new = _complement(edit, rest, gate)
            if new is not None:
                return new, update, other
    return None


def _complement(edit: Edit, name: str, gate: str) -> str | None:
    """n of (1 - z) n."""
    product = maker_of(edit, name, "mul")
    for factor in () if product is None or not unlimited(product) else product.inputs:
        left = maker_of(edit, factor, "sub")
        if product is None or left is None or source_of(edit, left.inputs[1]) != source_of(edit, gate):
            continue
        one = numbers_of(edit.tensors[left.inputs[0]])
        if one is not None and one.size and abs(one - 1).max() < 1e-2:  # as near as 8 bits hold it
            return other_of(product, factor)
    return None


def _joined(edit: Edit, last: Node, before: str, gates: tuple[Node, Node, tuple[str, str]]) -> Node | None:
    """The step, if its gates are parts of dense layers of one x and of h."""
    reset, update, new = gates
    from_x, from_h = _part(edit, new[0]), _part(edit, new[1])
    if from_x is None or from_h is None or source_of(edit, before) != _vector(edit, from_h):
        return None
    x, h = _vector(edit, from_x), _vector(edit, from_h)
    ours, theirs = list[_Part](), list[_Part]()
    for gate in (reset, update):
        parts = [_part(edit, name) for name in gate.inputs]
        mine = [part for part in parts if part is not None and _vector(edit, part) == x]
        other = [part for part in parts if part is not None and _vector(edit, part) == h]
        if len(mine) != 1 or len(other) != 1 or x == h:
            return None
        ours += mine
        theirs += other
    sizes = {part.size for part in (*ours, *theirs, from_x, from_h)}
    if sizes != {edit.tensors[last.outputs[0]].elements}:
        return None
    (w, b), (u, d) = _rows(edit, [*ours, from_x], last.name, "x"), _rows(edit, [*theirs, from_h], last.name, "h")
    return Node(name=last.name, kind="gru_step", inputs=(x, h, w, u, b, d), outputs=last.outputs)


def _function(edit: Edit, name: str, function: str) -> Node | None:
    """The addition inside a function of one number."""
    table = maker_of(edit, name, "lut")
    if table is None or table.attributes.get("function") != function:
        return None
    inner = maker_of(edit, table.inputs[0], "add")
    return inner if inner is not None and unlimited(inner) else None


def _part(edit: Edit, name: str) -> _Part | None:
    """What a tensor has of a dense layer of one vector."""
    size, cut = edit.tensors[name].elements, maker_of(edit, name, "slice")
    first = 0
    if cut is not None:
        begin, length, strides = (cut.attributes[key] for key in ("begin", "size", "strides"))
        if any(begin[:-1]) or length[-1] != size or strides[-1] != 1:
            return None
        first, name = begin[-1], cut.inputs[0]
    layer = maker_of(edit, name, "dense")
    if layer is None or not unlimited(layer) or edit.tensors[layer.inputs[1]].data is None:
        return None
    rows = edit.tensors[layer.inputs[1]].shape[0]
    whole = edit.tensors[name].elements == edit.tensors[name].shape[-1] == rows
    return _Part(layer=layer, first=first, size=size) if whole and first + size <= rows else None


def _vector(edit: Edit, part: _Part) -> str:
    return source_of(edit, part.layer.inputs[0])


def _rows(edit: Edit, parts: list[_Part], step: str, side: str) -> tuple[str, str]:
    """Names of the parts' weights and biases, one below the other."""
    import numpy as np

    weights, scales, biases = list[Any](), list[float](), list[Any]()
    for part in parts:
        tensor, rows = edit.tensors[part.layer.inputs[1]], slice(part.first, part.first + part.size)
        assert tensor.data is not None
        weights.append(tensor.data[rows])
        every = () if tensor.scales is None else tensor.scales.scale
        scales += every[rows] if len(every) > 1 else every * part.size
        biases.append(_bias(edit, part)[rows])
    one = len(set(scales)) == 1
    kept = Scales(scale=tuple(scales[:1] if one else scales), zero_point=(0,) * (1 if one else len(scales)))
    matrix, vector = np.concatenate(weights), np.concatenate(biases)
    w = Tensor(name=f"{step}_{side}_weights", shape=matrix.shape, dtype="int8")
    b = Tensor(name=f"{step}_{side}_bias", shape=vector.shape, dtype="int32")
    return edit.tensor(w, scales=kept, data=matrix), edit.tensor(b, data=vector)


def _bias(edit: Edit, part: _Part) -> np.ndarray[Any, Any]:
    import numpy as np

    inputs = part.layer.inputs
    known = edit.tensors[inputs[2]].data if len(inputs) > 2 and inputs[2] else None
    return np.zeros(edit.tensors[inputs[1]].shape[0], np.int32) if known is None else known.reshape(-1)
