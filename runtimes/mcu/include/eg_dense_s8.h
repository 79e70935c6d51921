/* Dense layer, int8: each of ``vectors`` inputs of ``depth`` values meets the packed rows of eg_rows_s8.h.
 *
 * in (vectors, depth), out (vectors, rows), both int8.
 * scratch: 4-byte aligned; 3 * padded_depth bytes for a DSP packing, padded_depth for an MVE packing, else 4. */
#ifndef EG_DENSE_S8_H
#define EG_DENSE_S8_H

#include "eg_rows_s8.h"
#include "eg_rows_s8_dsp.h"
#include "eg_rows_s8_mve.h"

struct eg_dense_s8_params {
    struct eg_rows rows;
    struct eg_output output;
    int32_t vectors;
};

EG_KERNEL void eg_dense_s8(const struct eg_dense_s8_params *p, const int8_t *in, int8_t *out, void *scratch) {
    const struct eg_rows *w = &p->rows;
    (void)scratch; /* portable C needs none */
#if defined(EG_ISA_DSP)
    if (w->chunk == 4 && w->block == 4) {
        int32_t *wide = (int32_t *)scratch;
        int8_t *staging = (int8_t *)scratch + 2 * w->padded_depth;
        for (int32_t i = 0; i < p->vectors; i++) {
            const int8_t *from = in + i * w->depth;
            if (w->depth % 4 != 0) {
                memcpy(staging, from, (size_t)w->depth);
                from = staging;
            }
            eg_widen(from, w->padded_depth / 4, wide, 2);
            eg_rows_single(w, &p->output, 0, wide, out + i * w->rows);
        }
        return;
    }
#endif
#if defined(EG_ISA_MVE)
    if (w->chunk == 16 && w->block == 4) {
        for (int32_t i = 0; i < p->vectors; i++) {
            const int8_t *from = in + i * w->depth;
            if (w->depth % 16 != 0) {
                memcpy(scratch, from, (size_t)w->depth);
                from = (const int8_t *)scratch;
            }
            eg_rows_vector(w, &p->output, 0, from, 0, out + i * w->rows, 0);
        }
        return;
    }
#endif
    for (int32_t i = 0; i < p->vectors; i++) {
        eg_rows_portable(w, &p->output, 0, in + i * w->depth, out + i * w->rows);
    }
}

#endif
