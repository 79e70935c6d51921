"""maximum and minimum, broadcast: of stored numbers, as all three tensors have one scale; under the rule ``onnx-qdq``
they may differ (``qdq``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c import elementwise, qdq
from edgegen.export.c.checks import made, read, same_numbers
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The larger or the smaller of each pair."""
    return elementwise.computed(node, graph, values, _QUANTIZED)


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """A table where one side is a constant number, else ``eg_extreme_s8`` and its like.

    Raises:
        BuildError: types that no kernel has, or tensors of different scales.
    """
    for place in () if qdq.applies(node, graph) else (0, 1):
        same_numbers(read(node, graph, place), made(node, graph), node)
    return elementwise.lowered(node, graph, ("int8", "int16", "float32", "int32"), _QUANTIZED)


def _numbers(node: Node, graph: Graph) -> elementwise.Numbers:
    return {"smaller": int(node.kind == "minimum"), **elementwise.clamp_of(node, made(node, graph).dtype)}


def _formula(a: Any, b: Any, numbers: elementwise.Numbers) -> Any:
    import numpy as np

    return np.minimum(a, b) if numbers["smaller"] else np.maximum(a, b)


_QUANTIZED = elementwise.Quantized(kernel="eg_extreme", numbers=_numbers, formula=_formula)
