"""Looks along a graph for what a file spells out in many operators; reshapes on the way are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgegen.export.c.edit import Edit
from edgegen.export.c.graph import Node, Tensor

if TYPE_CHECKING:
    import numpy as np


def maker_of(edit: Edit, name: str, kind: str) -> Node | None:
    """The node of a kind that makes a tensor, reshapes between them left out."""
    maker = edit.maker(name)
    while maker is not None and maker.kind == "reshape":
        maker = edit.maker(maker.inputs[0])
    return maker if maker is not None and maker.kind == kind else None


def alike(edit: Edit, name: str) -> set[str]:
    """A tensor and its reshapes."""
    found, more = {name}, [name]
    while more:
        following = [node.outputs[0] for node in edit.readers(more.pop()) if node.kind == "reshape"]
        found |= set(following)
        more += following
    return found


def reader_of(edit: Edit, name: str, kind: str) -> Node | None:
    """The one node that reads a tensor or a reshape of it, where it is of a kind."""
    names = alike(edit, name)
    found = [node for each in sorted(names) for node in edit.readers(each) if node.kind != "reshape"]
    return found[0] if len(found) == 1 and found[0].kind == kind and not names & set(edit.outputs) else None


def with_constant(edit: Edit, node: Node) -> tuple[str | None, np.ndarray[Any, Any] | None]:
    """The computed input of a node, and the numbers of its constant one."""
    numbers = [numbers_of(edit.tensors[name]) for name in node.inputs]
    computed = [name for name, known in zip(node.inputs, numbers, strict=True) if known is None]
    known = [item for item in numbers if item is not None]
    return (computed[0], known[0]) if len(computed) == 1 and len(known) == 1 else (None, None)


def numbers_of(tensor: Tensor) -> np.ndarray[Any, Any] | None:
    """What a constant stands for."""
    import numpy as np

    if tensor.data is None or tensor.scales is None:
        return tensor.data
    shape = [1] * tensor.data.ndim
    if len(tensor.scales.scale) > 1:
        shape[tensor.scales.axis] = -1
    scale = np.array(tensor.scales.scale, np.float32).reshape(shape)
    zero_point = np.array(tensor.scales.zero_point, np.float32).reshape(shape)
    return np.asarray((tensor.data.astype(np.float32) - zero_point) * scale)


def source_of(edit: Edit, name: str) -> str:
    """The tensor that a row of reshapes begins with."""
    maker = edit.maker(name)
    while maker is not None and maker.kind == "reshape":
        name = maker.inputs[0]
        maker = edit.maker(name)
    return name


def other_of(node: Node, name: str) -> str | None:
    """The input beside one of two."""
    if len(node.inputs) != 2 or name not in node.inputs:
        return None
    return node.inputs[1 - node.inputs.index(name)]


def unlimited(node: Node) -> bool:
    """Whether a node of int8 has no limit but its type's."""
    return tuple(node.attributes.get("clamp", (-128, 127))) == (-128, 127)


def kernel_takes(edit: Edit, node: Node) -> bool:
    """Whether the node's own kernel does it, with its types, scales and sizes."""
    from edgegen.core.errors import BuildError
    from edgegen.export.c.operators import operator

    try:
        operator(node.kind).lower(node, edit.graph_of(node), "c")
    except BuildError:
        return False
    return True
