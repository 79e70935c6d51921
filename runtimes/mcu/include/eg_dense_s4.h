/* Dense layer with 4-bit weights: int8 in, int8 out, half the flash of eg_dense_s8.h, the same bytes out.
 *
 * in: (vectors, depth); out: (vectors, outputs). weights: `outputs` rows of `words` 32-bit words, eight weights a word, stored
 * as weight + 8 (0 .. 15): the weights 2 m and 2 m + 1 of a word are its nibbles m and m + 4, so that a mask leaves a pair of
 * 16-bit numbers. Places from `depth` on hold 8 (weight 0). The offset of 8 is taken off through the sum of the inputs.
 * |bias| + 23 * 128 * depth < 2^31.
 *
 * scratch: 4-byte aligned; 16 * words bytes on the DSP path, 8 * words on the MVE path, else 4. Little-endian cores. */
#ifndef EG_DENSE_S4_H
#define EG_DENSE_S4_H

#include "eg_output.h"

struct eg_dense_s4_params {
    const uint32_t *weights;
    int32_t vectors, outputs, depth; /* >= 1 */
    int32_t words;                   /* (depth + 7) / 8 */
    int32_t scratch;                 /* bytes that there are */
    struct eg_output output;
};

#if defined(EG_ISA_DSP)

EG_INLINE int32_t eg_pair_sum(uint32_t weights, const int16_t *x, int32_t sum) {
    uint32_t pair;
    int32_t made;
    memcpy(&pair, __builtin_assume_aligned(x, 4), sizeof pair);
    __asm("smlad %0, %1, %2, %3" : "=r"(made) : "r"(weights), "r"(pair), "r"(sum));
    return made;
}

EG_INLINE void eg_dense_s4_rows(const struct eg_dense_s4_params *p, const int8_t *x, int32_t total, int8_t *out, void *scratch) {
    int16_t *wide = (int16_t *)scratch;
    uint32_t mask = 0x000F000Fu;
    __asm("" : "+r"(mask)); /* in a register, where AND shifts its other operand */
    for (int32_t k = 0; k < p->words * 8; k++) {
        wide[k] = k < p->depth ? x[k] : 0;
    }
    int32_t row = 0;
    for (; row + 2 <= p->outputs; row += 2) { /* an input that is loaded serves two rows */
        const uint32_t *first = p->weights + row * p->words;
        const uint32_t *second = first + p->words;
        const int16_t *at = wide;
        int32_t a = eg_bias(&p->output, row) - 8 * total;
        int32_t b = eg_bias(&p->output, row + 1) - 8 * total;
        for (int32_t w = 0; w < p->words; w++) {
            const uint32_t u = first[w];
            const uint32_t v = second[w];
            a = eg_pair_sum(u & mask, at, a);
            b = eg_pair_sum(v & mask, at, b);
            a = eg_pair_sum((u >> 4) & mask, at + 2, a);
            b = eg_pair_sum((v >> 4) & mask, at + 2, b);
            a = eg_pair_sum((u >> 8) & mask, at + 4, a);
            b = eg_pair_sum((v >> 8) & mask, at + 4, b);
            a = eg_pair_sum((u >> 12) & mask, at + 6, a);
            b = eg_pair_sum((v >> 12) & mask, at + 6, b);
            at += 8;
        }
        out[row] = eg_finish(&p->output, a, row);
        out[row + 1] = eg_finish(&p->output, b, row + 1);
    }
    if (row < p->outputs) {
        const uint32_t *last = p->weights + row * p->words;
        int32_t sum = eg_bias(&p->output, row) - 8 * total;
        for (int32_t w = 0; w < p->words; w++) {
            for (int32_t m = 0; m < 4; m++) {
                sum = eg_pair_sum((last[w] >> (4 * m)) & mask, wide + 8 * w + 2 * m, sum);
            }
        }
        out[row] = eg_finish(&p->output, sum, row);
    }
}

#elif defined(EG_ISA_MVE)

EG_INLINE void eg_dense_s4_rows(const struct eg_dense_s4_params *p, const int8_t *x, int32_t total, int8_t *out, void *scratch) {
    /* The inputs that a word's low nibbles meet, byte by byte, and those that its high nibbles meet. */
    int8_t *low = (int8_t *)scratch;
    int8_t *high = low + 4 * p->words;
    for (int32_t k = 0; k < p->words * 8; k++) {
        const int32_t nibble = (k & 1) * 4 + ((k >> 1) & 3);
        int8_t *to = nibble & 1 ? high : low;
        to[(k >> 3) * 4 + (nibble >> 1)] = k < p->depth ? x[k] : 0;
    }
    for (int32_t row = 0; row < p->outputs; row++) {
        const uint8_t *bytes = (const uint8_t *)(p->weights + row * p->words);
        int32_t sum = eg_bias(&p->output, row) - 8 * total;
        for (int32_t i = 0; i < 4 * p->words; i += 16) {
            const mve_pred16_t there = vctp8q((uint32_t)(4 * p->words - i));
            const uint8x16_t both = vldrbq_z_u8(bytes + i, there);
            const int8x16_t lower = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15)));
            const int8x16_t upper = vreinterpretq_s8_u8(vshrq_n_u8(both, 4));
            sum = vmladavaq_s8(sum, lower, vldrbq_z_s8(low + i, there));
            sum = vmladavaq_s8(sum, upper, vldrbq_z_s8(high + i, there));
        }
        out[row] = eg_finish(&p->output, sum, row);
    }
}

#endif

/* Without working memory. */
EG_INLINE void eg_dense_s4_portable(const struct eg_dense_s4_params *p, const int8_t *x, int32_t total, int8_t *out) {
    for (int32_t row = 0; row < p->outputs; row++) {
        const uint32_t *weights = p->weights + row * p->words;
        int32_t sum = eg_bias(&p->output, row) - 8 * total;
        int32_t k = 0;
        for (; k + 8 <= p->depth; k += 8) {
            const uint32_t word = weights[k >> 3];
            sum += x[k] * (int32_t)(word & 15u) + x[k + 2] * (int32_t)((word >> 4) & 15u);
            sum += x[k + 4] * (int32_t)((word >> 8) & 15u) + x[k + 6] * (int32_t)((word >> 12) & 15u);
            sum += x[k + 1] * (int32_t)((word >> 16) & 15u) + x[k + 3] * (int32_t)((word >> 20) & 15u);
            sum += x[k + 5] * (int32_t)((word >> 24) & 15u) + x[k + 7] * (int32_t)(word >> 28);
        }
        for (; k < p->depth; k++) {
            const int32_t nibble = (k & 1) * 4 + ((k >> 1) & 3);
            sum += x[k] * (int32_t)((weights[k >> 3] >> (4 * nibble)) & 15u);
        }
        out[row] = eg_finish(&p->output, sum, row);
    }
}

EG_KERNEL void eg_dense_s4(const struct eg_dense_s4_params *p, const int8_t *in, int8_t *out, void *scratch) {
    for (int32_t v = 0; v < p->vectors; v++) {
        int32_t total = 0;
        for (int32_t k = 0; k < p->depth; k++) {
            total += in[k];
        }
#if defined(EG_ISA_DSP)
        if (p->scratch >= 16 * p->words) {
            eg_dense_s4_rows(p, in, total, out, scratch);
        } else {
            eg_dense_s4_portable(p, in, total, out);
        }
#elif defined(EG_ISA_MVE)
        if (p->scratch >= 8 * p->words) {
            eg_dense_s4_rows(p, in, total, out, scratch);
        } else {
            eg_dense_s4_portable(p, in, total, out);
        }
#else
        (void)scratch;
        eg_dense_s4_portable(p, in, total, out);
#endif
        in += p->depth;
        out += p->outputs;
    }
}

#endif
