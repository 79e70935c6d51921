"""Fixed-point functions of gemmlowp, by numpy on raw int64 arrays: TFLite Micro's softmax, sigmoid and tanh.

A number with ``i`` integer bits is its raw int32 times 2^(i - 31). Source: gemmlowp, ``fixedpoint/fixedpoint.h``, and
TFLite's ``kernels/internal/common.h`` (GetReciprocal, GetInvSqrtQuantizedMultiplierExp).
"""

from __future__ import annotations

from typing import Any

import numpy as np

Raw = np.ndarray[Any, np.dtype[np.int64]]

_LEAST, _MOST = -(2**31), 2**31 - 1
_ONE = _MOST  # with 0 integer bits 1 is not to be had


def high_mul(a: Raw | int, b: Raw | int) -> Raw:
    """The high half of the doubled product, rounded half up (SaturatingRoundingDoublingHighMul)."""
    a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
    return np.asarray(np.minimum((a * b + (1 << 30)) >> 31, _MOST))


def divide_by_power(a: Raw | int, bits: Raw | int) -> Raw:
    """a / 2^bits, rounded to the nearest, ties away from zero (RoundingDivideByPOT)."""
    a, bits = np.asarray(a, np.int64), np.asarray(bits, np.int64)
    mask = (np.int64(1) << bits) - 1
    return np.asarray((a >> bits) + ((a & mask) > (mask >> 1) + (a < 0)))


def _left(a: Raw, bits: int) -> Raw:
    return np.asarray(np.clip(a << bits, _LEAST, _MOST))


def exp_of_negative(a: Raw, integer_bits: int) -> Raw:
    """e^a of a <= 0 with ``integer_bits`` integer bits (at most 5); 0 integer bits out."""
    fraction = 31 - integer_bits
    quarter = 1 << (fraction - 2)
    within = (a & (quarter - 1)) - quarter
    x = _left(within, integer_bits) + (1 << 28)
    squared = high_mul(x, x)
    fourth = divide_by_power(high_mul(squared, squared), 2)
    series = divide_by_power(high_mul(fourth + high_mul(squared, x), 715827883) + squared, 1)
    result = 1895147668 + high_mul(x + series, 1895147668)
    rest = within - a
    # e^-2^k for k of -2 to 4
    for power, factor in enumerate((1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242), start=-2):
        if integer_bits > power:
            result = np.where(rest & (1 << (fraction + power)), high_mul(result, factor), result)
    return np.where(a == 0, _ONE, result)


def _half_reciprocal(a: Raw) -> Raw:
    """2 / (1 + a) of a in [0, 1] with 0 integer bits, by three steps of Newton's method; 2 integer bits out."""
    half = (a + _ONE + 1) // 2
    x = 1515870810 + high_mul(half, -1010580540)
    for _ in range(3):
        x = x + _left(high_mul(x, (1 << 29) - high_mul(half, x)), 2)
    return x


def one_over_one_plus(a: Raw) -> Raw:
    """1 / (1 + a) of a in [0, 1]; 0 integer bits in and out."""
    return _left(_half_reciprocal(a), 1)


def logistic(a: Raw, integer_bits: int) -> Raw:
    """1 / (1 + e^-a); 0 integer bits out."""
    positive = one_over_one_plus(exp_of_negative(-np.abs(a), integer_bits))
    return np.where(a == 0, 1 << 30, np.where(a > 0, positive, _ONE - positive))


def tanh(a: Raw, integer_bits: int) -> Raw:
    """tanh a; 0 integer bits out."""
    exponential = exp_of_negative(-np.abs(a), integer_bits + 1)  # of twice a: the same raw number
    size = _left(_half_reciprocal(exponential) - (1 << 29), 2)
    return np.where(a == 0, 0, np.where(a < 0, -size, size))


def reciprocal(a: int, integer_bits: int) -> tuple[int, int]:
    """1 / a of a > 0 as (mantissa with 0 integer bits, exponent): mantissa x 2^-31 x 2^-exponent."""
    headroom = 32 - a.bit_length()
    return int(one_over_one_plus(np.asarray((a << headroom) - (1 << 31), np.int64))), integer_bits - headroom


def inverse_square_root(a: int) -> tuple[int, int]:
    """1 / sqrt(a) of an integer a >= 0 as (multiplier, shift) of ``arithmetic.multiply_double``; of 0 and 1 it is 1."""
    if a <= 1:
        return _MOST, 0
    right = 11
    while a >= 1 << 29:
        a //= 4
        right += 1
    pairs = (32 - a.bit_length() - 1) // 2 - 1
    right -= pairs
    number = np.asarray((a << 2 * pairs) >> 1, np.int64)
    half = divide_by_power(number, 1)
    x = np.asarray(1 << 28, np.int64)
    for _ in range(5):
        cubed = _left(high_mul(high_mul(x, x), x), 6)
        x = _left(high_mul((1 << 28) + (1 << 27), x) - high_mul(half, cubed), 3)
    x = high_mul(x, 1518500250)
    if right < 0:
        return int(x) << -right, 0
    return int(x), -right


def inverse_root(a: int) -> tuple[int, int]:
    """1 / sqrt(a) of a positive integer as (mantissa, right): mantissa x 2^-right, as ``eg_inverse_root`` has it."""
    half_bits = 0
    while a >= 1 << 29:
        a, half_bits = a >> 2, half_bits + 1
    while a < 1 << 27:
        a, half_bits = a << 2, half_bits - 1
    x, half = np.asarray(1 << 28, np.int64), divide_by_power(a, 1)
    for _ in range(5):
        cubed = _left(high_mul(high_mul(x, x), x), 6)
        x = _left(high_mul((1 << 28) + (1 << 27), x) - high_mul(half, cubed), 3)
    return int(x), 42 + half_bits
