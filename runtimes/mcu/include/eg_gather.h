/* Slices of a table by number: out[o][i] = table[o][places[i]], `block` bytes each.
 *
 * table: (outer, rows, block); out: (outer, count, block). A place below 0 or beyond the last row takes the first or the
 * last. table and out do not overlap. */
#ifndef EG_GATHER_H
#define EG_GATHER_H

#include "eg_copy.h"

struct eg_gather_params {
    int32_t outer, rows, count; /* >= 1 */
    int32_t block;              /* bytes, >= 1 */
};

EG_KERNEL void eg_gather(const struct eg_gather_params *p, const void *table, const int32_t *places, void *out) {
    char *to = (char *)out;
    for (int32_t o = 0; o < p->outer; o++) {
        const char *from = (const char *)table + o * p->rows * p->block;
        for (int32_t i = 0; i < p->count; i++) {
            const int32_t place = places[i] < 0 ? 0 : places[i] >= p->rows ? p->rows - 1 : places[i];
            eg_move(from + place * p->block, to, p->block);
            to += p->block;
        }
    }
}

#endif
