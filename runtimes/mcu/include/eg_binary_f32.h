/* Arithmetic of two float32 tensors, one rounding an operation as IEEE 754 has it.
 *
 * out may be a or b where that is not broadcast. */
#ifndef EG_BINARY_F32_H
#define EG_BINARY_F32_H

#include "eg_loops.h"

enum { EG_ADD = 0, EG_SUB, EG_MUL, EG_DIV, EG_MAXIMUM, EG_MINIMUM, EG_SQUARED_DIFFERENCE };

struct eg_binary_f32_params {
    struct eg_loops loops;
    int32_t operation; /* EG_ADD ... */
    float low, high;   /* clamp */
};

EG_KERNEL void eg_binary_f32(const struct eg_binary_f32_params *p, const float *a, const float *b, float *out) {
    EG_LOOPS (p->loops, ia, ib, o) {
        const float x = a[ia];
        const float y = b[ib];
        float z = x;
        switch (p->operation) {
        case EG_ADD: z = x + y; break;
        case EG_SUB: z = x - y; break;
        case EG_MUL: z = x * y; break;
        case EG_DIV: z = x / y; break;
        case EG_MAXIMUM: z = x > y ? x : y; break;
        case EG_MINIMUM: z = x < y ? x : y; break;
        default: {
            const volatile float difference = x - y; /* volatile: never fused into a multiply-add */
            z = difference * difference;
        }
        }
        out[o] = z < p->low ? p->low : z > p->high ? p->high : z;
    }
}

#endif
