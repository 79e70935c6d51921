/* An image in another size: each cell is a copy of one of the input's.
 *
 * in: rows of `row` bytes, cells of `cell` bytes; out: (out_height, out_width) cells. rows and columns: which cell. */
#ifndef EG_RESIZE_NEAREST_H
#define EG_RESIZE_NEAREST_H

#include "eg_copy.h"

struct eg_resize_nearest_params {
    int32_t out_height, out_width;
    int32_t row, cell;
    const uint16_t *rows;    /* out_height, within the input */
    const uint16_t *columns; /* out_width, within the input */
};

EG_KERNEL void eg_resize_nearest(const struct eg_resize_nearest_params *p, const void *in, void *out) {
    const int32_t line = p->out_width * p->cell;
    char *to = (char *)out;
    for (int32_t y = 0; y < p->out_height; y++) {
        if (y > 0 && p->rows[y] == p->rows[y - 1]) {
            memcpy(to, to - line, (size_t)line);
        } else {
            const char *from = (const char *)in + p->rows[y] * p->row;
            for (int32_t x = 0; x < p->out_width; x++) {
                eg_move(from + p->columns[x] * p->cell, to + x * p->cell, p->cell);
            }
        }
        to += line;
    }
}

#endif
