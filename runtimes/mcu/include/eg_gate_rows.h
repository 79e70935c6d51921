/* What a vector gives the gates of a recurrent cell: int8 products with packed rows (eg_rows_s8.h), brought to 12 bits of
 * fraction as int16.
 *
 * A sum a (bias included, the vector's zero point folded in) becomes, with multiplier m and right shift s, both roundings half up,
 *
 *     (((a m + 2^30) >> 31) + (1 << s >> 1)) >> s      within int16; a left shift (s < 0) comes first and saturates to int32
 *
 * `padded_rows` is `rows` rounded up to fours: bias and scales are that long, and so is what is written. scales: multipliers,
 * then shifts as eg_requantize.h has them (positive: to the left); NULL: the members below are all rows'. `fast`: for every row
 * |a| < 2^30 and 0 <= s <= 22, so that SMMLAR and VQRDMULH do it.
 * scratch: 4-byte aligned; 3 * padded_depth bytes for a DSP packing, padded_depth for an MVE packing. */
#ifndef EG_GATE_ROWS_H
#define EG_GATE_ROWS_H

#include "eg_rows_s8.h"
#include "eg_rows_s8_dsp.h"
#include "eg_rows_s8_mve.h"

struct eg_gate_rows {
    struct eg_rows rows;
    const int32_t *bias;
    const int32_t *scales;
    int32_t padded_rows;
    int32_t multiplier, shift;
    int32_t fast;
};

EG_INLINE int32_t eg_gate_scaled(const struct eg_gate_rows *g, int32_t value, int32_t row) {
    const int32_t multiplier = g->scales ? g->scales[row] : g->multiplier;
    const int32_t shift = g->scales ? g->scales[g->padded_rows + row] : g->shift;
#if defined(EG_ISA_DSP)
    if (g->fast) {
        int32_t made = eg_smmlar(value * 2, multiplier, (1 << -shift) >> 1) >> -shift;
        __asm("ssat %0, #16, %0" : "+r"(made));
        return made;
    }
#endif
    const int left = shift > 0 ? shift : 0;
    const int right = shift > 0 ? 0 : -shift;
    int64_t high = (int64_t)value * ((int64_t)1 << left);
    high = high > INT32_MAX ? INT32_MAX : high < INT32_MIN ? INT32_MIN : high;
    high = (high * multiplier + ((int64_t)1 << 30)) >> 31;
    high = (high + (((int64_t)1 << right) >> 1)) >> right;
    return (int32_t)(high > 32767 ? 32767 : high < -32768 ? -32768 : high);
}

EG_KERNEL void eg_gate_inputs(const struct eg_gate_rows *g, const int8_t *vector, int16_t *out, void *scratch) {
    const struct eg_rows *w = &g->rows;
    (void)scratch; /* portable C needs none */
#if defined(EG_ISA_DSP)
    if (w->chunk == 4 && w->block == 4) {
        const int8_t *at = w->weights;
        int32_t *wide = (int32_t *)scratch;
        if (w->depth % 4 != 0) {
            int8_t *staging = (int8_t *)scratch + 2 * w->padded_depth;
            memcpy(staging, vector, (size_t)w->depth);
            memset(staging + w->depth, 0, (size_t)(w->padded_depth - w->depth));
            eg_widen(staging, w->padded_depth / 4, wide, 2);
        } else {
            eg_widen(vector, w->padded_depth / 4, wide, 2);
        }
        for (int32_t row = 0; row < g->padded_rows; row += 4) {
            const int32_t *x = wide;
            int32_t a = g->bias[row];
            int32_t b = g->bias[row + 1];
            int32_t c = g->bias[row + 2];
            int32_t d = g->bias[row + 3];
            for (int32_t i = w->padded_depth / 16; i > 0; i--) {
                EG_QUADS(EG_QUAD_1X4 EG_QUAD_1X4 EG_QUAD_1X4 EG_QUAD_1X4);
            }
            for (int32_t i = w->padded_depth / 4 % 4; i > 0; i--) {
                EG_QUADS(EG_QUAD_1X4);
            }
            out[row] = (int16_t)eg_gate_scaled(g, a, row);
            out[row + 1] = (int16_t)eg_gate_scaled(g, b, row + 1);
            out[row + 2] = (int16_t)eg_gate_scaled(g, c, row + 2);
            out[row + 3] = (int16_t)eg_gate_scaled(g, d, row + 3);
        }
        return;
    }
#endif
#if defined(EG_ISA_MVE)
    if (w->chunk == 16 && w->block == 4 && g->fast) {
        const int8_t *at = w->weights;
        if (w->depth % 16 != 0) {
            memcpy(scratch, vector, (size_t)w->depth);
            vector = (const int8_t *)scratch;
        }
        for (int32_t row = 0; row < g->padded_rows; row += 4) {
            int32x4_t sum;
            at = eg_block_single(at, vector, w->padded_depth / 16, &sum);
            sum = vaddq_s32(sum, vldrwq_s32(g->bias + row));
            if (g->scales) {
                sum = vqrdmulhq_s32(sum, vldrwq_s32(g->scales + row));
                sum = vrshlq_s32(sum, vldrwq_s32(g->scales + g->padded_rows + row));
            } else {
                sum = vrshlq_n_s32(vqrdmulhq_n_s32(sum, g->multiplier), g->shift);
            }
            sum = vminq_s32(vmaxq_s32(sum, vdupq_n_s32(-32768)), vdupq_n_s32(32767));
            vstrhq_s32(out + row, sum);
        }
        return;
    }
#endif
    for (int32_t row = 0; row < w->rows; row++) {
        int32_t sum = g->bias[row];
        if (w->block == 1 && w->chunk == 1) {
            const int8_t *at = w->weights + row * w->padded_depth;
            EG_UNROLL_4
            for (int32_t k = 0; k < w->depth; k++) {
                sum += vector[k] * at[k];
            }
        } else {
            for (int32_t k = 0; k < w->depth; k++) {
                sum += vector[k] * w->weights[eg_rows_at(w, row, k)];
            }
        }
        out[row] = (int16_t)eg_gate_scaled(g, sum, row);
    }
}

#endif
