"""ONNX: chains of operators that only name places otherwise, made as short as they can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.onnx_graph import Graph, attribute

if TYPE_CHECKING:
    from onnx import NodeProto

# They keep every value and their order, so between fixed shapes each of them is a Reshape.
_RENAMING = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout")


def shorten(graph: Graph, asked: Asked) -> Found:
    """Makes every chain of reshapes one Reshape, or none; joins transposes; drops Identity and Dropout.

    A Transpose that moves only axes of length 1 is a Reshape.
    """
    found = Found()
    changed = True
    while changed:
        changed = False
        for node in graph.of_type(*_RENAMING, "Transpose"):
            name = node.output[0]
            if _shortened(graph, node):
                found.count(name)
                changed = True
                break
    graph.drop_unused()
    return found


def _shortened(graph: Graph, node: NodeProto) -> bool:
    value, name = node.input[0], node.output[0]
    before, after = graph.shape(value), graph.shape(name)
    if len([output for output in node.output if output and graph.users(output)]) > 1:
        return False  # the mask of a Dropout
    if node.op_type == "Dropout" and graph.constant(node, 2) is not None and graph.constants[node.input[2]].any():
        return False
    if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] and graph.constant(node, 2) is None:
        return False
    ends = name in graph.outputs and (value in graph.outputs or graph.maker(value) is None)
    if node.op_type in ("Identity", "Dropout") or (before is not None and before == after and _renames(graph, node)):
        return not ends and _skip(graph, node, value)
    if before is None or after is None:
        return False
    if node.op_type == "Transpose":
        return _join(graph, node, before, after)
    earlier = graph.maker(value)
    if earlier is None or earlier.op_type not in _RENAMING or earlier.domain or graph.only_user(value) is None:
        return False
    return _reshape(graph, [earlier, node], earlier.input[0], after, name)


def _renames(graph: Graph, node: NodeProto) -> bool:
    if node.op_type != "Transpose":
        return True
    order = _order(graph, node)
    return order == sorted(order)


def _join(graph: Graph, node: NodeProto, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    order = _order(graph, node)
    moving = [axis for axis in order if before[axis] != 1]
    if moving == sorted(moving):
        return _reshape(graph, [node], node.input[0], after, node.output[0])
    earlier = graph.maker(node.input[0])
    if earlier is None or earlier.op_type != "Transpose" or graph.only_user(node.input[0]) is None:
        return False
    first = _order(graph, earlier)
    made = graph.node(
        "Transpose", [earlier.input[0]], after, f"{node.output[0]}_joined", perm=[first[axis] for axis in order]
    )
    graph.replace([earlier, node], [made], {node.output[0]: made.output[0]})
    return True


def _order(graph: Graph, node: NodeProto) -> list[int]:
    rank = len(graph.shapes.get(node.input[0], ()))
    return list(attribute(node, "perm", list(range(rank))[::-1]))


def _skip(graph: Graph, node: NodeProto, value: str) -> bool:
    """Lets the users of a node read what it read."""
    graph.replace([node], [], {node.output[0]: value})
    return True


def _reshape(graph: Graph, old: list[NodeProto], value: str, shape: tuple[int, ...], name: str) -> bool:
    if graph.shape(value) == shape and name not in graph.outputs:
        graph.replace(old, [], {name: value})
        return True
    target = graph.add(np.array(shape, dtype=np.int64), f"{name}_shape")
    made = graph.node("Reshape", [value, target], shape, f"{name}_reshaped")
    graph.replace(old, [made], {name: made.output[0]})
    return True
