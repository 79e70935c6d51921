/* int16 times a gain plus an offset, by channel: a batch norm that could not be folded into its neighbours.
 *
 * in, out: (rows, channels), may be the same memory. The last step is eg_affine.h's, of the number less its zero point. */
#ifndef EG_BATCH_NORM_S16_H
#define EG_BATCH_NORM_S16_H

#include "eg_affine.h"

struct eg_batch_norm_s16_params {
    int32_t rows, channels; /* >= 1 */
    int32_t in_zero_point, out_zero_point;
    int32_t gain_bits;            /* [1, 30] */
    const int32_t *gain, *offset; /* channels */
    int32_t low, high;            /* clamp, within int16 */
};

EG_KERNEL void eg_batch_norm_s16(const struct eg_batch_norm_s16_params *p, const int16_t *in, int16_t *out) {
    for (int32_t row = 0; row < p->rows; row++) {
        for (int32_t c = 0; c < p->channels; c++) {
            const int32_t number = (*in++ - p->in_zero_point) * 16384;
            *out++ = (int16_t)eg_affine(number, p->gain[c], (int)p->gain_bits, p->offset[c], p->out_zero_point, p->low, p->high);
        }
    }
}

#endif
