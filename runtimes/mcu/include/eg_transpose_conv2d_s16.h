/* Transposed convolution of int16 with int8 weights: each output pixel gathers the taps that reach it. See eg_wide.h.
 *
 * in: (height, width, channels); weights: (outputs, filter_height, filter_width, channels); out: (out_height, out_width,
 * outputs), `top` and `left` cut off the full result. */
#ifndef EG_TRANSPOSE_CONV2D_S16_H
#define EG_TRANSPOSE_CONV2D_S16_H

#include "eg_wide.h"

struct eg_transpose_conv2d_s16_params {
    const int8_t *weights;
    struct eg_wide output;
    int32_t height, width, channels;
    int32_t out_height, out_width, outputs;
    int32_t filter_height, filter_width;
    int32_t stride_height, stride_width;
    int32_t top, left;
};

EG_KERNEL void eg_transpose_conv2d_s16(const struct eg_transpose_conv2d_s16_params *p, const int16_t *in, int16_t *out) {
    const int32_t channels = p->channels;
    for (int32_t y = 0; y < p->out_height; y++) {
        for (int32_t x = 0; x < p->out_width; x++) {
            for (int32_t o = 0; o < p->outputs; o++) {
                int64_t sum = p->output.bias[o];
                for (int32_t i = (y + p->top) % p->stride_height; i < p->filter_height; i += p->stride_height) {
                    const int32_t row = (y + p->top - i) / p->stride_height;
                    if (y + p->top < i || row >= p->height) {
                        continue;
                    }
                    for (int32_t j = (x + p->left) % p->stride_width; j < p->filter_width; j += p->stride_width) {
                        const int32_t column = (x + p->left - j) / p->stride_width;
                        if (x + p->left < j || column >= p->width) {
                            continue;
                        }
                        sum += eg_dot_wide(in + (row * p->width + column) * channels,
                                           p->weights + ((o * p->filter_height + i) * p->filter_width + j) * channels, channels);
                    }
                }
                *out++ = eg_finish_wide(&p->output, sum, o);
            }
        }
    }
}

#endif
