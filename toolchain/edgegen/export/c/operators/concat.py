"""concat: tensors one after the other along ``axis``; each is copied to its place. Numbers are moved as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

from edgegen.export.c.checks import axis_of, made, read, same_numbers
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered
from edgegen.export.c.moves import copy

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The inputs, joined along ``axis``."""
    import numpy as np

    return [np.concatenate([value for value in values if value is not None], axis=int(node.attributes["axis"]))]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """One copy an input.

    Raises:
        BuildError: an input has another type or scale than the output.
    """
    out = made(node, graph)
    axis = axis_of(node, len(out.shape))
    outer, inner = prod(out.shape[:axis]), prod(out.shape[axis + 1 :])
    calls: list[Lowered] = []
    filled = 0
    for place in range(len(node.inputs)):
        tensor = read(node, graph, place)
        same_numbers(tensor, out, node)
        width = tensor.shape[axis] * inner
        argument = place if tensor.data is None else Constant(suffix=f"part{place}", array=tensor.data)
        calls.append(
            copy(
                out,
                (outer, width),
                (width, 1),
                (out.shape[axis] * inner, 1),
                node.name,
                written_from=filled,
                arguments=(argument,),
            )
        )
        filled += width
    return replace(calls[0], then=tuple(calls[1:]))
