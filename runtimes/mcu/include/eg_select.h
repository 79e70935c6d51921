/* a where a condition holds, else b; all three are broadcast to the output, `width` bytes an element.
 *
 * count: turns of each loop, outermost first; c, a, b: elements from one turn to the next in the condition and the inputs, 0
 * where one repeats. */
#ifndef EG_SELECT_H
#define EG_SELECT_H

#include "eg_copy.h"

struct eg_select_params {
    int32_t count[4]; /* >= 1 */
    int32_t c[4], a[4], b[4];
    int32_t width; /* 1, 2 or 4 */
};

EG_KERNEL void eg_select(const struct eg_select_params *p, const uint8_t *condition, const void *a, const void *b,
                         void *out) {
    char *to = (char *)out;
    for (int32_t i0 = 0; i0 < p->count[0]; i0++) {
        for (int32_t i1 = 0; i1 < p->count[1]; i1++) {
            for (int32_t i2 = 0; i2 < p->count[2]; i2++) {
                for (int32_t i3 = 0; i3 < p->count[3]; i3++) {
                    const int32_t ic = i0 * p->c[0] + i1 * p->c[1] + i2 * p->c[2] + i3 * p->c[3];
                    const int32_t ia = i0 * p->a[0] + i1 * p->a[1] + i2 * p->a[2] + i3 * p->a[3];
                    const int32_t ib = i0 * p->b[0] + i1 * p->b[1] + i2 * p->b[2] + i3 * p->b[3];
                    const char *from = condition[ic] ? (const char *)a + ia * p->width : (const char *)b + ib * p->width;
                    eg_move(from, to, p->width);
                    to += p->width;
                }
            }
        }
    }
}

#endif
