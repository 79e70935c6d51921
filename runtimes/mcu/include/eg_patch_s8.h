/* A convolution as products of patches: each output pixel's patch of the input becomes a column of
 * kernel_h x kernel_w x channels values (channels last), which meets the packed rows of eg_rows_s8.h. Outside the input
 * stands its zero point, which the bias of the output's table takes out again. */
#ifndef EG_PATCH_S8_H
#define EG_PATCH_S8_H

#include "eg_rows_s8.h"
#include "eg_rows_s8_dsp.h"
#include "eg_rows_s8_mve.h"

struct eg_patch {
    int32_t in_h;
    int32_t in_w;
    int32_t in_c;
    int32_t first_c;  /* of a group */
    int32_t channels; /* of a group */
    int32_t kernel_h;
    int32_t kernel_w;
    int32_t stride_h;
    int32_t stride_w;
    int32_t dilation_h;
    int32_t dilation_w;
    int32_t top; /* rows and columns outside, before the input; may be negative */
    int32_t left;
    int32_t out_h; /* pixels to make */
    int32_t out_w;
    int32_t out_row; /* bytes from one output row, and pixel, to the next */
    int32_t out_pixel;
    int32_t fill; /* the input's zero point */
    /* The input's rows and columns stand 2^shift times each in in_h and in_w: a nearest-neighbour resize in front.
     * Only where EG_ENLARGED is defined: a model without such a convolution needs no code for it. */
    int32_t row_shift;
    int32_t column_shift;
};

/* Where a pixel of (in_h, in_w) stands, in pixels. */
EG_INLINE int32_t eg_patch_pixel(const struct eg_patch *g, int32_t row, int32_t column) {
#if defined(EG_ENLARGED)
    return (row >> g->row_shift) * (g->in_w >> g->column_shift) + (column >> g->column_shift);
#else
    return row * g->in_w + column;
#endif
}

EG_INLINE int eg_patch_enlarged(const struct eg_patch *g) {
#if defined(EG_ENLARGED)
    return g->row_shift != 0 || g->column_shift != 0;
#else
    (void)g;
    return 0;
#endif
}

/* memcpy and memset of what fits in a few vectors; newlib's go word by word. */
EG_INLINE void eg_copy_run(int8_t *to, const int8_t *from, int32_t count) {
#if defined(EG_ISA_MVE)
    for (; count >= 16; count -= 16) {
        vstrbq_s8(to, vldrbq_s8(from));
        to += 16;
        from += 16;
    }
    if (count > 0) {
        const mve_pred16_t rest = vctp8q((uint32_t)count);
        vstrbq_p_s8(to, vldrbq_z_s8(from, rest), rest);
    }
#else
    if (count > 0) {
        memcpy(to, from, (size_t)count);
    }
#endif
}

EG_INLINE void eg_fill_run(int8_t *to, int32_t value, int32_t count) {
#if defined(EG_ISA_MVE)
    const int8x16_t all = vdupq_n_s8((int8_t)value);
    for (; count > 0; count -= 16) {
        vstrbq_p_s8(to, all, vctp8q((uint32_t)count));
        to += 16;
    }
#else
    if (count > 0) {
        memset(to, value, (size_t)count);
    }
#endif
}

/* One column where the patch may stick out: of each row of the kernel what lies before, in and behind the input.
 * ``pitch`` and ``tap``: bytes from one row, and tap, of the kernel to the next in the column; tap is channels where
 * dilation_w is 1. */
EG_KERNEL void eg_column_edge(const struct eg_patch *g, const int8_t *in, int32_t y, int32_t x, int8_t *column,
                              int32_t pitch, int32_t tap) {
    const int together = g->channels == g->in_c && g->dilation_w == 1 && !eg_patch_enlarged(g);
    const int32_t taps = together ? g->kernel_w : 1; /* that lie in one piece */
    for (int32_t i = 0; i < g->kernel_h; i++) {
        const int32_t row = y + i * g->dilation_h;
        for (int32_t j = 0; j < g->kernel_w; j += taps) {
            int8_t *to = column + i * pitch + j * tap;
            const int32_t place = x + j * g->dilation_w;
            const int32_t from = row >= 0 && row < g->in_h ? eg_clamp(-place, 0, taps) : taps;
            const int32_t past = eg_clamp(g->in_w - place, from, taps);
            eg_fill_run(to, g->fill, from * g->channels);
            to += from * g->channels;
            if (from < past) {
                eg_copy_run(to, in + eg_patch_pixel(g, row, place + from) * g->in_c + g->first_c,
                            (past - from) * g->channels);
                to += (past - from) * g->channels;
            }
            eg_fill_run(to, g->fill, (taps - past) * g->channels);
        }
    }
}

EG_INLINE int eg_patch_inside(const struct eg_patch *g, int32_t y, int32_t x) {
    return y >= 0 && x >= 0 && y + (g->kernel_h - 1) * g->dilation_h < g->in_h &&
           x + (g->kernel_w - 1) * g->dilation_w < g->in_w;
}

/* Whether a patch's rows lie in one piece in the input. */
EG_INLINE int eg_patch_whole_rows(const struct eg_patch *g) {
    return g->channels == g->in_c && (g->dilation_w == 1 || g->kernel_w == 1) && !eg_patch_enlarged(g);
}

/* One column of int8. */
EG_INLINE void eg_column(const struct eg_patch *g, const int8_t *in, int32_t y, int32_t x, int8_t *column) {
    if (eg_patch_whole_rows(g) && eg_patch_inside(g, y, x)) {
        const int32_t piece = g->kernel_w * g->in_c;
        const int8_t *from = in + (y * g->in_w + x) * g->in_c;
        for (int32_t i = 0; i < g->kernel_h; i++) {
            eg_copy_run(column + i * piece, from + i * g->dilation_h * g->in_w * g->in_c, piece);
        }
    } else if (eg_patch_enlarged(g) && eg_patch_inside(g, y, x)) {
        for (int32_t i = 0; i < g->kernel_h; i++) {
            for (int32_t j = 0; j < g->kernel_w; j++) {
                const int32_t pixel = eg_patch_pixel(g, y + i * g->dilation_h, x + j * g->dilation_w);
                eg_copy_run(column, in + pixel * g->in_c + g->first_c, g->channels);
                column += g->channels;
            }
        }
    } else {
        eg_column_edge(g, in, y, x, column, g->kernel_w * g->channels, g->channels);
    }
}

#if defined(EG_ISA_DSP)

/* One column of int16, in the order of eg_rows_s8_dsp.h, into every second quad. ``staging``: padded_depth bytes. */
EG_INLINE void eg_column_wide(const struct eg_patch *g, const int8_t *in, int32_t y, int32_t x, int32_t *wide,
                              int8_t *staging, int32_t padded_depth) {
    const int32_t piece = g->kernel_w * g->in_c;
    if (piece % 4 == 0 && eg_patch_whole_rows(g) && eg_patch_inside(g, y, x)) {
        const int8_t *from = in + (y * g->in_w + x) * g->in_c;
        for (int32_t i = 0; i < g->kernel_h; i++) {
            eg_widen(from + i * g->dilation_h * g->in_w * g->in_c, piece / 4, wide + i * piece, 4);
        }
    } else if (eg_patch_enlarged(g) && g->channels == g->in_c && g->in_c % 4 == 0 && eg_patch_inside(g, y, x)) {
        for (int32_t i = 0; i < g->kernel_h; i++) {
            for (int32_t j = 0; j < g->kernel_w; j++) {
                const int32_t pixel = eg_patch_pixel(g, y + i * g->dilation_h, x + j * g->dilation_w);
                eg_widen(in + pixel * g->in_c, g->in_c / 4, wide, 4);
                wide += g->in_c;
            }
        }
    } else {
        eg_column(g, in, y, x, staging);
        eg_widen(staging, padded_depth / 4, wide, 4);
    }
}

#endif

/* ``rows`` rows of output pixels from ``row`` on; out is where the first of them goes. ``scratch``: (padded_depth * 5)
 * bytes for a DSP packing, else padded_depth * 2, 4-byte aligned. */
EG_KERNEL void eg_patch_rows(const struct eg_patch *g, const struct eg_rows *w, const struct eg_output *o, int32_t first,
                             const int8_t *in, int8_t *out, int8_t *scratch, int32_t row, int32_t rows) {
#if defined(EG_ISA_DSP)
    if (w->chunk == 4 && w->block == 2) {
        int32_t *wide = (int32_t *)(void *)scratch;
        int8_t *staging = scratch + 4 * w->padded_depth;
        int held = 0; /* whether the column of an even pixel stands in ``wide``, and where its output goes */
        int8_t *waiting = out;
        for (int32_t i = 0; i < rows; i++) {
            for (int32_t j = 0; j < g->out_w; j++) {
                int8_t *to = out + i * g->out_row + j * g->out_pixel;
                const int32_t y = (row + i) * g->stride_h - g->top;
                const int32_t x = j * g->stride_w - g->left;
                eg_column_wide(g, in, y, x, held ? wide + 2 : wide, staging, w->padded_depth);
                if (held) {
                    eg_rows_pair(w, o, first, wide, waiting, to);
                    held = 0;
                } else {
                    waiting = to;
                    held = 1;
                }
            }
        }
        if (held) {
            eg_rows_pair(w, o, first, wide, waiting, 0);
        }
        return;
    }
#endif
#if defined(EG_ISA_MVE)
    if (w->chunk == 16 && w->block == 4) {
        const int direct = g->kernel_h == 1 && g->kernel_w == 1 && g->channels == g->in_c && !eg_patch_enlarged(g) &&
                           w->depth == w->padded_depth && g->top == 0 && g->left == 0;
        const int8_t *even = in; /* the column of an even pixel */
        int held = 0;
        int8_t *waiting = out;
        for (int32_t i = 0; i < rows; i++) {
            for (int32_t j = 0; j < g->out_w; j++) {
                int8_t *to = out + i * g->out_row + j * g->out_pixel;
                const int32_t y = (row + i) * g->stride_h - g->top;
                const int32_t x = j * g->stride_w - g->left;
                const int8_t *column = in + (y * g->in_w + x) * g->in_c;
                if (!(direct && eg_patch_inside(g, y, x))) {
                    int8_t *made = held ? scratch + w->padded_depth : scratch;
                    eg_column(g, in, y, x, made);
                    column = made;
                }
                if (held) {
                    eg_rows_vector(w, o, first, even, column, waiting, to);
                    held = 0;
                } else {
                    waiting = to;
                    held = 1;
                    even = column;
                }
            }
        }
        if (held) {
            eg_rows_vector(w, o, first, even, 0, waiting, 0);
        }
        return;
    }
#endif
    int held = 0; /* whether the column of an even pixel stands in ``scratch``, and where its output goes */
    int8_t *waiting = out;
#if defined(EG_ISA_C)
    const int paired = w->block == 1 && w->chunk == 1;
#else
    const int paired = 0; /* only another core's packing comes here */
#endif
    for (int32_t i = 0; i < rows; i++) {
        for (int32_t j = 0; j < g->out_w; j++) {
            int8_t *to = out + i * g->out_row + j * g->out_pixel;
            int8_t *column = held ? scratch + w->padded_depth : scratch;
            eg_column(g, in, (row + i) * g->stride_h - g->top, j * g->stride_w - g->left, column);
            if (!paired) {
                eg_rows_portable(w, o, first, column, to);
            } else if (held) {
                eg_rows_portable_pair(w, o, first, scratch, column, waiting, to);
                held = 0;
            } else {
                waiting = to;
                held = 1;
            }
        }
    }
    if (held) {
        eg_rows_portable(w, o, first, scratch, waiting);
    }
}

/* All output pixels. */
EG_INLINE void eg_patch_run(const struct eg_patch *g, const struct eg_rows *w, const struct eg_output *o, int32_t first,
                            const int8_t *in, int8_t *out, int8_t *scratch) {
    eg_patch_rows(g, w, o, first, in, out, scratch, 0, g->out_h);
}

#endif
