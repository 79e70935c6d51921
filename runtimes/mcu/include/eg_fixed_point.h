/* Fixed-point functions of gemmlowp, to the bit: what TFLite Micro's softmax and div are made of.
 *
 * A number with i integer bits is its raw int32 times 2^(i - 31). */
#ifndef EG_FIXED_POINT_H
#define EG_FIXED_POINT_H

#include "eg_requantize.h"

/* The high half of the doubled product, rounded half up (SaturatingRoundingDoublingHighMul; a and b not both -2^31). */
EG_INLINE int32_t eg_high_mul(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

/* a / 2^bits, ties away from zero (RoundingDivideByPOT); bits in [0, 31]. */
EG_INLINE int32_t eg_divide_by_power(int32_t a, int bits) {
    const int32_t mask = (int32_t)(((uint32_t)1 << bits) - 1u);
    return (a >> bits) + ((a & mask) > (mask >> 1) + (a < 0));
}

/* a * 2^bits, saturated. */
EG_INLINE int32_t eg_left(int32_t a, int bits) {
    const int64_t wide = (int64_t)a * ((int64_t)1 << bits);
    return (int32_t)(wide > INT32_MAX ? INT32_MAX : wide < INT32_MIN ? INT32_MIN : wide);
}

/* 1 / (1 + a) of a in [0, 1], 0 integer bits in and out: three steps of Newton's method. */
EG_KERNEL int32_t eg_one_over_one_plus(int32_t a) {
    const int32_t half = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
    int32_t x = 1515870810 + eg_high_mul(half, -1010580540);
    for (int step = 0; step < 3; step++) {
        x += eg_left(eg_high_mul(x, ((int32_t)1 << 29) - eg_high_mul(half, x)), 2);
    }
    return eg_left(x, 1);
}

/* 1 / a of a > 0 that has `integer_bits`: a mantissa with 0 integer bits, times 2^-exponent (TFLite's GetReciprocal). */
EG_INLINE int32_t eg_reciprocal(uint32_t a, int32_t integer_bits, int32_t *exponent) {
    const int32_t headroom = __builtin_clz(a);
    *exponent = integer_bits - headroom;
    return eg_one_over_one_plus((int32_t)((a << headroom) - 0x80000000u));
}

#endif
