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

/* Sum of products of int16 and int8: 32 bits hold 256 of them, 64 bits the rest. */
EG_INLINE int64_t eg_dot_wide(const int16_t *x, const int8_t *w, int32_t count) {
    int64_t sum = 0;
#if defined(EG_ISA_MVE)
    for (int32_t k = 0; k < count; k += 8) {
        const mve_pred16_t there = vctp16q((uint32_t)(count - k));
        sum = vmlaldavaq_s16(sum, vldrhq_z_s16(x + k, there), vldrbq_z_s16(w + k, there));
    }
#else
    for (int32_t from = 0; from < count; from += 256) {
        const int32_t to = count - from > 256 ? from + 256 : count;
        int32_t part = 0;
        int32_t k = from;
#if defined(EG_ISA_DSP)
        for (; k + 4 <= to; k += 4) {
            uint32_t four;
            uint32_t first;
            uint32_t second;
            uint32_t even;
            uint32_t odd;
            memcpy(&four, w + k, sizeof four);
            memcpy(&first, x + k, sizeof first);
            memcpy(&second, x + k + 2, sizeof second);
            __asm("sxtb16 %0, %1" : "=r"(even) : "r"(four));
            __asm("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(four));
            uint32_t x_even;
            uint32_t x_odd;
            __asm("pkhbt %0, %1, %2, lsl #16" : "=r"(x_even) : "r"(first), "r"(second));
            __asm("pkhtb %0, %1, %2, asr #16" : "=r"(x_odd) : "r"(second), "r"(first));
            __asm("smlad %0, %1, %2, %0" : "+r"(part) : "r"(x_even), "r"(even));
            __asm("smlad %0, %1, %2, %0" : "+r"(part) : "r"(x_odd), "r"(odd));
        }
#endif
        for (; k < to; k++) {
            part += x[k] * w[k];
        }
        sum += part;
    }
#endif
    return sum;
}

#endif
