/* 1 / sqrt(value) of a positive 62-bit integer, as mantissa * 2^-right with a mantissa in [2^27, 2^29].
 *
 * TFLite's five steps of Newton's method (GetInvSqrtQuantizedMultiplierExp) on the value's upper bits; relative error below
 * 10^-6. */
#ifndef EG_INVERSE_ROOT_H
#define EG_INVERSE_ROOT_H

#include "eg_fixed_point.h"

EG_KERNEL int32_t eg_inverse_root(int64_t value, int32_t *right) {
    int32_t half_bits = 0; /* value = number * 4^half_bits */
    while (value >= (int64_t)1 << 29) {
        value >>= 2;
        half_bits++;
    }
    while (value < (int64_t)1 << 27) {
        value *= 4;
        half_bits--;
    }
    const int32_t number = (int32_t)value; /* with 3 integer bits: [1/2, 2) times 2^28 */
    const int32_t half = eg_divide_by_power(number, 1);
    int32_t x = (int32_t)1 << 28;
    for (int step = 0; step < 5; step++) {
        const int32_t cubed = eg_left(eg_high_mul(eg_high_mul(x, x), x), 6);
        x = eg_left(eg_high_mul((1 << 28) + (1 << 27), x) - eg_high_mul(half, cubed), 3);
    }
    *right = 42 + half_bits; /* x has 28 bits of fraction, and sqrt(2^28) is 2^14 */
    return x;
}

#endif
