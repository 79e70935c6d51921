/* Sum, mean, largest or smallest of float32 numbers over any axes, in the input's order.
 *
 * kept: turns of the loops over the output, kept_step: elements between their neighbours in the input; over, over_step: the
 * same of what is reduced. The output is written in order. */
#ifndef EG_REDUCE_F32_H
#define EG_REDUCE_F32_H

#include "eg_core.h"

#ifndef EG_REDUCE_MODES
#define EG_REDUCE_MODES
enum { EG_REDUCE_SUM = 0, EG_REDUCE_MAX, EG_REDUCE_MIN, EG_REDUCE_QDQ };
#endif

struct eg_reduce_f32_params {
    int32_t mode; /* EG_REDUCE_SUM ... */
    int32_t kept[4], kept_step[4];
    int32_t over[4], over_step[4];
    float divisor; /* of a mean how many numbers there are, else 1 */
};

EG_INLINE float eg_reduce_f32_group(const struct eg_reduce_f32_params *p, const float *in) {
    float made = p->mode == EG_REDUCE_SUM ? 0.0f : in[0];
    for (int32_t i0 = 0; i0 < p->over[0]; i0++) {
        for (int32_t i1 = 0; i1 < p->over[1]; i1++) {
            for (int32_t i2 = 0; i2 < p->over[2]; i2++) {
                const float *line = in + i0 * p->over_step[0] + i1 * p->over_step[1] + i2 * p->over_step[2];
                for (int32_t i3 = 0; i3 < p->over[3]; i3++) {
                    const float value = line[i3 * p->over_step[3]];
                    if (p->mode == EG_REDUCE_MAX) {
                        made = value > made ? value : made;
                    } else if (p->mode == EG_REDUCE_MIN) {
                        made = value < made ? value : made;
                    } else {
                        made += value;
                    }
                }
            }
        }
    }
    return made / p->divisor;
}

EG_KERNEL void eg_reduce_f32(const struct eg_reduce_f32_params *p, const float *in, float *out) {
    for (int32_t i0 = 0; i0 < p->kept[0]; i0++) {
        for (int32_t i1 = 0; i1 < p->kept[1]; i1++) {
            for (int32_t i2 = 0; i2 < p->kept[2]; i2++) {
                for (int32_t i3 = 0; i3 < p->kept[3]; i3++) {
                    const int32_t from =
                        i0 * p->kept_step[0] + i1 * p->kept_step[1] + i2 * p->kept_step[2] + i3 * p->kept_step[3];
                    *out++ = eg_reduce_f32_group(p, in + from);
                }
            }
        }
    }
}

#endif
