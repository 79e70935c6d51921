"""Functions of one number as tables: what an int8 (256 entries) or int16 (513 entries) activation is computed by.

Where TFLite Micro has the operator, its integer arithmetic is followed to the bit: relu, leaky_relu, sigmoid, tanh,
elu, hard_swish, abs, rsqrt. relu6 is TFLite Micro's where input and output have one scale, else a requantized one.
The rest is TFLite's rule for tables (``LUTPopulate``): the function of the float32 that the stored number stands for,
times the inverse scale in float32, rounded half away from zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgegen.export.c import fixed_point
from edgegen.export.c.arithmetic import RANGES, multiply_double, quantize_multiplier

Array = Any  # numpy's
Quantized = tuple[float, int]  # scale, zero point

_SQRT_HALF = math.sqrt(0.5)
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _gelu(x: Array, numbers: Mapping[str, Any]) -> Array:
    if numbers.get("approximate"):
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + _erf(x * _SQRT_HALF))


REAL: dict[str, Callable[[Array, Mapping[str, Any]], Array]] = {
    "relu": lambda x, _: np.maximum(x, 0),
    "relu6": lambda x, _: np.clip(x, 0, 6),
    "relu_n1_to_1": lambda x, _: np.clip(x, -1, 1),
    "relu_0_to_1": lambda x, _: np.clip(x, 0, 1),
    "leaky_relu": lambda x, numbers: np.where(x > 0, x, x * numbers["alpha"]),
    "sigmoid": lambda x, _: 1 / (1 + np.exp(-x)),
    "tanh": lambda x, _: np.tanh(x),
    "silu": lambda x, _: x / (1 + np.exp(-x)),
    "gelu": _gelu,
    "exp": lambda x, _: np.exp(x),
    "elu": lambda x, _: np.where(x < 0, np.expm1(x), x),
    "hard_swish": lambda x, _: x * np.clip(x + 3, 0, 6) / 6,
    "hard_sigmoid": lambda x, _: np.clip(x + 3, 0, 6) / 6,
    "softplus": lambda x, _: np.logaddexp(x, 0),
    "log": lambda x, _: np.log(np.maximum(x, np.finfo(np.float32).tiny)),
    "sqrt": lambda x, _: np.sqrt(np.maximum(x, 0)),
    "rsqrt": lambda x, _: 1 / np.sqrt(np.maximum(x, np.finfo(np.float32).tiny)),
    "square": lambda x, _: x * x,
    "abs": lambda x, _: np.abs(x),
    "neg": lambda x, _: -x,
    "sin": lambda x, _: np.sin(x),
    "cos": lambda x, _: np.cos(x),
    "identity": lambda x, _: x,
}
"""Name -> the function of real numbers, with the node's own numbers; made finite below the domains of log and roots."""


def half_away(x: Array) -> Array:
    """Rounded to the nearest integer, ties away from zero."""
    whole = np.trunc(x)
    return whole + np.where(np.abs(x - whole) >= 0.5, np.sign(x), 0).astype(whole.dtype)


def table8(function: str, numbers: Mapping[str, Any], source: Quantized, target: Quantized, dtype: str) -> Array:
    """The stored results of the stored numbers -128 to 127, in that order.

    Args:
        function: a key of ``REAL``.
        numbers: the function's own, by name: ``alpha`` of leaky_relu, ``approximate`` of gelu.
        source: scale and zero point of the input.
        target: scale and zero point of the output.
        dtype: the output's: int8 or uint8.

    Raises:
        KeyError: there is no such function, or a number of it is missing.
    """
    stored = np.arange(-128, 128, dtype=np.int64)
    exact = _EXACT.get(function)
    made = exact(stored - source[1], numbers, source[0], target) if exact is not None else None
    if made is None:
        made = _populated(function, numbers, stored, source, target)
    return np.clip(made, *RANGES[dtype]).astype(dtype)


def _populated(function: str, numbers: Mapping[str, Any], stored: Array, source: Quantized, target: Quantized) -> Array:
    real = np.float32(source[0]) * (stored - source[1]).astype(np.float32)
    with np.errstate(over="ignore"):
        result = REAL[function](real.astype(np.float64), numbers).astype(np.float32)
    inverse = np.float32(1) / np.float32(target[0])
    rounded = half_away(np.clip(result * inverse, -1e9, 1e9)).astype(np.int64)
    return rounded + target[1]


def _scaled(value: Array, factor: float) -> Array:
    """value x factor by a multiplier of 31 bits; a negative factor's multiplier is negative."""
    multiplier, shift = quantize_multiplier(abs(factor))
    return multiply_double(value, multiplier if factor >= 0 else -multiplier, shift)


def _relu(value: Array, _: Mapping[str, Any], scale: float, target: Quantized) -> Array:
    return np.maximum(_scaled(value, scale / target[0]) + target[1], target[1])


def _bounded(low: float, high: float) -> Callable[[Array, Mapping[str, Any], float, Quantized], Array]:
    def made(value: Array, _: Mapping[str, Any], scale: float, target: Quantized) -> Array:
        least, most = (target[1] + int(half_away(np.float32(end) / np.float32(target[0]))) for end in (low, high))
        return np.clip(_scaled(value, scale / target[0]) + target[1], least, most)

    return made


def _leaky_relu(value: Array, numbers: Mapping[str, Any], scale: float, target: Quantized) -> Array:
    """TFLite's QuantizeLeakyRelu."""
    alpha = float(np.float32(numbers["alpha"]))
    below, above = _scaled(value, scale * alpha / target[0]), _scaled(value, scale / target[0])
    return np.asarray(np.where(value >= 0, above, below)) + target[1]


def _rounded_q27(value: Array, scale: float) -> tuple[Array, Array]:
    """The input with 4 integer bits, and where it is too large for them (CalculateInputRadius)."""
    real = scale * (1 << 27)
    fraction, shift = math.frexp(real)
    multiplier = round(fraction * 2**31)
    radius = math.floor(15 * (1 << 27) / 2.0**shift)
    inside = np.clip(value, -radius + 1, radius - 1)
    return multiply_double(inside, multiplier, shift), np.where(np.abs(value) >= radius, np.sign(value), 0)


def _sigmoid(value: Array, _: Mapping[str, Any], scale: float, target: Quantized) -> Array | None:
    """TFLite's integer Logistic, whose output has the scale 1/256 and the zero point -128; None for another."""
    if target != (1 / 256, -128):
        return None
    raw, far = _rounded_q27(value, scale)
    made = fixed_point.divide_by_power(fixed_point.logistic(raw, 4), 23) - 128
    return np.where(far > 0, 127, np.where(far < 0, -128, made))


def _tanh(value: Array, _: Mapping[str, Any], scale: float, target: Quantized) -> Array | None:
    """TFLite's integer Tanh, whose output has the scale 1/128 and the zero point 0; None for another."""
    if target != (1 / 128, 0):
        return None
    raw, far = _rounded_q27(value, scale)
    made = fixed_point.divide_by_power(fixed_point.tanh(raw, 4), 24)
    return np.where(far > 0, 127, np.where(far < 0, -128, made))


def _abs(value: Array, _: Mapping[str, Any], scale: float, target: Quantized) -> Array:
    return _scaled(np.abs(value), scale / target[0]) + target[1]


def _identity(value: Array, _: Mapping[str, Any], scale: float, target: Quantized) -> Array:
    """TFLite's Requantize."""
    return _scaled(value, scale / target[0]) + target[1]


def _rsqrt(value: Array, _: Mapping[str, Any], scale: float, target: Quantized) -> Array:
    """TFLite Micro's RsqrtEvalQuantized; what is not above zero gives the largest number."""
    multiplier, shift = quantize_multiplier(1.0 / (math.sqrt(scale) * target[0]))
    made = np.full(value.shape, 2**31 - 1, np.int64)
    for place, number in enumerate(value.tolist()):
        if number > 0:
            inverse, power = fixed_point.inverse_square_root(number)
            once = multiply_double(np.asarray(1), inverse, power + 20)
            made[place] = int(multiply_double(once, multiplier, shift - 20)) + target[1]
    return made


def _hard_swish(value: Array, _: Mapping[str, Any], scale: float, target: Quantized) -> Array:
    """TFLite's HardSwish in 16-bit fixed point (reference/hard_swish.h)."""
    fine = np.float32(1 / 128) * np.float32(scale)
    out, out_power = quantize_multiplier(float(fine / np.float32(target[0])))
    unit, unit_power = quantize_multiplier(float(fine / (np.float32(3) / np.float32(32768))))
    raised = value << 7
    wide = _high_mul16(raised, _upper16(out))
    near = raised
    if unit_power > 0:
        near = np.clip(near << (unit_power - 1), -32768, 32767)
    near = _high_mul16(near, _upper16(unit))
    if unit_power > 0:
        near = np.clip(near << 1, -32768, 32767)
    elif unit_power < 0:
        near = fixed_point.divide_by_power(near, -unit_power)
    product = ((near + (1 << 15)) >> 1) * wide
    towards_zero = np.sign(product) * (np.abs(product) >> 15)
    if out_power > 0:  # TFLite Micro refuses it
        return np.clip(towards_zero << out_power, -32768, 32767) + target[1]
    return fixed_point.divide_by_power(towards_zero, -out_power) + target[1]


def _upper16(multiplier: int) -> int:
    """TFLite's DownScaleInt32ToInt16Multiplier."""
    return min((multiplier + (1 << 15)) >> 16, 32767)


def _high_mul16(a: Array, b: int) -> Array:
    """SaturatingRoundingDoublingHighMul of int16."""
    return np.minimum((a * b + (1 << 14)) >> 15, 32767)


_EXACT: dict[str, Callable[[Array, Mapping[str, Any], float, Quantized], Array | None]] = {
    "relu": _relu,
    "relu6": _bounded(0, 6),
    "relu_n1_to_1": _bounded(-1, 1),
    "relu_0_to_1": _bounded(0, 1),
    "leaky_relu": _leaky_relu,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "hard_swish": _hard_swish,
    "abs": _abs,
    "rsqrt": _rsqrt,
    "identity": _identity,
}
"""Function -> TFLite's integer arithmetic for it, from the number less its zero point."""
