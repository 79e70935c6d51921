/* Comparisons of two integer or bool tensors of one type, and logic of bools; out is 0 or 1 in a byte. */
#ifndef EG_COMPARE_H
#define EG_COMPARE_H

#include "eg_integers.h"
#include "eg_loops.h"

enum { EG_EQUAL = 0, EG_NOT_EQUAL, EG_LESS, EG_LESS_EQUAL, EG_GREATER, EG_GREATER_EQUAL, EG_AND, EG_OR };

struct eg_compare_params {
    struct eg_loops loops;
    int32_t operation; /* EG_EQUAL ... */
    int32_t type;      /* of a and b, eg_types.h; not EG_FLOAT32 */
};

EG_KERNEL void eg_compare(const struct eg_compare_params *p, const void *a, const void *b, uint8_t *out) {
    EG_LOOPS (p->loops, ia, ib, o) {
        const int32_t x = eg_get_integer(a, p->type, ia);
        const int32_t y = eg_get_integer(b, p->type, ib);
        switch (p->operation) {
        case EG_EQUAL: out[o] = x == y; break;
        case EG_NOT_EQUAL: out[o] = x != y; break;
        case EG_LESS: out[o] = x < y; break;
        case EG_LESS_EQUAL: out[o] = x <= y; break;
        case EG_GREATER: out[o] = x > y; break;
        case EG_GREATER_EQUAL: out[o] = x >= y; break;
        case EG_AND: out[o] = x && y; break;
        default: out[o] = x || y;
        }
    }
}

#endif
