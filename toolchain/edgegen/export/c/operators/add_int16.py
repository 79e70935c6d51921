"""add_int16: the sum of two int16 tensors, broadcast, as TFLite Micro has it: both are raised by 15 bits and brought to
twice the larger scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c import elementwise
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered
from edgegen.export.c.raised import sum_scale, total

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The sums."""
    return elementwise.computed(node, graph, values, _QUANTIZED)


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_add_s16``.

    Raises:
        BuildError: another type.
    """
    return elementwise.lowered(node, graph, ("int16",), _QUANTIZED)


def _formula(a: Any, b: Any, numbers: elementwise.Numbers) -> Any:
    from edgegen.export.c.arithmetic import multiply_double

    return multiply_double(total(a, b, numbers), numbers["out_multiplier"], numbers["out_shift"])


_QUANTIZED = elementwise.Quantized(kernel="eg_add", numbers=sum_scale, formula=_formula)
