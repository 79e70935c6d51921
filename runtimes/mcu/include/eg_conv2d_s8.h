/* Convolution, int8, channels last: any stride, dilation, padding and number of groups.
 *
 * in (in_h, in_w, in_c), out (out_h, out_w, out_c), both int8. A group reads in_c / groups channels and makes
 * out_c / groups. Weights are packed a group after the other (eg_rows_s8.h) with rows = out_c / groups and
 * depth = kernel_h x kernel_w x in_c / groups.
 * scratch: 4-byte aligned, as many bytes as eg_patch_run asks for. */
#ifndef EG_CONV2D_S8_H
#define EG_CONV2D_S8_H

#include "eg_patch_s8.h"

struct eg_conv2d_s8_params {
    struct eg_patch patch; /* of the first group */
    struct eg_rows rows;   /* of the first group */
    struct eg_output output;
    int32_t groups;
};

/* ``count`` rows of the output from ``row`` on; out is where the first of them goes. */
EG_INLINE void eg_conv2d_rows(const struct eg_conv2d_s8_params *p, const int8_t *in, int8_t *out, void *scratch,
                              int32_t row, int32_t count) {
    if (p->groups == 1) {
        eg_patch_rows(&p->patch, &p->rows, &p->output, 0, in, out, (int8_t *)scratch, row, count);
        return;
    }
    const int32_t blocks = (p->rows.rows + p->rows.block - 1) / p->rows.block;
    for (int32_t group = 0; group < p->groups; group++) {
        struct eg_patch patch = p->patch;
        struct eg_rows rows = p->rows;
        patch.first_c = group * patch.channels;
        rows.weights += group * blocks * rows.block * rows.padded_depth;
        eg_patch_rows(&patch, &rows, &p->output, group * rows.rows, in, out + group * rows.rows, (int8_t *)scratch,
                      row, count);
    }
}

EG_KERNEL void eg_conv2d_s8(const struct eg_conv2d_s8_params *p, const int8_t *in, int8_t *out, void *scratch) {
    eg_conv2d_rows(p, in, out, scratch, 0, p->patch.out_h);
}

#endif
