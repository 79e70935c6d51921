/* What of a guest's instruction set the plugin must know: how to sort its instructions, the words of the runner's
 * marks (runtimes/linux/runner/eg_marker.h), and the numbers of the system calls that it follows. */
#ifndef EG_ISA_H
#define EG_ISA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "eg_classify.h"
#include "eg_memory_map.h"

struct eg_isa {
    const char *target;                    /* QEMU's name of the guest */
    bool by_text;                          /* sorted by its disassembly: the word alone does not say which state it is for */
    enum eg_class (*of_word)(uint32_t word);
    uint32_t first_mark;                   /* the word of mark 40 */
    uint32_t mark_step;                    /* from one mark's word to the next one's */
    uint64_t address_mask;                 /* QEMU passes what a 32-bit guest holds with its sign extended */
    struct eg_syscalls syscalls;
    int64_t clock_gettime[2];
};

/* The description of a guest, or NULL for one that is not counted. */
const struct eg_isa *eg_isa_of(const char *target);

/* The number of a mark (40, 41, 42), or -1 for any other instruction. */
int eg_isa_mark(const struct eg_isa *isa, uint32_t word, size_t bytes);

#endif
