/* Loops over an output that two inputs are broadcast to.
 *
 * count: turns of each loop, outermost first; a, b: elements from one turn to the next in the inputs, 0 where an input
 * repeats. The output is written in order. */
#ifndef EG_LOOPS_H
#define EG_LOOPS_H

#include "eg_core.h"

struct eg_loops {
    int32_t count[4]; /* >= 1 */
    int32_t a[4];
    int32_t b[4];
};

/* Head of a loop: `ia`, `ib` and `o` are the elements of the inputs and of the output. */
#define EG_LOOPS(loops, ia, ib, o)                                                                                     \
    for (int32_t i0_ = 0, o = 0; i0_ < (loops).count[0]; i0_++)                                                        \
        for (int32_t i1_ = 0; i1_ < (loops).count[1]; i1_++)                                                           \
            for (int32_t i2_ = 0; i2_ < (loops).count[2]; i2_++)                                                       \
                for (int32_t i3_ = 0, ia = i0_ * (loops).a[0] + i1_ * (loops).a[1] + i2_ * (loops).a[2],               \
                             ib = i0_ * (loops).b[0] + i1_ * (loops).b[1] + i2_ * (loops).b[2];                        \
                     i3_ < (loops).count[3]; i3_++, ia += (loops).a[3], ib += (loops).b[3], o++)

#endif
