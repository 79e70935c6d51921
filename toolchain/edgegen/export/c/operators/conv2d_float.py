"""conv2d_float: a convolution of int8 whose result stays float32, for what reads real numbers in a quantized ONNX file.

Nodes are those of ``conv2d``. The exact sum, the bias in it, times s_in s_w in float32: one rounding, where a float
runtime has one an addition. One path for every core, and a slow one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c import checks
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered
from edgegen.export.c.packing import folded_bias, reach
from edgegen.export.c.products import float_product, grouped_sums

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The convolution of one image."""
    import numpy as np

    product, attributes = float_product(node, graph), node.attributes
    assert values[0] is not None
    image = values[0][0].astype(np.int64) - product.zero_point
    _, out_h, out_w, _ = checks.made(node, graph).shape
    sums = grouped_sums(
        image,
        product.weights,
        attributes["groups"],
        attributes["stride"],
        attributes["dilation"],
        attributes["padding"],
        (out_h, out_w),
    )
    return [((sums + product.bias).astype(np.float32) * product.scales)[None]]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_conv2d_float_s8``.

    Raises:
        BuildError: types, scales or groups that the kernel does not do, or a sum that leaves 32 bits.
    """
    product, attributes = float_product(node, graph), node.attributes
    read, out = checks.read(node, graph, 0), checks.expect(checks.made(node, graph), node, "float32")
    outputs, kernel_h, kernel_w, deep = product.weights.shape
    rows = product.weights.reshape(outputs, -1)
    folded = folded_bias(product.bias, rows, product.zero_point, node.name)
    groups = attributes["groups"]
    if outputs % groups or deep * groups != read.shape[-1] or 2 * reach(folded, rows).max() >= 2**31:
        raise BuildError(
            "the groups of a convolution do not fit its channels, or its sums 32 bits",
            where=node.name,
            got=f"{groups} groups, {read.shape[-1]} channels ({deep} of weights), {outputs} outputs",
        )
    (stride_h, stride_w), (dilation_h, dilation_w) = attributes["stride"], attributes["dilation"]
    top, left, *_ = attributes["padding"]
    return Lowered(
        kernel="eg_conv2d_float_s8",
        parameters={
            "weights": Constant(suffix="weights", array=product.weights),
            "bias": Constant(suffix="bias", array=product.bias),
            "scale": Constant(suffix="scale", array=product.scales),
            "in_h": read.shape[1],
            "in_w": read.shape[2],
            "in_c": read.shape[3],
            "out_h": out.shape[1],
            "out_w": out.shape[2],
            "out_c": outputs,
            "kernel_h": kernel_h,
            "kernel_w": kernel_w,
            "stride_h": stride_h,
            "stride_w": stride_w,
            "dilation_h": dilation_h,
            "dilation_w": dilation_w,
            "top": top,
            "left": left,
            "groups": groups,
            "zero_point": product.zero_point,
        },
        macs=out.elements * kernel_h * kernel_w * deep,
    )
