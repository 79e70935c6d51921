/* Mnemonics: Arm Architecture Reference Manual for A-profile, A32 and T32, as the assembler's unified syntax writes
 * them. A condition may follow a mnemonic, so prefixes are compared; longer ones stand before those they begin with. */
#include "eg_classify.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

struct named {
    const char *begins;
    enum eg_class kind;
};

static const struct named VECTOR[] = {
    {"vldr", EG_LOAD_STORE}, {"vldm", EG_LOAD_STORE},  {"vld", EG_LOAD_STORE},   {"vstr", EG_LOAD_STORE},
    {"vstm", EG_LOAD_STORE}, {"vst", EG_LOAD_STORE},   {"vpush", EG_LOAD_STORE}, {"vpop", EG_LOAD_STORE},
    {"vfma", EG_FMA},        {"vfms", EG_FMA},         {"vfnma", EG_FMA},        {"vfnms", EG_FMA},
    {"vnmla", EG_FMA},       {"vnmls", EG_FMA},        {"vmlal", EG_MLAL},       {"vmlsl", EG_MLAL},
    {"vmull", EG_MLAL},      {"vqdmlal", EG_MLAL},     {"vqdmull", EG_MLAL},     {"vpadal", EG_MLAL},
    {"vsdot", EG_DOT},       {"vudot", EG_DOT},
};

static const struct named SCALAR[] = {
    {"ldr", EG_LOAD_STORE},  {"ldm", EG_LOAD_STORE}, {"ldc", EG_LOAD_STORE}, {"str", EG_LOAD_STORE},
    {"stm", EG_LOAD_STORE},  {"stc", EG_LOAD_STORE}, {"push", EG_LOAD_STORE}, {"pop", EG_LOAD_STORE},
    {"pld", EG_LOAD_STORE},  {"swp", EG_LOAD_STORE}, {"bic", EG_INTEGER},    {"bfi", EG_INTEGER},
    {"bfc", EG_INTEGER},     {"b", EG_BRANCH},       {"cbz", EG_BRANCH},     {"cbnz", EG_BRANCH},
    {"tbb", EG_BRANCH},      {"tbh", EG_BRANCH},     {"svc", EG_BRANCH},     {"dmb", EG_BRANCH},
    {"dsb", EG_BRANCH},      {"isb", EG_BRANCH},     {"nop", EG_BRANCH},     {"hint", EG_BRANCH},
    {"yield", EG_BRANCH},    {"udf", EG_BRANCH},     {"clrex", EG_BRANCH},
};

static enum eg_class look_up(const struct named *names, size_t count, const char *text, enum eg_class otherwise) {
    for (size_t i = 0; i < count; i++) {
        if (strncmp(text, names[i].begins, strlen(names[i].begins)) == 0) {
            return names[i].kind;
        }
    }
    return otherwise;
}

bool eg_classify_arm(const char *text, enum eg_class *kind) {
    while (*text == ' ' || *text == '\t') {
        text++;
    }
    if (!islower((unsigned char)*text)) {
        return false; /* a QEMU without a disassembler shows bytes */
    }
    if (strncmp(text, "vmla", 4) == 0 || strncmp(text, "vmls", 4) == 0) {
        const char *dot = strchr(text, '.'); /* vmla.f32 and vmla.i8 are of two classes */
        const bool is_long = text[4] == 'l' && text[5] != 'e' && text[5] != 't' && text[5] != 's'; /* not vmla + le, lt, ls */
        *kind = dot != NULL && dot[1] == 'f' && !is_long ? EG_FMA : EG_MLAL;
    } else if (text[0] == 'v') {
        *kind = look_up(VECTOR, sizeof VECTOR / sizeof VECTOR[0], text, EG_SIMD);
    } else {
        *kind = look_up(SCALAR, sizeof SCALAR / sizeof SCALAR[0], text, EG_INTEGER);
    }
    return true;
}
