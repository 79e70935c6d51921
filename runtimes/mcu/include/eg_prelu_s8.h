/* a where it is at least 0, else a times a slope: TFLite Micro's Prelu (EG_TFLM_DOUBLE).
 *
 * a: input, b: slope, broadcast to it. Multipliers and shifts as in eg_requantize.h. out may be a. */
#ifndef EG_PRELU_S8_H
#define EG_PRELU_S8_H

#include "eg_loops.h"
#include "eg_requantize.h"

struct eg_prelu_s8_params {
    struct eg_loops loops;
    int32_t in_zero_point, slope_zero_point, out_zero_point;
    int32_t above_multiplier, above_shift; /* for a >= 0 */
    int32_t below_multiplier, below_shift; /* for the product of a < 0 and the slope */
    int32_t low, high;                     /* clamp, within int8 */
};

EG_KERNEL void eg_prelu_s8(const struct eg_prelu_s8_params *p, const int8_t *a, const int8_t *b, int8_t *out) {
    EG_LOOPS (p->loops, ia, ib, o) {
        const int32_t value = a[ia] - p->in_zero_point;
        const int32_t product = value >= 0 ? value : value * (b[ib] - p->slope_zero_point);
        const int32_t multiplier = value >= 0 ? p->above_multiplier : p->below_multiplier;
        const int32_t shift = value >= 0 ? p->above_shift : p->below_shift;
        out[o] = (int8_t)eg_requantize(product, multiplier, (int)shift, EG_TFLM_DOUBLE, p->out_zero_point, p->low, p->high);
    }
}

#endif
