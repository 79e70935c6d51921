"""avg_pool: the mean over the window's taps inside the input, ties away from zero, as TFLite's reference.

Under every rounding rule: input and output have one scale, so that no factor is rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c import checks
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The means of one image."""
    import numpy as np

    (image,) = values
    assert image is not None
    wide = image[0].astype(np.int64)
    (filter_h, filter_w), (stride_h, stride_w) = node.attributes["filter"], node.attributes["stride"]
    top, left, *_ = node.attributes["padding"]
    _, out_h, out_w, channels = checks.made(node, graph).shape
    made = np.zeros((1, out_h, out_w, channels), np.int64)
    for i in range(out_h):
        for j in range(out_w):
            y, x = i * stride_h - top, j * stride_w - left
            window = wide[max(y, 0) : y + filter_h, max(x, 0) : x + filter_w]
            total, count = window.sum(axis=(0, 1)), window.shape[0] * window.shape[1]
            made[0, i, j] = np.where(total > 0, 1, -1) * ((np.abs(total) + count // 2) // count)
    return [np.clip(made, *node.attributes["clamp"]).astype(np.int8)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """Window by window.

    Raises:
        BuildError: input and output are not both int8 of one scale.
    """
    read, made = checks.expect(checks.read(node, graph, 0), node, "int8"), checks.made(node, graph)
    checks.same_numbers(read, made, node)
    _, in_h, in_w, channels = read.shape
    _, out_h, out_w, _ = made.shape
    (filter_h, filter_w), (stride_h, stride_w) = node.attributes["filter"], node.attributes["stride"]
    top, left, *_ = node.attributes["padding"]
    low, high = node.attributes["clamp"]
    return Lowered(
        kernel="eg_avg_pool_s8",
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
            "low": low,
            "high": high,
        },
        macs=made.elements * filter_h * filter_w,
    )
