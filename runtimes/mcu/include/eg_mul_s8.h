/* a * b of int8 tensors: the product of the numbers less their zero points, brought to the output's scale.
 *
 * `output`: see eg_output.h, one factor, no bias; EG_TFLM_DOUBLE. out may be a or b where that is not broadcast. */
#ifndef EG_MUL_S8_H
#define EG_MUL_S8_H

#include "eg_loops.h"
#include "eg_output.h"

struct eg_mul_s8_params {
    struct eg_loops loops;
    int32_t a_zero_point, b_zero_point;
    struct eg_output output;
};

EG_KERNEL void eg_mul_s8(const struct eg_mul_s8_params *p, const int8_t *a, const int8_t *b, int8_t *out) {
    EG_LOOPS (p->loops, ia, ib, o) {
        out[o] = eg_finish(&p->output, (a[ia] - p->a_zero_point) * (b[ib] - p->b_zero_point), 0);
    }
}

#endif
