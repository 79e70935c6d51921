/* Running sums of float32 along the middle axis, in order. in, out: (outer, size, inner), may be the same memory. */
#ifndef EG_CUMSUM_F32_H
#define EG_CUMSUM_F32_H

#include "eg_core.h"

struct eg_cumsum_f32_params {
    int32_t outer, size, inner; /* >= 1 */
    int32_t exclusive;          /* 1: without the number itself */
    int32_t reverse;            /* 1: from the end */
};

EG_KERNEL void eg_cumsum_f32(const struct eg_cumsum_f32_params *p, const float *in, float *out) {
    for (int32_t o = 0; o < p->outer; o++) {
        for (int32_t i = 0; i < p->inner; i++) {
            float sum = 0.0f;
            for (int32_t k = 0; k < p->size; k++) {
                const int32_t at = (o * p->size + (p->reverse ? p->size - 1 - k : k)) * p->inner + i;
                const float next = sum + in[at];
                out[at] = p->exclusive ? sum : next;
                sum = next;
            }
        }
    }
}

#endif
