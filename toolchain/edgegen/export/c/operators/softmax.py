"""softmax over the last axis: e^(beta x) over its sum, byte for byte as TFLite Micro computes it (reference/softmax.h).

int8 (output scale 1/256, zero point -128): e^x in fixed point comes from a table over the differences to a row's
largest, computed when the model is compiled. int16 (output scale 1/32768, zero point 0): two tables of 513 entries.
float32: the same bits on every core (``floats``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.checks import axis_of, expect, made, read, scale_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered

if TYPE_CHECKING:
    import numpy as np

_DEEPEST = {"int8": 4095, "int16": 65535, "float32": 2**31 - 1}
_OUTPUT = {"int8": (1 / 256, -128), "int16": (1 / 32768, 0)}


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The softmax of every row."""
    import numpy as np

    (value,) = values
    assert value is not None
    if value.dtype == "float32":
        from edgegen.export.c.floats import softmax

        beta = float(node.attributes.get("beta", 1.0))
        return [softmax(value.reshape(-1, value.shape[-1]), beta).reshape(value.shape)]
    rows = value.astype(np.int64).reshape(-1, value.shape[-1])
    made_of = _row8 if value.dtype == "int8" else _row16
    told = _table8(node, graph) if value.dtype == "int8" else (*_scale16(node, graph), *_tables16())
    return [np.stack([made_of(row, told) for row in rows]).reshape(value.shape).astype(value.dtype)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_softmax_s8``, ``_s16`` or ``_f32``.

    Raises:
        BuildError: another axis than the last, another output scale than TFLite's, a row that is too long.
    """
    tensor, out = expect(read(node, graph, 0), node, *_DEEPEST), made(node, graph)
    expect(out, node, tensor.dtype)
    depth = tensor.shape[-1]
    if axis_of(node, len(tensor.shape)) != len(tensor.shape) - 1 or depth > _DEEPEST[tensor.dtype]:
        raise BuildError(
            "the softmax kernel goes over the last axis",
            where=node.name,
            got=f"axis {node.attributes['axis']} of {list(tensor.shape)}",
            expected=f"the last, of at most {_DEEPEST[tensor.dtype]}",
        )
    if tensor.dtype == "float32":
        beta = float(node.attributes.get("beta", 1.0))
        sizes = {"rows": tensor.elements // depth, "depth": depth, "beta": beta}
        return Lowered(kernel="eg_softmax_f32", parameters=sizes, in_place=(0,))
    scale, zero_point = scale_of(out, node)
    wanted = _OUTPUT[tensor.dtype]
    if not math.isclose(scale, wanted[0], rel_tol=1e-3) or zero_point != wanted[1]:
        raise BuildError(
            "a softmax has another scale than its kernel gives",
            where=node.name,
            got=f"scale {scale:g}, zero point {zero_point}",
            expected=f"scale 1/{round(1 / wanted[0])}, zero point {wanted[1]}",
        )
    rows: dict[str, int | float | str | Constant] = {"rows": tensor.elements // depth, "depth": depth}
    if tensor.dtype == "int8":
        table = _table8(node, graph)
        rows |= {"reach": table.size, "exponentials": Constant(suffix="exponentials", array=table)}
        return Lowered(kernel="eg_softmax_s8", parameters=rows, in_place=(0,))
    multiplier, shift = _scale16(node, graph)
    exponential, reciprocal = _tables16()
    rows |= {
        "multiplier": multiplier,
        "shift": shift,
        "exponential": Constant(suffix="exponential", array=exponential),
        "reciprocal": Constant(suffix="reciprocal", array=reciprocal),
    }
    return Lowered(kernel="eg_softmax_s16", parameters=rows, in_place=(0,))


def _table8(node: Node, graph: Graph) -> Any:
    """e^(-d scale beta) with 0 integer bits, for the differences d that TFLite does not leave out."""
    import numpy as np

    from edgegen.export.c.arithmetic import quantize_multiplier
    from edgegen.export.c.fixed_point import exp_of_negative, high_mul

    scale, _ = scale_of(read(node, graph, 0), node)
    beta = float(np.float32(node.attributes.get("beta", 1.0)))
    factor = min(beta * scale * (1 << 26), 2.0**31 - 1)  # to 5 integer bits
    if factor <= 1:
        raise BuildError(
            "the scale of a softmax's input is too small for TFLite's arithmetic",
            where=node.name,
            got=f"{scale:g} with beta {beta:g}",
            expected="a product above 1.5e-8",
        )
    multiplier, shift = quantize_multiplier(factor)
    radius = math.floor(31 * 2.0**26 / 2.0**shift)
    difference = -np.arange(min(radius, 255) + 1, dtype=np.int64)
    return exp_of_negative(high_mul(difference << shift, multiplier), 5).astype(np.int32)


def _row8(row: Any, table: Any) -> Any:
    import numpy as np

    from edgegen.export.c.fixed_point import divide_by_power, high_mul, reciprocal

    below = row.max() - row
    near = below < table.size
    exponential = np.where(near, table[np.where(near, below, 0)].astype(np.int64), 0)
    scale, exponent = reciprocal(int(divide_by_power(exponential, 12).sum()), 12)
    share = divide_by_power(high_mul(scale, exponential), exponent + 23)
    return np.clip(np.where(near, share, 0) - 128, -128, 127)


def _scale16(node: Node, graph: Graph) -> tuple[int, int]:
    """(multiplier, shift) from the input's scale to steps of 10 / 65535."""
    import numpy as np

    from edgegen.export.c.arithmetic import quantize_multiplier

    scale, _ = scale_of(read(node, graph, 0), node)
    return quantize_multiplier(scale * float(np.float32(node.attributes.get("beta", 1.0))) / (10.0 / 65535.0))


def _tables16() -> tuple[Any, Any]:
    """TFLite's tables of e^x over -10 to 0 and of 1 / (1 + x) over 0 to 1."""
    import numpy as np

    from edgegen.export.c.functions16 import table16

    return table16(np.exp, (-10.0, 0.0), (-1.0, 1.0)), table16(lambda x: 1 / (1 + x), (0.0, 1.0), (-1.0, 1.0))


def _row16(row: Any, told: tuple[int, int, Any, Any]) -> Any:
    import numpy as np

    from edgegen.export.c.arithmetic import multiply_double
    from edgegen.export.c.functions16 import interpolated

    multiplier, shift, exponential, reciprocal = told
    scaled = np.clip(multiply_double(row - row.max(), multiplier, shift), -65535, 0)
    powers = interpolated(scaled + 32767, exponential).astype(np.int64)
    total = int(powers.sum())
    headroom = 32 - total.bit_length()
    mantissa = ((total << (headroom - 1)) + (1 << 13)) >> 14
    place = np.clip(np.asarray([mantissa - (1 << 15) - (1 << 16)]), -32768, 32767)
    right = 31 - headroom
    share = (powers * int(interpolated(place, reciprocal)[0]) + ((1 << right) >> 1)) >> right
    return np.clip(share, 0, 32767)
