/* Product of two int16 activations, matrix by matrix: sums of 64 bits, brought to the output's scale as eg_wide.h says.
 *
 * Elements between neighbours: a_row, a_depth, b_depth, b_column; batches with their own steps, 0 where one repeats.
 * out: (batches, rows, columns). depth at most 65,536; zero points are 0. */
#ifndef EG_MATMUL_S16_H
#define EG_MATMUL_S16_H

#include "eg_loops.h"

struct eg_matmul_s16_params {
    struct eg_loops batches;
    int32_t rows, columns, depth;
    int32_t a_row, a_depth;
    int32_t b_depth, b_column;
    int32_t multiplier; /* [0, 32767] */
    int32_t right;      /* [8, 46] */
    int32_t low, high;  /* clamp, within int16 */
};

/* Sum of a[k] * b[k]; numbers side by side. */
EG_INLINE int64_t eg_dot_s16(const int16_t *a, const int16_t *b, int32_t depth) {
    int64_t sum = 0;
    int32_t k = 0;
#if defined(EG_ISA_MVE)
    for (; k < depth; k += 8) {
        const mve_pred16_t there = vctp16q((uint32_t)(depth - k));
        sum = vmlaldavaq_s16(sum, vldrhq_z_s16(a + k, there), vldrhq_z_s16(b + k, there));
    }
#elif defined(EG_ISA_DSP)
    for (; k + 2 <= depth; k += 2) {
        uint32_t x;
        uint32_t y;
        memcpy(&x, a + k, sizeof x);
        memcpy(&y, b + k, sizeof y);
        __asm("smlald %Q0, %R0, %1, %2" : "+r"(sum) : "r"(x), "r"(y));
    }
#endif
    for (; k < depth; k++) {
        sum += a[k] * b[k];
    }
    return sum;
}

EG_KERNEL void eg_matmul_s16(const struct eg_matmul_s16_params *p, const int16_t *a, const int16_t *b, int16_t *out) {
    EG_LOOPS (p->batches, ia, ib, batch) {
        for (int32_t i = 0; i < p->rows; i++) {
            const int16_t *row = a + ia + i * p->a_row;
            for (int32_t j = 0; j < p->columns; j++) {
                const int16_t *column = b + ib + j * p->b_column;
                int64_t sum = 0;
                if (p->a_depth == 1 && p->b_depth == 1) {
                    sum = eg_dot_s16(row, column, p->depth);
                } else {
                    for (int32_t k = 0; k < p->depth; k++) {
                        sum += row[k * p->a_depth] * column[k * p->b_depth];
                    }
                }
                const int64_t made = (sum * p->multiplier + ((int64_t)1 << (p->right - 1))) >> p->right;
                out[(batch * p->rows + i) * p->columns + j] = (int16_t)(made < p->low ? p->low : made > p->high ? p->high : made);
            }
        }
    }
}

#endif
