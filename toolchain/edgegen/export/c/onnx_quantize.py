"""QuantizeLinear and DequantizeLinear: where real numbers get a scale, and where constants are integers.

uint8 becomes int8 exactly: stored numbers and zero points less 128.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError
from edgegen.export.c.arithmetic import RANGES
from edgegen.export.c.graph import Scales
from edgegen.export.c.onnx_operator import OnnxOperator, scales_of
from edgegen.export.c.onnx_values import Held, Known, OfOne, Pending, Value

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_SHIFTED = 128  # from uint8 to int8
_NARROW = {"int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3)}
_ALL = RANGES | _NARROW
_FEWEST_AXES_OF_TABLES = 13  # opset that brought scales by axis


def quantize(op: OnnxOperator) -> Value:
    """QuantizeLinear."""
    value, (scale, zero_point, dtype, axis) = op.value(0), _told(op, "")
    if isinstance(value, Known):
        stored = _rounded(op, value.array, scale, zero_point, dtype, axis)
        return Known(array=stored)
    if dtype not in ("int8", "uint8"):
        raise op.refused(f"activations of {dtype}", "int8 or uint8", "quantize activations to 8 bits")
    if scale.size != 1:
        raise op.refused("activations with a scale a channel", "one scale")
    scales = _scales(op, scale, zero_point, dtype, axis)
    if isinstance(value, Held) and not value.real:
        raise op.refused("integers", "real numbers")
    if isinstance(value, Held) and op.builder.tensors[value.name].dtype not in ("float32", "int8"):
        raise op.refused(f"{op.builder.tensors[value.name].dtype}", "float32")
    made = op.stored(value, scales)
    return Held(name=made.name, axes=made.axes, real=False, shifted=dtype == "uint8")


def dequantize(op: OnnxOperator) -> Value:
    """DequantizeLinear."""
    value = op.value(0)
    if op.attribute("block_size", 0):
        raise op.refused("scales by block", "one scale, or one a channel")
    if isinstance(value, Known):
        return dequantized_constant(op, value.array)
    if isinstance(value, OfOne | Pending) or value.real:
        raise op.refused("real numbers", "integers")
    tensor = op.builder.tensors[value.name]
    unsigned = value.shifted or tensor.dtype == "uint8"
    scale, zero_point, dtype, axis = _told(op, "uint8" if unsigned else "int8")
    if scale.size != 1 or tensor.dtype not in ("int8", "uint8"):
        raise op.refused(f"{tensor.dtype} with {scale.size} scales", "int8 or uint8 with one scale")
    scales = _scales(op, scale, zero_point, dtype, axis)
    if tensor.scales == scales and tensor.dtype == "int8":
        return Held(name=value.name, axes=value.axes)
    # The same bytes with another meaning: an input of integers, or a file that reads them otherwise than it wrote them.
    named = (
        Scales(scale=scales.scale, zero_point=(int(zero_point.reshape(-1)[0]),)) if tensor.dtype == "uint8" else scales
    )
    again = op.builder.tensor(op.outputs[0], tensor.shape, tensor.dtype, named)
    op.builder.node("reshape", [value.name], [again])
    if tensor.dtype == "uint8":
        shifted = op.builder.tensor(op.outputs[0], tensor.shape, "int8", scales)
        op.builder.node("requantize", [again], [shifted])
        again = shifted
    return Held(name=again, axes=value.axes)


def dequantized_constant(op: OnnxOperator, stored: Array) -> Known:
    """A constant of integers as real numbers, with the integers that it is made of."""
    import numpy as np

    name = _name(stored)
    if name not in _ALL:
        raise op.refused(f"a constant of {name}", f"one of {', '.join(_ALL)}")
    scale, zero_point, _, axis = _told(op, name)
    axis = _axis(op, axis, stored.ndim, scale)
    whole = stored.astype(np.int64)
    along = [1] * stored.ndim
    if scale.size > 1:
        along[axis] = -1
    zeros = zero_point.astype(np.int64).reshape(along) if zero_point.size > 1 else zero_point.reshape(-1)[0].astype(int)
    factors = scale.reshape(along) if scale.size > 1 else scale.reshape(-1)[0]
    real = (whole - zeros).astype(np.float32) * factors
    less = _SHIFTED if name == "uint8" else 0
    scales = scales_of(scale, zero_point.astype(np.int64) - less, axis)
    if scales is None:
        raise op.refused("a scale that is not above zero, or other numbers of scales and zero points", "usable scales")
    kept = (whole - less).astype(np.int32 if name in ("int32", "int16") else np.int8)
    return Known(array=real.astype(np.float32), stored=kept, scales=scales)


def _told(op: OnnxOperator, read: str) -> tuple[Array, Array, str, int]:
    """Scale in float32, zero point, type of the integers, axis.

    Args:
        read: the type that comes in; empty for QuantizeLinear, whose zero point says.
    """
    import numpy as np

    scale = np.asarray(op.known(1), np.float32)
    named = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16"}.get(int(op.attribute("output_dtype", 0)), "uint8")
    zero_point = op.known(2) if op.given(2) else np.zeros((), read or named)
    dtype = read or _name(zero_point)
    if dtype not in _ALL:
        raise op.refused(f"integers of {dtype}", f"one of {', '.join(_ALL)}")
    return scale, zero_point, dtype, int(op.attribute("axis", 1))


def _axis(op: OnnxOperator, axis: int, rank: int, scale: Array) -> int:
    if scale.size == 1:
        return 0
    if not -rank <= axis < rank or op.opset < _FEWEST_AXES_OF_TABLES:
        raise op.refused(f"scales along axis {axis} of {rank}", "an axis that is there")
    return axis % rank


def _scales(op: OnnxOperator, scale: Array, zero_point: Array, dtype: str, axis: int) -> Scales:
    import numpy as np

    less = _SHIFTED if dtype == "uint8" else 0
    scales = scales_of(scale, zero_point.astype(np.int64) - less, axis)
    if scales is None or any(not -128 <= item <= 127 for item in scales.zero_point):
        raise UsageError(
            "a tensor has no usable quantization",
            where=op.where,
            got=f"{scale.size} scales, {zero_point.size} zero points",
            expected="scales above zero, and zero points of the type",
        )
    return scales


def _rounded(op: OnnxOperator, real: Array, scale: Array, zero_point: Array, dtype: str, axis: int) -> Array:
    """A constant as it is stored, in the file's own type."""
    import numpy as np

    axis = _axis(op, axis, real.ndim, scale)
    along = [1] * real.ndim
    if scale.size > 1:
        along[axis] = -1
    factors = scale.reshape(along) if scale.size > 1 else scale.reshape(-1)[0]
    zeros = zero_point.astype(np.int64).reshape(along if zero_point.size > 1 else ())
    low, high = _ALL[dtype]
    with np.errstate(all="ignore"):
        steps = np.nan_to_num(np.rint(real.astype(np.float32) / factors).astype(np.float64))
    made = np.clip(steps + zeros, low, high)
    return made.astype(zero_point.dtype if _name(zero_point) == dtype else dtype)


def _name(array: Array) -> str:
    return str(array.dtype)
