/* Product of two int8 activations, matrix by matrix: out[i][j] = sum over k of (a[i][k] - zero) * (b[k][j] - zero), brought
 * to the output's scale by `rounding`.
 *
 * Elements between neighbours: a_row, a_depth, b_depth, b_column; batches with their own steps, 0 where one repeats.
 * out: (batches, rows, columns). depth at most 33,000, so that sums fit int32. Under EG_ONNX_QDQ `multiplier` holds the bits of
 * a float32 scale. Where both sides' numbers lie side by side, cores with DSP or vectors take several at a time: the products
 * of the stored numbers, and the zero points by the sums of both sides. */
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

/* Sum of a[k] * b[k] and, in `b_sum`, of b[k]; numbers side by side. */
EG_INLINE int32_t eg_dot_s8(const int8_t *a, const int8_t *b, int32_t depth, int32_t *b_sum) {
    int32_t sum = 0;
    int32_t of_b = 0;
    int32_t k = 0;
#if defined(EG_ISA_DSP)
    for (; k + 4 <= depth; k += 4) {
        uint32_t x;
        uint32_t y;
        uint32_t odd;
        memcpy(&x, a + k, sizeof x);
        memcpy(&y, b + k, sizeof y);
        __asm("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(x));
        __asm("sxtb16 %0, %0" : "+r"(x));
        uint32_t odd_y;
        __asm("sxtb16 %0, %1, ror #8" : "=r"(odd_y) : "r"(y));
        __asm("sxtb16 %0, %0" : "+r"(y));
        __asm("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(x), "r"(y));
        __asm("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(odd), "r"(odd_y));
        __asm("smlad %0, %1, %2, %0" : "+r"(of_b) : "r"(y), "r"(0x00010001));
        __asm("smlad %0, %1, %2, %0" : "+r"(of_b) : "r"(odd_y), "r"(0x00010001));
    }
#elif defined(EG_ISA_MVE)
    for (; k < depth; k += 16) {
        const mve_pred16_t there = vctp8q((uint32_t)(depth - k));
        const int8x16_t y = vldrbq_z_s8(b + k, there);
        sum = vmladavaq_s8(sum, vldrbq_z_s8(a + k, there), y);
        of_b = vaddvaq_s8(of_b, y);
    }
#endif
    for (; k < depth; k++) {
        sum += a[k] * b[k];
        of_b += b[k];
    }
    *b_sum = of_b;
    return sum;
}

EG_KERNEL void eg_matmul_s8(const struct eg_matmul_s8_params *p, const int8_t *a, const int8_t *b, int8_t *out) {
    EG_LOOPS (p->batches, ia, ib, batch) {
        for (int32_t i = 0; i < p->rows; i++) {
            const int8_t *row = a + ia + i * p->a_row;
            int32_t a_sum = 0;
            for (int32_t k = 0; k < p->depth; k++) {
                a_sum += row[k * p->a_depth] - p->a_zero_point;
            }
            for (int32_t j = 0; j < p->columns; j++) {
                const int8_t *column = b + ib + j * p->b_column;
                int32_t sum;
                if (p->a_depth == 1 && p->b_depth == 1) {
                    int32_t b_sum;
                    sum = eg_dot_s8(row, column, p->depth, &b_sum) - p->a_zero_point * b_sum;
                } else {
                    sum = 0;
                    for (int32_t k = 0; k < p->depth; k++) {
                        sum += (row[k * p->a_depth] - p->a_zero_point) * column[k * p->b_depth];
                    }
                }
                sum -= p->b_zero_point * a_sum;
                out[(batch * p->rows + i) * p->columns + j] = (int8_t)eg_requantize(
                    sum, p->multiplier, (int)p->shift, (int)p->rounding, p->out_zero_point, p->low, p->high);
            }
        }
    }
}

#endif
