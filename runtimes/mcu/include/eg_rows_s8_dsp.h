/* eg_rows_s8.h with SMLAD (Armv7E-M DSP). Columns are widened to int16 before, in the order in which SXTB16 splits a
 * word of weights: of every four values x0 x1 x2 x3 first (x0, x2), then (x1, x3). Registers are named, as each tile
 * needs all 14; mostly high ones, as gcc wants low ones for its operands. */
#ifndef EG_ROWS_S8_DSP_H
#define EG_ROWS_S8_DSP_H

#include "eg_rows_s8.h"

#if defined(EG_ISA_DSP)

EG_INLINE int32_t eg_even_bytes(uint32_t word) {
    int32_t pair;
    __asm("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
    return pair;
}

EG_INLINE int32_t eg_odd_bytes(uint32_t word) {
    int32_t pair;
    __asm("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
}

EG_INLINE uint32_t eg_word(const int8_t *at) {
    uint32_t word; /* LDR takes any address on these cores */
    memcpy(&word, at, sizeof word);
    return word;
}

/* Widens ``quads`` times four values; ``step``: words from one quad to the next in ``wide`` (2, or 4 for pairs of
 * columns). */
EG_INLINE void eg_widen(const int8_t *from, int32_t quads, int32_t *wide, int32_t step) {
    for (int32_t i = 0; i < quads; i++) {
        const uint32_t word = eg_word(from + 4 * i);
        wide[0] = eg_even_bytes(word);
        wide[1] = eg_odd_bytes(word);
        wide += step;
    }
}

/* Four values of two columns times two rows: 14 instructions for 16 products. */
#define EG_QUAD_2X2                                                                                                    \
    "ldm %[x]!, {r4, r8, r9, r10}\n\t"                                                                                 \
    "ldrd r11, r12, [%[w]], #8\n\t"                                                                                    \
    "sxtb16 lr, r11\n\t"                                                                                               \
    "sxtb16 r11, r11, ror #8\n\t"                                                                                      \
    "smlad %[a], r4, lr, %[a]\n\t"                                                                                     \
    "smlad %[c], r9, lr, %[c]\n\t"                                                                                     \
    "sxtb16 lr, r12\n\t"                                                                                               \
    "smlad %[a], r8, r11, %[a]\n\t"                                                                                    \
    "smlad %[c], r10, r11, %[c]\n\t"                                                                                   \
    "sxtb16 r12, r12, ror #8\n\t"                                                                                      \
    "smlad %[b], r4, lr, %[b]\n\t"                                                                                     \
    "smlad %[d], r9, lr, %[d]\n\t"                                                                                     \
    "smlad %[b], r8, r12, %[b]\n\t"                                                                                    \
    "smlad %[d], r10, r12, %[d]\n\t"

/* Four values of one column times four rows: 18 instructions for 16 products. */
#define EG_QUAD_1X4                                                                                                    \
    "ldrd r4, lr, [%[x]], #8\n\t"                                                                                      \
    "ldm %[w]!, {r8, r9, r10, r11}\n\t"                                                                                \
    "sxtb16 r12, r8\n\t"                                                                                               \
    "sxtb16 r8, r8, ror #8\n\t"                                                                                        \
    "smlad %[a], r4, r12, %[a]\n\t"                                                                                    \
    "sxtb16 r12, r9\n\t"                                                                                               \
    "smlad %[a], lr, r8, %[a]\n\t"                                                                                     \
    "sxtb16 r9, r9, ror #8\n\t"                                                                                        \
    "smlad %[b], r4, r12, %[b]\n\t"                                                                                    \
    "sxtb16 r12, r10\n\t"                                                                                              \
    "smlad %[b], lr, r9, %[b]\n\t"                                                                                     \
    "sxtb16 r10, r10, ror #8\n\t"                                                                                      \
    "smlad %[c], r4, r12, %[c]\n\t"                                                                                    \
    "sxtb16 r12, r11\n\t"                                                                                              \
    "smlad %[c], lr, r10, %[c]\n\t"                                                                                    \
    "sxtb16 r11, r11, ror #8\n\t"                                                                                      \
    "smlad %[d], r4, r12, %[d]\n\t"                                                                                    \
    "smlad %[d], lr, r11, %[d]\n\t"

#define EG_QUADS(text)                                                                                                 \
    __asm volatile(text                                                                                                \
                   : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [x] "+r"(x), [w] "+r"(at)                     \
                   :                                                                                                   \
                   : "r4", "r8", "r9", "r10", "r11", "r12", "lr", "memory")

/* Two columns, interleaved quad by quad, times all rows (block 2, chunk 4). ``out1`` may be NULL: one column counts. */
EG_KERNEL void eg_rows_pair(const struct eg_rows *w, const struct eg_output *o, int32_t first, const int32_t *columns,
                            int8_t *out0, int8_t *out1) {
    const int8_t *at = w->weights;
    const int32_t quads = w->padded_depth / 4;
    for (int32_t row = 0; row < w->rows; row += 2) {
        const int two = row + 1 < w->rows;
        const int32_t *x = columns;
        int32_t a = eg_bias(o, first + row);
        int32_t b = two ? eg_bias(o, first + row + 1) : 0;
        int32_t c = a;
        int32_t d = b;
        for (int32_t i = quads / 4; i > 0; i--) {
            EG_QUADS(EG_QUAD_2X2 EG_QUAD_2X2 EG_QUAD_2X2 EG_QUAD_2X2);
        }
        for (int32_t i = quads % 4; i > 0; i--) {
            EG_QUADS(EG_QUAD_2X2);
        }
        const struct eg_channel even = eg_channel_of(o, first + row);
        out0[row] = eg_finish_channel(o, a, even);
        if (out1) {
            out1[row] = eg_finish_channel(o, c, even);
        }
        if (two) {
            const struct eg_channel odd = eg_channel_of(o, first + row + 1);
            out0[row + 1] = eg_finish_channel(o, b, odd);
            if (out1) {
                out1[row + 1] = eg_finish_channel(o, d, odd);
            }
        }
    }
}

/* One column times all rows (block 4, chunk 4). */
EG_KERNEL void eg_rows_single(const struct eg_rows *w, const struct eg_output *o, int32_t first, const int32_t *column,
                              int8_t *out) {
    const int8_t *at = w->weights;
    const int32_t quads = w->padded_depth / 4;
    for (int32_t row = 0; row < w->rows; row += 4) {
        const int32_t left = w->rows - row;
        const int32_t *x = column;
        int32_t a = eg_bias(o, first + row);
        int32_t b = left > 1 ? eg_bias(o, first + row + 1) : 0;
        int32_t c = left > 2 ? eg_bias(o, first + row + 2) : 0;
        int32_t d = left > 3 ? eg_bias(o, first + row + 3) : 0;
        for (int32_t i = quads / 4; i > 0; i--) {
            EG_QUADS(EG_QUAD_1X4 EG_QUAD_1X4 EG_QUAD_1X4 EG_QUAD_1X4);
        }
        for (int32_t i = quads % 4; i > 0; i--) {
            EG_QUADS(EG_QUAD_1X4);
        }
        out[row] = eg_finish(o, a, first + row);
        if (left > 1) {
            out[row + 1] = eg_finish(o, b, first + row + 1);
        }
        if (left > 2) {
            out[row + 2] = eg_finish(o, c, first + row + 2);
        }
        if (left > 3) {
            out[row + 3] = eg_finish(o, d, first + row + 3);
        }
    }
}

#endif

#endif
