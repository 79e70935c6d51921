/* The larger or the smaller of two int16 numbers; all three tensors have one scale and zero point.
 *
 * out may be a or b where that is not broadcast. */
#ifndef EG_EXTREME_S16_H
#define EG_EXTREME_S16_H

#include "eg_loops.h"
#include "eg_requantize.h"

struct eg_extreme_s16_params {
    struct eg_loops loops;
    int32_t smaller;   /* 0: the larger, 1: the smaller */
    int32_t low, high; /* clamp, within int16 */
};

EG_KERNEL void eg_extreme_s16(const struct eg_extreme_s16_params *p, const int16_t *a, const int16_t *b, int16_t *out) {
    EG_LOOPS (p->loops, ia, ib, o) {
        const int32_t x = a[ia];
        const int32_t y = b[ib];
        out[o] = (int16_t)eg_clamp((x < y) == (p->smaller != 0) ? x : y, p->low, p->high);
    }
}

#endif
