/* A convolution and the sum of its output with another tensor of the same shape, a row of the image at a time: the
 * convolution's whole output stands nowhere.
 *
 * Bytes are those of eg_conv2d_s8 followed by eg_add_s8; add is of one row;
 * other and out (out_h, row_bytes) may be the same memory, for a row is read before it is written, and no sooner.
 * scratch: 4-byte aligned: the convolution's, and behind ``staged`` bytes of it one row. */
#ifndef EG_CONV2D_ADD_S8_H
#define EG_CONV2D_ADD_S8_H

#include "eg_add_s8.h"
#include "eg_conv2d_s8.h"

struct eg_conv2d_add_s8_params {
    struct eg_conv2d_s8_params conv;
    struct eg_add_s8_params add;
    int32_t row_bytes;
    int32_t staged;
};

EG_KERNEL void eg_conv2d_add_s8(const struct eg_conv2d_add_s8_params *p, const int8_t *in, const int8_t *other,
                                int8_t *out, void *scratch) {
    int8_t *row = (int8_t *)scratch + p->staged;
    for (int32_t i = 0; i < p->conv.patch.out_h; i++) {
        eg_conv2d_rows(&p->conv, in, row, scratch, i, 1);
        eg_add_s8(&p->add, row, other + i * p->row_bytes, out + i * p->row_bytes);
    }
}

#endif
