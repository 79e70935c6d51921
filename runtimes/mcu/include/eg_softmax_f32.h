/* Softmax over the last axis of float32; e^x of eg_float.h, sums in order. in and out may be the same memory. */
#ifndef EG_SOFTMAX_F32_H
#define EG_SOFTMAX_F32_H

#include "eg_float.h"

struct eg_softmax_f32_params {
    int32_t rows, depth; /* >= 1 */
    float beta;
};

EG_KERNEL void eg_softmax_f32(const struct eg_softmax_f32_params *p, const float *in, float *out) {
    for (int32_t row = 0; row < p->rows; row++) {
        float largest = in[0];
        for (int32_t i = 1; i < p->depth; i++) {
            largest = in[i] > largest ? in[i] : largest;
        }
        float sum = 0.0f;
        for (int32_t i = 0; i < p->depth; i++) {
            out[i] = eg_exp_f32(eg_times(in[i] - largest, p->beta));
            sum += out[i];
        }
        for (int32_t i = 0; i < p->depth; i++) {
            out[i] /= sum;
        }
        in += p->depth;
        out += p->depth;
    }
}

#endif
