"""depthwise_conv2d: any stride, dilation, padding and channel multiplier. Weights (height, width, outputs)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered
from edgegen.export.c.packing import Parameters, folded_bias, output_parameters, reach
from edgegen.export.c.products import padded_sums, patch_parameters, product_of

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The convolution of one image, channel by channel."""
    import numpy as np

    product, attributes = product_of(node, graph, channel_axis=2), node.attributes
    assert values[0] is not None
    image = values[0][0].astype(np.int64) - product.read_zero_point
    _, out_h, out_w, _ = product.made.shape
    sums = padded_sums(
        np.repeat(image, attributes["multiplier"], axis=-1),
        product.weights,
        attributes["stride"],
        attributes["dilation"],
        attributes["padding"],
        (out_h, out_w),
        depthwise=True,
    )
    return [product.finish(sums)[None]]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """Tap by tap, several channels at a time.

    Raises:
        BuildError: types, scales or channels that the kernel does not do.
    """
    import numpy as np

    product, attributes = product_of(node, graph, channel_axis=2), node.attributes
    kernel_h, kernel_w, outputs = product.weights.shape
    (_, _, width, channels), (down, across) = product.read.shape, attributes["dilation"]
    span = (kernel_w - 1) * across + 1
    if channels * attributes["multiplier"] != outputs:
        raise BuildError(
            "the channel multiplier of a depthwise convolution does not fit its channels",
            where=node.name,
            got=f"{channels} channels, multiplier {attributes['multiplier']}, {outputs} outputs",
            expected="outputs = channels x multiplier",
        )
    rows = product.weights.reshape(-1, outputs).T
    bias = folded_bias(product.bias, rows, product.read_zero_point, node.name)

    def finish(order: list[int] | None = None) -> Parameters:
        bound = int(reach(bias, rows).max())
        return output_parameters(
            bias, bound, product.factors, product.made_zero_point, product.clamp, product.rule, isa, order
        )

    output, weights = finish(), _Weights(block=outputs, narrow=_blocks(rows, outputs))
    if isa == "dsp" and attributes["multiplier"] == 1:
        weights = _Weights(block=4, wide=_blocks(rows, 4).reshape(-1, 4)[:, [0, 2, 1, 3]].astype(np.int16))
    # Two products fit 16 bits together, and the vectors' way of rounding holds: see eg_depthwise_s8_mve.h.
    elif isa == "mve" and attributes["multiplier"] == 1 and output["output.fast"] and rows.min() > -128:
        output = finish(_interleaved(outputs))
        weights = _Weights(block=16, narrow=_blocks(rows, 16), interleaved=True)
    return Lowered(
        kernel="eg_depthwise_conv2d_s8",
        parameters={
            **patch_parameters(product, (kernel_h, kernel_w), attributes, 1),
            **output,
            **weights.parameters(),
            "out_c": outputs,
            "multiplier": attributes["multiplier"],
        },
        scratch_bytes=((kernel_h - 1) * (span if width < span else down * width) + span) * channels,
        macs=product.made.elements * kernel_h * kernel_w,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weights:
    """One of the layouts of ``eg_depthwise_conv2d_s8.h``."""

    block: int
    narrow: Array | None = None
    wide: Array | None = None
    interleaved: bool = False

    def parameters(self) -> Parameters:
        def constant(array: Array | None) -> int | Constant:
            return 0 if array is None else Constant(suffix="weights", array=array.ravel())

        return {
            "weights": constant(self.narrow),
            "wide": constant(self.wide),
            "block": self.block,
            "interleaved": int(self.interleaved),
        }


def _blocks(rows: Array, block: int) -> Array:
    """Rows (channels, taps) as (channels / block, taps, block), the last block filled up with 0."""
    import numpy as np

    channels, taps = rows.shape
    filled = np.zeros((-(-channels // block) * block, taps), np.int8)
    filled[:channels] = rows
    return np.ascontiguousarray(filled.reshape(-1, block, taps).transpose(0, 2, 1))


def _interleaved(channels: int) -> list[int]:
    """Channels (0 4 8 12 1 5 9 13 ...) of every sixteen: how the vectors' accumulators hold them; -1 past the last."""
    order = []
    for block in range(0, channels, 16):
        for place in range(16):
            channel = block + place % 4 * 4 + place // 4
            order.append(channel if channel < channels else -1)
    return order
