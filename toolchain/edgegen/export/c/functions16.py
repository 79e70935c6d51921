"""Functions of one int16 number: TFLite Micro's sigmoid and tanh, straight pieces, or a table with interpolation.

Which is taken:

- sigmoid and tanh whose output has the scale 1/32768: TFLite's table of sigmoid(i / 24), 256 entries of 16 bits
  (``reference/integer_ops/logistic.h`` and ``tanh.h``).
- relu, relu6, relu_n1_to_1, relu_0_to_1, leaky_relu, abs, neg, identity: one multiplier below zero, one above, and a
  clamp; relu is TFLite Micro's to the bit.
- the others: TFLite's table of 513 entries over the input's whole range (``LUTPopulateInt16``), the low 7 bits of a
  number interpolate (``LUTLookup``).

Zero points are 0, as TFLite has them for int16.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgegen.core.errors import BuildError
from edgegen.export.c.arithmetic import multiply_double, quantize_multiplier, quantized
from edgegen.export.c.functions import REAL, Array, Quantized, half_away
from edgegen.export.c.lowered import Constant, Lowered

_LEAST, _MOST = -32768, 32767
_ENDS = {
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "relu_n1_to_1": (-1.0, 1.0),
    "relu_0_to_1": (0.0, 1.0),
}

_SIGMOID_UP = (
    4,
    8,
    12,
    14,
    15,
    16,
    17,
    19,
    20,
    21,
    22,
    25,
    27,
    28,
    29,
    30,
    31,
    33,
    34,
    35,
    37,
    39,
    40,
    41,
    43,
    44,
    45,
    46,
    49,
    50,
    54,
    62,
    63,
    64,
    66,
    82,
    86,
    93,
    100,
    103,
    112,
    116,
    135,
    255,
)
"""Entries of TFLite's sigmoid_table_uint16 that are one more than the nearest to sigmoid(i / 24) x 65536."""


def applied(x: Array, function: str, numbers: Mapping[str, Any], source: Quantized, target: Quantized) -> Array:
    """The stored results of int16 numbers.

    Raises:
        BuildError: a zero point is not 0.
    """
    _plain(source, target)
    value = x.astype(np.int64)
    if _is_sigmoid(function, target):
        return _sigmoid(value, function, source[0])
    if (pieces := _pieces(function, numbers, source[0], target[0])) is not None:
        (below, above), (low, high), negate = pieces
        down = multiply_double(-value if negate else value, *below)
        return np.clip(np.where(value >= 0, multiply_double(value, *above), down), low, high).astype(np.int16)
    return interpolated(value, _table(function, numbers, source[0], target[0]))


def lowered(count: int, function: str, numbers: Mapping[str, Any], source: Quantized, target: Quantized) -> Lowered:
    """The call for ``count`` numbers.

    Raises:
        BuildError: a zero point is not 0.
    """
    _plain(source, target)
    if _is_sigmoid(function, target):
        multiplier, shift = _input_scale(function, source[0])
        return Lowered(
            kernel="eg_sigmoid_s16",
            parameters={
                "count": count,
                "multiplier": multiplier,
                "shift": shift,
                "tanh": int(function == "tanh"),
                "table": Constant(suffix="table", array=sigmoid_table()),
            },
            in_place=(0,),
        )
    if (pieces := _pieces(function, numbers, source[0], target[0])) is not None:
        (below, above), (low, high), negate = pieces
        return Lowered(
            kernel="eg_pieces_s16",
            parameters={
                "count": count,
                "below_multiplier": below[0],
                "below_shift": below[1],
                "above_multiplier": above[0],
                "above_shift": above[1],
                "negate": int(negate),
                "low": low,
                "high": high,
            },
            in_place=(0,),
        )
    table = Constant(suffix="table", array=_table(function, numbers, source[0], target[0]))
    return Lowered(kernel="eg_lut_s16", parameters={"count": count, "table": table}, in_place=(0,))


def interpolated(value: Array, table: Array) -> Array:
    """TFLite's LUTLookup: int64 numbers of 16 bits through a table of 513 entries."""
    index, offset = 256 + (value >> 7), value & 127
    base = table[index].astype(np.int64)
    slope = table[index + 1].astype(np.int64) - base
    return (base + ((slope * offset + 64) >> 7)).astype(np.int16)


def table16(transform: Any, input_ends: tuple[float, float], output_ends: tuple[float, float]) -> Array:
    """TFLite's table of 513 entries, in float32 (LUTPopulateInt16): the middle of each step is made to fit too.

    Args:
        transform: a function of float64 arrays; its result is rounded to float32.
        input_ends: the real numbers of -32768 and 32767 (for softmax's tables TFLite takes other ends).
        output_ends: the same of the output.
    """
    single = np.float32
    low, high = (single(end) for end in input_ends)
    step = single((high - low) / single(512))
    inverse = single(single(65536) / (single(output_ends[1]) - single(output_ends[0])))
    index = np.arange(513, dtype=np.float32)

    def at(x: Array) -> Array:
        return np.asarray(transform(x.astype(np.float64)), np.float32)

    value = at(low + index[:512] * step)
    middle = at(low + index[:512] * step + step / single(2))
    following = at(low + index[1:] * step)
    sample = half_away(value * inverse)
    between = half_away((following * inverse + half_away(value * inverse)) / single(2))
    bias = half_away((between - half_away(middle * inverse)) / single(2))
    last = half_away(at(np.asarray([high])) * inverse)
    return np.clip(np.concatenate([sample - bias, last]), _LEAST, _MOST).astype(np.int16)


def _table(function: str, numbers: Mapping[str, Any], source: float, target: float) -> Array:
    ends = [(float(np.float32(scale) * _LEAST), float(np.float32(scale) * _MOST)) for scale in (source, target)]
    with np.errstate(over="ignore"):
        return table16(lambda x: np.clip(REAL[function](x, numbers), -1e30, 1e30), ends[0], ends[1])


def _plain(source: Quantized, target: Quantized) -> None:
    if source[1] or target[1]:
        raise BuildError(
            "an int16 activation has a zero point",
            got=f"{source[1]} and {target[1]}",
            expected="0, as 16-bit activations have it",
        )


def _is_sigmoid(function: str, target: Quantized) -> bool:
    return function in ("sigmoid", "tanh") and target[0] == 1 / 32768


def sigmoid_table() -> Array:
    """TFLite's sigmoid_table_uint16: 256 entries."""
    table = np.floor(65536 / (1 + np.exp(-np.arange(256) / 24)) + 0.5).astype(np.uint16)
    table[list(_SIGMOID_UP)] += 1
    return table


def _input_scale(function: str, scale: float) -> tuple[int, int]:
    """(multiplier, shift) to a scale of 1/(3 x 4096); TFLite's LogisticPrepare and TanhPrepare."""
    power = math.log2(scale)
    shift = 12 + round(power)
    if abs(power - round(power)) < 1e-3 and (shift == 0 or (function == "tanh" and shift == 1)):
        return 3 << shift, 0
    multiplier, shift = scale * 4096 * 3, 0
    while multiplier <= 32767 / 2 and shift <= 30:
        shift, multiplier = shift + 1, multiplier * 2
    return int(min(multiplier, 32767)), shift


def _sigmoid(value: Array, function: str, scale: float) -> Array:
    multiplier, shift = _input_scale(function, scale)
    return squashed((value * multiplier + ((1 << shift) >> 1)) >> shift, function)


def squashed(moved: Array, function: str) -> Array:
    """sigmoid or tanh of int64 numbers in steps of 1/(3 x 4096), as int16 in steps of 1/32768."""
    size = np.abs(moved)
    bits = 8 if function == "tanh" else 9
    table = np.append(sigmoid_table(), 0).astype(np.int64)
    place = np.minimum(size >> bits, 255)
    between = (table[place] << bits) + (size & ((1 << bits) - 1)) * (table[place + 1] - table[place])
    if function == "tanh":
        result = np.where(place >= 255, 0xFFFF << 8, between)
        signed = np.where(moved >= 0, result - (1 << 23) + 128, -result + (1 << 23) + 127)
        return (signed >> 8).astype(np.int16)
    result = np.where(place >= 255, 0x7FFF << 10, between)
    signed = np.where(moved >= 0, result + (1 << 9), (1 << 25) - result + (1 << 9) - 1)
    return (signed >> 10).astype(np.int16)


def _pieces(
    function: str, numbers: Mapping[str, Any], source: float, target: float
) -> tuple[tuple[tuple[int, int], tuple[int, int]], tuple[int, int], bool] | None:
    """((multiplier and shift below zero, above), clamp, whether numbers below zero lose their sign first) or None."""
    factor = source / target
    above, low, high = quantize_multiplier(factor), _LEAST, _MOST
    if function in _ENDS:
        least, most = _ENDS[function]
        low = max(low, quantized(least, target, 0)) if math.isfinite(least) else low
        high = min(high, quantized(most, target, 0)) if math.isfinite(most) else high
        return (above, above), (low, high), False
    if function == "leaky_relu":
        below = quantize_multiplier(abs(factor * float(np.float32(numbers["alpha"]))))
        return (below, above), (low, high), numbers["alpha"] < 0
    if function == "abs":
        return (above, above), (low, high), True
    if function == "neg":
        return (above, (-above[0], above[1])), (low, high), True
    if function == "identity":
        return (above, above), (low, high), False
    return None
