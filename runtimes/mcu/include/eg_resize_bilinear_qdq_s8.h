/* Bilinear resize, int8, channels last, under EG_ONNX_QDQ: four cells are dequantized and weighted in float32, in the order
 * of onnxruntime's kernel; ties to even.
 *
 * in (height, width, channels), out (out_height, out_width, channels). For each row and column of the output: the first
 * and the second cell of the input, and the weight of each. */
#ifndef EG_RESIZE_BILINEAR_QDQ_S8_H
#define EG_RESIZE_BILINEAR_QDQ_S8_H

#include "eg_qdq.h"

struct eg_resize_bilinear_qdq_s8_params {
    int32_t out_height, out_width, width, channels;
    const int16_t *y_first, *y_second, *x_first, *x_second;
    const float *y_near, *y_far, *x_near, *x_far; /* weights of the first and of the second */
    int32_t in_zero_point, out_zero_point;
    float in_scale, out_scale;
};

EG_KERNEL void eg_resize_bilinear_qdq_s8(const struct eg_resize_bilinear_qdq_s8_params *p, const int8_t *in,
                                         int8_t *out) {
    for (int32_t y = 0; y < p->out_height; y++) {
        const int8_t *upper = in + p->y_first[y] * p->width * p->channels;
        const int8_t *lower = in + p->y_second[y] * p->width * p->channels;
        for (int32_t x = 0; x < p->out_width; x++) {
            const int32_t left = p->x_first[x] * p->channels;
            const int32_t right = p->x_second[x] * p->channels;
            const float weights[4] = {p->x_near[x] * p->y_near[y], p->x_far[x] * p->y_near[y],
                                      p->x_near[x] * p->y_far[y], p->x_far[x] * p->y_far[y]};
            for (int32_t c = 0; c < p->channels; c++) {
                const int32_t cells[4] = {upper[left + c], upper[right + c], lower[left + c], lower[right + c]};
                float sum = 0.0f;
                for (int32_t k = 0; k < 4; k++) {
                    /* volatile: no fused multiply-add */
                    const volatile float real = (float)(cells[k] - p->in_zero_point) * p->in_scale;
                    const volatile float part = weights[k] * real;
                    sum += part;
                }
                *out++ = eg_steps_s8(sum / p->out_scale, p->out_zero_point, -128, 127);
            }
        }
    }
}

#endif
