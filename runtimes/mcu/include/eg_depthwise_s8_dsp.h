/* Depthwise taps of four channels at a time with the DSP instructions: SXTB16 splits a word of channels, SMLABB and
 * SMLATT add. Weights: (channels / 4, taps, 4) as int16, of every four channels in the order 0 2 1 3, filled up with 0.
 */
#ifndef EG_DEPTHWISE_S8_DSP_H
#define EG_DEPTHWISE_S8_DSP_H

#include "eg_rows_s8_dsp.h"

#if defined(EG_ISA_DSP)

/* One tap of four channels: 8 instructions. One piece of assembly, as gcc else loads all taps first and spills them. */
#define EG_TAP_QUAD(x4)                                                                                                \
    __asm volatile("ldr %[x], %[from]\n\t"                                                                             \
                   "ldrd %[u], %[v], [%[w]], #8\n\t"                                                                   \
                   "sxtb16 %[y], %[x]\n\t"                                                                             \
                   "sxtb16 %[x], %[x], ror #8\n\t"                                                                     \
                   "smlabb %[a], %[y], %[u], %[a]\n\t"                                                                 \
                   "smlatt %[c], %[y], %[u], %[c]\n\t"                                                                 \
                   "smlabb %[b], %[x], %[v], %[b]\n\t"                                                                 \
                   "smlatt %[d], %[x], %[v], %[d]\n\t"                                                                 \
                   : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [w] "+r"(w), [x] "=&r"(x), [y] "=&r"(y),      \
                     [u] "=&r"(u), [v] "=&r"(v)                                                                        \
                   : [from] "m"(*(const int8_t (*)[4])(x4)), "m"(*(const int16_t (*)[4])w))

/* All whole quads of channels of one output pixel. */
EG_KERNEL void eg_depthwise_quads(const struct eg_output *o, const int16_t *weights, int32_t channels, int32_t kernel_h,
                                  int32_t kernel_w, const int8_t *from, int32_t row, int32_t tap, int8_t *out) {
    const int16_t *w = weights;
    for (int32_t channel = 0; channel + 4 <= channels; channel += 4) {
        int32_t a = eg_bias(o, channel);
        int32_t b = eg_bias(o, channel + 1);
        int32_t c = eg_bias(o, channel + 2);
        int32_t d = eg_bias(o, channel + 3);
        int32_t x, y, u, v;
        const int8_t *line = from + channel;
        for (int32_t i = 0; i < kernel_h; i++) {
            const int8_t *at = line;
            for (int32_t j = 0; j < kernel_w; j++) {
                EG_TAP_QUAD(at);
                at += tap;
            }
            line += row;
        }
        out[channel] = eg_finish(o, a, channel);
        out[channel + 1] = eg_finish(o, b, channel + 1);
        out[channel + 2] = eg_finish(o, c, channel + 2);
        out[channel + 3] = eg_finish(o, d, channel + 3);
    }
}

#endif

#endif
