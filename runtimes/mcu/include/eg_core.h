/* What every kernel stands on: linkage by preset, the instruction set, the rounding rules.
 *
 * Whoever compiles may set
 *   EG_PRESET_SIZE  a kernel is compiled once and reads its parameters at run time (-O2 suits it best). Without it, in
 *                   the preset "speed" (-O3), a kernel is inlined into each call: literal parameters specialise it.
 *   EG_ISA_C        portable C99 even where the core has DSP or vector instructions.
 *
 * Exactly one of EG_ISA_C, EG_ISA_DSP (Armv7E-M, Armv8-M with DSP) and EG_ISA_MVE (Armv8.1-M) is defined below.
 * Every path gives the same bytes. */
#ifndef EG_CORE_H
#define EG_CORE_H

#include <stdint.h>
#include <string.h>

/* The tiles of the other paths want every register, and an unoptimized build (-O0) keeps one for its frames. */
#if !defined(EG_ISA_C) && !defined(__OPTIMIZE__)
#define EG_ISA_C
#endif

#if !defined(EG_ISA_C)
#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define EG_ISA_MVE
#include <arm_mve.h>
#elif defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32)
#define EG_ISA_DSP
#else
#define EG_ISA_C
#endif
#endif

/* EG_KERNEL: a kernel, or a part of one that is worth a copy a node. EG_INLINE: a few instructions, always in place. */
#define EG_INLINE static inline __attribute__((always_inline, unused))
#if defined(EG_PRESET_SIZE)
#define EG_KERNEL static __attribute__((noinline, unused))
#else
#define EG_KERNEL static inline __attribute__((always_inline, unused))
#endif

/* Before an inner loop: four turns at once, where size does not count. */
#if defined(EG_PRESET_SIZE) || !defined(__GNUC__) || defined(__clang__)
#define EG_UNROLL_4
#else
#define EG_UNROLL_4 _Pragma("GCC unroll 4")
#endif

/* How an accumulator becomes an integer of the next tensor; see eg_requantize.h. A literal parameter of a kernel. */
enum {
    EG_TFLM_DOUBLE = 0, /* two roundings: to the high half of a doubled product, then the shift (TFLite Micro) */
    EG_LITERT_REF = 1,  /* one rounding of the 64-bit product; dense layers of LiteRT's reference kernels */
    EG_ONNX_QDQ = 2     /* float32 product, ties to even (ONNX QuantizeLinear) */
};

#endif
