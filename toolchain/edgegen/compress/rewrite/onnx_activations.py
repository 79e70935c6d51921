"""ONNX: activations and powers that say the same with a cheaper operator, or with none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.onnx_graph import Graph, attribute

if TYPE_CHECKING:
    from onnx import NodeProto

_BOUNDED_BELOW = ("Relu", "Sigmoid", "HardSigmoid", "Softmax", "Abs", "Sqrt", "Exp")


def simplify(graph: Graph, asked: Asked) -> Found:
    """Rewrites: a Relu of what is never negative; a Clip from zero up, or Max with zero, as Relu, which runtimes fuse;
    the lower bound of a Clip after such a value; x HardSigmoid(x) as HardSwish; x^2 as x x; x^0.5 as Sqrt.
    """
    found = Found()
    for node in graph.of_type("Relu", "Clip", "Max", "Mul", "Pow"):
        if node not in graph.nodes or not _is_float(graph, node):
            continue
        made = _simpler(graph, node)
        if made is None:
            continue
        gives = made if isinstance(made, str) else made.output[0]
        graph.replace([node], [] if isinstance(made, str) else [made], {node.output[0]: gives})
        found.count(node.output[0])
    graph.drop_unused()
    return found


def _simpler(graph: Graph, node: NodeProto) -> NodeProto | str | None:
    """What to put in the node's place: another node, a value that is there already, or nothing."""
    value = node.input[0]
    if node.op_type == "Relu":
        return value if _never_negative(graph, value) else None
    if node.op_type == "Clip":
        low, high = _bounds(graph, node)
        if low != 0:
            return None
        if high is None:
            return _unary(graph, node, "Relu", value)
        maker = graph.maker(value)
        if maker is not None and maker.op_type == "Relu" and graph.only_user(value) is not None:
            return _again(graph, node, [maker.input[0], *list(node.input)[1:]])
        return None
    if node.op_type == "Max" and len(node.input) == 2:
        for place in (0, 1):
            zero = graph.constant(node, place)
            if (
                zero is not None
                and not zero.any()
                and graph.shape(node.input[1 - place]) == graph.shape(node.output[0])
            ):
                return _unary(graph, node, "Relu", node.input[1 - place])
        return None
    if node.op_type == "Pow":
        power = graph.constant(node, 1)
        if power is None or power.size != 1 or graph.shape(value) != graph.shape(node.output[0]):
            return None
        if float(power.reshape(())) == 2:
            return graph.node("Mul", [value, value], graph.shapes[value], f"{node.output[0]}_squared")
        return _unary(graph, node, "Sqrt", value) if float(power.reshape(())) == 0.5 else None
    return _hard_swish(graph, node)


def _hard_swish(graph: Graph, node: NodeProto) -> NodeProto | None:
    for place in (0, 1):
        gate = graph.maker(node.input[place])
        value = node.input[1 - place]
        if node.op_type == "Mul" and gate is not None and gate.op_type == "HardSigmoid" and gate.input[0] == value:
            sixth = np.isclose(attribute(gate, "alpha", 0.2), 1 / 6, rtol=1e-6)
            half = attribute(gate, "beta", 0.5) == 0.5
            if sixth and half and graph.opset >= 14 and graph.only_user(node.input[place]) is not None:
                return _unary(graph, node, "HardSwish", value)
    return None


def _is_float(graph: Graph, node: NodeProto) -> bool:
    """Whether it works on numbers with a point: constants of other types tell that it does not."""
    kinds = [graph.constants[name].dtype.kind for name in node.input if name in graph.constants]
    return node.op_type == "Pow" or all(kind == "f" for kind in kinds)


def _never_negative(graph: Graph, value: str) -> bool:
    maker = graph.maker(value)
    if maker is None:
        return False
    if maker.op_type == "Clip":
        low, _ = _bounds(graph, maker)
        return low is not None and low >= 0
    return maker.op_type in _BOUNDED_BELOW


def _bounds(graph: Graph, node: NodeProto) -> tuple[float | None, float | None]:
    """The constant bounds of a Clip; NaN for one that is computed, so that it equals nothing."""
    found = []
    for place, name in ((1, "min"), (2, "max")):
        values = graph.constant(node, place)
        absent = place >= len(node.input) or not node.input[place]
        found.append(float(values.reshape(())) if values is not None else attribute(node, name) if absent else np.nan)
    return found[0], found[1]


def _unary(graph: Graph, node: NodeProto, kind: str, value: str) -> NodeProto:
    return graph.node(kind, [value], graph.shapes.get(value, ()), f"{node.output[0]}_simple")


def _again(graph: Graph, node: NodeProto, inputs: list[str]) -> NodeProto:
    made = graph.node(node.op_type, inputs, graph.shapes.get(node.output[0], ()), f"{node.output[0]}_simple")
    made.attribute.extend(node.attribute)
    return made
