/* Any function of one int16 number, by a table of 513 entries between which is interpolated (TFLite's LUTLookup).
 *
 * Entry i stands for the number (i - 256) * 128. in and out may be the same memory. */
#ifndef EG_LUT_S16_H
#define EG_LUT_S16_H

#include "eg_core.h"

struct eg_lut_s16_params {
    int32_t count; /* elements, >= 1 */
    const int16_t *table;
};

EG_INLINE int16_t eg_interpolate(int32_t value, const int16_t *table) {
    const int32_t index = 256 + (value >> 7);
    const int32_t base = table[index];
    return (int16_t)(base + (((table[index + 1] - base) * (value & 127) + 64) >> 7));
}

EG_KERNEL void eg_lut_s16(const struct eg_lut_s16_params *p, const int16_t *in, int16_t *out) {
    for (int32_t i = 0; i < p->count; i++) {
        out[i] = eg_interpolate(in[i], p->table);
    }
}

#endif
