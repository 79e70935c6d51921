/* Product of two int8 activations, matrix by matrix: out[i][j] = sum over k of (a[i][k] - zero) * (b[k][j] - zero), brought
 * to the output's scale by `rounding`.
 *
 * Elements between neighbours: a_row, a_depth, b_depth, b_column; batches with their own steps, 0 where one repeats.
 * out: (batches, rows, columns). depth at most 33,000, so that sums fit int32. Under EG_ONNX_QDQ `multiplier` holds the bits of
 * a float32 scale. */
#ifndef EG_MATMUL_S8_H
#define EG_MATMUL_S8_H

#include "eg_loops.h"
#include "eg_requantize.h"

struct eg_matmul_s8_params {
    struct eg_loops batches;
    int32_t rows, columns, depth;
    int32_t a_row, a_depth;
    int32_t b_depth, b_column;
    int32_t a_zero_point, b_zero_point, out_zero_point;
    int32_t multiplier, shift, rounding;
    int32_t low, high; /* clamp, within int8 */
};

EG_KERNEL void eg_matmul_s8(const struct eg_matmul_s8_params *p, const int8_t *a, const int8_t *b, int8_t *out) {
    EG_LOOPS (p->batches, ia, ib, batch) {
        for (int32_t i = 0; i < p->rows; i++) {
            const int8_t *row = a + ia + i * p->a_row;
            for (int32_t j = 0; j < p->columns; j++) {
                const int8_t *column = b + ib + j * p->b_column;
                int32_t sum = 0;
                for (int32_t k = 0; k < p->depth; k++) {
                    sum += (row[k * p->a_depth] - p->a_zero_point) * (column[k * p->b_depth] - p->b_zero_point);
                }
                out[(batch * p->rows + i) * p->columns + j] = (int8_t)eg_requantize(
                    sum, p->multiplier, (int)p->shift, (int)p->rounding, p->out_zero_point, p->low, p->high);
            }
        }
    }
}

#endif
