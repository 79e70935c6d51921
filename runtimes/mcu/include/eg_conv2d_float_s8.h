/* Convolution of int8 whose result stays a real number: the exact sum over the taps inside the input, the bias in it, times
 * the channel's scale in float32.
 *
 * in (in_h, in_w, in_c) int8, weights (out_c, kernel_h, kernel_w, in_c / groups) int8, out (out_h, out_w, out_c) float32.
 * bias: int32 (out_c); scale: float32 (out_c). Sums stay within int32. */
#ifndef EG_CONV2D_FLOAT_S8_H
#define EG_CONV2D_FLOAT_S8_H

#include "eg_core.h"

struct eg_conv2d_float_s8_params {
    const int8_t *weights;
    const int32_t *bias;
    const float *scale;
    int32_t in_h, in_w, in_c;
    int32_t out_h, out_w, out_c;
    int32_t kernel_h, kernel_w;
    int32_t stride_h, stride_w;
    int32_t dilation_h, dilation_w;
    int32_t top, left;
    int32_t groups;
    int32_t zero_point; /* of the input */
};

EG_INLINE int32_t eg_conv2d_float_sum(const struct eg_conv2d_float_s8_params *p, const int8_t *in, int32_t y, int32_t x,
                                      int32_t c) {
    const int32_t deep = p->in_c / p->groups;
    const int32_t first = c / (p->out_c / p->groups) * deep;
    int32_t sum = p->bias[c];
    for (int32_t i = 0; i < p->kernel_h; i++) {
        const int32_t row = y + i * p->dilation_h;
        if (row < 0 || row >= p->in_h) {
            continue;
        }
        for (int32_t j = 0; j < p->kernel_w; j++) {
            const int32_t column = x + j * p->dilation_w;
            if (column < 0 || column >= p->in_w) {
                continue;
            }
            const int8_t *from = in + (row * p->in_w + column) * p->in_c + first;
            const int8_t *tap = p->weights + ((c * p->kernel_h + i) * p->kernel_w + j) * deep;
            for (int32_t k = 0; k < deep; k++) {
                sum += (from[k] - p->zero_point) * tap[k];
            }
        }
    }
    return sum;
}

EG_KERNEL void eg_conv2d_float_s8(const struct eg_conv2d_float_s8_params *p, const int8_t *in, float *out) {
    for (int32_t y = 0; y < p->out_h; y++) {
        for (int32_t x = 0; x < p->out_w; x++) {
            for (int32_t c = 0; c < p->out_c; c++) {
                const int32_t sum =
                    eg_conv2d_float_sum(p, in, y * p->stride_h - p->top, x * p->stride_w - p->left, c);
                *out++ = (float)sum * p->scale[c];
            }
        }
    }
}

#endif
