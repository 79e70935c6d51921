/* From an int32 accumulator to a stored integer, one function a rounding rule.
 *
 * Ranges: multiplier 0 or in [2^30, 2^31); shift in [-31, 30] (positive: to the left), as TFLite's QuantizeMultiplier
 * gives them. 64-bit arithmetic inside: no accumulator overflows. A right shift of a negative number is arithmetic
 * (gcc, clang, armclang). */
#ifndef EG_REQUANTIZE_H
#define EG_REQUANTIZE_H

#include "eg_core.h"

EG_INLINE int32_t eg_clamp(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

/* EG_TFLM_DOUBLE: gemmlowp's SaturatingRoundingDoublingHighMul, then RoundingDivideByPOT (ties away from zero). What a
 * left shift moves out of int32 saturates, and so does the result. */
EG_INLINE int32_t eg_multiply_double(int32_t value, int32_t multiplier, int shift) {
    const int left = shift > 0 ? shift : 0;
    const int right = shift > 0 ? 0 : -shift;
    int64_t high = (int64_t)value * ((int64_t)1 << left);
    high = high > INT32_MAX ? INT32_MAX : high < INT32_MIN ? INT32_MIN : high;
    high = (high * (int64_t)multiplier + ((int64_t)1 << 30)) >> 31;
    if (right > 0) {
        high = (high + ((int64_t)1 << (right - 1)) - (high < 0 ? 1 : 0)) >> right;
    }
    return (int32_t)(high > INT32_MAX ? INT32_MAX : high < INT32_MIN ? INT32_MIN : high);
}

/* EG_LITERT_REF: round half up of value * multiplier / 2^(31 - shift). The result saturates to int32. */
EG_INLINE int32_t eg_multiply_once(int32_t value, int32_t multiplier, int shift) {
    const int right = 31 - shift;
    const int64_t high = ((int64_t)value * (int64_t)multiplier + ((int64_t)1 << (right - 1))) >> right;
    return (int32_t)(high > INT32_MAX ? INT32_MAX : high < INT32_MIN ? INT32_MIN : high);
}

/* The nearest integer, ties to even, of a float32 in (-2^22, 2^22): adding 1.5 * 2^23 leaves no bits for a fraction.
 * Needs the default rounding mode and no -ffast-math. */
EG_INLINE int32_t eg_round_even(float value) {
    const float magic = 12582912.0f;
    const float moved = value + magic;
    return (int32_t)(moved - magic);
}

/* EG_ONNX_QDQ: value * scale in float32, clamped, ties to even, + zero point (ONNX QuantizeLinear). */
EG_INLINE int32_t eg_scale_float(int32_t value, float scale, int32_t zero_point, int32_t low, int32_t high) {
    const float least = (float)(low - zero_point);
    const float most = (float)(high - zero_point);
    float scaled = (float)value * scale;
    scaled = scaled < least ? least : scaled > most ? most : scaled;
    return eg_round_even(scaled) + zero_point;
}

/* A float32 by the bits in which a table of int32 carries it. */
EG_INLINE float eg_float_of(int32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* By the rule. ``multiplier`` carries the bits of the float32 scale under EG_ONNX_QDQ. */
EG_KERNEL int32_t eg_requantize(int32_t value, int32_t multiplier, int shift, int rounding, int32_t zero_point,
                                int32_t low, int32_t high) {
    if (rounding == EG_ONNX_QDQ) {
        return eg_scale_float(value, eg_float_of(multiplier), zero_point, low, high);
    }
    const int32_t scaled = rounding == EG_TFLM_DOUBLE ? eg_multiply_double(value, multiplier, shift)
                                                      : eg_multiply_once(value, multiplier, shift);
    /* Wide, as a saturated value and a zero point may not fit. */
    const int64_t moved = (int64_t)scaled + zero_point;
    return (int32_t)(moved < low ? low : moved > high ? high : moved);
}

#endif
