/* A function of every number of a float32 tensor: straight pieces, e^x, sigmoid, tanh. Same bits on every core (eg_float.h).
 *
 * EG_PIECES: x * below for x < 0, else x * above, then clamped. in and out may be the same memory. */
#ifndef EG_FUNCTION_F32_H
#define EG_FUNCTION_F32_H

#include "eg_float.h"

enum { EG_PIECES = 0, EG_SQUARE, EG_EXP, EG_SIGMOID, EG_TANH };

struct eg_function_f32_params {
    int32_t count;    /* elements, >= 1 */
    int32_t function; /* EG_PIECES ... */
    float below, above;
    float low, high;
};

EG_KERNEL void eg_function_f32(const struct eg_function_f32_params *p, const float *in, float *out) {
    for (int32_t i = 0; i < p->count; i++) {
        const float x = in[i];
        float y = x;
        switch (p->function) {
        case EG_PIECES: y = x < 0.0f ? x * p->below : x * p->above; break;
        case EG_SQUARE: y = x * x; break;
        case EG_EXP: y = eg_exp_f32(x); break;
        case EG_SIGMOID: y = 1.0f / (1.0f + eg_exp_f32(-x)); break;
        default: {
            const float twice = eg_exp_f32(x < 0.0f ? 2.0f * x : -2.0f * x);
            const float size = (1.0f - twice) / (1.0f + twice);
            y = x < 0.0f ? -size : size;
        }
        }
        out[i] = y < p->low ? p->low : y > p->high ? p->high : y;
    }
}

#endif
