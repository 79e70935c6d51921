/* a - b of int16 tensors of any scales, as TFLite Micro computes it: both are raised by `left` bits and brought to twice
 * the larger scale, subtracted, and the difference is brought to the output's scale (EG_TFLM_DOUBLE).
 *
 * Multipliers and shifts as in eg_requantize.h, shifts <= 0. out may be a or b where that is not broadcast. */
#ifndef EG_SUB_S16_H
#define EG_SUB_S16_H

#include "eg_loops.h"
#include "eg_requantize.h"

struct eg_sub_s16_params {
    struct eg_loops loops;
    int32_t left; /* 20 for int8, 15 for int16: 2^31 is not reached */
    int32_t a_zero_point, a_multiplier, a_shift;
    int32_t b_zero_point, b_multiplier, b_shift;
    int32_t out_zero_point, out_multiplier, out_shift;
    int32_t low, high; /* clamp, within int16 */
};

EG_KERNEL void eg_sub_s16(const struct eg_sub_s16_params *p, const int16_t *a, const int16_t *b, int16_t *out) {
    EG_LOOPS (p->loops, ia, ib, o) {
        const int32_t x = (a[ia] - p->a_zero_point) * ((int32_t)1 << p->left);
        const int32_t y = (b[ib] - p->b_zero_point) * ((int32_t)1 << p->left);
        const int32_t difference = eg_multiply_double(x, p->a_multiplier, (int)p->a_shift) -
                                   eg_multiply_double(y, p->b_multiplier, (int)p->b_shift);
        out[o] = (int16_t)eg_requantize(difference, p->out_multiplier, (int)p->out_shift, EG_TFLM_DOUBLE, p->out_zero_point,
                                   p->low, p->high);
    }
}

#endif
