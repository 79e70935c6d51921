"""Layers with int16 activations and int8 weights: sums of 64 bits and a multiplier of 15, TFLite Micro's rule.

Source: TFLite's MultiplyByQuantizedMultiplier of int64 (kernels/internal/common.cc). Zero points are 0; the bias is
int32 (files have int64 whose values fit). Every rounding rule of a graph has this one for int16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgegen.core.errors import BuildError
from edgegen.export.c.arithmetic import factors, quantize_multiplier
from edgegen.export.c.checks import constant, expect, made, read, scale_of
from edgegen.export.c.elementwise import clamp_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant

_WIDEST = 2**47  # of a sum that TFLite's arithmetic takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wide:
    """A layer's constants."""

    weights: np.ndarray[Any, Any]  # int8, as the node has them
    bias: np.ndarray[Any, Any]  # int32 (channels,)
    multiplier: np.ndarray[Any, Any]  # int32, one or one a channel
    right: np.ndarray[Any, Any]  # int32, as many
    clamp: tuple[int, int]

    def finish(self, sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """int64 sums (..., channels) without bias as stored int16."""
        total = (sums + self.bias) * self.multiplier.astype(np.int64)
        rounded = (total + (np.int64(1) << (self.right.astype(np.int64) - 1))) >> self.right
        return np.asarray(np.clip(rounded, *self.clamp).astype(np.int16))

    def parameters(self, weights: np.ndarray[Any, Any]) -> dict[str, int | float | str | Constant]:
        """``weights`` and the member ``output`` of the kernels' parameters."""
        return {
            "weights": Constant(suffix="weights", array=np.ascontiguousarray(weights).reshape(-1)),
            "output.bias": Constant(suffix="bias", array=self.bias),
            "output.multiplier": Constant(suffix="multipliers", array=self.multiplier),
            "output.right": Constant(suffix="shifts", array=self.right),
            "output.step": int(self.multiplier.size > 1),
            "output.low": self.clamp[0],
            "output.high": self.clamp[1],
        }


def wide_of(node: Node, graph: Graph, *, channel_axis: int) -> Wide:
    """The node's constants, checked.

    Args:
        node: inputs are activation, weights and, where there is one, bias.
        graph: the node's.
        channel_axis: the weights' axis of output channels.

    Raises:
        BuildError: a type, a scale or a zero point is none that the kernels do.
    """
    tensor, out = expect(read(node, graph, 0), node, "int16"), expect(made(node, graph), node, "int16")
    weights = constant(expect(read(node, graph, 1), node, "int8"), node)
    (source, zero), (target, out_zero) = scale_of(tensor, node), scale_of(out, node)
    channels, scales = weights.shape[channel_axis], weights.scales
    if zero or out_zero or scales is None or any(scales.zero_point) or len(scales.scale) not in (1, channels):
        raise BuildError(
            f"this {node.kind} is not quantized as its kernel needs it",
            where=node.name,
            expected=f"zero points of 0, and weights with one scale or {channels}",
        )
    bias = np.zeros(channels, np.int32)
    if len(node.inputs) > 2 and node.inputs[2]:
        given = constant(expect(read(node, graph, 2), node, "int32"), node)
        bias = np.asarray(given.data, np.int32).reshape(-1)
    assert weights.data is not None
    reach = 32768 * np.abs(np.moveaxis(weights.data, channel_axis, 0).reshape(channels, -1).astype(np.int64)).sum(
        axis=1
    )
    whole = node.kind == "dense_int16"
    pairs = [
        quantize_multiplier(factor) for factor in factors(source, scales.scale, target, "tflm-double", whole=whole)
    ]
    if (
        bias.size != channels
        or (reach + np.abs(bias.astype(np.int64)) >= _WIDEST).any()
        or max(s for _, s in pairs) > 7
    ):
        raise BuildError(
            f"the numbers of this {node.kind} leave the kernel's range",
            where=node.name,
            got=f"{bias.size} biases for {channels} outputs",
            expected="a bias an output, sums below 2^47, an output scale that is not far below the sums'",
        )
    limits = clamp_of(node, out.dtype)
    return Wide(
        weights=weights.data,
        bias=bias,
        multiplier=np.array([min((m + (1 << 15)) >> 16, 32767) for m, _ in pairs], np.int32),
        right=np.array([15 - shift for _, shift in pairs], np.int32),
        clamp=(limits["low"], limits["high"]),
    )
