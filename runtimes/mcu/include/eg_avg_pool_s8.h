/* Average pooling, int8, channels last: the sum over the taps inside the input, divided by their number, ties away from
 * zero (TFLite's reference). Input and output share scale and zero point.
 *
 * in (in_h, in_w, channels), out (out_h, out_w, channels), both int8. Taps outside the input do not count; every window
 * has one inside. |sum| stays below 2^31: fewer than 2^24 taps. */
#ifndef EG_AVG_POOL_S8_H
#define EG_AVG_POOL_S8_H

#include "eg_requantize.h"

struct eg_avg_pool_s8_params {
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
    int32_t low;
    int32_t high;
};

EG_KERNEL void eg_avg_pool_s8(const struct eg_avg_pool_s8_params *p, const int8_t *in, int8_t *out) {
    for (int32_t i = 0; i < p->out_h; i++) {
        const int32_t y = i * p->stride_h - p->top;
        const int32_t y0 = y < 0 ? 0 : y;
        const int32_t y1 = y + p->filter_h > p->in_h ? p->in_h : y + p->filter_h;
        for (int32_t j = 0; j < p->out_w; j++) {
            const int32_t x = j * p->stride_w - p->left;
            const int32_t x0 = x < 0 ? 0 : x;
            const int32_t x1 = x + p->filter_w > p->in_w ? p->in_w : x + p->filter_w;
            const int32_t count = (y1 - y0) * (x1 - x0);
            for (int32_t c = 0; c < p->channels; c++) {
                int32_t sum = 0;
                for (int32_t row = y0; row < y1; row++) {
                    const int8_t *at = in + (row * p->in_w + x0) * p->channels + c;
                    for (int32_t k = x0; k < x1; k++) {
                        sum += *at;
                        at += p->channels;
                    }
                }
                sum = sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
                *out++ = (int8_t)eg_clamp(sum, p->low, p->high);
            }
        }
    }
}

#endif
