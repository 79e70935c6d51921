"""mul: the product, broadcast. int8 and int16 as TFLite Micro has it: the product of the numbers less their zero points
times s_a s_b / s_out, rounded twice (EG_TFLM_DOUBLE); under the rule ``onnx-qdq`` in float32 (``qdq``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c import elementwise
from edgegen.export.c.checks import made, read, scale_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The products."""
    return elementwise.computed(node, graph, values, _QUANTIZED)


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """A table where one side is a constant number, else ``eg_mul_s8`` and its like.

    Raises:
        BuildError: types that no kernel has.
    """
    return elementwise.lowered(node, graph, ("int8", "int16", "float32", "int32"), _QUANTIZED, isa)


def _numbers(node: Node, graph: Graph) -> elementwise.Numbers:
    from edgegen.export.c.arithmetic import quantize_multiplier

    out = made(node, graph)
    (a, a_zero), (b, b_zero) = (scale_of(read(node, graph, place), node) for place in (0, 1))
    scale, zero_point = scale_of(out, node)
    multiplier, shift = quantize_multiplier(a * b / scale)
    return {
        "a_zero_point": a_zero,
        "b_zero_point": b_zero,
        "out_zero_point": zero_point,
        "out_multiplier": multiplier,
        "out_shift": shift,
        **elementwise.clamp_of(node, out.dtype),
    }


def _formula(a: Any, b: Any, numbers: elementwise.Numbers) -> Any:
    from edgegen.export.c.arithmetic import multiply_double

    product = (a - numbers["a_zero_point"]) * (b - numbers["b_zero_point"])
    return multiply_double(product, numbers["out_multiplier"], numbers["out_shift"]) + numbers["out_zero_point"]


def _parameters8(numbers: elementwise.Numbers, isa: Isa) -> Any:
    """Of ``eg_mul_s8``: the output as products have it, which DSP cores round in one step."""
    import numpy as np

    from edgegen.export.c.packing import output_parameters

    return {
        "a_zero_point": numbers["a_zero_point"],
        "b_zero_point": numbers["b_zero_point"],
        **output_parameters(
            np.zeros(1, np.int32),
            255 * 255,
            [numbers["out_multiplier"] * 2.0 ** (numbers["out_shift"] - 31)],
            numbers["out_zero_point"],
            (numbers["low"], numbers["high"]),
            "tflm-double",
            isa,
        ),
    }


_QUANTIZED = elementwise.Quantized(kernel="eg_mul", numbers=_numbers, formula=_formula, parameters8=_parameters8)
