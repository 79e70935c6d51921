"""Layer normalization in one piece: files spell it out in a dozen operators, and round every inner result to 8 bits.

    r = rsqrt(mean((x - mean(x))^2) + epsilon);    y = (x r - mean(x) r) gain + offset

The norm's own kernel has the mean and the variance exact, so what it gives is nearer to the real numbers than what the
file's operators give, and takes a fraction of their instructions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgegen.export.c.edit import Edit
from edgegen.export.c.graph import Graph, Node, Tensor

if TYPE_CHECKING:
    import numpy as np

TOLD = "layer normalizations are computed whole: their inner results are not rounded to the file's scales"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Norm:
    """One that was found."""

    last: Node  # the addition of the offset
    x: str
    gain: np.ndarray[Any, Any]
    offset: np.ndarray[Any, Any]
    epsilon: float


def whole_norms(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """The graph with a ``layer_norm`` for every spelled out one, and what that changes of its results."""
    edit, found = Edit(graph), 0
    for node in graph.nodes:
        norm = _norm(edit, node) if node.kind == "lut" and node.attributes.get("function") == "rsqrt" else None
        if norm is None:
            continue
        gain, offset = (
            edit.tensor(Tensor(name=f"{norm.last.name}_{name}", shape=array.shape, dtype="float32"), data=array)
            for name, array in (("gain", norm.gain), ("offset", norm.offset))
        )
        attributes = {"epsilon": norm.epsilon, "clamp": norm.last.attributes["clamp"]}
        edit.put(
            norm.last,
            Node(
                name=norm.last.name,
                kind="layer_norm",
                inputs=(norm.x, gain, offset),
                outputs=norm.last.outputs,
                attributes=attributes,
            ),
        )
        found += 1
    return (edit.graph(), (TOLD,)) if found else (graph, ())


def _norm(edit: Edit, root: Node) -> _Norm | None:
    """The norm that a reciprocal root is part of."""
    shifted = _made(edit, root.inputs[0], "add")
    variance, epsilon = (None, None) if shifted is None else _with_constant(edit, shifted)
    mean_of_squares = None if variance is None else _made(edit, variance, "mean")
    squares = None if mean_of_squares is None else _made(edit, mean_of_squares.inputs[0], "squared_difference")
    if squares is None or epsilon is None or epsilon.size != 1:
        return None
    x = squares.inputs[0]
    mean = _made(edit, squares.inputs[1], "mean")
    if mean is None or mean.inputs[0] != x or edit.tensors[x].elements != edit.tensors[x].shape[-1]:
        return None
    products = [node for name in _alike(edit, root.outputs[0]) for node in edit.readers(name) if node.kind == "mul"]
    scaled = next((node for node in products if x in node.inputs), None)
    level = next((node for node in products if set(node.inputs) & _alike(edit, mean.outputs[0])), None)
    if scaled is None or level is None:
        return None
    return _ended(edit, x, scaled, level, float(epsilon.reshape(-1)[0]))


def _ended(edit: Edit, x: str, scaled: Node, level: Node, epsilon: float) -> _Norm | None:
    """``scaled`` is x r, ``level`` is mean(x) r: what follows them, to the offset's addition."""
    negated = _reader(edit, level.outputs[0], "sub")
    if negated is None:
        return None
    zero = _numbers(edit.tensors[negated.inputs[0]])
    centred = _reader(edit, scaled.outputs[0], "add")
    if zero is None or zero.any() or centred is None or not set(centred.inputs) & _alike(edit, negated.outputs[0]):
        return None
    gained = _reader(edit, centred.outputs[0], "mul")
    last = None if gained is None else _reader(edit, gained.outputs[0], "add")
    if gained is None or last is None:
        return None
    (_, gain), (_, offset) = _with_constant(edit, gained), _with_constant(edit, last)
    channels = edit.tensors[x].shape[-1]
    whole = edit.tensors[last.outputs[0]].shape == edit.tensors[x].shape
    if gain is None or offset is None or not whole or {gain.size, offset.size} != {channels}:
        return None
    return _Norm(last=last, x=x, gain=gain.reshape(-1), offset=offset.reshape(-1), epsilon=epsilon)


def _made(edit: Edit, name: str, kind: str) -> Node | None:
    """The node of a kind that makes a tensor, reshapes between them left out."""
    maker = edit.maker(name)
    while maker is not None and maker.kind == "reshape":
        maker = edit.maker(maker.inputs[0])
    return maker if maker is not None and maker.kind == kind else None


def _alike(edit: Edit, name: str) -> set[str]:
    """A tensor and its reshapes."""
    found, more = {name}, [name]
    while more:
        following = [node.outputs[0] for node in edit.readers(more.pop()) if node.kind == "reshape"]
        found |= set(following)
        more += following
    return found


def _reader(edit: Edit, name: str, kind: str) -> Node | None:
    """The one node that reads a tensor or a reshape of it, where it is of a kind."""
    names = _alike(edit, name)
    found = [node for each in sorted(names) for node in edit.readers(each) if node.kind != "reshape"]
    return found[0] if len(found) == 1 and found[0].kind == kind and not names & set(edit.outputs) else None


def _with_constant(edit: Edit, node: Node) -> tuple[str | None, np.ndarray[Any, Any] | None]:
    """The computed input of a node, and the numbers of its constant one."""
    numbers = [_numbers(edit.tensors[name]) for name in node.inputs]
    computed = [name for name, known in zip(node.inputs, numbers, strict=True) if known is None]
    known = [item for item in numbers if item is not None]
    return (computed[0], known[0]) if len(computed) == 1 and len(known) == 1 else (None, None)


def _numbers(tensor: Tensor) -> np.ndarray[Any, Any] | None:
    """What a constant stands for."""
    import numpy as np

    if tensor.data is None or tensor.scales is None:
        return tensor.data
    scale, zero_point = tensor.scales.one
    return np.asarray((tensor.data.astype(np.float32) - np.float32(zero_point)) * np.float32(scale))
