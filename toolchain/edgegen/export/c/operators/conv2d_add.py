"""conv2d_add: a convolution, and the sum of its output with another tensor, a row at a time (``merge`` makes it).

Inputs are the convolution's (activation, weights, bias) and the other summand; attributes the convolution's, ``middle``
(``Scales`` of the convolution's output) and ``sum_clamp``. Bytes are those of conv2d and add.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

from edgegen.export.c import checks
from edgegen.export.c.graph import Graph, Node, Tensor
from edgegen.export.c.lowered import Isa, Lowered
from edgegen.export.c.operators import add, conv2d

if TYPE_CHECKING:
    import numpy as np

_OWN = ("middle", "sum_clamp")


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The sums of the convolution's stored output and the other tensor."""
    whole, convolution, addition = _parts(node, graph, checks.made(node, graph).shape)
    *given, other = values
    (middle,) = conv2d.reference(convolution, whole, given)
    return add.reference(addition, whole, [middle, other])


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """A row of both at a time; the other tensor's memory becomes the output's.

    Raises:
        BuildError: what conv2d or add do not do.
    """
    shape = checks.made(node, graph).shape
    row = (1, 1, *shape[2:])
    whole, convolution, _ = _parts(node, graph, shape)
    conv = conv2d.lower(convolution, whole, isa)
    rows, _, addition = _parts(node, graph, row)
    plus = add.lower(addition, rows, isa)
    staged = -(-conv.scratch_bytes // 4) * 4
    parameters = {f"conv.{name}": value for name, value in conv.parameters.items()}
    parameters |= {f"add.{name}": value for name, value in plus.parameters.items()}
    return Lowered(
        kernel="eg_conv2d_add_s8",
        parameters={
            **parameters,
            "row_bytes": prod(row),
            "staged": staged,
        },
        scratch_bytes=staged + prod(row),
        in_place=(3,),
        macs=conv.macs,
        arguments=(0, 3),
    )


def _parts(node: Node, graph: Graph, shape: tuple[int, ...]) -> tuple[Graph, Node, Node]:
    """The two operators that it stands for, and a graph in which their ends are of a shape."""
    other, made = checks.read(node, graph, 3), checks.made(node, graph)
    middle = Tensor(name=f"{node.name} middle", shape=shape, dtype="int8", scales=node.attributes["middle"])
    attributes = {name: value for name, value in node.attributes.items() if name not in _OWN}
    convolution = replace(node, kind="conv2d", inputs=node.inputs[:3], outputs=(middle.name,), attributes=attributes)
    addition = Node(
        name=node.name,
        kind="add",
        inputs=(middle.name, other.name),
        outputs=node.outputs,
        attributes={"clamp": node.attributes["sum_clamp"]},
    )
    ends = {tensor.name: replace(tensor, shape=shape) for tensor in (other, made)}
    return replace(graph, tensors={**graph.tensors, **ends, middle.name: middle}), convolution, addition
