/* Numbers in another type: integers keep their low bits, float32 is cut towards zero and clamped to the type. */
#ifndef EG_CAST_H
#define EG_CAST_H

#include "eg_integers.h"

struct eg_cast_params {
    int32_t count;    /* elements, >= 1 */
    int32_t from, to; /* eg_types.h */
};

EG_INLINE int32_t eg_cut(float value, int32_t type) {
    const int32_t least = eg_least(type);
    const int32_t greatest = eg_greatest(type);
    if (value != value) {
        return 0;
    }
    return value <= (float)least ? least : value >= (float)greatest ? greatest : (int32_t)value;
}

EG_KERNEL void eg_cast(const struct eg_cast_params *p, const void *in, void *out) {
    for (int32_t i = 0; i < p->count; i++) {
        if (p->from == EG_FLOAT32 && p->to == EG_FLOAT32) {
            ((float *)out)[i] = ((const float *)in)[i];
        } else if (p->from == EG_FLOAT32) {
            const float value = ((const float *)in)[i];
            eg_set_integer(out, p->to, i, p->to == EG_BOOL ? value != 0.0f : eg_cut(value, p->to));
        } else if (p->to == EG_FLOAT32) {
            ((float *)out)[i] = (float)eg_get_integer(in, p->from, i);
        } else {
            eg_set_integer(out, p->to, i, eg_get_integer(in, p->from, i));
        }
    }
}

#endif
