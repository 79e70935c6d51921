/* Depthwise convolution, int8, channels last: any stride, dilation, padding and channel multiplier.
 *
 * in (in_h, in_w, in_c), out (out_h, out_w, out_c), out_c = in_c * multiplier, both int8. The input's zero point is
 * folded into the bias; a patch that sticks out of the input is copied and filled with it.
 *
 * Weights, of the layout that is there:
 *   weights  int8 (out_c / block, taps, block), filled up with 0; block is out_c, or 16 with the output's table as
 *            eg_depthwise_s8_mve.h wants it (``interleaved``)
 *   wide     int16 (out_c / 4, taps, 4), see eg_depthwise_s8_dsp.h
 *
 * scratch: a patch with the input's pitches, so that one piece of code does both; 4-byte aligned. With
 * span = (kernel_w - 1) * dilation_w + 1 it has
 *     ((kernel_h - 1) * (in_w < span ? span : dilation_h * in_w) + span) * in_c
 * bytes. */
#ifndef EG_DEPTHWISE_CONV2D_S8_H
#define EG_DEPTHWISE_CONV2D_S8_H

#include "eg_depthwise_s8_dsp.h"
#include "eg_depthwise_s8_mve.h"
#include "eg_patch_s8.h"

struct eg_depthwise_conv2d_s8_params {
    struct eg_patch patch;
    struct eg_output output;
    const int8_t *weights;
    const int16_t *wide;
    int32_t block;
    int32_t interleaved; /* the output's table is in the order of eg_depthwise_s8_mve.h */
    int32_t out_c;
    int32_t multiplier;
};

EG_INLINE int32_t eg_depthwise_weight(const struct eg_depthwise_conv2d_s8_params *p, int32_t channel, int32_t tap) {
    const int32_t taps = p->patch.kernel_h * p->patch.kernel_w;
    if (p->wide) {
        const int32_t within = ((channel & 1) << 1) | ((channel >> 1) & 1); /* 0 2 1 3 */
        return p->wide[(channel / 4 * taps + tap) * 4 + within];
    }
    return p->weights[(channel / p->block * taps + tap) * p->block + channel % p->block];
}

/* Channels from ``channel`` on of one output pixel. */
EG_KERNEL void eg_depthwise_portable(const struct eg_depthwise_conv2d_s8_params *p, const int8_t *from, int32_t row,
                                     int32_t tap, int32_t channel, int8_t *out) {
    for (; channel < p->out_c; channel++) {
        const int8_t *x = from + channel / p->multiplier;
        const int32_t entry = p->interleaved ? channel / 16 * 16 + channel % 4 * 4 + channel % 16 / 4 : channel;
        int32_t sum = eg_bias(&p->output, entry);
        for (int32_t i = 0; i < p->patch.kernel_h; i++) {
            for (int32_t j = 0; j < p->patch.kernel_w; j++) {
                sum += x[i * row + j * tap] * eg_depthwise_weight(p, channel, i * p->patch.kernel_w + j);
            }
        }
        out[channel] = eg_finish(&p->output, sum, entry);
    }
}

/* One output pixel, from a patch whose rows and taps lie ``row`` and ``tap`` bytes apart. */
EG_INLINE void eg_depthwise_pixel(const struct eg_depthwise_conv2d_s8_params *p, const int8_t *from, int32_t row,
                                  int32_t tap, int8_t *out) {
#if defined(EG_ISA_DSP)
    if (p->wide && p->multiplier == 1) {
        eg_depthwise_quads(&p->output, p->wide, p->out_c, p->patch.kernel_h, p->patch.kernel_w, from, row, tap, out);
        if (p->out_c % 4 != 0) {
            eg_depthwise_portable(p, from, row, tap, p->out_c / 4 * 4, out);
        }
        return;
    }
#endif
#if defined(EG_ISA_MVE)
    if (p->interleaved) {
        eg_depthwise_vectors(&p->output, p->weights, p->out_c, p->patch.kernel_h, p->patch.kernel_w, from, row, tap,
                             out);
        return;
    }
#endif
    eg_depthwise_portable(p, from, row, tap, 0, out);
}

EG_KERNEL void eg_depthwise_conv2d_s8(const struct eg_depthwise_conv2d_s8_params *p, const int8_t *in, int8_t *out,
                                      void *scratch) {
    const struct eg_patch *g = &p->patch;
    const int32_t span = (g->kernel_w - 1) * g->dilation_w + 1;
    /* An input that is narrower than the kernel has no patch inside: then rows stand apart as far as they need. */
    const int32_t row = (g->in_w < span ? span : g->dilation_h * g->in_w) * g->in_c;
    const int32_t tap = g->dilation_w * g->in_c;
    for (int32_t i = 0; i < g->out_h; i++) {
        for (int32_t j = 0; j < g->out_w; j++) {
            const int32_t y = i * g->stride_h - g->top;
            const int32_t x = j * g->stride_w - g->left;
            const int8_t *from = in + (y * g->in_w + x) * g->in_c;
            if (!eg_patch_inside(g, y, x)) {
                eg_column_edge(g, in, y, x, (int8_t *)scratch, row, tap);
                from = (const int8_t *)scratch;
            }
            eg_depthwise_pixel(p, from, row, tap, out);
            out += p->out_c;
        }
    }
}

#endif
