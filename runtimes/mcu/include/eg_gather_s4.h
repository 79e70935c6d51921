/* Rows of a table of 4-bit numbers by place, as int8 of another scale: an embedding at half the flash of int8.
 *
 *   out = clamp(round(number * scale of the row / out_scale) + zero_point)      float32, halves away from zero
 *
 * A row has `width` numbers from -8 to 7 in (width + 1) / 2 bytes, the first of each byte in its low half. There are 16 results
 * a row, so that the float32 arithmetic is done 16 times a row. scales: one, or one a row (scale_step 1). A place below 0 or
 * beyond the last row takes the first or the last. */
#ifndef EG_GATHER_S4_H
#define EG_GATHER_S4_H

#include "eg_requantize.h"

struct eg_gather_s4_params {
    int32_t rows, count, width; /* >= 1 */
    const uint8_t *table;
    const float *scales;
    int32_t scale_step; /* 0 or 1 */
    float out_scale;    /* > 0 */
    int32_t zero_point;
};

EG_KERNEL void eg_gather_s4(const struct eg_gather_s4_params *p, const int32_t *places, int8_t *out) {
    const int32_t bytes = (p->width + 1) / 2;
    for (int32_t i = 0; i < p->count; i++) {
        const int32_t place = eg_clamp(places[i], 0, p->rows - 1);
        int8_t results[16];
        for (int32_t n = -8; n < 8; n++) {
            const float least = (float)(-128 - p->zero_point);
            const float most = (float)(127 - p->zero_point);
            const volatile float real = (float)n * p->scales[place * p->scale_step]; /* volatile: float32 on every core */
            float steps = real / p->out_scale;
            steps = steps < least ? least : steps > most ? most : steps;
            const int32_t whole = (int32_t)steps;
            const float rest = steps - (float)whole;
            results[n & 15] = (int8_t)(whole + (rest >= 0.5f) - (rest <= -0.5f) + p->zero_point);
        }
        const uint8_t *row = p->table + place * bytes;
        for (int32_t k = 0; k < p->width; k++) {
            *out++ = results[(row[k / 2] >> (4 * (k & 1))) & 15];
        }
    }
}

#endif
