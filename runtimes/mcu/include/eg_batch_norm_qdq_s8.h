/* A gain and an offset by channel (the last axis) under EG_ONNX_QDQ: the number is dequantized, multiplied and added to in
 * float32; ties to even.
 *
 * in and out: (rows, channels), int8. out may be in. */
#ifndef EG_BATCH_NORM_QDQ_S8_H
#define EG_BATCH_NORM_QDQ_S8_H

#include "eg_qdq.h"

struct eg_batch_norm_qdq_s8_params {
    int32_t rows, channels;
    int32_t in_zero_point, out_zero_point;
    float in_scale, out_scale;
    const float *gain, *offset; /* channels */
    int32_t low, high;          /* clamp, within int8 */
};

EG_KERNEL void eg_batch_norm_qdq_s8(const struct eg_batch_norm_qdq_s8_params *p, const int8_t *in, int8_t *out) {
    for (int32_t row = 0; row < p->rows; row++) {
        for (int32_t c = 0; c < p->channels; c++) {
            const volatile float real = (float)(*in++ - p->in_zero_point) * p->in_scale;
            const volatile float scaled = real * p->gain[c]; /* volatile: no fused multiply-add */
            *out++ = eg_steps_s8((scaled + p->offset[c]) / p->out_scale, p->out_zero_point, p->low, p->high);
        }
    }
}

#endif
