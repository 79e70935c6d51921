#include "eg_isa.h"

#include <string.h>

enum { FIRST_MARK = 40, MARKS = 3, MARK_BYTES = 4 };

/* System calls: include/uapi/asm-generic/unistd.h (aarch64, riscv64) and arch/arm/tools/syscall.tbl of Linux. */
static const struct eg_isa ISAS[] = {
    {.target = "aarch64",
     .of_word = eg_classify,
     .first_mark = 0xD503251Fu, /* hint #40 */
     .mark_step = 0x20u,
     .address_mask = UINT64_MAX,
     .syscalls = {.brk = 214, .munmap = 215, .mremap = 216, .mmap = 222, .mprotect = 226},
     .clock_gettime = {113, 113}},
    {.target = "riscv64",
     .of_word = eg_classify_riscv,
     .first_mark = 0x02802013u, /* slti x0, x0, 40 */
     .mark_step = 0x00100000u,
     .address_mask = UINT64_MAX,
     .syscalls = {.brk = 214, .munmap = 215, .mremap = 216, .mmap = 222, .mprotect = 226},
     .clock_gettime = {113, 113}},
    {.target = "arm",
     .by_text = true,
     .first_mark = 0xE320F028u, /* hint #40 */
     .mark_step = 0x1u,
     .address_mask = UINT32_MAX,
     .syscalls = {.brk = 45, .munmap = 91, .mremap = 163, .mmap = 192, .mprotect = 125},
     .clock_gettime = {263, 403}},
};

const struct eg_isa *eg_isa_of(const char *target) {
    for (size_t i = 0; i < sizeof ISAS / sizeof ISAS[0]; i++) {
        if (strcmp(ISAS[i].target, target) == 0) {
            return &ISAS[i];
        }
    }
    return NULL;
}

int eg_isa_mark(const struct eg_isa *isa, uint32_t word, size_t bytes) {
    for (int i = 0; i < MARKS && bytes == MARK_BYTES; i++) {
        if (word == isa->first_mark + (uint32_t)i * isa->mark_step) {
            return FIRST_MARK + i;
        }
    }
    return -1;
}
