/* a * b of int8 tensors: the product of the numbers less their zero points, brought to the output's scale
 * (EG_TFLM_DOUBLE).
 *
 * Multiplier and shift as in eg_requantize.h. out may be a or b where that is not broadcast. */
#ifndef EG_MUL_S8_H
#define EG_MUL_S8_H

#include "eg_loops.h"
#include "eg_requantize.h"

struct eg_mul_s8_params {
    struct eg_loops loops;
    int32_t a_zero_point, b_zero_point;
    int32_t out_zero_point, out_multiplier, out_shift;
    int32_t low, high; /* clamp, within int8 */
};

EG_KERNEL void eg_mul_s8(const struct eg_mul_s8_params *p, const int8_t *a, const int8_t *b, int8_t *out) {
    EG_LOOPS (p->loops, ia, ib, o) {
        const int32_t product = (a[ia] - p->a_zero_point) * (b[ib] - p->b_zero_point);
        out[o] = (int8_t)eg_requantize(product, p->out_multiplier, (int)p->out_shift, EG_TFLM_DOUBLE, p->out_zero_point,
                                   p->low, p->high);
    }
}

#endif
