#ifndef EG_FILL_H
#define EG_FILL_H
/* Writes one number to every element of a tensor: what pad leaves round its input.
 *
 * `value` holds the element's bits, in the low 8, 16 or 32 of them; `width`: bytes an element, 1, 2 or 4. */
#include "eg_core.h"

struct eg_fill_params {
    int32_t count; /* elements, >= 1 */
    int32_t width;
    uint32_t value;
};

EG_KERNEL void eg_fill(const struct eg_fill_params *p, void *out) {
    if (p->width == 1) {
        memset(out, (int)(p->value & 255u), (size_t)p->count);
    } else if (p->width == 2) {
        uint16_t *to = (uint16_t *)out;
        for (int32_t i = 0; i < p->count; i++)
            to[i] = (uint16_t)p->value;
    } else {
        for (int32_t i = 0; i < p->count; i++)
            memcpy((char *)out + 4 * i, &p->value, 4);
    }
}

#endif
