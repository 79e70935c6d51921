/* The largest int8 number of each window, by channel; cells outside the image count nothing.
 *
 * in: (height, width, channels); out: (out_height, out_width, channels). Every window has a cell of the image. */
#ifndef EG_MAX_POOL_S8_H
#define EG_MAX_POOL_S8_H

#include "eg_requantize.h"

struct eg_max_pool_s8_params {
    int32_t height, width, channels;
    int32_t out_height, out_width;
    int32_t filter_height, filter_width;
    int32_t stride_height, stride_width;
    int32_t top, left;
    int32_t low, high; /* clamp, within int8 */
};

EG_KERNEL void eg_max_pool_s8(const struct eg_max_pool_s8_params *p, const int8_t *in, int8_t *out) {
    const int32_t channels = p->channels;
    for (int32_t y = 0; y < p->out_height; y++) {
        const int32_t y0 = y * p->stride_height - p->top;
        const int32_t from_y = y0 < 0 ? 0 : y0;
        const int32_t to_y = y0 + p->filter_height < p->height ? y0 + p->filter_height : p->height;
        for (int32_t x = 0; x < p->out_width; x++) {
            const int32_t x0 = x * p->stride_width - p->left;
            const int32_t from_x = x0 < 0 ? 0 : x0;
            const int32_t to_x = x0 + p->filter_width < p->width ? x0 + p->filter_width : p->width;
            for (int32_t c = 0; c < channels; c++) {
                out[c] = (int8_t)p->low;
            }
            for (int32_t v = from_y; v < to_y; v++) {
                const int8_t *cell = in + (v * p->width + from_x) * channels;
                for (int32_t u = from_x; u < to_x; u++) {
                    for (int32_t c = 0; c < channels; c++) {
                        out[c] = cell[c] > out[c] ? cell[c] : out[c];
                    }
                    cell += channels;
                }
            }
            for (int32_t c = 0; c < channels; c++) {
                out[c] = (int8_t)(out[c] > p->high ? p->high : out[c]);
            }
            out += channels;
        }
    }
}

#endif
