"""div: the quotient, broadcast. int8 as TFLite Micro has it (reference/div.h), int16 by that formula: b's reciprocal in
fixed point, then two multiplications. b = 0, which TFLite leaves undefined, is taken for the smallest positive b. Under
the rule ``onnx-qdq`` in float32 (``qdq``), where 0 / 0 is the zero point and x / 0 the largest number of x's sign.
"""

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
    """The quotients."""
    return elementwise.computed(node, graph, values, _QUANTIZED)


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """A table where one side is a constant number, else ``eg_div_s8``.

    Raises:
        BuildError: types that no kernel has.
    """
    return elementwise.lowered(node, graph, ("int8", "int16", "float32"), _QUANTIZED)


def _numbers(node: Node, graph: Graph) -> elementwise.Numbers:
    import numpy as np

    from edgegen.export.c.arithmetic import quantize_multiplier

    out = made(node, graph)
    (a, a_zero), (b, b_zero) = (scale_of(read(node, graph, place), node) for place in (0, 1))
    scale, zero_point = scale_of(out, node)
    multiplier, shift = quantize_multiplier(float(np.float32(a) / (np.float32(b) * np.float32(scale))))
    return {
        "a_zero_point": a_zero,
        "b_zero_point": b_zero,
        "out_zero_point": zero_point,
        "out_multiplier": multiplier,
        "out_shift": shift,
        **elementwise.clamp_of(node, out.dtype),
    }


def _formula(a: Any, b: Any, numbers: elementwise.Numbers) -> Any:
    import numpy as np

    from edgegen.export.c.arithmetic import multiply_double
    from edgegen.export.c.fixed_point import reciprocal

    x, y = np.broadcast_arrays(a - numbers["a_zero_point"], b - numbers["b_zero_point"])
    x = np.where(y < 0, -x, x)
    y = np.maximum(np.abs(y), 1)
    inverses = {number: reciprocal(number, 31) for number in set(y.ravel().tolist())}
    inverse, exponent = (np.vectorize(lambda n, at=at: inverses[n][at], otypes=[np.int64])(y) for at in (0, 1))
    headroom = np.vectorize(lambda n: 31 - (~n if n < 0 else n).bit_length(), otypes=[np.int64])(x)
    quotient = multiply_double(x, inverse, headroom)
    shift = numbers["out_shift"] - exponent - headroom
    scaled = np.where(shift < -31, 0, multiply_double(quotient, numbers["out_multiplier"], np.maximum(shift, -31)))
    return np.clip(scaled, -65536, 65536) + numbers["out_zero_point"]


_QUANTIZED = elementwise.Quantized(kernel="eg_div", numbers=_numbers, formula=_formula)
