"""What an operator's module asks of a node before it lowers it."""

from __future__ import annotations

import math

from edgegen.core.errors import BuildError
from edgegen.export.c.graph import Graph, Node, Tensor


def read(node: Node, graph: Graph, place: int) -> Tensor:
    """The tensor at a place among a node's inputs.

    Raises:
        BuildError: it is left out, or there is none.
    """
    name = node.inputs[place] if place < len(node.inputs) else ""
    if not name:
        raise BuildError(
            f"the operator {node.kind} lacks its input {place}", where=node.name, expected="a model that is whole"
        )
    return graph.tensors[name]


def made(node: Node, graph: Graph, place: int = 0) -> Tensor:
    """The tensor at a place among a node's outputs."""
    return graph.tensors[node.outputs[place]]


def expect(tensor: Tensor, node: Node, *dtypes: str) -> Tensor:
    """The tensor, if its elements have one of the types.

    Raises:
        BuildError: they have another.
    """
    if tensor.dtype not in dtypes:
        raise BuildError(
            f"there is no {node.kind} kernel for {tensor.dtype}",
            where=f"{node.name}, tensor {tensor.name}",
            expected=f"{' or '.join(dtypes)}",
            next_step="quantize the model's activations, or leave this operator out of the model",
        )
    return tensor


def constant(tensor: Tensor, node: Node) -> Tensor:
    """The tensor, if its values are known when the model is compiled.

    Raises:
        BuildError: they are not.
    """
    if tensor.data is None:
        raise BuildError(
            f"the {node.kind} kernel needs to know this tensor when the model is compiled",
            where=f"{node.name}, tensor {tensor.name}",
            got="a tensor that another operator makes",
            expected="a constant",
        )
    return tensor


def scale_of(tensor: Tensor, node: Node) -> tuple[float, int]:
    """Scale and zero point of a tensor that has one of each.

    Raises:
        BuildError: it is not quantized, or it is quantized by channel.
    """
    if tensor.scales is None or len(tensor.scales.scale) != 1:
        raise BuildError(
            f"the {node.kind} kernel needs one scale of this tensor",
            where=f"{node.name}, tensor {tensor.name}",
            got="none" if tensor.scales is None else f"{len(tensor.scales.scale)} scales",
            expected="a tensor quantized as a whole",
        )
    return tensor.scales.one


def same_numbers(tensor: Tensor, other: Tensor, node: Node) -> None:
    """Sees to it that a stored number means the same in both tensors, for an operator that only moves them.

    Raises:
        BuildError: type, scale or zero point differ.
    """
    ours, theirs = tensor.scales, other.scales
    same = tensor.dtype == other.dtype
    if ours is not None and theirs is not None:
        same &= ours.zero_point == theirs.zero_point and all(
            math.isclose(a, b, rel_tol=1e-6) for a, b in zip(ours.scale, theirs.scale, strict=False)
        )
    if not same:
        raise BuildError(
            f"{node.kind} moves numbers as they are stored, and these two tensors store them differently",
            where=node.name,
            got=f"{tensor.name}: {_described(tensor)}; {other.name}: {_described(other)}",
            expected="one type, scale and zero point, or a requantize between them",
        )


def axis_of(node: Node, rank: int) -> int:
    """The attribute ``axis``, counted from the front.

    Raises:
        BuildError: the tensor has no such axis.
    """
    axis = int(node.attributes["axis"])
    if not -rank <= axis < rank:
        raise BuildError(f"{node.kind} names an axis that is not there", where=node.name, got=axis, expected=rank)
    return axis % rank


def _described(tensor: Tensor) -> str:
    if tensor.scales is None:
        return tensor.dtype
    return f"{tensor.dtype}, scale {tensor.scales.scale[0]:g}, zero point {tensor.scales.zero_point[0]}"
