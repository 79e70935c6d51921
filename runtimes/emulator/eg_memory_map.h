/* What a guest process has mapped, seen through its system calls, and the most it ever had mapped at once.
 *
 * Counted: the heap (brk) and every mapping that can be read or written, of a file or anonymous. Not counted: address
 * space that is only reserved (PROT_NONE), the program image and its interpreter, which the emulator maps before the
 * first system call, and the initial stack. So the figure bounds what the process can touch; it is not a resident size.
 */
#ifndef EG_MEMORY_MAP_H
#define EG_MEMORY_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EG_MAX_MAPPINGS 4096

struct eg_mapping {
    uint64_t start; /* inclusive */
    uint64_t end;   /* exclusive */
};

struct eg_memory_map {
    struct eg_mapping mappings[EG_MAX_MAPPINGS]; /* usable ranges; disjoint, in no order */
    size_t count;
    bool overflowed; /* more ranges than fit: the figures are not to be used */
    uint64_t mapped_bytes;
    uint64_t heap_start;
    uint64_t heap_end;
    uint64_t peak_bytes;
    bool marked;
    uint64_t marked_bytes;             /* in use when the mark was set */
    uint64_t peak_since_mark_bytes;    /* most in use since then */
};

/* Numbers of the system calls that change what is mapped; they differ between architectures. */
struct eg_syscalls {
    int64_t brk;
    int64_t munmap;
    int64_t mremap;
    int64_t mmap; /* on 32-bit Arm that is mmap2, which takes the same first three arguments */
    int64_t mprotect;
};

/* One Linux system call that succeeded: its number, up to four arguments and its result. */
void eg_memory_map_syscall(struct eg_memory_map *map, const struct eg_syscalls *calls, int64_t number,
                           const uint64_t arguments[4], int64_t result);

/* Growth is reported against what is in use now. */
void eg_memory_map_mark(struct eg_memory_map *map);

#endif
