/* a - b of int8 tensors of any scales, as TFLite Micro computes it: both are raised by `left` bits and brought to twice
 * the larger scale, subtracted, and the difference is brought to the output's scale (EG_TFLM_DOUBLE).
 *
 * Multipliers and shifts as in eg_requantize.h, shifts <= 0. `fast`: they lie in the ranges that eg_add_s8.h names, where a
 * core with DSP rounds in one step. out may be a or b where that is not broadcast. */
#ifndef EG_SUB_S8_H
#define EG_SUB_S8_H

#include "eg_add_s8.h"

struct eg_sub_s8_params {
    struct eg_loops loops;
    int32_t left; /* 20: 2^31 is not reached */
    int32_t fast;
    int32_t a_zero_point, a_multiplier, a_shift;
    int32_t b_zero_point, b_multiplier, b_shift;
    int32_t out_zero_point, out_multiplier, out_shift;
    int32_t low, high; /* clamp, within int8 */
};

EG_INLINE int8_t eg_sub_one(const struct eg_sub_s8_params *p, int32_t a, int32_t b) {
#if defined(EG_ISA_DSP)
    if (p->fast) {
        const int32_t right = -p->out_shift;
        const int32_t apart = eg_add_scaled(a, p->a_multiplier, p->a_shift) - eg_add_scaled(b, p->b_multiplier, p->b_shift);
        const int32_t ties = p->low < p->out_zero_point ? apart >> 31 : 0;
        const int32_t offset = (1 << (right - 1)) + p->out_zero_point * (1 << right);
        return (int8_t)eg_clamp(eg_smmlar(apart * 2, p->out_multiplier, offset + ties) >> right, p->low, p->high);
    }
#endif
    const int32_t x = a * ((int32_t)1 << p->left);
    const int32_t y = b * ((int32_t)1 << p->left);
    const int32_t difference = eg_multiply_double(x, p->a_multiplier, (int)p->a_shift) -
                               eg_multiply_double(y, p->b_multiplier, (int)p->b_shift);
    return (int8_t)eg_requantize(difference, p->out_multiplier, (int)p->out_shift, EG_TFLM_DOUBLE, p->out_zero_point, p->low,
                                 p->high);
}

EG_KERNEL void eg_sub_s8(const struct eg_sub_s8_params *p, const int8_t *a, const int8_t *b, int8_t *out) {
    EG_LOOPS (p->loops, ia, ib, o) {
        out[o] = eg_sub_one(p, a[ia] - p->a_zero_point, b[ib] - p->b_zero_point);
    }
}

#endif
