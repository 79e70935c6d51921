/* An int8 image in another size, between whose cells is interpolated, as TFLite Micro does it without float32.
 *
 * in: (height, width, channels); out: (out_height, out_width, channels), of one scale. For each row and column of the output the
 * two of the input and the second's share in 1/1024, which may be below 0 or above 1024 at the edges. */
#ifndef EG_RESIZE_BILINEAR_S8_H
#define EG_RESIZE_BILINEAR_S8_H

#include "eg_core.h"

struct eg_resize_bilinear_s8_params {
    int32_t out_height, out_width;
    int32_t width, channels;
    const int16_t *y_first, *y_second, *y_part; /* out_height */
    const int16_t *x_first, *x_second, *x_part; /* out_width */
};

EG_KERNEL void eg_resize_bilinear_s8(const struct eg_resize_bilinear_s8_params *p, const int8_t *in, int8_t *out) {
    const int32_t channels = p->channels;
    for (int32_t y = 0; y < p->out_height; y++) {
        const int8_t *upper = in + p->y_first[y] * p->width * channels;
        const int8_t *lower = in + p->y_second[y] * p->width * channels;
        const int32_t down = p->y_part[y];
        for (int32_t x = 0; x < p->out_width; x++) {
            const int32_t left = p->x_first[x] * channels;
            const int32_t right = p->x_second[x] * channels;
            const int32_t along = p->x_part[x];
            for (int32_t c = 0; c < channels; c++) {
                const int32_t above = upper[left + c] * (1024 - along) + upper[right + c] * along;
                const int32_t below = lower[left + c] * (1024 - along) + lower[right + c] * along;
                const int32_t total = above * (1024 - down) + below * down;
                *out++ = (int8_t)((total + (total > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20));
            }
        }
    }
}

#endif
