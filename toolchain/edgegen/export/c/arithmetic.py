"""Integer arithmetic of the kernels, by numpy: multipliers, the three rounding rules, clamps (``eg_requantize.h``).

Rules (``Rounding``):

- ``tflm-double``: gemmlowp's SaturatingRoundingDoublingHighMul, then RoundingDivideByPOT with ties away from zero
  (TensorFlow Lite for Microcontrollers).
- ``litert-ref``: the same, but dense layers round once, half up (LiteRT's reference kernels).
- ``onnx-qdq``: the accumulator times a float32 scale, clamped, ties to even (ONNX QuantizeLinear).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgegen.export.c.graph import Rounding

Integers = np.ndarray[Any, np.dtype[Any]]

RULES: dict[str, str] = {
    "tflm-double": "EG_TFLM_DOUBLE",
    "litert-ref": "EG_LITERT_REF",
    "onnx-qdq": "EG_ONNX_QDQ",
}
"""Name in the artifact -> constant in ``eg_core.h``."""

RANGES: dict[str, tuple[int, int]] = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "int32": (-(2**31), 2**31 - 1),
}
"""Least and greatest stored value by type."""

_INT32 = RANGES["int32"]
_ACTIVATIONS: dict[str, tuple[float | None, float | None]] = {
    "none": (None, None),
    "relu": (0.0, None),
    "relu6": (0.0, 6.0),
    "relu_n1_to_1": (-1.0, 1.0),
}


def rule_of(rounding: Rounding, kind: str) -> Rounding:
    """The rule that a node of a kind follows under a graph's rounding: litert-ref rounds only dense layers once."""
    return "tflm-double" if rounding == "litert-ref" and kind not in ("dense", "matmul") else rounding


def quantize_multiplier(real: float) -> tuple[int, int]:
    """A factor as (multiplier, shift): real ~ multiplier x 2^(shift - 31), multiplier 0 or in [2^30, 2^31).

    TFLite's QuantizeMultiplier (tensorflow/lite/kernels/internal/quantization_util.cc), with C's round half away.
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2**31 + 0.5)  # exact: the fraction has 53 bits and is positive
    if multiplier == 2**31:
        multiplier, shift = multiplier // 2, shift + 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        return 2**31 - 1, 30
    return multiplier, shift


def factors(read: float, weights: Sequence[float], made: float, rule: Rounding, *, whole: bool = False) -> list[float]:
    """Scale of a product's accumulator over scale of its output, one a scale of the weights.

    Args:
        read: scale of the input.
        weights: scales of the weights.
        made: scale of the output.
        rule: under ``onnx-qdq`` everything is float32 (onnxruntime); else double, as in TFLite.
        whole: a dense layer with one scale of weights: TFLite takes the product in float32 first
            (GetQuantizedConvolutionMultipler), the quotient in double.
    """
    if rule == "onnx-qdq":
        return [float(np.float32(read) * np.float32(scale) / np.float32(made)) for scale in weights]
    if whole and len(weights) == 1:
        return [float(np.float32(read) * np.float32(weights[0])) / made]
    return [read * scale / made for scale in weights]


def float_bits(scale: float) -> int:
    """The int32 with the bits of the float32 nearest to a number: how a table of integers carries a scale."""
    return int(np.float32(scale).view(np.int32))


def multiply_double(values: Integers, multiplier: Integers | int, shift: Integers | int) -> Integers:
    """Two roundings; int64 in and out. What a left shift moves out of int32 saturates (TFLite leaves it undefined)."""
    values, shift = np.asarray(values, np.int64), np.asarray(shift, np.int64)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    high = (np.clip(values << left, *_INT32) * np.asarray(multiplier, np.int64) + (1 << 30)) >> 31
    mask = (np.int64(1) << right) - 1
    threshold = (mask >> 1) + (high < 0)
    return np.asarray(np.clip((high >> right) + ((high & mask) > threshold), *_INT32))


def multiply_once(values: Integers, multiplier: Integers | int, shift: Integers | int) -> Integers:
    """One rounding, half up; int64 in and out, saturated to int32."""
    right = 31 - np.asarray(shift, np.int64)
    product = np.asarray(values, np.int64) * np.asarray(multiplier, np.int64)
    return np.asarray(np.clip((product + (np.int64(1) << (right - 1))) >> right, *_INT32))


def requantize(
    accumulators: Integers, factors: Sequence[float], zero_point: int, clamp: tuple[int, int], rule: Rounding
) -> Integers:
    """Accumulators (..., channels) as stored integers.

    Args:
        accumulators: int64 or int32.
        factors: scale of the accumulator over scale of the output; one, or one a channel of the last axis.
        zero_point: of the output.
        clamp: least and greatest stored value.
        rule: ``rule_of`` the graph's rounding and the node's kind.

    Returns:
        int64 within the clamp.
    """
    if rule == "onnx-qdq":
        scaled = np.asarray(accumulators).astype(np.float32) * np.asarray(factors, np.float32)
        limited = np.clip(scaled, np.float32(clamp[0] - zero_point), np.float32(clamp[1] - zero_point))
        return np.asarray(np.rint(limited).astype(np.int64) + zero_point)
    pairs = [quantize_multiplier(factor) for factor in factors]
    multiplier = np.array([pair[0] for pair in pairs], np.int64)
    shift = np.array([pair[1] for pair in pairs], np.int64)
    multiply = multiply_double if rule == "tflm-double" else multiply_once
    return np.asarray(np.clip(multiply(accumulators, multiplier, shift) + zero_point, *clamp))


def quantized(value: float, scale: float, zero_point: int) -> int:
    """A real number as TFLite stores it: round half away from zero, plus the zero point; not clamped."""
    steps = float(np.float32(value) / np.float32(scale))
    return zero_point + int(math.floor(abs(steps) + 0.5) * (1 if steps >= 0 else -1))


def activation_clamp(activation: str, scale: float, zero_point: int, dtype: str) -> tuple[int, int]:
    """Least and greatest stored value under a fused activation (TFLite's CalculateActivationRangeQuantized).

    Args:
        activation: ``none``, ``relu``, ``relu6`` or ``relu_n1_to_1``.
        scale: of the output.
        zero_point: of the output.
        dtype: of the output, a key of ``RANGES``.

    Raises:
        KeyError: there is no such activation or type.
    """
    low, high = RANGES[dtype]
    least, most = _ACTIVATIONS[activation]
    if least is not None:
        low = max(low, quantized(least, scale, zero_point))
    if most is not None:
        high = min(high, quantized(most, scale, zero_point))
    return low, high
