"""Weights and biases of a quantized ONNX file as the kernels have them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgegen.export.c.arithmetic import RANGES
from edgegen.export.c.graph import Scales
from edgegen.export.c.onnx_operator import OnnxOperator
from edgegen.export.c.onnx_values import Known

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What a product multiplies with."""

    data: Array  # int8
    axis: int  # of output channels
    scales: Array  # float32, one or one a channel
    bias: Array | None  # real numbers in double, one a channel

    @property
    def channels(self) -> int:
        """Of the output."""
        return int(self.data.shape[self.axis])

    def changed(self, gain: Array, offset: Array) -> Weights | None:
        """Times a gain plus an offset by channel; None where a negative gain meets -128, or a gain is nothing."""
        import numpy as np

        factors = np.broadcast_to(np.asarray(gain, np.float64).reshape(-1), (self.channels,))
        added = np.broadcast_to(np.asarray(offset, np.float64).reshape(-1), (self.channels,))
        along = [1] * self.data.ndim
        along[self.axis] = -1
        turned = self.data.astype(np.int16) * np.where(factors < 0, -1, 1).reshape(along)
        scales = (self.scales * np.abs(factors)).astype(np.float32)
        if turned.max(initial=0) > RANGES["int8"][1] or not (np.isfinite(scales).all() and scales.min() > 0):
            return None
        bias = added if self.bias is None else self.bias * factors + added
        even = np.unique(scales).size == 1
        return replace(self, data=turned.astype(np.int8), scales=scales[:1] if even else scales, bias=bias)


def weights_of(op: OnnxOperator, number: int, axis: int) -> Weights:
    """Constant weights, zero points taken off; no bias yet.

    Raises:
        BuildError: they are not quantized, not by output channel, or their zero points leave 8 bits.
    """
    import numpy as np

    value = op.value(number)
    if not isinstance(value, Known):
        raise op.refused(f"weights that are computed at run time (input {number})", "a constant")
    if value.stored is None or value.scales is None or value.stored.dtype != "int8":
        raise op.refused("weights in float", "int8 weights behind a DequantizeLinear", "quantize the weights too")
    axis %= value.stored.ndim
    if len(value.scales.scale) > 1 and value.scales.axis != axis:
        raise op.refused(f"scales along axis {value.scales.axis} of the weights", f"along axis {axis}: output channels")
    along = [1] * value.stored.ndim
    along[axis] = -1
    zeros = np.array(value.scales.zero_point, np.int32)
    data = value.stored.astype(np.int32) - (zeros.reshape(along) if len(zeros) > 1 else zeros[0])
    if data.min(initial=0) < -128 or data.max(initial=0) > 127:
        raise op.refused("weights with a zero point", "zero points of 0", "quantize the weights symmetrically")
    return Weights(data=data.astype(np.int8), axis=axis, scales=np.array(value.scales.scale, np.float32), bias=None)


def bias_of(op: OnnxOperator, number: int, factor: float = 1.0) -> Array | None:
    """A constant bias as real numbers in double; None where it is left out."""
    import numpy as np

    if not op.given(number):
        return None
    value = op.value(number)
    if not isinstance(value, Known):
        raise op.refused(f"a bias that is computed at run time (input {number})", "a constant")
    if value.stored is not None and value.scales is not None:
        scales, zeros = (np.array(part, np.float64) for part in (value.scales.scale, value.scales.zero_point))
        return np.asarray((value.stored.reshape(-1) - zeros) * scales * factor)
    return np.asarray(value.array.astype(np.float64).reshape(-1) * factor)


def constants(op: OnnxOperator, read: Scales | None, weights: Weights) -> list[str]:
    """Adds weights and bias; the bias in steps of the product's scale."""
    import numpy as np

    assert read is not None
    scales = tuple(float(scale) for scale in weights.scales)
    zeros = (0,) * len(scales)
    named = Scales(scale=scales, zero_point=zeros, axis=weights.axis if len(scales) > 1 else 0)
    name = op.builder.tensor(f"{op.outputs[0]}_weights", weights.data.shape, "int8", named, weights.data)
    if weights.bias is None:
        return [name, ""]
    step = np.float32(read.one[0]) * weights.scales  # float32, as quantizers reckon the scale of a bias
    whole = np.rint(np.broadcast_to(weights.bias, (weights.channels,)) / step.astype(np.float64))
    low, high = RANGES["int32"]
    if not ((whole >= low) & (whole <= high)).all():
        raise op.refused("a bias that does not fit 32 bits of the product's scale", "a smaller bias or larger scales")
    kept = Scales(scale=tuple(float(item) for item in step), zero_point=zeros)
    return [name, op.builder.tensor(f"{op.outputs[0]}_bias", whole.shape, "int32", kept, whole.astype(np.int32))]
