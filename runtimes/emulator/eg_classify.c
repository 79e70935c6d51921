/* Encodings: Arm Architecture Reference Manual for A-profile, "A64 instruction set encoding". */
#include "eg_classify.h"

#include <stddef.h>

struct pattern {
    uint32_t mask;
    uint32_t value;
    enum eg_class kind;
};

/* Within "data processing, floating point and Advanced SIMD"; a left-out mask bit is a free field (Q, U, size, sign). */
static const struct pattern SIMD_PATTERNS[] = {
    {0xBF20FC00u, 0x0E20CC00u, EG_FMA},  /* FMLA, FMLS (vector) */
    {0xBF60FC00u, 0x0E400C00u, EG_FMA},  /* FMLA, FMLS (vector, half precision) */
    {0xBF80B400u, 0x0F801000u, EG_FMA},  /* FMLA, FMLS (by element) */
    {0xBFC0B400u, 0x0F001000u, EG_FMA},  /* FMLA, FMLS (by element, half precision) */
    {0xFF80B400u, 0x5F801000u, EG_FMA},  /* FMLA, FMLS (scalar, by element) */
    {0xFFC0B400u, 0x5F001000u, EG_FMA},  /* FMLA, FMLS (scalar, by element, half precision) */
    {0xBF60FC00u, 0x0E20EC00u, EG_FMA},  /* FMLAL, FMLSL */
    {0xBF60FC00u, 0x2E20CC00u, EG_FMA},  /* FMLAL2, FMLSL2 */
    {0xBFC0B400u, 0x0F800000u, EG_FMA},  /* FMLAL, FMLSL (by element) */
    {0xBFC0B400u, 0x2F808000u, EG_FMA},  /* FMLAL2, FMLSL2 (by element) */
    {0xBFE0FC00u, 0x2EC0FC00u, EG_FMA},  /* BFMLALB, BFMLALT */
    {0xBFC0F400u, 0x0FC0F000u, EG_FMA},  /* BFMLALB, BFMLALT (by element) */
    {0xFF000000u, 0x1F000000u, EG_FMA},  /* FMADD, FMSUB, FNMADD, FNMSUB */
    {0x9FE0FC00u, 0x0E809400u, EG_DOT},  /* SDOT, UDOT (vector) */
    {0xBFE0FC00u, 0x0E809C00u, EG_DOT},  /* USDOT (vector) */
    {0x9FC0F400u, 0x0F80E000u, EG_DOT},  /* SDOT, UDOT (by element) */
    {0xBF40F400u, 0x0F00F000u, EG_DOT},  /* SUDOT, USDOT (by element) */
    {0xBFE0FC00u, 0x2E40FC00u, EG_DOT},  /* BFDOT (vector) */
    {0xBFC0F400u, 0x0F40F000u, EG_DOT},  /* BFDOT (by element) */
    {0xDFE0FC00u, 0x4E80A400u, EG_MMLA}, /* SMMLA, UMMLA */
    {0xFFE0FC00u, 0x4E80AC00u, EG_MMLA}, /* USMMLA */
    {0xFFE0FC00u, 0x6E40EC00u, EG_MMLA}, /* BFMMLA */
    {0x9F20DC00u, 0x0E208000u, EG_MLAL}, /* [SU]MLAL, [SU]MLSL (vector) */
    {0x9F20FC00u, 0x0E20C000u, EG_MLAL}, /* SMULL, UMULL (vector) */
    {0x9F20FC00u, 0x0E209400u, EG_MLAL}, /* MLA, MLS (vector) */
    {0x9F00B400u, 0x0F002000u, EG_MLAL}, /* [SU]MLAL, [SU]MLSL (by element) */
    {0x9F00F400u, 0x0F00A000u, EG_MLAL}, /* SMULL, UMULL (by element) */
    {0xBF00B400u, 0x2F000000u, EG_MLAL}, /* MLA, MLS (by element) */
    {0x9F3FFC00u, 0x0E206800u, EG_MLAL}, /* SADALP, UADALP */
};

static enum eg_class classify_simd(uint32_t word) {
    for (size_t i = 0; i < sizeof SIMD_PATTERNS / sizeof SIMD_PATTERNS[0]; i++) {
        if ((word & SIMD_PATTERNS[i].mask) == SIMD_PATTERNS[i].value) {
            return SIMD_PATTERNS[i].kind;
        }
    }
    return EG_SIMD;
}

enum eg_class eg_classify(uint32_t word) {
    const uint32_t group = (word >> 25) & 0xFu; /* op0, bits 28..25 */
    if ((group & 0x5u) == 0x4u) {
        return EG_LOAD_STORE; /* x1x0 */
    }
    if ((group & 0xEu) == 0xAu) {
        return EG_BRANCH; /* 101x */
    }
    if ((group & 0x7u) == 0x7u) {
        return classify_simd(word); /* x111 */
    }
    if (group == 0x2u || (group == 0x0u && (word >> 31) != 0u)) {
        return EG_SIMD; /* 0010: SVE; 0000 with the top bit set: SME */
    }
    return EG_INTEGER;
}

const char *eg_class_name(enum eg_class kind) {
    static const char *const NAMES[EG_CLASSES] = {"fma",  "dot",        "mmla",   "mlal",
                                                  "simd", "load_store", "branch", "integer"};
    return (unsigned)kind < EG_CLASSES ? NAMES[kind] : "unknown";
}
