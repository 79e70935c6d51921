"""add_plain: the sum of two float32 or int32 tensors that are not quantized, broadcast; int32 wraps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgegen.export.c import elementwise
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The sums."""
    return elementwise.computed(replace(node, kind="add"), graph, values)


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_binary_f32`` or ``eg_binary_s32``.

    Raises:
        BuildError: another type.
    """
    return elementwise.lowered(replace(node, kind="add"), graph, ("float32", "int32"))
