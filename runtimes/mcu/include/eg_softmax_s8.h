/* Softmax over the last axis of int8, byte for byte TFLite Micro's, from tables.
 *
 * TFLite computes e^x in fixed point for each element twice. The numbers of a row that it depends on are the differences to
 * the row's largest, at most 256 of them, so they come from a table: exponentials[d] is e^(-d * scale * beta) with 0 integer
 * bits, for d of 0 .. reach - 1; elements further below the largest count nothing.
 *
 * in: any scale. out: scale 1/256, zero point -128. in and out may be the same memory. */
#ifndef EG_SOFTMAX_S8_H
#define EG_SOFTMAX_S8_H

#include "eg_fixed_point.h"

struct eg_softmax_s8_params {
    int32_t rows;  /* >= 1 */
    int32_t depth; /* elements a row, [1, 4095]: the sum has 12 integer bits */
    int32_t reach; /* [1, 256] */
    const int32_t *exponentials;
};

EG_KERNEL void eg_softmax_s8(const struct eg_softmax_s8_params *p, const int8_t *in, int8_t *out) {
    for (int32_t row = 0; row < p->rows; row++) {
        int32_t largest = in[0];
        for (int32_t i = 1; i < p->depth; i++) {
            largest = in[i] > largest ? in[i] : largest;
        }
        int32_t sum = 0;
        for (int32_t i = 0; i < p->depth; i++) {
            const int32_t below = largest - in[i];
            if (below < p->reach) {
                sum += eg_divide_by_power(p->exponentials[below], 12);
            }
        }
        int32_t exponent;
        const int32_t scale = eg_reciprocal((uint32_t)sum, 12, &exponent);
        const int right = (int)(exponent + 23);
        for (int32_t i = 0; i < p->depth; i++) {
            const int32_t below = largest - in[i];
            int32_t made = 0;
            if (below < p->reach) {
                made = eg_divide_by_power(eg_high_mul(scale, p->exponentials[below]), right);
            }
            out[i] = (int8_t)eg_clamp(made - 128, -128, 127);
        }
        in += p->depth;
        out += p->depth;
    }
}

#endif
