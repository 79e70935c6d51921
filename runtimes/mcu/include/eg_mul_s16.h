/* a * b of int16 tensors: the product of the numbers less their zero points, brought to the output's scale
 * (EG_TFLM_DOUBLE).
 *
 * Multiplier and shift as in eg_requantize.h. out may be a or b where that is not broadcast. */
#ifndef EG_MUL_S16_H
#define EG_MUL_S16_H

#include "eg_loops.h"
#include "eg_requantize.h"

struct eg_mul_s16_params {
    struct eg_loops loops;
    int32_t a_zero_point, b_zero_point;
    int32_t out_zero_point, out_multiplier, out_shift;
    int32_t low, high; /* clamp, within int16 */
};

EG_KERNEL void eg_mul_s16(const struct eg_mul_s16_params *p, const int16_t *a, const int16_t *b, int16_t *out) {
    EG_LOOPS (p->loops, ia, ib, o) {
        const int32_t product = (a[ia] - p->a_zero_point) * (b[ib] - p->b_zero_point);
        out[o] = (int16_t)eg_requantize(product, p->out_multiplier, (int)p->out_shift, EG_TFLM_DOUBLE, p->out_zero_point,
                                   p->low, p->high);
    }
}

#endif
