/* A number with 16 bits of fraction, times a gain, plus an offset, as a stored integer: the last step of every norm.
 *
 *   out = clamp(round(number * gain + offset) + zero_point)
 *
 * gain: int32 times 2^-gain_bits, in steps of the output, |gain| <= 2^30; offset: int32 times 2^-14, in steps of the output.
 * The product is rounded half up to 16 bits of fraction, then the sum is rounded half up. */
#ifndef EG_AFFINE_H
#define EG_AFFINE_H

#include "eg_core.h"

EG_INLINE int32_t eg_affine(int32_t number, int32_t gain, int gain_bits, int32_t offset, int32_t zero_point, int32_t low,
                            int32_t high) {
    const int64_t product = ((int64_t)number * gain + ((int64_t)1 << (gain_bits - 1))) >> gain_bits;
    const int64_t rounded = ((product + (int64_t)offset * 4 + (1 << 15)) >> 16) + zero_point;
    return (int32_t)(rounded < low ? low : rounded > high ? high : rounded);
}

#endif
