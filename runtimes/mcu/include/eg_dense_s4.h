/* Dense layer with 4-bit weights: int8 in, int8 out, half the flash of eg_dense_s8.h, the same bytes out.
 *
 * in: (vectors, depth); out: (vectors, outputs). weights: `outputs` rows of `words` 32-bit words, eight weights a word, stored
 * as weight + 8 (0 .. 15): the weights 2 m and 2 m + 1 of a word are its nibbles m and m + 4, so that a mask leaves a pair of
 * 16-bit numbers. Places from `depth` on hold 8 (weight 0). The offset of 8 is taken off through the sum of the inputs.
 * |bias| + 15 * 128 * depth < 2^31.
 *
 * scratch: 4-byte aligned; 16 * words bytes on the DSP path, else 4. */
#ifndef EG_DENSE_S4_H
#define EG_DENSE_S4_H

#include "eg_output.h"

struct eg_dense_s4_params {
    const uint32_t *weights;
    int32_t vectors, outputs, depth; /* >= 1 */
    int32_t words;                   /* (depth + 7) / 8 */
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

#endif

EG_KERNEL void eg_dense_s4(const struct eg_dense_s4_params *p, const int8_t *in, int8_t *out, void *scratch) {
    for (int32_t v = 0; v < p->vectors; v++) {
        const int8_t *x = in + v * p->depth;
        int32_t total = 0;
        for (int32_t k = 0; k < p->depth; k++) {
            total += x[k];
        }
#if defined(EG_ISA_DSP)
        int16_t *wide = (int16_t *)scratch;
        for (int32_t k = 0; k < p->words * 8; k++) {
            wide[k] = k < p->depth ? x[k] : 0;
        }
        for (int32_t row = 0; row < p->outputs; row++) {
            const uint32_t *weights = p->weights + row * p->words;
            const int16_t *at = wide;
            int32_t sum = eg_bias(&p->output, row) - 8 * total;
            for (int32_t w = 0; w < p->words; w++) {
                const uint32_t word = weights[w];
                sum = eg_pair_sum(word & 0x000F000Fu, at, sum);
                sum = eg_pair_sum((word >> 4) & 0x000F000Fu, at + 2, sum);
                sum = eg_pair_sum((word >> 8) & 0x000F000Fu, at + 4, sum);
                sum = eg_pair_sum((word >> 12) & 0x000F000Fu, at + 6, sum);
                at += 8;
            }
            out[row] = eg_finish(&p->output, sum, row);
        }
#else
        (void)scratch;
        for (int32_t row = 0; row < p->outputs; row++) {
            const uint32_t *weights = p->weights + row * p->words;
            int32_t sum = eg_bias(&p->output, row) - 8 * total;
            for (int32_t k = 0; k < p->depth; k++) {
                const int32_t nibble = (k & 1) * 4 + ((k >> 1) & 3);
                sum += x[k] * (int32_t)((weights[k >> 3] >> (4 * nibble)) & 15u);
            }
            out[row] = eg_finish(&p->output, sum, row);
        }
#endif
        out += p->outputs;
    }
}

#endif
