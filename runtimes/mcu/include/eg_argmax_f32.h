/* The place of the largest (or smallest) float32 number along the middle axis, the first of equals.
 *
 * in: (outer, size, inner); out: (outer, inner). */
#ifndef EG_ARGMAX_F32_H
#define EG_ARGMAX_F32_H

#include "eg_core.h"

struct eg_argmax_f32_params {
    int32_t outer, size, inner; /* >= 1 */
    int32_t smallest;           /* 0: largest, 1: smallest */
};

EG_KERNEL void eg_argmax_f32(const struct eg_argmax_f32_params *p, const float *in, int32_t *out) {
    for (int32_t o = 0; o < p->outer; o++) {
        for (int32_t i = 0; i < p->inner; i++) {
            const float *line = in + o * p->size * p->inner + i;
            float best = line[0];
            int32_t place = 0;
            for (int32_t k = 1; k < p->size; k++) {
                const float value = line[k * p->inner];
                if (p->smallest ? value < best : value > best) {
                    best = value;
                    place = k;
                }
            }
            *out++ = place;
        }
    }
}

#endif
