#ifndef EG_COPY_H
#define EG_COPY_H
/* Moves blocks of bytes: slice, strided slice, transpose, concat, the inner part of pad, depth to space, resize by
 * whole numbers.
 *
 *   out[out_start + sum over d of i_d * out_step[d]] = in[in_start + sum over d of i_d * in_step[d]]
 *
 * for every i_d in [0, count[d]), `block` bytes at a time. Starts, steps and `block` are in bytes; an input's step may be
 * negative or 0. Every address lies within its tensor; none need be aligned. in and out do not overlap. */
#include "eg_core.h"

struct eg_copy_params {
    int32_t count[5]; /* >= 1 */
    int32_t in_step[5];
    int32_t out_step[5];
    int32_t in_start;
    int32_t out_start;
    int32_t block; /* >= 1 */
};

/* Copies a block; small ones without a call. */
EG_INLINE void eg_move(const char *from, char *to, int32_t block) {
    if (block == 1) {
        *to = *from;
    } else if (block == 2) {
        uint16_t half;
        memcpy(&half, from, sizeof half);
        memcpy(to, &half, sizeof half);
    } else if (block == 4) {
        uint32_t word;
        memcpy(&word, from, sizeof word);
        memcpy(to, &word, sizeof word);
    } else {
        memcpy(to, from, (size_t)block);
    }
}

EG_KERNEL void eg_copy(const struct eg_copy_params *p, const void *in, void *out) {
    const char *from0 = (const char *)in + p->in_start;
    char *to0 = (char *)out + p->out_start;
    for (int32_t i0 = 0; i0 < p->count[0]; i0++) {
        for (int32_t i1 = 0; i1 < p->count[1]; i1++) {
            const char *from1 = from0 + i0 * p->in_step[0] + i1 * p->in_step[1];
            char *to1 = to0 + i0 * p->out_step[0] + i1 * p->out_step[1];
            for (int32_t i2 = 0; i2 < p->count[2]; i2++) {
                for (int32_t i3 = 0; i3 < p->count[3]; i3++) {
                    const char *from = from1 + i2 * p->in_step[2] + i3 * p->in_step[3];
                    char *to = to1 + i2 * p->out_step[2] + i3 * p->out_step[3];
                    for (int32_t i4 = 0; i4 < p->count[4]; i4++) {
                        eg_move(from + i4 * p->in_step[4], to + i4 * p->out_step[4], p->block);
                    }
                }
            }
        }
    }
}

#endif
