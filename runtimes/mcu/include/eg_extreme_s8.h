/* The larger or the smaller of two int8 numbers; all three tensors have one scale and zero point.
 *
 * out may be a or b where that is not broadcast. */
#ifndef EG_EXTREME_S8_H
#define EG_EXTREME_S8_H

#include "eg_loops.h"
#include "eg_requantize.h"

struct eg_extreme_s8_params {
    struct eg_loops loops;
    int32_t smaller;   /* 0: the larger, 1: the smaller */
    int32_t low, high; /* clamp, within int8 */
};

EG_KERNEL void eg_extreme_s8(const struct eg_extreme_s8_params *p, const int8_t *a, const int8_t *b, int8_t *out) {
    EG_LOOPS (p->loops, ia, ib, o) {
        const int32_t x = a[ia];
        const int32_t y = b[ib];
        out[o] = (int8_t)eg_clamp((x < y) == (p->smaller != 0) ? x : y, p->low, p->high);
    }
}

#endif
