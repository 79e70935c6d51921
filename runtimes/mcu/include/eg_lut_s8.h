#ifndef EG_LUT_S8_H
#define EG_LUT_S8_H
/* Any function of one 8-bit number, by a table: out[i] = table[(uint8_t)in[i]].
 *
 * table: 256 bytes, for 0 .. 127 and then -128 .. -1. in and out may be the same memory. */
#include "eg_core.h"

struct eg_lut_s8_params {
    int32_t count; /* elements, >= 1 */
    const int8_t *table;
};

EG_KERNEL void eg_lut_s8(const struct eg_lut_s8_params *p, const void *in, void *out) {
    const uint8_t *from = (const uint8_t *)in;
    int8_t *to = (int8_t *)out;
    const int8_t *table = p->table;
    int32_t i = 0;
    for (; i + 4 <= p->count; i += 4) {
        const int8_t a = table[from[i]], b = table[from[i + 1]], c = table[from[i + 2]], d = table[from[i + 3]];
        to[i] = a;
        to[i + 1] = b;
        to[i + 2] = c;
        to[i + 3] = d;
    }
    for (; i < p->count; i++)
        to[i] = table[from[i]];
}

#endif
