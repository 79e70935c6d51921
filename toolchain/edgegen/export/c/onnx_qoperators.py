"""Operators on integers (QLinearConv, QGemm, ...) as what they are defined by: dequantize, an operator on real numbers,
quantize. In place, in a model that was read; whatever else there is stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_SIDES = ((0, 1, 2), (3, 4, 5))
_LAST = (6, 7)
_PAIRS = {"QLinearAdd": "Add", "QLinearMul": "Mul"}
_SINGLES = {
    "QLinearAveragePool": "AveragePool",
    "QLinearGlobalAveragePool": "GlobalAveragePool",
    "QLinearSigmoid": "Sigmoid",
    "QLinearLeakyRelu": "LeakyRelu",
    "QLinearSoftmax": "Softmax",
}
_OWN = {"channels_last", "opset", "fmod"}  # attributes that the operators on real numbers have not


def spread_out(model: ModelProto, where: str) -> None:
    """Replaces them; the biases of integers get the scale that their operator gives them."""
    made: list[NodeProto] = []
    found = False
    for place, node in enumerate(model.graph.node):
        rule = SPREAD.get(node.op_type)
        if rule is None or any(item.name == "channels_last" and item.i for item in node.attribute):
            made.append(node)
            continue
        try:
            made += rule(node, f"{node.output[0]}_{place}")
        except IndexError as error:
            raise UsageError(
                "an operator lacks inputs", where=f"{where}, {node.op_type}", got=len(node.input)
            ) from error
        found = True
    if not found:
        return
    copies = [type(node).FromString(node.SerializeToString()) for node in made]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _node(kind: str, inputs: Sequence[str], output: str, node: NodeProto, **more: Any) -> NodeProto:
    from onnx import helper

    made = helper.make_node(kind, list(inputs), [output], name=f"{node.name}_{kind}", **more)
    if not kind.endswith("QuantizeLinear") and kind != "DequantizeLinear":
        made.attribute.extend(item for item in node.attribute if item.name not in _OWN)
    return made


def _around(
    node: NodeProto, name: str, kind: str, read: Sequence[tuple[int, int, int]], out: tuple[int, int], axis: int = 1
) -> list[NodeProto]:
    """Dequantize each input, do the operator, quantize."""
    nodes, real = [], []
    for number, (value, scale, zero) in enumerate(read):
        real.append(f"{name}_real{number}")
        inputs = [node.input[value], node.input[scale], node.input[zero] if zero < len(node.input) else ""]
        nodes.append(_node("DequantizeLinear", inputs, real[-1], node, axis=axis if number else 1))
    nodes.append(_node(kind, real, f"{name}_made", node))
    nodes.append(_quantized(node, name, out))
    return nodes


def _quantized(node: NodeProto, name: str, out: tuple[int, int]) -> NodeProto:
    scale, zero = (node.input[place] if place < len(node.input) else "" for place in out)
    return _node("QuantizeLinear", [f"{name}_made", scale, zero], node.output[0], node)


def _with_bias(
    kind: str, read: Any, out: tuple[int, int], bias: int, axis: int
) -> Callable[[NodeProto, str], list[NodeProto]]:
    """A product whose bias is of integers in the scale of its sums."""

    def rule(node: NodeProto, name: str) -> list[NodeProto]:
        nodes = _around(node, name, kind, read, out, axis)
        if bias < len(node.input) and node.input[bias]:
            scale = f"{name}_bias_scale"
            nodes.insert(0, _node("Mul", [node.input[read[0][1]], node.input[read[1][1]]], scale, node))
            del nodes[0].attribute[:]
            nodes.insert(1, _node("DequantizeLinear", [node.input[bias], scale], f"{name}_bias", node, axis=0))
            nodes[-2].input.append(f"{name}_bias")
        return nodes

    return rule


def _gemm(node: NodeProto, name: str) -> list[NodeProto]:
    """QGemm: bias in between, scales by row of the transposed weights, else by column."""
    transposed = any(item.name == "transB" and item.i for item in node.attribute)
    return _with_bias("Gemm", _SIDES, (7, 8), 6, 0 if transposed else 1)(node, name)


def _concat(node: NodeProto, name: str) -> list[NodeProto]:
    """QLinearConcat: the output's scale first, then value, scale and zero point of each input."""
    read = [(place, place + 1, place + 2) for place in range(2, len(node.input), 3)]
    return _around(node, name, "Concat", read, (0, 1))


def _plain(kind: str, read: Any, out: tuple[int, int]) -> Callable[[NodeProto, str], list[NodeProto]]:
    def rule(node: NodeProto, name: str) -> list[NodeProto]:
        return _around(node, name, kind, read, out)

    return rule


SPREAD: dict[str, Callable[[NodeProto, str], list[NodeProto]]] = {
    "QLinearConv": _with_bias("Conv", _SIDES, _LAST, 8, 0),
    "QLinearMatMul": _plain("MatMul", _SIDES, _LAST),
    "QGemm": _gemm,
    "QLinearConcat": _concat,
    **{kind: _plain(plain, _SIDES, _LAST) for kind, plain in _PAIRS.items()},
    **{kind: _plain(plain, _SIDES[:1], (3, 4)) for kind, plain in _SINGLES.items()},
}
"""Operator -> what it is made of."""
