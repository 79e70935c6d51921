"""avg_pool: the mean over the window's taps inside the input, ties away from zero, as TFLite's reference.

Input and output have one scale, so that no factor is rounded. Under the rule ``onnx-qdq`` they may differ: the exact
sum is divided and scaled in float32, ties to even (``qdq.mean_of``), and with ``include_pad`` taps outside count as
zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from edgegen.export.c import checks, qdq
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The means of one image."""
    import numpy as np

    (image,) = values
    assert image is not None
    in_float = graph.rounding == "onnx-qdq"
    (scale, in_zero), (made_scale, out_zero) = _scales(node, graph) if in_float else ((1.0, 0), (1.0, 0))
    wide = image[0].astype(np.int64) - in_zero
    (filter_h, filter_w), (stride_h, stride_w) = node.attributes["filter"], node.attributes["stride"]
    top, left, *_ = node.attributes["padding"]
    _, out_h, out_w, channels = checks.made(node, graph).shape
    made = np.zeros((1, out_h, out_w, channels), np.int64)
    for i in range(out_h):
        for j in range(out_w):
            y, x = i * stride_h - top, j * stride_w - left
            window = wide[max(y, 0) : y + filter_h, max(x, 0) : x + filter_w]
            total, count = window.sum(axis=(0, 1)), window.shape[0] * window.shape[1]
            if in_float:
                count = filter_h * filter_w if node.attributes.get("include_pad") else count
                clamp = node.attributes["clamp"]
                made[0, i, j] = qdq.mean_of(total, count, (scale, made_scale), out_zero, clamp)
                continue
            made[0, i, j] = np.where(total > 0, 1, -1) * ((np.abs(total) + count // 2) // count)
    return [np.clip(made, *node.attributes["clamp"]).astype(np.int8)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """Window by window.

    Raises:
        BuildError: input and output are not both int8, or have not one scale where the rule wants that.
    """
    read, made = checks.expect(checks.read(node, graph, 0), node, "int8"), checks.made(node, graph)
    in_float = graph.rounding == "onnx-qdq"
    more: dict[str, int | float] = {}
    if in_float:
        (scale, in_zero), (made_scale, out_zero) = _scales(node, graph)
        taps = prod(node.attributes["filter"]) if node.attributes.get("include_pad") else 0
        ratio = float(qdq.ratio(scale, made_scale))
        more = {"in_zero_point": in_zero, "out_zero_point": out_zero, "scale": ratio, "divisor": taps}
    else:
        checks.same_numbers(read, made, node)
    _, in_h, in_w, channels = read.shape
    _, out_h, out_w, _ = made.shape
    (filter_h, filter_w), (stride_h, stride_w) = node.attributes["filter"], node.attributes["stride"]
    top, left, *_ = node.attributes["padding"]
    low, high = node.attributes["clamp"]
    return Lowered(
        kernel="eg_avg_pool_qdq_s8" if in_float else "eg_avg_pool_s8",
        parameters={
            "in_h": in_h,
            "in_w": in_w,
            "channels": channels,
            "out_h": out_h,
            "out_w": out_w,
            "filter_h": filter_h,
            "filter_w": filter_w,
            "stride_h": stride_h,
            "stride_w": stride_w,
            "top": top,
            "left": left,
            **more,
            "low": low,
            "high": high,
        },
        macs=made.elements * filter_h * filter_w,
    )


def _scales(node: Node, graph: Graph) -> tuple[tuple[float, int], tuple[float, int]]:
    """Scale and zero point of the input and of the output."""
    return checks.scale_of(checks.read(node, graph, 0), node), checks.scale_of(checks.made(node, graph), node)
