/* Sum, mean, largest or smallest of int16 numbers over any axes.
 *
 * kept: turns of the loops over the output, kept_step: elements between their neighbours in the input; over, over_step: the
 * same of what is reduced. Numbers of the input's tensor; the sum of a group fits int32.
 *
 * EG_REDUCE_SUM: out = (sum - group * in_zero_point) * multiplier + out_zero_point (EG_TFLM_DOUBLE), as TFLite Micro has
 * sum and mean (the multiplier of a mean holds 1 / group). The output is written in order. */
#ifndef EG_REDUCE_S16_H
#define EG_REDUCE_S16_H

#include "eg_requantize.h"

#ifndef EG_REDUCE_MODES
#define EG_REDUCE_MODES
enum { EG_REDUCE_SUM = 0, EG_REDUCE_MAX, EG_REDUCE_MIN, EG_REDUCE_QDQ };
#endif

struct eg_reduce_s16_params {
    int32_t mode; /* EG_REDUCE_SUM ... */
    int32_t kept[4], kept_step[4];
    int32_t over[4], over_step[4];
    int32_t group; /* elements a result, >= 1 */
    int32_t in_zero_point, out_zero_point;
    int32_t multiplier, shift;
    int32_t low, high; /* clamp, within int16 */
};

EG_INLINE int32_t eg_reduce_s16_group(const struct eg_reduce_s16_params *p, const int16_t *in) {
    int32_t made = p->mode == EG_REDUCE_MAX || p->mode == EG_REDUCE_MIN ? in[0] : 0;
    for (int32_t i0 = 0; i0 < p->over[0]; i0++) {
        for (int32_t i1 = 0; i1 < p->over[1]; i1++) {
            for (int32_t i2 = 0; i2 < p->over[2]; i2++) {
                const int16_t *line = in + i0 * p->over_step[0] + i1 * p->over_step[1] + i2 * p->over_step[2];
                for (int32_t i3 = 0; i3 < p->over[3]; i3++) {
                    const int32_t value = line[i3 * p->over_step[3]];
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
    return made;
}

EG_KERNEL void eg_reduce_s16(const struct eg_reduce_s16_params *p, const int16_t *in, int16_t *out) {
    for (int32_t i0 = 0; i0 < p->kept[0]; i0++) {
        for (int32_t i1 = 0; i1 < p->kept[1]; i1++) {
            for (int32_t i2 = 0; i2 < p->kept[2]; i2++) {
                for (int32_t i3 = 0; i3 < p->kept[3]; i3++) {
                    const int32_t from = i0 * p->kept_step[0] + i1 * p->kept_step[1] + i2 * p->kept_step[2] +
                                         i3 * p->kept_step[3];
                    int32_t made = eg_reduce_s16_group(p, in + from);
                    if (p->mode == EG_REDUCE_SUM) {
                        made = eg_requantize(made - p->group * p->in_zero_point, p->multiplier, (int)p->shift,
                                             EG_TFLM_DOUBLE, p->out_zero_point, p->low, p->high);
                    }
                    *out++ = (int16_t)eg_clamp(made, p->low, p->high);
                }
            }
        }
    }
}

#endif
