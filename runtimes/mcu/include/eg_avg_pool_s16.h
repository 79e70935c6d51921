/* The mean int16 number of each window, by channel, halves away from zero; cells outside the image count nothing.
 *
 * in: (height, width, channels); out: (out_height, out_width, channels), of one scale. Every window has a cell of the image and
 * at most 65,536. */
#ifndef EG_AVG_POOL_S16_H
#define EG_AVG_POOL_S16_H

#include "eg_requantize.h"

struct eg_avg_pool_s16_params {
    int32_t height, width, channels;
    int32_t out_height, out_width;
    int32_t filter_height, filter_width;
    int32_t stride_height, stride_width;
    int32_t top, left;
    int32_t low, high; /* clamp, within int16 */
};

EG_KERNEL void eg_avg_pool_s16(const struct eg_avg_pool_s16_params *p, const int16_t *in, int16_t *out) {
    for (int32_t y = 0; y < p->out_height; y++) {
        const int32_t y0 = y * p->stride_height - p->top;
        const int32_t from_y = y0 < 0 ? 0 : y0;
        const int32_t to_y = y0 + p->filter_height < p->height ? y0 + p->filter_height : p->height;
        for (int32_t x = 0; x < p->out_width; x++) {
            const int32_t x0 = x * p->stride_width - p->left;
            const int32_t from_x = x0 < 0 ? 0 : x0;
            const int32_t to_x = x0 + p->filter_width < p->width ? x0 + p->filter_width : p->width;
            const int32_t cells = (to_y - from_y) * (to_x - from_x);
            for (int32_t c = 0; c < p->channels; c++) {
                int64_t sum = 0;
                for (int32_t v = from_y; v < to_y; v++) {
                    for (int32_t u = from_x; u < to_x; u++) {
                        sum += in[(v * p->width + u) * p->channels + c];
                    }
                }
                const int64_t half = sum > 0 ? cells / 2 : -(cells / 2);
                *out++ = (int16_t)eg_clamp((int32_t)((sum + half) / cells), p->low, p->high);
            }
        }
    }
}

#endif
