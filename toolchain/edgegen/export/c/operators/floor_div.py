"""floor_div and floor_mod of int32 numbers that are not quantized, broadcast: positions in a ring, for instance.

The quotient is rounded down and the rest has the divisor's sign, as Python has them. A division by 0 is one by 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c import elementwise
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The quotients or the rests."""
    return elementwise.computed(node, graph, values)


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_binary_s32``.

    Raises:
        BuildError: another type.
    """
    return elementwise.lowered(node, graph, ("int32",))
