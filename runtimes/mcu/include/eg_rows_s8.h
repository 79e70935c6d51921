/* Products of int8 columns with the packed rows of a weight matrix: what dense layers and convolutions do inside.
 *
 * Packing: ``rows`` rows of ``depth`` int8 each stand in blocks of ``block`` rows, a block in chunks of ``chunk``
 * values. Value k of a row stands at
 *
 *     (row / block) * block * padded_depth + (k / chunk) * block * chunk + (row % block) * chunk + k % chunk
 *
 * Missing rows of the last block and the places from ``depth`` to ``padded_depth`` are 0. Packed for
 *   portable C  block 1, chunk 1
 *   DSP         block 2 (columns in pairs) or 4 (one column), chunk 4
 *   MVE         block 4, chunk 16
 * Portable C reads every packing; a core with DSP or vectors that finds another core's packing takes portable C too. */
#ifndef EG_ROWS_S8_H
#define EG_ROWS_S8_H

#include "eg_output.h"

struct eg_rows {
    const int8_t *weights;
    int32_t rows;
    int32_t depth;
    int32_t padded_depth;
    int32_t block;
    int32_t chunk;
};

/* Whole chunks, one at least. */
EG_INLINE int32_t eg_packed_depth(int32_t depth, int32_t chunk) {
    return depth > 0 ? (depth + chunk - 1) / chunk * chunk : chunk;
}

EG_INLINE int32_t eg_rows_at(const struct eg_rows *w, int32_t row, int32_t k) {
    return (row / w->block) * w->block * w->padded_depth + (k / w->chunk) * w->block * w->chunk +
           (row % w->block) * w->chunk + k % w->chunk;
}

/* One column of ``depth`` values times all rows. ``first``: the channel of row 0 in the output's table. */
EG_KERNEL void eg_rows_portable(const struct eg_rows *w, const struct eg_output *o, int32_t first, const int8_t *column,
                                int8_t *out) {
    const int32_t fours = w->block == 1 && w->chunk == 1 ? w->rows / 4 * 4 : 0;
    for (int32_t row = 0; row < fours; row += 4) { /* an activation that is loaded serves four rows */
        const int8_t *at = w->weights + row * w->padded_depth;
        int32_t a = eg_bias(o, first + row);
        int32_t b = eg_bias(o, first + row + 1);
        int32_t c = eg_bias(o, first + row + 2);
        int32_t d = eg_bias(o, first + row + 3);
        EG_UNROLL_4
        for (int32_t k = 0; k < w->depth; k++) {
            const int32_t x = column[k];
            a += x * at[k];
            b += x * at[k + w->padded_depth];
            c += x * at[k + 2 * w->padded_depth];
            d += x * at[k + 3 * w->padded_depth];
        }
        out[row] = eg_finish(o, a, first + row);
        out[row + 1] = eg_finish(o, b, first + row + 1);
        out[row + 2] = eg_finish(o, c, first + row + 2);
        out[row + 3] = eg_finish(o, d, first + row + 3);
    }
    for (int32_t row = fours; row < w->rows; row++) {
        int32_t sum = eg_bias(o, first + row);
        for (int32_t k = 0; k < w->depth; k++) {
            sum += column[k] * w->weights[eg_rows_at(w, row, k)];
        }
        out[row] = eg_finish(o, sum, first + row);
    }
}

/* Two columns times all rows, for block 1 and chunk 1: a weight that is loaded serves two columns. */
EG_KERNEL void eg_rows_portable_pair(const struct eg_rows *w, const struct eg_output *o, int32_t first, const int8_t *x,
                                     const int8_t *y, int8_t *out0, int8_t *out1) {
    const int32_t twos = w->rows / 2 * 2;
    for (int32_t row = 0; row < twos; row += 2) {
        const int8_t *at = w->weights + row * w->padded_depth;
        const int8_t *next = at + w->padded_depth;
        int32_t a = eg_bias(o, first + row);
        int32_t b = eg_bias(o, first + row + 1);
        int32_t c = a;
        int32_t d = b;
        EG_UNROLL_4
        for (int32_t k = 0; k < w->depth; k++) {
            const int32_t u = x[k];
            const int32_t v = y[k];
            a += u * at[k];
            b += u * next[k];
            c += v * at[k];
            d += v * next[k];
        }
        out0[row] = eg_finish(o, a, first + row);
        out0[row + 1] = eg_finish(o, b, first + row + 1);
        out1[row] = eg_finish(o, c, first + row);
        out1[row + 1] = eg_finish(o, d, first + row + 1);
    }
    for (int32_t row = twos; row < w->rows; row++) {
        const int8_t *at = w->weights + row * w->padded_depth;
        int32_t a = eg_bias(o, first + row);
        int32_t c = a;
        for (int32_t k = 0; k < w->depth; k++) {
            a += x[k] * at[k];
            c += y[k] * at[k];
        }
        out0[row] = eg_finish(o, a, first + row);
        out1[row] = eg_finish(o, c, first + row);
    }
}

#endif
