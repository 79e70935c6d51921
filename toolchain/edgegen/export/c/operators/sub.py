"""sub: the difference, broadcast. int8 and int16 as TFLite Micro has it (kernels/sub_common.cc): both inputs are raised
by 20 or 15 bits and brought to twice the larger scale; under the rule ``onnx-qdq`` in float32 (``qdq``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c import elementwise
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered
from edgegen.export.c.raised import common_scale, difference

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The differences."""
    return elementwise.computed(node, graph, values, _QUANTIZED)


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """A table where one side is a constant number, else ``eg_sub_s8`` and its like.

    Raises:
        BuildError: types that no kernel has.
    """
    return elementwise.lowered(node, graph, ("int8", "int16", "float32", "int32"), _QUANTIZED)


def _parameters8(numbers: elementwise.Numbers, isa: Isa) -> Any:
    """Whether a DSP core may round in one step: the ranges of ``eg_add_s8.h``."""
    fast = -21 <= numbers["out_shift"] <= -1
    for side in "ab":
        multiplier, shift = numbers[f"{side}_multiplier"], numbers[f"{side}_shift"]
        fast &= (multiplier == 2**30 and shift == 0) or (multiplier > 0 and -20 <= shift <= -1)
    return {**numbers, "fast": int(fast)}


def _formula(a: Any, b: Any, numbers: elementwise.Numbers) -> Any:
    from edgegen.export.c.arithmetic import multiply_double

    scaled = multiply_double(difference(a, b, numbers), numbers["out_multiplier"], numbers["out_shift"])
    return scaled + numbers["out_zero_point"]


_QUANTIZED = elementwise.Quantized(kernel="eg_sub", numbers=common_scale, formula=_formula, parameters8=_parameters8)
