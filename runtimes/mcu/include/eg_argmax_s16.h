/* The place of the largest (or smallest) int16 number along the middle axis, the first of equals.
 *
 * in: (outer, size, inner); out: (outer, inner). */
#ifndef EG_ARGMAX_S16_H
#define EG_ARGMAX_S16_H

#include "eg_core.h"

struct eg_argmax_s16_params {
    int32_t outer, size, inner; /* >= 1 */
    int32_t smallest;           /* 0: largest, 1: smallest */
};

EG_KERNEL void eg_argmax_s16(const struct eg_argmax_s16_params *p, const int16_t *in, int32_t *out) {
    for (int32_t o = 0; o < p->outer; o++) {
        for (int32_t i = 0; i < p->inner; i++) {
            const int16_t *line = in + o * p->size * p->inner + i;
            int16_t best = line[0];
            int32_t place = 0;
            for (int32_t k = 1; k < p->size; k++) {
                const int16_t value = line[k * p->inner];
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
