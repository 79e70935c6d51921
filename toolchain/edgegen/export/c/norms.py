"""Normalizations in one piece: files spell them out, and round every inner result to 8 bits.

    layer                 r = rsqrt(mean((x - mean(x))^2) + epsilon)    y = (x r - mean(x) r) gain + offset
    root mean square      r = rsqrt(mean(x^2) + epsilon)                y = x r gain
    batch                 y = x gain + offset, by channel, where no layer before it could take it in

A norm's own kernel has the mean and the variance exact and rounds once, so what it gives is nearer to the real numbers
than what the file's operators give, and takes a fraction of their instructions.
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
    reader_of,
    source_of,
    unlimited,
    with_constant,
)

if TYPE_CHECKING:
    import numpy as np

TOLD = "layer normalizations are computed whole: their inner results are not rounded to the file's scales"
_TOLD = {
    "layer_norm": TOLD,
    "rms_norm": "root mean square normalizations are computed whole: nothing in them is rounded to the file's scales",
    "batch_norm": "a factor and an offset by channel are one step: the product is not rounded to the file's scale",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Norm:
    """One that was found."""

    kind: str
    last: Node  # what gives its result
    x: str
    gain: np.ndarray[Any, Any]
    offset: np.ndarray[Any, Any] | None
    epsilon: float


def whole_norms(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """The graph with a ``layer_norm``, ``rms_norm`` or ``batch_norm`` for every spelled out one, and what that changes
    of its results.
    """
    edit, told = Edit(graph), dict[str, None]()
    for find in (_of_root, _batch):  # an affine end that belongs to a norm of rows is no batch norm
        for node in graph.nodes:
            norm = find(edit, node) if node in edit.nodes else None
            made = None if norm is None else _made(edit, norm)
            if norm is not None and made is not None and kernel_takes(edit, made):
                edit.put(norm.last, made)
                told[_TOLD[norm.kind]] = None
    return (edit.graph(), tuple(told)) if told else (graph, ())


def _made(edit: Edit, norm: _Norm) -> Node:
    """Its node; the constants become tensors."""
    arrays = {"gain": norm.gain, "offset": norm.offset}
    names = tuple(
        ""
        if array is None
        else edit.tensor(Tensor(name=f"{norm.last.name}_{name}", shape=array.shape, dtype="float32"), data=array)
        for name, array in arrays.items()
    )
    attributes = {"epsilon": norm.epsilon, "clamp": norm.last.attributes["clamp"]}
    if norm.kind == "batch_norm":
        del attributes["epsilon"]
    inputs, outputs = (norm.x, *names), norm.last.outputs
    return Node(name=norm.last.name, kind=norm.kind, inputs=inputs, outputs=outputs, attributes=attributes)


def _of_root(edit: Edit, node: Node) -> _Norm | None:
    if node.kind != "lut" or node.attributes.get("function") != "rsqrt":
        return None
    return _norm(edit, node) or _rms(edit, node)


def _rms(edit: Edit, root: Node) -> _Norm | None:
    """The root mean square norm that a reciprocal root is part of."""
    shifted = maker_of(edit, root.inputs[0], "add")
    square, epsilon = (None, None) if shifted is None else with_constant(edit, shifted)
    mean = None if square is None else maker_of(edit, square, "mean")
    powers = None if mean is None else maker_of(edit, mean.inputs[0], "mul")
    if powers is None or epsilon is None or epsilon.size != 1:
        return None
    x = source_of(edit, powers.inputs[0])
    channels = edit.tensors[x].shape[-1]
    if source_of(edit, powers.inputs[1]) != x or edit.tensors[x].elements != channels:
        return None
    scaled = reader_of(edit, root.outputs[0], "mul")
    if scaled is None or x not in {source_of(edit, name) for name in scaled.inputs}:
        return None
    last = reader_of(edit, scaled.outputs[0], "mul")
    _, gain = (None, None) if last is None else with_constant(edit, last)
    whole = last is not None and edit.tensors[last.outputs[0]].elements == channels and unlimited(scaled)
    if last is None or gain is None or gain.size != channels or not whole:
        return None
    return _Norm(
        kind="rms_norm", last=last, x=x, gain=gain.reshape(-1), offset=None, epsilon=float(epsilon.reshape(-1)[0])
    )


def _batch(edit: Edit, last: Node) -> _Norm | None:
    """A product and a sum with constants by channel."""
    if last.kind != "add":
        return None
    made, offset = with_constant(edit, last)
    product = None if made is None else edit.maker(made)
    if made is None or offset is None or product is None or product.kind != "mul" or not unlimited(product):
        return None
    x, gain = with_constant(edit, product)
    if x is None or gain is None or edit.only_reader(made) is not last:
        return None
    shape = edit.tensors[x].shape
    channels = shape[-1] if shape else 1
    by_channel = all(array.size == channels == (1, *array.shape)[-1] for array in (gain, offset))
    if channels < 2 or not by_channel or edit.tensors[last.outputs[0]].shape != shape:
        return None
    return _Norm(kind="batch_norm", last=last, x=x, gain=gain.reshape(-1), offset=offset.reshape(-1), epsilon=0.0)


def _norm(edit: Edit, root: Node) -> _Norm | None:
    """The norm that a reciprocal root is part of."""
    shifted = maker_of(edit, root.inputs[0], "add")
    variance, epsilon = (None, None) if shifted is None else with_constant(edit, shifted)
    mean_of_squares = None if variance is None else maker_of(edit, variance, "mean")
    squares = None if mean_of_squares is None else maker_of(edit, mean_of_squares.inputs[0], "squared_difference")
    if squares is None or epsilon is None or epsilon.size != 1:
        return None
    x = squares.inputs[0]
    mean = maker_of(edit, squares.inputs[1], "mean")
    if mean is None or mean.inputs[0] != x or edit.tensors[x].elements != edit.tensors[x].shape[-1]:
        return None
    products = [node for name in alike(edit, root.outputs[0]) for node in edit.readers(name) if node.kind == "mul"]
    scaled = next((node for node in products if x in node.inputs), None)
    level = next((node for node in products if set(node.inputs) & alike(edit, mean.outputs[0])), None)
    if scaled is None or level is None:
        return None
    return _ended(edit, x, scaled, level, float(epsilon.reshape(-1)[0]))


def _ended(edit: Edit, x: str, scaled: Node, level: Node, epsilon: float) -> _Norm | None:
    """``scaled`` is x r, ``level`` is mean(x) r: what follows them, to the offset's addition."""
    negated = reader_of(edit, level.outputs[0], "sub")
    if negated is None:
        return None
    zero = numbers_of(edit.tensors[negated.inputs[0]])
    centred = reader_of(edit, scaled.outputs[0], "add")
    if zero is None or zero.any() or centred is None or not set(centred.inputs) & alike(edit, negated.outputs[0]):
        return None
    gained = reader_of(edit, centred.outputs[0], "mul")
    last = None if gained is None else reader_of(edit, gained.outputs[0], "add")
    if gained is None or last is None:
        return None
    (_, gain), (_, offset) = with_constant(edit, gained), with_constant(edit, last)
    channels = edit.tensors[x].shape[-1]
    whole = edit.tensors[last.outputs[0]].shape == edit.tensors[x].shape
    if gain is None or offset is None or not whole or {gain.size, offset.size} != {channels}:
        return None
    return _Norm(kind="layer_norm", last=last, x=x, gain=gain.reshape(-1), offset=offset.reshape(-1), epsilon=epsilon)
