/* Sorts a guest's instructions into the classes that a cost model prices. */
#ifndef EG_CLASSIFY_H
#define EG_CLASSIFY_H

#include <stdbool.h>
#include <stdint.h>

/* Every instruction belongs to exactly one class, so the classes of a region sum to its instructions. */
enum eg_class {
    EG_FMA,        /* floating-point multiply-accumulate, vector and scalar */
    EG_DOT,        /* 4-way dot products (dotprod, i8mm's mixed-sign ones, bf16) */
    EG_MMLA,       /* 2x2 matrix multiply-accumulate (i8mm, bf16) */
    EG_MLAL,       /* integer vector multiply(-accumulate), long or not, and pairwise accumulate */
    EG_SIMD,       /* every other floating-point and vector data operation, SVE and SME included */
    EG_LOAD_STORE, /* loads and stores, scalar and vector */
    EG_BRANCH,     /* branches, exceptions and system instructions (barriers, hints) */
    EG_INTEGER,    /* everything else */
    EG_CLASSES
};

/* The class of one AArch64 instruction word. Never fails: an unallocated word counts as EG_INTEGER. */
enum eg_class eg_classify(uint32_t word);

/* The same of RV64GC, words of two bytes (zero above) included. */
enum eg_class eg_classify_riscv(uint32_t word);

/* The class of a 32-bit Arm instruction by its disassembly ("vmla.f32 q0, q1, q2"): A32 and T32 share words. False
 * where the text is no instruction, which is so where QEMU was built without a disassembler. */
bool eg_classify_arm(const char *text, enum eg_class *kind);

/* The name of a class in edgegen's records ("fma", ..., "integer"). */
const char *eg_class_name(enum eg_class kind);

#endif
