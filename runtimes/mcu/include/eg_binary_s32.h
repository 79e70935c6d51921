/* Arithmetic of two int32 tensors that are not quantized: positions, counts and the like. Results wrap.
 *
 * out may be a or b where that is not broadcast. */
#ifndef EG_BINARY_S32_H
#define EG_BINARY_S32_H

#include "eg_loops.h"

enum { EG_ADD_S32 = 0, EG_SUB_S32, EG_MUL_S32, EG_MAXIMUM_S32, EG_MINIMUM_S32, EG_FLOOR_MOD_S32, EG_FLOOR_DIV_S32 };

struct eg_binary_s32_params {
    struct eg_loops loops;
    int32_t operation; /* EG_ADD_S32 ... */
};

EG_KERNEL void eg_binary_s32(const struct eg_binary_s32_params *p, const int32_t *a, const int32_t *b, int32_t *out) {
    EG_LOOPS (p->loops, ia, ib, o) {
        const int32_t x = a[ia];
        const int32_t y = b[ib];
        const int32_t divisor = y == 0 || (y == -1 && x == INT32_MIN) ? 1 : y; /* defined where C is not */
        const int32_t rest = x % divisor;
        const int32_t down = rest != 0 && (rest < 0) != (divisor < 0);
        switch (p->operation) {
        case EG_ADD_S32: out[o] = (int32_t)((uint32_t)x + (uint32_t)y); break;
        case EG_SUB_S32: out[o] = (int32_t)((uint32_t)x - (uint32_t)y); break;
        case EG_MUL_S32: out[o] = (int32_t)((uint32_t)x * (uint32_t)y); break;
        case EG_MAXIMUM_S32: out[o] = x > y ? x : y; break;
        case EG_MINIMUM_S32: out[o] = x < y ? x : y; break;
        case EG_FLOOR_MOD_S32: out[o] = down ? rest + divisor : rest; break;
        default: out[o] = x / divisor - down;
        }
    }
}

#endif
