"""transpose_conv2d: any stride; ``padding`` is cut off the full result. Weights (outputs, height, width, channels)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered
from edgegen.export.c.packing import folded_bias, output_parameters, pack_rows, reach, scratch_bytes, tiling
from edgegen.export.c.products import product_of

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The transposed convolution of one image: every input pixel is spread over a kernel's place in the output."""
    import numpy as np

    product, attributes = product_of(node, graph, channel_axis=0), node.attributes
    assert values[0] is not None
    image = values[0][0].astype(np.float64) - product.read_zero_point
    (in_h, in_w, _), (outputs, kernel_h, kernel_w, _) = image.shape, product.weights.shape
    (stride_h, stride_w), (top, left, *_) = attributes["stride"], attributes["padding"]
    _, out_h, out_w, _ = product.made.shape
    # At least the output's size: what no kernel reaches stays 0.
    height = max((in_h - 1) * stride_h + kernel_h, out_h + top)
    width = max((in_w - 1) * stride_w + kernel_w, out_w + left)
    full = np.zeros((height, width, outputs), np.float64)
    for i in range(kernel_h):
        for j in range(kernel_w):
            spread = full[i : i + in_h * stride_h : stride_h, j : j + in_w * stride_w : stride_w][:in_h, :in_w]
            spread += image @ product.weights[:, i, j].T.astype(np.float64)
    return [product.finish(full[top : top + out_h, left : left + out_w].astype(np.int64))[None]]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """One ordinary convolution a phase of the output, none of them with a stuffed zero.

    Raises:
        BuildError: types or scales that the kernel does not do.
    """
    import numpy as np

    product, attributes = product_of(node, graph, channel_axis=0), node.attributes
    outputs, kernel_h, kernel_w, channels = product.weights.shape
    (stride_h, stride_w), (top, left, *_) = attributes["stride"], attributes["padding"]
    block, chunk = tiling(isa, columns=2)
    phases = list(_phases(product.weights, stride_h, stride_w))
    packed = [pack_rows(rows, block, chunk) for rows in phases]
    biases = [folded_bias(product.bias, rows, product.read_zero_point, node.name) for rows in phases]
    bound = max(int(reach(bias, rows).max()) for bias, rows in zip(biases, phases, strict=True))
    factors = list(product.factors) * (len(phases) if len(product.factors) > 1 else 1)
    _, in_h, in_w, _ = product.read.shape
    _, out_h, out_w, _ = product.made.shape
    return Lowered(
        kernel="eg_transpose_conv2d_s8",
        parameters={
            **output_parameters(
                np.concatenate(biases), bound, factors, product.made_zero_point, product.clamp, product.rule, isa
            ),
            "weights": Constant(suffix="weights", array=np.concatenate([part.weights for part in packed])),
            "block": block,
            "chunk": chunk,
            "in_h": in_h,
            "in_w": in_w,
            "in_c": channels,
            "out_h": out_h,
            "out_w": out_w,
            "out_c": outputs,
            "kernel_h": kernel_h,
            "kernel_w": kernel_w,
            "stride_h": stride_h,
            "stride_w": stride_w,
            "top": top,
            "left": left,
            "fill": product.read_zero_point,
        },
        scratch_bytes=max(scratch_bytes(part, columns=2) for part in packed),
        macs=in_h * in_w * kernel_h * kernel_w * channels * outputs,
    )


def _phases(weights: Array, stride_h: int, stride_w: int) -> Iterator[Array]:
    """Rows (outputs, depth) of each phase, as ``eg_transpose_conv2d_s8.h`` orders them: the last tap first."""
    for a in range(stride_h):
        for b in range(stride_w):
            yield weights[:, a::stride_h, b::stride_w][:, ::-1, ::-1].reshape(len(weights), -1)
