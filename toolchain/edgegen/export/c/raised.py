"""Two tensors brought to one scale before they are subtracted: TFLite's way with sub and squared_difference."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgegen.export.c.arithmetic import multiply_double, quantize_multiplier
from edgegen.export.c.checks import made, read, scale_of
from edgegen.export.c.elementwise import Numbers, clamp_of
from edgegen.export.c.graph import Graph, Node


def common_scale(node: Node, graph: Graph) -> Numbers:
    """Parameters of ``eg_sub_s8`` and ``eg_sub_s16``; scales are divided in float32, as TFLite Micro does."""
    single = np.float32
    (a, a_zero), (b, b_zero) = (scale_of(read(node, graph, place), node) for place in (0, 1))
    scale, zero_point = scale_of(made(node, graph), node)
    left = 15 if made(node, graph).dtype == "int16" else 20
    twice = single(2) * single(max(a, b))
    return _told(
        node,
        graph,
        left,
        (a_zero, float(single(a) / twice)),
        (b_zero, float(single(b) / twice)),
        (zero_point, float(twice / (single(1 << left) * single(scale)))),
    )


def squared_scale(node: Node, graph: Graph) -> Numbers:
    """Parameters of ``eg_squared_difference_s8`` and ``_s16``; scales are divided in double, as TFLite Micro does."""
    (a, a_zero), (b, b_zero) = (scale_of(read(node, graph, place), node) for place in (0, 1))
    scale, zero_point = scale_of(made(node, graph), node)
    left = 0 if made(node, graph).dtype == "int16" else 7
    twice = 2.0 * max(a, b)
    out = twice * twice / float(np.float32(1 << 2 * left) * np.float32(scale))
    return _told(node, graph, left, (a_zero, a / twice), (b_zero, b / twice), (zero_point, out))


def sum_scale(node: Node, graph: Graph) -> Numbers:
    """Parameters of ``eg_add_s16``; scales are divided in double, as TFLite Micro does for add."""
    (a, a_zero), (b, b_zero) = (scale_of(read(node, graph, place), node) for place in (0, 1))
    scale, zero_point = scale_of(made(node, graph), node)
    twice = 2.0 * max(a, b)
    out = twice / (float(1 << 15) * scale)
    return _told(node, graph, 15, (a_zero, a / twice), (b_zero, b / twice), (zero_point, out))


def difference(a: Any, b: Any, numbers: Numbers) -> Any:
    """a - b on the common scale, from stored numbers."""
    left, right = _both(a, b, numbers)
    return left - right


def total(a: Any, b: Any, numbers: Numbers) -> Any:
    """a + b on the common scale, from stored numbers."""
    left, right = _both(a, b, numbers)
    return left + right


def _both(a: Any, b: Any, numbers: Numbers) -> tuple[Any, Any]:
    left, right = (
        multiply_double(
            (x - numbers[f"{side}_zero_point"]) << numbers["left"],
            numbers[f"{side}_multiplier"],
            numbers[f"{side}_shift"],
        )
        for side, x in (("a", a), ("b", b))
    )
    return left, right


def _told(
    node: Node, graph: Graph, left: int, a: tuple[int, float], b: tuple[int, float], out: tuple[int, float]
) -> Numbers:
    """``a``, ``b`` and ``out``: zero point and factor."""
    numbers = {"left": left}
    for name, (zero_point, factor) in (("a", a), ("b", b), ("out", out)):
        multiplier, shift = quantize_multiplier(factor)
        numbers |= {f"{name}_zero_point": zero_point, f"{name}_multiplier": multiplier, f"{name}_shift": shift}
    return {**numbers, **clamp_of(node, made(node, graph).dtype)}
