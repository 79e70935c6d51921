"""squared_difference: (a - b)^2, broadcast. int8 and int16 as TFLite Micro has it (kernels/squared_difference.cc): both
inputs are raised by 7 or 0 bits and brought to twice the larger scale, under every rounding rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c import elementwise
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered
from edgegen.export.c.raised import difference, squared_scale

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The squares of the differences."""
    return elementwise.computed(node, graph, values, _QUANTIZED)


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """A table where one side is a constant number, else ``eg_squared_difference_s8`` and its like.

    Raises:
        BuildError: types that no kernel has.
    """
    return elementwise.lowered(node, graph, ("int8", "int16", "float32"), _QUANTIZED)


def _formula(a: Any, b: Any, numbers: elementwise.Numbers) -> Any:
    from edgegen.export.c.arithmetic import multiply_double

    square = difference(a, b, numbers) ** 2
    return multiply_double(square, numbers["out_multiplier"], numbers["out_shift"]) + numbers["out_zero_point"]


_QUANTIZED = elementwise.Quantized(kernel="eg_squared_difference", numbers=squared_scale, formula=_formula)
