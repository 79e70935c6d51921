/* From a 64-bit accumulator to a stored int16, as TFLite Micro does for layers with 16-bit activations.
 *
 *   out = clamp((sum * multiplier + 2^(right - 1)) >> right)          multiplier has 15 bits, zero points are 0
 *
 * |sum| < 2^47; right in [8, 46]. `step`: 1 where each channel has its own multiplier and shift, else 0. */
#ifndef EG_WIDE_H
#define EG_WIDE_H

#include "eg_core.h"

struct eg_wide {
    const int32_t *bias;       /* one a channel */
    const int32_t *multiplier; /* [0, 32767] */
    const int32_t *right;
    int32_t step;
    int32_t low, high; /* clamp, within int16 */
};

EG_INLINE int16_t eg_finish_wide(const struct eg_wide *o, int64_t sum, int32_t channel) {
    const int32_t right = o->right[channel * o->step];
    const int64_t made = (sum * o->multiplier[channel * o->step] + ((int64_t)1 << (right - 1))) >> right;
    return (int16_t)(made < o->low ? o->low : made > o->high ? o->high : made);
}

/* Sum of products of int16 and int8: 32 bits hold 256 of them. */
EG_INLINE int64_t eg_dot_wide(const int16_t *x, const int8_t *w, int32_t count) {
    int64_t sum = 0;
    for (int32_t from = 0; from < count; from += 256) {
        const int32_t to = count - from > 256 ? from + 256 : count;
        int32_t part = 0;
        for (int32_t k = from; k < to; k++) {
            part += x[k] * w[k];
        }
        sum += part;
    }
    return sum;
}

#endif
