/* Convolution of int16 with int8 weights: any stride, dilation, padding and number of groups; dense layers (one pixel a vector)
 * and depthwise ones (a group a channel) too. EG_WIDE rounding, see eg_wide.h.
 *
 * in: (height, width, channels); weights: (outputs, filter_height, filter_width, channels / groups); out: (out_height,
 * out_width, outputs). */
#ifndef EG_CONV2D_S16_H
#define EG_CONV2D_S16_H

#include "eg_wide.h"

struct eg_conv2d_s16_params {
    const int8_t *weights;
    struct eg_wide output;
    int32_t height, width, channels, groups;
    int32_t out_height, out_width, outputs;
    int32_t filter_height, filter_width;
    int32_t stride_height, stride_width;
    int32_t dilation_height, dilation_width;
    int32_t top, left;
};

EG_KERNEL void eg_conv2d_s16(const struct eg_conv2d_s16_params *p, const int16_t *in, int16_t *out) {
    const int32_t depth = p->channels / p->groups;
    const int32_t outputs = p->outputs / p->groups;
    for (int32_t y = 0; y < p->out_height; y++) {
        for (int32_t x = 0; x < p->out_width; x++) {
            for (int32_t o = 0; o < p->outputs; o++) {
                const int16_t *group = in + o / outputs * depth;
                int64_t sum = p->output.bias[o];
                for (int32_t i = 0; i < p->filter_height; i++) {
                    const int32_t row = y * p->stride_height - p->top + i * p->dilation_height;
                    if (row < 0 || row >= p->height) {
                        continue;
                    }
                    for (int32_t j = 0; j < p->filter_width; j++) {
                        const int32_t column = x * p->stride_width - p->left + j * p->dilation_width;
                        if (column < 0 || column >= p->width) {
                            continue;
                        }
                        sum += eg_dot_wide(group + (row * p->width + column) * p->channels,
                                           p->weights + ((o * p->filter_height + i) * p->filter_width + j) * depth, depth);
                    }
                }
                *out++ = eg_finish_wide(&p->output, sum, o);
            }
        }
    }
}

#endif
