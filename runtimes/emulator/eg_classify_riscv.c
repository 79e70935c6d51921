/* Encodings: The RISC-V Instruction Set Manual, volume I, "RV32/64G instruction set listings" and "C extension". */
#include "eg_classify.h"

enum { LOAD = 0x03, LOAD_FP = 0x07, FENCE = 0x0F, STORE = 0x23, STORE_FP = 0x27, AMO = 0x2F };
enum { MADD = 0x43, MSUB = 0x47, NMSUB = 0x4B, NMADD = 0x4F, OP_FP = 0x53, OP_V = 0x57 };
enum { BRANCH = 0x63, JALR = 0x67, JAL = 0x6F, SYSTEM = 0x73 };

/* Two bytes long: the two low bits are the quadrant, the three high ones the function. */
static enum eg_class classify_compressed(uint32_t word) {
    const uint32_t quadrant = word & 0x3u, function = (word >> 13) & 0x7u;
    if (quadrant == 0x1u) {
        return function >= 5u ? EG_BRANCH : EG_INTEGER; /* c.j, c.beqz, c.bnez */
    }
    if (quadrant == 0x2u && function == 4u) {
        return ((word >> 2) & 0x1Fu) == 0u ? EG_BRANCH : EG_INTEGER; /* c.jr, c.jalr, c.ebreak; else c.mv, c.add */
    }
    return function == 0u || function == 4u ? EG_INTEGER : EG_LOAD_STORE; /* c.addi4spn, c.slli */
}

enum eg_class eg_classify_riscv(uint32_t word) {
    if ((word & 0x3u) != 0x3u) {
        return classify_compressed(word);
    }
    switch (word & 0x7Fu) {
    case LOAD:
    case LOAD_FP:
    case STORE:
    case STORE_FP:
    case AMO:
        return EG_LOAD_STORE;
    case MADD:
    case MSUB:
    case NMSUB:
    case NMADD:
        return EG_FMA;
    case OP_FP:
    case OP_V:
        return EG_SIMD;
    case BRANCH:
    case JALR:
    case JAL:
    case SYSTEM:
    case FENCE:
        return EG_BRANCH;
    default:
        return EG_INTEGER;
    }
}
