/* Transposed convolution, int8, channels last, without zero stuffing: output pixels of one phase (place modulo the
 * stride) are an ordinary convolution of the input with every stride-th tap of the kernel.
 *
 * in (in_h, in_w, in_c), out (out_h, out_w, out_c), both int8. ``top`` rows and ``left`` columns are cut off the full
 * result.
 *
 * Phase (a, b), a < stride_h, b < stride_w in row order, holds taps a + i * stride_h < kernel_h, the last one first,
 * and so along the width. Its rows are packed (eg_rows_s8.h) behind those of the phase before; its biases are channels
 * [phase * out_c, (phase + 1) * out_c) of the output's table. A phase without a tap gives the bias.
 *
 * scratch: 4-byte aligned, as eg_patch_run asks for with the padded depth of the phase that has most taps. */
#ifndef EG_TRANSPOSE_CONV2D_S8_H
#define EG_TRANSPOSE_CONV2D_S8_H

#include "eg_patch_s8.h"

struct eg_transpose_conv2d_s8_params {
    struct eg_output output;
    const int8_t *weights;
    int32_t block;
    int32_t chunk;
    int32_t in_h;
    int32_t in_w;
    int32_t in_c;
    int32_t out_h;
    int32_t out_w;
    int32_t out_c;
    int32_t kernel_h;
    int32_t kernel_w;
    int32_t stride_h;
    int32_t stride_w;
    int32_t top;
    int32_t left;
    int32_t fill; /* the input's zero point */
};

/* The first place of an output axis that belongs to a phase: (place + cut) % stride == phase. */
EG_INLINE int32_t eg_phase_start(int32_t phase, int32_t cut, int32_t stride) {
    return ((phase - cut) % stride + stride) % stride;
}

EG_INLINE int32_t eg_phase_taps(int32_t kernel, int32_t phase, int32_t stride) {
    return phase < kernel ? (kernel - phase + stride - 1) / stride : 0;
}

EG_KERNEL void eg_transpose_conv2d_s8(const struct eg_transpose_conv2d_s8_params *p, const int8_t *in, int8_t *out,
                                      void *scratch) {
    const int32_t padded_rows = (p->out_c + p->block - 1) / p->block * p->block;
    const int8_t *weights = p->weights;
    for (int32_t a = 0; a < p->stride_h; a++) {
        for (int32_t b = 0; b < p->stride_w; b++) {
            const int32_t taps_h = eg_phase_taps(p->kernel_h, a, p->stride_h);
            const int32_t taps_w = eg_phase_taps(p->kernel_w, b, p->stride_w);
            const int32_t y = eg_phase_start(a, p->top, p->stride_h);
            const int32_t x = eg_phase_start(b, p->left, p->stride_w);
            const int32_t depth = taps_h * taps_w * p->in_c;
            const struct eg_rows rows = {weights,  p->out_c, depth, eg_packed_depth(depth, p->chunk),
                                         p->block, p->chunk};
            const struct eg_patch patch = {
                .in_h = p->in_h,
                .in_w = p->in_w,
                .in_c = p->in_c,
                .first_c = 0,
                .channels = p->in_c,
                .kernel_h = taps_h,
                .kernel_w = taps_w,
                .stride_h = 1,
                .stride_w = 1,
                .dilation_h = 1,
                .dilation_w = 1,
                .top = taps_h - 1 - (y + p->top) / p->stride_h,
                .left = taps_w - 1 - (x + p->left) / p->stride_w,
                .out_h = y < p->out_h ? (p->out_h - y + p->stride_h - 1) / p->stride_h : 0,
                .out_w = x < p->out_w ? (p->out_w - x + p->stride_w - 1) / p->stride_w : 0,
                .out_row = p->stride_h * p->out_w * p->out_c,
                .out_pixel = p->stride_w * p->out_c,
                .fill = p->fill,
            };
            eg_patch_run(&patch, &rows, &p->output, (a * p->stride_w + b) * p->out_c, in,
                         out + (y * p->out_w + x) * p->out_c, (int8_t *)scratch);
            weights += padded_rows * rows.padded_depth;
        }
    }
}

#endif
