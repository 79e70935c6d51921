/* Average pooling, int8, channels last, under EG_ONNX_QDQ: the exact sum of the taps less the zero point, divided by their
 * number and brought to the output's scale in float32; ties to even.
 *
 * in (in_h, in_w, channels), out (out_h, out_w, channels), both int8. Every window has a tap inside the input. Taps
 * outside are left out; with ``divisor`` they count as zeros: it is the number of taps that a whole window has.
 * |sum| stays below 2^31: fewer than 2^23 taps. */
#ifndef EG_AVG_POOL_QDQ_S8_H
#define EG_AVG_POOL_QDQ_S8_H

#include "eg_qdq.h"

struct eg_avg_pool_qdq_s8_params {
    int32_t in_h;
    int32_t in_w;
    int32_t channels;
    int32_t out_h;
    int32_t out_w;
    int32_t filter_h;
    int32_t filter_w;
    int32_t stride_h;
    int32_t stride_w;
    int32_t top;
    int32_t left;
    int32_t in_zero_point;
    int32_t out_zero_point;
    float scale;     /* the input's over the output's */
    int32_t divisor; /* 0: the taps inside */
    int32_t low;
    int32_t high;
};

EG_KERNEL void eg_avg_pool_qdq_s8(const struct eg_avg_pool_qdq_s8_params *p, const int8_t *in, int8_t *out) {
    for (int32_t i = 0; i < p->out_h; i++) {
        const int32_t y = i * p->stride_h - p->top;
        const int32_t y0 = y < 0 ? 0 : y;
        const int32_t y1 = y + p->filter_h > p->in_h ? p->in_h : y + p->filter_h;
        for (int32_t j = 0; j < p->out_w; j++) {
            const int32_t x = j * p->stride_w - p->left;
            const int32_t x0 = x < 0 ? 0 : x;
            const int32_t x1 = x + p->filter_w > p->in_w ? p->in_w : x + p->filter_w;
            const int32_t inside = (y1 - y0) * (x1 - x0);
            const float count = (float)(p->divisor > 0 ? p->divisor : inside);
            for (int32_t c = 0; c < p->channels; c++) {
                int32_t sum = -inside * p->in_zero_point;
                for (int32_t row = y0; row < y1; row++) {
                    const int8_t *at = in + (row * p->in_w + x0) * p->channels + c;
                    for (int32_t k = x0; k < x1; k++) {
                        sum += *at;
                        at += p->channels;
                    }
                }
                const volatile float mean = (float)sum / count; /* volatile: no fused operation */
                *out++ = eg_steps_s8(mean * p->scale, p->out_zero_point, p->low, p->high);
            }
        }
    }
}

#endif
