/* Dense layer of int8 whose result stays a real number: each of ``vectors`` inputs of ``depth`` values meets the rows of
 * ``weights``; the exact sum, bias and zero point folded in, times the row's scale in float32.
 *
 * in (vectors, depth) int8, weights (rows, depth) int8, out (vectors, rows) float32. bias: int32 (rows), what the input's
 * zero point gives taken off; scale: float32 (rows). Sums stay within int32. */
#ifndef EG_DENSE_FLOAT_S8_H
#define EG_DENSE_FLOAT_S8_H

#include "eg_core.h"

struct eg_dense_float_s8_params {
    const int8_t *weights;
    const int32_t *bias;
    const float *scale;
    int32_t vectors;
    int32_t rows;
    int32_t depth;
};

EG_KERNEL void eg_dense_float_s8(const struct eg_dense_float_s8_params *p, const int8_t *in, float *out) {
    for (int32_t i = 0; i < p->vectors; i++) {
        const int8_t *row = p->weights;
        for (int32_t n = 0; n < p->rows; n++) {
            int32_t sum = p->bias[n];
            EG_UNROLL_4
            for (int32_t k = 0; k < p->depth; k++) {
                sum += in[k] * row[k];
            }
            *out++ = (float)sum * p->scale[n];
            row += p->depth;
        }
        in += p->depth;
    }
}

#endif
